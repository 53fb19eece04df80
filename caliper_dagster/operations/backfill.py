"""Backfills: runs of the command line over ranges of hours, one after the other.

They are runs of the same jobs in the same Dagster instance as those of the schedule, so the web UI
shows them. ``operations.runner`` makes a single run, ``operations.process_pool`` makes several at
the same time, and ``cli`` prints the results.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from caliper_dagster.config.connections import open_store
from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    event_stores,
    events_frame,
    renderings,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import RunError
from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG, Frame
from caliper_dagster.core.hours import Hour, HourRange, groups
from caliper_dagster.core.row_accounting import Account, DeliveryCounts
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs
from caliper_dagster.dagster.tags import COMMAND_TAG, FRESH_TAG
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.delivery.gate import withheld_hours
from caliper_dagster.operations.backfill_plan import BackfillPlan
from caliper_dagster.operations.process_pool import run_in_processes
from caliper_dagster.operations.run_outcome import RunOutcome, read_deliveries
from caliper_dagster.operations.runner import JobRunner, RunContext


def backfill(
    context: RunContext,
    hours: HourRange,
    *,
    plan: BackfillPlan | None = None,
    fresh: bool = False,
    processes: int = 1,
) -> Iterator[RunOutcome]:
    """Materialize all assets for the hours, ``settings.hours_per_run`` hours in each run.

    At the end, event stores receive the hours that were deferred in these runs.

    Args:
        context: of the command.
        hours: complete hours, not before ``settings.start``.
        plan: which of the hours remain, and in which order; all of them in order if omitted.
        fresh: expand every row again, including those that were expanded before.
        processes: the number of runs at the same time, each in a process of its own.

    Yields:
        The outcome of each run after its end, preceded by the outcomes of runs before an
        interruption.

    Raises:
        RunError: a run failed. What was completed before stays completed.
        KeyboardInterrupt: a run was interrupted.
    """
    tags = {COMMAND_TAG: "backfill"}
    if fresh:
        tags = {COMMAND_TAG: "backfill --fresh", FRESH_TAG: "true"}
    plan = plan or BackfillPlan(tuple(split_range(hours, context.settings.hours_per_run)))
    deferred: set[tuple[str, Hour]] = set()
    for outcome in run_plan(context, CHAIN_JOB, plan, tags, processes=processes):
        deferred |= outcome.deferred
        yield outcome
    yield from send_backlog(context, deferred, tags)


def split_range(hours: HourRange, size: int) -> Iterator[HourRange]:
    """The range as consecutive ranges of at most ``size`` hours."""
    for first in range(hours.start.number, hours.end.number, size):
        yield HourRange(Hour(first), min(Hour(first + size), hours.end))


def frames(settings: Settings) -> tuple[Frame, ...]:
    """The tables of all assets of a site."""
    return (
        MOODLE_LOG,
        EXPANDED_LOG,
        *(events_frame(settings, rendering) for rendering in renderings(settings)),
        *(store.results for store in event_stores(settings)),
    )


def run_plan(
    context: RunContext,
    job: str,
    plan: BackfillPlan,
    tags: Mapping[str, str],
    *,
    only: EventStoreDefinition | None = None,
    translate: bool = False,
    processes: int = 1,
) -> Iterator[RunOutcome]:
    """Run a job for every remaining range of a plan.

    Args:
        context: of the command.
        job: the name of the job, without the name of the site.
        plan: the ranges.
        tags: tags of the runs, in addition to those of the plan.
        only: see `JobRunner`; in this process.
        translate: see `JobRunner`; in this process.
        processes: the number of runs at the same time.
    """
    fail_orphaned_runs(context.instance)
    runner = JobRunner(context, job, only=only, translate=translate)
    for hours in runner.still_stored(plan.completed):
        yield runner.read_outcome(hours)
    tags = {**tags, **plan.tags}
    if processes == 1:
        for hours in plan.remaining:
            yield runner.run(hours, tags)
        return
    by_name = {frame.name: frame for frame in frames(context.settings)}
    yield from run_in_processes(
        context.settings,
        job,
        plan.remaining,
        tags,
        on_written=lambda name, hour: context.on_written(by_name[name], hour),
        processes=processes,
    )


def send_backlog(
    context: RunContext, deferred: Collection[tuple[str, Hour]], tags: Mapping[str, str]
) -> Iterator[RunOutcome]:
    """Send deferred hours to each event store, in runs of its own.

    Args:
        context: of the command.
        deferred: event store and hour of each delivery that the command has deferred.
        tags: of the runs that have deferred them; these get the name of the command.

    Yields:
        One outcome per event store; a failed run is its ``failure``.
    """
    settings = context.settings
    for store in event_stores(settings):
        wanted = {hour for name, hour in deferred if name == store.name}
        if not wanted:
            continue
        runner = JobRunner(context, CHAIN_JOB, only=store)
        failure: str | None = None
        try:
            # The sensor may have sent some of them since.
            for hours in groups(wanted & _backlog_of(store, settings), settings.hours_per_run):
                runner.run(hours, {COMMAND_TAG: tags[COMMAND_TAG]})
        except RunError as error:
            failure = str(error)
        received = wanted - _backlog_of(store, settings)
        deliveries = read_deliveries(open_store(settings), store.results, received)
        yield RunOutcome(
            HourRange.covering(wanted),
            Account(),
            {store.ledger_name(): sum(deliveries.values(), DeliveryCounts())},
            delivered_backlog=frozenset((store.ledger_name(), hour) for hour in received),
            failure=failure,
            withheld=withheld_hours(deliveries),
        )


def _backlog_of(store: EventStoreDefinition, settings: Settings) -> set[Hour]:
    return set(deferred_hours(settings).get(store.ledger_name(), {}))
