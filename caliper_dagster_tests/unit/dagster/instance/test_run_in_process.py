"""Runs of commands are recorded as those that Dagster launches from its code location."""

import dagster as dg
import pytest

from caliper_dagster.dagster.instance.run_in_process import run_in_process


@dg.asset
def first() -> None:
    """An asset."""


@dg.asset
def second() -> None:
    """Another one."""


def job() -> dg.JobDefinition:
    both = dg.define_asset_job("both", tags={"of": "the job"}, executor_def=dg.in_process_executor)
    return dg.Definitions(assets=[first, second], jobs=[both]).resolve_job_def("both")


def run(instance: dg.DagsterInstance, assets: list[dg.AssetKey] | None = None) -> dg.DagsterRun:
    result = run_in_process(job(), instance, "here", run_config={}, tags={"a": "b"}, assets=assets)
    assert result.success
    recorded = instance.get_run_by_id(result.run_id)
    assert recorded is not None
    return recorded


def materialized(instance: dg.DagsterInstance) -> set[dg.AssetKey]:
    return {
        asset.key
        for asset in (first, second)
        if instance.get_latest_materialization_event(asset.key) is not None
    }


def test_a_run_names_its_code_location_and_the_job_that_is_loaded_there() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        recorded = run(instance)
        assert materialized(instance) == {first.key, second.key}
    origin = recorded.remote_job_origin
    assert origin is not None
    assert (origin.location_name, origin.job_name) == ("here", "both")
    assert origin.repository_origin.repository_name == "__repository__"
    assert recorded.job_snapshot_id == job().get_job_snapshot_id()
    expected = {"a": "b", "of": "the job", "dagster/code_location": "here"}
    assert expected.items() <= recorded.tags.items()


def test_a_run_of_some_assets_names_the_job_that_they_belong_to() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        recorded = run(instance, [second.key])
        snapshot = instance.get_job_snapshot(str(recorded.job_snapshot_id))
        assert materialized(instance) == {second.key}
    assert snapshot.lineage_snapshot is not None
    assert snapshot.lineage_snapshot.parent_snapshot_id == job().get_job_snapshot_id()


def test_a_run_that_fails_is_told_as_one() -> None:
    @dg.op
    def fail() -> None:
        raise dg.Failure("the reason")

    @dg.job(executor_def=dg.in_process_executor)
    def failing() -> None:
        fail()

    with dg.DagsterInstance.ephemeral() as instance:
        result = run_in_process(failing, instance, "here", run_config={}, tags={})
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_key == "fail"


def test_where_dagster_lacks_what_this_needs_the_run_is_made_without_its_code_location(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def with_other_parameters(run: object) -> None:
        """As a later patch of Dagster may have it."""

    monkeypatch.setattr("dagster._core.execution.api.execute_run", with_other_parameters)
    with dg.DagsterInstance.ephemeral() as instance:
        recorded = run(instance, [second.key])
        assert materialized(instance) == {second.key}
    assert recorded.remote_job_origin is None
    assert recorded.tags["a"] == "b"
