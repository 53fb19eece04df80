"""The servers and databases that the other tests stand on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from caliper_dagster_tests.harness import servers
from caliper_dagster_tests.harness.paths import ROOT


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement))]


@pytest.mark.parametrize("fixture", ["mariadb_url", "postgres_url"])
def test_database_is_fresh_empty_and_ours(fixture: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(fixture)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    assert sa.inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE words (word VARCHAR(20))"))
        connection.execute(sa.text("INSERT INTO words VALUES ('Grüße 🙂')"))
    assert query(url, "SELECT word FROM words") == [("Grüße 🙂",)]


def test_given_server_is_used_and_left_clean(
    mariadb_server: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = mariadb_server.url.render_as_string(hide_password=False)
    monkeypatch.setenv(servers.MariaDB.variable, given)
    run = servers.begin_run()
    server = servers.connect("mariadb", run.folder)
    assert (server.url, server.prefix) != (mariadb_server.url, mariadb_server.prefix)
    assert server.url.port == mariadb_server.url.port
    database = server.create_database()
    reader = server.create_reader(database)
    assert query(reader, "SELECT 1") == [(1,)]
    run.end()
    with pytest.raises(sa.exc.OperationalError, match="denied"):
        query(reader, "SELECT 1")
    with pytest.raises(sa.exc.OperationalError, match="Unknown database"):
        query(database, "SELECT 1")


def test_server_ends_with_a_killed_run() -> None:
    script = (
        "import time\n"
        "from caliper_dagster_tests.harness import servers\n"
        "run = servers.begin_run()\n"
        "url = servers.connect('postgres', run.folder).url\n"
        "print(run.folder, url.render_as_string(hide_password=False), flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        folder, url = run.stdout.readline().split()
        assert query(url, "SELECT 1") == [(1,)]
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + servers.STOP_SECONDS
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(folder).exists()
    with pytest.raises(sa.exc.OperationalError, match="refused"):
        query(url, "SELECT 1")


def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "find_mariadb", lambda: None)
    monkeypatch.setattr(servers, "find_chromium", lambda: None)
    monkeypatch.delenv(servers.MariaDB.variable, raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(servers.ServerError) as caught:
        servers.ensure()
    sentence = str(caught.value)
    assert "mariadb-server, chromium, chromium-driver" in sentence
    assert servers.MariaDB.variable in sentence
