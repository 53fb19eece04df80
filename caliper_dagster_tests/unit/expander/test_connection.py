"""How Moodle's database is asked, on the databases that Moodle runs on."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError, SourceError
from caliper_dagster.core.hours import HourRange
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster_tests.harness.handmade_site import (
    HOUR,
    LOG_ROW,
    log_rows,
    server_tables,
    whole_log,
    write,
)

SECRET = "s3cret-of-moodle"
LOG = "logstore_standard_log"
DEFINITIONS = ("DROP TABLE {user}", "CREATE TABLE caliper_was_here (id INTEGER)")


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
        # In MariaDB a definition of data ends the transaction before it; this package sends none.
        *(() if empty_url.startswith("mysql") else DEFINITIONS),
    ):
        with MoodleDatabase.open(empty_url) as database, pytest.raises(SourceError):
            database.execute(sa.text(change.format(user=database.quoted("user"))))
    engine = sa.create_engine(empty_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        ids = connection.execute(sa.select(metadata.tables["mdl_user"].c.id)).scalars().all()
        assert sorted(ids) == [1, 2]
    assert "caliper_was_here" not in sa.inspect(engine).get_table_names()


def test_a_wrong_prefix_is_one_sentence_that_names_the_setting(empty_url):
    fill(empty_url)
    with pytest.raises(ConfigurationError, match=r"MOODLE_DB_PREFIX.*other_logstore_standard_log"):
        MoodleDatabase.open(empty_url, prefix="other_")


@pytest.mark.parametrize("prefix", ["", "mdl_", "M2_"])
def test_reserved_table_names_are_read_under_any_prefix(empty_url, prefix):
    fill(empty_url, prefix)
    with MoodleDatabase.open(empty_url, prefix) as database:
        users = database.records("user", ["name", "order"], {"id": [1]})
        assert users == [{"name": "Zoë 1", "order": 1}]
        assert database.records("groups", ["id", "grade"]) == [{"id": 7, "grade": None}]
        assert whole_log(database, HourRange(HOUR, HOUR + 1)).num_rows == 3


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
            condition_columns=("name",),
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


def test_records_are_found_by_pairs_of_keys(empty_url):
    metadata = fill(empty_url)
    rows = [{"id": key, "name": None, "order": key % 3, "grade": None} for key in range(3, 12_003)]
    write(empty_url, metadata, "mdl_user", rows)
    pairs = [(row["order"], row["id"]) for row in rows if row["id"] % 10]
    others = [(2, 3), (0, 4), (1, 3 * 10**12), pairs[0]]
    with MoodleDatabase.open(empty_url) as database:
        before = database.statements
        found = database.records("user", ["id"], {("order", "id"): [*pairs, *others]})
        assert database.statements - before == 2
        assert sorted(row["id"] for row in found) == [id_ for _, id_ in pairs]
        found = database.integers("user", ["id"], {("order", "id"): [*others, (1, None)]})
        assert found["id"].to_pylist() == [pairs[0][1]]
        unknown = [(1, None), (None, 5), (None, None)]
        for none in ([], unknown):
            assert database.records("user", ["id"], {("order", "id"): none}) == []
        assert database.records("user", ["id"], {("no_such_column", "id"): pairs}) == []


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
