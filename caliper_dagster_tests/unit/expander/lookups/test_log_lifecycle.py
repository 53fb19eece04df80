"""What the log tells of things that are gone, and that it is read once."""

from __future__ import annotations

import time

import pyarrow.compute as pc
import pytest
import sqlalchemy as sa

from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.expander import LogLifecycle, MoodleDatabase
from caliper_dagster.expander.lookups.log_lifecycle import (
    LOGGED_IN_AS,
    MODULE_EVENTS,
    ROLE_ASSIGNED,
    USER_GRADED,
)
from caliper_dagster_tests.harness.handmade_site import LOG_ROW, server_tables, write

CREATED, _, DELETED = MODULE_EVENTS
OF_QUIZ = {"component": "mod_quiz", "contextlevel": 70, "contextinstanceid": 7}


def add(url: str, *rows: dict) -> None:
    write(url, server_tables("mdl_"), "mdl_logstore_standard_log", [LOG_ROW | row for row in rows])


@pytest.fixture
def log(empty_url: str) -> str:
    """Ids as far apart as in a log of years."""
    server_tables("mdl_").create_all(sa.create_engine(empty_url, poolclass=sa.NullPool))
    add(
        empty_url,
        {"id": 3, "eventname": CREATED, "objectid": 7, "courseid": 2, "other": "told"},
        {"id": 4, "eventname": CREATED, "objectid": 7, "anonymous": 1},
        {"id": 5, **OF_QUIZ},
        {"id": 300_000, "eventname": DELETED, "objectid": 7, "other": "told later"},
        {"id": 300_001, **OF_QUIZ},
        {"id": 300_002, **OF_QUIZ, "component": "core"},
        {"id": 300_003, "eventname": USER_GRADED, "objectid": 40, "relateduserid": 9},
        {"id": 300_004, "eventname": USER_GRADED, "objectid": 40, "anonymous": 1},
        {
            "id": 700_000,
            "eventname": ROLE_ASSIGNED,
            "objectid": 5,
            "relateduserid": 9,
            "courseid": 2,
        },
    )
    return empty_url


def told(url: str, storage: PartitionStore | None = None) -> tuple[object, ...]:
    tables = storage.id_range_tables("log_lifecycle") if storage else None
    with MoodleDatabase.open(url) as database:
        lifecycle = LogLifecycle(database, tables)
        modules = lifecycle.rows(MODULE_EVENTS, {"objectid": {7, 8}})
        roles = lifecycle.rows((ROLE_ASSIGNED,), {"relateduserid": {9}, "courseid": {2}})
        return (
            [(row["id"], row["eventname"], row["other"]) for row in modules],
            [row["id"] for row in roles],
            lifecycle.components({7, 8}),
            [tuple(row.values()) for row in lifecycle.gradings({40, 41}).to_pylist()],
        )


EVERYTHING = (
    [(3, CREATED, "told"), (300_000, DELETED, "told later")],
    [700_000],
    [(7, "mod_quiz")],
    [(300_003, 40, 9)],
)


def test_rows_are_found_by_what_they_are_about_in_the_whole_log(log: str) -> None:
    assert told(log) == EVERYTHING


def test_nothing_is_asked_for_nobody(log: str) -> None:
    with MoodleDatabase.open(log) as database:
        before, lifecycle = database.statements, LogLifecycle(database)
        assert lifecycle.rows(MODULE_EVENTS, {"objectid": ()}) == []
        assert lifecycle.components(()) == []
        assert lifecycle.gradings(()).num_rows == 0
        assert database.statements == before


def test_what_was_read_stays_when_the_log_is_pruned_and_new_rows_are_seen(tmp_path, log) -> None:
    storage = PartitionStore(str(tmp_path))
    assert told(log, storage) == EVERYTHING
    engine = sa.create_engine(log, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM mdl_logstore_standard_log WHERE id < 400000"))
    assert told(log) == ([], [700_000], [], [])
    assert told(log, storage) == EVERYTHING
    add(log, {"id": 700_001, "eventname": DELETED, "objectid": 8, "other": "new"})
    modules, *others = EVERYTHING
    assert told(log, storage) == ([*modules, (700_001, DELETED, "new")], *others)


def test_what_another_process_has_read_is_left_to_it(tmp_path, log) -> None:
    storage = PartitionStore(str(tmp_path))
    assert told(log, storage) == EVERYTHING
    (tmp_path / "log_lifecycle" / "0-250000.parquet").unlink()
    engine = sa.create_engine(log, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM mdl_logstore_standard_log WHERE id > 250000"))
        connection.execute(sa.text("UPDATE mdl_logstore_standard_log SET objectid = 8"))
    modules, *others = told(log, storage)
    # The range whose file is gone is read again, and only that one.
    assert [row[0] for row in modules] == [3, 300_000]
    assert others == [[], [(7, "mod_quiz")], [(300_003, 40, 9)]]


def test_a_stored_range_is_read_from_the_log_again_only_when_it_is_damaged(tmp_path, log) -> None:
    storage = PartitionStore(str(tmp_path))
    assert told(log, storage) == EVERYTHING
    path = tmp_path / "log_lifecycle" / "0-250000.parquet"
    written, before = path.read_bytes(), path.stat().st_mtime_ns
    assert told(log, storage) == EVERYTHING
    assert path.stat().st_mtime_ns == before
    path.write_bytes(written[:200] + bytes([written[200] ^ 4]) + written[201:])
    assert told(log, storage) == EVERYTHING
    assert path.read_bytes() == written
    assert path.stat().st_mtime_ns > before


def test_ids_of_the_last_day_are_looked_at_again(tmp_path, log) -> None:
    """A transaction that is still open may have lower ids than rows that can be seen."""
    add(log, {"id": 600_000, "timecreated": int(time.time())})
    storage = PartitionStore(str(tmp_path))
    assert told(log, storage) == EVERYTHING
    add(log, {"id": 600_001, "eventname": DELETED, "objectid": 8, "other": "late"})
    assert (600_001, DELETED, "late") in told(log, storage)[0]
    assert storage.id_range_tables("log_lifecycle").ranges() == [(0, 250_000), (250_000, 500_000)]


def test_what_somebody_graded_who_was_logged_in_as_another_is_told_once(log) -> None:
    add(
        log,
        {
            "id": 7,
            "eventname": USER_GRADED,
            "objectid": 41,
            "userid": 9,
            "realuserid": 2,
            "relateduserid": 10,
        },
    )
    with MoodleDatabase.open(log) as database:
        lifecycle = LogLifecycle(database)
        assert lifecycle.gradings({41})["id"].to_pylist() == [7]
        assert [row["id"] for row in lifecycle.logged_in_as(0)] == [7]


def test_a_range_that_an_earlier_release_stored_gets_what_it_lacks(tmp_path, log) -> None:
    add(log, {"id": 6, "eventname": LOGGED_IN_AS, "userid": 2, "relateduserid": 9, "realuserid": 2})
    storage = PartitionStore(str(tmp_path))
    tables = storage.id_range_tables("log_lifecycle")
    assert told(log, storage) == EVERYTHING
    stored = tables.read(0, 250_000).drop_columns(["userid", "realuserid", "ip"])
    earlier = stored.filter(pc.not_equal(stored["id"], 6).fill_null(True))
    second = tables.read(250_000, 500_000)
    tables.write(
        250_000,
        500_000,
        second.filter(pc.not_equal(second["id"], 300_003).fill_null(True)).replace_schema_metadata(
            {b"revision": b"2"}
        ),
    )
    tables.write(0, 250_000, earlier.replace_schema_metadata(None))
    engine = sa.create_engine(log, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM mdl_logstore_standard_log WHERE id = 3"))

    for _ in range(2):
        with MoodleDatabase.open(log) as database:
            (row,) = LogLifecycle(database, tables).logged_in_as(0)
        assert (row["id"], row["userid"], row["realuserid"]) == (6, 9, 2)
        assert told(log, storage) == EVERYTHING
