"""What schedule and sensor do without a person: a store that was down, and a course that came back.

Time is that of the ticks; the runs, the Dagster instance, the servers and the event store are real.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa

from caliper_dagster.core.frames import CALIPER_EVENTS, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.embedded.event_store import running
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.operations.run_outcome import read_outcome
from caliper_dagster_tests.end_to_end.test_sensors import COLUMNS, LOG, NOWHERE, Daemon
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import HOURS as COUNTED_FROM
from caliper_dagster_tests.harness.sample_installation import KEY, SampleInstallation, copy_site

DAY = HourRange(Hour.from_key("2026-03-01-12:00"), Hour.from_key("2026-03-02-13:00"))
"""An hour in which all is well, and the 24 in which the event store is down."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SampleInstallation]:
    sample = tmp_path / "moodle.sqlite"
    summary = write_sample(sample, students=5, hours=len(DAY), seed=7, end=DAY.end)
    with running(tmp_path / "event_store.sqlite", KEY) as url:
        settings = {
            "MOODLE_DB_URL": f"sqlite:///{sample}",
            "MOODLE_WWWROOT": summary.wwwroot,
            "CALIPER_EVENT_STORE_URL": url,
            "CALIPER_API_KEY": KEY,
            "CALIPER_START": f"{DAY.start.datetime:%Y-%m-%dT%H}",
            "CALIPER_ATTEMPTS": "1",
            "DAGSTER_HOME": str(tmp_path / "dagster"),
        }
        with environment(settings):
            yield SampleInstallation(tmp_path, settings)


def run_the_schedule(daemon: Daemon, hour: Hour) -> bool:
    """The tick that takes the hour, and the run it asks for; whether that went well."""
    moment = datetime.fromtimestamp(hour.end + 600, UTC)
    with (
        environment({**daemon.site.environment, **daemon.settings}),
        open_instance() as instance,
    ):
        definitions = build_definitions()
        schedule = definitions.resolve_schedule_def(f"{CHAIN_JOB}_schedule")
        with dg.build_schedule_context(
            instance, moment, repository_def=definitions.get_repository_def()
        ) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        assert request.partition_key == hour.key
        job = definitions.resolve_job_def(CHAIN_JOB)
        return job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            partition_key=request.partition_key,
            tags=request.tags,
        ).success


def test_a_store_that_was_down_for_a_day_gets_every_hour_without_a_person(
    site: SampleInstallation,
) -> None:
    daemon = Daemon(site, DAY.start.end + 600)
    assert run_the_schedule(daemon, DAY.start)
    assert daemon.tick() == []
    before = site.arrived()

    daemon.settings = NOWHERE
    for hour in list(DAY)[1:]:
        assert not run_the_schedule(daemon, hour)
        daemon.now = float(hour.end + 620)
        daemon.tick()
    assert not any(daemon.succeeded)
    assert site.arrived() == before

    daemon.settings, tries = {}, len(daemon.succeeded)
    hours = 0
    while daemon.memory.frontier < DAY.end.number:
        hours += 1
        assert hours < 200, "it does not come to an end"
        daemon.tick(60)
    assert all(daemon.succeeded[tries:])
    total, arrived = read_outcome(site.storage, DAY), site.arrived()
    assert total.account.unexplained == 0
    assert arrived.events == arrived.received == total.delivery.acknowledged
    assert arrived.events == total.delivery.events > before.events
    assert [daemon.tick() for _ in range(3)] == [[]] * 3


@pytest.fixture
def old(tmp_path: Path, mariadb_url: str) -> Iterator[SampleInstallation]:
    """A site on MariaDB whose hours of two years ago were sent, and the last complete one."""
    now = Hour.of(time.time())
    morning = now + (9 - 17_520 - now.number % 24)  # at night an hour may have no row
    then = HourRange(morning, morning + 6)
    sample = tmp_path / "moodle.sqlite"
    summary = write_sample(sample, students=20, hours=len(then), seed=3, end=then.end)
    copy_site(f"sqlite:///{sample}", mariadb_url)
    with running(tmp_path / "event_store.sqlite", KEY) as url:
        settings = {
            "MOODLE_DB_URL": mariadb_url,
            "MOODLE_WWWROOT": summary.wwwroot,
            "CALIPER_EVENT_STORE_URL": url,
            "CALIPER_API_KEY": KEY,
            "CALIPER_START": f"{then.start.datetime:%Y-%m-%dT%H}",
            "DAGSTER_HOME": str(tmp_path / "dagster"),
        }
        with environment(settings):
            found = SampleInstallation(tmp_path, settings)
            assert found.run(CHAIN_JOB, then).success
            assert found.run(CHAIN_JOB, HourRange(now + -1, now)).success
            yield found


def change(site: SampleInstallation, statement: str, **values: object) -> int:
    """Change the log; how many rows were."""
    engine = sa.create_engine(site.environment["MOODLE_DB_URL"], poolclass=sa.NullPool)
    with engine.begin() as connection:
        return connection.execute(sa.text(statement), values).rowcount


def test_a_restored_course_reopens_only_its_hours_and_sends_only_its_rows(
    old: SampleInstallation,
) -> None:
    daemon = Daemon(old, Hour.of(time.time()).start + 700)
    assert daemon.tick() == []
    first = old.settings.start
    last_id = pc.max(old.storage.read(MOODLE_LOG, [first + n for n in range(6)])["id"]).as_py()
    before = old.arrived()

    restored = sum(
        change(
            old,
            f"INSERT INTO {LOG} ({COLUMNS}, timecreated) SELECT {COLUMNS}, :moment FROM {LOG} "
            "WHERE courseid > 1 AND id <= :last ORDER BY id LIMIT 7",
            moment=(first + nth).start + 5,
            last=last_id,
        )
        for nth in (1, 4)
    )
    for nth in (2, 4):  # privacy deletion, in an hour that grew and in one that did not
        assert change(
            old,
            f"DELETE FROM {LOG} WHERE timecreated >= :start AND timecreated < :end AND id % 3 = 0",
            start=(first + nth).start + 6,
            end=(first + nth).end,
        )
    place = first.number - COUNTED_FROM.start.number
    assert daemon.tick() == [f"{place + 1}+1", f"{place + 4}+1"]
    assert daemon.succeeded == [True, True]

    after = old.arrived()
    events = old.storage.read(CALIPER_EVENTS, [first + 1, first + 4], ["log_id", "outcome"])
    new = events.filter(pc.greater(events["log_id"], last_id))
    assert new["outcome"].to_pylist().count("event") == restored == 14
    assert after.received - before.received == new.num_rows
    assert after.received == after.events
    assert [daemon.tick(seconds) for seconds in (30, 600, 600, 600)] == [[]] * 4
    assert old.arrived() == after
    for nth in (1, 4):
        hour = read_outcome(old.storage, HourRange(first + nth, first + nth + 1))
        assert hour.account.unexplained == 0
    with open_instance() as instance:
        found = [
            record.event_log_entry.dagster_event.event_specific_data
            for run in instance.get_runs()
            for record in instance.get_records_for_run(
                run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
            ).records
        ]
    assert len(found) >= 3 * 4
    # What the restored rows refer to need not exist; that is a warning.
    assert {check.check_name for check in found if not check.passed} <= {"most_references_found"}
