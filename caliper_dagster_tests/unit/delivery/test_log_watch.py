"""The watch over the log, on every kind of database: what has grown is taken, once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange, groups
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery import log_watch
from caliper_dagster.delivery.log_watch import (
    LogWatch,
    first_cursor,
)
from caliper_dagster.delivery.watch_state import HourWindow, RunWanted, Status, WatchCursor
from caliper_dagster.expander import MoodleDatabase, read_log
from caliper_dagster_tests.harness.handmade_site import HOUR, log_rows, server_tables, write

DUE = HOUR + 10
WINDOW = HourWindow(start=HOUR, due=DUE, end=DUE, overdue=DUE + -1)
MARGIN = 600
LOG = "mdl_logstore_standard_log"


class Site:
    """A log in a database, and a storage into which hours are taken."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.now = url, float(DUE.start + 900)
        self.storage = PartitionStore(str(folder / "data"))
        self.metadata = server_tables("mdl_")
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        self.metadata.create_all(self.engine)
        self.statuses: dict[Hour, Status] = {}
        self.cursor: WatchCursor | None = None
        self.window = WINDOW
        self.statements = 0

    def log(self, hour: Hour, first: int, number: int = 1) -> None:
        rows = log_rows(number, first, timecreated=hour.start + 30)
        write(self.url, self.metadata, LOG, rows)

    def delete(self, *ids: int) -> None:
        table = self.metadata.tables[LOG]
        with self.engine.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.id.in_(ids)))

    def take(self, hours: HourRange) -> None:
        with MoodleDatabase.open(self.url) as database:
            for hour, rows in read_log(database, hours):
                self.storage.write(MOODLE_LOG, hour, rows)
                self.statuses[hour] = Status.DONE

    def look(self, seconds: float = 30) -> list[RunWanted]:
        self.now += seconds
        with MoodleDatabase.open(self.url) as database:
            if self.cursor is None:
                newest = max(self.statuses, default=None)
                self.cursor = first_cursor(
                    database, newest, self.window, self.now, since=int(self.now) - 86_400
                )
            else:  # what is remembered is remembered as text
                self.cursor = WatchCursor.model_validate_json(self.cursor.model_dump_json())
            before = database.statements
            watch = LogWatch(
                database, self.storage, self.cursor, self.window, now=self.now, max_hours=168
            )
            wanted = watch.look(self.status, MARGIN)
            self.statements = database.statements - before
            return wanted

    def status(self, hours: set[Hour]) -> Mapping[Hour, Status]:
        return {hour: self.statuses.get(hour, Status.MISSING) for hour in hours}

    def hours(self, seconds: float = 30) -> list[str]:
        """What is asked for, and taken: first hour and number of hours."""
        wanted = self.look(seconds)
        for asked in wanted:
            self.take(asked.hours)
        return [f"{w.hours.start.number - HOUR.number}+{len(w.hours)}" for w in wanted]


@pytest.fixture
def site(empty_url: str, tmp_path: Path) -> Site:
    found = Site(empty_url, tmp_path)
    for nth in range(10):
        found.log(HOUR + nth, first=1 + 100 * nth, number=20)
    found.take(HourRange(HOUR, DUE))
    assert found.hours() == []
    return found


@pytest.fixture
def small(tmp_path: Path) -> Site:
    """The same on SQLite, for what does not depend on the database."""
    path = tmp_path / "moodle.sqlite"
    path.touch()
    found = Site(f"sqlite:///{path}", tmp_path)
    found.log(HOUR, first=1, number=20)
    found.take(HourRange(HOUR, DUE))
    assert found.hours() == []
    return found


def test_hours_that_grew_are_taken_with_one_statement(site: Site) -> None:
    for nth in (1, 2, 5):
        site.log(HOUR + nth, first=2000 + nth)
    assert site.hours() == ["1+2", "5+1"]
    assert site.statements == 1
    assert [site.hours() for _ in range(3)] == [[]] * 3
    assert [site.hours(MARGIN + 1) for _ in range(4)] == [[]] * 4
    assert site.statements == 1
    assert site.cursor is not None
    assert site.cursor.low == 2005


def test_ids_that_become_visible_out_of_order_are_seen(site: Site) -> None:
    site.log(HOUR + 3, first=3000)
    assert site.hours() == ["3+1"]
    site.log(HOUR + 3, first=2990, number=5)
    site.log(HOUR + 4, first=2500)
    assert site.hours(MARGIN / 2) == ["3+2"]
    assert site.hours(MARGIN + 1) == []
    site.log(HOUR + 6, first=2800)  # the margin has passed once: it is still looked at
    assert site.hours() == ["6+1"]


def test_deleted_rows_change_nothing_and_hide_nothing(site: Site) -> None:
    site.delete(*range(301, 311), *range(501, 506))
    assert site.hours() == []
    site.log(HOUR + 3, first=2000, number=2)
    assert site.hours() == ["3+1"]
    site.delete(*range(701, 711))
    site.log(HOUR + 7, first=2100, number=2)  # fewer rows than before, and yet new ones
    assert site.hours() == ["7+1"]
    assert [site.hours(MARGIN + 1) for _ in range(3)] == [[]] * 3


def test_a_memory_that_is_lost_takes_nothing_again(site: Site) -> None:
    site.log(HOUR + 3, first=2000)
    assert site.hours() == ["3+1"]
    site.cursor = None
    assert site.hours() == []


def test_an_hour_that_is_being_taken_is_asked_for_afterwards(small: Site) -> None:
    small.log(HOUR, first=2000)
    small.statuses[HOUR] = Status.BUSY
    assert [small.look(MARGIN + 1) for _ in range(3)] == [[]] * 3
    small.statuses[HOUR] = Status.DONE
    assert small.hours() == ["0+1"]


def test_a_run_that_was_asked_for_is_not_asked_for_twice(small: Site) -> None:
    small.log(HOUR, first=2000)
    (asked,) = small.look()
    small.statuses[HOUR] = Status.BUSY
    assert small.look() == []
    small.statuses[HOUR] = Status.FAILED
    (again,) = small.look()
    assert again.reason == "unfinished"
    assert again.hours == asked.hours
    assert again.key != asked.key
    small.statuses[HOUR] = Status.BUSY
    assert small.look(MARGIN) == []
    small.take(asked.hours)
    assert small.look() == []


def test_a_clock_that_was_set_back_does_not_stop_retries(small: Site) -> None:
    small.statuses[HOUR] = Status.FAILED
    small.log(HOUR, first=2000)
    small.look()
    for _ in range(4):  # each failed retry makes the next wait longer
        small.look(MARGIN)
    small.now += 30 * 86_400
    small.look()
    small.now -= 30 * 86_400
    (again,) = small.look(MARGIN)
    assert (again.hours.start, again.reason) == (HOUR, "unfinished")


def test_a_clock_that_was_set_back_does_not_hold_the_watermark(small: Site) -> None:
    small.now += 30 * 86_400
    small.look(2 * MARGIN)
    assert small.cursor is not None
    small.log(HOUR, first=2000)
    small.hours(MARGIN)
    small.now -= 30 * 86_400
    for _ in range(4):
        small.hours(MARGIN + 1)
    assert small.cursor.low == 2000


def test_rows_that_were_asked_for_and_never_read_are_asked_for_until_they_are(small: Site) -> None:
    """The run said that it went well; the log it read did not have the rows yet (a replica)."""
    small.log(HOUR, first=2000)
    (asked,) = small.look()
    (again,) = small.look()
    assert (again.hours, again.reason) == (asked.hours, "unfinished")
    late = [ask for _ in range(20) for ask in small.look(MARGIN / 2 + 1)]
    assert len(late) >= 5
    assert len({asked.key, again.key, *(ask.key for ask in late)}) == 2 + len(late)
    small.take(asked.hours)
    assert [small.look(2 * MARGIN) for _ in range(3)] == [[]] * 3
    assert small.cursor is not None
    assert small.cursor.reopened == set()


def test_a_run_that_was_cancelled_is_asked_for_again(small: Site) -> None:
    """Dagster then shows the hour as it was before: materialized."""
    small.log(HOUR + 2, first=2000)
    for _ in range(3):
        asked = [hour for _ in range(5) for ask in small.look(MARGIN) for hour in ask.hours]
        assert set(asked) == {HOUR + 2}
        small.statuses[HOUR + 2] = Status.BUSY
        assert small.look() == []
        small.statuses[HOUR + 2] = Status.DONE
    small.take(HourRange(HOUR + 2, HOUR + 3))
    assert [small.look(3 * MARGIN) for _ in range(3)] == [[]] * 3


def test_a_storage_that_cannot_be_read_hides_no_row(small: Site) -> None:
    path = Path(small.storage.path(MOODLE_LOG, HOUR))
    kept = path.read_bytes()
    small.log(HOUR, first=2000)
    path.write_bytes(b"damaged")
    (asked,) = small.look()
    assert list(asked.hours) == [HOUR]
    path.write_bytes(kept)
    assert [ask.hours for ask in small.look(3 * MARGIN)] == [asked.hours]
    small.take(asked.hours)
    assert small.look(3 * MARGIN) == []


def test_a_damaged_hour_does_not_hide_the_others(small: Site) -> None:
    small.log(HOUR + 1, first=1000)
    small.take(HourRange(HOUR + 1, HOUR + 2))
    for hour, first in ((HOUR, 2000), (HOUR + 1, 2001)):
        small.log(hour, first)
    path = Path(small.storage.path(MOODLE_LOG, HOUR))
    content = path.read_bytes()
    path.write_bytes(content[:999] + bytes([content[999] ^ 1]) + content[1000:])
    (asked,) = small.look()
    assert asked.hours == HourRange(HOUR, HOUR + 2)
    small.take(asked.hours)
    assert small.look(3 * MARGIN) == []


def test_rows_that_came_late_since_the_newest_hour_are_found_however_long_ago(small: Site) -> None:
    small.cursor = None
    small.log(HOUR, first=2000)
    small.log(DUE, first=2001)
    small.now += 100 * 86_400
    assert list(small.look()[0].hours) == [HOUR]


def test_many_scattered_hours_are_taken_in_several_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 8
    monkeypatch.setattr(log_watch, "MAX_RUNS_PER_LOOK", most)
    (tmp_path / "moodle.sqlite").touch()
    site = Site(f"sqlite:///{tmp_path / 'moodle.sqlite'}", tmp_path)
    number = 2 * most + 4
    site.window = HourWindow(HOUR, HOUR + number, HOUR + number, HOUR)
    site.now = float((HOUR + number).start)
    site.take(HourRange(HOUR, HOUR + number))
    site.hours()
    grown = [
        row
        for nth in range(0, number, 2)
        for row in log_rows(1, 1000 + nth, timecreated=(HOUR + nth).start + 30)
    ]
    write(site.url, site.metadata, LOG, grown)
    assert [len(site.hours()) for _ in range(3)] == [most, 2, 0]


def test_hours_as_ranges() -> None:
    hours = [Hour(number) for number in (5, 1, 2, 3, 4, 9)]
    assert groups(hours, 3) == [
        HourRange(Hour(1), Hour(4)),
        HourRange(Hour(4), Hour(6)),
        HourRange(Hour(9), Hour(10)),
    ]
    assert groups([], 3) == []
