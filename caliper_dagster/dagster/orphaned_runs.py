"""Runs whose process is gone."""

from __future__ import annotations

import dagster as dg

from caliper_dagster.core.process_identity import is_gone

PROCESS_TAG = "caliper_dagster/process"


_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def fail_orphaned_runs(instance: dg.DagsterInstance) -> int:
    """Report runs as failed whose process on this machine is gone, and free what they hold.

    A process that was killed cannot say so: its run would look as if it went on for ever, and keep
    its place in the pools, for which the next run would wait.

    Returns:
        How many there were.
    """
    dead = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if is_gone(run.tags.get(PROCESS_TAG, "")):
            instance.report_run_failed(run, "The process of this run is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead += 1
    return dead
