"""The I/O manager for another code location: which storage it reads."""

import dagster as dg
import pandas as pd
import pytest

import caliper_dagster


def test_a_site_and_a_storage_exclude_each_other() -> None:
    hours = dg.HourlyPartitionsDefinition("2026-03-01-00:00", timezone="UTC")
    manager = caliper_dagster.frames_io_manager(site="north", storage="s3://bucket/moodle")
    context = dg.build_input_context(
        name="moodle_log",
        asset_key=dg.AssetKey("moodle_log"),
        dagster_type=dg.PythonObjectDagsterType(pd.DataFrame),
        asset_partitions_def=hours,
        asset_partition_key_range=dg.PartitionKeyRange("2026-03-01-00:00", "2026-03-01-00:00"),
    )
    with (
        dg.build_resources({"stored": manager}) as resources,
        pytest.raises(dg.Failure, match="site and storage are both given"),
    ):
        resources.stored.load_input(context)
