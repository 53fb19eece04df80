"""Commands that send events, and show what was not accepted: backfill, resend, rejected, follow."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING

from caliper_dagster.cli.options import chosen_hours, chosen_settings, complete_hours, tell
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.wording import plural

if TYPE_CHECKING:
    from caliper_dagster.cli.terminal import Ticker
    from caliper_dagster.core.frames import Frame
    from caliper_dagster.operations.run_outcome import OnWritten, RunOutcome


def backfill(options: argparse.Namespace) -> None:
    """Read, translate and send the hours."""
    settings = chosen_settings(options)
    hours = complete_hours(options, settings)
    if options.plan:
        _print_estimate(settings, hours)
    else:
        run_backfill(
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

    settings = chosen_settings(options)
    hours, stores = complete_hours(options, settings), require_event_stores(settings)
    if options.destination:
        stores = (event_store_named(stores, options.destination),)
    results = tuple(store.results for store in stores)
    with (
        open_instance(tell) as instance,
        terminal.ticking("Sending", len(results) * len(hours)) as ticker,
    ):
        on_written = _advance_on_written(ticker, dict.fromkeys(hours, 1), results)
        outcomes = operation.resend(
            RunContext(instance, settings, on_written, options.verbose),
            hours,
            everything=options.all,
            rejected=options.rejected,
            changed=options.changed,
            event_store=options.destination,
        )
        total = _total(outcomes, ticker)
    table = reports.sent_again if options.rejected else terminal.delivered
    terminal.show_numbers([("Hours", len(hours)), *table(total.deliveries)])
    total.raise_if_incomplete(settings)


def rejected(options: argparse.Namespace) -> None:
    """List the events of the hours that the event store has rejected, with its reasons."""
    from caliper_dagster.cli import reports
    from caliper_dagster.config.event_stores import event_store_named, require_event_stores
    from caliper_dagster.delivery.rejected import rejected_events

    settings = chosen_settings(options)
    stores = require_event_stores(settings)
    if options.destination:
        stores = (event_store_named(stores, options.destination),)
    number = reports.show_rejected(
        rejected_events(settings, stores, chosen_hours(options)),
        named=any(store.name for store in stores),
    )
    advice = "; once the cause is fixed, `resend --rejected` sends them again" if number else ""
    print(f"{plural(number, 'rejected event')}{advice}.", file=sys.stderr)


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

    settings = chosen_settings(options)
    _require_all(settings)
    with open_instance(tell) as instance:
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


def run_backfill(
    settings: Settings,
    hours: HourRange,
    *,
    verbose: bool,
    fresh: bool = False,
    again: bool = False,
    newest_first: bool = False,
    processes: int = 1,
) -> None:
    """Run a backfill and show its progress and sums; see `operations.backfill`.

    Raises:
        CaliperDagsterError: it is incomplete, or log rows are unexplained.
    """
    from caliper_dagster.cli import terminal
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.operations import backfill
    from caliper_dagster.operations.backfill_plan import plan_backfill
    from caliper_dagster.operations.runner import RunContext

    _require_all(settings)
    frames = backfill.frames(settings)
    # An hour without rows takes some time too.
    weights = {hour: rows + 100 for hour, rows in _count(settings, hours).items()}
    with open_instance(tell) as instance:
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
