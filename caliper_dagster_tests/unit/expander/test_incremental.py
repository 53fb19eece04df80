"""Rows that are expanded already keep what was known of them; only new ones are looked up."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.expander import MoodleDatabase, expand_new
from caliper_dagster_tests.harness.handmade_site import (
    HOUR,
    NOW,
    Site,
    decoded,
    expand_at_once,
    whole_log,
)

LOG_IN = {"eventname": r"\core\event\user_loggedin", "contextlevel": 10, "edulevel": 0}


@pytest.fixture
def people(site: Site) -> Site:
    site.add("user", *({"id": n, "username": f"u{n}", "firstname": f"First{n}"} for n in (5, 6)))
    site.log(*({"id": n, "userid": 5, "timecreated": NOW + n} for n in (1, 2, 4)))
    return site


def again(site: Site, known: pa.Table) -> tuple[list[dict[str, Any]], list[bool], int]:
    with MoodleDatabase.open(site.url) as database:
        log = whole_log(database, site.hours())
        before = database.statements
        table, new = expand_new(database, log, known)
        assert table.schema.equals(EXPANDED_LOG.schema)
        return decoded(table), new.to_pylist(), database.statements - before


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["user"]["firstname"] for row in rows]


def test_known_rows_stay_as_they_were_and_new_ones_come_between(people: Site) -> None:
    known = expand_at_once(people.url, people.hours())
    people.execute("UPDATE mdl_user SET firstname = 'Later'")
    people.log({"id": 9, "userid": 5, "timecreated": NOW + 3})
    rows, new, _ = again(people, known)
    assert [row["id"] for row in rows] == [1, 2, 9, 4]
    assert new == [False, False, True, False]
    assert names(rows) == ["First5", "First5", "Later", "First5"]


def test_nothing_is_asked_when_nothing_is_new(people: Site) -> None:
    known = expand_at_once(people.url, people.hours())
    rows, new, statements = again(people, known)
    assert rows == decoded(known)
    assert not any(new)
    assert statements == 0


def test_rows_that_vanished_are_left_out(people: Site) -> None:
    known = expand_at_once(people.url, people.hours())
    people.execute("DELETE FROM mdl_logstore_standard_log WHERE id = 2")
    rows, _, statements = again(people, known)
    assert [row["id"] for row in rows] == [1, 4]
    assert statements == 0


def test_a_row_under_an_id_that_was_given_again_is_another_row(people: Site) -> None:
    known = expand_at_once(people.url, people.hours())
    people.execute("UPDATE mdl_logstore_standard_log SET userid = 6 WHERE id = 2")
    rows, new, _ = again(people, known)
    assert new == [False, True, False]
    assert names(rows) == ["First5", "First6", "First5"]


@pytest.mark.parametrize("new", [(1,), (2,), (3,), (1, 3), (2, 3), (4,)])
def test_sessions_are_the_same_whichever_rows_are_new(people: Site, new: tuple[int, ...]) -> None:
    """A log-in may be among the rows that are known, before or between the new ones."""
    people.execute("DELETE FROM mdl_logstore_standard_log")
    people.log(
        {"id": 20, "userid": 5, "timecreated": HOUR.start + 1, **LOG_IN},
        {"id": 1, "userid": 5, "timecreated": HOUR.start + 2},
        {"id": 21, "userid": 5, "timecreated": HOUR.start + 2, **LOG_IN},
        {"id": 2, "userid": 6, "timecreated": HOUR.start + 3},
        {"id": 22, "userid": 6, "timecreated": HOUR.start + 4, **LOG_IN},
        {"id": 3, "userid": 5, "timecreated": HOUR.start + 5},
        {"id": 4, "userid": 6, "timecreated": HOUR.start + 6},
    )
    whole = expand_at_once(people.url, people.hours())
    known = whole.filter(pa.array([row not in new for row in whole["id"].to_pylist()]))
    rows, _, _ = again(people, known)
    assert rows == decoded(whole)


def test_an_empty_hour_and_an_hour_that_nobody_knows(people: Site) -> None:
    rows, new, _ = again(people, EXPANDED_LOG.empty())
    assert rows == decoded(expand_at_once(people.url, people.hours()))
    assert all(new)
    known = expand_at_once(people.url, people.hours())
    with MoodleDatabase.open(people.url) as database:
        log = whole_log(database, people.hours()).slice(0, 0)
        assert expand_new(database, log, known)[0].num_rows == 0
