"""A bad hour amid others: whoever sends, the others leave and it does not, until it is good again.

The hour is bad because a restored database holds a log row twice: two rows with one id, of which an
event store would keep one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg
import pytest
import yaml

from caliper_dagster.cli.main import main
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.dagster.assets import build_assets, emission_assets
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.operations.doctor import Verdict, examine
from caliper_dagster.operations.follow import Follower
from caliper_dagster.operations.runner import RunContext
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
    sample_installation,
)

LOG = "mdl_logstore_standard_log"
BAD = HOURS.start + 1
OTHERS = [hour for hour in HOURS if hour != BAD]
RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]
TOLD = f"Not sent: 1 withheld hour, {BAD} (log rows without an explanation"


def execute(site: SampleInstallation, *statements: str) -> None:
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def repeat_a_row(site: SampleInstallation, hour: Hour) -> None:
    """Put a row of the hour into the log again, which then has no primary key."""
    execute(
        site,
        f"CREATE TABLE copy AS SELECT * FROM {LOG}",
        f"DROP TABLE {LOG}",
        f"ALTER TABLE copy RENAME TO {LOG}",
        f"INSERT INTO {LOG} SELECT * FROM {LOG} WHERE id = (SELECT min(id) FROM {LOG} "
        f"WHERE timecreated >= {hour.start} AND timecreated < {hour.end})",
    )


def repair(site: SampleInstallation) -> None:
    execute(
        site,
        f"DELETE FROM {LOG} WHERE rowid NOT IN (SELECT min(rowid) FROM {LOG} GROUP BY id)",
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SampleInstallation]:
    with sample_installation(tmp_path) as found:
        repeat_a_row(found, BAD)
        yield found


def counts(site: SampleInstallation, hour: Hour) -> DeliveryCounts:
    (store,) = event_stores(site.settings)
    return DeliveryCounts.from_footer_stats(site.storage.footer_stats(store.results, hour))


def statuses(site: SampleInstallation) -> dict[Hour, str]:
    """What Dagster says of the hours of the event store."""
    assets = emission_assets(build_assets(site.settings))
    keys = [hour.key for hour in HOURS]
    with open_instance() as instance:
        found = instance.get_status_by_partition(
            dg.AssetKey("emission_results"), keys, assets.partitions_def
        )
    return {hour: str(found[hour.key] and found[hour.key].value) for hour in HOURS}


def failed_check(result: dg.ExecuteInProcessResult) -> str:
    (check,) = (
        it
        for it in result.get_asset_check_evaluations()
        if it.asset_key == dg.AssetKey("emission_results")
    )
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR
    return str(check.description)


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = (event for event in result.all_events if event.is_step_failure)
    return str(event.step_failure_data.user_failure_data.description)


def assert_only_the_others_arrived(site: SampleInstallation, times: int = 1) -> None:
    arrived = site.arrived()
    expected = sum(counts(site, hour).acknowledged for hour in OTHERS)
    assert arrived.events == expected > 0
    assert arrived.received == times * expected
    assert all(counts(site, hour).outstanding == 0 for hour in HOURS)
    bad = counts(site, BAD)
    assert (bad.is_withheld, bad.acknowledged) == (True, 0)
    assert bad.events == sum(bad.withheld.values())


def test_a_run_of_the_web_ui_and_one_of_emission_results_alone(site: SampleInstallation) -> None:
    """The job of the latter sends everything again, and the bad hour not even then."""
    for times, job in ((1, CHAIN_JOB), (2, RESEND_JOB)):
        result = site.run(job, HOURS)
        assert not result.success
        assert failure(result).startswith(TOLD)
        assert "withheld events in 1 of 4 hours" in failed_check(result)
        assert str(BAD) in failed_check(result)
        assert statuses(site) == {
            hour: "FAILED" if hour == BAD else "MATERIALIZED" for hour in HOURS
        }
        assert_only_the_others_arrived(site, times)


def test_the_commands_and_the_repair(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", *RANGE]) == 2
    assert TOLD in capsys.readouterr().err
    assert_only_the_others_arrived(site)
    assert main(["resend", *RANGE]) == 2
    assert TOLD in capsys.readouterr().err
    assert_only_the_others_arrived(site)
    repair(site)
    assert main(["backfill", *RANGE]) == 0
    assert set(statuses(site).values()) == {"MATERIALIZED"}
    arrived = site.arrived()
    assert counts(site, BAD).acknowledged == counts(site, BAD).events > 0
    assert arrived.events == arrived.received == sum(counts(site, it).events for it in HOURS)


def assert_follow_sends_only_the_others(site: SampleInstallation, told: str) -> None:
    with (
        environment({**site.environment, "CALIPER_SEND_IMMEDIATELY": "true"}),
        pytest.MonkeyPatch.context() as patch,
        open_instance() as instance,
    ):
        patch.setattr("caliper_dagster.operations.follow.time.time", lambda: float(BAD.end - 1))
        follower = Follower(RunContext(instance, site.settings))
        (run,) = follower.look()
        assert run.failure is not None
        assert run.failure.startswith(told)
        assert site.arrived().events == 0
        patch.setattr("caliper_dagster.operations.follow.time.time", lambda: float(BAD.end + 3599))
        assert sum(run.delivery.sent for run in follower.look()) == site.arrived().events > 0


@contextmanager
def second_event_store(site: SampleInstallation) -> Iterator[None]:
    """Two event stores, `one` and `two`, which get the same events."""
    url = site.environment["CALIPER_EVENT_STORE_URL"]
    file = site.folder / "stores.yaml"
    store = {"url": {"env": "URL"}, "api_key": {"env": "CALIPER_API_KEY"}}
    file.write_text(yaml.safe_dump({"one": store, "two": store}))
    given = {**site.environment, "CALIPER_EVENT_STORES": str(file), "URL": url}
    del given["CALIPER_EVENT_STORE_URL"]
    with environment(given):
        yield


def assert_the_sensor_sends_only_the_others(site: SampleInstallation, told: str) -> None:
    """A second event store has all hours in its backlog; the bad one leaves it, too."""
    with second_event_store(site):
        assert failure(site.send_backlog("two", HOURS)).startswith(told)
        assert deferred_hours(site.settings) == {}
        stored = event_stores(site.settings)[1].results
        for hour in HOURS:
            of_hour = DeliveryCounts.from_footer_stats(site.storage.footer_stats(stored, hour))
            assert of_hour.is_withheld == (hour == BAD)
            assert of_hour.acknowledged == (0 if hour == BAD else of_hour.events)


def test_follow(site: SampleInstallation) -> None:
    assert_follow_sends_only_the_others(site, TOLD)


def test_the_sensor_of_a_backlog(site: SampleInstallation) -> None:
    """The hour leaves the backlog, so that the others behind it and later ones are sent."""
    site.run(CHAIN_JOB, HOURS)
    assert_the_sensor_sends_only_the_others(site, TOLD)


def test_a_site_that_upgrades_learns_from_doctor_what_would_be_withheld(
    site: SampleInstallation,
) -> None:
    with environment({**site.environment, "CALIPER_WITHHOLD_INVALID": "false"}):
        # An id that occurs again has never been sent: the ledger could not tell the two apart.
        assert "two events with the same id" in failure(site.run(CHAIN_JOB, HOURS))
        assert "and would be withheld otherwise" in withheld_finding(site)
    site.run(CHAIN_JOB, HOURS)
    assert withheld_finding(site) == (
        f"{counts(site, BAD).events} events of the newest 4 stored hours of caliper_events, among "
        f"them all of 1 hour ({BAD}), are not sent"
    )


def withheld_finding(site: SampleInstallation) -> str:
    (found,) = (it for it in examine([site.settings]) if it.subject == "Withheld")
    assert found.verdict is Verdict.WARNING
    return found.text
