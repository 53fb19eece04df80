"""Values that cannot be read: their rows leave without them, in all ways of reading."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

from caliper_dagster.core.hours import HourRange
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.handmade_site import HOUR, decoded, log_rows, server_tables

SURROGATE = b"\xed\xa0\xbd"
JSON_TEXT = b'{"name": "a' + SURROGATE + b'b", "itemid": 5}'
PHP_TEXT = b'a:2:{s:4:"name";s:5:"a' + SURROGATE + b'b";s:6:"itemid";i:5;}'
ANY_BYTES = bytes(range(256))
ONE_HOUR = HourRange(HOUR, HOUR + 1)

Statement = Callable[[str, bytes], None]
"""Runs SQL with one binary value, for ``?``."""

TABLES = (
    "CREATE TABLE mdl_course (id BIGINT PRIMARY KEY, category BIGINT, fullname VARCHAR(254), "
    "shortname VARCHAR(254), startdate BIGINT, timecreated BIGINT)",
    "CREATE TABLE mdl_config (name VARCHAR(254), value TEXT)",
    "INSERT INTO mdl_course VALUES (2, 0, 'Maths', 'M', 1700000000000, 4611686018427387904)",
)
USER = (
    "CREATE TABLE mdl_user (id BIGINT PRIMARY KEY, username VARCHAR(100), firstname VARCHAR(100), "
    "lastname VARCHAR(100), deleted SMALLINT)"
)


def prepare(url: str) -> None:
    """A log of four rows of one user in one course."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    metadata = server_tables("mdl_")
    with engine.begin() as connection:
        metadata.tables["mdl_logstore_standard_log"].create(connection)
        for statement in (*TABLES, USER):
            connection.execute(sa.text(statement))
        connection.execute(sa.text("INSERT INTO mdl_user VALUES (5, 'ada', 'Ada', 'L', 0)"))
        rows = log_rows(4, userid=5, courseid=2, contextlevel=50, contextinstanceid=2)
        connection.execute(sa.insert(metadata.tables["mdl_logstore_standard_log"]), rows)


def spoil(run: Statement) -> None:
    """Write what cannot be read: event data of three rows, the course's and the user's name."""
    for id_, text in ((1, JSON_TEXT), (2, PHP_TEXT), (3, ANY_BYTES)):
        run(f"UPDATE mdl_logstore_standard_log SET other = ? WHERE id = {id_}", text)
    run("UPDATE mdl_course SET fullname = ?", b"Ma" + SURROGATE + b"ths")
    run("UPDATE mdl_user SET firstname = ?", b"A" + SURROGATE)


@pytest.fixture
def mariadb(mariadb_url: str) -> str:
    prepare(mariadb_url)
    url = sa.make_url(mariadb_url)
    with pymysql.connect(
        host=url.host, port=url.port or 3306, user=url.username, password=url.password or "",
        database=url.database, charset="utf8mb4", autocommit=True,
    ) as connection, connection.cursor() as cursor:  # fmt: skip
        cursor.execute("ALTER TABLE mdl_logstore_standard_log MODIFY other LONGBLOB")

        def run(statement: str, value: bytes) -> None:
            literal = b"0x" + value.hex().encode() if "other" in statement else b"'" + value + b"'"
            connection.query(statement.encode().replace(b"?", literal))

        spoil(run)
    return mariadb_url


@pytest.fixture
def postgresql(postgres_url: str) -> Iterator[str]:
    """A server with the encoding SQL_ASCII stores any bytes but NUL."""
    url = sa.make_url(postgres_url)
    ascii_url = url.set(database=f"{url.database}_ascii")
    server = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(
            sa.text(
                f"CREATE DATABASE \"{ascii_url.database}\" ENCODING 'SQL_ASCII' "
                "LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
            )
        )
    text = ascii_url.render_as_string(hide_password=False)
    prepare(text)
    engine = sa.create_engine(text, poolclass=sa.NullPool)

    def run(statement: str, value: bytes) -> None:
        octets = "".join(f"\\{byte:03o}" for byte in value if byte)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement.replace("?", f"E'{octets}'"))

    try:
        spoil(run)
        yield text
    finally:
        with server.connect() as connection:
            connection.execute(sa.text(f'DROP DATABASE "{ascii_url.database}" WITH (FORCE)'))


@pytest.mark.parametrize("fast", [True, False], ids=["bulk", "driver"])
@pytest.mark.parametrize("server", ["mariadb", "postgresql"])
def test_rows_with_unreadable_values_leave_and_name_them(
    server: str, fast: bool, request: pytest.FixtureRequest
) -> None:
    if server == "postgresql" and not fast:
        pytest.skip("psycopg2 reads the log by COPY only")
    with MoodleDatabase.open(request.getfixturevalue(server)) as database:
        ((_, log),) = read_log(database, ONE_HOUR, fast=fast)
        table = expand(database, log)
    rows = decoded(table)
    of_all = [
        "user.firstname", "course.fullname", "course.startdate", "course.timecreated",
    ]  # fmt: skip

    assert [row["id"] for row in rows] == [1, 2, 3, 4]
    assert [sorted(row["unresolved"]) for row in rows] == [
        sorted(["other", *of_all]), sorted(["other", *of_all]), sorted(["other", *of_all]),
        sorted(of_all),
    ]  # fmt: skip
    assert rows[0]["other"] == rows[1]["other"] == {"name": "a\ufffd\ufffd\ufffdb", "itemid": 5}
    assert rows[2]["other"] is None

    outcomes = Translator("https://moodle.example.org", person_names=True).translate(table)
    events = [json.loads(text) for text in outcomes["json"].to_pylist()]
    assert outcomes["outcome"].to_pylist() == ["event"] * 4
    assert [sorted(event["extensions"]["unresolved"]) for event in events] == [
        sorted(row["unresolved"]) for row in rows
    ]
    group: dict[str, Any] = events[0]["group"]
    assert group["name"] == "Ma\ufffd\ufffd\ufffdths"
    assert "dateCreated" not in group
    assert "startDate" not in group.get("extensions", {})
    assert events[0]["actor"]["name"] == "A\ufffd\ufffd\ufffd L"
