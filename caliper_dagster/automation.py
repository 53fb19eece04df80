"""Automation: the jobs, and what starts them.

Here belongs when which assets run. The chain is taken an hour at a time by the schedule, a lag
after the hour has ended; backfills use the same assets over many hours.
https://docs.dagster.io/guides/automate
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from caliper_dagster.assets import RESEND_ALL_TAG
from caliper_dagster.frames import EMISSION_RESULTS
from caliper_dagster.settings import Settings

CHAIN_JOB = "caliper_events_of_the_hour"
RESEND_JOB = "resend_caliper_events"


def name(word: str, prefix: Sequence[str] = ()) -> str:
    """The name of a job of one site; Dagster wants them to be unique in the project."""
    return "_".join((*prefix, word))


def chain_job(
    assets: Sequence[dg.AssetsDefinition], prefix: Sequence[str] = ()
) -> dg.UnresolvedAssetJobDefinition:
    """The job over the four assets."""
    return dg.define_asset_job(
        name(CHAIN_JOB, prefix),
        selection=dg.AssetSelection.assets(*assets),
        description="Log rows of an hour, to acknowledged events. What is acknowledged already is "
        "not sent again.",
        executor_def=dg.in_process_executor,
    )


def resend_job(
    assets: Sequence[dg.AssetsDefinition], prefix: Sequence[str] = ()
) -> dg.UnresolvedAssetJobDefinition:
    """The job that sends the events of its hours again, all of them."""
    emission = next(asset for asset in assets if asset.key.path[-1] == EMISSION_RESULTS.name)
    return dg.define_asset_job(
        name(RESEND_JOB, prefix),
        selection=dg.AssetSelection.assets(emission),
        description="Sends all events of the hours again, with the ids they have, also those that "
        "the event store has acknowledged.",
        # A tag is on every run of a job, however it is started; run config is left out of ranges.
        tags={RESEND_ALL_TAG: "true"},
        executor_def=dg.in_process_executor,
    )


def hourly_schedule(
    job: dg.UnresolvedAssetJobDefinition, settings: Settings
) -> dg.ScheduleDefinition | dg.UnresolvedPartitionedAssetScheduleDefinition:
    """The schedule that takes each hour once it is complete. It is off until someone starts it."""
    return dg.build_schedule_from_partitioned_job(
        job,
        description="Takes each hour once it is complete, "
        f"{settings.schedule_lag} minutes after its end.",
        minute_of_hour=settings.schedule_lag,
    )
