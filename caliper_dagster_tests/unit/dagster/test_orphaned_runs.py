"""Runs whose process has ended are failed."""

import os
from pathlib import Path

import dagster as dg

from caliper_dagster.core.process_identity import process_name
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs


def test_runs_of_other_machines_and_living_processes_are_left_alone(tmp_path: Path) -> None:
    @dg.job
    def nothing() -> None:
        """A run to look at."""

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for process in (f"elsewhere|{os.getpid()}/1", process_name()):
            run = instance.create_run_for_job(nothing, tags={"caliper_dagster/process": process})
            assert not run.is_finished
        instance.create_run_for_job(nothing)
        assert fail_orphaned_runs(instance) == 0
        gone = process_name().rpartition("/")[0] + "/0"
        dead = instance.create_run_for_job(nothing, tags={"caliper_dagster/process": gone})
        assert fail_orphaned_runs(instance) == 1
        assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE
        assert fail_orphaned_runs(instance) == 0
