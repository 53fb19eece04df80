from datetime import UTC, datetime

import dagster as dg
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour
from caliper_dagster.dagster.build import build_definitions, project_definitions
from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster.dagster.partitions import hourly_partitions
from caliper_dagster.dagster.tags import LATE_ROWS_SENSOR, RESEND_ALL_TAG


@pytest.mark.parametrize("immediately", ["false", "true"])
def test_the_schedule_takes_the_hour_that_has_just_ended(immediately: str) -> None:
    definitions = build_definitions(
        Settings.from_environment(
            {
                "CALIPER_START": "2026-01-01",
                "CALIPER_SCHEDULE_LAG": "20",
                "CALIPER_SEND_IMMEDIATELY": immediately,
            }
        )
    )
    schedule = definitions.resolve_schedule_def(f"{CHAIN_JOB}_schedule")
    assert schedule.cron_schedule == "20 * * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    for hour, asked in ((3, ["2026-03-01-02:00"]), (0, ["2026-02-28-23:00"])):
        assert requested(definitions, datetime(2026, 3, 1, hour, 20, tzinfo=UTC)) == asked
    assert requested(definitions, datetime(2026, 1, 1, 0, 20, tzinfo=UTC)) == []


def requested(definitions: dg.Definitions, time: datetime) -> list[str | None]:
    """The partitions that the schedule asks for at a time."""
    schedule = definitions.resolve_schedule_def(f"{CHAIN_JOB}_schedule")
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_schedule_context(
            instance, time, repository_def=definitions.get_repository_def()
        ) as context,
    ):
        return [request.partition_key for request in schedule.evaluate_tick(context).run_requests]


@pytest.mark.parametrize(
    ("given", "schedule", "sensor"),
    [
        ({}, "STOPPED", "STOPPED"),
        ({"CALIPER_AUTOMATION": "true"}, "RUNNING", "RUNNING"),
        ({"CALIPER_SEND_IMMEDIATELY": "true"}, "STOPPED", "RUNNING"),
    ],
)
def test_what_is_on_from_the_start(given: dict[str, str], schedule: str, sensor: str) -> None:
    definitions = build_definitions(Settings.from_environment(given))
    found = definitions.resolve_schedule_def(f"{CHAIN_JOB}_schedule")
    assert found.default_status.value == schedule
    (watching,) = (s for s in definitions.sensors or [] if s.name == LATE_ROWS_SENSOR)
    assert isinstance(watching, dg.SensorDefinition)
    assert watching.default_status.value == sensor
    assert watching.minimum_interval_seconds == (5 if "CALIPER_SEND_IMMEDIATELY" in given else 30)


def test_the_hour_in_progress_is_a_partition_only_when_it_is_sent() -> None:
    now = datetime(2026, 3, 1, 3, 20, tzinfo=UTC)
    for in_progress, last in ((False, "2026-03-01-02:00"), (True, "2026-03-01-03:00")):
        partitions = hourly_partitions(Hour.from_key("2026-03-01-00:00"), in_progress=in_progress)
        assert partitions.get_partition_keys(current_time=now)[-1] == last


def test_the_jobs_run_in_one_process() -> None:
    definitions = project_definitions(Settings())
    for name in (CHAIN_JOB, RESEND_JOB):
        assert definitions.resolve_job_def(name).executor_def is dg.in_process_executor
    implicit = definitions.resolve_implicit_global_asset_job_def()
    assert implicit.executor_def is dg.in_process_executor


def test_the_resend_job_only_sends() -> None:
    job = build_definitions(Settings()).resolve_job_def(RESEND_JOB)
    assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {
        "emission_results"
    }
    assert job.run_tags[RESEND_ALL_TAG] == "true"
