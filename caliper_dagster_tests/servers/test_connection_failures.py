"""Why a database server cannot be used, or was lost, is said in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError, SourceError
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster_tests.harness.servers import Server
from caliper_dagster_tests.unit.expander.test_connection import fill


def refusal(url: sa.URL) -> str:
    with pytest.raises(ConfigurationError) as refused:
        MoodleDatabase.open(url.render_as_string(hide_password=False))
    sentence = str(refused.value)
    assert sentence.startswith("MOODLE_DB_URL: ")
    assert sentence.endswith(".")
    assert str(url.password) not in sentence
    return sentence


def test_a_server_without_tls_is_told_from_one_that_is_down(
    mariadb_url: str, postgres_url: str
) -> None:
    postgres = sa.make_url(postgres_url).update_query_dict({"sslmode": "require"})
    assert "offers no TLS, which the URL asks for: leave out sslmode" in refusal(postgres)
    mariadb = sa.make_url(mariadb_url).update_query_dict({"ssl_check_hostname": "true"})
    assert "offers no TLS, which the URL asks for: leave out ssl_ca" in refusal(mariadb)


def test_a_file_of_a_certificate_that_cannot_be_read_is_named(
    mariadb_url: str, tmp_path: Path
) -> None:
    (tmp_path / "wrong.pem").write_text("no certificate")
    for name, words in (("none.pem", "No such file"), ("wrong.pem", "form PEM")):
        url = sa.make_url(mariadb_url).update_query_dict({"ssl_ca": str(tmp_path / name)})
        assert words in refusal(url)


def test_a_database_that_is_not_there_or_not_for_this_account(
    mariadb_server: Server, mariadb_url: str, postgres_url: str
) -> None:
    for url in (mariadb_url, postgres_url):
        assert "no database no_such_moodle" in refusal(
            sa.make_url(url).set(database="no_such_moodle")
        )
    reader = sa.make_url(mariadb_server.create_reader(mariadb_url))
    assert "that this account may read" in refusal(reader.set(database="no_such_moodle"))


@pytest.mark.parametrize("server", ["mariadb", "postgres"])
def test_a_connection_that_is_ended_says_why(server: str, request: pytest.FixtureRequest) -> None:
    url, running = (
        request.getfixturevalue(f"{server}_url"),
        request.getfixturevalue(f"{server}_server"),
    )
    fill(url)
    own, end = {
        "mariadb": ("SELECT CONNECTION_ID()", "KILL CONNECTION {}"),
        "postgres": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
    }[server]
    with MoodleDatabase.open(url) as database:
        ((connection,),) = database.execute(sa.text(own))
        running.execute(end.format(connection))
        with pytest.raises(SourceError, match=r"connection was (ended by an admin|lost)"):
            database.execute(sa.text("SELECT 1"))
