"""The command ``metrics`` on the sample site: what an alarm sees of a good and of a bad day."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import HourRange
from caliper_dagster.dagster import standing_checks
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.standing_checks import STANDING_JOB
from caliper_dagster.delivery.metrics import METRICS
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import END, HOURS, SampleInstallation

Values = dict[tuple[str, frozenset[str]], float]
"""By the name of the metric without its prefix, and the values of its labels."""

pytestmark = pytest.mark.usefixtures("as_a_process")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    """The time of the command: soon after the last hour of the sample."""
    moment = END.start + 900.0
    monkeypatch.setattr(time, "time", lambda: moment)
    monkeypatch.setattr(standing_checks, "time", lambda: moment)
    return moment


def read(file: Path) -> Values:
    return {
        (sample.name.removeprefix("caliper_"), frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }


def measure(tmp_path: Path, status: int = 0) -> Values:
    file = tmp_path / "caliper.prom"
    assert main(["metrics", "--out", str(file)]) == status
    return read(file)


def test_before_the_first_run_and_after_a_good_one(
    site: SampleInstallation, tmp_path: Path, now: float
) -> None:
    none = frozenset[str]()
    values = measure(tmp_path)
    assert values["metrics_collected", none] == 1
    assert values["last_success_timestamp_seconds", none] == 0
    assert values["last_acknowledgement_timestamp_seconds", none] == 0
    assert values["newest_complete_hour_timestamp_seconds", none] == site.settings.start.start
    assert values["ledger_size_bytes", none] == 0

    assert site.run(CHAIN_JOB, HOURS).success
    assert site.run(STANDING_JOB, HOURS).success
    values = measure(tmp_path)
    assert values["newest_complete_hour_timestamp_seconds", none] == END.start
    assert values["last_success_timestamp_seconds", none] > 0
    assert values["last_acknowledgement_timestamp_seconds", none] > 0
    assert values["ledger_size_bytes", none] > 10_000
    assert values["last_day_log_rows", none] == site.storage.read(MOODLE_LOG, HOURS).num_rows
    for name in ("backlog_hours", "failed_hours", "failed_hours_not_retried", "rejected_events"):
        assert values[name, none] == 0
    assert values["last_day_withheld_events", frozenset({"invalid"})] == 0
    check = frozenset({"emission_results", "newest_hour_recent"})
    assert values["standing_check_passed", check] == 1
    written = {name for name, _ in values}
    assert written == {metric.name.removeprefix("caliper_") for metric in METRICS}


def test_an_event_store_that_is_away(site: SampleInstallation, tmp_path: Path, now: float) -> None:
    none = frozenset[str]()
    first = HourRange(HOURS.start, HOURS.start + 1)
    rest = HourRange(first.end, HOURS.end)
    away = {**site.environment, "CALIPER_EVENT_STORE_URL": "http://127.0.0.1:9/"}
    assert site.run(CHAIN_JOB, first).success
    with environment({**away, "CALIPER_ATTEMPTS": "1"}):
        assert not site.run(CHAIN_JOB, rest).success
    values = measure(tmp_path)
    assert values["failed_hours", none] == len(rest)
    assert values["backlog_hours", none] == len(rest)
    assert values["failed_hours_not_retried", none] == len(rest)
    assert values["newest_complete_hour_timestamp_seconds", none] == first.end.start
    assert "standing_check_passed" not in {name for name, _ in values}


def test_what_cannot_be_read_is_said_and_shown(
    site: SampleInstallation, tmp_path: Path, now: float, capsys: pytest.CaptureFixture[str]
) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    ledger = Path(site.settings.ledger().removeprefix("sqlite:///"))
    ledger.write_bytes(b"no database")
    for suffix in ("-wal", "-shm"):
        ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)
    values = measure(tmp_path, status=2)
    assert values == {("metrics_collected", frozenset()): 0}
    said = capsys.readouterr().err
    assert "CALIPER_LEDGER_URL is wrong: the ledger at sqlite:///" in said
    assert said.endswith(
        "The metrics of 1 site could not be read; caliper_metrics_collected is 0.\n"
    )


def test_several_sites_are_told_apart(site: SampleInstallation, tmp_path: Path, now: float) -> None:
    file = tmp_path / "sites.yaml"
    file.write_text(
        "north: {MOODLE_DB_URL: {env: NORTH}, MOODLE_WWWROOT: 'https://north.example.org'}\n"
        "south: {MOODLE_DB_URL: {env: SOUTH}, MOODLE_WWWROOT: 'https://south.example.org'}\n"
    )
    with environment({**site.environment, "CALIPER_SITES": str(file)}):
        values = measure(tmp_path)
        assert main(["metrics", "--site", "south", "--out", str(tmp_path / "south.prom")]) == 0
    for name in ("north", "south"):
        assert values["backlog_hours", frozenset({name})] == 0
    assert ("backlog_hours", frozenset({"north"})) not in read(tmp_path / "south.prom")
