"""Partitions in an S3-compatible store: the same hours as in a folder, never half a one."""

import multiprocessing
from pathlib import Path

import pyarrow as pa
import pytest

from caliper_dagster.core.errors import ConfigurationError, StorageError
from caliper_dagster.core.frames import FRAMES, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.embedded.arrivals import arrivals
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.half_way import HalfWay
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.sample_installation import HOURS, sample_installation
from caliper_dagster_tests.harness.services import ObjectStore
from caliper_dagster_tests.unit.core.test_partition_store import (  # noqa: F401
    rows,
    test_a_probe_leaves_nothing,
    test_an_hour_that_is_missing_is_named,
    test_chunks_hold_whole_hours_unless_an_hour_has_too_many_rows,
    test_facts_come_back_without_the_rows,
    test_hours_without_rows_are_kept_too,
    test_stored_hours_are_listed_and_deleted,
    test_what_is_written_is_read,
)

HOUR = Hour.from_key("2026-01-31-22:00")


@pytest.fixture
def storage(bucket: str) -> PartitionStore:
    return PartitionStore(bucket)


def log_of(number: int) -> pa.Table:
    """So many log rows of the hour, whose texts do not compress to nothing."""
    table = rows(MOODLE_LOG, [HOUR.start] * number)
    texts = pa.array([f"{index * 7919 % 1000003:x}" * 9 for index in range(number)])
    return table.set_column(table.schema.get_field_index("other"), "other", texts)


def test_the_chain_leaves_the_same_hours_as_in_a_folder(
    tmp_path: Path, bucket: str, postgres_url: str
) -> None:
    shared = {"CALIPER_STORAGE": bucket, "CALIPER_LEDGER_URL": postgres_url}
    with sample_installation(tmp_path) as site:
        assert site.run(CHAIN_JOB, HOURS).success
        in_folder = site.storage
        with environment(dict(site.environment) | shared | {"DAGSTER_HOME": str(tmp_path / "2")}):
            result = site.run(CHAIN_JOB, HOURS)
            assert result.success
            assert site.storage.path(MOODLE_LOG, HOUR).startswith(bucket)
            for frame in FRAMES[:3]:
                assert site.storage.read(frame, HOURS) == in_folder.read(frame, HOURS)
            # Another ledger knows nothing of the first run: each event came twice.
            arrived = arrivals(tmp_path / "event_store.sqlite")
            assert arrived.received == 2 * arrived.events > 0
            again = site.run(CHAIN_JOB, HOURS)
            assert again.success
            assert arrivals(tmp_path / "event_store.sqlite") == arrived
        assert not (tmp_path / "2" / "data").exists()


def _write(settings: dict[str, str], storage: str, number: int) -> None:
    with environment(settings):
        PartitionStore(storage).write(MOODLE_LOG, HOUR, log_of(number))


def test_a_write_that_is_killed_half_way_leaves_the_hour_as_it_was(
    object_store: ObjectStore, bucket: str
) -> None:
    storage = PartitionStore(bucket)
    storage.write(MOODLE_LOG, HOUR, log_of(3))
    with HalfWay(object_store.endpoint, 100_000) as way:
        settings = {**object_store.environment, "AWS_ENDPOINT_URL": way.endpoint}
        writer = multiprocessing.get_context("spawn").Process(
            target=_write, args=(settings, bucket, 200_000)
        )
        writer.start()
        assert way.stuck.wait(120), writer.exitcode
        writer.kill()
        writer.join()
        assert writer.exitcode == -9
    assert storage.read(MOODLE_LOG, [HOUR]).num_rows == 3

    storage.write(MOODLE_LOG, HOUR, log_of(4))
    assert storage.read(MOODLE_LOG, [HOUR]).num_rows == 4


def test_a_store_that_does_not_answer_names_the_setting_and_no_hour_passes_for_damaged(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    # An instance of its own: fsspec keeps those of the same address.
    nowhere = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", nowhere)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    storage = PartitionStore("s3://bucket/data")
    for attempt in (lambda: storage.existing(MOODLE_LOG, [HOUR]), storage.probe):
        with pytest.raises(ConfigurationError, match=r"^CALIPER_STORAGE cannot be") as error:
            attempt()
        assert "secret" not in str(error.value)
        assert error.value.__suppress_context__
    S3FileSystem.clear_instance_cache()


def test_a_bucket_that_is_missing_names_the_setting(bucket: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        PartitionStore("s3://no-such-bucket/data").probe()
    assert str(error.value) == (
        "CALIPER_STORAGE cannot be written to: s3://no-such-bucket/data (there is no such bucket)."
    )


def test_an_hour_that_is_damaged_is_named(bucket: str) -> None:
    storage = PartitionStore(bucket)
    storage.write(MOODLE_LOG, HOUR, log_of(2))
    from fsspec.core import url_to_fs

    files, path = url_to_fs(storage.path(MOODLE_LOG, HOUR))
    files.pipe_file(path, b"torn")
    with pytest.raises(StorageError, match="moodle_log of 2026-01-31T22:00Z cannot be read"):
        storage.read(MOODLE_LOG, [HOUR])
    assert storage.existing(MOODLE_LOG, [HOUR])[0].num_rows == 0


def test_many_hours_come_back_in_their_order(bucket: str) -> None:
    storage, hours = PartitionStore(bucket), HourRange(HOUR, HOUR + 30)
    for hour in hours:
        storage.write(MOODLE_LOG, hour, rows(MOODLE_LOG, [hour.start]))
    assert [hour for hour, _ in storage.each(MOODLE_LOG, hours)] == list(hours)
    times = storage.read(MOODLE_LOG, hours, ["timecreated"])["timecreated"].to_pylist()
    assert times == [hour.start for hour in hours]
    with pytest.raises(StorageError, match="has not been materialized for 2026-02-02T04:00Z"):
        storage.read(MOODLE_LOG, HourRange(HOUR, HOUR + 40))
