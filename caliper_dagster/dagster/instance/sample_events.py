"""Sample events, to compare how they are written in bulk with how Dagster writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import dagster as dg
import sqlalchemy as sa
from dagster import DagsterEvent, EventLogEntry
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
)
from dagster._core.events import AssetMaterializationPlannedData, StepMaterializationData
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)

from caliper_dagster.dagster.instance.capability import Rows

_STORAGE_ID = re.compile(r'("storage_id": )(\d+)')
_IDS = frozenset({"event_id", "evaluation_event_storage_id", "materialization_event_storage_id"})
"""Columns that refer to ``event_logs.id``, which the database assigns anew for every row."""

_ASSIGNED = frozenset({"id", "create_timestamp"})
"""Columns that the database fills."""

_TIME = 1_700_000_000.25
_HOURS = ("2026-01-31-22:00", "2026-01-31-23:00")


class SampleEvents:
    """A few events of a run that never was: planned and completed partitions, and a check."""

    def __init__(self) -> None:
        self.run_id = str(uuid4())
        self._key = dg.AssetKey(["caliper_dagster", self.run_id])
        planned = [self._planned(hour) for hour in _HOURS]
        # In bulk, the events of an asset get distinct timestamps; these have some.
        done = [self._done(hour, _TIME + seconds) for seconds, hour in enumerate(_HOURS)]
        self._batches = ([*planned, self._planned_check()], done)

    def write(self, storage: EventLogStorage, *, in_bulk: bool) -> None:
        """Store the events as a run does: in batches, or one by one."""
        for batch in self._batches:
            if in_bulk:
                storage.store_event_batch(batch)
            else:
                for event in batch:
                    storage.store_event(event)

    def read(self, connection: sa.Connection) -> Rows:
        """The rows of the events, with ids that count from 0."""
        log, run, asset = SqlEventLogStorageTable, self.run_id, self._key.to_string()
        ids = connection.execute(sa.select(log.c.id).where(log.c.run_id == run)).scalars()
        numbers = {found: number for number, found in enumerate(sorted(ids))}
        return {
            table.name: sorted(_rows(connection, table, column == value, numbers), key=repr)
            for table, column, value in (
                (log, log.c.run_id, run),
                (AssetKeyTable, AssetKeyTable.c.asset_key, asset),
                (AssetEventTagsTable, AssetEventTagsTable.c.asset_key, asset),
                (AssetCheckExecutionsTable, AssetCheckExecutionsTable.c.run_id, run),
            )
        }

    def _planned(self, hour: str) -> EventLogEntry:
        data = AssetMaterializationPlannedData(self._key, partition=hour)
        return self._event(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, data)

    def _planned_check(self) -> EventLogEntry:
        hours = dg.HourlyPartitionsDefinition(_HOURS[0])
        data = AssetCheckEvaluationPlanned(
            asset_key=self._key,
            check_name="every_row_explained",
            partitions_subset=hours.subset_with_partition_keys(_HOURS).to_serializable_subset(),
        )
        return self._event(dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, data)

    def _done(self, hour: str, timestamp: float) -> EventLogEntry:
        done = dg.AssetMaterialization(
            self._key, metadata={"rows": 1}, partition=hour, tags={"dagster/data_version": hour}
        )
        data = StepMaterializationData(done)
        return self._event(dg.DagsterEventType.ASSET_MATERIALIZATION, data, timestamp)

    def _event(
        self,
        kind: dg.DagsterEventType,
        data: Any,  # noqa: ANN401
        timestamp: float = _TIME,
    ) -> EventLogEntry:
        return EventLogEntry(  # type: ignore[no-untyped-call]
            error_info=None,
            level="debug",
            user_message="",
            run_id=self.run_id,
            timestamp=timestamp,
            step_key="trial",
            job_name="trial",
            dagster_event=DagsterEvent(
                kind.value, "trial", step_key="trial", event_specific_data=data
            ),
        )


def _rows(
    connection: sa.Connection,
    table: sa.Table,
    of_the_sample: sa.ColumnElement[bool],
    numbers: Mapping[int, int],
) -> Iterator[tuple[object, ...]]:
    columns = [column for column in table.columns if column.name not in _ASSIGNED]
    for row in connection.execute(sa.select(*columns).where(of_the_sample)).tuples():
        yield tuple(
            _with_numbers(column.name, value, numbers)
            for column, value in zip(columns, row, strict=True)
        )


def _with_numbers(column: str, value: object, numbers: Mapping[int, int]) -> object:
    """A value in which ids of events are their numbers."""
    if column in _IDS and isinstance(value, int):
        return numbers[value]
    if isinstance(value, str):
        return _STORAGE_ID.sub(lambda found: f"{found[1]}{numbers[int(found[2])]}", value)
    return value
