"""What Dagster knows about the hours of the results of all event stores."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

import dagster as dg

from caliper_dagster.core.hours import Hour
from caliper_dagster.dagster.assets import EMISSION

if TYPE_CHECKING:
    from caliper_dagster.delivery.log_watch import Status
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs


class Statuses:
    """What the Dagster instance says of the hours of the results of all event stores.

    Args:
        instance: which is asked.
        assets: the results.
        left: hours left over, by event store: others look after these, they count as done.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        assets: dg.AssetsDefinition,
        left: Mapping[str, Container[Hour]],
    ) -> None:
        self._instance, self._assets, self._left = instance, assets, left

    def __call__(self, hours: set[Hour]) -> Mapping[Hour, Status]:
        """The status of each of the hours."""
        from caliper_dagster.delivery.log_watch import Status

        if not hours:
            return {}
        found = self._statuses(hours)
        if any("IN_PROGRESS" in of_hour for of_hour in found.values()) and fail_orphaned_runs(
            self._instance
        ):
            found = self._statuses(hours)
        ordered = (
            ("IN_PROGRESS", Status.BUSY),
            ("FAILED", Status.FAILED),
            ("", Status.MISSING),
        )
        return {
            hour: next((status for word, status in ordered if word in found[hour]), Status.DONE)
            for hour in hours
        }

    def newest(self) -> Hour | None:
        """The newest hour that was ever materialized."""
        keys = {
            key
            for asset in self._assets.keys
            for key in self._instance.get_materialized_partitions(asset)
        }
        return max(map(Hour.from_key, keys), default=None)

    def _statuses(self, hours: set[Hour]) -> dict[Hour, set[str]]:
        """For each hour the words of Dagster for each event store; none is an empty word."""
        statuses: dict[Hour, set[str]] = {hour: set() for hour in hours}
        definition = self._assets.partitions_def
        if definition is None:
            return statuses
        for asset in self._assets.keys:
            left = self._left.get(store_of(asset), ())
            found = self._instance.get_status_by_partition(
                asset, [hour.key for hour in hours], definition
            )
            for hour in hours:
                status = (found or {}).get(hour.key)
                if hour not in left:
                    statuses[hour].add(status.value if status else "")
        return statuses


def store_of(asset: dg.AssetKey) -> str:
    """The name of the event store whose results these are; empty for a single one."""
    return asset.path[-1].removeprefix(EMISSION).removeprefix("_")
