import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from dagster._daemon.types import DaemonHeartbeat

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.operations.doctor import Finding, Verdict, examine
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    SampleInstallation,
    sample_installation,
)

LOG = """
CREATE TABLE mdl_logstore_standard_log (
    id BIGINT PRIMARY KEY, timecreated BIGINT NOT NULL, other TEXT
)
"""
INDEX = "CREATE INDEX mdl_logsstanlog_tim_ix ON mdl_logstore_standard_log (timecreated)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleInstallation]:
    folder = tmp_path_factory.mktemp("doctor")
    with sample_installation(folder) as found:
        write_sample(folder / "now.sqlite", students=5, hours=2, seed=1)
        yield found


def findings(environment_: dict[str, str], site: SampleInstallation) -> dict[str, Finding]:
    with environment(dict(site.environment) | environment_):
        return {finding.subject: finding for finding in examine([site.settings])}


def test_all_is_well_on_a_site_that_is_in_use(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {
        "MOODLE_DB_URL": f"sqlite:///{site.folder}/now.sqlite",
        "CALIPER_AUTOMATION": "true",
    }
    given = dict(site.environment) | changes
    with environment(given):
        with open_instance() as instance:
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", None))
        Path(given["DAGSTER_HOME"]).chmod(0o700)
        assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert [line for line in told.splitlines() if not line.startswith("ok ")] == []
    assert site.arrived().envelopes == 0


@pytest.mark.parametrize(
    ("changes", "subject", "words"),
    [
        ({"MOODLE_DB_URL": ""}, "Moodle database", "MOODLE_DB_URL is not set"),
        ({"MOODLE_DB_PREFIX": "x_"}, "Moodle database", "MOODLE_DB_PREFIX"),
        ({"MOODLE_WWWROOT": ""}, "Site address", "MOODLE_WWWROOT is not set"),
        ({"CALIPER_EVENT_STORE_URL": "http://127.0.0.1:9"}, "Event store", "CALIPER_EVENT_STORE"),
        ({"CALIPER_API_KEY": "another"}, "Event store", "CALIPER_API_KEY"),
        ({"CALIPER_STORAGE": "/dev/null/data"}, "Storage", "CALIPER_STORAGE"),
        ({"CALIPER_LEDGER_URL": "nonsense"}, "Ledger", "CALIPER_LEDGER_URL"),
        ({"DAGSTER_POSTGRES_URL": "nonsense"}, "Dagster", "DAGSTER_POSTGRES_URL"),
    ],
)
def test_what_is_broken_is_told_with_its_setting(
    changes: dict[str, str], subject: str, words: str, site: SampleInstallation
) -> None:
    found = findings(changes, site)[subject]
    assert found.verdict is Verdict.BROKEN
    assert words in found.text


def test_the_rest_is_looked_at_whatever_is_broken(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment(dict(site.environment) | {"MOODLE_DB_URL": ""}):
        assert main(["doctor"]) == 2
    told = capsys.readouterr()
    assert "ok      Event store" in told.out
    assert told.err == "1 problem to fix.\n"


def test_hours_that_an_earlier_release_stored_are_counted(
    site: SampleInstallation, tmp_path: Path
) -> None:
    storage, hour = PartitionStore(str(tmp_path)), Hour.from_key("2026-03-02-10:00")
    for later in range(3):
        storage.write(MOODLE_LOG, hour + later, MOODLE_LOG.empty())
    found = findings({"CALIPER_STORAGE": str(tmp_path)}, site)["Digests"]
    assert (found.verdict, found.text) == (Verdict.FINE, "every one of 3 files carries a digest")

    pq.write_table(MOODLE_LOG.empty(), storage.path(MOODLE_LOG, hour))
    found = findings({"CALIPER_STORAGE": str(tmp_path)}, site)["Digests"]
    assert found.verdict is Verdict.FINE
    assert found.text.startswith("1 of 3 files have none, because an earlier release wrote them")


def test_a_log_that_has_stopped_is_a_warning(site: SampleInstallation) -> None:
    found = findings({}, site)["Newest log row"]
    assert found.verdict is Verdict.WARNING
    assert "2026-03-02" in found.text


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.WARNING),
        ({"CALIPER_AUTOMATION": "true"}, Verdict.FINE),
        ({"CALIPER_SEND_IMMEDIATELY": "true"}, Verdict.FINE),
    ],
)
def test_hours_that_nobody_takes_are_a_warning(
    changes: dict[str, str], verdict: Verdict, site: SampleInstallation
) -> None:
    found = findings(changes, site)["Automation"]
    assert found.verdict is verdict


def test_without_a_dagster_home_nothing_is_sent(site: SampleInstallation) -> None:
    found = findings({"DAGSTER_HOME": "", "CALIPER_STORAGE": str(site.folder)}, site)
    assert found["Dagster"].verdict is Verdict.BROKEN
    assert found["Storage"].verdict is Verdict.FINE


@pytest.mark.parametrize(
    ("time", "verdict"),
    [(1_700_000_000, Verdict.FINE), (1_700_000_000_000, Verdict.WARNING), (2**62, Verdict.WARNING)],
)
def test_rows_whose_time_is_none_are_named(
    time: int, verdict: Verdict, site: SampleInstallation, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "moodle.sqlite")) as connection, connection:
        connection.execute(LOG)
        connection.execute(INDEX)
        connection.execute("INSERT INTO mdl_logstore_standard_log VALUES (7, 1700000000, NULL)")
        connection.execute("INSERT INTO mdl_logstore_standard_log VALUES (8, ?, NULL)", (time,))
    found = findings({"MOODLE_DB_URL": f"sqlite:///{tmp_path}/moodle.sqlite"}, site)

    assert found["Times"].verdict is verdict
    assert found["Newest log row"].text.startswith("2023-11-14")
    if verdict is Verdict.WARNING:
        assert "1 log row (ids 8 to 8)" in found["Times"].text
