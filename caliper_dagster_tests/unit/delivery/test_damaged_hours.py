"""Stored hours whose bytes have changed: never other data in silence, never a foreign error."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.config.translator import build_translator
from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import (
    CALIPER_EVENTS,
    EMISSION_RESULTS,
    EXPANDED_LOG,
    FRAMES,
    MOODLE_LOG,
    Frame,
)
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery.materialize import write_events, write_expanded, write_log
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.examples import examples

HOUR = Hour.from_key("2026-03-02-10:00")
HOURS = HourRange(HOUR, HOUR + 2)
FLIPS = examples(1_000)


@dataclass
class Site:
    """A storage with two hours of every asset, and what makes them again."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def storage(self) -> PartitionStore:
        return PartitionStore(str(self.folder))

    def path(self, frame: Frame, hour: Hour = HOUR) -> Path:
        return Path(self.storage.path(frame, hour))

    def write(self, frame: Frame) -> None:
        url = self.environment["MOODLE_DB_URL"]
        with environment(self.environment), MoodleDatabase.open(url) as database:
            if frame is MOODLE_LOG:
                write_log(database, self.storage, HOURS)
            elif frame is EXPANDED_LOG:
                write_expanded(database, self.storage, HOURS, fresh=False)
            elif frame is CALIPER_EVENTS:
                translator = build_translator(Settings.from_environment())
                write_events(translator, self.storage, CALIPER_EVENTS, HOURS)
            else:
                for hour in HOURS:
                    self.storage.write(frame, hour, results(), {"events": 40})


def results() -> pa.Table:
    moment = datetime(2026, 3, 2, 11, tzinfo=UTC)
    batch = {
        "event_store": "main", "batch_id": "urn:uuid:1", "outcome": "acknowledged", "events": 2,
        "bytes": 900, "attempts": 1, "http_status": 200, "sent_at": moment, "answered_at": moment,
        "error": None, "event_ids": ["urn:uuid:2", "urn:uuid:3"],
    }  # fmt: skip
    return pa.Table.from_pylist([batch] * 20, EMISSION_RESULTS.schema)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("pristine")
    database = folder / "moodle.sqlite"
    summary = write_sample(database, students=4, hours=2, seed=3, end=HOURS.end)
    settings = {"MOODLE_WWWROOT": summary.wwwroot, "MOODLE_DB_URL": f"sqlite:///{database}"}
    site = Site(folder / "data", settings)
    for frame in FRAMES:
        site.write(frame)
    return site


@pytest.fixture
def site(pristine: Site, tmp_path: Path) -> Site:
    """A copy that a test may damage."""
    shutil.copytree(pristine.folder, tmp_path / "data")
    return Site(tmp_path / "data", pristine.environment)


def as_an_earlier_release_wrote(path: Path) -> None:
    """Write a file anew as a plain Parquet file: without hour and digest."""
    table, stats = pq.read_table(path), pq.ParquetFile(path).metadata.metadata
    facts = {b"caliper_dagster.facts": stats[b"caliper_dagster.facts"]}
    pq.write_table(table.replace_schema_metadata(facts), path, compression="zstd")


def flipped(content: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def reads(site: Site, frame: Frame) -> tuple[Callable[[], object], ...]:
    storage = site.storage
    return (
        lambda: storage.read(frame, [HOUR]),
        lambda: storage.read(frame, [HOUR], frame.schema.names[:1]),
        lambda: storage.footer_stats(frame, HOUR),
    )


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_a_flipped_bit_is_never_other_data(frame: Frame, site: Site) -> None:
    path = site.path(frame)
    content = path.read_bytes()
    chance = random.Random(frame.name)
    for nth in range(FLIPS):
        path.write_bytes(flipped(content, chance.randrange(len(content)), chance.randrange(8)))
        with pytest.raises(StorageError) as error:
            reads(site, frame)[nth % 3]()
        assert str(error.value).startswith(
            f"{frame.name} of 2026-03-02T10:00Z cannot be read: {path} is damaged ("
        )
        assert str(error.value).endswith(f"Materialize {frame.name} for that hour again.")


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_no_damage_to_the_digest_itself_hides_it(frame: Frame, site: Site) -> None:
    """Every bit of what says that there is a digest, and of what leads to it."""
    path = site.path(frame)
    content = path.read_bytes()
    tag = content.index(b"caliper.digest.")
    for place in (*range(tag, tag + 48), *range(len(content) - 8, len(content))):
        for bit in range(8):
            path.write_bytes(flipped(content, place, bit))
            with pytest.raises(StorageError, match="is damaged"):
                site.storage.footer_stats(frame, HOUR)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_a_file_that_ends_early_is_damaged(frame: Frame, site: Site) -> None:
    path = site.path(frame)
    content = path.read_bytes()
    for size in (0, 3, 8, 60, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        for read in reads(site, frame):
            with pytest.raises(StorageError, match="is damaged"):
                read()


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_damage_to_a_file_of_an_earlier_release_is_no_foreign_error(
    frame: Frame, site: Site
) -> None:
    path = site.path(frame)
    as_an_earlier_release_wrote(path)
    content = path.read_bytes()
    chance = random.Random(frame.name)
    for nth in range(FLIPS // 10):
        path.write_bytes(flipped(content, chance.randrange(len(content)), chance.randrange(8)))
        with suppress(StorageError):
            reads(site, frame)[nth % 3]()


@pytest.mark.parametrize("frame", [EXPANDED_LOG, CALIPER_EVENTS], ids=lambda frame: frame.name)
def test_a_damaged_hour_is_made_anew_by_a_rerun(frame: Frame, site: Site) -> None:
    storage, path = site.storage, site.path(frame)
    content = path.read_bytes()
    path.write_bytes(flipped(content, len(content) // 2, 3))
    site.write(frame)
    assert path.read_bytes() == content
    assert storage.read(frame, HOURS).num_rows > 20


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_a_file_of_another_hour_is_refused(frame: Frame, site: Site) -> None:
    shutil.copy(site.path(frame, HOUR + 1), site.path(frame))
    for read in reads(site, frame):
        with pytest.raises(StorageError, match=r"10:00Z cannot be read: .*\(its rows belong to an"):
            read()
    assert site.storage.read(frame, [HOUR + 1]).num_rows > 0


@pytest.mark.parametrize("frame", FRAMES[:3], ids=lambda frame: frame.name)
def test_a_file_of_another_hour_is_refused_also_without_a_digest(frame: Frame, site: Site) -> None:
    shutil.copy(site.path(frame, HOUR + 1), site.path(frame))
    as_an_earlier_release_wrote(site.path(frame))
    for read in reads(site, frame):
        with pytest.raises(StorageError, match="its rows belong to another hour"):
            read()


def test_rows_of_another_hour_are_not_written(site: Site) -> None:
    storage, content = site.storage, site.path(MOODLE_LOG).read_bytes()
    with pytest.raises(StorageError, match="2026-03-02T10:00Z would get rows of another hour"):
        storage.write(MOODLE_LOG, HOUR, storage.read(MOODLE_LOG, HOURS))
    assert site.path(MOODLE_LOG).read_bytes() == content
    assert len(list(site.path(MOODLE_LOG).parent.iterdir())) == len(HOURS)


def test_files_of_an_earlier_release_are_read_and_get_a_digest_when_rewritten(site: Site) -> None:
    storage = site.storage
    before = storage.read(EXPANDED_LOG, [HOUR]), storage.footer_stats(EXPANDED_LOG, HOUR)
    files = len(FRAMES) * len(HOURS)
    assert storage.digest_counts() == (files, files, 0, 0)
    as_an_earlier_release_wrote(site.path(EXPANDED_LOG))
    assert storage.digest_counts() == (files, files, 1, 0)
    assert storage.read(EXPANDED_LOG, [HOUR]).equals(before[0])
    assert storage.footer_stats(EXPANDED_LOG, HOUR) == before[1]
    site.write(EXPANDED_LOG)
    assert storage.digest_counts() == (files, files, 0, 0)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_any_parquet_reader_reads_a_file_with_its_digest(frame: Frame, site: Site) -> None:
    path, column = site.path(frame), frame.schema.names[0]
    wanted = site.storage.read(frame, [HOUR])[column].to_pylist()
    assert pq.read_table(path, columns=[column])[column].to_pylist() == wanted
    assert pd.read_parquet(path)[column].tolist() == wanted
    found = duckdb.sql(f"SELECT {column} FROM read_parquet('{path}')").fetchall()
    assert [value for (value,) in found] == wanted
