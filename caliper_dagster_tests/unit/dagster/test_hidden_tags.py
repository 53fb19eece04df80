"""Tags that no person needs are hidden in the web UI; those of earlier releases are still read."""

import dagster as dg
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.process_identity import process_name
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.dagster.tags import PROCESS_TAG
from caliper_dagster.operations.backfill_plan import plan_backfill

FIRST = Hour.from_key("2026-03-02-08:00")
GONE = process_name().rpartition("/")[0] + "/0"
EARLIER = {"caliper_dagster/process", "caliper_dagster/backfill", "caliper_dagster/begun"}


def recorded(
    instance: dg.DagsterInstance,
    status: dg.DagsterRunStatus,
    tags: dict[str, str],
    parent: str | None = None,
) -> str:
    run = dg.DagsterRun("any", status=status, tags=tags, parent_run_id=parent, root_run_id=parent)
    return instance.add_run(run).run_id


@pytest.mark.parametrize("tag", [PROCESS_TAG, "caliper_dagster/process"])
def test_a_run_whose_process_is_gone_is_failed_but_not_one_that_executes_it_again(tag: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = recorded(instance, dg.DagsterRunStatus.STARTED, {tag: GONE})
        # The web UI copies the tags.
        recorded(instance, dg.DagsterRunStatus.STARTED, {tag: GONE}, parent=first)
        assert fail_orphaned_runs(instance) == 1
        failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert [run.run_id for run in failed] == [first]


@pytest.mark.parametrize("of_an_earlier_release", [False, True])
def test_a_backfill_goes_on_after_an_upgrade(of_an_earlier_release: bool) -> None:
    settings = Settings.from_environment({"CALIPER_EVENT_STORE_URL": "https://store.example.org"})
    hours = HourRange(FIRST, FIRST + 4)
    with dg.DagsterInstance.ephemeral() as instance:
        tags = dict(plan_backfill(instance, settings, hours).tags)
        assert all(tag.startswith(".dagster/") for tag in tags)
        if of_an_earlier_release:
            tags = {tag.removeprefix(".dagster/"): value for tag, value in tags.items()}
            assert tags.keys() < EARLIER
        done = HourRange(FIRST, FIRST + 1)
        recorded(instance, dg.DagsterRunStatus.SUCCESS, tags | range_tags(done))
        plan = plan_backfill(instance, settings, hours)
    assert plan.completed == (done,)
    assert plan.remaining == (HourRange(FIRST + 1, FIRST + 4),)
