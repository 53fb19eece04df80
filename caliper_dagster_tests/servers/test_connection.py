"""Moodle's database on MariaDB and PostgreSQL: as on SQLite, and what only servers do."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError, SourceError
from caliper_dagster.core.hours import HourRange
from caliper_dagster.expander import MoodleDatabase, read_log
from caliper_dagster_tests.harness.handmade_site import (
    HOUR,
    log_rows,
    whole_log,
    write,
)
from caliper_dagster_tests.unit.expander.test_connection import *  # noqa: F403
from caliper_dagster_tests.unit.expander.test_connection import LOG, SECRET, fill


@pytest.mark.parametrize("server", ["mariadb", "postgres"])
def test_a_statement_that_takes_too_long_is_given_up(server, request):
    url = request.getfixturevalue(f"{server}_url")
    fill(url)
    # MySQL ends a SLEEP without an error, but not a statement that has more rows to read.
    two_rows = "SELECT SLEEP(20) FROM (SELECT 1 UNION SELECT 2) AS two_rows"
    sleep = {"mariadb": two_rows, "postgres": "SELECT pg_sleep(20)"}[server]
    too_long = pytest.raises(SourceError, match="MOODLE_DB_TIMEOUT")
    with MoodleDatabase.open(url, timeout=1) as database, too_long:
        database.execute(sa.text(sleep))


@pytest.mark.parametrize("server", ["mariadb", "postgres"])
def test_all_statements_see_the_database_as_it_was_at_the_first(server, request):
    url = request.getfixturevalue(f"{server}_url")
    metadata = fill(url)
    hours = HourRange(HOUR, HOUR + 1)
    with MoodleDatabase.open(url) as database:
        before = whole_log(database, hours)
        write(url, metadata, f"mdl_{LOG}", log_rows(1, first=4))
        write(url, metadata, "mdl_groups", [{"id": 8, "name": "B", "order": 2, "grade": 1}])
        assert whole_log(database, hours).equals(before)
        assert [row["id"] for row in database.records("groups", ["id"])] == [7]
    with MoodleDatabase.open(url) as database:
        assert whole_log(database, hours).num_rows == 4


@pytest.mark.parametrize("server", ["mariadb", "postgres"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "another"},
        {"username": "nobody_of_moodle"},
        {"database": "no_such_moodle"},
        {"port": 1},
        {"host": "nowhere.invalid"},
        {"query": {"no_such_option": "1"}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_url_is_one_sentence_that_names_the_setting(server, wrong, request):
    right = sa.make_url(request.getfixturevalue(f"{server}_url"))
    url = right.set(**wrong)
    with pytest.raises(ConfigurationError) as refusal:
        MoodleDatabase.open(url.render_as_string(hide_password=False))
    sentence = str(refusal.value)
    assert sentence.startswith("MOODLE_DB_URL")
    assert sentence.count(".") >= 1
    assert "\n" not in sentence
    for password in (right.password, wrong.get("password")):
        assert str(password) not in sentence


def test_an_account_without_rights_is_told_that_it_may_not_read(mariadb_server, mariadb_url):
    fill(mariadb_url)
    url = sa.make_url(mariadb_url)
    stranger = url.set(username=url.database, password="stranger")
    mariadb_server.execute(
        f"CREATE USER '{url.database}'@'%%' IDENTIFIED BY 'stranger'",
        f"GRANT SELECT ON {url.database}.mdl_user TO '{url.database}'@'%%'",
    )
    with pytest.raises(ConfigurationError, match="may read"):
        MoodleDatabase.open(stranger.render_as_string(hide_password=False))


def test_neither_name_nor_text_of_a_connection_shows_its_password(mariadb_url):
    fill(mariadb_url)
    with MoodleDatabase.open(mariadb_url) as database:
        assert str(sa.make_url(mariadb_url).password) not in repr(database)


def test_a_bare_scheme_gets_its_driver(mariadb_url, postgres_url):
    for url, scheme in ((mariadb_url, "mariadb"), (postgres_url, "postgres")):
        fill(url)
        bare = scheme + "://" + url.partition("://")[2]
        with MoodleDatabase.open(bare) as database:
            assert database.has_table(LOG)


@pytest.mark.parametrize("fast", [True, False])
def test_a_statement_that_is_killed_in_the_middle_is_one_sentence(
    fast, mariadb_server, mariadb_url
):
    fill(mariadb_url)
    schema = pa.schema([("id", pa.int64())])
    with MoodleDatabase.open(mariadb_url) as database, ThreadPoolExecutor(1) as pool:
        ((thread,),) = database.execute(sa.text("SELECT CONNECTION_ID()"))
        # Sleeps in each of the three rows.
        rest = "FROM mdl_logstore_standard_log WHERE SLEEP(20) = 0"
        reading = pool.submit(database.table, schema, rest, fast=fast)
        time.sleep(0.5)
        mariadb_server.execute(f"KILL QUERY {thread}")
        with pytest.raises(SourceError, match="Moodle's database"):
            reading.result()
        assert database.table(schema, "FROM mdl_logstore_standard_log").num_rows == 3


@pytest.mark.parametrize("server", ["mariadb", "postgres"])
def test_a_table_that_is_read_too_long_or_wrongly_is_one_sentence(server, request):
    url = request.getfixturevalue(f"{server}_url")
    fill(url)
    schema = pa.schema([("id", pa.int64())])
    sleep = {"mariadb": "SLEEP(20) = 0", "postgres": "pg_sleep(20) IS NOT NULL"}[server]
    with MoodleDatabase.open(url, timeout=1) as database:
        with pytest.raises(SourceError, match="MOODLE_DB_TIMEOUT"):
            database.table(schema, f"FROM mdl_logstore_standard_log WHERE {sleep}")
    with MoodleDatabase.open(url) as database:
        with pytest.raises(SourceError, match="did not answer") as failure:
            database.table(schema, f"FROM nowhere WHERE id = '{SECRET}'")
    assert SECRET not in str(failure.value)
    assert "nowhere" not in str(failure.value)


def test_a_connection_that_is_lost_in_the_middle_is_one_sentence(mariadb_server, mariadb_url):
    fill(mariadb_url)
    schema = pa.schema([("id", pa.int64())])
    with MoodleDatabase.open(mariadb_url) as database, ThreadPoolExecutor(1) as pool:
        ((thread,),) = database.execute(sa.text("SELECT CONNECTION_ID()"))
        rest = "FROM mdl_logstore_standard_log WHERE SLEEP(20) = 0"
        reading = pool.submit(database.table, schema, rest)
        time.sleep(0.5)
        mariadb_server.execute(f"KILL CONNECTION {thread}")
        with pytest.raises(SourceError, match="Moodle's database"):
            reading.result()


def test_reading_the_log_needs_no_more_than_the_right_to_select(
    mariadb_server, mariadb_url, postgres_server, postgres_url
):
    for server, url in ((mariadb_server, mariadb_url), (postgres_server, postgres_url)):
        fill(url)
        with MoodleDatabase.open(server.create_reader(url)) as database:
            ((_, table),) = read_log(database, HourRange(HOUR, HOUR + 1))
        assert table.num_rows == 3
