"""Stored hours that are written again as they are protected now, and copies in the clear."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.config.connections import open_store
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.stored_fields import NOTHING, stored_fields_of
from caliper_dagster.delivery.materialize import write_events, write_expanded, write_log
from caliper_dagster.delivery.stored_frames import load_hours
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.environment import environment

END = Hour.from_key("2026-03-02-12:00")
HOURS = HourRange(END + -2, END)
FRAMES = (MOODLE_LOG, EXPANDED_LOG, CALIPER_EVENTS)
OLD, NEW = "an old key of thirty-two letters", "a new key of thirty-two letters!"
STRICT = {
    "CALIPER_STORED_ADDRESSES": "none",
    "CALIPER_STORED_NAMES": "false",
    "CALIPER_STORED_TEXTS": "false",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A storage with hours in the clear, as an earlier release has written them."""
    file, storage = tmp_path / "moodle.sqlite", PartitionStore(str(tmp_path / "data"))
    summary = write_sample(file, students=4, hours=2, seed=3, end=END)
    with MoodleDatabase.open(f"sqlite:///{file}") as database:
        write_log(database, storage, HOURS)
        write_expanded(database, storage, HOURS, fresh=False)
    write_events(Translator(summary.wwwroot), storage, CALIPER_EVENTS, HOURS)
    return tmp_path / "data"


@contextmanager
def settings(data: Path, **variables: str) -> Iterator[PartitionStore]:
    with environment({"CALIPER_STORAGE": str(data), **variables}):
        yield open_store(Settings.from_environment())


def test_hours_are_encrypted_and_lose_what_is_not_stored_any_more(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with settings(data) as storage:
        before = {frame: storage.read(frame, list(HOURS)) for frame in FRAMES}
        stats = storage.footer_stats(EXPANDED_LOG, HOURS.start)
    with settings(data, CALIPER_STORAGE_KEY=NEW, **STRICT) as storage:
        assert main(["storage", "protect"]) == 0
        assert capsys.readouterr().err.endswith("6 files written again.\n")
        after = {frame: storage.read(frame, list(HOURS)) for frame in FRAMES}
        assert after[CALIPER_EVENTS].to_pylist() == before[CALIPER_EVENTS].to_pylist()
        assert after[MOODLE_LOG]["id"] == before[MOODLE_LOG]["id"]
        assert after[MOODLE_LOG]["ip"].null_count == after[MOODLE_LOG].num_rows
        assert '"firstname":null' in after[EXPANDED_LOG]["user"].drop_null()[0].as_py()
        now = storage.footer_stats(EXPANDED_LOG, HOURS.start)
        assert stored_fields_of(now) == NOTHING
        assert stats.items() <= now.items()
        assert main(["storage", "protect"]) == 0
        assert capsys.readouterr().err.endswith("0 files written again.\n")
    with (
        settings(data),
        pytest.raises(ConfigurationError, match=r"^CALIPER_STORAGE_KEY is not set"),
    ):
        open_store(Settings.from_environment()).read(MOODLE_LOG, list(HOURS))


def test_a_key_is_changed_while_the_former_one_reads(data: Path) -> None:
    with settings(data, CALIPER_STORAGE_KEY=OLD):
        assert main(["storage", "protect"]) == 0
    with settings(data, CALIPER_STORAGE_KEY=f"{NEW}\n{OLD}") as storage:
        rows = storage.read(CALIPER_EVENTS, list(HOURS)).to_pylist()
        assert main(["storage", "protect"]) == 0
    with settings(data, CALIPER_STORAGE_KEY=NEW) as storage:
        assert storage.read(CALIPER_EVENTS, list(HOURS)).to_pylist() == rows
    with settings(data, CALIPER_STORAGE_KEY=OLD) as storage, pytest.raises(ConfigurationError):
        storage.read(CALIPER_EVENTS, list(HOURS))


def test_notebooks_read_encrypted_hours_with_the_key_of_the_environment(data: Path) -> None:
    with settings(data, CALIPER_STORAGE_KEY=NEW):
        assert main(["storage", "protect"]) == 0
        frame = load_hours(
            "caliper_events", str(HOURS.start)[:13], "2026-03-02T12", storage=str(data)
        )
        assert len(frame) > 50


def test_copies_in_the_clear_are_for_other_readers(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "copies"
    arguments = ["storage", "export", "--from", "2026-03-02T10", "--to", "2026-03-02T11"]
    with settings(data, CALIPER_STORAGE_KEY=NEW) as storage:
        assert main(["storage", "protect"]) == 0
        assert main([*arguments, "--out", str(out)]) == 0
        assert capsys.readouterr().err.endswith("1 hour copied, in the clear.\n")
        rows = storage.read(CALIPER_EVENTS, [HOURS.start]).to_pylist()
        assert main([*arguments, "--out", str(data)]) == 2
        assert main([*arguments, "--out", str(out), "--asset", "moodle"]) == 2
    (file,) = out.rglob("*.parquet")
    with pq.ParquetFile(file) as parquet:
        assert parquet.read().to_pylist() == rows
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "--out is the folder of the storage: choose another one.",
        "--asset moodle has no stored hours; these have: caliper_events, expanded_log, moodle_log.",
    ]
