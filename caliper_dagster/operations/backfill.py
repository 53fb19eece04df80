"""Runs that the command line makes: ranges of hours, one after the other, in this process.

They are runs of the same jobs in the same Dagster instance as those of the schedule, so the web UI
shows them and their hours. Here belongs how a range becomes runs and what a failed one says; which
ranges, and how the numbers look, is the business of ``cli``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import dagster as dg

from caliper_dagster.config.connections import open_store
from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    caliper_versions,
    event_stores,
    events_frame,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import RunError
from caliper_dagster.core.frames import (
    EXPANDED_LOG,
    MOODLE_LOG,
    Frame,
)
from caliper_dagster.core.hours import Hour, HourRange, groups
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs
from caliper_dagster.dagster.tags import FRESH_TAG
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.operations.backfill_plan import BackfillPlan
from caliper_dagster.operations.process_pool import run_in_processes
from caliper_dagster.operations.run_outcome import RunOutcome, Written, deliveries_of
from caliper_dagster.operations.runner import Runner


def backfill(
    instance: dg.DagsterInstance,
    settings: Settings,
    hours: HourRange,
    *,
    written: Written,
    plan: BackfillPlan | None = None,
    fresh: bool = False,
    verbose: bool = False,
    processes: int = 1,
) -> Iterator[RunOutcome]:
    """Materialize all assets for the hours, ``settings.hours_per_run`` hours in each run.

    What event stores do not get in these they get in runs of their own in the end.

    Args:
        instance: where the runs are recorded.
        settings: what the assets are built for.
        hours: complete hours, not before ``settings.start``.
        written: called with every partition that is written, while a run goes on.
        plan: what of the hours is to be done, and in which order; all without it.
        fresh: expand anew also the rows that were expanded before.
        verbose: let Dagster's own messages through to standard error; only of this process.
        processes: how many runs are made side by side, each in a process of its own.

    Yields:
        What each run has done, after it; first what was done before an interruption.

    Raises:
        RunError: a run failed; what was done before stays done.
        KeyboardInterrupt: a run was interrupted.
    """
    asked = {FRESH_TAG: "true"} if fresh else {}
    plan = plan or BackfillPlan(tuple(split_range(hours, settings.hours_per_run)))
    left: set[tuple[str, Hour]] = set()
    runs = run_ranges(instance, settings, CHAIN_JOB, plan, asked, written, verbose, None, processes)
    for done in runs:
        left |= done.left
        yield done
    yield from send_backlog(instance, settings, left, written, verbose)


def split_range(hours: HourRange, size: int) -> Iterator[HourRange]:
    """The range in pieces of at most ``size`` hours."""
    for first in range(hours.start.number, hours.end.number, size):
        yield HourRange(Hour(first), min(Hour(first + size), hours.end))


def frames(settings: Settings) -> tuple[Frame, ...]:
    """The tables of all assets."""
    versions = caliper_versions(settings)
    return (
        MOODLE_LOG,
        EXPANDED_LOG,
        *(events_frame(settings, version) for version in versions),
        *(store.results for store in event_stores(settings)),
    )


def run_ranges(
    instance: dg.DagsterInstance,
    settings: Settings,
    job: str,
    plan: BackfillPlan,
    asked: Mapping[str, str],
    written: Written,
    verbose: bool,
    only: EventStoreDefinition | None = None,
    processes: int = 1,
) -> Iterator[RunOutcome]:
    """Make a run of each range of the plan."""
    fail_orphaned_runs(instance)
    runner = Runner(instance, settings, job, written=written, verbose=verbose, only=only)
    for piece in plan.before:
        yield runner.read_outcome(piece)
    tags = {**asked, **plan.tags}
    if processes > 1:
        by_name = {frame.name: frame for frame in frames(settings)}
        yield from run_in_processes(
            settings,
            job,
            plan.left,
            tags,
            written=lambda name, hour: written(by_name[name], hour),
            processes=processes,
        )
    else:
        for piece in plan.left:
            yield runner.run(piece, tags)


def send_backlog(
    instance: dg.DagsterInstance,
    settings: Settings,
    left: Collection[tuple[str, Hour]],
    written: Written,
    verbose: bool,
) -> Iterator[RunOutcome]:
    """Send each event store the hours that were left over, in runs of its own."""
    for store in event_stores(settings):
        wanted = {hour for name, hour in left if name == store.name}
        if not wanted:
            continue
        runner = Runner(instance, settings, CHAIN_JOB, written=written, verbose=verbose, only=store)
        failure: str | None = None
        try:
            # Others may have sent some of them meanwhile.
            still = wanted & set(deferred_hours(settings).get(store.ledger_name(), {}))
            for piece in groups(still, settings.hours_per_run):
                runner.run(piece, {})
        except RunError as error:
            failure = str(error)
        got = wanted - set(deferred_hours(settings).get(store.ledger_name(), {}))
        delivery = deliveries_of(open_store(settings), store.results, got)
        yield RunOutcome(
            HourRange.covering(wanted),
            Account(),
            {store.ledger_name(): delivery},
            settled=frozenset((store.ledger_name(), hour) for hour in got),
            failure=failure,
        )
