"""An hour that is processed in parts: the same files, whatever the size of the parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery.materialize import (
    WrittenEventsHour,
    WrittenExpandedHour,
    write_events,
    write_expanded,
    write_log,
)
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase, log
from caliper_dagster.operations.translate import translate_hours
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.environment import environment

END = Hour.from_key("2026-03-02-12:00")
HOURS = HourRange(END + -2, END)
WHOLE = 10_000_000
SIZES = (17, 60, WHOLE)


class Site:
    """A database, and a storage into which its hours are taken."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.storage = PartitionStore(str(folder))

    def expand(self, rows: int, *, fresh: bool = False) -> list[WrittenExpandedHour]:
        with MoodleDatabase.open(self.url) as database:
            write_log(database, self.storage, HOURS)
            return write_expanded(database, self.storage, HOURS, fresh=fresh, chunk_rows=rows)

    def translate(self, rows: int) -> list[WrittenEventsHour]:
        translator = Translator("https://moodle.example.org")
        hours, _ = write_events(translator, self.storage, CALIPER_EVENTS, HOURS, chunk_rows=rows)
        return hours

    def files(self) -> Mapping[str, bytes]:
        return {
            f"{frame.name} {hour}": Path(self.storage.path(frame, hour)).read_bytes()
            for frame in (MOODLE_LOG, EXPANDED_LOG, CALIPER_EVENTS)
            for hour in HOURS
            if self.storage.exists(frame, hour)
        }


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("chunks") / "moodle.sqlite"
    write_sample(path, students=60, hours=len(HOURS), seed=5, end=END)
    return f"sqlite:///{path}"


def test_the_size_of_the_chunks_changes_no_byte(url: str, tmp_path: Path) -> None:
    found, accounts = [], []
    for rows in SIZES:
        site = Site(tmp_path / str(rows), url)
        expanded, events = site.expand(rows), site.translate(rows)
        assert [hour.rows for hour in expanded] == [hour.expanded_now for hour in expanded]
        accounts.append([hour.account for hour in events])
        found.append(site.files())
    assert max(hour.rows for hour in expanded) > 150
    assert sum(account.derived for account in accounts[0]) > 3
    assert {account.unexplained for account in accounts[0]} == {0}
    for one, files in zip(accounts, found, strict=True):
        assert one == accounts[0]
        assert files == found[0]


def test_rows_that_came_late_are_expanded_in_parts_as_in_one(url: str, tmp_path: Path) -> None:
    """In the first run every third row is missing, and some of the others have changed since."""
    found, new = [], []
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    table = "mdl_logstore_standard_log"
    for rows in SIZES:
        site = Site(tmp_path / str(rows), url)
        with engine.begin() as connection:
            connection.execute(sa.text(f"CREATE TABLE kept AS SELECT * FROM {table}"))
            connection.execute(sa.text(f"DELETE FROM {table} WHERE id % 3 = 0"))
            connection.execute(sa.text(f"UPDATE {table} SET ip = '::1' WHERE id % 50 = 1"))
        try:
            site.expand(WHOLE)
        finally:
            with engine.begin() as connection:
                connection.execute(sa.text(f"DELETE FROM {table}"))
                connection.execute(sa.text(f"INSERT INTO {table} SELECT * FROM kept"))
                connection.execute(sa.text("DROP TABLE kept"))
        expanded = site.expand(rows)
        new.append([hour.expanded_now for hour in expanded])
        assert all(0 < hour.expanded_now < hour.rows for hour in expanded)
        found.append(site.files())
    for files in found:
        assert files == found[0]
    assert new == [new[0]] * len(SIZES)


def test_translate_without_storing_gives_the_same_events(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when an hour comes with several statements."""
    found = []
    for rows in (40, 100_000):
        monkeypatch.setattr(log, "ROWS_PER_STATEMENT", rows)
        with environment({"MOODLE_DB_URL": url, "MOODLE_WWWROOT": "https://moodle.example.org"}):
            translated = list(translate_hours(Settings.from_environment(), HOURS))
        assert sum(len(part.hours) for part in translated) == len(HOURS)
        found.append(b"".join(line for part in translated for line in part.lines))
    assert found[0] == found[1] != b""
