"""A night in which the event store is down: somebody is told once, and again when it is over.

Time is that of the ticks; the runs, the Dagster instance, the event store, the mail server and the
webhook are real.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)

from caliper_dagster.config.alerts import EMAIL, WEBHOOKS
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster import standing_checks
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.instance.evaluations import latest_evaluation
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.retention import RETENTION_JOB
from caliper_dagster.dagster.sensors import alerts
from caliper_dagster.dagster.sensors.alerts import ALERTS_SENSOR
from caliper_dagster.dagster.standing_checks import (
    FAILED_HOURS_RETRIED,
    NEWEST_HOUR_RECENT,
    NO_BACKLOG,
    STANDING_JOB,
    STANDING_SENSOR,
)
from caliper_dagster.dagster.tags import LATE_ROWS_SENSOR
from caliper_dagster.embedded.event_store import running
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.operations.run_outcome import read_outcome
from caliper_dagster_tests.end_to_end.test_sensors import Daemon, sensor_named
from caliper_dagster_tests.harness.alert_receivers import (
    MailServer,
    Webhook,
    mail_server,
    webhook,
)
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.resources import named_resources
from caliper_dagster_tests.harness.sample_installation import KEY, SampleInstallation

NIGHT = HourRange(Hour.from_key("2026-03-02-00:00"), Hour.from_key("2026-03-02-06:00"))
DOWN = HourRange(Hour.from_key("2026-03-02-02:00"), Hour.from_key("2026-03-02-06:00"))
RESULTS = dg.AssetKey("emission_results")


class Night(Daemon):
    """Stands for Dagster's daemon: ticks schedule and sensors and makes the runs they ask for.

    Attributes:
        cursors: the cursors of the sensors apart from ``late_rows``, by name.
    """

    def __init__(self, site: SampleInstallation, now: float) -> None:
        super().__init__(site, now)
        self.cursors: dict[str, str | None] = {}

    def hour(self, hour: Hour) -> None:
        """The time from an hour's end to the end of the next one."""
        self.now = float(hour.end)
        self.scheduled_run(hour)
        for _ in range(5):
            self.tick(600)
            self.remember_late_rows()
            self.checks()
            self.alerts()

    def scheduled_run(self, hour: Hour) -> None:
        """The tick that takes the hour, and its run."""
        name = f"{CHAIN_JOB}_schedule"
        with open_instance() as instance:
            definitions = build_definitions()
            schedule = definitions.resolve_schedule_def(name)
            moment = datetime.fromtimestamp(hour.end + 600, UTC)
            with dg.build_schedule_context(
                instance, moment, repository_def=definitions.get_repository_def()
            ) as context:
                (request,) = schedule.evaluate_tick(context).run_requests or []
            definitions.resolve_job_def(CHAIN_JOB).execute_in_process(
                instance=instance,
                raise_on_error=False,
                partition_key=request.partition_key,
                tags={**request.tags, "dagster/schedule_name": name},
            )

    def remember_late_rows(self) -> None:
        """Keep the cursor of ``late_rows`` where the daemon keeps it."""
        repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("night"), "night")
        origin = RemoteInstigatorOrigin(repository, LATE_ROWS_SENSOR)
        state = InstigatorState(
            origin,
            InstigatorType.SENSOR,
            InstigatorStatus.RUNNING,
            SensorInstigatorData(cursor=self.cursor),
        )
        with open_instance() as instance:
            known = instance.get_instigator_state(origin.get_id(), origin.get_selector().get_id())
            if known is None:
                instance.add_instigator_state(state)
            else:
                instance.update_instigator_state(state)

    def checks(self) -> None:
        """Evaluate the standing checks if their sensor asks for that."""
        with (
            open_instance() as instance,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(standing_checks, "time", lambda: self.now)
            requests = self.sensor(instance, STANDING_SENSOR).run_requests or []
            for _ in requests:
                job = build_definitions().resolve_job_def(STANDING_JOB)
                assert job.execute_in_process(instance=instance).success

    def alerts(self) -> str:
        """One tick of the sensor of alerts; what the list of ticks says."""
        with open_instance() as instance:
            return self.sensor(instance, ALERTS_SENSOR).skip_message or ""

    def sensor(self, instance: dg.DagsterInstance, name: str) -> dg.SensorExecutionData:
        definitions = build_definitions()
        given = named_resources(self.site.settings)
        with dg.build_sensor_context(
            instance=instance,
            cursor=self.cursors.get(name),
            definitions=definitions,
            resources=given if name == ALERTS_SENSOR else None,
        ) as context:
            result = sensor_named(definitions, name).evaluate_tick(context)
        self.cursors[name] = result.cursor
        return result


class Outage:
    """An event store that can be switched off and on again at its address."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack, self.port = folder, ExitStack(), free_port()

    def on(self) -> str:
        """Switch it on; its URL."""
        return self._stack.enter_context(
            running(self._folder / "event_store.sqlite", KEY, self.port)
        )

    def off(self) -> None:
        self._stack.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Outage]:
    found = Outage(tmp_path)
    yield found
    found.off()


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as server:
        yield server


@pytest.fixture
def night(tmp_path: Path, store: Outage, mail: MailServer, hook: Webhook) -> Iterator[Night]:
    sample = tmp_path / "moodle.sqlite"
    summary = write_sample(sample, students=5, hours=len(NIGHT), seed=7, end=NIGHT.end)
    settings = {
        "MOODLE_DB_URL": f"sqlite:///{sample}",
        "MOODLE_WWWROOT": summary.wwwroot,
        "CALIPER_EVENT_STORE_URL": store.on(),
        "CALIPER_API_KEY": KEY,
        "CALIPER_START": f"{NIGHT.start.datetime:%Y-%m-%dT%H}",
        "CALIPER_ATTEMPTS": "1",
        "CALIPER_WEB_UI_URL": "https://dagster.example.org",
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        EMAIL: "moodle@example.org",
        "CALIPER_SMTP_PORT": str(mail.port),
        "CALIPER_SMTP_SECURITY": "none",
        WEBHOOKS[1]: f"{hook.url}/slack/T0KEN",
    }
    with environment(settings):
        yield Night(SampleInstallation(tmp_path, settings), NIGHT.start.end)


def evaluation(name: str) -> dg.AssetCheckEvaluation:
    """The last evaluation of a check of ``emission_results``."""
    with open_instance() as instance:
        latest = latest_evaluation(instance, dg.AssetCheckKey(RESULTS, name))
    assert latest is not None
    return latest[0]


def test_a_night_without_event_store(
    night: Night, store: Outage, mail: MailServer, hook: Webhook
) -> None:
    told: dict[Hour, int] = {}
    for hour in NIGHT:
        if hour.end == DOWN.start.start:
            store.off()
            hook.status = 503
        if hour.end == DOWN.end.start:
            assert evaluation(NO_BACKLOG).description == (
                "4 hours wait since 2026-03-02 02:00 UTC, the first of them 2026-03-02T01:00Z, the "
                "last 2026-03-02T04:00Z."
            )
            assert evaluation(NO_BACKLOG).metadata["hours"].value == 4
            assert not evaluation(NEWEST_HOUR_RECENT).passed
            assert evaluation(FAILED_HOURS_RETRIED).passed
            store.on()
        night.hour(hour)
        told[hour] = len(mail.messages)
        if hour.end == DOWN.start.start:
            assert "CALIPER_ALERT_SLACK answered with HTTP status 503" in night.alerts()
            hook.status = 200  # It is told at the next look.

    assert [*told.values()] == [0, 1, 1, 1, 1, 2]
    first, last = (message.get_content() for message in mail.messages)
    assert "failed in the step emission_results, hours 2026-03-02T01:00Z to" in first
    assert "https://dagster.example.org/runs/" in first
    assert "The hours 2026-03-02T01:00Z to 2026-03-02T05:00Z have been processed" in last
    assert [body["text"].split(":")[0] for _, body in hook.taken] == ["*Failure", "*Over"]
    for text in (first, last, str(hook.taken)):
        assert KEY not in text
        assert "T0KEN" not in text.replace("/slack/T0KEN", "")

    for name in (NO_BACKLOG, NEWEST_HOUR_RECENT, FAILED_HOURS_RETRIED):
        assert evaluation(name).passed
    total, arrived = read_outcome(night.site.storage, NIGHT), night.site.arrived()
    assert arrived.events == arrived.received == total.delivery.events > 0
    assert night.alerts() == "Nothing new to tell."


def test_a_process_that_is_killed_tells_again(
    night: Night, store: Outage, mail: MailServer
) -> None:
    """Dagster keeps the cursor after the tick: what was told before that is told again."""
    night.scheduled_run(NIGHT.start)
    store.off()
    night.scheduled_run(NIGHT.start + 1)
    assert night.alerts() == "Sent 2 alerts."
    night.cursors.clear()
    assert night.alerts() == "Sent 2 alerts."
    assert night.alerts() == "Nothing new to tell."
    assert len({message["Subject"] for message in mail.messages}) == 1


def test_an_hour_that_failed_once_and_is_busy_again_is_not_told_again(
    night: Night, store: Outage, mail: MailServer
) -> None:
    hour = NIGHT.start
    store.off()
    night.scheduled_run(hour)
    assert night.alerts() == "Sent 2 alerts."
    store.on()
    night.scheduled_run(hour)
    assert night.alerts() == "Sent 2 alerts."

    job = build_definitions().resolve_job_def(CHAIN_JOB)
    with open_instance() as instance:
        instance.create_run_for_job(
            job, tags={"dagster/partition": hour.key}, status=dg.DagsterRunStatus.STARTED
        )
    assert night.alerts() == "Nothing new to tell."
    assert len(mail.messages) == 2


def test_a_failed_run_of_the_retention_is_told(night: Night, mail: MailServer) -> None:
    job = build_definitions().resolve_job_def(RETENTION_JOB)
    with open_instance() as instance:
        instance.report_run_failed(instance.create_run_for_job(job))
    assert night.alerts() == "Sent 2 alerts."
    assert "A run of the job retention failed" in mail.messages[0].get_content()


def test_many_failed_runs_are_looked_at_in_several_ticks(
    night: Night, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ended within the time that each look repeats."""
    monkeypatch.setattr(alerts, "_RUNS_PER_LOOK", 2)
    definitions = build_definitions()
    jobs = [definitions.resolve_job_def(name) for name in (STANDING_JOB, RETENTION_JOB)]
    with open_instance() as instance:
        for job in [*[jobs[0]] * 4, jobs[1]]:
            instance.report_run_failed(instance.create_run_for_job(job))
    ticks = [night.alerts() for _ in range(4)]
    assert ticks == ["Sent 2 alerts.", "Nothing new to tell.", "Sent 2 alerts.", ticks[1]]
    assert len(mail.messages) == 2
