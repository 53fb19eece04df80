import resource
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caliper_dagster.core.errors import ConfigurationError, StorageError
from caliper_dagster.core.frames import DECIMAL, EXPANDED_LOG, INTEGER, MOODLE_LOG, Frame
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_file import CHUNK_ROWS
from caliper_dagster.core.partition_store import PartitionStore, split_by_hour

FIRST = Hour.from_key("2026-01-31-22:00")
HOURS = HourRange(FIRST, FIRST + 4)


def rows(frame: Frame, times: list[int]) -> pa.Table:
    """A row for each time; ids count from 1, every second text is missing."""
    columns = {}
    for column in frame.columns:
        if column.type == INTEGER:
            columns[column.name] = pa.array(range(1, len(times) + 1), INTEGER)
        elif column.type == DECIMAL:
            columns[column.name] = pa.array([number / 2 for number in range(len(times))])
        else:
            texts = [None if number % 2 else f"text {number}" for number in range(len(times))]
            columns[column.name] = pa.array(texts, pa.string()).cast(column.type)
    columns["timecreated"] = pa.array(times, INTEGER)
    return pa.table(columns)


def plain(table: pa.Table) -> pa.Table:
    """The table with its values in place, whatever its dictionaries are."""
    types = {field.name: getattr(field.type, "value_type", field.type) for field in table.schema}
    return table.cast(pa.schema(types)).combine_chunks()


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> PartitionStore:
    url = {"folder": str(tmp_path), "memory": f"memory://partitions/{tmp_path.name}"}
    return PartitionStore(url[request.param])


def test_what_is_written_is_read(storage: PartitionStore) -> None:
    tables = {hour: rows(EXPANDED_LOG, [hour.start, hour.start + 9]) for hour in HOURS}
    for hour in reversed(tuple(HOURS)):
        storage.write(EXPANDED_LOG, hour, tables[hour])

    read = storage.read(EXPANDED_LOG, HOURS)

    assert read.schema == EXPANDED_LOG.schema
    assert read.to_pylist() == pa.concat_tables(tables.values()).to_pylist()
    assert storage.read(EXPANDED_LOG, [FIRST], ["other", "id"]).column_names == ["other", "id"]


def test_hours_without_rows_are_kept_too(storage: PartitionStore) -> None:
    assert not storage.exists(MOODLE_LOG, FIRST)
    storage.write(MOODLE_LOG, FIRST, MOODLE_LOG.empty())
    assert storage.exists(MOODLE_LOG, FIRST)
    assert storage.read(MOODLE_LOG, [FIRST]).num_rows == 0
    assert storage.read(MOODLE_LOG, []).schema == MOODLE_LOG.schema


def test_facts_come_back_without_the_rows(storage: PartitionStore) -> None:
    facts = {"counted": 3, "by_type": {"ViewEvent": 2}, "name": "ä"}
    storage.write(MOODLE_LOG, FIRST, rows(MOODLE_LOG, [FIRST.start]), facts)
    storage.write(MOODLE_LOG, FIRST + 1, MOODLE_LOG.empty())
    assert storage.footer_stats(MOODLE_LOG, FIRST) == facts
    assert storage.footer_stats(MOODLE_LOG, FIRST + 1) == {}


def test_a_file_is_named_by_its_hour_for_any_reader(tmp_path: Path) -> None:
    PartitionStore(str(tmp_path)).write(MOODLE_LOG, FIRST, rows(MOODLE_LOG, [FIRST.start] * 2))
    path = tmp_path / "moodle_log/date=2026-01-31/2026-01-31T22.parquet"
    assert pq.ParquetFile(path).read().num_rows == 2
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


def test_an_hour_that_is_missing_is_named(storage: PartitionStore) -> None:
    storage.write(MOODLE_LOG, FIRST, MOODLE_LOG.empty())
    with pytest.raises(StorageError) as error:
        storage.read(MOODLE_LOG, HOURS)
    assert str(error.value) == (
        "moodle_log has not been materialized for 2026-01-31T23:00Z: materialize moodle_log for "
        "that hour first."
    )


def test_a_file_that_is_no_partition_is_named(tmp_path: Path) -> None:
    storage = PartitionStore(str(tmp_path))
    storage.write(MOODLE_LOG, FIRST, MOODLE_LOG.empty())
    Path(storage.path(MOODLE_LOG, FIRST)).write_bytes(b"torn")
    with pytest.raises(StorageError, match="moodle_log of 2026-01-31T22:00Z cannot be read"):
        storage.footer_stats(MOODLE_LOG, FIRST)


def test_a_partition_of_another_version_is_named(tmp_path: Path) -> None:
    storage = PartitionStore(str(tmp_path))
    older = Frame("moodle_log", "", tuple(c for c in MOODLE_LOG.columns if c.name != "other"))
    storage.write(older, FIRST, older.empty())
    with pytest.raises(StorageError, match="lacks other: materialize moodle_log again"):
        storage.read(MOODLE_LOG, [FIRST])


def test_a_slice_carries_only_its_own_records(tmp_path: Path) -> None:
    records = pa.array([f"record {number} " * 100 for number in range(4000)])
    every_hour = rows(EXPANDED_LOG, [FIRST.start] * 2000 + [FIRST.end] * 2000)
    table = every_hour.set_column(
        every_hour.schema.get_field_index("user"), "user", records.dictionary_encode()
    )
    storage = PartitionStore(str(tmp_path))
    for hour, part in split_by_hour(table, [FIRST, FIRST + 1]):
        storage.write(EXPANDED_LOG, hour, part)
        read = storage.read(EXPANDED_LOG, [hour], ["user"])["user"]
        assert len(read.chunk(0).dictionary) == 2000
        assert read.to_pylist() == part["user"].to_pylist()


def test_a_value_that_is_twice_in_a_dictionary_makes_no_other_file(tmp_path: Path) -> None:
    """pyarrow would leave room for the second one, and fill it with what was in its memory."""
    storage, times = PartitionStore(str(tmp_path)), [FIRST.start] * 3
    once, twice = (
        pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(texts))
        for indices, texts in (
            ([0, 1, 0], ["same", "other"]),
            ([0, 1, 2], ["same", "other", "same"]),
        )
    )
    files = []
    for users in (once, twice):
        table = rows(EXPANDED_LOG, times)
        table = table.set_column(table.schema.get_field_index("user"), "user", users)
        storage.write(EXPANDED_LOG, FIRST, table)
        assert storage.read(EXPANDED_LOG, [FIRST])["user"].to_pylist() == ["same", "other", "same"]
        files.append(Path(storage.path(EXPANDED_LOG, FIRST)).read_bytes())
    assert files[0] == files[1]


def test_chunks_hold_whole_hours_unless_an_hour_has_too_many_rows(storage: PartitionStore) -> None:
    numbers = (2, 0, 7, 1)
    for hour, number in zip(HOURS, numbers, strict=True):
        storage.write(MOODLE_LOG, hour, rows(MOODLE_LOG, [hour.start] * number))
    assert [
        ([numbers[hour.number - FIRST.number] for hour in chunk.hours], chunk.begins, chunk.ends)
        for chunk in storage.chunks(MOODLE_LOG, HOURS, rows=3)
    ] == [
        ([2, 0], True, True),
        ([7], True, False),
        ([7], False, False),
        ([7], False, True),
        ([1], True, True),
    ]
    for limit in (1, 2, 3, 5, 100):
        chunks = list(storage.chunks(MOODLE_LOG, HOURS, rows=limit))
        found = pa.concat_tables(chunk.table for chunk in chunks)
        assert found.to_pylist() == storage.read(MOODLE_LOG, HOURS).to_pylist()
        assert all(chunk.table.num_rows <= limit for chunk in chunks)
    assert [len(chunk.hours) for chunk in storage.chunks(MOODLE_LOG, HOURS)] == [4]


def test_the_bytes_of_an_hour_do_not_depend_on_how_it_was_handed_over(tmp_path: Path) -> None:
    storage = PartitionStore(str(tmp_path))
    table = rows(EXPANDED_LOG, [FIRST.start + nth // 50 for nth in range(CHUNK_ROWS + 5_000)])
    contents = set()
    for size in (7_919, CHUNK_ROWS, table.num_rows):
        with storage.writer(EXPANDED_LOG, FIRST) as writer:
            for begin in range(0, table.num_rows, size):
                writer.write(table.slice(begin, size))
            writer.stats = {"counted": table.num_rows}
        contents.add(Path(storage.path(EXPANDED_LOG, FIRST)).read_bytes())
    assert len(contents) == 1
    assert plain(storage.read(EXPANDED_LOG, [FIRST])).equals(plain(table))


def test_rows_between_two_times_are_read(tmp_path: Path) -> None:
    storage, number = PartitionStore(str(tmp_path)), CHUNK_ROWS + 6_000
    times = [FIRST.start + 3600 * nth // number for nth in range(number)]
    storage.write(EXPANDED_LOG, FIRST, rows(EXPANDED_LOG, times))
    with closing(storage.open(EXPANDED_LOG, FIRST)) as stored:
        for first, last in ((0, 5), (3000, 3300), (3599, 3599)):
            found = stored.between(FIRST.start + first, FIRST.start + last)["timecreated"]
            wanted = [time for time in times if first <= time - FIRST.start <= last]
            assert found.to_pylist() == wanted


def test_rows_are_split_by_their_hour_in_their_order() -> None:
    times = [FIRST.end, FIRST.start + 5, FIRST.end + 3599, FIRST.start + 5]
    parts = dict(split_by_hour(rows(MOODLE_LOG, times), HOURS))
    assert [part["id"].to_pylist() for part in parts.values()] == [[2, 4], [1, 3], [], []]


def test_a_row_outside_the_hours_is_never_dropped() -> None:
    with pytest.raises(StorageError, match="1 row outside the hours"):
        list(split_by_hour(rows(MOODLE_LOG, [FIRST.start, FIRST.start - 1]), HOURS))


def test_a_table_that_breaks_the_contract_is_not_written(tmp_path: Path) -> None:
    storage = PartitionStore(str(tmp_path))
    with pytest.raises(StorageError, match="moodle_log lacks columns: other"):
        storage.write(MOODLE_LOG, FIRST, rows(MOODLE_LOG, [1]).drop_columns(["other"]))
    assert not storage.exists(MOODLE_LOG, FIRST)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    storage = PartitionStore(str(tmp_path))
    path = Path(storage.path(MOODLE_LOG, FIRST))
    path.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="CALIPER_STORAGE cannot be written to"):
        storage.write(MOODLE_LOG, FIRST, MOODLE_LOG.empty())
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_disk_that_is_full_leaves_the_hour_as_it_was(tmp_path: Path) -> None:
    storage = PartitionStore(str(tmp_path))
    storage.write(MOODLE_LOG, FIRST, MOODLE_LOG.empty())
    path = Path(storage.path(MOODLE_LOG, FIRST))
    written = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(ConfigurationError, match=r"cannot be written to: .*\(File too large\)"):
            storage.write(MOODLE_LOG, FIRST, rows(MOODLE_LOG, [FIRST.start] * 500))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == written
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_storage_that_is_not_writable_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    storage = PartitionStore(str(tmp_path / "file" / "data"))
    with pytest.raises(ConfigurationError, match=r"^CALIPER_STORAGE cannot be written to: .*file"):
        storage.probe()


def test_a_probe_leaves_nothing(storage: PartitionStore, tmp_path: Path) -> None:
    storage.probe()
    assert list(tmp_path.iterdir()) == []


def test_credentials_in_the_url_are_not_shown() -> None:
    storage = PartitionStore("memory://user:secret@bucket/data")
    assert "secret" not in repr(storage) + storage.path(MOODLE_LOG, FIRST)


def test_a_week_is_read_in_the_order_of_the_hours(tmp_path: Path) -> None:
    week = HourRange(FIRST, FIRST + 168)
    storage = PartitionStore(str(tmp_path))
    for hour in sorted(week, key=lambda hour: hour.number % 7):
        storage.write(MOODLE_LOG, hour, rows(MOODLE_LOG, [hour.start, hour.start + 1]))
    times = storage.read(MOODLE_LOG, week, ["timecreated"])["timecreated"].to_numpy()
    assert len(times) == 336
    assert (np.diff(times) > 0).all()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nowhere://me:hush@data", "CALIPER_STORAGE must be a folder or a URL that fsspec knows, "),
        ("libarchive://me:hush@data", "CALIPER_STORAGE needs a Python package that is not here: "),
    ],
)
def test_a_kind_of_storage_that_is_not_known_here_names_the_setting(
    url: str, sentence: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        PartitionStore(url)
    assert str(error.value).startswith(sentence)
    assert "hush" not in str(error.value)


def test_a_folder_that_cannot_be_read_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"^CALIPER_STORAGE cannot be read: .* \(Not a d"):
        PartitionStore(str(tmp_path / "file" / "data")).read(MOODLE_LOG, HOURS)


def test_stored_hours_are_listed_and_deleted(storage: PartitionStore) -> None:
    hours = [FIRST + offset for offset in range(4)]
    sizes = {hour: storage.write(MOODLE_LOG, hour, MOODLE_LOG.empty()) for hour in hours}
    assert list(storage.hour_sizes(MOODLE_LOG).items()) == list(sizes.items())
    assert storage.hour_sizes(EXPANDED_LOG) == {}
    storage.delete(MOODLE_LOG, [*hours[:2], FIRST + 9])
    storage.delete(MOODLE_LOG, hours[:2])
    assert list(storage.hour_sizes(MOODLE_LOG)) == hours[2:]
    storage.write(MOODLE_LOG, hours[0], MOODLE_LOG.empty())
    assert storage.exists(MOODLE_LOG, hours[0])
