from datetime import UTC, datetime

import dagster as dg
import pytest

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.partitions import hourly_partitions, hours_of, hours_of_tags

START = Hour.from_key("2026-03-29-00:00")


def test_keys_are_those_of_our_hours() -> None:
    partitions = hourly_partitions(START)
    keys = partitions.get_partition_keys(current_time=datetime(2026, 3, 30, 0, 15, tzinfo=UTC))
    assert keys == [hour.key for hour in HourRange(START, START + 24)]


def test_a_run_takes_the_hours_it_is_asked_for() -> None:
    partitions = hourly_partitions(START)
    seen = []

    @dg.asset(partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
    def asset(context: dg.AssetExecutionContext) -> None:
        seen.append(hours_of(context))

    keys = dg.PartitionKeyRange(START.key, (START + 2).key)
    asset(dg.build_asset_context(partition_key=START.key))
    asset(dg.build_asset_context(partition_key_range=keys))
    assert seen == [HourRange(START, START + 1), HourRange(START, START + 3)]


@pytest.mark.parametrize(
    "tags",
    [
        {"dagster/partition": "2026-01-31"},
        {"dagster/partition": "de|2026"},
        {
            "dagster/asset_partition_range_start": "2026-01-30",
            "dagster/asset_partition_range_end": "2026-01-31",
        },
    ],
)
def test_runs_of_other_assets_have_no_hours(tags: dict[str, str]) -> None:
    assert hours_of_tags(tags) is None
