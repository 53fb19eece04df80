"""The sensor that sends the backlogs of event stores, in runs of their own.

It decides which hours a run takes and when the next run of an event store is due. The runs
themselves record the backlog in the ledger (``delivery.fan_out``); the sensor does not query
Moodle. https://docs.dagster.io/guides/automate/sensors

(This module has no ``from __future__ import annotations``: Dagster reads the annotations of the
sensor.)
"""

from collections.abc import Collection, Sequence
from time import time

import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.assets import emission_assets, event_store_of
from caliper_dagster.dagster.jobs import sensor_status, site_tags
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.dagster.resources import LedgerResource, bind_site_resources
from caliper_dagster.dagster.tags import BACKLOG_SENSOR, BACKLOG_TAG, REASON_TAG
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.delivery.watch_state import Reason

_INTERVAL = 30
_FIRST_WAIT = 60
_LONGEST_WAIT = 900
_RUNS_CONSIDERED = 5
_CONCURRENT_RUNS = 2
"""The largest number of concurrent runs of this sensor; ``dagster.yaml`` has room for them."""


def backlog_sensor(
    job: "dg.UnresolvedAssetJobDefinition",
    assets: Sequence[dg.AssetsDefinition],
    settings: Settings,
) -> dg.SensorDefinition:
    """The sensor for a site with several event stores.

    Args:
        job: the job that materializes all assets.
        assets: the assets of the site.
        settings: of the site.
    """
    keys = {event_store_of(key): key for key in emission_assets(assets).keys}
    running = settings.automation or settings.send_immediately

    decorator = dg.sensor(
        name=settings.site_name(BACKLOG_SENSOR),
        job=job,
        minimum_interval_seconds=_INTERVAL,
        default_status=sensor_status(running),
        description="Sends the events that were queued while an event store was slow or "
        "unreachable. Each event store has runs of its own, one at a time. After a failed run, the "
        "next one waits 1 to 15 minutes.",
    )

    def event_stores_catch_up(
        context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[LedgerResource]
    ) -> dg.SensorResult:
        backlogs = {
            name: hours
            for name, hours in deferred_hours(settings, ledger.open).items()
            if name in keys
        }
        if not backlogs:
            return dg.SensorResult(skip_reason="No event store has a backlog.")
        fail_orphaned_runs(context.instance)
        names = _due(
            {name: _BacklogRuns(context.instance, settings, name) for name in backlogs}, time()
        )
        summary = ", ".join(
            f"{name} ({plural(len(hours), 'hour')})" for name, hours in backlogs.items()
        )
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    asset_selection=[keys[name]],
                    tags={
                        **range_tags(first_range(backlogs[name], settings.hours_per_run)),
                        BACKLOG_TAG: name,
                        REASON_TAG: Reason.BACKLOG.value,
                    },
                )
                for name in names
            ],
            skip_reason=None if names else f"Backlog: {summary}. No run is due now.",
        )

    return decorator(bind_site_resources(event_stores_catch_up, settings))


def first_range(hours: Collection[Hour], max_hours: int) -> HourRange:
    """The first hour of a backlog and the hours that directly follow it, ``max_hours`` at most."""
    first = next(iter(hours))
    end = first + 1
    while end in hours and end.number - first.number < max_hours:
        end += 1
    return HourRange(first, end)


class _BacklogRuns:
    """The latest runs for the backlog of one event store of a site.

    Attributes:
        is_active: whether one of them has not ended.
        last_end: Unix time in seconds of the latest end; 0 if there was none.
        next_start: Unix time in seconds from which the next run is due.
    """

    def __init__(self, instance: dg.DagsterInstance, settings: Settings, store: str) -> None:
        runs = dg.RunsFilter(tags={BACKLOG_TAG: store, **site_tags(settings)})
        records = instance.get_run_records(runs, limit=_RUNS_CONSIDERED)
        statuses = [record.dagster_run.status for record in records]
        self.is_active = any(not record.dagster_run.is_finished for record in records)
        self.last_end = max((record.end_time or 0.0 for record in records), default=0.0)
        failures = 0
        while failures < len(statuses) and statuses[failures] is not dg.DagsterRunStatus.SUCCESS:
            failures += 1
        wait = min(_FIRST_WAIT * 2.0 ** (failures - 1), _LONGEST_WAIT) if failures else 0
        self.next_start = self.last_end + wait


def _due(runs: dict[str, _BacklogRuns], now: float) -> list[str]:
    """The event stores that get a run now; the one whose last run ended first comes first."""
    free_slots = _CONCURRENT_RUNS - sum(latest.is_active for latest in runs.values())
    due = [
        name
        for name, latest in runs.items()
        # A run that ended in the future ended before the clock was set back.
        if not latest.is_active and (latest.next_start <= now or latest.last_end > now)
    ]
    due.sort(key=lambda name: runs[name].last_end)
    return due[: max(0, free_slots)]
