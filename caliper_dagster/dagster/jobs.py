"""The jobs, and the schedule that starts one of them.

The schedule takes one hour at a time, a lag after the end of the hour. The sensors request hours
that grow later or that failed. Backfills run the same assets over many hours.
https://docs.dagster.io/guides/automate
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import last_complete_hour
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.assets import emission_assets
from caliper_dagster.dagster.tags import RESEND_ALL_TAG, SITE_TAG

CHAIN_JOB = "caliper_events_of_the_hour"
RESEND_JOB = "resend_caliper_events"

SCHEDULE = f"{CHAIN_JOB}_schedule"
"""The name of the schedule; Dagster keeps its switch by it."""

SCHEDULE_PRIORITY = 10
"""The newest hour starts before the queued runs of backfills, which have priority 0."""

SENSOR_PRIORITY = 5


def site_tags(settings: Settings) -> dict[str, str]:
    """The tags of every run of a site, by which Dagster limits its runs; none for a single site."""
    return {SITE_TAG: settings.site} if settings.site else {}


def priority(number: int) -> dict[str, str]:
    """The tags of runs that start before those of a backfill.

    The first tag orders runs in Dagster's queue and their steps in the pools; the second names the
    Celery queue of the runs, where workers run on other machines.
    """
    return {"dagster/priority": str(number), "dagster-celery/queue": "hour"}


def chain_job(
    assets: Sequence[dg.AssetsDefinition], standing: dg.AssetChecksDefinition, settings: Settings
) -> dg.UnresolvedAssetJobDefinition:
    """The job that materializes all assets of a site, without the standing checks."""
    return dg.define_asset_job(
        settings.site_name(CHAIN_JOB),
        selection=dg.AssetSelection.assets(*assets) - dg.AssetSelection.checks(standing),
        description="Reads the log rows of the hours, translates them to Caliper events and sends "
        "these. Acknowledged events are not sent again.",
        tags=site_tags(settings),
        executor_def=dg.in_process_executor,
    )


def resend_job(
    assets: Sequence[dg.AssetsDefinition], standing: dg.AssetChecksDefinition, settings: Settings
) -> dg.UnresolvedAssetJobDefinition:
    """The job that sends all events of its hours again."""
    return dg.define_asset_job(
        settings.site_name(RESEND_JOB),
        selection=dg.AssetSelection.assets(emission_assets(assets))
        - dg.AssetSelection.checks(standing),
        description="Sends all events of the hours again, including acknowledged ones. Events keep "
        "their ids.",
        # Every run of a job has its tags, however it is started; backfills drop the run config.
        tags={RESEND_ALL_TAG: "true", **site_tags(settings)},
        executor_def=dg.in_process_executor,
    )


def hourly_schedule(
    job: dg.UnresolvedAssetJobDefinition, settings: Settings
) -> dg.ScheduleDefinition:
    """The schedule that takes each hour after its end.

    Dagster's own schedule of a partitioned job would take the hour in progress where that is a
    partition too.
    """

    @dg.schedule(
        name=settings.site_name(SCHEDULE),
        job=job,
        cron_schedule=f"{settings.schedule_lag} * * * *",
        execution_timezone="UTC",
        default_status=schedule_status(settings.automation),
        description="Runs the job for each hour, "
        f"{plural(settings.schedule_lag, 'minute')} after the end of the hour.",
    )
    def take_the_hour(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        hour = last_complete_hour(context.scheduled_execution_time)
        if hour < settings.start:
            return dg.SkipReason(f"CALIPER_START is {settings.start}.")
        return dg.RunRequest(
            run_key=hour.key, partition_key=hour.key, tags=priority(SCHEDULE_PRIORITY)
        )

    return take_the_hour


def schedule_status(is_on: bool) -> dg.DefaultScheduleStatus:
    """The status of a schedule until somebody switches it in the web UI."""
    return dg.DefaultScheduleStatus.RUNNING if is_on else dg.DefaultScheduleStatus.STOPPED


def sensor_status(is_on: bool) -> dg.DefaultSensorStatus:
    """The status of a sensor until somebody switches it in the web UI."""
    return dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED
