"""The sensor: asks for runs of hours that have grown, or that are not finished.

Here belongs what Dagster is asked and told; which hours they are is decided in ``watch``. The runs
are of the same job as those of the schedule. https://docs.dagster.io/guides/automate/sensors

(No ``annotations`` from the future here: Dagster reads those of the sensor.)
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore
from time import time
from typing import TYPE_CHECKING

import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import SourceError
from caliper_dagster.core.hours import Hour, HourRange, last_complete_hour
from caliper_dagster.dagster.assets import emission
from caliper_dagster.dagster.jobs import SCHEDULE_PRIORITY, SENSOR_PRIORITY, priority, site_tags
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.dagster.resources import (
    LedgerResource,
    MoodleResource,
    StorageResource,
    bind_site_resources,
)
from caliper_dagster.dagster.run_status import Statuses
from caliper_dagster.dagster.tags import LATE_ROWS_TAG, NEW_ROWS, REASON_TAG
from caliper_dagster.delivery.backlog import deferred_hours

if TYPE_CHECKING:
    from caliper_dagster.delivery.log_watch import HourWindow, RunWanted, WatchCursor

LATE_ROWS = "late_rows"


_GROWN = "late rows"

_FOLLOWER_SILENT = 60
"""Seconds after which a follower that says nothing is taken for gone."""
_FORGOTTEN_AT_ONCE = 100

_FIRST_LOOK = 86_400
"""So far back, in seconds, the first look goes: rows may have come late before it."""

_LOOKS = 2
"""Looks of a sensor that go on at a time, at most: one that waits for a database that never answers
keeps a thread of the code server, which has few, and has them for all sites."""

_INTERVAL = 30
_SCHEDULE_FIRST = timedelta(minutes=10)
"""So long an hour is left to the schedule before it counts as forgotten."""


def late_rows_sensor(
    job: "dg.UnresolvedAssetJobDefinition",
    assets: Sequence[dg.AssetsDefinition],
    settings: Settings,
) -> dg.SensorDefinition:
    """The sensor over one site's log.

    Args:
        job: the job over the four assets.
        assets: its assets; those of the event stores say which hours are finished.
        settings: what they are built for.
    """
    results = emission(assets)
    on = settings.automation or settings.send_immediately

    decorator = dg.sensor(
        name=settings.site_name(LATE_ROWS),
        job=job,
        minimum_interval_seconds=settings.send_interval if settings.send_immediately else _INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
        description="Opens the hours again whose log has grown since they were taken, and tries "
        "hours again that failed or that nobody took. What is acknowledged is not sent again."
        + (" Also takes the hour in progress." if settings.send_immediately else ""),
    )

    looking = BoundedSemaphore(_LOOKS)

    def late_rows(
        context: dg.SensorEvaluationContext,
        moodle: MoodleResource,
        storage: StorageResource,
        ledger: LedgerResource,
    ) -> dg.SensorResult:
        if not looking.acquire(blocking=False):
            raise SourceError("Moodle's database has not answered yet to earlier looks.")
        try:
            return look(context, moodle, storage, ledger)
        finally:
            looking.release()

    def look(
        context: dg.SensorEvaluationContext,
        moodle: MoodleResource,
        storage: StorageResource,
        ledger: LedgerResource,
    ) -> dg.SensorResult:
        from caliper_dagster.delivery.log_watch import LogWatch, WatchCursor, first_cursor

        now, ask = (
            time(),
            Statuses(context.instance, results, deferred_hours(settings, ledger.open)),
        )
        bounds = bounds_at(now, settings)
        if is_followed(context.instance, settings, now):
            bounds = bounds._replace(end=bounds.due)
        with moodle.open() as database:
            memory = (
                WatchCursor.model_validate_json(context.cursor)
                if context.cursor
                else first_cursor(database, ask.newest(), bounds, now, since=int(now) - _FIRST_LOOK)
            )
            watch = LogWatch(
                database, storage.open(), memory, bounds, now=now, most=settings.hours_per_run
            )
            wanted = watch.look(ask, 60 * settings.late_margin)
        if settings.send_immediately:
            delete_superseded_runs(context.instance, settings)
        return dg.SensorResult(
            run_requests=[run_request(asked, settings) for asked in wanted],
            skip_reason=None if wanted else _why_not(memory),
            cursor=memory.model_dump_json(),
        )

    return decorator(bind_site_resources(late_rows, settings))


def bounds_at(now: float, settings: Settings) -> "HourWindow":
    """The hours that matter at a time."""
    from caliper_dagster.delivery.log_watch import HourWindow

    moment = datetime.fromtimestamp(now, UTC)
    lag = timedelta(minutes=settings.schedule_lag)
    due = last_complete_hour(moment, lag) + 1
    return HourWindow(
        start=settings.start,
        due=due,
        end=Hour.of(now) + 1 if settings.send_immediately else due,
        overdue=last_complete_hour(moment, lag + _SCHEDULE_FIRST) + 1,
    )


def run_request(asked: "RunWanted", settings: Settings) -> dg.RunRequest:
    """One run over the hours; Dagster makes it once for each key."""
    order = SCHEDULE_PRIORITY if asked.reason == NEW_ROWS else SENSOR_PRIORITY
    late = {LATE_ROWS_TAG: settings.site or "true"} if asked.reason == _GROWN else {}
    return dg.RunRequest(
        run_key=asked.key,
        tags={
            **range_tags(asked.hours),
            **priority(order),
            **late,
            REASON_TAG: asked.reason,
        },
    )


def note_follower(instance: dg.DagsterInstance, settings: Settings, now: float) -> None:
    """Leave word that ``caliper-dagster follow`` is at work on a site; to be repeated."""
    instance.daemon_cursor_storage.set_cursor_values({_followed(settings): str(now)})


def is_followed(instance: dg.DagsterInstance, settings: Settings, now: float) -> bool:
    """Whether ``caliper-dagster follow`` takes the hour in progress, so that nobody else need."""
    name = _followed(settings)
    said = instance.daemon_cursor_storage.get_cursor_values({name}).get(name, "0")
    return now - float(said) < _FOLLOWER_SILENT


def _followed(settings: Settings) -> str:
    return "/".join(("caliper_dagster/followed", *settings.prefix))


def delete_superseded_runs(instance: dg.DagsterInstance, settings: Settings) -> int:
    """Delete a site's runs of the hour in progress to which a later one has succeeded.

    There are hundreds in an hour, and Dagster forgets nothing by itself. What was sent is in the
    ledger, and the last run of each hour stays.

    Returns:
        How many there were.
    """
    wanted = dg.RunsFilter(
        tags={REASON_TAG: NEW_ROWS, **site_tags(settings)}, statuses=[dg.DagsterRunStatus.SUCCESS]
    )
    covered: set[str] = set()
    gone = 0
    for run in instance.get_runs(wanted, limit=_FORGOTTEN_AT_ONCE):
        hours = {run.tags.get(name, "") for name in range_tags(HourRange(Hour(0), Hour(1)))}
        if hours <= covered:
            instance.delete_run(run.run_id)
            gone += 1
        if len(hours) == 1:
            covered |= hours
    return gone


def _why_not(memory: "WatchCursor") -> str:
    if memory.wait:
        at = datetime.fromtimestamp(memory.after, UTC)
        return f"No new rows; what failed is tried again after {at:%H:%M:%S} UTC."
    return "No hour has grown, and none is unfinished."
