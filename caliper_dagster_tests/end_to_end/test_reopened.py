"""Hours that are materialized again: what was known stays, what is new is sent, and only that."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.operations.run_outcome import read_outcome
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
    sample_installation,
)

RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SampleInstallation]:
    monkeypatch.chdir(tmp_path)
    with sample_installation(tmp_path) as found:
        assert found.run(CHAIN_JOB, HOURS).success
        yield found


def execute(site: SampleInstallation, *statements: str) -> None:
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_a_rerun_sends_only_the_rows_that_are_new(site: SampleInstallation) -> None:
    before = site.arrived()
    columns = ", ".join(name for name in MOODLE_LOG.schema.names if name != "id")
    execute(
        site,
        "UPDATE mdl_course SET fullname = fullname || ' (old)'",
        f"INSERT INTO mdl_logstore_standard_log ({columns}) SELECT {columns} "
        "FROM mdl_logstore_standard_log WHERE courseid > 1 ORDER BY id LIMIT 5",
    )
    assert site.run(CHAIN_JOB, HOURS).success
    after = site.arrived()
    assert after.events == after.received
    assert 5 <= after.events - before.events <= 10  # derived events are events too

    assert main(["backfill", *RANGE, "--fresh"]) == 0
    fresh = site.arrived()
    assert fresh.events == after.events
    assert fresh.received > after.received  # the courses have another name now


def test_rows_that_vanished_leave_the_hour_and_what_was_sent_stays(
    site: SampleInstallation,
) -> None:
    before = site.arrived()
    rows = read_outcome(site.storage, HOURS).account.rows
    execute(site, "DELETE FROM mdl_logstore_standard_log WHERE id % 3 = 0")
    assert site.run(CHAIN_JOB, HOURS).success
    total = read_outcome(site.storage, HOURS)
    assert 0 < total.account.rows < rows
    assert total.account.unexplained == 0
    assert total.account.rows == site.storage.read(EXPANDED_LOG, HOURS).num_rows
    assert site.arrived() == before


def test_a_file_of_another_version_is_expanded_anew(site: SampleInstallation) -> None:
    path = Path(site.storage.path(EXPANDED_LOG, HOURS.start))
    path.write_bytes(b"not Parquet")
    before = site.arrived()
    assert site.run(CHAIN_JOB, HOURS).success
    assert site.arrived() == before
