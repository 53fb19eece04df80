"""Runs over the hour in progress that a later run has superseded."""

from __future__ import annotations

import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.dagster.instance.run_files import delete_run
from caliper_dagster.dagster.jobs import site_tags
from caliper_dagster.dagster.partitions import hour_keys_of_tags
from caliper_dagster.dagster.tags import REASON_TAG
from caliper_dagster.delivery.watch_state import Reason

_RUNS_PER_CALL = 100


def delete_superseded_runs(instance: dg.DagsterInstance, settings: Settings) -> int:
    """Delete a site's successful runs over the hour in progress that a later one has superseded.

    There are hundreds of them per hour, and Dagster deletes no runs by itself. The ledger records
    what was sent, and the last run of each hour stays.

    Returns:
        The number of deleted runs, at most 100 per call.
    """
    succeeded = dg.RunsFilter(
        tags={REASON_TAG: Reason.NEW_ROWS.value, **site_tags(settings)},
        statuses=[dg.DagsterRunStatus.SUCCESS],
    )
    # The newest run comes first. Only a run over a single hour supersedes others.
    superseding: set[str] = set()
    deleted = 0
    for run in instance.get_runs(succeeded, limit=_RUNS_PER_CALL):
        hours = hour_keys_of_tags(run.tags)
        if hours <= superseding:
            delete_run(instance, run.run_id)
            deleted += 1
        if len(hours) == 1:
            superseding |= hours
    return deleted
