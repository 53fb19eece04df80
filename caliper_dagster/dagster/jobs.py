"""Automation: the jobs, and the schedule that starts them.

Here belongs when which assets run. The chain is taken an hour at a time by the schedule, a lag
after the hour has ended; hours that grow later, or that failed, are the business of ``sensors``;
backfills use the same assets over many hours. https://docs.dagster.io/guides/automate
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import last_complete_hour
from caliper_dagster.dagster.assets import emission
from caliper_dagster.dagster.tags import RESEND_ALL_TAG

CHAIN_JOB = "caliper_events_of_the_hour"
RESEND_JOB = "resend_caliper_events"

SCHEDULE_PRIORITY = 10
"""The newest hour goes first, also when thousands of a backfill are waiting, which have 0."""

SENSOR_PRIORITY = 5


SITE_TAG = "caliper_dagster/site"
"""On every run of a job of a site that is one of several, with its name."""


def site_tags(settings: Settings) -> dict[str, str]:
    """Tags by which runs of one of several sites are known, and their number is bounded."""
    return {SITE_TAG: settings.site} if settings.site else {}


def priority(number: int) -> dict[str, str]:
    """Tags of runs that go before a backfill's.

    One orders them in the queue, and their steps where they wait for a place in a pool; the other
    names their queue where Celery's workers take them.
    """
    return {"dagster/priority": str(number), "dagster-celery/queue": "hour"}


def chain_job(
    assets: Sequence[dg.AssetsDefinition], settings: Settings
) -> dg.UnresolvedAssetJobDefinition:
    """The job over all assets."""
    return dg.define_asset_job(
        settings.site_name(CHAIN_JOB),
        selection=dg.AssetSelection.assets(*assets),
        description="Log rows of an hour, to acknowledged events. What is acknowledged already is "
        "not sent again.",
        tags=site_tags(settings),
        executor_def=dg.in_process_executor,
    )


def resend_job(
    assets: Sequence[dg.AssetsDefinition], settings: Settings
) -> dg.UnresolvedAssetJobDefinition:
    """The job that sends the events of its hours again, all of them."""
    return dg.define_asset_job(
        settings.site_name(RESEND_JOB),
        selection=dg.AssetSelection.assets(emission(assets)),
        description="Sends all events of the hours again, with the ids they have, also those that "
        "the event store has acknowledged.",
        # A tag is on every run of a job, however it is started; run config is left out of ranges.
        tags={RESEND_ALL_TAG: "true", **site_tags(settings)},
        executor_def=dg.in_process_executor,
    )


def hourly_schedule(
    job: dg.UnresolvedAssetJobDefinition, settings: Settings
) -> dg.ScheduleDefinition:
    """The schedule that takes each hour once it is complete.

    It is not Dagster's own for partitioned jobs: that would take the hour in progress as soon as
    this is a partition too.
    """

    @dg.schedule(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=f"{settings.schedule_lag} * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING
        if settings.automation
        else dg.DefaultScheduleStatus.STOPPED,
        description="Takes each hour once it is complete, "
        f"{settings.schedule_lag} minutes after its end.",
    )
    def take_the_hour(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        hour = last_complete_hour(context.scheduled_execution_time)
        if hour < settings.start:
            return dg.SkipReason(f"CALIPER_START is {settings.start}.")
        return dg.RunRequest(
            run_key=hour.key, partition_key=hour.key, tags=priority(SCHEDULE_PRIORITY)
        )

    return take_the_hour
