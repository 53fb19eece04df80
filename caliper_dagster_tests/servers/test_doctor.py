"""What doctor sees of a database server."""

import pytest
import sqlalchemy as sa

from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.operations.doctor import Verdict, moodle
from caliper_dagster_tests.unit.operations.test_doctor import INDEX, LOG


@pytest.mark.parametrize("server", ["mariadb_url", "postgres_url"])
def test_accounts_indexes_and_clocks_of_real_servers(
    server: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(LOG))
    with MoodleDatabase.open(url) as database:
        assert moodle.account(database).verdict is Verdict.WARNING
        assert moodle.index(database).verdict is Verdict.WARNING
        (empty,) = moodle.newest(database)
        assert empty.verdict is Verdict.WARNING
    with engine.begin() as connection:
        connection.execute(sa.text(INDEX))
        connection.execute(
            sa.text("INSERT INTO mdl_logstore_standard_log VALUES (1, 4102444800, :other)"),
            {"other": 'a:1:{s:1:"x";i:1;}'},
        )
    engine.dispose()
    with MoodleDatabase.open(url) as database:
        assert moodle.index(database).verdict is Verdict.FINE
        newest, clock = moodle.newest(database)
        assert "2100-01-01 00:00:00 UTC" in newest.text
        assert "in the future" in clock.text
        assert moodle.formats(database).text == "`other` is stored as PHP serialize"
