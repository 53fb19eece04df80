"""Runs of the command line whose process no longer exists."""

from __future__ import annotations

import dagster as dg

from caliper_dagster.core.process_identity import is_gone
from caliper_dagster.dagster.tags import PROCESS_TAG, read_tag

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def fail_orphaned_runs(instance: dg.DagsterInstance) -> int:
    """Report runs as failed whose process on this machine has died, and free their pool slots.

    A killed process cannot report the end of its run. Dagster would show the run as started for
    ever, and the run would keep its pool slots, for which the next run would wait.

    Returns:
        The number of such runs.
    """
    orphaned = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        # A run that was executed again in the web UI has the tags of the first one, but no process
        # of ours.
        if run.parent_run_id is None and is_gone(read_tag(run.tags, PROCESS_TAG)):
            instance.report_run_failed(run, "The process of this run no longer exists.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            orphaned += 1
    return orphaned
