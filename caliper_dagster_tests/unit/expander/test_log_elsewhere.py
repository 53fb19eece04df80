"""A log in another database or table: where it is found, and which of its rows wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.expander import (
    LogPlace,
    MoodleDatabase,
    count_rows,
    count_waiting_rows,
    first_waiting_id,
    id_stats_above,
    ids_above,
    replica,
)
from caliper_dagster.expander.site_facts import read_site_facts
from caliper_dagster_tests.harness.handmade_site import log_rows, server_tables, whole_log, write

LOG = "mdl_logstore_standard_log"
NOW = int(time.time())
NEWEST = NOW - 3600
"""The newest change that the replica has."""
BEFORE, AFTER = NEWEST - replica.SETTLING_SECONDS, NEWEST - replica.SETTLING_SECONDS + 1
DAY = HourRange(Hour.of(NOW - 86_400), Hour.of(NOW) + 1)


@pytest.fixture
def replica_url(empty_url: str) -> str:
    """A Moodle without a log: users, one of whom was last seen at `NEWEST`."""
    users = sa.MetaData()
    table = sa.Table(
        "mdl_user",
        users,
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("lastaccess", sa.BigInteger),
    )
    with engine(empty_url) as opened:
        users.create_all(opened)
        with opened.begin() as connection:
            rows = [{"id": 1, "lastaccess": 0}, {"id": 2, "lastaccess": NEWEST}]
            # A clock that was wrong once.
            rows.append({"id": 3, "lastaccess": NOW + 10**6})
            connection.execute(sa.insert(table), rows)
    return empty_url


@pytest.fixture
def log_url(replica_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its log in another database."""
    return fill_log(f"sqlite:///{tmp_path_factory.mktemp('log') / 'log.sqlite'}")


def fill_log(url: str) -> str:
    """A log with a row before and two rows after the replica's time."""
    metadata = server_tables("mdl_")
    with engine(url) as opened:
        metadata.tables[LOG].create(opened)
    for number, moment in enumerate((BEFORE, AFTER, NOW), start=1):
        write(url, metadata, LOG, log_rows(1, number, timecreated=moment))
    return url


@contextmanager
def engine(url: str) -> Iterator[sa.Engine]:
    opened = sa.create_engine(url, poolclass=sa.NullPool)
    yield opened
    opened.dispose()


def move_replica(url: str, newest: int) -> None:
    with engine(url) as opened, opened.begin() as connection:
        connection.execute(sa.text(f"UPDATE mdl_user SET lastaccess = {newest} WHERE id = 2"))


def seen(replica_url: str, place: LogPlace) -> set[int]:
    """The ids of the rows that are there for whoever counts, reads and watches the log."""
    with MoodleDatabase.open(replica_url, log=place) as database:
        read = set(whole_log(database, DAY)["id"].to_pylist())
        counted = sum(count_rows(database, DAY).values())
        watched = sum(stats.number for stats in id_stats_above(database, 0).values())
        of_hours = {id_ for hour in DAY for id_ in ids_above(database, 0, hour)}
        waiting = sum(count_waiting_rows(database, DAY).values())
        assert (counted, watched, of_hours) == (len(read), len(read), read)
        assert waiting == 3 - len(read)
        assert first_waiting_id(database, 0, NOW) == (len(read) + 1 if waiting else None)
    return read


def test_rows_that_are_newer_than_the_replica_wait_for_it(replica_url, log_url):
    place = LogPlace(log_url, wait=24)
    assert seen(replica_url, place) == {1}
    move_replica(replica_url, NEWEST + 60)
    assert seen(replica_url, place) == {1, 2}
    move_replica(replica_url, NOW)
    assert seen(replica_url, place) == {1, 2}, "what Moodle wrote just now proves nothing for now"


def test_a_replica_that_is_complete_holds_up_no_row_for_ever(replica_url, log_url):
    move_replica(replica_url, NOW - 10 * 86_400)
    with MoodleDatabase.open(replica_url, log=LogPlace(log_url, wait=2)) as database:
        later = replica.look(database, NOW + 2 * 3600)
        assert (later.newest, later.until) == (NOW - 10 * 86_400, NOW)
    assert seen(replica_url, LogPlace(log_url, wait=1)) == {1, 2}


def test_no_row_waits_for_moodles_own_database(replica_url, log_url):
    assert seen(replica_url, LogPlace(log_url, wait=0)) == {1, 2, 3}


def test_no_row_waits_if_nothing_tells_how_new_the_replica_is(replica_url, log_url):
    with MoodleDatabase.open(replica_url, without=["user"], log=LogPlace(log_url, wait=24)) as it:
        assert replica.look(it, NOW) == replica.Replica(None, None)
        assert sum(count_rows(it, DAY).values()) == 3


def test_rows_wait_for_a_replica_that_is_empty_or_being_restored(replica_url, log_url):
    with engine(replica_url) as opened, opened.begin() as connection:
        connection.execute(sa.text("DELETE FROM mdl_user"))
    assert seen(replica_url, LogPlace(log_url, wait=24)) == set()
    assert seen(replica_url, LogPlace(log_url, wait=0)) == {1, 2, 3}


def test_a_table_is_found_with_its_prefix_and_without(replica_url, log_url):
    for name in (None, "logstore_standard_log", LOG):
        with MoodleDatabase.open(replica_url, log=LogPlace(log_url, name)) as database:
            assert whole_log(database, DAY).num_rows == 3
            assert read_site_facts(database).log_days is None
    with engine(log_url) as opened, opened.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {LOG} RENAME TO moodlelog"))
    with MoodleDatabase.open(replica_url, log=LogPlace(log_url, "moodlelog")) as database:
        assert whole_log(database, DAY).num_rows == 3
        # Moodle deletes no row of a table that its external log store writes.
        assert read_site_facts(database).log_days == 0


def test_a_table_of_another_name_beside_the_others_needs_no_url(replica_url):
    metadata = server_tables("mdl_")
    table = metadata.tables[LOG].to_metadata(sa.MetaData(), name="external_log")
    with engine(replica_url) as opened:
        table.create(opened)
    write(replica_url, table.metadata, "external_log", log_rows(2, timecreated=NOW))
    with MoodleDatabase.open(replica_url, log=LogPlace(table="external_log", wait=24)) as database:
        assert database.log is database
        assert whole_log(database, DAY).num_rows == 2


@pytest.mark.parametrize("name", [None, "moodlelog"])
def test_a_log_that_is_not_there_is_one_sentence_that_names_the_setting(replica_url, name):
    with pytest.raises(ConfigurationError) as refusal:
        MoodleDatabase.open(replica_url, log=LogPlace(replica_url, name))
    assert str(refusal.value).startswith("MOODLE_LOG_TABLE: the database of MOODLE_LOG_DB_URL has")
    assert (name or "logstore_standard_log") in str(refusal.value)


def test_the_prefix_is_checked_also_where_the_log_is_elsewhere(replica_url, log_url):
    with pytest.raises(
        ConfigurationError, match=r"MOODLE_DB_PREFIX: the database of MOODLE_DB_URL"
    ):
        MoodleDatabase.open(replica_url, "other_", log=LogPlace(log_url, LOG))


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////nowhere/log.sqlite", "mysql://u:p%zz@h:x/d"]
)
def test_what_is_wrong_with_the_second_url_names_its_setting(replica_url, url):
    with pytest.raises(ConfigurationError, match=r"^MOODLE_LOG_DB_URL") as refusal:
        MoodleDatabase.open(replica_url, log=LogPlace(url))
    assert "p%zz" not in str(refusal.value)
