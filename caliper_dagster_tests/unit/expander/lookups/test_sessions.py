"""A row has the same session whether its hour is expanded alone or with the hours before it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster_tests.harness.handmade_site import Site

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
    with closing(sqlite3.connect(file)) as connection, connection:
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


AS = r"\core\event\user_loggedinas"
MANAGER, LEARNER = 7, 5


def as_learner(second: int, **others: object) -> dict[str, object]:
    """The manager logs in as the learner."""
    row = click(IN, second, userid=MANAGER, relateduserid=LEARNER, realuserid=MANAGER)
    return {**row, "eventname": AS, **others}


@pytest.mark.parametrize(
    ("rows", "log_ins"),
    [
        pytest.param(
            [click(IN, 5, MANAGER), click(IN, 10), as_learner(20), click(OUT, 30), click(PAGE, 40)],
            [1, 2, 1, 1, 2],
            id="the real user logs out, and the learner's session goes on",
        ),
        pytest.param(
            [click(IN, 5, MANAGER), as_learner(20), click(OUT, 30), click(PAGE, 40, MANAGER)],
            [1, 1, 1, None],
            id="with it the real user's session ends",
        ),
        pytest.param(
            [click(IN, 5, MANAGER), click(PAGE, 20, realuserid=MANAGER), click(OUT, 3700)],
            [1, 1, 1],
            id="any row as the learner tells it, also of the hour before",
        ),
        pytest.param(
            [as_learner(20), click(IN, 25), click(OUT, 30)],
            [None, 2, 2],
            id="the learner logged in since",
        ),
        pytest.param(
            [as_learner(20, ip="192.0.2.9"), click(IN, 10), click(OUT, 30)],
            [1, None, 1],
            id="at another address",
        ),
        pytest.param(
            [click(IN, 10), as_learner(20), click(OUT, 30), click(OUT, 3700)],
            [1, None, None, 1],
            id="one log-out for each time",
        ),
        pytest.param(
            [click(IN, 5, MANAGER), as_learner(20), click(IN, 25, MANAGER), click(OUT, 30),
             click(PAGE, 3700, MANAGER)],
            [1, 1, 3, 3, 3],
            id="a session that the real user began since goes on",
        ),
    ],
)  # fmt: skip
def test_log_out_of_who_is_logged_in_as_another(
    tmp_path: Path, rows: list[dict[str, object]], log_ins: list[int | None]
) -> None:
    rows = sorted(rows, key=lambda row: int(str(row["timecreated"])))
    alone, together = sessions(tmp_path, *rows)

    assert alone == together == log_ins


def test_the_log_out_names_the_real_user(tmp_path: Path) -> None:
    site = Site(tmp_path / "moodle.db")
    site.add("user", {"id": LEARNER, "username": "ada"}, {"id": MANAGER, "username": "eve"})
    site.log(as_learner(20), click(OUT, 30), click(OUT, 40))

    _, as_other, own = site.expand()

    assert as_other["realuserid"] is None, "the log's own columns stay as they are"
    assert as_other["realuser"]["username"] == "eve"
    assert as_other["user"]["username"] == "ada"
    assert own["realuser"] is None
