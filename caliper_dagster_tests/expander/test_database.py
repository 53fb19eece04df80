"""How Moodle's database is asked, on the databases that Moodle runs on."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError, SourceError
from caliper_dagster.core.hours import HourRange
from caliper_dagster.expander import MoodleDatabase, read_log
from caliper_dagster_tests.expander.support import (
    HOUR,
    LOG_ROW,
    Site,
    log_rows,
    server_tables,
    whole_log,
    write,
)

SECRET = "s3cret-of-moodle"
LOG = "logstore_standard_log"


def fill(url: str, prefix: str = "mdl_") -> sa.MetaData:
    metadata = server_tables(prefix)
    metadata.create_all(sa.create_engine(url, poolclass=sa.NullPool))
    write(url, metadata, f"{prefix}{LOG}", log_rows(3))
    users = [{"id": key, "name": f"Zoë {key}", "order": key, "grade": 1.5} for key in (1, 2)]
    write(url, metadata, f"{prefix}user", users)
    write(url, metadata, f"{prefix}groups", [{"id": 7, "name": "A", "order": 1, "grade": None}])
    return metadata


def test_even_the_owner_cannot_change_anything(empty_url):
    metadata = fill(empty_url)
    for change in (
        "INSERT INTO {user} (id) VALUES (9)",
        "UPDATE {user} SET id = 9 WHERE id = 1",
        "DELETE FROM {user}",
        "DROP TABLE {user}",
        "CREATE TABLE caliper_was_here (id INTEGER)",
    ):
        with MoodleDatabase.open(empty_url) as database, pytest.raises(SourceError):
            database.execute(sa.text(change.format(user=database.quoted("user"))))
    engine = sa.create_engine(empty_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        ids = connection.execute(sa.select(metadata.tables["mdl_user"].c.id)).scalars().all()
        assert sorted(ids) == [1, 2]
    assert "caliper_was_here" not in sa.inspect(engine).get_table_names()


@pytest.mark.parametrize("server", ["mariadb", "postgres"])
def test_a_statement_that_takes_too_long_is_given_up(server, request):
    url = request.getfixturevalue(f"{server}_url")
    fill(url)
    sleep = {"mariadb": "SELECT SLEEP(20)", "postgres": "SELECT pg_sleep(20)"}[server]
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


@pytest.mark.parametrize(
    "url",
    [
        "",
        "moodle",
        f"oracle://moodle:{SECRET}@localhost/moodle",
        f"mysql+asyncmy://moodle:{SECRET}@localhost/moodle",
        f"mysql://moodle:{SECRET}@localhost:port/moodle",
        f"mysql://moodle:{SECRET}@127.0.0.1:1/moodle?charset=klingon",
        "mysql+pymysql://127.0.0.1:1",
        "sqlite://",
        "sqlite:////no/such/file.sqlite",
    ],
)
def test_a_url_that_cannot_work_is_one_sentence_that_names_the_setting(url):
    with pytest.raises(ConfigurationError, match="MOODLE_DB_URL") as refusal:
        MoodleDatabase.open(url)
    assert SECRET not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_server_that_never_says_a_word_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql+pymysql://user:hush@127.0.0.1:{silent.getsockname()[1]}/moodle"
        with pytest.raises(ConfigurationError, match="MOODLE_DB_URL") as error:
            MoodleDatabase.open(url, timeout=1)
    assert "hush" not in str(error.value)


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path):
    path = tmp_path / "photo.sqlite"
    path.write_bytes(b"\x89PNG" * 1000)
    with pytest.raises(ConfigurationError, match=r"MOODLE_DB_URL.*photo\.sqlite"):
        MoodleDatabase.open(f"sqlite:///{path}")


def test_a_wrong_prefix_is_one_sentence_that_names_the_setting(empty_url):
    fill(empty_url)
    with pytest.raises(ConfigurationError, match=r"MOODLE_DB_PREFIX.*other_logstore_standard_log"):
        MoodleDatabase.open(empty_url, prefix="other_")


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


@pytest.mark.parametrize("prefix", ["", "mdl_", "M2_"])
def test_reserved_table_names_are_read_under_any_prefix(empty_url, prefix):
    fill(empty_url, prefix)
    with MoodleDatabase.open(empty_url, prefix) as database:
        users = database.records("user", ["name", "order"], {"id": [1]})
        assert users == [{"name": "Zoë 1", "order": 1}]
        assert database.records("groups", ["id", "grade"]) == [{"id": 7, "grade": None}]
        assert whole_log(database, HourRange(HOUR, HOUR + 1)).num_rows == 3


def test_a_bare_scheme_gets_its_driver(mariadb_url, postgres_url):
    for url, scheme in ((mariadb_url, "mariadb"), (postgres_url, "postgres")):
        fill(url)
        bare = scheme + "://" + url.partition("://")[2]
        with MoodleDatabase.open(bare) as database:
            assert database.has_table(LOG)


def test_values_are_alike_in_all_databases(empty_url):
    fill(empty_url)
    with MoodleDatabase.open(empty_url) as database:
        (record,) = database.records("user", ["id", "name", "order", "grade"], {"id": [2]})
    assert record == {"id": 2, "name": "Zoë 2", "order": 2, "grade": 1.5}
    assert isinstance(record["grade"], float)


def test_many_records_are_read_like_few(empty_url):
    metadata = fill(empty_url)
    names = [None, "", "Zoë 😀", "%s :id \\ ' \" \n\t", "x" * 250]
    grades = [None, 0.00001, -1.5, 99999.99999, 12.25]
    rows = [
        {"id": key, "name": names[key % 5], "order": -key * 10**12, "grade": grades[key % 5]}
        for key in range(3, 3003)
    ]
    write(empty_url, metadata, "mdl_user", rows)
    wanted = ["id", "name", "order", "grade", "icq"]
    with MoodleDatabase.open(empty_url) as database:
        many = database.records(
            *("user", wanted, {"id": range(3, 3003)}, "(name <> :name OR name IS NULL)"),
            conditional=("name",),
            name="50% of 'it'",
        )
        one_by_one = [database.records("user", wanted, {"id": [key]})[0] for key in range(3, 13)]
    assert sorted(many, key=lambda row: row["id"])[:10] == one_by_one
    assert [{**row, "icq": None} for row in rows] == sorted(many, key=lambda row: row["id"])
    assert {type(row["grade"]) for row in many} == {float, type(None)}


def test_more_keys_than_fit_into_one_statement_are_asked_in_pieces(empty_url):
    metadata = fill(empty_url)
    rows = [{"id": key, "name": None, "order": key % 3, "grade": None} for key in range(3, 20_003)]
    write(empty_url, metadata, "mdl_user", rows)
    with MoodleDatabase.open(empty_url) as database:
        before = database.statements
        found = database.records("user", ["id"], {"id": range(3, 25_000), "order": [1, 2]})
        assert database.statements - before == 3
    assert [row["id"] for row in found] == [key for key in range(3, 20_003) if key % 3]


def test_records_are_chosen_among_keys_as_by_keys(empty_url):
    fill(empty_url)
    with MoodleDatabase.open(empty_url) as database:
        for orders in ([1], [2, 9], [1, 2], [9], []):
            found = database.records("user", ["id"], {"id": [1, 2]}, among={"order": orders})
            assert found == database.records("user", ["id"], {"id": [1, 2], "order": orders})
        assert database.records("user", ["id"], {"id": [1]}, among={"no_such_column": [1]}) == []


def test_integers_of_records_come_as_columns(empty_url):
    metadata = fill(empty_url)
    rows = [{"id": key, "objectid": key % 2 or None} for key in range(10, 15_000)]
    write(empty_url, metadata, f"mdl_{LOG}", [LOG_ROW | row for row in rows])
    with MoodleDatabase.open(empty_url) as database:
        found = database.integers(LOG, ["id", "objectid"], {"id": [*range(10, 20_000), None]})
        assert found.sort_by("id").to_pylist() == rows
        for table, column, keys in ((LOG, "icq", [1]), ("icq", "id", [1]), (LOG, "id", [])):
            none = database.integers(table, [column], {"id": keys})
            assert (none.num_rows, none.column_names) == (0, [column])


def test_what_this_moodle_lacks_is_empty_and_not_an_error(empty_url):
    fill(empty_url)
    with MoodleDatabase.open(empty_url) as database:
        assert database.records("h5pactivity", ["id"], {"id": [1]}) == []
        assert database.records("user", ["id"], {"no_such_column": [1]}) == []
        assert database.records("user", ["no_such_column"], {"id": [1]}) == []
        assert database.records("user", ["id", "icq"], {"id": [1]}) == [{"id": 1, "icq": None}]
        assert database.records("user", ["id"], {"id": []}) == []
        assert database.columns("h5pactivity") == frozenset()
        assert not database.has_table("h5pactivity")


def test_a_view_can_stand_in_for_a_table(empty_url):
    metadata = fill(empty_url)
    with sa.create_engine(empty_url, poolclass=sa.NullPool).begin() as connection:
        users = metadata.tables["mdl_user"]
        select = sa.select(users.c.id).compile(connection)
        connection.exec_driver_sql(f"CREATE VIEW mdl_cohort AS {select}")
    with MoodleDatabase.open(empty_url) as database:
        assert len(database.records("cohort", ["id"])) == 2


def test_a_failing_statement_is_one_sentence_without_its_values(empty_url):
    fill(empty_url)
    with MoodleDatabase.open(empty_url) as database, pytest.raises(SourceError) as failure:
        database.execute(sa.text("SELECT nonsense FROM nowhere WHERE x = :x"), x=SECRET)
    assert SECRET not in str(failure.value)
    assert "nowhere" not in str(failure.value)


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


def test_a_sqlite_file_with_an_odd_name_is_read(tmp_path):
    site = Site(tmp_path / "Moodle #1 100%.sqlite")
    site.log({})
    with site.open() as database:
        assert whole_log(database, site.hours()).num_rows == 1
