"""Retention and backup: what was acknowledged stays known, whatever is deleted or restored."""

import os
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.retention import RETENTION_JOB
from caliper_dagster.dagster.superseded_runs import delete_superseded_runs
from caliper_dagster.dagster.tags import LATE_ROWS_SENSOR, REASON_TAG
from caliper_dagster.delivery.watch_state import Reason, WatchCursor
from caliper_dagster.operations.backfill_plan import plan_backfill
from caliper_dagster.operations.runner import JobRunner, RunContext
from caliper_dagster_tests.harness.installation import Installation
from caliper_dagster_tests.harness.resources import named_resources
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
    sample_installation,
)

RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]
ASSETS = (MOODLE_LOG, EXPANDED_LOG, CALIPER_EVENTS, EMISSION_RESULTS)
SHORTEST = {
    "CALIPER_KEEP_PARTITIONS": "moodle_log=1,expanded_log=1,caliper_events=1,emission_results=1",
    "CALIPER_KEEP_SUPERSEDED_BATCHES": "1",
    "CALIPER_KEEP_RUNS": "1",
    "CALIPER_KEEP_COMPUTE_LOGS": "1",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SampleInstallation]:
    """An installation that has sent its four hours, which are long past."""
    monkeypatch.chdir(tmp_path)
    with sample_installation(tmp_path, students=5) as found:
        assert main(["backfill", *RANGE]) == 0
        yield found


def stored(site: SampleInstallation) -> dict[str, list[Hour]]:
    return {frame.name: list(site.storage.hour_sizes(frame)) for frame in ASSETS}


def change(site: SampleInstallation, *statements: str) -> None:
    """Change Moodle's database."""
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount, statement


def materialized(name: str) -> set[str]:
    """The hours that the web UI shows as materialized, derived anew from Dagster's events."""
    key = dg.AssetKey([name])
    with open_instance() as instance:
        instance.wipe_asset_cached_status([key])
        return set(instance.get_materialized_partitions(key))


def age_runs(site: SampleInstallation) -> None:
    """Let all runs, and the files of runs, be of long ago."""
    history = site.folder / "dagster" / "history"
    with closing(sqlite3.connect(history / "runs.db")) as connection, connection:
        connection.execute("UPDATE runs SET update_timestamp = '2026-03-02 13:00:00'")
    long_ago = time.time() - 1_000_000
    for path in [*history.rglob("*"), *(site.folder / "dagster" / "storage").rglob("*")]:
        os.utime(path, (long_ago, long_ago))


def run_files(site: SampleInstallation) -> set[str]:
    folder = site.folder / "dagster" / "history" / "runs"
    return {path.name for path in folder.glob("*-*")}


def test_a_plan_deletes_nothing_and_tells_all(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stored(site)
    age_runs(site)
    files = run_files(site)
    for name, value in SHORTEST.items():
        monkeypatch.setenv(name, value)
    capsys.readouterr()
    assert main(["prune", "--plan"]) == 0
    told = capsys.readouterr()
    for asset in ASSETS:
        assert f"Stored hours of {asset.name} " in told.out
    assert "Runs in Dagster" in told.out
    assert stored(site) == before
    assert run_files(site) == files


def test_after_a_prune_a_backfill_of_the_same_hours_sends_nothing_twice(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = site.arrived().received
    age_runs(site)
    for name, value in SHORTEST.items():
        monkeypatch.setenv(name, value)
    assert main(["prune"]) == 0
    assert stored(site) == {key: [] for key in stored(site)}
    assert run_files(site) == set()
    # Names, roles and grades of that time went with the stored rows; the present ones differ.
    change(
        site,
        "UPDATE mdl_course SET fullname = fullname || ' (renamed)'",
        "UPDATE mdl_role_assignments SET roleid = 3",
    )
    for _ in range(2):
        assert main(["backfill", *RANGE]) == 0
        assert main(["backfill", *RANGE, "--fresh", "--again"]) == 0
        assert main(["resend", *RANGE, "--changed"]) == 0
        assert site.arrived().received == sent
        age_runs(site)
        assert main(["prune"]) == 0
    capsys.readouterr()
    assert main(["doctor"]) == 0
    assert "older revision" not in capsys.readouterr().out


def test_an_interrupted_backfill_goes_on_after_a_prune(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CALIPER_HOURS_PER_RUN", "2")
    with open_instance() as instance:
        plan = plan_backfill(instance, site.settings, HOURS, again=True)
        context = RunContext(instance, site.settings)
        JobRunner(context, CHAIN_JOB).run(plan.remaining[0], plan.tags)
    monkeypatch.setenv("CALIPER_KEEP_PARTITIONS", SHORTEST["CALIPER_KEEP_PARTITIONS"])
    assert main(["prune"]) == 0
    capsys.readouterr()
    assert main(["backfill", *RANGE]) == 0
    assert "Continues an interrupted backfill: 2 of 4 hours" in capsys.readouterr().err


def test_partitions_stay_materialized_when_their_runs_are_deleted(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["backfill", *RANGE, "--again"]) == 0
    age_runs(site)
    monkeypatch.setenv("CALIPER_KEEP_RUNS", "1")
    assert main(["prune"]) == 0
    with open_instance() as instance:
        assert instance.get_runs_count() == 0
        for frame in ASSETS:
            records = instance.fetch_materializations(dg.AssetKey([frame.name]), limit=100).records
            assert sorted(record.partition_key or "" for record in records) == [
                hour.key for hour in HOURS
            ]
    for frame in ASSETS:
        assert materialized(frame.name) == {hour.key for hour in HOURS}


def test_a_late_row_of_an_hour_that_was_pruned_is_sent_and_nothing_else(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = site.arrived().received
    row = site.storage.read(MOODLE_LOG, HOURS).to_pylist()[0] | {"id": 1_000_000}
    monkeypatch.setenv("CALIPER_KEEP_PARTITIONS", "moodle_log=1,expanded_log=1,caliper_events=1")
    assert main(["prune"]) == 0
    values = ", ".join("?" * len(row))
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection, connection:
        statement = f"INSERT INTO mdl_logstore_standard_log ({', '.join(row)}) VALUES ({values})"
        connection.execute(statement, [*row.values()])
    change(site, "UPDATE mdl_course SET fullname = fullname || ' (renamed)'")
    definitions, given = build_definitions(), named_resources(site.settings)
    (sensor,) = (found for found in definitions.sensors or [] if found.name == LATE_ROWS_SENSOR)
    with (
        open_instance() as instance,
        dg.build_sensor_context(
            instance=instance,
            cursor=_seen_up_to(999_999),
            definitions=definitions,
            resources=given,
        ) as context,
    ):
        (request,) = sensor.evaluate_tick(context).run_requests or []
        job = definitions.resolve_job_def(CHAIN_JOB)
        assert job.execute_in_process(instance=instance, tags=request.tags).success
    assert site.arrived().received == sent + 1


def _seen_up_to(number: int) -> str:
    """The sensor's cursor when all rows up to this id have been seen."""
    now = time.time()
    return WatchCursor(
        low=number, high=number, high_since=now, frontier=Hour.of(now).number
    ).model_dump_json()


def test_superseded_runs_leave_no_file_behind(site: SampleInstallation) -> None:
    hour = HourRange(HOURS.start, HOURS.start + 1)
    with open_instance() as instance:
        runner = JobRunner(RunContext(instance, site.settings), CHAIN_JOB)
        for _ in range(3):
            runner.run(hour, {REASON_TAG: Reason.NEW_ROWS.value})
        assert delete_superseded_runs(instance, site.settings) == 2
        existing = set(instance.get_run_ids())
    assert {name.partition(".")[0] for name in run_files(site)} == existing
    logs = site.folder / "dagster" / "storage"
    assert {path.name for path in logs.glob("*-*-*")} <= existing


def test_files_that_deleted_runs_left_behind_go(site: SampleInstallation) -> None:
    with open_instance() as instance:
        instance.delete_run(instance.get_run_ids()[0])
    assert run_files(site)
    assert main(["prune"]) == 0
    assert run_files(site)
    age_runs(site)
    assert main(["prune"]) == 0
    assert run_files(site) == set()


def test_an_hour_stays_until_the_event_store_has_acknowledged_it(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in SHORTEST.items():
        monkeypatch.setenv(name, value)
    # Another event store has acknowledged nothing.
    monkeypatch.setenv("CALIPER_EVENT_STORE_URL", "http://127.0.0.1:9/caliper")
    before = stored(site)
    capsys.readouterr()
    assert main(["prune"]) == 0
    assert "4 hours past the time to keep stay: not all its events" in capsys.readouterr().err
    assert {name: stored(site)[name] for name in before} == before


def test_an_hour_whose_last_run_failed_stays_and_so_does_its_run(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    last = HourRange(HOURS.end + -1, HOURS.end)
    with monkeypatch.context() as broken:
        broken.setenv("CALIPER_EVENT_STORE_URL", "http://127.0.0.1:9/caliper")
        broken.setenv("CALIPER_ATTEMPTS", "1")
        assert not site.run(CHAIN_JOB, last).success
    age_runs(site)
    for name, value in SHORTEST.items():
        monkeypatch.setenv(name, value)
    capsys.readouterr()
    assert main(["prune"]) == 0
    assert "1 hour past the time to keep stay: its last run failed" in capsys.readouterr().err
    assert stored(site) == {key: [last.start] for key in stored(site)}
    with open_instance() as instance:
        (run,) = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.FAILURE


def test_superseded_batches_go_and_the_last_answers_stay(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["resend", *RANGE, "--all"]) == 0
    ledger = site.folder / "dagster" / "data" / "ledger.sqlite"
    with closing(sqlite3.connect(ledger)) as connection, connection:
        (before,) = connection.execute("SELECT count(*) FROM caliper_batch").fetchone()
        connection.execute("UPDATE caliper_batch SET answered_at = answered_at - 200000000")
    sent = site.arrived().received
    monkeypatch.setenv("CALIPER_KEEP_SUPERSEDED_BATCHES", "1")
    assert main(["prune"]) == 0
    with closing(sqlite3.connect(ledger)) as connection:
        (after,) = connection.execute("SELECT count(*) FROM caliper_batch").fetchone()
    assert after == before / 2
    assert main(["backfill", *RANGE, "--again"]) == 0
    assert site.arrived().received == sent


def test_a_prune_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    with sample_installation(tmp_path, students=5) as sample:
        installation = Installation(tmp_path, sample.environment | SHORTEST)
        assert installation.run("backfill", *RANGE).status == 0
        sent, chance = sample.arrived().received, random.Random(3)
        for _ in range(8):
            age_runs(sample)
            command = installation.start("prune")
            command.ends_within(chance.uniform(0.2, 1.2))
            command.kill()
            assert installation.run("backfill", *RANGE).status == 0
            assert sample.arrived().received == sent
        age_runs(sample)
        assert installation.run("prune").status == 0
        assert stored(sample) == {key: [] for key in stored(sample)}
        assert installation.run("backfill", *RANGE).status == 0
        assert sample.arrived().received == sent


def test_the_job_prunes_too_and_is_scheduled_when_asked_for(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any(
        schedule.job_name == RETENTION_JOB for schedule in build_definitions().schedules or ()
    )
    monkeypatch.setenv("CALIPER_KEEP_PARTITIONS", "moodle_log=1")
    monkeypatch.setenv("CALIPER_PRUNE_HOUR", "3")
    definitions = build_definitions()
    schedule = definitions.resolve_schedule_def("retention_schedule")
    assert schedule.cron_schedule == "30 3 * * *"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    with open_instance() as instance:
        job = definitions.resolve_job_def(RETENTION_JOB)
        assert job.execute_in_process(instance=instance).success
    assert stored(site) == {**{key: list(HOURS) for key in stored(site)}, MOODLE_LOG.name: []}


def test_a_restored_backup_goes_on_and_sends_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    half = HourRange(HOURS.start, HOURS.start + 2)
    with sample_installation(tmp_path, students=5) as site:
        assert main(["backfill", "--from", str(half.start), "--to", str(half.end)]) == 0
        first = site.arrived().received
        # Ledger, partitions and Dagster's records are all in DAGSTER_HOME here.
        home, backup, other = (tmp_path / name for name in ("dagster", "backup", "other/place"))
        shutil.copytree(home, backup)
        shutil.rmtree(home)
        other.parent.mkdir()
        shutil.copytree(backup, other)
        monkeypatch.setenv("DAGSTER_HOME", str(other))
        for frame in ASSETS:
            assert materialized(frame.name) == {hour.key for hour in half}
        assert main(["backfill", *RANGE]) == 0
        assert site.arrived().received == site.arrived().events > first
        everything = site.arrived().received
        assert main(["backfill", *RANGE, "--again"]) == 0
        assert main(["doctor"]) == 0
        assert site.arrived().received == everything
        assert not home.exists()


def test_every_event_store_must_have_acknowledged_what_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stores = tmp_path / "stores.yaml"
    common = "  url: {env: STORE_URL}\n  api_key: {env: STORE_KEY}\n"
    stores.write_text(
        f"main:\n{common}grades:\n{common}  caliper_version: v1p1\n"
        "  filter: {caliper_types: {include: [GradeEvent]}}\n"
    )
    with sample_installation(tmp_path, students=5) as site:
        monkeypatch.setenv("STORE_URL", os.environ.pop("CALIPER_EVENT_STORE_URL"))
        monkeypatch.setenv("STORE_KEY", os.environ.pop("CALIPER_API_KEY"))
        os.environ["CALIPER_EVENT_STORES"] = str(stores)
        assert main(["backfill", *RANGE]) == 0
        sent = site.arrived().received
        os.environ |= SHORTEST
        before = stores.read_text()
        stores.write_text(f"{before}added:\n{common}")
        capsys.readouterr()
        assert main(["prune"]) == 0
        told = capsys.readouterr().err
        assert "4 hours past the time to keep stay: not all its events are acknowledged by" in told
        assert "the event store added" in told
        stores.write_text(before)
        assert main(["prune"]) == 0
        folder = tmp_path / "dagster" / "data"
        assert not list(folder.rglob("*T*.parquet"))
        assert main(["backfill", *RANGE]) == 0
        assert {path.parts[-3] for path in folder.rglob("*T*.parquet")} == {
            *("moodle_log", "expanded_log", "caliper_events", "caliper_events_v1p1"),
            *("emission_results_main", "emission_results_grades"),
        }
        assert site.arrived().received == sent


def test_each_site_has_limits_of_its_own_and_runs_have_the_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sites = tmp_path / "sites.yaml"
    with sample_installation(tmp_path, students=5) as site:
        shutil.copy(tmp_path / "moodle.sqlite", tmp_path / "other.sqlite")
        sites.write_text(
            "one:\n  MOODLE_DB_URL: {env: ONE}\n  MOODLE_WWWROOT: https://one.example.org\n"
            "  CALIPER_KEEP_PARTITIONS: moodle_log=1\n  CALIPER_KEEP_RUNS: 1\n"
            "two:\n  MOODLE_DB_URL: {env: TWO}\n  MOODLE_WWWROOT: https://two.example.org\n"
        )
        monkeypatch.setenv("ONE", os.environ.pop("MOODLE_DB_URL"))
        monkeypatch.setenv("TWO", f"sqlite:///{tmp_path / 'other.sqlite'}")
        del os.environ["MOODLE_WWWROOT"]
        os.environ["CALIPER_SITES"] = str(sites)
        for name in ("one", "two"):
            assert main(["backfill", *RANGE, "--site", name]) == 0
        age_runs(site)
        capsys.readouterr()
        assert main(["prune"]) == 0
        assert "one Stored hours of moodle_log 4" in " ".join(capsys.readouterr().out.split())
        kept = {path.parts[-4] for path in (tmp_path / "dagster").rglob("moodle_log/*/*.parquet")}
        assert kept == {"two"}
        with open_instance() as instance:
            assert instance.get_runs_count() == 2
        sites.write_text(f"{sites.read_text()}  CALIPER_KEEP_RUNS: 2\n")
        assert main(["prune", "--site", "one"]) == 0
        with open_instance() as instance:
            assert instance.get_runs_count() == 2
        assert main(["prune"]) == 0
        with open_instance() as instance:
            assert instance.get_runs_count() == 0
