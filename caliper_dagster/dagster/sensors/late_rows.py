"""The sensor that requests runs for hours that have grown or that are not finished.

It passes Dagster's state to ``delivery.log_watch``, which decides which hours these are. The runs
are runs of the same job as those of the schedule. https://docs.dagster.io/guides/automate/sensors

(This module has no ``from __future__ import annotations``: Dagster reads the annotations of the
sensor.)
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from threading import BoundedSemaphore
from time import time

import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import SourceError
from caliper_dagster.dagster.assets import emission_assets
from caliper_dagster.dagster.follower import is_followed
from caliper_dagster.dagster.jobs import SCHEDULE_PRIORITY, SENSOR_PRIORITY, priority, sensor_status
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.dagster.resources import (
    LedgerResource,
    MoodleResource,
    StorageResource,
    bind_site_resources,
)
from caliper_dagster.dagster.run_status import HourStatuses
from caliper_dagster.dagster.superseded_runs import delete_superseded_runs
from caliper_dagster.dagster.tags import LATE_ROWS_SENSOR, LATE_ROWS_TAG, REASON_TAG
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.delivery.watch_state import HourWindow, Reason, RunWanted, WatchCursor

_INTERVAL = 30

_FIRST_LOOK_SECONDS = 86_400
"""The first look covers rows logged in this time before it: some may already be late."""

_CONCURRENT_LOOKS = 2
"""The largest number of concurrent looks of one sensor. A look at a database that never answers
occupies a thread of the code server, which has few threads for the sensors of all sites."""


def late_rows_sensor(
    job: "dg.UnresolvedAssetJobDefinition",
    assets: Sequence[dg.AssetsDefinition],
    settings: Settings,
) -> dg.SensorDefinition:
    """The sensor over the log of one site.

    Args:
        job: the job that materializes all assets.
        assets: the assets of the site; the emission results say which hours are finished.
        settings: of the site.
    """
    results = emission_assets(assets)
    running = settings.automation or settings.send_immediately

    decorator = dg.sensor(
        name=settings.site_name(LATE_ROWS_SENSOR),
        job=job,
        minimum_interval_seconds=settings.send_interval if settings.send_immediately else _INTERVAL,
        default_status=sensor_status(running),
        description="Requests a run for every hour whose log has grown since it was read, and "
        "retries hours that failed or that the schedule missed. Acknowledged events are not sent "
        "again." + (" Also requests the hour in progress." if settings.send_immediately else ""),
    )

    free_looks = BoundedSemaphore(_CONCURRENT_LOOKS)

    def late_rows(
        context: dg.SensorEvaluationContext,
        moodle: dg.ResourceParam[MoodleResource],
        storage: dg.ResourceParam[StorageResource],
        ledger: dg.ResourceParam[LedgerResource],
    ) -> dg.SensorResult:
        if not free_looks.acquire(blocking=False):
            raise SourceError("Moodle's database has not answered the previous looks yet.")
        try:
            return look(context, moodle, storage, ledger)
        finally:
            free_looks.release()

    def look(
        context: dg.SensorEvaluationContext,
        moodle: dg.ResourceParam[MoodleResource],
        storage: dg.ResourceParam[StorageResource],
        ledger: dg.ResourceParam[LedgerResource],
    ) -> dg.SensorResult:
        from caliper_dagster.delivery.log_watch import LogWatch, first_cursor

        now = time()
        statuses = HourStatuses(context.instance, results, deferred_hours(settings, ledger.open))
        window = HourWindow.at(now, settings)
        if is_followed(context.instance, settings, now):
            window = window.without_hour_in_progress()
        with moodle.open() as database:
            if context.cursor:
                cursor = WatchCursor.model_validate_json(context.cursor)
            else:
                since = int(now) - _FIRST_LOOK_SECONDS
                newest = statuses.newest_materialized()
                cursor = first_cursor(database, newest, window, now, since=since)
            watch = LogWatch(
                database, storage.open(), cursor, window, now=now, max_hours=settings.hours_per_run
            )
            runs = watch.look(statuses, 60 * settings.late_margin)
        if settings.send_immediately:
            delete_superseded_runs(context.instance, settings)
        return dg.SensorResult(
            run_requests=[run_request(run, settings) for run in runs],
            skip_reason=None if runs else _skip_reason(cursor),
            cursor=cursor.model_dump_json(indent=2),
        )

    return decorator(bind_site_resources(late_rows, settings))


def run_request(run: RunWanted, settings: Settings) -> dg.RunRequest:
    """Dagster's request for a run; Dagster creates one run per key."""
    is_late = run.reason is Reason.LATE_ROWS
    return dg.RunRequest(
        run_key=run.key,
        tags={
            **range_tags(run.hours),
            **priority(SCHEDULE_PRIORITY if run.reason is Reason.NEW_ROWS else SENSOR_PRIORITY),
            **({LATE_ROWS_TAG: settings.site or "true"} if is_late else {}),
            REASON_TAG: run.reason.value,
        },
    )


def _skip_reason(cursor: WatchCursor) -> str:
    if cursor.wait:
        at = datetime.fromtimestamp(cursor.after, UTC)
        return f"No new rows; the next retry of failed hours is at {at:%H:%M:%S} UTC."
    return "No hour has grown, and none is unfinished."
