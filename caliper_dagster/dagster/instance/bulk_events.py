"""Bulk writes of Dagster's events.

A run over many hours stores a planned and a completed materialization per hour and asset. Dagster
writes them one by one, most of them with several statements over new connections; the storages in
``bulk_postgres`` and ``bulk_sqlite`` write a batch in one transaction over connections that stay
open. The rows are the same that Dagster would write, except that the events of an asset in a run
have distinct timestamps. ``storage`` decides whether they are used, ``capability`` whether they
suit the installed Dagster.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._serdes import serialize_value

_BULK = frozenset(
    {
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    }
)

_LISTED = frozenset(
    {
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_OBSERVATION,
        dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
    }
)
"""What the web UI lists under the events of an asset."""

TABLES: Mapping[sa.Table, frozenset[str]] = {
    SqlEventLogStorageTable: frozenset(
        {
            "id",
            "run_id",
            "event",
            "dagster_event_type",
            "timestamp",
            "step_key",
            "asset_key",
            "partition",
        }
    ),
    AssetCheckExecutionsTable: frozenset(
        {
            "id",
            "asset_key",
            "check_name",
            "partition",
            "run_id",
            "execution_status",
            "evaluation_event",
            "evaluation_event_timestamp",
            "evaluation_event_storage_id",
            "materialization_event_storage_id",
            "create_timestamp",
        }
    ),
}
"""The columns of the tables that are written to, for ``capability.require``."""

CALLS: Mapping[Callable[..., Any], Sequence[str]] = {
    SqlEventLogStorage._event_to_row: ("event",),  # noqa: SLF001 - of the base class
    SqlEventLogStorage._store_asset_event_tags: ("conn", "events", "event_ids"),  # noqa: SLF001
    SqlEventLogStorage._store_asset_event: ("conn", "event", "event_id"),  # noqa: SLF001
    SqlEventLogStorage.store_asset_check_event: ("event", "event_id"),
    SqlEventLogStorage.index_transaction: (),
    SqlEventLogStorage.index_connection: (),
}
"""Dagster's methods that are called, and what they get, for ``capability.require``."""


class _DistinctTimes:
    """Gives the events of an asset in a run timestamps that the web UI can tell apart.

    The web UI takes two events of a run for the same one if their timestamps are in the same
    millisecond. It asks for older events by the timestamp of the oldest one that it has, so the
    timestamps rise. A run over many hours creates dozens of events in a millisecond.
    """

    def __init__(self) -> None:
        self._newest: dict[dg.AssetKey, tuple[str, int]] = {}

    def of(self, event: EventLogEntry) -> EventLogEntry:
        """The event, if need be with a later timestamp: one millisecond after the one before it."""
        if event.dagster_event_type not in _LISTED:
            return event
        key = event.get_dagster_event().asset_key
        if key is None:
            return event
        run_id, newest = self._newest.get(key, ("", 0))
        millisecond = int(event.timestamp * 1000)
        if run_id == event.run_id and millisecond <= newest:
            millisecond = newest + 1
            # In the middle of it: a float of its beginning may lie in the one before.
            event = event._replace(timestamp=(millisecond + 0.5) / 1000)
        self._newest[key] = event.run_id, millisecond
        return event


class BulkEvents(SqlEventLogStorage):
    """Stores a batch of events in as few statements as the tables allow."""

    @cached_property
    def _distinct_times(self) -> _DistinctTimes:
        return _DistinctTimes()

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event."""
        super().store_event(self._distinct_times.of(event))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run, in their order.

        A batch that consists only of asset and check events, of which a run has one per hour, is
        written in bulk; Dagster writes any other batch.
        """
        if {event.dagster_event_type for event in events} <= _BULK:
            self._store_in_bulk([self._distinct_times.of(event) for event in events])
        else:
            super().store_event_batch(events)

    def _store_in_bulk(self, events: Sequence[EventLogEntry]) -> None:
        rows = [self._event_to_row(event) for event in events]
        self._store_with_run(rows)
        with self.index_transaction() as connection:
            ids = self._insert(connection, rows)
            of_assets = [
                (event, number)
                for event, number in zip(events, ids, strict=True)
                if event.get_dagster_event().asset_key is not None
            ]
            self._store_asset_event_tags(connection, *_columns(of_assets))
            # Only the last event of an asset stays in the asset's row. All runs update the rows in
            # the same order, so that concurrent runs cannot deadlock.
            last = {str(event.get_dagster_event().asset_key): (event, n) for event, n in of_assets}
            for _, (event, number) in sorted(last.items()):
                self._store_asset_event(connection, event, number)
        for event, number in zip(events, ids, strict=True):
            if event.dagster_event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                self.store_asset_check_event(event, number)

    def _store_with_run(self, rows: list[dict[str, Any]]) -> None:
        """Insert the rows into the event log of their run, where that is a separate database."""

    @abstractmethod
    def _insert(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> Sequence[int]:
        """Insert the rows into the event log of the assets; return their ids in the same order."""

    def _store_asset_check_evaluation_planned(
        self, event: EventLogEntry, event_id: int | None
    ) -> None:
        """Insert one row per hour, all with the same event."""
        planned = event.get_dagster_event().asset_check_planned_data
        subset = planned.partitions_subset
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": datetime.fromtimestamp(event.timestamp, UTC).replace(
                tzinfo=None
            ),
            "evaluation_event_storage_id": event_id,
        }
        hours = subset.get_partition_keys() if subset else [None]
        with self.index_connection() as connection:
            connection.execute(
                sa.insert(AssetCheckExecutionsTable), [{**row, "partition": key} for key in hours]
            )


def _columns(
    pairs: Sequence[tuple[EventLogEntry, int]],
) -> tuple[list[EventLogEntry], list[int]]:
    return [event for event, _ in pairs], [number for _, number in pairs]
