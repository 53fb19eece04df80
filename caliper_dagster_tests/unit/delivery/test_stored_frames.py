"""What a notebook gets of the stored hours: a complete frame, or a sentence."""

import gc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import caliper_dagster
from caliper_dagster.caliper.shapes import SHAPES, Shape
from caliper_dagster.core.errors import ConfigurationError, StorageError
from caliper_dagster.core.frames import (
    CALIPER_EVENTS,
    EMISSION_RESULTS,
    EXPANDED_LOG,
    FRAMES,
    INTEGER,
    Column,
    Frame,
)
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.revisions import MAPPING_REVISION, revision_in
from caliper_dagster.delivery.stored_frames import as_pandas, load_hours, read_hours
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.unit.core.test_partition_store import rows

FIRST = Hour.from_key("2026-01-31-22:00")
DAY = HourRange(FIRST, FIRST + 4)


@pytest.fixture
def storage(tmp_path: Path) -> PartitionStore:
    """Four hours of events, the second of them without rows."""
    store = PartitionStore(str(tmp_path / "data"))
    for place, hour in enumerate(DAY):
        times = [hour.start + second for second in range(2 if place != 1 else 0)]
        store.write(CALIPER_EVENTS, hour, rows(CALIPER_EVENTS, times))
    return store


def load(storage: PartitionStore, hours: HourRange = DAY, **options: object) -> pd.DataFrame:
    return load_hours("caliper_events", hours.start, hours.end, storage=storage.name, **options)


def test_the_rows_of_the_hours_are_in_one_frame(storage: PartitionStore) -> None:
    frame = load(storage, columns=["timecreated", "event_type", "generated_score"])

    assert list(frame.columns) == ["timecreated", "event_type", "generated_score"]
    assert frame["timecreated"].tolist() == [
        hour.start + second for hour in (FIRST, FIRST + 2, FIRST + 3) for second in (0, 1)
    ]
    assert frame["event_type"].dropna().unique().tolist() == ["text 0"]
    assert frame["generated_score"].tolist() == [0, 0.5] * 3


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_types_do_not_depend_on_the_rows(frame: Frame, tmp_path: Path) -> None:
    store = PartitionStore(str(tmp_path))
    store.write(frame, FIRST, frame.empty())
    empty = load_hours(frame.name, FIRST, FIRST + 1, storage=store.name)

    assert empty.empty
    assert list(empty.columns) == frame.schema.names
    assert read_hours(store, frame, [FIRST]).schema == frame.schema
    wanted = {
        "int64": "Int64",
        "string": "str",
        "double": "float64",
        "timestamp[ms, tz=UTC]": "datetime64[ms, UTC]",
        "list<item: string>": "object",
    }
    for column in frame.columns:
        kind = empty[column.name].dtype
        if isinstance(kind, pd.CategoricalDtype):
            assert kind.categories.dtype == "str", column.name
        else:
            assert kind == wanted[str(column.type)], column.name


def test_a_missing_integer_does_not_change_its_column(storage: PartitionStore) -> None:
    table = EXPANDED_LOG.conform(rows(EXPANDED_LOG, [FIRST.start] * 2))
    place = table.schema.get_field_index("relateduserid")
    table = table.set_column(place, table.schema[place], pa.array([None, 7], INTEGER))
    storage.write(EXPANDED_LOG, FIRST, table)

    frame = load_hours("expanded_log", FIRST, FIRST + 1, storage=storage.name)

    assert frame["relateduserid"].dtype == frame["userid"].dtype == "Int64"
    assert frame["relateduserid"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("start", "end", "number"),
    [
        ("2026-01-31T22", "2026-02-01T02:00Z", 6),
        (datetime(2026, 1, 31, 22, tzinfo=UTC), date(2026, 2, 1), 2),
        (pd.Timestamp("2026-01-31T23:00", tz="Europe/Berlin"), FIRST + 3, 4),
    ],
)
def test_a_range_is_named_in_several_ways(
    storage: PartitionStore, start: object, end: object, number: int
) -> None:
    times = load_hours("caliper_events", start, end, storage=storage.name)["timecreated"]
    assert times.min() == FIRST.start
    assert len(times) == number


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        ("2026-01-31T22:30", "2026-02-01", "start must be a full hour in UTC such as"),
        ("2026-01-31", "yesterday", "end must be a full hour in UTC such as"),
        (pd.Timestamp("2026-01-31"), "2026-02-01", "start must be a full hour with a time zone"),
        (
            datetime(2026, 1, 31, tzinfo=timezone(timedelta(minutes=330))),
            "2026-02-01",
            "start must be a full hour with a time zone",
        ),
        (1769900400, "2026-02-01", "start must be a full hour in UTC"),
        ("2026-02-01", "2026-02-01", "end must be later than start"),
    ],
)
def test_a_range_that_is_none_is_refused(
    storage: PartitionStore, start: object, end: object, sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load_hours("caliper_events", start, end, storage=storage.name)


def test_names_that_are_not_known_are_refused(storage: PartitionStore) -> None:
    with pytest.raises(ConfigurationError, match=r"^events is no frame that is stored: there are"):
        load_hours("events", FIRST, FIRST + 1, storage=storage.name)
    with pytest.raises(ConfigurationError, match=r"^caliper_events has no column who: its columns"):
        load(storage, columns=["who", "json"])
    for columns in ("json", []):
        with pytest.raises(ConfigurationError, match=r"^columns must be a list"):
            load(storage, columns=columns)
    with pytest.raises(ConfigurationError, match=r"^site and storage are both given"):
        load(storage, site="north")


def test_frames_with_a_suffix_are_found(tmp_path: Path) -> None:
    store = PartitionStore(str(tmp_path))
    for frame, name in (
        (CALIPER_EVENTS, "caliper_events_v1p1"),
        (CALIPER_EVENTS, "caliper_events_v1p2_objects"),
        (EMISSION_RESULTS, "emission_results_lrw"),
    ):
        store.write(replace(frame, name=name), FIRST, frame.empty())
        loaded = load_hours(name, FIRST, FIRST + 1, storage=store.name)
        assert list(loaded.columns) == frame.schema.names


def remove(path: Path) -> None:
    path.unlink()


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_hour(path: Path) -> None:
    earlier = path.with_name("2026-02-01T00.parquet").read_bytes()
    path.write_bytes(earlier)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove, "caliper_events has not been materialized for 2026-02-01T01:00Z: materialize"),
        (halve, "caliper_events of 2026-02-01T01:00Z cannot be read: .* is damaged"),
        (flip, "caliper_events of 2026-02-01T01:00Z cannot be read: .* is damaged"),
        (empty, "caliper_events of 2026-02-01T01:00Z cannot be read: .* is damaged"),
        (of_another_hour, "caliper_events of 2026-02-01T01:00Z cannot be read: .* another hour"),
    ],
)
def test_an_hour_that_is_not_whole_is_an_error(
    storage: PartitionStore, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(Path(storage.path(CALIPER_EVENTS, FIRST + 3)))
    with pytest.raises(StorageError, match=sentence):
        load(storage)
    assert len(load(storage, HourRange(FIRST, FIRST + 3))) == 4


def test_an_hour_of_a_later_release_is_an_error(storage: PartitionStore) -> None:
    later = replace(CALIPER_EVENTS, columns=(*CALIPER_EVENTS.columns, Column("mood", INTEGER, "")))
    storage.write(later, FIRST + 3, later.empty())
    with pytest.raises(StorageError) as error:
        load(storage, columns=["event_id"])
    assert str(error.value) == (
        "caliper_events of 2026-02-01T01:00Z was written by a later release of caliper_dagster and "
        "has columns that are unknown here, mood: install that release here."
    )

    stats = {"mapping_revision": 7_000 + MAPPING_REVISION + 1}
    storage.write(CALIPER_EVENTS, FIRST + 3, CALIPER_EVENTS.empty(), stats)
    with pytest.raises(StorageError, match="by a later release of caliper_dagster: install that"):
        load(storage)

    storage.write(
        CALIPER_EVENTS, FIRST + 3, CALIPER_EVENTS.empty(), {"mapping_revision": MAPPING_REVISION}
    )
    assert len(load(storage)) == 4


@pytest.mark.parametrize("shape", SHAPES.values(), ids=lambda shape: shape.name)
def test_an_hour_in_any_shape_is_read_and_one_of_a_later_release_is_an_error(
    storage: PartitionStore, shape: Shape
) -> None:
    def write(revision: int) -> None:
        stats = {"mapping_revision": revision_in(7_000 + revision, shape.number)}
        storage.write(CALIPER_EVENTS, FIRST + 3, CALIPER_EVENTS.empty(), stats)

    write(MAPPING_REVISION)
    assert len(load(storage)) == 4
    write(MAPPING_REVISION + 1)
    with pytest.raises(StorageError, match="by a later release of caliper_dagster: install that"):
        load(storage)


def test_an_hour_with_other_types_is_an_error(storage: PartitionStore) -> None:
    columns = tuple(
        replace(column, type=pa.string()) if column.name == "log_id" else column
        for column in CALIPER_EVENTS.columns
    )
    other = replace(CALIPER_EVENTS, columns=columns)
    table = rows(CALIPER_EVENTS, [FIRST.start])
    storage.write(other, FIRST, table.set_column(0, "log_id", pa.array(["the first"])))
    with pytest.raises(
        StorageError, match="written by another version with columns of other types"
    ):
        load(storage)


def test_an_hour_of_an_earlier_release_has_nulls_in_the_added_columns(
    storage: PartitionStore,
) -> None:
    earlier = replace(
        CALIPER_EVENTS, columns=tuple(c for c in CALIPER_EVENTS.columns if not c.added)
    )
    storage.write(earlier, FIRST, rows(earlier, [FIRST.start]))
    frame = load(storage, columns=["generated_score", "actor_id"])
    assert frame["generated_score"].isna().tolist() == [True, False, False, False, False]
    assert frame["actor_id"].isna().tolist() == [True, False, True, False, True]


def test_a_storage_without_the_asset_is_named(storage: PartitionStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_hours("caliper_events", FIRST, FIRST + 1, storage=str(tmp_path / "elsewhere"))
    assert str(error.value) == (
        f"No hour of caliper_events is stored in {tmp_path}/elsewhere: storage (or "
        "CALIPER_STORAGE) must be the folder or the URL in which the assets are kept."
    )


def test_settings_say_where_the_storage_is(
    storage: PartitionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with environment({"CALIPER_STORAGE": storage.name}):
        assert len(caliper_dagster.load_hours("caliper_events", FIRST, DAY.end)) == 6
    with environment({}):
        (tmp_path / ".env").write_text(f"CALIPER_STORAGE={storage.name}\n")
        assert len(caliper_dagster.load_hours("caliper_events", FIRST, DAY.end)) == 6


def test_columns_that_are_not_asked_for_are_not_held(tmp_path: Path) -> None:
    store = PartitionStore(str(tmp_path))
    table = rows(CALIPER_EVENTS, [FIRST.start] * 2000)
    texts = pa.array([f"{number} " * 1000 for number in range(2000)])
    table = table.set_column(table.schema.get_field_index("json"), "json", texts)
    store.write(CALIPER_EVENTS, FIRST, table)

    held = {}
    for columns in (["log_id"], ["log_id", "json"]):
        before = pa.total_allocated_bytes()
        frame = read_hours(store, CALIPER_EVENTS, [FIRST], columns)
        held[len(columns)] = pa.total_allocated_bytes() - before
        assert frame.num_rows == 2000
        del frame
    assert held[1] < 100_000 < 5_000_000 < held[2]


def test_a_record_that_repeats_is_held_once(tmp_path: Path) -> None:
    store = PartitionStore(str(tmp_path))
    record = "a record " * 5000
    for hour in DAY:
        table = EXPANDED_LOG.conform(rows(EXPANDED_LOG, [hour.start] * 500))
        place = table.schema.get_field_index("user")
        users = pa.array([record] * 500).dictionary_encode()
        store.write(EXPANDED_LOG, hour, table.set_column(place, table.schema[place], users))

    frame = as_pandas(read_hours(store, EXPANDED_LOG, list(DAY), ["user"]))

    assert (frame["user"] == record).all()
    assert frame["user"].cat.categories.tolist() == [record]
    assert frame["user"].memory_usage(deep=True) < 10 * len(record)


def test_an_hour_that_was_read_leaves_nothing_behind(storage: PartitionStore) -> None:
    """Garbage is collected rarely, and the footer of each hour is large."""
    gc.collect()
    gc.disable()
    try:
        table = read_hours(storage, CALIPER_EVENTS, list(DAY), ["log_id"])
        left = [it for it in gc.get_objects() if isinstance(it, pq.FileMetaData)]
    finally:
        gc.enable()
    assert table.num_rows == 6
    assert left == []
