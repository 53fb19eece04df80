"""The watch over a log whose rows wait for a replica: they are taken when it has caught up."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import SourceError
from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery.log_watch import LogWatch, first_cursor
from caliper_dagster.delivery.materialize import write_expanded, write_log
from caliper_dagster.delivery.watch_state import HourWindow, RunWanted, Status, WatchCursor
from caliper_dagster.expander import LogPlace, MoodleDatabase, read_log
from caliper_dagster_tests.harness.handmade_site import Site, log_rows, server_tables, write

MARGIN = 600
DUE = Hour.of(time.time())
# Not the last hour: what the replica reaches must be past in the first minutes of an hour, too.
HOUR = DUE + -2
WINDOW = HourWindow(start=HOUR + -3, due=DUE, end=DUE, overdue=DUE + -1)
LOG = "mdl_logstore_standard_log"


class Watched:
    """A replica, the log in another database, and the hours that are taken from it."""

    def __init__(self, folder: Path) -> None:
        self.replica = Site(folder / "replica.sqlite")
        self.replica.add("user", {"id": 2, "lastaccess": 0, "username": "u"})
        self.url = f"sqlite:///{folder / 'log.sqlite'}"
        self.metadata = server_tables("mdl_")
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        self.metadata.tables[LOG].create(engine)
        engine.dispose()
        self.storage = PartitionStore(str(folder / "data"))
        self.now, self.cursor = (
            float(DUE.start + 900),
            WatchCursor(low=0, high=0, high_since=DUE.start, frontier=HOUR.number),
        )

    def log(self, id_: int, second: int) -> None:
        rows = log_rows(1, id_, timecreated=HOUR.start + second)
        write(self.url, self.metadata, LOG, rows)

    def reach(self, second: int) -> None:
        """The replica has what Moodle wrote up to a second of the hour."""
        self.replica.execute(f"UPDATE mdl_user SET lastaccess = {HOUR.start + second + 60}")

    def open(self) -> MoodleDatabase:
        return MoodleDatabase.open(self.replica.url, log=LogPlace(self.url, wait=24))

    def take(self) -> list[int]:
        with self.open() as database:
            ((hour, rows),) = read_log(database, HourRange(HOUR, HOUR + 1))
            self.storage.write(MOODLE_LOG, hour, rows)
            return rows["id"].to_pylist()

    def look(self, seconds: float = 30) -> list[RunWanted]:
        self.now += seconds
        with self.open() as database:
            watch = LogWatch(
                database, self.storage, self.cursor, WINDOW, now=self.now, max_hours=168
            )
            return watch.look(lambda hours: dict.fromkeys(hours, Status.DONE), MARGIN)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_an_hour_is_taken_again_when_the_replica_has_caught_up(watched: Watched) -> None:
    watched.log(1, 100)
    watched.log(2, 2000)
    watched.reach(500)
    assert watched.take() == [1]
    assert watched.look() == []
    watched.reach(2500)
    # One run takes the hour when the replica has all of it, not one run after every few rows.
    assert watched.look() == []
    watched.reach(3700)
    (wanted,) = watched.look()
    assert list(wanted.hours) == [HOUR]
    assert watched.take() == [1, 2]
    assert watched.look() == []


def test_no_row_is_passed_while_it_waits_whatever_the_order_of_ids(watched: Watched) -> None:
    watched.log(5, 2000)
    watched.log(9, 100)
    watched.reach(500)
    assert watched.take() == [9]
    for _ in range(4):
        assert watched.look(MARGIN + 1) == []
    assert watched.cursor.low < 5
    watched.reach(3700)
    (wanted,) = watched.look()
    assert list(wanted.hours) == [HOUR]
    assert watched.take() == [9, 5]


def test_a_row_of_a_wrong_clock_does_not_hold_the_watch_up(watched: Watched) -> None:
    watched.log(1, 100)
    watched.log(2, 10 * 86_400)
    watched.reach(500)
    watched.take()
    for _ in range(3):
        assert watched.look(MARGIN + 1) == []
    assert watched.cursor.low == 0
    watched.reach(3700)
    for _ in range(3):
        assert watched.look(MARGIN + 1) == []
    assert watched.cursor.low == 1


def test_the_first_look_begins_before_rows_that_wait(watched: Watched) -> None:
    watched.log(7, 2000)
    watched.reach(500)
    with watched.open() as database:
        cursor = first_cursor(database, HOUR, WINDOW, watched.now, since=HOUR.start)
    assert cursor.low < 7


def test_a_replica_that_is_older_than_before_takes_no_stored_row_away(watched: Watched) -> None:
    """Behind one name there may be two replicas."""
    watched.log(1, 100)
    watched.log(2, 2000)
    watched.reach(2500)
    hours = HourRange(HOUR, HOUR + 1)
    with watched.open() as database:
        write_log(database, watched.storage, hours)
    watched.reach(500)
    with watched.open() as database, pytest.raises(SourceError, match="one and the same replica"):
        write_log(database, watched.storage, hours)
    with watched.open() as database, pytest.raises(SourceError, match="one and the same replica"):
        write_expanded(database, watched.storage, hours, fresh=False)
    assert watched.storage.read(MOODLE_LOG, [HOUR])["id"].to_pylist() == [1, 2]
    watched.reach(2500)
    with watched.open() as database:
        (written,) = write_expanded(database, watched.storage, hours, fresh=False)
    assert written.rows == 2
