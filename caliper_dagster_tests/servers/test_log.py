"""The log is read from MariaDB and PostgreSQL as from SQLite, whatever is in it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from caliper_dagster.core.hours import HourRange
from caliper_dagster.expander import MoodleDatabase, read_log
from caliper_dagster.expander.bulk_read import mysql
from caliper_dagster_tests.harness.handmade_site import (
    HOUR,
    LOG_ROW,
    log_rows,
)
from caliper_dagster_tests.unit.expander.test_log import *  # noqa: F403
from caliper_dagster_tests.unit.expander.test_log import log, read

WILD = [
    *(
        None,
        "",
        "NULL",
        "null",
        "N;",
        r"\N",
        "\\",
        "\\\\n",
        "\n",
        "\r\n",
        "\t",
        '"',
        '""',
        "'",
        ",",
        " ",
        " x ",
    ),
    *(
        '{"a":"\\u0000"}',
        "a\\\tb\\nc",
        "\b\f\v\x01\x1f\x7f",
        "😀 Zoë \u202e عربي 日本",
        "\ufeff",
        "\x85\u2028",
    ),
    *(
        "x" * 250,
        "x" * 251,
        "é" * 200,
        "y" * 65_535,
        "z" * 65_536,
        "w" * 200_000,
        "-1",
        "1e5",
        "%s %(x)s :start",
    ),
]


NUMBERS = [
    *(0, 1, -1, 9, 10, 99_999_999, 100_000_000, -99_999_999, 2**31, 2**53 + 1),
    *(10**16 - 1, -(10**15), 10**16, 2**63 - 1, -(2**63), None),
]


def wild_rows() -> list[dict]:
    """Every kind of text and number in every column that may hold it."""
    rows = []
    for nth, text in enumerate(WILD):
        short = text if text is None or len(text) <= 250 else text[:250]
        texts = {"eventname": short, "origin": short, "ip": short, "other": text}
        number = NUMBERS[nth % len(NUMBERS)]
        numbers = {"objectid": number, "userid": number, "edulevel": number, "realuserid": None}
        rows.append({"id": nth + 1, **LOG_ROW, **texts, **numbers})
    return rows


@pytest.mark.parametrize("server", ["mariadb", "postgres"])
def test_whatever_is_in_the_log_is_read_as_it_is_and_as_the_driver_reads_it(server, request):
    url = request.getfixturevalue(f"{server}_url")
    rows = wild_rows()
    # PostgreSQL has no NUL in texts.
    nul = {"id": 1000, **LOG_ROW, "other": "a\0b\\0", "ip": "\0"}
    rows += [nul] if server == "mariadb" else []
    log(url, rows)
    with MoodleDatabase.open(url) as database:
        ((_, fast),) = read_log(database, HourRange(HOUR, HOUR + 1))
        ((_, plain),) = read_log(database, HourRange(HOUR, HOUR + 1), fast=False)
    assert fast.to_pylist() == [{name: row[name] for name in fast.column_names} for row in rows]
    assert fast.equals(plain)


@pytest.mark.parametrize("server", ["mariadb", "postgres"])
def test_a_log_with_other_types_or_in_another_character_set_is_read_all_the_same(server, request):
    url = request.getfixturevalue(f"{server}_url")
    log(url, log_rows(3, other="Zoë"))
    latin = {"mariadb": {"charset": "latin1"}, "postgres": {"client_encoding": "latin1"}}[server]
    other = sa.make_url(url).update_query_dict(latin).render_as_string(hide_password=False)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    before = read(url, HourRange(HOUR, HOUR + 1))
    assert read(other, HourRange(HOUR, HOUR + 1)) == before
    with engine.begin() as connection:
        column = "MODIFY contextid" if server == "mariadb" else "ALTER contextid TYPE"
        connection.exec_driver_sql(f"ALTER TABLE mdl_logstore_standard_log {column} numeric(20, 0)")
    assert read(url, HourRange(HOUR, HOUR + 1)) == before


def test_with_a_pymysql_of_another_inside_the_driver_reads(mariadb_url, monkeypatch):
    log(mariadb_url, log_rows(3, other="Zoë"))
    before = read(mariadb_url, HourRange(HOUR, HOUR + 1))
    another = (*mysql.PRIVATE_ATTRIBUTES, "_of_another_version")
    monkeypatch.setattr(mysql, "PRIVATE_ATTRIBUTES", another)
    assert read(mariadb_url, HourRange(HOUR, HOUR + 1)) == before
