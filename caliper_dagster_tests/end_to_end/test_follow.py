"""The hour in progress, followed in one process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from caliper_dagster.cli.main import main
from caliper_dagster.core.hours import Hour
from caliper_dagster.dagster.follower import is_followed
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.operations import backfill
from caliper_dagster.operations.follow import Follower
from caliper_dagster.operations.run_outcome import read_outcome
from caliper_dagster.operations.runner import RunContext
from caliper_dagster_tests.harness.commands import command_line
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.handmade_site import LOG_ROW
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.sample_installation import (
    SampleInstallation,
    copy_site,
    sample_installation,
)

NOWHERE = "http://127.0.0.1:9/caliper"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SampleInstallation]:
    with sample_installation(tmp_path) as found:
        now = dict(found.environment) | {"CALIPER_SEND_IMMEDIATELY": "true"}
        with environment(now):
            yield SampleInstallation(found.folder, now)


def log(site: SampleInstallation, number: int) -> None:
    """Log rows of this moment."""
    names = ", ".join(LOG_ROW)
    rows = [{**LOG_ROW, "userid": 3, "timecreated": int(time.time())}] * number
    marks = ", ".join(f":{name}" for name in LOG_ROW)
    statement = f"INSERT INTO mdl_logstore_standard_log ({names}) VALUES ({marks})"
    engine = sa.create_engine(site.environment["MOODLE_DB_URL"], poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(statement), rows)


def statuses(instance: dg.DagsterInstance) -> list[str]:
    return [run.status.value for run in instance.get_runs()]


def test_rows_leave_as_they_come_and_one_run_stays(
    site: SampleInstallation, hour_in_progress: Hour
) -> None:
    with open_instance() as instance:
        follower = Follower(RunContext(instance, site.settings))
        assert follower.look() == []
        assert is_followed(instance, site.settings, time.time())
        for sent in (2, 5, 1):
            log(site, sent)
            (found,) = follower.look()
            assert found.delivery.sent == sent
            assert follower.look() == []
        assert statuses(instance) == ["SUCCESS"]
        emission = dg.AssetKey("emission_results")
        assert instance.get_materialized_partitions(emission) == {hour_in_progress.key}
    kept = read_outcome(site.storage, backfill.HourRange(hour_in_progress, hour_in_progress + 1))
    assert kept.account.rows == 8
    assert kept.account.unexplained == 0
    assert site.arrived().events == site.arrived().received == 8


def test_a_store_that_is_down_is_tried_at_growing_intervals(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    monkeypatch.setattr("caliper_dagster.operations.follow.time.time", lambda: now[0])
    log(site, 3)
    with open_instance() as instance:
        with environment(dict(site.environment) | {"CALIPER_EVENT_STORE_URL": NOWHERE}):
            follower = Follower(RunContext(instance, site.settings))
            for _ in range(2):
                with pytest.raises(backfill.RunError, match="check CALIPER_EVENT_STORE_URL"):
                    follower.look()
            assert [follower.look() for _ in range(3)] == [[]] * 3
        assert statuses(instance) == ["FAILURE"] * 2
        follower = Follower(RunContext(instance, site.settings))
        assert sum(found.delivery.sent for found in follower.look()) == 3
    assert site.arrived().events == 3


def test_it_needs_the_setting(site: SampleInstallation, capsys: pytest.CaptureFixture[str]) -> None:
    with environment(dict(site.environment) | {"CALIPER_SEND_IMMEDIATELY": "false"}):
        assert main(["follow"]) == 2
    assert capsys.readouterr().err.startswith("CALIPER_SEND_IMMEDIATELY is not true")


def test_the_command_follows_until_it_is_ended(site: SampleInstallation, tmp_path: Path) -> None:
    command = command_line("follow")
    environment = os.environ | {"CALIPER_SEND_INTERVAL": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        log(site, 4)
        assert process.stdout is not None
        assert "4 events sent" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert site.arrived().events == 4


def test_on_mariadb(site: SampleInstallation, mariadb_url: str) -> None:
    """What the follower and the sensor ask is the same on a server."""
    sample = site.folder / "now.sqlite"
    write_sample(sample, students=5, hours=1, seed=2, end=Hour.of(time.time()))
    copy_site(f"sqlite:///{sample}", mariadb_url)
    with environment(dict(site.environment) | {"MOODLE_DB_URL": mariadb_url}):
        at_server = SampleInstallation(site.folder, dict(os.environ))
        log(at_server, 3)
        with open_instance() as instance:
            follower = Follower(RunContext(instance, at_server.settings))
            assert sum(found.delivery.sent for found in follower.look()) >= 3
            assert follower.look() == []
