"""Hours that a process takes from memory while their files are those that it has written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG, Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.own_dictionaries import with_own_dictionaries
from caliper_dagster.core.partition_store import PartitionStore, split_by_hour
from caliper_dagster.core.recent_hours import RecentHours

FIRST = Hour.of(1_770_000_000)


def rows(frame: Frame, times: list[int]) -> pa.Table:
    """Rows of these times, with a text of each in every column of texts, and nulls in others."""
    names = [f"{time}" if time % 3 else None for time in times]
    columns = {
        field.name: pa.array(names).cast(field.type)
        if field.type in (pa.string(), pa.dictionary(pa.int32(), pa.string()))
        else pa.array(times, pa.int64()).cast(field.type)
        for field in frame.schema
    }
    return pa.table(columns, schema=frame.schema)


@pytest.fixture
def store(tmp_path: Path) -> PartitionStore:
    return PartitionStore(str(tmp_path), recent=RecentHours())


def test_an_hour_from_memory_is_as_its_file(store: PartitionStore, tmp_path: Path) -> None:
    table = rows(EXPANDED_LOG, [FIRST.start + nth // 3 for nth in range(40)])
    stats = {"counted": 3, "by_type": {"ä": 1}}
    store.write(EXPANDED_LOG, FIRST, table, stats)
    read_by_others = PartitionStore(str(tmp_path))
    for columns in (None, ["id", "user"], ["user"]):
        ours = store.read(EXPANDED_LOG, [FIRST], columns)
        assert ours.equals(read_by_others.read(EXPANDED_LOG, [FIRST], columns))
        assert ours.schema == read_by_others.read(EXPANDED_LOG, [FIRST], columns).schema
    assert store.footer_stats(EXPANDED_LOG, FIRST) == stats
    with (
        closing(store.open(EXPANDED_LOG, FIRST)) as ours,
        closing(read_by_others.open(EXPANDED_LOG, FIRST)) as others,
    ):
        assert ours.num_rows == others.num_rows == 40
        assert ours.has_all_columns()
        assert [part.num_rows for part in ours.parts(15)] == [15, 15, 10]
        for first, last in ((0, 5), (6, 6), (100, 200)):
            between = FIRST.start + first, FIRST.start + last
            assert ours.between(*between).to_pylist() == others.between(*between).to_pylist()


def _replaced(store: PartitionStore, path: Path) -> None:
    other = PartitionStore(str(path.parents[2]))
    other.write(MOODLE_LOG, FIRST, rows(MOODLE_LOG, [FIRST.start + 7]))


def _restored(store: PartitionStore, path: Path) -> None:
    copy = path.with_suffix(".copy")
    shutil.copy2(path, copy)
    _replaced(store, path)
    copy.replace(path)


@pytest.mark.parametrize("change", [_replaced, _restored])
def test_a_file_that_was_replaced_is_read(
    store: PartitionStore, tmp_path: Path, change: Callable[[PartitionStore, Path], None]
) -> None:
    store.write(MOODLE_LOG, FIRST, rows(MOODLE_LOG, [FIRST.start]))
    change(store, Path(store.path(MOODLE_LOG, FIRST)))
    now = PartitionStore(str(tmp_path)).read(MOODLE_LOG, [FIRST])
    assert store.read(MOODLE_LOG, [FIRST]).equals(now)


def test_a_file_that_was_damaged_or_deleted_is_noticed(store: PartitionStore) -> None:
    store.write(MOODLE_LOG, FIRST, rows(MOODLE_LOG, [FIRST.start]))
    path = Path(store.path(MOODLE_LOG, FIRST))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="its content is not what was written"):
        store.read(MOODLE_LOG, [FIRST])
    path.unlink()
    with pytest.raises(StorageError, match="has not been materialized"):
        store.read(MOODLE_LOG, [FIRST])


def test_an_hour_that_is_written_again_has_its_new_rows(store: PartitionStore) -> None:
    for number in (2, 5):
        store.write(MOODLE_LOG, FIRST, rows(MOODLE_LOG, [FIRST.start] * number))
        assert store.read(MOODLE_LOG, [FIRST]).num_rows == number


def test_hours_of_a_chunk_do_not_keep_the_chunk_in_memory(tmp_path: Path) -> None:
    store = PartitionStore(str(tmp_path), recent=RecentHours())
    hours = [FIRST, FIRST + 1]
    before = pa.total_allocated_bytes()
    times = [FIRST.start] * 5 + [FIRST.end] * 40_000
    for hour, part in split_by_hour(rows(MOODLE_LOG, times), hours):
        store.write(MOODLE_LOG, hour, part, has_own_dictionaries=True)
    del part
    assert store.read(MOODLE_LOG, [FIRST]).num_rows == 5
    assert pa.total_allocated_bytes() - before < 100_000


def test_the_hours_of_a_chunk_have_the_same_bytes_as_each_alone(tmp_path: Path) -> None:
    hours = [FIRST + nth for nth in range(5)]
    times = [hour.start + nth for hour in hours[:4] for nth in range(hour.number % 4 * 9)]
    table = rows(EXPANDED_LOG, times)
    twice = pa.DictionaryArray.from_arrays(
        pa.array([None if nth % 5 == 0 else nth % 4 for nth in range(len(times))], pa.int32()),
        pa.array(["same", "other", "same", None]),
    )
    table = table.set_column(table.schema.get_field_index("user"), "user", twice)
    together, alone = (PartitionStore(str(tmp_path / name)) for name in ("together", "alone"))
    begin = 0
    for hour, part in split_by_hour(table, hours):
        together.write(EXPANDED_LOG, hour, part, has_own_dictionaries=True)
        rows_alone = with_own_dictionaries(table.slice(begin, part.num_rows))
        begin += part.num_rows
        assert part.to_pylist() == rows_alone.to_pylist()
        alone.write(EXPANDED_LOG, hour, rows_alone)
        assert (
            Path(together.path(EXPANDED_LOG, hour)).read_bytes()
            == Path(alone.path(EXPANDED_LOG, hour)).read_bytes()
        )
