"""Assets of another project take the stored hours as frames, by Dagster's own means."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

import caliper_dagster
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, FRAMES
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.unit.core.test_partition_store import rows

DAY = HourRange(Hour.from_key("2026-03-02-00:00"), Hour.from_key("2026-03-03-00:00"))
DAYS = dg.DailyPartitionsDefinition(start_date="2026-03-01", timezone="UTC")
EVENTS = dg.AssetKey("caliper_events")

received: dict[str, object] = {}
"""What the assets of the host got, by their names."""


@dg.asset(
    partitions_def=DAYS,
    ins={
        "caliper_events": dg.AssetIn(metadata={"columns": ["timecreated", "event_type"]}),
        "expanded_log": dg.AssetIn(metadata={"columns": ["id"]}),
    },
)
def a_day(caliper_events: pd.DataFrame, expanded_log: pa.Table) -> None:
    received["a_day"] = caliper_events, expanded_log


@dg.asset(partitions_def=DAYS)
def whole_frames(moodle_log: pd.DataFrame, emission_results: pd.DataFrame) -> None:
    received["whole_frames"] = moodle_log, emission_results


@dg.asset(ins={"caliper_events": dg.AssetIn(partition_mapping=dg.LastPartitionMapping())})
def the_newest_hour(caliper_events) -> None:  # an input without a type is a pandas frame
    received["the_newest_hour"] = caliper_events


@dg.asset(
    partitions_def=DAYS,
    ins={"events": dg.AssetIn(EVENTS, metadata={"columns": ["who"]})},
)
def unknown_column(events: pd.DataFrame) -> None:
    raise AssertionError("it has no input")


@dg.asset(partitions_def=DAYS)
def another_type(caliper_events: dict[str, int]) -> None:
    raise AssertionError("it has no input")


HOST = [a_day, whole_frames, the_newest_hour, unknown_column, another_type]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[PartitionStore]:
    """A day of all assets, two rows in each hour, and none in the fourth."""
    received.clear()
    store = PartitionStore(str(tmp_path / "data"))
    for frame in FRAMES:
        for hour in DAY:
            times = [] if hour == DAY.start + 3 else [hour.start, hour.start + 1]
            table = frame.empty() if "timecreated" not in frame.schema.names else rows(frame, times)
            store.write(frame, hour, table)
    start = {"CALIPER_START": "2026-03-01", "CALIPER_STORAGE": str(tmp_path / "data")}
    with environment(start):
        yield store


def materialize(asset: dg.AssetsDefinition, partition: str | None) -> str | None:
    """Materialize an asset of the host; returns the sentence of its failure."""
    host = dg.Definitions(assets=HOST)
    definitions = dg.Definitions.merge(build_definitions(Settings.from_environment()), host)
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[asset.key],
            partition_key=partition,
            raise_on_error=False,
        )
    failures = [e.step_failure_data for e in result.all_events if e.is_step_failure]
    assert len(failures) == (0 if result.success else 1)
    for failure in failures:
        assert failure.user_failure_data is not None, failure.error
        return failure.user_failure_data.description
    return None


def test_a_day_gets_its_24_hours_in_the_types_of_its_annotations(storage: PartitionStore) -> None:
    assert materialize(a_day, "2026-03-02") is None
    events, log = received["a_day"]

    assert isinstance(events, pd.DataFrame)
    assert list(events.columns) == ["timecreated", "event_type"]
    assert events["timecreated"].tolist() == [
        hour.start + second for hour in DAY if hour != DAY.start + 3 for second in (0, 1)
    ]
    assert isinstance(log, pa.Table)
    assert log.schema == pa.schema([EXPANDED_LOG.schema.field("id")])
    assert log.num_rows == 46


def test_without_columns_an_asset_gets_all(storage: PartitionStore) -> None:
    assert materialize(whole_frames, "2026-03-02") is None
    log, results = received["whole_frames"]
    assert len(log) == 46
    assert "other" in log.columns
    assert results.empty
    assert results["events"].dtype == "Int64"


def test_a_day_of_which_an_hour_is_missing_fails_with_a_sentence(storage: PartitionStore) -> None:
    storage.delete(CALIPER_EVENTS, [DAY.start + 7])
    assert materialize(a_day, "2026-03-02") == (
        "caliper_events has not been materialized for 2026-03-02T07:00Z: materialize "
        "caliper_events for that hour first."
    )
    Path(storage.path(CALIPER_EVENTS, DAY.start + 5)).write_bytes(b"half")
    sentence = materialize(a_day, "2026-03-02") or ""
    assert sentence.startswith("caliper_events of 2026-03-02T05:00Z cannot be read:")
    assert received == {}


def test_an_asset_without_partitions_may_take_the_newest_hour(storage: PartitionStore) -> None:
    sentence = materialize(the_newest_hour, None) or ""
    assert sentence.startswith("caliper_events has not been materialized for ")


def test_what_cannot_be_given_is_said(storage: PartitionStore) -> None:
    sentence = materialize(unknown_column, "2026-03-02") or ""
    assert sentence.startswith("caliper_events has no column who: its columns are log_id,")
    assert materialize(another_type, "2026-03-02") == (
        "The parameter caliper_events has the type Dict: annotate it with pandas.DataFrame "
        "or pyarrow.Table."
    )


def test_a_value_is_loaded_in_a_notebook_that_has_the_definitions(storage: PartitionStore) -> None:
    definitions = build_definitions(Settings.from_environment())
    with dg.DagsterInstance.ephemeral() as instance:
        frame = definitions.load_asset_value(
            EVENTS, partition_key="2026-03-02-05:00", python_type=pd.DataFrame, instance=instance
        )
    assert frame["timecreated"].tolist() == [(DAY.start + 5).start, (DAY.start + 5).start + 1]


def test_another_code_location_names_the_storage(storage: PartitionStore) -> None:
    hours = dg.HourlyPartitionsDefinition("2026-03-01-00:00", timezone="UTC")
    local = dg.HourlyPartitionsDefinition("2026-03-01-00:00", timezone="Europe/Berlin")

    def definitions(partitions: dg.HourlyPartitionsDefinition) -> dg.Definitions:
        @dg.asset(
            partitions_def=DAYS,
            ins={"events": dg.AssetIn(EVENTS, input_manager_key="stored")},
        )
        def elsewhere(events: pa.Table) -> None:
            received["elsewhere"] = events

        return dg.Definitions(
            assets=[dg.AssetSpec(EVENTS, partitions_def=partitions), elsewhere],
            resources={"stored": caliper_dagster.frames_io_manager(storage=storage.name)},
        )

    for partitions, success in ((hours, True), (local, False)):
        received.clear()
        job = definitions(partitions).resolve_implicit_global_asset_job_def()
        with dg.DagsterInstance.ephemeral() as instance:
            result = job.execute_in_process(
                instance=instance, partition_key="2026-03-02", raise_on_error=False
            )
        assert result.success == success
        assert bool(received) == success
    assert received.get("elsewhere") is None


def test_nothing_can_be_stored_by_it(storage: PartitionStore) -> None:
    @dg.asset(io_manager_key="stored")
    def a_result() -> int:
        return 1

    result = dg.materialize(
        [a_result],
        resources={"stored": caliper_dagster.frames_io_manager(storage=storage.name)},
        raise_on_error=False,
    )
    (failure,) = [e.step_failure_data for e in result.all_events if e.is_step_failure]
    assert failure.user_failure_data.description == (
        "The output of a_result cannot be stored, for the I/O manager of caliper_dagster only "
        "reads: give the asset one of your own (io_manager_key)."
    )
