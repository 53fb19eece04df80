"""The whole chain over a log in a second database: the same events, and rows that wait."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hours import HourRange
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
    sample_installation,
)

NAME = "log-of-the-secret-database"
TABLE = "mdl_logstore_standard_log"
ONE = HourRange(HOURS.start, HOURS.start + 1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleInstallation]:
    with sample_installation(tmp_path_factory.mktemp("elsewhere"), students=8) as found:
        yield found


@pytest.fixture(scope="module")
def moved(site: SampleInstallation) -> dict[str, str]:
    """The settings for a copy of the site whose log is in a second database, under another name."""
    names, log = site.folder / "names.sqlite", site.folder / f"{NAME}.sqlite"
    original = Path(site.environment["MOODLE_DB_URL"].removeprefix("sqlite:///"))
    for path in (names, log):
        path.write_bytes(original.read_bytes())
    with closing(sqlite3.connect(log)) as connection:
        for (table,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'mdl%'"
        ).fetchall():
            if table != TABLE:
                connection.execute(f"DROP TABLE {table}")
        connection.execute(f"ALTER TABLE {TABLE} RENAME TO moodle_log")
        connection.commit()
    with closing(sqlite3.connect(names)) as connection, connection:
        connection.execute(f"DROP TABLE {TABLE}")
    return {
        "MOODLE_DB_URL": f"sqlite:///{names}",
        "MOODLE_LOG_DB_URL": f"sqlite:///{log}",
        "MOODLE_LOG_TABLE": "moodle_log",
        "CALIPER_STORAGE": str(site.folder / "moved"),
        "DAGSTER_HOME": str(site.folder / "moved_dagster"),
    }


def events(site: SampleInstallation) -> list[list[dict[str, object]]]:
    return [site.storage.read(CALIPER_EVENTS, [hour]).to_pylist() for hour in HOURS]


def test_the_events_are_the_same(site: SampleInstallation, moved: dict[str, str]) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    expected = events(site)
    with environment({**site.environment, **moved}):
        result = site.run(CHAIN_JOB, HOURS)
        assert result.success
        assert events(site) == expected
        with open_instance() as instance:
            told = "\n".join(map(str, instance.all_logs(result.run_id)))
    assert NAME not in told
    assert sum(map(len, expected)) > 0


def test_rows_that_wait_for_a_replica_are_told_by_the_check(
    site: SampleInstallation, moved: dict[str, str]
) -> None:
    replica = Path(moved["MOODLE_DB_URL"].removeprefix("sqlite:///"))
    with closing(sqlite3.connect(replica)) as connection, connection:
        connection.execute(f"UPDATE mdl_user SET lastaccess = {ONE.start.start + 1860}")
    of_years = {"MOODLE_REPLICA_WAIT": "1000000"}
    other = {key: f"{moved[key]}_2" for key in ("CALIPER_STORAGE", "DAGSTER_HOME")}
    with environment({**site.environment, **moved, **of_years, **other}):
        result = site.run(CHAIN_JOB, ONE)
        assert result.success
        rows = site.storage.read(CALIPER_EVENTS, [ONE.start]).num_rows
    (check,) = (
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.check_name == "every_row_explained"
    )
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "wait for the database of MOODLE_DB_URL, a replica that lags" in (
        check.description or ""
    )
    waiting = check.metadata["rows that wait for the replica"].value
    assert isinstance(waiting, int)
    assert waiting > 0
    assert rows > 0
