"""Dagster's SQLite files are set up as Dagster does it, and opened without its migrations."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import LAST_KNOWN_STAMPED_SQLITE_ALEMBIC_REVISION

from caliper_dagster.dagster.instance.bulk_sqlite import SqliteEvents
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster_tests.harness.environment import environment


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with environment({"DAGSTER_HOME": str(tmp_path)}):
        yield tmp_path


def content(file: Path) -> tuple[list[tuple[str, ...]], str, str]:
    """Tables and indexes, the revision, and the mode of the journal."""
    with closing(sqlite3.connect(file)) as connection:
        schema = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        return schema.fetchall(), revision, mode


@pytest.mark.parametrize("file", ["index.db", "a-run.db"])
def test_a_file_of_events_is_as_dagster_creates_it(tmp_path: Path, file: str) -> None:
    for name, kind in (("theirs", SqliteEventLogStorage), ("ours", SqliteEvents)):
        storage = kind(str(tmp_path / name))
        with storage.run_connection("a-run"):
            pass
        storage.dispose()
    theirs = content(tmp_path / "theirs" / file)
    assert content(tmp_path / "ours" / file) == theirs
    assert theirs[2] == "wal"


def test_an_instance_that_is_set_up_is_opened_without_migrations(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance():
        pass
    parsed: list[object] = []
    monkeypatch.setattr(ScriptDirectory, "from_config", parsed.append)
    with open_instance() as instance:
        assert instance.get_runs() == []
        assert list(instance.all_instigator_state()) == []
    assert parsed == []


@pytest.mark.parametrize("file", ["history/runs.db", "schedules/schedules.db"])
def test_a_file_without_a_revision_gets_it_from_dagster(home: Path, file: str) -> None:
    """As releases of Dagster left it that noted none."""
    with open_instance():
        pass
    with closing(sqlite3.connect(home / file)) as connection:
        connection.execute("DROP TABLE alembic_version")
    with open_instance():
        pass
    assert content(home / file)[1] == LAST_KNOWN_STAMPED_SQLITE_ALEMBIC_REVISION
