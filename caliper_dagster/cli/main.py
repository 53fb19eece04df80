"""The command line: ``caliper-dagster``.

This module parses arguments and prints results; ``operations`` does the work. Each command imports
what it needs when it runs, so that ``--help`` and ``translate`` do not import Dagster. An error is
one sentence on standard error and exit status 2; ``--verbose`` adds Dagster's messages and stack
traces.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from errno import EADDRNOTAVAIL
from math import ceil
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

import caliper_dagster
from caliper_dagster.config.declaration import secret_of
from caliper_dagster.config.env_file import load_env_file
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.arrow_without_pandas import keep_pandas_out
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError, RunError
from caliper_dagster.core.file_modes import limit_new_files
from caliper_dagster.core.gc_tuning import raise_gc_threshold
from caliper_dagster.core.hours import Hour, HourRange, last_complete_hour, parse_hour
from caliper_dagster.core.wording import plural

if TYPE_CHECKING:
    from caliper_dagster.cli.terminal import Ticker
    from caliper_dagster.core.frames import Frame
    from caliper_dagster.operations.doctor import Finding
    from caliper_dagster.operations.run_outcome import OnWritten, RunOutcome

_INVALID = 1
_ERROR = 2
_INTERRUPTED = 130

_FAULTS_HELP = (
    "faults to inject, for tests, such as 429=0.1,drop=0.05,400=0.001,413=100000,until=500,seed=7; "
    "docs/reliability.md lists them all"
)
_SITE_HELP = (
    "the site to use, one of the names in the file of CALIPER_SITES; with --defs its "
    "asset_key_prefix, with _ in place of /"
)
_DEFS_HELP = (
    "take the settings from the components caliper_dagster.MoodleSite in this project of Dagster, "
    "or in this folder or defs.yaml of it, and not from the environment"
)
_EVENT_STORE_HELP = "use only this event store, one of the names in CALIPER_EVENT_STORES"

_DESTINATION_HELP = (
    "as for this event store, one of the names in CALIPER_EVENT_STORES; not needed where there is "
    "only one"
)


class _InvalidError(Exception):
    """A file is not valid; the command has printed why."""


class _Interruption(KeyboardInterrupt):
    """SIGINT or SIGTERM.

    Not ``KeyboardInterrupt`` itself: when that passes through ``exec`` of a string, as in the
    making of a dataclass, CPython remembers it and ends the process by SIGINT at exit, whatever
    caught it and whatever the exit status is.
    """


def raise_interruptions() -> None:
    """Make SIGINT and SIGTERM raise an exception that ``except KeyboardInterrupt`` catches."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise _Interruption(signal.Signals(number).name)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 for success, 1 for a file that is not valid, 2 for an error, 130 after an
        interruption.
    """
    raise_gc_threshold()
    options = command_parser().parse_args(arguments)
    keep_pandas_out()
    raise_interruptions()
    try:
        if options.defs and not hasattr(options, "site"):
            raise ConfigurationError("--defs names sites, and this command uses none.")  # noqa: TRY301
        load_env_file()
        limit_new_files()
        with warnings.catch_warnings():
            if not options.verbose:
                warnings.simplefilter("ignore")
            options.command(options)
    except _InvalidError:
        return _INVALID
    except KeyboardInterrupt:
        return _fail(
            "Interrupted. Acknowledged events stay acknowledged; run the command again to go on.",
            _INTERRUPTED,
        )
    except BrokenPipeError:
        # The reader has closed the pipe; Python must not report that at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if options.verbose:
            raise
        return _fail(_sentence(error), _ERROR)
    return 0


def _sentence(error: Exception) -> str:
    if isinstance(error, CaliperDagsterError):
        return str(error)
    # The message of any other error may contain anything, even a password.
    return f"An unexpected error occurred ({type(error).__name__}); --verbose shows where."


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _fail(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status


def demo(options: argparse.Namespace) -> None:
    """Run everything once on a sample site and an embedded event store."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.embedded.arrivals import arrivals
    from caliper_dagster.operations.demo import Demo

    work = Demo(Path(options.folder).absolute())
    out = terminal.results()
    is_new = work.prepare(options.students)
    out.print(f"{'Wrote' if is_new else 'Kept'} the sample Moodle site {work.sample}")
    with work.event_store():
        work.apply(os.environ)
        _backfill(Settings.from_environment(), work.hours(), verbose=options.verbose)
    received = arrivals(work.arrived)
    terminal.show_numbers(
        [
            ("Received by the event store: envelopes", received.envelopes),
            ("Received by the event store: events", received.events),
        ]
    )
    out.print("To see these hours in the web UI, run `make dev` (or `caliper-dagster dev`).")


def privacy_report(options: argparse.Namespace) -> None:
    """Write the record of processing: what data of whom goes where, and how long it is kept."""
    from caliper_dagster.operations.privacy_report import write_report

    for path in write_report(_sites(options), Path(options.output)):
        print(path)


def doctor(options: argparse.Namespace) -> None:
    """Check everything that a run needs, and report problems with their cures."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.operations.doctor import (
        Verdict,
        examine,
        examine_configured,
        send_test_alerts,
    )

    found: Counter[Verdict] = Counter()

    def show(findings: Iterable[Finding]) -> None:
        for finding in findings:
            found[finding.verdict] += 1
            site = f"{finding.site}  " if finding.site else ""
            lines = [f"{finding.verdict.value:6}  {site}{finding.subject:16}  {finding.text}"]
            if finding.cure:
                lines.append(f"{'':8}→ {finding.cure}")
            for line in lines:
                terminal.results().print(line, soft_wrap=True, markup=False)

    if options.defs:
        show(examine(_sites(options), fix_modes=options.fix_modes))
    else:
        show(examine_configured(options.site, fix_modes=options.fix_modes))
    if options.send_test_alert:
        show(send_test_alerts(_sites(options)))
    problems, warnings_ = found[Verdict.BROKEN], found[Verdict.WARNING]
    if problems:
        raise ConfigurationError(f"{plural(problems, 'problem')} to fix.")
    if options.strict and warnings_:
        raise ConfigurationError(f"{plural(warnings_, 'warning')}, and --strict allows none.")


def backfill(options: argparse.Namespace) -> None:
    """Read, translate and send the hours."""
    settings = _settings(options)
    hours = _complete_hours(options, settings)
    if options.plan:
        _print_estimate(settings, hours)
    else:
        _backfill(
            settings,
            hours,
            verbose=options.verbose,
            fresh=options.fresh,
            again=options.again,
            newest_first=options.newest_first,
            processes=options.processes,
        )


def resend(options: argparse.Namespace) -> None:
    """Send the events of the hours that are not acknowledged, or all of them."""
    from caliper_dagster.cli import reports, terminal
    from caliper_dagster.config.event_stores import event_store_named, require_event_stores
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.operations import resend as operation
    from caliper_dagster.operations.runner import RunContext

    settings = _settings(options)
    hours, stores = _complete_hours(options, settings), require_event_stores(settings)
    if options.event_store:
        stores = (event_store_named(stores, options.event_store),)
    results = tuple(store.results for store in stores)
    with (
        open_instance(_tell) as instance,
        terminal.ticking("Sending", len(results) * len(hours)) as ticker,
    ):
        on_written = _advance_on_written(ticker, dict.fromkeys(hours, 1), results)
        outcomes = operation.resend(
            RunContext(instance, settings, on_written, options.verbose),
            hours,
            everything=options.all,
            rejected=options.rejected,
            changed=options.changed,
            event_store=options.event_store,
        )
        total = _total(outcomes, ticker)
    table = reports.sent_again if options.rejected else terminal.delivered
    terminal.show_numbers([("Hours", len(hours)), *table(total.deliveries)])
    total.raise_if_incomplete(settings)


def prune(options: argparse.Namespace) -> None:
    """Delete what is older than the settings CALIPER_KEEP_… say."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.dagster import retention
    from caliper_dagster.dagster.instance.open import open_instance

    sites = _sites(options)
    if not any(map(retention.has_limits, sites)):
        _tell(
            "No setting says how long anything is kept: set CALIPER_KEEP_PARTITIONS, "
            "CALIPER_KEEP_SUPERSEDED_BATCHES, CALIPER_KEEP_RUNS or CALIPER_KEEP_COMPUTE_LOGS."
        )
    with open_instance(_tell) as instance:
        # The records of Dagster are those of all sites, and in a host's project of other assets.
        runs = not options.site and not options.defs
        pruned = retention.prune(instance, sites, plan=options.plan, runs=runs)
    rows = [
        (
            f"{site} " * bool(site) + removal.what,
            f"{removal.number:,}",
            terminal.size(removal.bytes),
        )
        for site, removal in pruned.removals
    ]
    if rows:
        terminal.show_table(
            ("Would be deleted" if options.plan else "Deleted", "Number", "Size"), rows
        )
    for reason, number in pruned.kept.items():
        _tell(f"{plural(number, 'hour')} past the time to keep stay: {reason}.")


def storage_protect(options: argparse.Namespace) -> None:
    """Write stored hours again as CALIPER_STORAGE_KEY and CALIPER_STORED_… protect them now."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.connections import open_store
    from caliper_dagster.operations import stored_hours

    for settings in _sites(options):
        store = open_store(settings)
        total = sum(len(store.hour_sizes(frame)) for frame in store.frames())
        with terminal.ticking("Writing", total) as ticker:
            number = stored_hours.protect(settings, lambda *_: ticker.advance(1))
        site = f"{settings.site}: " if settings.site else ""
        print(f"{site}{plural(number, 'file')} written again.", file=sys.stderr)


def storage_export(options: argparse.Namespace) -> None:
    """Copy stored hours into a folder, decrypted, for DuckDB and other readers of Parquet."""
    from caliper_dagster.operations.stored_hours import export

    hours = export(_settings(options), options.asset, _hours(options), Path(options.out))
    print(f"{plural(sum(1 for _ in hours), 'hour')} copied, in the clear.", file=sys.stderr)


def metrics(options: argparse.Namespace) -> None:
    """Write metrics for Prometheus, to a file that node_exporter's textfile collector reads."""
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.delivery.metrics import check_name, exposition, write_file
    from caliper_dagster.operations.metrics import collect

    if options.out != "-":
        check_name(Path(options.out))
    with open_instance() as instance:
        collected = collect(instance, _sites(options), time.time())
    text = exposition(collected.samples)
    if options.out == "-":
        print(text, end="")
    else:
        write_file(Path(options.out), text)
    for sentence in collected.failures:
        _tell(sentence)
    if collected.failures:
        raise CaliperDagsterError(
            f"The metrics of {plural(len(collected.failures), 'site')} could not be read; "
            "caliper_metrics_collected is 0."
        )


def rejected(options: argparse.Namespace) -> None:
    """List the events of the hours that the event store has rejected, with its reasons."""
    from caliper_dagster.cli import reports
    from caliper_dagster.config.event_stores import event_store_named, require_event_stores
    from caliper_dagster.delivery.rejected import rejected_events

    settings = _settings(options)
    stores = require_event_stores(settings)
    if options.event_store:
        stores = (event_store_named(stores, options.event_store),)
    number = reports.show_rejected(
        rejected_events(settings, stores, _hours(options)),
        named=any(store.name for store in stores),
    )
    advice = "; once the cause is fixed, `resend --rejected` sends them again" if number else ""
    print(f"{plural(number, 'rejected event')}{advice}.", file=sys.stderr)


def person_export(options: argparse.Namespace) -> None:
    """Write all that is stored and was sent about a person to a folder."""
    from caliper_dagster.cli import reports
    from caliper_dagster.delivery.persons.export import export
    from caliper_dagster.delivery.persons.users import require_person

    settings = _settings(options)
    exported = export(settings, require_person(settings, options.user), Path(options.output))
    reports.show_export(exported)
    _tell(f"Begin with {exported.folder / 'index.md'}. Whoever has the folder has these data.")


def person_erase(options: argparse.Namespace) -> None:
    """Remove a person from what is stored; without --yes only tell what would be changed."""
    from caliper_dagster.cli import reports
    from caliper_dagster.operations.persons import erase_person

    settings = _settings(options)
    erased = erase_person(settings, options.user, plan=not options.yes, tell=_tell)
    reports.show_erasure(erased, plan=not options.yes)
    if not options.yes:
        _tell("Nothing was changed. --yes erases the person; that cannot be undone.")
        return
    for event_store, place in erased.lists.items():
        _tell(
            f"{event_store} still holds {plural(erased.held[event_store], 'event')} about the "
            f"person: its owner deletes those that {place} lists, or receives them again without "
            "the person (`resend --all`)."
        )


def follow(options: argparse.Namespace) -> None:
    """Send the rows of the hour in progress within seconds, until interrupted."""
    # Dagster replaces the handlers of signals while a run executes, so the numbers are noted here.
    noted, notes = socket.socketpair()
    with noted, notes:
        noted.setblocking(False)
        notes.setblocking(False)
        before = signal.set_wakeup_fd(notes.fileno(), warn_on_full_buffer=False)
        try:
            _follow(options)
        except KeyboardInterrupt:
            with suppress(BlockingIOError):
                if signal.SIGTERM in noted.recv(1024):
                    # How a service manager ends it is no failure.
                    print("Stopped following the log.", file=sys.stderr, flush=True)
                    return
            raise
        finally:
            signal.set_wakeup_fd(before)


def _follow(options: argparse.Namespace) -> None:
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.operations.follow import Follower
    from caliper_dagster.operations.runner import RunContext

    settings = _settings(options)
    _require_all(settings)
    with open_instance(_tell) as instance:
        follower = Follower(RunContext(instance, settings, verbose=options.verbose))
        print("Following the log.", file=sys.stderr, flush=True)
        while True:
            began = time.monotonic()
            try:
                for run in follower.look():
                    sent = plural(run.delivery.sent, "event")
                    print(f"{run.hours}: {sent} sent, {time.monotonic() - began:.1f} s", flush=True)
                    if run.failure:
                        _warn(run.failure)
            except CaliperDagsterError as error:
                _warn(error)
            time.sleep(max(0.0, began + settings.send_interval - time.monotonic()))


def _warn(what: object) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} UTC: {what}", file=sys.stderr, flush=True)


def translate(options: argparse.Namespace) -> None:
    """Write the events of the hours to a file as NDJSON; send nothing."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.operations.translate import translate_hours, withheld_sentence

    settings, hours = _settings(options), _hours(options)
    outcomes: Counter[str] = Counter()
    withheld: dict[Hour, Collection[str]] = {}
    with _output(options.out) as file, terminal.ticking("Translating", len(hours)) as ticker:
        for translated in translate_hours(settings, hours, options.destination):
            file.writelines(translated.lines)
            outcomes.update(translated.counts)
            withheld.update(translated.withheld)
            ticker.advance(len(translated.hours))
    summary = ", ".join(f"{number:,} {name}" for name, number in outcomes.items())
    print(f"{hours}: {summary}", file=sys.stderr)
    if withheld:
        raise RunError(withheld_sentence(withheld))


def person_pseudonym(options: argparse.Namespace) -> None:
    """Print the pseudonym of a person at an event store; needs the key of the event store."""
    from caliper_dagster.config.event_stores import named_destination
    from caliper_dagster.delivery.persons.users import user_id
    from caliper_dagster.operations import pseudonyms

    settings = _settings(options)
    store = named_destination(settings, options.destination)
    user = user_id(settings, options.user)
    for since, pseudonym in pseudonyms.pseudonyms(settings, store, user):
        print(f"{pseudonym}  from {since} on" if since.number else pseudonym)


def person_replace_key(options: argparse.Namespace) -> None:
    """Accept another key of pseudonyms, and list the events that were sent under the former one."""
    from caliper_dagster.config.event_stores import named_destination
    from caliper_dagster.operations import pseudonyms

    settings = _settings(options)
    store = named_destination(settings, options.destination)
    with _output(options.out) as file:
        replaced = pseudonyms.replace_keys(
            settings, store, lambda event_id: file.write(f"{event_id}\n".encode())
        )
    if replaced is None:
        _tell(f"The {store.label} has its keys as before: nothing changes.")
        return
    since, number = replaced
    hours = f"the hours from {since} on" if since.number else "all hours"
    _tell(
        f"The keys of the {store.label} are accepted for {hours}. It holds "
        f"{plural(number, 'event')} under other ids, which are listed: have them deleted there, "
        "then run `caliper-dagster backfill` over these hours to send them again."
    )


def coverage(options: argparse.Namespace) -> None:
    """Count the Moodle events in the log, and show the recipe that translates each."""
    from caliper_dagster.cli import reports
    from caliper_dagster.config.translator import configured_recipes
    from caliper_dagster.operations import recipes

    settings, hours = _settings(options), _hours(options)
    covered = recipes.coverage(settings, configured_recipes(settings), hours)
    reports.show_coverage(covered, options.top)


def recipes_check(options: argparse.Namespace) -> None:
    """Check recipe files, and report a mistake with its line."""
    from caliper_dagster.config.yaml_file import read_file
    from caliper_dagster.translator import read_recipes

    for name in options.files:
        checked = list(read_recipes(name, read_file(name), resolution="user"))
        print(f"{name}: {plural(len(checked), 'event')}, all well formed")


def recipes_show(options: argparse.Namespace) -> None:
    """Show which recipe translates a Moodle event and why, with an example of its event."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.event_stores import renderings
    from caliper_dagster.config.translator import configured_recipes
    from caliper_dagster.operations import recipes

    settings = _settings(options)
    name = options.event if options.event.startswith("\\") else f"\\{options.event}"
    version, shape, *_ = renderings(settings)[0]
    shown = recipes.show(configured_recipes(settings), name, version, shape)
    terminal.results().print(shown.why, markup=False, soft_wrap=True)
    if shown.similar:
        _tell(f"Names of events with a recipe that are similar: {', '.join(shown.similar)}")
    terminal.show_json(shown.recipe)
    terminal.show_json(shown.event)


def recipes_diff(options: argparse.Namespace) -> None:
    """List the stored events that the present recipes would change; send nothing."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.connections import open_store
    from caliper_dagster.operations import recipes

    settings = _settings(options)
    storage = open_store(settings)
    rows = [
        (
            name,
            f"{changes.changed:,}",
            f"{changes.added:,}",
            f"{changes.removed:,}",
            ", ".join(f"{path} ({number:,})" for path, number in changes.where.most_common(5)),
        )
        for name, changes in recipes.differences(settings, storage, _hours(options))
    ]
    if not rows:
        print("Nothing would change.")
        return
    terminal.show_table(("Moodle event", "Changed", "New", "Removed", "Where"), rows)


def recipes_table(_options: argparse.Namespace) -> None:
    """Print a Markdown table of all Moodle events with a recipe of their own."""
    from caliper_dagster.operations import recipes

    print(recipes.reference(), end="")


def recipes_schema(_options: argparse.Namespace) -> None:
    """Print the JSON Schema of recipe files."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.translator.recipes import schema

    terminal.show_json(schema())


def validate(options: argparse.Namespace) -> None:
    """Check whether the events, entities and envelopes of a file are valid Caliper."""
    from caliper_dagster.operations.validate import validate_file

    if validate_file(options.file, sys.stdout, strict=options.strict):
        raise _InvalidError


def event_store(options: argparse.Namespace) -> None:
    """Run the embedded event store, for demos and tests."""
    from caliper_dagster.embedded.event_store import serve
    from caliper_dagster.embedded.faults import Faults

    key = options.api_key or secret_of("CALIPER_API_KEY")
    if not key:
        raise ConfigurationError(
            "CALIPER_API_KEY is not set and --api-key is missing: senders must present this key."
        )
    serve(options.port, options.db, key, options.host, Faults.parse(options.hostile))


def sample(options: argparse.Namespace) -> None:
    """Write a sample Moodle database to an SQLite file."""
    from caliper_dagster.embedded.sample import write_sample

    written = write_sample(
        options.out,
        students=options.students,
        hours=options.hours,
        seed=options.seed,
        overwrite=options.overwrite,
    )
    print(f"{written.path}: {written.total:,} log rows of {written.hours}")
    print(f"MOODLE_DB_URL='sqlite:///{written.path.absolute()}'")
    print(f"MOODLE_WWWROOT='{written.wwwroot}'")


def dev(options: argparse.Namespace) -> None:
    """Start Dagster's web UI and daemon, on the demo if MOODLE_DB_URL is not set."""
    # Before Dagster is imported, which takes seconds.
    _check_port(options.host, options.port)
    from caliper_dagster.operations.demo import Demo

    with ExitStack() as stack:
        site = ("MOODLE_DB_URL", "MOODLE_DB_URL_FILE", "CALIPER_SITES")
        if not any(os.environ.get(name) for name in site):
            work = Demo(Path(options.folder).absolute())
            if not work.is_there():
                raise ConfigurationError(
                    "MOODLE_DB_URL is not set and there is no demo: run `caliper-dagster demo` (or "
                    "`make demo`) first."
                )
            stack.enter_context(work.event_store())
            work.apply(os.environ)
            _tell(f"Using the demo in {work.folder}")
            _tell(f"Its event store shows what it receives: {work.page()}")
        _serve_dagster(options)


def _serve_dagster(options: argparse.Namespace) -> None:
    from caliper_dagster.config.sites import all_sites
    from caliper_dagster.operations.dev import introduction, serve

    sites = all_sites()
    if not _is_loopback(options.host):
        _tell(
            f"Other machines reach the web UI on {options.host}: it has no log-in, and whoever "
            "reaches it can launch runs. docs/deployment.md shows a proxy in front of it."
        )

    def on_ready(address: str) -> None:
        for sentence in introduction(sites):
            _tell(sentence)
        _tell(f"Ready: {address} (Ctrl-C ends it)")

    _tell("Starting Dagster…")
    if status := serve(options.host, options.port, on_ready):
        raise CaliperDagsterError(f"Dagster ended with status {status}.")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _check_port(host: str, port: int) -> None:
    """Fail if the port is taken: Dagster would start its daemon and report that it serves."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OverflowError:
        reason = "no such port"
    except OSError as error:
        unknown = isinstance(error, socket.gaierror)
        reason = str(error.strerror) if unknown else os.strerror(error.errno or 0)
        if unknown or error.errno == EADDRNOTAVAIL:
            raise ConfigurationError(
                f"--host {host} is no address of this machine ({reason})."
            ) from None
    else:
        return
    raise ConfigurationError(
        f"--port {port} cannot be used on {host} ({reason}): choose another one, such as "
        f"`make dev PORT={port % 65_535 + 1}`."
    )


def _backfill(
    settings: Settings,
    hours: HourRange,
    *,
    verbose: bool,
    fresh: bool = False,
    again: bool = False,
    newest_first: bool = False,
    processes: int = 1,
) -> None:
    from caliper_dagster.cli import terminal
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.operations import backfill
    from caliper_dagster.operations.backfill_plan import plan_backfill
    from caliper_dagster.operations.runner import RunContext

    _require_all(settings)
    frames = backfill.frames(settings)
    # An hour without rows takes some time too.
    weights = {hour: rows + 100 for hour, rows in _count(settings, hours).items()}
    with open_instance(_tell) as instance:
        plan = plan_backfill(
            instance,
            settings,
            hours,
            fresh=fresh,
            again=again,
            newest_first=newest_first,
            processes=processes,
        )
        if plan.completed:
            completed = len(hours) - sum(map(len, plan.remaining))
            print(
                f"Continues an interrupted backfill: {completed:,} of {plural(len(hours), 'hour')} "
                "are done; --again starts over.",
                file=sys.stderr,
            )
        total_weight = len(frames) * sum(weights[hour] for run in plan.remaining for hour in run)
        with terminal.ticking("Backfilling", total_weight) as ticker:
            on_written = _advance_on_written(ticker, weights, frames)
            outcomes = backfill.backfill(
                RunContext(instance, settings, on_written, verbose),
                hours,
                plan=plan,
                fresh=fresh,
                processes=processes,
            )
            total = _total(outcomes, ticker)
    terminal.show_numbers(terminal.summary(hours, total.account, total.deliveries))
    total.raise_if_incomplete(settings)
    if total.account.unexplained:
        raise CaliperDagsterError(
            f"{plural(total.account.unexplained, 'unexplained log row')}: the check "
            "every_row_explained of caliper_events names the hours."
        )


def _require_all(settings: Settings) -> None:
    """Check the settings that every run needs.

    Raises:
        ConfigurationError: a setting is missing.
    """
    from caliper_dagster.config.event_stores import require_event_stores

    for setting in ("moodle_db_url", "moodle_wwwroot"):
        settings.require(setting)
    require_event_stores(settings)


def _total(outcomes: Iterable[RunOutcome], ticker: Ticker) -> RunOutcome:
    """The sum of the outcomes; reports each on the terminal."""
    total: RunOutcome | None = None
    began = time.monotonic()
    for run in outcomes:
        now = time.monotonic()
        rows, sent = plural(run.account.rows, "log row"), plural(run.delivery.sent, "event")
        ticker.note(
            f"{run.hours}: {rows}, {sent} sent, {run.delivery.acknowledged:,} acknowledged, "
            f"{now - began:.1f} s"
        )
        total, began = run if total is None else total + run, now
    if total is None:
        raise ConfigurationError("--to must be later than --from.")
    return total


def _advance_on_written(
    ticker: Ticker, weights: dict[Hour, int], frames: tuple[Frame, ...]
) -> OnWritten:
    def on_written(frame: Frame, hour: Hour) -> None:
        if frame in frames:
            ticker.advance(weights[hour])

    return on_written


def _count(settings: Settings, hours: HourRange) -> dict[Hour, int]:
    from caliper_dagster.config.connections import open_moodle
    from caliper_dagster.expander import count_rows

    with open_moodle(settings) as database:
        return count_rows(database, hours)


def _print_estimate(settings: Settings, hours: HourRange) -> None:
    from caliper_dagster.cli import terminal
    from caliper_dagster.operations.estimate import estimate

    result = estimate(settings, hours)
    terminal.show_numbers(
        [
            ("Hours", result.hours),
            ("Hours with log rows", result.busy),
            ("Runs", result.runs),
            ("Log rows", result.rows),
            ("Events, about", result.events),
            ("Batches, about", result.batches),
            ("Megabytes of events, about", ceil(result.bytes / 1e6)),
            ("Acknowledged under an older mapping, not sent again", result.older_events),
            *(
                [("Acknowledged under other ids, sent again, about", result.under_other_ids)]
                if result.under_other_ids
                else []
            ),
            ("Minutes without the event store's time, about", max(1, round(result.seconds / 60))),
            *(
                (f"Log rows filtered{name and f' for {name}'} by {rule}, about", number)
                for name, by_rule in result.filtered.items()
                for rule, number in by_rule.items()
            ),
        ]
    )


def _settings(options: argparse.Namespace) -> Settings:
    """The settings of the site that the command is for."""
    from caliper_dagster.config.sites import FILE, chosen_site

    sites = _all_sites(options)
    if options.defs and options.site is None and len(sites) == 1:
        return sites[0]
    return chosen_site(options.site, sites, options.defs or FILE)


def _sites(options: argparse.Namespace) -> Sequence[Settings]:
    """The settings of the site that the command is for, or of all."""
    return [_settings(options)] if options.site else _all_sites(options)


def _all_sites(options: argparse.Namespace) -> tuple[Settings, ...]:
    if options.defs:
        from caliper_dagster.operations.host_project import sites_of_project

        return sites_of_project(Path(options.defs))
    from caliper_dagster.config.sites import all_sites

    return all_sites()


def _positive_integer(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError("must be 1 or more")
    return int(text)


def _hours(options: argparse.Namespace) -> HourRange:
    hours = HourRange(parse_hour(options.start, "--from"), parse_hour(options.end, "--to"))
    if not len(hours):
        raise ConfigurationError("--to must be later than --from.")
    return hours


def _complete_hours(options: argparse.Namespace, settings: Settings) -> HourRange:
    """The requested hours; all must be partitions of complete hours."""
    hours = _hours(options)
    if hours.start < settings.start:
        raise ConfigurationError(
            f"--from is before the first hour, CALIPER_START {settings.start}."
        )
    complete = last_complete_hour(datetime.now(UTC)) + 1
    if complete < hours.end:
        raise ConfigurationError(f"--to is after {complete}, the end of the last complete hour.")
    return hours


@contextmanager
def _output(name: str) -> Iterator[BinaryIO]:
    """The file, or standard output for ``-``."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = Path(name).open("wb")  # noqa: SIM115 - closed below; only opening is guarded
    except OSError as error:
        raise ConfigurationError(
            f"--out cannot be written to: {name} ({error.strerror})."
        ) from None
    with file:
        yield file


def command_parser() -> argparse.ArgumentParser:
    """The parser of ``caliper-dagster``, with all commands and their options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--verbose", action="store_true", help="print Dagster's messages and stack traces"
    )
    sited = argparse.ArgumentParser(add_help=False)
    sited.add_argument("--site", metavar="NAME", help=_SITE_HELP)
    ranged = argparse.ArgumentParser(add_help=False, parents=[sited])
    hour = "hour in UTC, such as 2026-01-31T14:00Z"
    ranged.add_argument("--from", dest="start", metavar="T", required=True, help=f"first {hour}")
    ranged.add_argument(
        "--to", dest="end", metavar="T", required=True, help=f"end (exclusive), an {hour}"
    )

    parser = argparse.ArgumentParser(
        prog="caliper-dagster",
        description="Moodle's log as 1EdTech Caliper events. Settings are environment variables; "
        "the file .env in the working directory may set them too.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {caliper_dagster.__version__}"
    )
    parser.add_argument("--defs", metavar="PATH", help=_DEFS_HELP)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        command: Callable[[argparse.Namespace], None],
        *parents: argparse.ArgumentParser,
        to: argparse._SubParsersAction[argparse.ArgumentParser] = commands,
    ) -> argparse.ArgumentParser:
        text = command.__doc__ or ""
        added = to.add_parser(
            re.sub("^(recipes|person|privacy|storage)_", "", command.__name__).replace("_", "-"),
            parents=[common, *parents],
            help=text[:1].lower() + text[1:].rstrip("."),
            description=text,
        )
        added.set_defaults(command=command)
        return added

    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument("--folder", default=".demo", help="folder of the demo (%(default)s)")

    added = add(demo, folder)
    added.add_argument("--students", type=int, default=200, help="number of students (%(default)s)")

    added = add(doctor, sited)
    added.add_argument(
        "--strict", action="store_true", help="end with exit status 2 after warnings, too"
    )
    added.add_argument(
        "--fix-modes",
        action="store_true",
        help="take the right to read stored personal data from other accounts (CALIPER_FILE_MODE)",
    )
    added.add_argument(
        "--send-test-alert",
        action="store_true",
        help="also send a test alert to everybody whom CALIPER_ALERT_… names",
    )

    added = add(backfill, ranged)
    added.add_argument("--plan", action="store_true", help="only estimate the work and the time")
    added.add_argument(
        "--fresh", action="store_true", help="expand every row again, with Moodle's present records"
    )
    added.add_argument(
        "--again", action="store_true", help="start over instead of continuing where interrupted"
    )
    added.add_argument("--newest-first", action="store_true", help="run the newest hours first")
    added.add_argument(
        "--processes",
        type=_positive_integer,
        default=1,
        metavar="N",
        help="number of runs at the same time, one per free processor (%(default)s)",
    )

    add(follow, sited)

    added = add(translate, ranged)
    added.add_argument(
        "--out", metavar="FILE", required=True, help="file to write; - for standard output"
    )
    added.add_argument("--destination", metavar="NAME", help=_DESTINATION_HELP)

    added = add(resend, ranged)
    which = added.add_mutually_exclusive_group()
    which.add_argument(
        "--all", action="store_true", help="send every event, including acknowledged ones"
    )
    which.add_argument(
        "--rejected", action="store_true", help="send only events that the event store has rejected"
    )
    which.add_argument(
        "--changed",
        action="store_true",
        help="also send acknowledged events whose content a newer release has changed",
    )
    added.add_argument("--event-store", metavar="NAME", help=_EVENT_STORE_HELP)

    added = add(prune, sited)
    added.add_argument(
        "--plan", action="store_true", help="only tell what would be deleted, and what stays"
    )

    group = commands.add_parser(
        "storage",
        help="protect and export stored hours",
        description="Protect and export stored hours.",
    ).add_subparsers(metavar="COMMAND", required=True)
    add(storage_protect, sited, to=group)
    added = add(storage_export, ranged, to=group)
    added.add_argument(
        "--asset", default="caliper_events", help="the asset whose hours are copied (%(default)s)"
    )
    added.add_argument("--out", metavar="FOLDER", required=True, help="folder of the copies")

    added = add(metrics, sited)
    added.add_argument(
        "--out", metavar="FILE", required=True, help="file (*.prom) to write; - for standard output"
    )

    added = add(rejected, ranged)
    added.add_argument("--event-store", metavar="NAME", help=_EVENT_STORE_HELP)

    added = add(coverage, ranged)
    added.add_argument(
        "--top",
        type=_positive_integer,
        metavar="N",
        help="list only the N most frequent events; the sums are those of all",
    )

    group = commands.add_parser(
        "recipes",
        help="check, show and compare recipes",
        description="Check, show and compare recipes.",
    ).add_subparsers(metavar="COMMAND", required=True)
    added = add(recipes_check, to=group)
    added.add_argument("files", metavar="FILE", nargs="+")
    added = add(recipes_show, sited, to=group)
    added.add_argument(
        "event", metavar="EVENTNAME", help=r"such as '\mod_quiz\event\attempt_started'"
    )
    add(recipes_diff, ranged, to=group)
    add(recipes_table, to=group)
    add(recipes_schema, to=group)

    group = commands.add_parser(
        "person",
        help="what concerns a single person, and the keys of pseudonyms",
        description="What concerns a single person, and the keys of pseudonyms.",
    ).add_subparsers(metavar="COMMAND", required=True)
    person = argparse.ArgumentParser(add_help=False, parents=[sited])
    person.add_argument("user", metavar="USER", help="user id in Moodle, or user name")
    added = add(person_export, person, to=group)
    added.add_argument(
        "--output",
        metavar="FOLDER",
        required=True,
        help="new or empty folder to write; only its owner may enter it",
    )
    added = add(person_erase, person, to=group)
    added.add_argument(
        "--yes", action="store_true", help="erase; without it, only tell what would be changed"
    )
    added = add(person_pseudonym, sited, to=group)
    added.add_argument("user", metavar="USER", help="id or user name in Moodle")
    added.add_argument("--destination", metavar="NAME", help=_DESTINATION_HELP)
    added = add(person_replace_key, sited, to=group)
    added.add_argument("--destination", metavar="NAME", help=_DESTINATION_HELP)
    added.add_argument(
        "--out",
        metavar="FILE",
        required=True,
        help="file for the ids of the events that were sent under other keys; - for standard "
        "output",
    )

    group = commands.add_parser(
        "privacy",
        help="what is done with personal data",
        description="What is done with personal data.",
    ).add_subparsers(metavar="COMMAND", required=True)
    added = add(privacy_report, sited, to=group)
    added.add_argument(
        "--output", metavar="FOLDER", default="privacy-report", help="folder to write (%(default)s)"
    )

    added = add(validate)
    added.add_argument("file", metavar="FILE", help="JSON or NDJSON; - for standard input")
    added.add_argument(
        "--strict",
        action="store_true",
        help="also check the stricter rules of the events that this project sends",
    )

    added = add(event_store)
    added.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    added.add_argument("--port", type=int, required=True, help="port to listen on")
    added.add_argument(
        "--db", metavar="FILE", required=True, help="SQLite file for received events"
    )
    added.add_argument(
        "--api-key", metavar="KEY", help="key that senders must present (CALIPER_API_KEY)"
    )
    added.add_argument("--hostile", metavar="FAULTS", default="", help=_FAULTS_HELP)

    added = add(sample)
    added.add_argument("--out", metavar="FILE", required=True, help="SQLite file to write")
    added.add_argument("--students", type=int, default=200, help="number of students (%(default)s)")
    added.add_argument(
        "--hours", type=int, default=48, help="length of the log in hours (%(default)s)"
    )
    added.add_argument(
        "--seed", type=int, default=1, help="seed of the random numbers (%(default)s)"
    )
    added.add_argument("--overwrite", action="store_true", help="replace an existing file")

    added = add(dev, folder)
    added.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    added.add_argument(
        "--port", type=_positive_integer, default=3000, help="port of the web UI (%(default)s)"
    )
    return parser
