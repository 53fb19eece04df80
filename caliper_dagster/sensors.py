"""The sensor: asks for runs of hours that have grown, or that are not finished.

Here belongs what Dagster is asked and told; which hours they are is decided in ``watch``. The runs
are of the same job as those of the schedule. https://docs.dagster.io/guides/automate/sensors

(No ``annotations`` from the future here: Dagster reads those of the sensor.)
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from time import time
from typing import TYPE_CHECKING

import dagster as dg

from caliper_dagster.automation import HOURLY_TAGS
from caliper_dagster.frames import EMISSION_RESULTS
from caliper_dagster.hours import Hour, HourRange, last_complete_hour
from caliper_dagster.partitions import range_tags
from caliper_dagster.resources import MoodleResource, StorageResource
from caliper_dagster.settings import Settings

if TYPE_CHECKING:
    from caliper_dagster.watch import Bounds, Memory, Status, Wanted

LATE_ROWS = "late_rows"
REASON_TAG = "caliper_dagster/reason"
"""On a run that the sensor asked for: ``late rows``, ``new rows`` or ``unfinished``."""

NEW_ROWS = "new rows"

_FOLLOWED = "caliper_dagster/followed"
_FOLLOWER_SILENT = 60
"""Seconds after which a follower that says nothing is taken for gone."""
_FORGOTTEN_AT_ONCE = 100

_FIRST_LOOK = 86_400
"""So far back, in seconds, the first look goes: rows may have come late before it."""

_INTERVAL = 30
_SCHEDULE_FIRST = timedelta(minutes=10)
"""So long an hour is left to the schedule before it counts as forgotten."""


def late_rows_sensor(
    job: "dg.UnresolvedAssetJobDefinition",
    assets: Sequence[dg.AssetsDefinition],
    settings: Settings,
    prefix: Sequence[str] = (),
) -> dg.SensorDefinition:
    """The sensor over one site's log.

    Args:
        job: the job over the four assets.
        assets: the four; the last one says which hours are finished.
        settings: what they are built for.
        prefix: what comes before its name, for projects with several sites.
    """
    emission = next(asset for asset in assets if asset.key.path[-1] == EMISSION_RESULTS.name)
    on = settings.automation or settings.send_immediately

    @dg.sensor(
        name="_".join((*prefix, LATE_ROWS)),
        job=job,
        minimum_interval_seconds=settings.send_interval if settings.send_immediately else _INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
        description="Opens the hours again whose log has grown since they were taken, and tries "
        "hours again that failed or that nobody took. What is acknowledged is not sent again."
        + (" Also takes the hour in progress." if settings.send_immediately else ""),
    )
    def late_rows(
        context: dg.SensorEvaluationContext, moodle: MoodleResource, storage: StorageResource
    ) -> dg.SensorResult:
        from caliper_dagster.watch import Memory, Watch, first_memory

        now, ask = time(), Statuses(context.instance, emission)
        bounds = bounds_at(now, settings)
        if is_followed(context.instance, now):
            bounds = bounds._replace(end=bounds.due)
        with moodle.open() as database:
            memory = (
                Memory.model_validate_json(context.cursor)
                if context.cursor
                else first_memory(database, ask.newest(), bounds, now, since=int(now) - _FIRST_LOOK)
            )
            watch = Watch(
                database, storage.open(), memory, bounds, now=now, most=settings.hours_per_run
            )
            wanted = watch.look(ask, 60 * settings.late_margin)
        if settings.send_immediately:
            forget_superseded(context.instance)
        return dg.SensorResult(
            run_requests=[run_request(asked) for asked in wanted],
            skip_reason=None if wanted else _why_not(memory),
            cursor=memory.model_dump_json(),
        )

    return late_rows


def bounds_at(now: float, settings: Settings) -> "Bounds":
    """The hours that matter at a time."""
    from caliper_dagster.watch import Bounds

    moment = datetime.fromtimestamp(now, UTC)
    lag = timedelta(minutes=settings.schedule_lag)
    due = last_complete_hour(moment, lag) + 1
    return Bounds(
        start=settings.start,
        due=due,
        end=Hour.of(now) + 1 if settings.send_immediately else due,
        overdue=last_complete_hour(moment, lag + _SCHEDULE_FIRST) + 1,
    )


def run_request(asked: "Wanted") -> dg.RunRequest:
    """One run over the hours; Dagster makes it once for each key."""
    return dg.RunRequest(
        run_key=asked.key,
        tags={**range_tags(asked.hours), REASON_TAG: asked.reason, **HOURLY_TAGS},
    )


def note_follower(instance: dg.DagsterInstance, now: float) -> None:
    """Leave word that ``caliper-dagster follow`` is at work; to be repeated."""
    instance.daemon_cursor_storage.set_cursor_values({_FOLLOWED: str(now)})


def is_followed(instance: dg.DagsterInstance, now: float) -> bool:
    """Whether ``caliper-dagster follow`` takes the hour in progress, so that nobody else need."""
    said = instance.daemon_cursor_storage.get_cursor_values({_FOLLOWED}).get(_FOLLOWED, "0")
    return now - float(said) < _FOLLOWER_SILENT


def forget_superseded(instance: dg.DagsterInstance) -> int:
    """Delete the runs of the hour in progress to which a later one has succeeded.

    There are hundreds in an hour, and Dagster forgets nothing by itself. What was sent is in the
    ledger, and the last run of each hour stays.

    Returns:
        How many there were.
    """
    wanted = dg.RunsFilter(tags={REASON_TAG: NEW_ROWS}, statuses=[dg.DagsterRunStatus.SUCCESS])
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


class Statuses:
    """What the Dagster instance says of the hours of an asset."""

    def __init__(self, instance: dg.DagsterInstance, asset: dg.AssetsDefinition) -> None:
        self._instance, self._asset = instance, asset

    def __call__(self, hours: set[Hour]) -> Mapping[Hour, "Status"]:
        """The status of each of the hours."""
        from caliper_dagster.watch import Status

        if not hours:
            return {}
        found = self._statuses(hours)
        if "IN_PROGRESS" in found.values() and _bury_dead_runs(self._instance):
            found = self._statuses(hours)
        meaning = {
            "MATERIALIZED": Status.DONE,
            "IN_PROGRESS": Status.BUSY,
            "FAILED": Status.FAILED,
        }
        return {hour: meaning.get(found.get(hour.key, ""), Status.MISSING) for hour in hours}

    def newest(self) -> Hour | None:
        """The newest hour that was ever materialized."""
        keys = self._instance.get_materialized_partitions(self._asset.key)
        return max(map(Hour.from_key, keys), default=None)

    def _statuses(self, hours: set[Hour]) -> dict[str, str]:
        definition = self._asset.partitions_def
        if definition is None:
            return {}
        found = self._instance.get_status_by_partition(
            self._asset.key, [hour.key for hour in hours], definition
        )
        return {key: status.value for key, status in (found or {}).items() if status is not None}


def _bury_dead_runs(instance: dg.DagsterInstance) -> int:
    from caliper_dagster.runs import bury_dead_runs

    return bury_dead_runs(instance)


def _why_not(memory: "Memory") -> str:
    if memory.wait:
        at = datetime.fromtimestamp(memory.after, UTC)
        return f"No new rows; what failed is tried again after {at:%H:%M:%S} UTC."
    return "No hour has grown, and none is unfinished."
