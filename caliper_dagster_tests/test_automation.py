from datetime import UTC, datetime

import dagster as dg
import pytest

from caliper_dagster.assets import RESEND_ALL_TAG
from caliper_dagster.automation import CHAIN_JOB, RESEND_JOB
from caliper_dagster.definitions import build_definitions
from caliper_dagster.settings import Settings


# Dagster's own schedule builder calls what Dagster has deprecated.
@pytest.mark.filterwarnings("ignore:.*run_request_for_partition:DeprecationWarning")
def test_the_schedule_takes_the_hour_that_has_just_ended() -> None:
    definitions = build_definitions(
        Settings.from_environment({"CALIPER_START": "2026-01-01", "CALIPER_SCHEDULE_LAG": "20"})
    )
    schedule = definitions.resolve_schedule_def(f"{CHAIN_JOB}_schedule")
    assert schedule.cron_schedule == "20 * * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance,
            datetime(2026, 3, 1, 3, 20, tzinfo=UTC),
            repository_def=definitions.get_repository_def(),
        )
        requests = schedule.evaluate_tick(context).run_requests
    assert [request.partition_key for request in requests] == ["2026-03-01-02:00"]


def test_the_jobs_run_in_one_process() -> None:
    definitions = build_definitions(Settings())
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
