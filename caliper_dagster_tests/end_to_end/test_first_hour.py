"""The README from its first line on, word by word: demo, settings, doctor, backfill, web UI.

Only what is the reader's own is filled in: addresses, passwords, dates, a free port. The schedule
is due in two minutes, instead of ten minutes after the hour; if Dagster takes longer than that to
start, the sensor takes the hour ten minutes later.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from caliper_dagster.core.hours import Hour, last_complete_hour
from caliper_dagster.embedded.arrivals import Arrivals, arrivals
from caliper_dagster.embedded.event_store import running
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster_tests.end_to_end.test_sensors import COLUMNS, LOG
from caliper_dagster_tests.harness.checkout import (
    clone,
    filled_in,
    prepare_environment,
    readme_examples,
)
from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.sample_installation import copy_site
from caliper_dagster_tests.harness.servers import Server, die_with_parent

HOURS = 6
NEW_ROWS = 20
ACCOUNT, PASSWORD, KEY = "first_hour", "pass%40word", "key-of-the-first-hour"

# Much more than it takes: other work may keep the processors.
COMMAND_SECONDS = 300
START_SECONDS = 150
ARRIVAL_SECONDS = 900
STOP_SECONDS = 60


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    found = clone(tmp_path)
    prepare_environment(found)
    return found


def test_the_demo_of_the_readme_runs_and_can_be_looked_at(checkout: Path) -> None:
    commands = readme_examples(checkout, "Try it")[0].splitlines()
    assert [command.split("#")[0].split() for command in commands] == [
        ["make", "demo"],
        ["make", "dev"],
    ]
    told = run(checkout, commands[0])
    assert "Unexplained rows" in told
    with web_ui(checkout, commands[1], {}) as told:
        assert "https://moodle.example.edu: events go to http://127.0.0.1:" in told
        assert "are off, so that no hour is sent by itself" in told


def test_a_site_is_connected_by_the_readme_and_its_next_hour_arrives_by_itself(
    checkout: Path, tmp_path: Path, mariadb_server: Server, mariadb_url: str
) -> None:
    create_account, settings, commands = readme_examples(checkout, "Connect a Moodle site")
    next_hour = last_complete_hour(datetime.now(UTC))
    first_hour = next_hour + -HOURS
    sample = write_sample(tmp_path / "moodle.sqlite", students=20, hours=HOURS, end=next_hour)
    copy_site(f"sqlite:///{sample.path}", mariadb_url)
    database = sa.make_url(mariadb_url)

    with (
        account(mariadb_server, create_account, str(database.database)),
        running(tmp_path / "event_store.sqlite", KEY) as event_store,
    ):
        server = f"{database.host}:{database.port}/{database.database}"
        values = {
            "caliper:…@db.example.org/moodle": f"{ACCOUNT}:{PASSWORD}@{server}",
            "https://moodle.example.org": sample.wwwroot,
            "https://events.example.org/caliper": event_store,
            "CALIPER_API_KEY=…": f"CALIPER_API_KEY={KEY}",
            "2026-01-01T00": str(first_hour),
        }
        (checkout / ".env").write_text(filled_in(settings, values), encoding="utf-8")

        *before, last = commands.splitlines()
        span = {"2026-01-01": str(first_hour), "2026-02-01": str(next_hour + -1)}
        told = run(checkout, filled_in("\n".join(before), span))
        assert "BROKEN" not in told
        assert "the schedule caliper_events_of_the_hour_schedule and the sensor late_rows" in told
        backfilled = arrived(tmp_path)
        assert backfilled.events > 0  # few, where the last hours were a night

        due = datetime.now(UTC) + timedelta(seconds=150)
        with web_ui(checkout, last, {"CALIPER_SCHEDULE_LAG": f"{due.minute}"}) as told:
            assert f"{sample.wwwroot}: events go to {event_store};" in told
            assert "late_rows are on." in told
            # Dagster would let the file win over the environment.
            assert "from .env" not in told
            add_rows(mariadb_url, next_hour)
            # What the backfill has left to Dagster, and what has come since.
            wait_for(checkout, {next_hour + -1, next_hour})

    after = arrived(tmp_path)
    assert after.events >= backfilled.events + NEW_ROWS
    assert after.received == after.events


@contextmanager
def account(server: Server, example: str, database: str) -> Iterator[None]:
    """The account that the README makes, in the database of the test."""
    # The server of the tests has an account `caliper` of its own.
    values = {"'caliper'": f"'{ACCOUNT}'", "'…'": "'pass@word'", "moodle.*": f"{database}.*"}
    statements = filled_in(example, values).replace("%", "%%").split(";")
    server.execute(*filter(str.strip, statements))
    yield
    server.execute(f"DROP USER '{ACCOUNT}'@'%%'")


def run(checkout: Path, script: str) -> str:
    """Lines for a shell, of which none may fail; what they print."""
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=checkout,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def web_ui(checkout: Path, command: str, settings: Mapping[str, str]) -> Iterator[str]:
    """`make dev`, from when it says that it is ready until it has ended; what it has printed."""
    port, log = free_port(), checkout / "dev.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-ec", filled_in(command, {"make dev": f"make dev PORT={port}"})],
            cwd=checkout,
            env=environment() | dict(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while f"Ready: http://127.0.0.1:{port} " not in log.read_text(errors="replace"):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.2)
        yield log.read_text(errors="replace")
    finally:
        # Ctrl-C in a terminal.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(STOP_SECONDS)


def environment() -> dict[str, str]:
    """That of a user: without settings, and without what `make test` passes to its commands."""
    ours = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "PORT", "PYTHONPATH"}
    given = clean_environment(dict(os.environ))
    return {name: value for name, value in given.items() if name not in ours}


def add_rows(url: str, hour: Hour) -> None:
    """What people do at the site in the hour."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    statement = (
        f"INSERT INTO {LOG} ({COLUMNS}, timecreated) SELECT {COLUMNS}, :moment FROM {LOG} "
        f"WHERE courseid > 1 ORDER BY id LIMIT {NEW_ROWS}"
    )
    with engine.begin() as connection:
        connection.execute(sa.text(statement), {"moment": hour.start + 5})


def arrived(folder: Path) -> Arrivals:
    return arrivals(folder / "event_store.sqlite")


def wait_for(checkout: Path, hours: set[Hour]) -> None:
    """Wait until these hours are sent; everything is kept where the README says."""
    results = checkout / ".dagster_home" / "data" / "emission_results"
    deadline = time.monotonic() + ARRIVAL_SECONDS
    wanted = {f"{hour.datetime:%Y-%m-%dT%H}" for hour in hours}
    while not wanted <= {file.stem for file in results.rglob("*.parquet")}:
        assert time.monotonic() < deadline, (checkout / "dev.log").read_text(errors="replace")
        time.sleep(1)
