"""What a Dagster instance says about its daemon, and what it lets run at once.

The heartbeats and the limits of pools have no documented interface of their own (see ``storage``).
https://docs.dagster.io/guides/operate/managing-concurrency
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

from caliper_dagster.dagster.instance.run_files import BACKFILL_ID_TAG


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How many runs of an instance may be in progress at once; None: any number.

    Attributes:
        runs: all runs together.
        backfills: runs of backfills.
    """

    runs: int | None
    backfills: int | None


def last_heartbeat(instance: dg.DagsterInstance) -> float | None:
    """When a part of the daemon last reported that it is alive, as Unix time; None for never.

    Each part reports every 30 seconds.
    """
    heartbeats = instance.get_daemon_heartbeats().values()
    return max((heartbeat.timestamp for heartbeat in heartbeats), default=None)


def pool_limits(instance: dg.DagsterInstance, pools: Iterable[str]) -> dict[str, int | None]:
    """How many steps of each pool may be in progress at once; None: any number."""
    chosen = {limit.name: limit.limit for limit in instance.event_log_storage.get_pool_limits()}
    default = instance.get_concurrency_config().pool_config.default_pool_limit
    return {pool: chosen.get(pool, default) for pool in pools}


def run_limits(instance: dg.DagsterInstance) -> RunLimits:
    """The limits of ``concurrency: runs:`` in ``dagster.yaml``."""
    queue = instance.get_concurrency_config().run_queue_config
    if queue is None:
        return RunLimits(None, None)
    backfills = [
        int(limit["limit"])
        for limit in queue.tag_concurrency_limits
        if limit["key"] == BACKFILL_ID_TAG and "value" not in limit
    ]
    # -1 is Dagster's word for any number.
    runs = queue.max_concurrent_runs if queue.max_concurrent_runs >= 0 else None
    return RunLimits(runs, min(backfills, default=None))
