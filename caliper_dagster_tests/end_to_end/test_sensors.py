"""The sensor on a real instance: what it asks for is run, and then it is quiet."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.core.frames import EMISSION_RESULTS, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.sensors import late_rows
from caliper_dagster.dagster.tags import LATE_ROWS_SENSOR
from caliper_dagster.delivery.watch_state import WatchCursor
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.resources import named_resources
from caliper_dagster_tests.harness.sample_installation import (
    END,
    HOURS,
    SampleInstallation,
    sample_installation,
)

LOG = "mdl_logstore_standard_log"
COLUMNS = ", ".join(name for name in MOODLE_LOG.schema.names if name not in ("id", "timecreated"))
NOWHERE = {"CALIPER_EVENT_STORE_URL": "http://127.0.0.1:9/caliper"}


class Daemon:
    """Stands for Dagster's daemon: ticks the sensor and makes the runs that it asks for."""

    def __init__(self, site: SampleInstallation, now: float, **settings: str) -> None:
        self.site, self.now, self.settings = site, now, settings
        self.cursor: str | None = None
        self.keys: set[str] = set()
        self.succeeded: list[bool] = []

    def tick(self, seconds: float = 30) -> list[str]:
        """What is asked for, as ``first hour+number of hours``, counted from ``HOURS.start``."""
        self.now += seconds
        with environment({**self.site.environment, **self.settings}), open_instance() as instance:
            definitions = build_definitions()
            requests = self._ask(definitions, instance)
            for request in requests:
                assert request.run_key not in self.keys
                self.keys.add(str(request.run_key))
                job = definitions.resolve_job_def(CHAIN_JOB)
                result = job.execute_in_process(
                    instance=instance, raise_on_error=False, tags=request.tags
                )
                self.succeeded.append(result.success)
        return [_short(request.tags) for request in requests]

    def _ask(
        self, definitions: dg.Definitions, instance: dg.DagsterInstance
    ) -> list[dg.RunRequest]:
        sensor = sensor_named(definitions, LATE_ROWS_SENSOR)
        given = named_resources(self.site.settings)
        # A context that is left to garbage collection ends what Dagster has opened meanwhile.
        with (
            dg.build_sensor_context(
                instance=instance,
                cursor=self.cursor,
                definitions=definitions,
                resources=given,
            ) as context,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(late_rows, "time", lambda: self.now)
            result = sensor.evaluate_tick(context)
        self.cursor = result.cursor
        return result.run_requests or []

    @property
    def memory(self) -> WatchCursor:
        return WatchCursor.model_validate_json(self.cursor or "")


def sensor_named(definitions: dg.Definitions, name: str) -> dg.SensorDefinition:
    """The sensor of that name."""
    (found,) = (sensor for sensor in definitions.sensors or [] if sensor.name == name)
    assert isinstance(found, dg.SensorDefinition)
    return found


def _short(tags: dict[str, str]) -> str:
    first, last = (
        Hour.from_key(tags[f"dagster/asset_partition_range_{end}"]) for end in ("start", "end")
    )
    return f"{first.number - HOURS.start.number}+{last.number - first.number + 1}"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SampleInstallation]:
    with sample_installation(tmp_path) as found:
        yield found


def execute(site: SampleInstallation, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection, connection:
        connection.execute(statement, values)


def restore(site: SampleInstallation, *hours: Hour, rows: int = 3) -> None:
    """Copy rows into the hours, under new ids: what a restored course does."""
    for hour in hours:
        execute(
            site,
            f"INSERT INTO {LOG} ({COLUMNS}, timecreated) SELECT {COLUMNS}, ? FROM {LOG} "
            f"WHERE timecreated < ? AND courseid > 1 ORDER BY id LIMIT {rows}",
            hour.start + 5,
            END.start,
        )


def test_only_hours_that_grew_are_opened_and_only_once(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    daemon = Daemon(site, END.start + 700, CALIPER_LATE_MARGIN="1")
    assert daemon.tick() == []
    before = site.arrived()

    restore(site, HOURS.start, HOURS.start + 1, HOURS.start + 3)
    execute(site, f"DELETE FROM {LOG} WHERE id % 7 = 0 AND timecreated < ?", HOURS.start.end)
    assert daemon.tick() == ["0+2", "3+1"]
    after = site.arrived()
    assert after.received == after.events >= before.events + 8
    assert [daemon.tick(seconds) for seconds in (30, 70, 70, 70)] == [[]] * 4
    assert site.arrived() == after
    assert daemon.memory.reopened == set()


def test_rows_that_came_late_before_the_first_look_are_found(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    restore(site, HOURS.start + 2)
    assert Daemon(site, END.end).tick() == ["2+1"]


def test_hours_that_were_never_taken_are_not_opened(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HourRange(HOURS.start + 2, HOURS.end)).success
    daemon = Daemon(site, END.end)
    assert daemon.tick() == []
    restore(site, HOURS.start, HOURS.start + 1, HOURS.start + 2)
    assert daemon.tick() == ["2+1"]


def test_hours_that_nobody_took_are_taken_after_a_while(site: SampleInstallation) -> None:
    """The daemon was down when they were due: the schedule does not come back to all of them."""
    assert site.run(CHAIN_JOB, HourRange(HOURS.start, HOURS.start + 1)).success
    daemon = Daemon(site, END.start + 60)
    assert daemon.tick() == ["1+2"]  # the last hour is not due yet
    assert daemon.tick() == []
    assert daemon.tick(600) == []  # due, and left to the schedule
    assert daemon.tick(700) == ["3+1"]
    assert daemon.tick() == []
    assert daemon.memory.frontier == END.number


def test_a_store_that_was_down_gets_every_hour_when_it_is_back(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HourRange(HOURS.start, HOURS.start + 1)).success
    before = site.arrived()
    down = Daemon(site, END.start + 1300, **NOWHERE)
    restore(site, HOURS.start)
    asked = [down.tick() for _ in range(60)]
    runs = sum(map(len, asked))
    assert not any(down.succeeded)
    assert 4 <= runs <= 9  # half an hour
    assert site.arrived() == before

    down.settings = {}
    down.tick(900)  # the longest wait
    while down.tick():
        assert all(down.succeeded[runs:])
    arrived = site.arrived()
    assert arrived.events == arrived.received > before.events
    assert down.memory.reopened == set()
    assert down.memory.frontier == END.number
    assert site.run(CHAIN_JOB, HOURS).success
    assert site.arrived() == arrived


def test_one_bad_hour_holds_up_no_other(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HourRange(HOURS.start, HOURS.start + 1)).success
    bad = Path(site.storage.path(MOODLE_LOG, HOURS.start + 2))
    bad.mkdir(parents=True)
    daemon = Daemon(site, END.start + 1300)
    for _ in range(20):
        daemon.tick(90)
    done = [site.storage.exists(EMISSION_RESULTS, hour) for hour in HOURS]
    assert done == [True, True, False, True]
    bad.rmdir()
    assert daemon.tick(900) == ["2+1"]
    assert site.storage.exists(EMISSION_RESULTS, HOURS.start + 2)
    assert daemon.tick() == []


def test_the_hour_in_progress_is_taken_as_it_grows(site: SampleInstallation) -> None:
    at_once = {"CALIPER_SEND_IMMEDIATELY": "true"}
    with environment({**site.environment, **at_once}):
        assert site.run(CHAIN_JOB, HOURS).success
    daemon = Daemon(site, datetime.now(UTC).timestamp(), **at_once)
    hour = Hour.of(daemon.now)
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection:
        ((low,),) = connection.execute(f"SELECT MAX(id) FROM {LOG}").fetchall()
    daemon.cursor = WatchCursor(
        low=low, high=low, high_since=daemon.now, frontier=hour.number
    ).model_dump_json()
    here = hour.number - HOURS.start.number
    for _ in range(2):
        before = site.arrived().events
        restore(site, hour)
        assert daemon.tick(1) == [f"{here}+1"]
        assert site.arrived().events >= before + 3
        assert daemon.tick(1) == []
    arrived = site.arrived()
    assert arrived.events == arrived.received


def test_looks_at_a_database_that_never_answers_do_not_pile_up(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each keeps a thread of the code server, which has few of them for all sites."""
    outcomes: list[Exception] = []
    with socket.create_server(("127.0.0.1", 0)) as silent, open_instance() as instance:
        url = f"mysql+pymysql://u:p@127.0.0.1:{silent.getsockname()[1]}/m"
        monkeypatch.setenv("MOODLE_DB_URL", url)
        sensor = sensor_named(build_definitions(), LATE_ROWS_SENSOR)
        asked = named_resources(site.settings)

        def look() -> None:
            try:
                with dg.build_sensor_context(instance=instance, resources=asked) as context:
                    sensor.evaluate_tick(context)
            except Exception as error:
                outcomes.append(error)

        looks = [threading.Thread(target=look) for _ in range(5)]
        for thread in looks:
            thread.start()
        deadline = time.monotonic() + 60
        while len(outcomes) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        told = [str(error) for error in outcomes]
        assert told == ["Moodle's database has not answered the previous looks yet."] * 3
    for thread in looks:
        thread.join()
    assert len(outcomes) == len(looks)
