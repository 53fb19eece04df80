"""A row has the same session whether its hour is expanded alone or with the hours before it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest

from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.expander import MoodleDatabase, expand, read_log

FIRST = Hour(492_000)
HOURS = HourRange(FIRST, FIRST + 2)
PAGE = r"\core\event\course_viewed"
IN = r"\core\event\user_loggedin"
OUT = r"\core\event\user_loggedout"


def click(name: str, second: int, userid: int = 5, **others: object) -> dict[str, object]:
    level = {IN: 0, OUT: 0, PAGE: 2}[name]
    return {
        "eventname": name, "timecreated": FIRST.start + second, "userid": userid, "origin": "web",
        "ip": "192.0.2.1", "anonymous": 0, "courseid": 0, "contextid": 1, "crud": "r",
        "contextlevel": 10, "contextinstanceid": 0, "edulevel": level, **others,
    }  # fmt: skip


def sessions(folder: Path, *rows: dict[str, object]) -> list[list[int | None]]:
    """Log-in of each row's session: hour by hour, and together."""
    file = folder / "moodle.db"
    names = MOODLE_LOG.schema.names
    with sqlite3.connect(file) as connection:
        connection.execute(f"CREATE TABLE mdl_logstore_standard_log ({', '.join(names)})")
        connection.execute("CREATE TABLE mdl_config (name, value)")
        connection.executemany(
            f"INSERT INTO mdl_logstore_standard_log VALUES ({', '.join('?' * len(names))})",
            [
                [{"id": number, "component": "core", **row}.get(name) for name in names]
                for number, row in enumerate(rows, start=1)
            ],
        )
    with MoodleDatabase.open(f"sqlite:///{file}") as database:
        hours = [table for _, table in read_log(database, HOURS)]
        alone = pa.concat_tables(expand(database, hour) for hour in hours)
        together = expand(database, pa.concat_tables(hours).unify_dictionaries())
    return [
        [session and json.loads(session)["id"] for session in table["session"].to_pylist()]
        for table in (alone, together)
    ]


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        pytest.param([click(IN, 10)], 1, id="a log-in holds"),
        pytest.param([click(IN, 10), click(OUT, 20)], None, id="a log-out ends it"),
        pytest.param([click(IN, 10, ip="192.0.2.2")], None, id="another address"),
        pytest.param([click(IN, 10, origin="ws")], None, id="a web service opens none"),
        pytest.param([click(IN, 10, anonymous=1)], None, id="an anonymous log-in opens none"),
        pytest.param(
            [click(IN, 10), click(OUT, 20, userid=7, realuserid=5)],
            1,
            id="being another ends nothing",
        ),
    ],
)
def test_session_of_the_hour_before(
    tmp_path: Path, earlier: list[dict[str, object]], expected: int | None
) -> None:
    alone, together = sessions(tmp_path, *earlier, click(PAGE, 3700))

    assert alone == together
    assert alone[-1] == expected
