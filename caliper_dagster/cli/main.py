"""The command line: ``caliper-dagster``.

Here belongs what can be asked for and how answers are told; the work is done by the modules beside
this one, which each command imports when it runs: ``--help`` and ``translate`` need no Dagster.
Whatever goes wrong is one sentence on standard error and exit status 2; ``--verbose`` adds what
Dagster says and stack traces.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dotenv import load_dotenv

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.core.gc_tuning import raise_gc_threshold
from caliper_dagster.core.hours import Hour, HourRange, last_complete_hour, parse_hour

if TYPE_CHECKING:
    from caliper_dagster.cli.terminal import Ticker
    from caliper_dagster.core.frames import Frame
    from caliper_dagster.operations.run_outcome import RunOutcome, Written

_INVALID = 1
_HOSTILE = (
    "misbehave, for tests: shares of POSTs, events or sizes such as 429=0.1,drop=0.05,400=0.001,"
    "413=100000,until=500,seed=7; docs/reliability.md names them all"
)
_ONE_SITE = "this one of the sites that CALIPER_SITES names"
_ONE_STORE = "only this one of the event stores that CALIPER_EVENT_STORES names"
_WRONG = 2
_INTERRUPTED = 130


class _InvalidError(Exception):
    """What was looked at is not valid; it has been said why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 when a file is not valid, 2 for anything that went wrong, 130 when
        interrupted.
    """
    raise_gc_threshold()
    load_dotenv(Path.cwd() / ".env", override=False)
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with warnings.catch_warnings():
            if not given.verbose:
                warnings.simplefilter("ignore")
            given.command(given)
    except _InvalidError:
        return _INVALID
    except KeyboardInterrupt:
        return _say(
            "Interrupted. What was acknowledged stays so; run the command again.", _INTERRUPTED
        )
    except BrokenPipeError:
        # Whoever read the output has had enough, and must not be told so at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if given.verbose:
            raise
        return _say(_sentence(error), _WRONG)
    return 0


def _sentence(error: Exception) -> str:
    if isinstance(error, CaliperDagsterError):
        return str(error)
    # The words of other errors may hold anything, a password too.
    return f"Something unexpected went wrong ({type(error).__name__}); --verbose shows where."


def _say(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status


def demo(given: argparse.Namespace) -> None:
    """The main job on the embedded sample site and event store."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.embedded.arrivals import arrivals
    from caliper_dagster.operations.demo import Demo

    work = Demo(Path(given.folder).absolute())
    out = terminal.results()
    new = work.prepare(given.students)
    out.print(f"{'Wrote' if new else 'Kept'} a sample Moodle site: {work.sample}")
    with work.event_store():
        work.apply(os.environ)
        _backfill(Settings.from_environment(), work.hours(), given.verbose)
    kept = arrivals(work.arrived)
    terminal.show_numbers(
        [
            ("At the event store: envelopes", kept.envelopes),
            ("At the event store: events", kept.events),
        ]
    )
    out.print("Look at the same hours in the web UI: make dev (or caliper-dagster dev)")


def doctor(given: argparse.Namespace) -> None:
    """Check everything a run needs, and say what to mend."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.sites import all_sites, chosen_site
    from caliper_dagster.operations.doctor import Verdict, examine

    broken = 0
    for finding in examine([chosen_site(given.site)] if given.site else all_sites()):
        broken += finding.verdict is Verdict.BROKEN
        of = f"{finding.site}  " if finding.site else ""
        line = f"{finding.verdict.value:4}  {of}{finding.subject:16}  {finding.text}"
        terminal.results().print(line, soft_wrap=True, markup=False)
    if broken:
        raise ConfigurationError(f"{broken} thing(s) to mend.")


def backfill(given: argparse.Namespace) -> None:
    """Materialize the four assets for the hours."""
    settings = _settings(given)
    hours = _partitions(given, settings)
    if given.plan:
        _plan(settings, hours)
    else:
        _backfill(
            settings,
            hours,
            given.verbose,
            fresh=given.fresh,
            again=given.again,
            newest_first=given.newest_first,
            processes=given.processes,
        )


def resend(given: argparse.Namespace) -> None:
    """Send the events of the hours again."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.event_stores import event_store_named, require_event_stores
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.operations import resend as operation

    settings = _settings(given)
    hours, stores = _partitions(given, settings), require_event_stores(settings)
    if given.event_store:
        stores = (event_store_named(stores, given.event_store),)
    results = tuple(store.results for store in stores)
    with (
        open_instance() as instance,
        terminal.ticking("Sending", len(results) * len(hours)) as ticker,
    ):
        done = operation.resend(
            instance,
            settings,
            hours,
            everything=given.all,
            rejected=given.rejected,
            changed=given.changed,
            event_store=given.event_store,
            written=_advancing(ticker, dict.fromkeys(hours, 1), results),
            verbose=given.verbose,
        )
        total = _total(done, ticker)
    terminal.show_numbers([("Hours", len(hours)), *terminal.delivered(total.deliveries)])
    total.raise_if_incomplete(settings)


def rejected(given: argparse.Namespace) -> None:
    """List the events of the hours that the event store has refused, with its words."""
    from caliper_dagster.config.event_stores import event_store_named, require_event_stores
    from caliper_dagster.delivery.rejected import rejected_events

    settings, found = _settings(given), 0
    stores = require_event_stores(settings)
    if given.event_store:
        stores = (event_store_named(stores, given.event_store),)
    for event in rejected_events(settings, stores, _hours(given)):
        found += 1
        print(*event.columns(), sep="\t")
    told = "send them again with `resend --rejected` when that is mended" if found else "none"
    print(f"{found:,} rejected event(s): {told}", file=sys.stderr)


def follow(given: argparse.Namespace) -> None:
    """Send the rows of the hour in progress as they come, until it is interrupted."""
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.operations.follow import Follower

    settings = _settings(given)
    _require_all(settings)
    with open_instance() as instance:
        follower = Follower(instance, settings, verbose=given.verbose)
        print("Following the log.", file=sys.stderr, flush=True)
        while True:
            began = time.monotonic()
            try:
                for run in follower.look():
                    told = f"{run.hours}: {run.delivery.sent:,} events sent"
                    print(told, f"{time.monotonic() - began:.1f} s", sep=", ", flush=True)
                    if run.failure:
                        _warn(run.failure)
            except CaliperDagsterError as error:
                _warn(error)
            time.sleep(max(0.0, began + settings.send_interval - time.monotonic()))


def _warn(what: object) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} UTC: {what}", file=sys.stderr, flush=True)


def translate(given: argparse.Namespace) -> None:
    """Write the events of the hours as NDJSON; send nothing."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.operations.translate import translated

    settings, hours = _settings(given), _hours(given)
    outcomes: Counter[str] = Counter()
    with _output(given.out) as file, terminal.ticking("Translating", len(hours)) as ticker:
        for piece, events, counts in translated(settings, hours):
            file.writelines(events)
            outcomes.update(counts)
            ticker.advance(len(piece))
    told = ", ".join(f"{number:,} {name}" for name, number in outcomes.items())
    print(f"{hours}: {told}", file=sys.stderr)


def coverage(given: argparse.Namespace) -> None:
    """Say which Moodle events the log holds, how many, and by which recipe they leave."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.translator import configured_recipes
    from caliper_dagster.operations import recipes

    settings, hours = _settings(given), _hours(given)
    found = recipes.coverage(settings, configured_recipes(settings), hours)
    total = sum(event.rows for event in found)
    by_resolution: Counter[str] = Counter()
    for event in found:
        by_resolution[event.resolution] += event.rows
    terminal.show_table(
        ("Rows", "Moodle event", "Recipe", "", "Caliper 1.2"),
        [
            (
                f"{event.rows:,}",
                event.event_name,
                event.pattern,
                event.resolution,
                f"{event.event_type} {event.action}",
            )
            for event in found
        ],
    )
    shares = [
        (name, f"{rows:,} rows, {rows / total:.2%}") for name, rows in by_resolution.most_common()
    ]
    terminal.show_table(("", ""), [("all", f"{total:,} rows"), *shares])


def recipes_check(given: argparse.Namespace) -> None:
    """Check files of recipes; a mistake is told with line and reason."""
    from caliper_dagster.config.translator import read_file
    from caliper_dagster.translator import read_recipes

    for name in given.files:
        found = list(read_recipes(name, read_file(name), resolution="user"))
        print(f"{name}: {len(found)} event(s), all well formed")


def recipes_show(given: argparse.Namespace) -> None:
    """Say which recipe wins for an event and why, and show an example of what it makes."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.event_stores import caliper_versions
    from caliper_dagster.config.translator import configured_recipes
    from caliper_dagster.operations import recipes

    settings = _settings(given)
    name = given.event if given.event.startswith("\\") else f"\\{given.event}"
    shown = recipes.show(configured_recipes(settings), name, version=caliper_versions(settings)[0])
    terminal.results().print(shown.why, markup=False, soft_wrap=True)
    terminal.show_json(shown.recipe)
    terminal.show_json(shown.event)


def recipes_diff(given: argparse.Namespace) -> None:
    """Say which stored events would change under the recipes of now, before anything is sent."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.config.connections import open_store
    from caliper_dagster.operations import recipes

    settings = _settings(given)
    storage = open_store(settings)
    rows = [
        (
            name,
            f"{changes.changed:,}",
            f"{changes.added:,}",
            f"{changes.gone:,}",
            ", ".join(f"{path} ({number:,})" for path, number in changes.where.most_common(5)),
        )
        for name, changes in recipes.differences(settings, storage, _hours(given))
    ]
    if not rows:
        print("Nothing would change.")
        return
    terminal.show_table(("Moodle event", "Changed", "New", "Gone", "Where"), rows)


def recipes_table(_given: argparse.Namespace) -> None:
    """Print the table of all events that have a recipe of their own, in Markdown."""
    from caliper_dagster.operations import recipes

    print(recipes.reference(), end="")


def recipes_schema(_given: argparse.Namespace) -> None:
    """Print the JSON Schema of a recipe file."""
    from caliper_dagster.cli import terminal
    from caliper_dagster.translator.recipes import schema

    terminal.show_json(schema())


def validate(given: argparse.Namespace) -> None:
    """Say whether the events, entities and envelopes of a file are valid Caliper."""
    from caliper_dagster.operations.validate import validate_file

    if validate_file(given.file, sys.stdout, strict=given.strict):
        raise _InvalidError


def event_store(given: argparse.Namespace) -> None:
    """Run the embedded event store."""
    from caliper_dagster.embedded.event_store import serve
    from caliper_dagster.embedded.faults import Faults

    key = given.api_key or os.environ.get("CALIPER_API_KEY")
    if not key:
        raise ConfigurationError(
            "CALIPER_API_KEY is not set, and no --api-key is given: the key that senders must show."
        )
    serve(given.port, given.db, key, given.host, Faults.parse(given.hostile))


def sample(given: argparse.Namespace) -> None:
    """Write a sample Moodle database."""
    from caliper_dagster.embedded.sample import write_sample

    written = write_sample(
        given.out,
        students=given.students,
        hours=given.hours,
        seed=given.seed,
        overwrite=given.overwrite,
    )
    print(f"{written.path}: {written.total:,} log rows of {written.hours}")
    print(f"MOODLE_DB_URL='sqlite:///{written.path.absolute()}'")
    print(f"MOODLE_WWWROOT='{written.wwwroot}'")


def dev(given: argparse.Namespace) -> None:
    """Start Dagster's web UI and daemon."""
    from caliper_dagster.operations.demo import Demo

    with ExitStack() as stack:
        if not (os.environ.get("MOODLE_DB_URL") or os.environ.get("CALIPER_SITES")):
            work = Demo(Path(given.folder).absolute())
            if not work.is_there():
                raise ConfigurationError(
                    "MOODLE_DB_URL is not set, and there is no demo to look at instead: run "
                    "`caliper-dagster demo` (or `make demo`) first."
                )
            stack.enter_context(work.event_store())
            work.apply(os.environ)
            print(f"On the demo in {work.folder}", file=sys.stderr)
            print(f"What arrives at its event store: {work.page()}", file=sys.stderr)
        _serve_dagster(given)


def _serve_dagster(given: argparse.Namespace) -> None:
    from caliper_dagster.dagster.instance.open import dagster_home

    dagster_home()
    _check_port(given.host, given.port)
    process = subprocess.Popen(  # noqa: S603 - this interpreter; host and port are the user's
        [
            *(sys.executable, "-W", "ignore", "-m", "dagster", "dev"),
            *("--module-name", "caliper_dagster.definitions"),
            *("--host", given.host, "--port", str(given.port)),
        ],
        # A terminal interrupts all its processes; this one is to be told once, and by us.
        start_new_session=True,
    )
    try:
        status = process.wait()
    except KeyboardInterrupt:
        # Its web server and daemon are children of its own; it must be the one to end them.
        process.terminate()
        process.wait()
        return
    if status:
        raise CaliperDagsterError(f"Dagster ended with status {status}.")


def _check_port(host: str, port: int) -> None:
    """Dagster's web server would say that it serves, and its daemon go on without it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such port"
        raise ConfigurationError(
            f"--port {port} cannot be used on {host} ({reason}): give another one."
        ) from None


def _backfill(
    settings: Settings,
    hours: HourRange,
    verbose: bool,
    *,
    fresh: bool = False,
    again: bool = False,
    newest_first: bool = False,
    processes: int = 1,
) -> None:
    from caliper_dagster.cli import terminal
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.operations import backfill
    from caliper_dagster.operations.backfill_plan import plan_backfill

    _require_all(settings)
    frames = backfill.frames(settings)
    rows = _count(settings, hours)
    # An hour costs something without rows too.
    weights = {hour: number + 100 for hour, number in rows.items()}
    with open_instance() as instance:
        work = plan_backfill(
            instance,
            settings,
            hours,
            fresh=fresh,
            again=again,
            newest_first=newest_first,
            processes=processes,
        )
        if work.before:
            taken = len(hours) - sum(map(len, work.left))
            print(
                f"Goes on where it was interrupted, with {taken:,} of {len(hours):,} hours done; "
                "--again begins anew.",
                file=sys.stderr,
            )
        to_do = len(frames) * sum(weights[hour] for part in work.left for hour in part)
        with terminal.ticking("Backfilling", to_do) as ticker:
            done = backfill.backfill(
                instance,
                settings,
                hours,
                written=_advancing(ticker, weights, frames),
                plan=work,
                fresh=fresh,
                verbose=verbose,
                processes=processes,
            )
            total = _total(done, ticker)
    terminal.show_numbers(terminal.summary(hours, total.account, total.deliveries))
    if total.account.unexplained:
        raise CaliperDagsterError(
            f"{total.account.unexplained} log row(s) are unexplained: the check "
            "every_row_explained of caliper_events names the hours."
        )
    total.raise_if_incomplete(settings)


def _require_all(settings: Settings) -> None:
    """What every run needs.

    Raises:
        ConfigurationError: a setting is missing.
    """
    from caliper_dagster.config.event_stores import require_event_stores

    for needed in ("moodle_db_url", "moodle_wwwroot"):
        settings.require(needed)
    require_event_stores(settings)


def _total(done: Iterable[RunOutcome], ticker: Ticker) -> RunOutcome:
    """The sum of all runs, telling of each."""
    total: RunOutcome | None = None
    began = time.monotonic()
    for run in done:
        now = time.monotonic()
        ticker.note(
            f"{run.hours}: {run.account.rows:,} log rows, {run.delivery.sent:,} events sent, "
            f"{run.delivery.acknowledged:,} acknowledged, {now - began:.1f} s"
        )
        total, began = run if total is None else total + run, now
    if total is None:
        raise ConfigurationError("--to must be later than --from.")
    return total


def _advancing(ticker: Ticker, weights: dict[Hour, int], frames: tuple[Frame, ...]) -> Written:
    def written(frame: Frame, hour: Hour) -> None:
        if frame in frames:
            ticker.advance(weights[hour])

    return written


def _count(settings: Settings, hours: HourRange) -> dict[Hour, int]:
    from caliper_dagster.config.connections import open_moodle
    from caliper_dagster.expander import count_rows

    with open_moodle(settings) as database:
        return count_rows(database, hours)


def _plan(settings: Settings, hours: HourRange) -> None:
    from caliper_dagster.cli import terminal
    from caliper_dagster.operations.estimate import estimate

    found = estimate(settings, hours)
    terminal.show_numbers(
        [
            ("Hours", found.hours),
            ("Hours with log rows", found.busy),
            ("Runs", found.runs),
            ("Log rows", found.rows),
            ("Events, about", found.events),
            ("Batches, about", found.batches),
            ("Megabytes of events, about", ceil(found.bytes / 1e6)),
            ("Acknowledged under an older mapping, not sent again", found.older_events),
            ("Minutes beside the event store's own, about", max(1, round(found.seconds / 60))),
        ]
    )


def _settings(given: argparse.Namespace) -> Settings:
    """Those of the site that a command is for."""
    from caliper_dagster.config.sites import chosen_site

    return chosen_site(given.site)


def _several(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError("must be a number from 1 on")
    return int(text)


def _hours(given: argparse.Namespace) -> HourRange:
    hours = HourRange(parse_hour(given.start, "--from"), parse_hour(given.end, "--to"))
    if not len(hours):
        raise ConfigurationError("--to must be later than --from.")
    return hours


def _partitions(given: argparse.Namespace, settings: Settings) -> HourRange:
    """The hours that are asked for; all must be partitions."""
    hours = _hours(given)
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


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--verbose", action="store_true", help="Dagster's messages, stack traces")
    sited = argparse.ArgumentParser(add_help=False)
    sited.add_argument("--site", metavar="NAME", help=_ONE_SITE)
    ranged = argparse.ArgumentParser(add_help=False, parents=[sited])
    hour = "hour in UTC, such as 2026-01-31T14:00Z"
    ranged.add_argument("--from", dest="start", metavar="T", required=True, help=f"first {hour}")
    ranged.add_argument("--to", dest="end", metavar="T", required=True, help=f"end, an {hour}")

    parser = argparse.ArgumentParser(
        prog="caliper-dagster",
        description="Moodle's log as 1EdTech Caliper events. Settings are environment variables, "
        "also from .env in the working directory.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        command: Callable[[argparse.Namespace], None],
        *parents: argparse.ArgumentParser,
        to: argparse._SubParsersAction[argparse.ArgumentParser] = commands,
    ) -> argparse.ArgumentParser:
        text = command.__doc__ or ""
        added = to.add_parser(
            command.__name__.removeprefix("recipes_").replace("_", "-"),
            parents=[common, *parents],
            help=text[:1].lower() + text[1:].rstrip("."),
            description=text,
        )
        added.set_defaults(command=command)
        return added

    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument("--folder", default=".demo", help="where the demo is kept (%(default)s)")

    added = add(demo, folder)
    added.add_argument("--students", type=int, default=200, help="size of the site (%(default)s)")

    add(doctor, sited)

    added = add(backfill, ranged)
    added.add_argument("--plan", action="store_true", help="only say how much there is to do")
    added.add_argument(
        "--fresh", action="store_true", help="expand anew also what was expanded before"
    )
    added.add_argument(
        "--again", action="store_true", help="begin anew, also when it was interrupted"
    )
    added.add_argument("--newest-first", action="store_true", help="begin with the newest hours")
    added.add_argument(
        "--processes",
        type=_several,
        default=1,
        metavar="N",
        help="runs side by side, one for each processor that is free (%(default)s)",
    )

    add(follow, sited)

    added = add(translate, ranged)
    added.add_argument("--out", metavar="FILE", required=True, help="- is standard output")

    added = add(resend, ranged)
    which = added.add_mutually_exclusive_group()
    which.add_argument(
        "--all", action="store_true", help="also what the event store has acknowledged"
    )
    which.add_argument(
        "--rejected", action="store_true", help="only what the event store has refused"
    )
    which.add_argument(
        "--changed",
        action="store_true",
        help="also acknowledged events of which a newer release makes other content",
    )

    added.add_argument("--event-store", metavar="NAME", help=_ONE_STORE)

    added = add(rejected, ranged)
    added.add_argument("--event-store", metavar="NAME", help=_ONE_STORE)

    add(coverage, ranged)

    group = commands.add_parser(
        "recipes", help="what the recipes say", description="What the recipes say."
    ).add_subparsers(metavar="WHAT", required=True)
    added = add(recipes_check, to=group)
    added.add_argument("files", metavar="FILE", nargs="+")
    added = add(recipes_show, sited, to=group)
    added.add_argument(
        "event", metavar="EVENTNAME", help=r"such as '\mod_quiz\event\attempt_started'"
    )
    add(recipes_diff, ranged, to=group)
    add(recipes_table, to=group)
    add(recipes_schema, to=group)

    added = add(validate)
    added.add_argument("file", metavar="FILE", help="JSON or NDJSON; - is standard input")
    added.add_argument("--strict", action="store_true", help="hold it to what we send ourselves")

    added = add(event_store)
    added.add_argument("--host", default="127.0.0.1", help="(%(default)s)")
    added.add_argument("--port", type=int, required=True)
    added.add_argument("--db", metavar="FILE", required=True, help="SQLite file for what arrives")
    added.add_argument("--api-key", metavar="KEY", help="key to ask for (CALIPER_API_KEY)")
    added.add_argument("--hostile", metavar="FAULTS", default="", help=_HOSTILE)

    added = add(sample)
    added.add_argument("--out", metavar="FILE", required=True, help="SQLite file to write")
    added.add_argument("--students", type=int, default=200, help="(%(default)s)")
    added.add_argument("--hours", type=int, default=48, help="length of the log (%(default)s)")
    added.add_argument("--seed", type=int, default=1, help="decides all chances (%(default)s)")
    added.add_argument("--overwrite", action="store_true", help="replace the file")

    added = add(dev, folder)
    added.add_argument("--host", default="127.0.0.1", help="(%(default)s)")
    added.add_argument("--port", type=int, default=3000, help="(%(default)s)")
    return parser
