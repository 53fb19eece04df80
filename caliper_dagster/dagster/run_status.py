"""The status of hours as the Dagster instance knows it, over all event stores."""

from __future__ import annotations

from collections.abc import Container, Mapping

import dagster as dg

from caliper_dagster.core.hours import Hour
from caliper_dagster.dagster.assets import event_store_of
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs
from caliper_dagster.delivery.watch_state import Status

_WORST_FIRST = (
    ("IN_PROGRESS", Status.BUSY),
    ("FAILED", Status.FAILED),
    ("", Status.MISSING),
)


class HourStatuses:
    """Asks the Dagster instance for the status of hours of ``emission_results``.

    Args:
        instance: the instance to ask.
        results: the emission results of all event stores of a site.
        deferred: the deferred hours by event store name. Runs of their own send these, so they
            count as done.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        results: dg.AssetsDefinition,
        deferred: Mapping[str, Container[Hour]],
    ) -> None:
        self._instance, self._results, self._deferred = instance, results, deferred

    def __call__(self, hours: set[Hour]) -> Mapping[Hour, Status]:
        """The worst status of each hour over all event stores."""
        if not hours:
            return {}
        values = self._values(hours)
        if any("IN_PROGRESS" in of_hour for of_hour in values.values()) and fail_orphaned_runs(
            self._instance
        ):
            values = self._values(hours)
        return {
            hour: next((status for value, status in _WORST_FIRST if value in of_hour), Status.DONE)
            for hour, of_hour in values.items()
        }

    def newest_materialized(self) -> Hour | None:
        """The newest hour that was ever materialized; None when there is none."""
        keys = {
            key
            for asset in self._results.keys
            for key in self._instance.get_materialized_partitions(asset)
        }
        return max(map(Hour.from_key, keys), default=None)

    def _values(self, hours: set[Hour]) -> dict[Hour, set[str]]:
        """Dagster's status values of each hour, one per event store; empty text for no status."""
        values: dict[Hour, set[str]] = {hour: set() for hour in hours}
        partitions = self._results.partitions_def
        if partitions is None:
            return values
        for asset in self._results.keys:
            deferred = self._deferred.get(event_store_of(asset), ())
            statuses = self._instance.get_status_by_partition(
                asset, [hour.key for hour in hours], partitions
            )
            for hour in hours:
                status = (statuses or {}).get(hour.key)
                if hour not in deferred:
                    values[hour].add(status.value if status else "")
        return values


def unfinished_hours(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: dg.PartitionsDefinition
) -> dict[Hour, Status]:
    """The hours of an asset whose last run failed or has not ended, each as FAILED or BUSY.

    One query finds the hours with a run after their last materialization; Dagster is asked for the
    status of these alone, however many hours there are.
    """
    attempts = instance.event_log_storage
    keys = attempts.get_latest_asset_partition_materialization_attempts_without_materializations(
        asset
    )
    if not keys:
        return {}
    statuses = instance.get_status_by_partition(asset, sorted(keys), partitions) or {}
    names = {"FAILED": Status.FAILED, "IN_PROGRESS": Status.BUSY}
    return {
        Hour.from_key(key): names[status.value]
        for key, status in statuses.items()
        if status is not None and status.value in names
    }


def newest_complete_hour(
    instance: dg.DagsterInstance, asset: dg.AssetKey, unfinished: Container[Hour], end: Hour
) -> Hour | None:
    """The newest hour before ``end`` that an asset has and that is not unfinished."""
    # Keys are in the order of time as texts.
    for key in sorted(instance.get_materialized_partitions(asset), reverse=True):
        hour = Hour.from_key(key)
        if hour < end and hour not in unfinished:
            return hour
    return None
