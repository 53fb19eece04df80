"""Sending the events of hours again."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from caliper_dagster.config.event_stores import (
    event_store_named,
    event_stores,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.jobs import RESEND_JOB
from caliper_dagster.dagster.tags import RESEND_ALL_TAG, SEND_TAG
from caliper_dagster.operations.backfill import run_ranges, send_backlog, split_range
from caliper_dagster.operations.backfill_plan import BackfillPlan
from caliper_dagster.operations.run_outcome import RunOutcome, Written


def resend(
    instance: dg.DagsterInstance,
    settings: Settings,
    hours: HourRange,
    *,
    everything: bool,
    written: Written,
    rejected: bool = False,
    changed: bool = False,
    event_store: str | None = None,
    verbose: bool = False,
) -> Iterator[RunOutcome]:
    """Send the events of the hours again: by default those that are not acknowledged.

    Args:
        instance: see ``backfill``.
        settings: see ``backfill``.
        hours: see ``backfill``.
        everything: send all events.
        written: see ``backfill``.
        rejected: send only events that the event store has rejected.
        changed: also send events whose content a newer mapping revision has changed since they
            were acknowledged.
        event_store: send only to the event store of this name.
        verbose: see ``backfill``.

    Yields:
        what each run has done, after it.

    Raises:
        ConfigurationError: there is no such event store.
        RunError: see ``backfill``.
    """
    tags = {RESEND_ALL_TAG: str(everything).lower()}
    if rejected or changed:
        tags[SEND_TAG] = "rejected" if rejected else "changed"
    plan = BackfillPlan(tuple(split_range(hours, settings.hours_per_run)))
    stores = event_stores(settings)
    only = event_store_named(stores, event_store) if event_store else None
    left: set[tuple[str, Hour]] = set()
    for done in run_ranges(instance, settings, RESEND_JOB, plan, tags, written, verbose, only):
        left |= done.left
        yield done
    if not (everything or rejected or changed):
        yield from send_backlog(instance, settings, left, written, verbose)
