"""The sensor by which an event store catches up: it gets what was left over, in runs of its own.

Here belongs which hours a run takes and when the next one is due. That hours are left over, and
that they are so no more, is noted by the runs themselves (``dispatch``). Moodle is not asked.
https://docs.dagster.io/guides/automate/sensors

(No ``annotations`` from the future here: Dagster reads those of the sensor.)
"""

from collections.abc import Collection, Sequence
from time import time

import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.assets import emission
from caliper_dagster.dagster.jobs import site_tags
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.dagster.resources import LedgerResource, bind_site_resources
from caliper_dagster.dagster.run_status import store_of
from caliper_dagster.dagster.tags import BACKLOG_SENSOR, BACKLOG_TAG, REASON_TAG
from caliper_dagster.delivery.backlog import deferred_hours

_INTERVAL = 30
_FIRST_WAIT = 60
_LONGEST_WAIT = 900
_FAILURES_THAT_COUNT = 5
_AT_ONCE = 2
"""Runs of this kind at the same time, at most: what there is room for beside the others."""


def backlog_sensor(
    job: "dg.UnresolvedAssetJobDefinition",
    assets: Sequence[dg.AssetsDefinition],
    settings: Settings,
) -> dg.SensorDefinition:
    """The sensor for the event stores of one site, of which there are several.

    Args:
        job: the job over all assets.
        assets: its assets.
        settings: what they are built for.
    """
    keys = {store_of(key): key for key in emission(assets).keys}
    on = settings.automation or settings.send_immediately

    decorator = dg.sensor(
        name=settings.site_name(BACKLOG_SENSOR),
        job=job,
        minimum_interval_seconds=_INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
        description="Sends an event store what was left over while it was slow or down, in runs "
        "of its own, one at a time. While they fail, the next one waits 1 to 15 minutes.",
    )

    def event_stores_catch_up(
        context: dg.SensorEvaluationContext, ledger: LedgerResource
    ) -> dg.SensorResult:
        from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs

        left = {
            name: hours
            for name, hours in deferred_hours(settings, ledger.open).items()
            if name in keys
        }
        if not left:
            return dg.SensorResult(skip_reason="No event store has been left behind.")
        fail_orphaned_runs(context.instance)
        tries = {name: _Tries(context.instance, settings, name) for name in left}
        now, room = time(), _AT_ONCE - sum(tried.goes_on for tried in tries.values())
        due = [name for name in left if not tries[name].goes_on and tries[name].next_at <= now]
        due.sort(key=lambda name: tries[name].last_at)
        chosen = due[: max(0, room)]
        waiting = ", ".join(f"{name} ({len(hours)} hours)" for name, hours in left.items())
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    asset_selection=[keys[name]],
                    tags={
                        **range_tags(first_range(left[name], settings.hours_per_run)),
                        BACKLOG_TAG: name,
                        REASON_TAG: "left over",
                    },
                )
                for name in chosen
            ],
            skip_reason=None if chosen else f"Left behind: {waiting}. None is due now.",
        )

    return decorator(bind_site_resources(event_stores_catch_up, settings))


def first_range(hours: Collection[Hour], most: int) -> HourRange:
    """The first of the hours with those that follow it at once, ``most`` at most."""
    first = next(iter(hours))
    end = first + 1
    while end in hours and end.number - first.number < most:
        end += 1
    return HourRange(first, end)


class _Tries:
    """The last runs in which an event store of a site was to catch up.

    Attributes:
        goes_on: one is not at its end.
        last_at: when the last one ended; 0 if there was none.
        next_at: when the next one is due; both are Unix times.
    """

    def __init__(self, instance: dg.DagsterInstance, settings: Settings, store: str) -> None:
        wanted = dg.RunsFilter(tags={BACKLOG_TAG: store, **site_tags(settings)})
        records = instance.get_run_records(wanted, limit=_FAILURES_THAT_COUNT)
        statuses = [record.dagster_run.status for record in records]
        self.goes_on = any(not record.dagster_run.is_finished for record in records)
        self.last_at = max((record.end_time or 0.0 for record in records), default=0.0)
        failures = 0
        while failures < len(statuses) and statuses[failures] is not dg.DagsterRunStatus.SUCCESS:
            failures += 1
        wait = min(_FIRST_WAIT * 2.0 ** (failures - 1), _LONGEST_WAIT) if failures else 0
        self.next_at = self.last_at + wait
