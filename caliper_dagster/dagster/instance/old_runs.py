"""Deletes Dagster's records of old runs: their rows, events and check results.

Dagster deletes no run by itself, and when it deletes one, its materializations go with it: the
partitions would no longer count as materialized, and SQLite's file of the run would stay. So this
module deletes set by set, and keeps the last materialization and observation of every partition,
and the last result of every check of it (of each status: a check that never ran has one, too).

A run goes last of all that belongs to it. Whatever is cut off in between is done by the next call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.parts import in_parts
from caliper_dagster.dagster.instance.run_files import (
    BACKFILL_ID_TAG,
    FINISHED,
    RunFiles,
    unfinished_backfills,
)
from caliper_dagster.delivery.retention import Removal

_RUNS_PER_STATEMENT = 500
_LAST_OF_PARTITION = (
    dg.DagsterEventType.ASSET_MATERIALIZATION.value,
    dg.DagsterEventType.ASSET_OBSERVATION.value,
)


class OldRuns:
    """The records of runs in an instance.

    Args:
        instance: its storage.

    Raises:
        ConfigurationError: the storage is not a database that Dagster's own classes describe.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        events, runs = instance.event_log_storage, instance.run_storage
        if not isinstance(events, SqlEventLogStorage) or not isinstance(runs, SqlRunStorage):
            raise ConfigurationError(
                f"Runs cannot be deleted from a storage of the kind {type(runs).__name__}: unset "
                "CALIPER_KEEP_RUNS, or configure the storage in dagster.yaml as this project does."
            )
        self._instance, self._events, self._runs = instance, events, runs

    def finished_before(self, limit: datetime) -> list[str]:
        """The ids of the runs that ended before a time and that nothing needs.

        A backfill that goes on needs its runs. The run that failed last for a partition is its
        status: without it the hour would not be retried.
        """
        ids = self._instance.get_run_ids(dg.RunsFilter(statuses=FINISHED, updated_before=limit))
        needed = self._last_attempts()
        for backfill in unfinished_backfills(self._instance):
            needed.update(
                self._instance.get_run_ids(dg.RunsFilter(tags={BACKFILL_ID_TAG: backfill}))
            )
        return [run_id for run_id in ids if run_id not in needed]

    def _last_attempts(self) -> set[str]:
        """The last runs of partitions that were to materialize them and have not."""
        events = self._events
        return {
            run_id
            for key in self._instance.all_asset_keys()
            for run_id, _ in (
                events.get_latest_asset_partition_materialization_attempts_without_materializations(
                    key
                ).values()
            )
        }

    def remove(self, run_ids: Sequence[str], *, plan: bool) -> Iterator[Removal]:
        """Delete runs with all that belongs to them.

        Args:
            run_ids: see `finished_before`.
            plan: delete nothing.

        Yields:
            What was deleted, or would be.
        """
        numbers = {"Events of these runs": [0, 0], "Check results of these runs": [0, 0]}
        for part in in_parts(run_ids, _RUNS_PER_STATEMENT):
            for what, (number, size) in self._remove_rows(part, plan).items():
                numbers[what][0] += number
                numbers[what][1] += size
        yield from (Removal(what, number, size) for what, (number, size) in numbers.items())
        files = RunFiles(self._instance)
        yield Removal("Runs in Dagster, with their files", len(run_ids), files.size(run_ids))
        if not plan:
            files.delete(run_ids)
            self._remove_runs(run_ids)

    def _remove_rows(self, run_ids: Sequence[str], plan: bool) -> dict[str, tuple[int, int]]:
        events, checks, tags = (
            SqlEventLogStorageTable,
            AssetCheckExecutionsTable,
            AssetEventTagsTable,
        )
        of_events = events.c.run_id.in_(run_ids) & ~_is_last_of_partition()
        last_checks = sa.select(sa.func.max(checks.c.id)).group_by(
            checks.c.asset_key, checks.c.check_name, checks.c.partition, checks.c.execution_status
        )
        of_checks = checks.c.run_id.in_(run_ids) & checks.c.id.not_in(last_checks)
        with self._events.index_transaction() as connection:
            counts = {
                "Events of these runs": _count(connection, events.c.event, of_events),
                "Check results of these runs": _count(
                    connection, checks.c.evaluation_event, of_checks
                ),
            }
            if not plan:
                deleted = sa.select(events.c.id).where(of_events)
                connection.execute(tags.delete().where(tags.c.event_id.in_(deleted)))
                connection.execute(checks.delete().where(of_checks))
                connection.execute(events.delete().where(of_events))
        return counts

    def _remove_runs(self, run_ids: Sequence[str]) -> None:
        for part in in_parts(run_ids, _RUNS_PER_STATEMENT):
            with self._runs.connect() as connection:
                connection.execute(RunTagsTable.delete().where(RunTagsTable.c.run_id.in_(part)))
                connection.execute(RunsTable.delete().where(RunsTable.c.run_id.in_(part)))


def _is_last_of_partition() -> sa.ColumnElement[bool]:
    """Whether an event is the last one of its kind for its asset and partition.

    Two conditions, for partitions and for none: each can be looked up in an index.
    """
    table = SqlEventLogStorageTable
    newer = table.alias()

    def is_superseded(same_partition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        return sa.exists().where(
            newer.c.asset_key == table.c.asset_key,
            newer.c.dagster_event_type == table.c.dagster_event_type,
            same_partition,
            newer.c.id > table.c.id,
        )

    of_partition = is_superseded(newer.c.partition == table.c.partition)
    of_none = is_superseded(newer.c.partition.is_(None))
    superseded = sa.case((table.c.partition.is_(None), of_none), else_=of_partition)
    # The type of a line of the log is null.
    kind = sa.func.coalesce(table.c.dagster_event_type, "")
    return kind.in_(_LAST_OF_PARTITION) & ~superseded


def _count(
    connection: sa.Connection, text: sa.Column[Any], condition: sa.ColumnElement[bool]
) -> tuple[int, int]:
    """The number of rows, and about the bytes of their texts."""
    size = sa.func.coalesce(sa.func.sum(sa.func.length(text)), 0)
    row = connection.execute(sa.select(sa.func.count(), size).where(condition)).one()
    return int(row[0]), int(row[1])
