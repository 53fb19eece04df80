"""The standing checks of a site of which one hour of four was taken."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import dagster as dg
import pytest

from caliper_dagster.core.hours import HourRange
from caliper_dagster.dagster import standing_checks
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.standing_checks import (
    FAILED_HOURS_RETRIED,
    FEW_FALLBACK_ROWS,
    FEW_UNRESOLVED_ROWS,
    NEWEST_HOUR_RECENT,
    NO_BACKLOG,
    NOT_EVALUATED,
    ROWS_TAKEN_BEFORE_PURGE,
    STANDING_JOB,
)
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import END, HOURS, SampleInstallation

DAY = 86_400


def evaluate(site: SampleInstallation, now: float, **settings: str) -> dict[str, str | None]:
    """What each check finds wrong at a time; None for one that passes."""
    with (
        environment({**site.environment, **settings}),
        open_instance() as instance,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(standing_checks, "time", lambda: now)
        job = build_definitions().resolve_job_def(STANDING_JOB)
        result = job.execute_in_process(instance=instance)
        assert result.success
        found = result.get_asset_check_evaluations()
    assert all(check.passed == (check.description is None) for check in found)
    return {check.check_name: check.description for check in found}


def keep_log(site: SampleInstallation, days: int) -> None:
    """Set ``loglifetime``."""
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection, connection:
        connection.execute(
            "CREATE TABLE mdl_config_plugins "
            "(id INTEGER PRIMARY KEY, plugin TEXT, name TEXT, value TEXT)"
        )
        connection.execute(
            "INSERT INTO mdl_config_plugins (plugin, name, value) "
            "VALUES ('logstore_standard', 'loglifetime', ?)",
            (str(days),),
        )


def test_what_is_wrong_with_the_hours(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HourRange(HOURS.start, HOURS.start + 1)).success
    soon = evaluate(site, HOURS.start.end + 700)
    assert soon == dict.fromkeys(soon)
    assert {
        FAILED_HOURS_RETRIED,
        NEWEST_HOUR_RECENT,
        NO_BACKLOG,
        ROWS_TAKEN_BEFORE_PURGE,
        FEW_FALLBACK_ROWS,
        FEW_UNRESOLVED_ROWS,
    } == set(soon)

    keep_log(site, 8)
    late = evaluate(site, END.start + 2 * DAY)
    assert late[NEWEST_HOUR_RECENT] == (
        "The newest hour is 2026-03-02T08:00Z: 51 hours have passed, and at most 3 may."
    )
    assert str(late[ROWS_TAKEN_BEFORE_PURGE]).startswith(
        "Moodle deletes log rows that were not taken: the hour 2026-03-02T09:00Z from "
        "2026-03-10 09:00 UTC on (loglifetime is 8 days)."
    )
    assert (
        evaluate(site, END.start + 700, CALIPER_CHECK_PURGE_DAYS="1")[ROWS_TAKEN_BEFORE_PURGE]
        is None
    )

    # An old hour that is materialized again does not make the newest hour recent.
    assert site.run(CHAIN_JOB, HourRange(HOURS.start, HOURS.start + 1)).success
    assert evaluate(site, END.start + 2 * DAY)[NEWEST_HOUR_RECENT] == late[NEWEST_HOUR_RECENT]


def test_a_check_that_cannot_be_evaluated_leaves_the_others(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    found = evaluate(
        site, END.start + 700, MOODLE_DB_URL=f"sqlite:///{site.folder / 'missing.sqlite'}"
    )
    assert found == dict.fromkeys(found) | {ROWS_TAKEN_BEFORE_PURGE: NOT_EVALUATED}


def test_a_day_with_many_rows_that_refer_to_nothing(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    found = evaluate(site, END.start + 700, CALIPER_CHECK_UNRESOLVED="0.1")
    assert found[FEW_UNRESOLVED_ROWS] == (
        "55 of the 375 log rows of the last 24 hours refer to records that Moodle's database does "
        "not have: 15%, and at most 10% may."
    )
    assert found[FEW_FALLBACK_ROWS] is None


def test_a_failed_hour_that_no_sensor_retries(site: SampleInstallation) -> None:
    with environment({**site.environment, "CALIPER_EVENT_STORE_URL": "http://127.0.0.1:9/c"}):
        assert not site.run(CHAIN_JOB, HOURS).success
    found = evaluate(site, END.start + 700)
    assert str(found[FAILED_HOURS_RETRIED]).startswith(
        "4 hours failed and are not retried, the first of them 2026-03-02T08:00Z"
    )
    assert str(found[NO_BACKLOG]).startswith("4 hours wait since")
    assert site.run(CHAIN_JOB, HOURS).success
    found = evaluate(site, END.start + 700)
    assert found == dict.fromkeys(found)


def test_jobs_of_the_chain_leave_the_standing_checks_out() -> None:
    definitions = build_definitions()
    steps = {node.name for node in definitions.resolve_job_def(CHAIN_JOB).graph.nodes}
    assert steps == {"moodle_log", "expanded_log", "caliper_events", "emission_results"}
    job = definitions.resolve_job_def(STANDING_JOB)
    assert job.executor_def is dg.in_process_executor
    assert [node.name for node in job.graph.nodes] == ["evaluate_standing_checks"]
