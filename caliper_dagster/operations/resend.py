"""Sending the events of hours again."""

from __future__ import annotations

from collections.abc import Iterator

from caliper_dagster.config.event_stores import event_store_named, event_stores
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster.dagster.tags import COMMAND_TAG, RESEND_ALL_TAG, SEND_TAG
from caliper_dagster.operations.backfill import run_plan, send_backlog, split_range
from caliper_dagster.operations.backfill_plan import BackfillPlan
from caliper_dagster.operations.run_outcome import RunOutcome
from caliper_dagster.operations.runner import RunContext


def resend(
    context: RunContext,
    hours: HourRange,
    *,
    everything: bool,
    rejected: bool = False,
    changed: bool = False,
    event_store: str | None = None,
) -> Iterator[RunOutcome]:
    """Send the events of the hours that are not acknowledged, or others on request.

    Args:
        context: of the command.
        hours: hours whose events are materialized.
        everything: send all events, including acknowledged ones.
        rejected: send only the events that the event store has rejected.
        changed: also send acknowledged events whose content a newer mapping revision has changed;
            the hours are translated again first, from their stored ``expanded_log``.
        event_store: the name of the only event store to send to; all of them if omitted.

    Yields:
        The outcome of each run after its end.

    Raises:
        ConfigurationError: there is no such event store.
        RunError: a run failed. What was completed before stays completed.
        KeyboardInterrupt: a run was interrupted.
    """
    settings = context.settings
    option = "rejected" if rejected else "changed" if changed else ""
    tags = {RESEND_ALL_TAG: str(everything).lower()}
    if option:
        tags[SEND_TAG] = option
    option = "all" if everything else option
    tags[COMMAND_TAG] = f"resend --{option}" if option else "resend"
    plan = BackfillPlan(tuple(split_range(hours, settings.hours_per_run)))
    stores = event_stores(settings)
    only = event_store_named(stores, event_store) if event_store else None
    deferred: set[tuple[str, Hour]] = set()
    job = CHAIN_JOB if changed else RESEND_JOB
    for outcome in run_plan(context, job, plan, tags, only=only, translate=changed):
        deferred |= outcome.deferred
        yield outcome
    if not (everything or rejected or changed):
        yield from send_backlog(context, deferred, tags)
