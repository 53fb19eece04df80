"""The log, read by the hour: every row once, in its hour, as it is."""

from __future__ import annotations

import pyarrow as pa
import pytest
import sqlalchemy as sa

from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.expander import MoodleDatabase, count_rows, read_log
from caliper_dagster_tests.harness.handmade_site import (
    HOUR,
    LOG_ROW,
    NOW,
    log_rows,
    server_tables,
    write,
)

HOURS = HourRange(HOUR, HOUR + 5)


def log(url: str, rows: list[dict]) -> None:
    metadata = server_tables("mdl_")
    metadata.create_all(sa.create_engine(url, poolclass=sa.NullPool))
    if rows:
        write(url, metadata, "mdl_logstore_standard_log", rows)


def at(*times: int, first: int = 1) -> list[dict]:
    """A log row for each second after the first hour's start."""
    return [
        {"id": number, **LOG_ROW, "timecreated": HOUR.start + time}
        for number, time in enumerate(times, first)
    ]


def read(url: str, hours: HourRange = HOURS) -> list[tuple[Hour, pa.Table]]:
    with MoodleDatabase.open(url) as database:
        return list(read_log(database, hours))


def ids(url: str, hours: HourRange = HOURS) -> list[list[int]]:
    return [table["id"].to_pylist() for _, table in read(url, hours)]


def test_each_row_is_in_its_hour_and_empty_hours_are_there(empty_url):
    # The second row is the last second of the first hour, the third the first one of the next.
    log(empty_url, at(0, 3599, 3600, 3 * 3600 + 1, 3 * 3600, -1, 5 * 3600))
    assert ids(empty_url) == [[1, 2], [3], [], [5, 4], []]
    assert [hour for hour, _ in read(empty_url)] == list(HOURS)
    with MoodleDatabase.open(empty_url) as database:
        assert list(count_rows(database, HOURS).items()) == [
            (HOUR, 2), (HOUR + 1, 1), (HOUR + 2, 0), (HOUR + 3, 2), (HOUR + 4, 0)
        ]  # fmt: skip


def test_a_range_without_rows_gives_all_its_hours_empty(empty_url):
    log(empty_url, [])
    assert ids(empty_url) == [[]] * 5
    assert all(table.schema.equals(MOODLE_LOG.schema) for _, table in read(empty_url))


def test_late_rows_are_ordered_by_time_and_then_by_id(empty_url):
    log(empty_url, at(50, 10, 50, 10, 0))
    assert ids(empty_url)[0] == [5, 2, 4, 1, 3]


def test_rows_come_as_they_are(empty_url):
    row = {
        "id": 2**53,
        **LOG_ROW,
        "eventname": r"\mod_quiz\event\attempt_started",
        "component": "mod_quiz",
        "objecttable": "quiz_attempts",
        "objectid": 77,
        "edulevel": 2,
        "userid": -1,
        "courseid": 5,
        "relateduserid": 3,
        "anonymous": 1,
        "other": '{"name":"Zoë 😀 \\u0000 100% :start \'; DROP"}',
        "origin": "ws",
        "ip": "2001:db8::1",
        "realuserid": 2,
    }
    log(empty_url, [row])
    assert read(empty_url)[0][1].to_pylist() == [
        {name: row[name] for name in MOODLE_LOG.schema.names}
    ]


def test_columns_without_a_value_are_null(empty_url):
    empty = dict.fromkeys(
        ("objecttable", "objectid", "courseid", "relateduserid", "other", "origin", "ip")
    )
    log(empty_url, [{"id": 1, **LOG_ROW, **empty}])
    row = read(empty_url)[0][1].to_pylist()[0]
    assert {name for name, value in row.items() if value is None} == {*empty, "realuserid"}


@pytest.mark.parametrize("hours", [1, 24])
def test_a_range_is_read_by_one_statement(empty_url, hours):
    log(empty_url, at(*range(0, hours * 3600, 1800)))
    with MoodleDatabase.open(empty_url) as database:
        before = database.statements
        found = list(read_log(database, HourRange(HOUR, HOUR + hours)))
        assert database.statements == before + 1
    assert [table.num_rows for _, table in found] == [2] * hours


def test_hours_come_before_the_last_row_is_read(empty_url, few_rows_per_statement):
    log(empty_url, log_rows(10) + at(*[3600] * 10, first=100))
    with MoodleDatabase.open(empty_url) as database:
        before = database.statements
        reading = read_log(database, HourRange(HOUR, HOUR + 2))
        hour, table = next(reading)
        assert (hour, table.num_rows) == (HOUR, 10)
        assert database.statements - before == 3
        assert next(reading)[1].num_rows == 10
        assert list(reading) == []
        assert database.statements - before == 6


def test_an_hour_of_many_statements_is_one_table_with_one_dictionary(
    empty_url, few_rows_per_statement
):
    # Half of the rows have one time, so that statements begin in the middle of it.
    rows = [
        {**row, "component": f"mod_{row['id'] % 7}", "timecreated": NOW + max(0, row["id"] - 12)}
        for row in log_rows(25)
    ]
    log(empty_url, rows)
    ((_, table),) = read(empty_url, HourRange(HOUR, HOUR + 1))
    assert table["id"].to_pylist() == [row["id"] for row in rows]
    assert table["component"].to_pylist() == [row["component"] for row in rows]
    assert table["component"].num_chunks == 1


@pytest.fixture
def few_rows_per_statement(monkeypatch):
    monkeypatch.setattr("caliper_dagster.expander.log.ROWS_PER_STATEMENT", 4)
