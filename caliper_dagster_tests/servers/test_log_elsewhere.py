"""A log in a database of the other kind of server: as on SQLite."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError, SourceError
from caliper_dagster.expander import LogPlace, MoodleDatabase
from caliper_dagster_tests.unit.expander.test_log_elsewhere import *  # noqa: F403
from caliper_dagster_tests.unit.expander.test_log_elsewhere import fill_log


@pytest.fixture
def log_url(replica_url: str, request: pytest.FixtureRequest) -> str:
    """The log of a Moodle in MariaDB is in PostgreSQL, and the other way round."""
    other = "postgres_url" if replica_url.startswith("mysql") else "mariadb_url"
    return fill_log(request.getfixturevalue(other))


@pytest.mark.parametrize(
    "wrong",
    [{"password": "another"}, {"database": "no_such_log"}, {"port": 1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_log_that_cannot_be_opened_is_one_sentence_without_a_secret(
    wrong: dict[str, Any], replica_url: str, log_url: str
) -> None:
    right = sa.make_url(log_url)
    url = right.set(**wrong).render_as_string(hide_password=False)
    with pytest.raises(ConfigurationError, match=r"^MOODLE_LOG_DB_URL") as refusal:
        MoodleDatabase.open(replica_url, log=LogPlace(url))
    assert str(right.password) not in str(refusal.value)
    assert refusal.value.settings == ("MOODLE_LOG_DB_URL",)


def test_a_statement_of_the_log_that_fails_says_which_database_it_was(
    replica_url: str, log_url: str
) -> None:
    with MoodleDatabase.open(replica_url, log=LogPlace(log_url)) as database:
        with pytest.raises(SourceError, match="Moodle's log database did not answer a query"):
            database.log.execute(sa.text("SELECT no_such_column"))
        assert database.records("user", ["id"], {"id": [1]}) == [{"id": 1}]
