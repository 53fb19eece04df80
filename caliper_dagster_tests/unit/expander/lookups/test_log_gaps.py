"""What the log costs when its ids and times are not those of a sequence: rows count, not ids."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.expander import LogLifecycle, MoodleDatabase
from caliper_dagster.expander.lookups.log_lifecycle import LOGGED_IN_AS
from caliper_dagster_tests.unit.expander.lookups.test_log_lifecycle import (
    EVERYTHING,
    OF_QUIZ,
    add,
    log,
    told,
)

__all__ = ["log"]

IN_2038 = 2**31 - 1
LAST = 2**63 - 1


def statements(url: str, storage: PartitionStore) -> int:
    """Statements with which the whole log is read."""
    with MoodleDatabase.open(url) as database:
        before = database.statements
        LogLifecycle(database, storage.id_range_tables("log_lifecycle")).components({7})
        return database.statements - before


@pytest.mark.parametrize("far", [10**10, LAST])
def test_an_id_far_away_costs_four_statements_and_no_piece(tmp_path: Path, log, far) -> None:
    storage = PartitionStore(str(tmp_path))
    assert told(log, storage) == EVERYTHING
    before = statements(log, storage)
    add(log, {"id": far, **OF_QUIZ, "contextinstanceid": 8})
    assert statements(log, storage) == before + 4
    # The range below the gap may still grow, and the one beyond it, too.
    assert storage.id_range_tables("log_lifecycle").ranges() == [(0, 250_000), (250_000, 500_000)]
    assert told(log, storage)[2] == [(7, "mod_quiz"), (8, "mod_quiz")]
    add(log, {"id": 700_001, **OF_QUIZ, "contextinstanceid": 8, "component": "mod_late"})
    assert (8, "mod_late") in told(log, storage)[2]


def test_an_old_row_dated_2038_does_not_keep_the_log_from_being_stored(tmp_path, log) -> None:
    add(log, {"id": 2, "timecreated": IN_2038})
    storage = PartitionStore(str(tmp_path))
    assert told(log, storage) == EVERYTHING
    assert storage.id_range_tables("log_lifecycle").ranges() == [(0, 250_000), (250_000, 500_000)]


def test_of_recent_times_only_recent_rows_are_read(log) -> None:
    now = int(time.time())
    add(
        log,
        {"id": 1, "timecreated": now, "eventname": LOGGED_IN_AS, "relateduserid": 9, "userid": 2},
        {"id": 2, "timecreated": IN_2038},
        {"id": LAST, "timecreated": now, "realuserid": 2, "userid": 9},
    )
    with MoodleDatabase.open(log) as database:
        before, lifecycle = database.statements, LogLifecycle(database)
        assert [row["id"] for row in lifecycle.logged_in_as(now - 3600)] == [1, LAST]
        assert database.statements - before == 1
