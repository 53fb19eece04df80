"""Runs of the job over ranges of hours: what they materialize, check and send."""

import json

import dagster as dg

from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS, FRAMES, MOODLE_LOG
from caliper_dagster.core.hours import Hour
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster.operations.run_outcome import read_outcome
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
)
from caliper_dagster_tests.unit.dagster.test_assets import CHECKS, FIRST, checks


def numbers(asset: str, hour: Hour) -> dict[str, object]:
    """What stands on the newest materialization of an hour."""
    with open_instance() as instance:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[hour.key])
        records = instance.fetch_materializations(wanted, limit=1).records
    return {name: value.value for name, value in records[0].asset_materialization.metadata.items()}


def test_a_range_is_materialized_hour_by_hour_and_arrives(site: SampleInstallation) -> None:
    result = site.run(CHAIN_JOB, HOURS)

    assert result.success
    assert checks(result) == CHECKS
    total = read_outcome(site.storage, HOURS)
    assert total.account.rows > 100
    assert total.account.unexplained == 0
    assert total.delivery.acknowledged == total.delivery.events == site.arrived().events
    for frame in FRAMES:
        assert all(site.storage.exists(frame, hour) for hour in HOURS)
        for hour in HOURS:
            shown = numbers(frame.name, hour)
            assert shown["dagster/row_count"] == site.storage.read(frame, [hour]).num_rows
            shown.pop("preview", None)  # on the newest hour only
            assert len(json.dumps(shown)) < 1000


def test_an_hour_by_itself_is_the_same_as_in_a_range(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    in_range = site.storage.read(CALIPER_EVENTS, FIRST)
    shown = numbers("caliper_events", FIRST.start)

    alone = site.run(CHAIN_JOB, FIRST)

    assert checks(alone) == CHECKS
    assert site.storage.read(CALIPER_EVENTS, FIRST).equals(in_range)
    measured = {"bytes", "seconds", "lateness (minutes)", "preview"}
    again = numbers("caliper_events", FIRST.start)
    assert {k: v for k, v in shown.items() if k not in measured} == {
        k: v for k, v in again.items() if k not in measured
    }


def test_a_rerun_sends_nothing_and_resending_sends_everything_with_the_same_ids(
    site: SampleInstallation,
) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    first = site.arrived()

    again = site.run(CHAIN_JOB, HOURS)
    assert checks(again) == CHECKS
    assert site.arrived() == first
    shown = numbers("emission_results", FIRST.start)
    assert shown["sent"] == shown["envelopes"] == 0
    assert shown["acknowledged"] == shown["events"] == shown["acknowledged before"]

    assert site.run(RESEND_JOB, HOURS).success
    resent = site.arrived()
    assert resent.events == first.events
    assert resent.received == 2 * first.received

    config = {"ops": {"emission_results": {"config": {"resend_all": True}}}}
    assert site.run(CHAIN_JOB, HOURS, config).success
    assert site.arrived().received == 3 * first.received


def test_a_row_that_goes_missing_is_told(site: SampleInstallation) -> None:
    assert site.run(CHAIN_JOB, HOURS).success
    hour = HOURS.start + 2
    kept = site.storage.read(MOODLE_LOG, [hour])
    site.storage.write(MOODLE_LOG, hour, kept, {"counted": kept.num_rows + 3})

    with open_instance() as instance:
        from caliper_dagster.dagster.build import project_definitions

        result = (
            project_definitions()
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                partition_key=hour.key,
                asset_selection=[dg.AssetKey("caliper_events")],
            )
        )

    found = {check.check_name: check for check in result.get_asset_check_evaluations()}
    check = found["every_row_explained"]
    assert not check.passed
    assert found["every_event_valid"].passed
    assert check.description == f"unexplained rows in 1 of 1 hour: {hour}: 3"
    assert numbers("caliper_events", hour)["unexplained rows"] == 3


def test_what_was_acknowledged_before_a_failure_stays_so(site: SampleInstallation) -> None:
    with environment(dict(site.environment) | {"CALIPER_EVENT_STORE_URL": "http://127.0.0.1:9/x"}):
        failed = site.run(CHAIN_JOB, HOURS)
    assert not failed.success
    assert site.storage.exists(CALIPER_EVENTS, HOURS.start)
    assert not site.storage.exists(EMISSION_RESULTS, HOURS.start)
    assert site.run(CHAIN_JOB, HOURS).success
    assert site.arrived().received == site.arrived().events > 0
