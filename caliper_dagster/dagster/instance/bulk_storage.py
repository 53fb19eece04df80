"""Dagster's storage classes with persistent connections and bulk writes of events.

A run over many hours stores a planned and a completed materialization per hour and asset. Dagster
writes them one by one, most of them with several statements over new connections; these classes
write a batch in one transaction over connections that stay open. The rows are the same that Dagster
would write. ``storage`` decides which class is used, and with which versions of Dagster.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    ConcurrencyLimitsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData, serialize_value
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from sqlalchemy.dialects import postgresql

from caliper_dagster.core.postgres_deadlines import connect_arguments

_BULK = frozenset(
    {
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    }
)
_POOL_RECYCLE_SECONDS = 300
_ANSWER_SECONDS = 300
"""Seconds for the answer of PostgreSQL to a statement."""
_OPEN_SHARDS = 4


class _BulkEvents(SqlEventLogStorage):
    """Stores a batch of events in as few statements as the tables allow."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run, in their order.

        A batch that consists only of asset and check events, of which a run has one per hour, is
        written in bulk; Dagster writes any other batch.
        """
        if {event.dagster_event_type for event in events} <= _BULK:
            self._store_in_bulk(events)
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


# --- PostgreSQL ---------------------------------------------------------------------------------


def _persistent_postgres_engine(url: str) -> sa.Engine:
    """An engine that keeps a few connections open, on which every wait ends.

    Dagster opens a connection per statement, except in the web server, and waits without a limit.
    """
    return sa.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=2,
        # Further connections are opened on demand and closed after use, as in Dagster.
        max_overflow=-1,
        pool_recycle=_POOL_RECYCLE_SECONDS,
        pool_pre_ping=True,
        connect_args=connect_arguments(
            _ANSWER_SECONDS, "DAGSTER_POSTGRES_URL: the server did not answer in time"
        ),
    )


class PostgresEvents(_BulkEvents, PostgresEventLogStorage):
    """Dagster's event log storage in PostgreSQL, over a few persistent connections."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data)
        self._engine = _persistent_postgres_engine(postgres_url)

    def _insert(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> Sequence[int]:
        inserted = sa.insert(SqlEventLogStorageTable).returning(
            SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
        )
        return connection.execute(inserted, rows).scalars().all()

    def initialize_concurrency_limit_to_default(self, concurrency_key: str) -> bool:
        """Set the limit of a pool to the default in ``dagster.yaml``; safe for concurrent runs.

        Dagster inserts a row, and updates it in the same transaction if the insert fails. In
        PostgreSQL a transaction with a failed statement accepts no further statement, so the second
        run of a new instance would fail, and every run after a change of the limit.
        """
        limit = self._instance.global_op_concurrency_default_limit if self.has_instance else None
        if limit is None or not self.has_default_pool_limit_col:
            return bool(super().initialize_concurrency_limit_to_default(concurrency_key))
        self._reconcile_concurrency_limits_from_slots()
        pools = ConcurrencyLimitsTable
        values = {"concurrency_key": concurrency_key, "limit": limit, "using_default_limit": True}
        with self.index_transaction() as connection:
            connection.execute(
                postgresql.insert(pools)
                .values(**values)
                .on_conflict_do_update(
                    index_elements=[pools.c.concurrency_key], set_={"limit": limit}
                )
            )
            self._allocate_concurrency_slots(connection, concurrency_key, limit)
        return True

    def dispose(self) -> None:
        """Stop watchers and close the connections, which all three storages share."""
        super().dispose()
        self._engine.dispose()


class PostgresStorage(DagsterPostgresStorage):
    """Dagster's storage in PostgreSQL, over the connections of its event log storage."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        self._event_log_storage = events = PostgresEvents(postgres_url)
        for part in (self._run_storage, self._schedule_storage):
            part._engine = events._engine  # noqa: SLF001 - as its optimize_for_webserver does


# --- SQLite -------------------------------------------------------------------------------------


def _persistent_sqlite_engine(url: str) -> sa.Engine:
    """An engine that keeps its connection open and does not wait for the disk.

    After a crash of the machine Dagster's last records may be missing, but with a write-ahead log
    the file stays consistent. The ledger records what was sent.
    """
    engine = sa.create_engine(
        url,
        pool_size=1,
        max_overflow=-1,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def _do_not_wait_for_the_disk(connection: Any, _record: object) -> None:  # noqa: ANN401
        connection.execute("PRAGMA synchronous = NORMAL")

    return engine


class _SqliteEvents(_BulkEvents, SqliteEventLogStorage):
    """Dagster's event log storage in SQLite: a file per run, and an index file over all runs."""

    def __init__(self, base_dir: str) -> None:
        self._engines: OrderedDict[str, sa.Engine] = OrderedDict()
        self._has_columns = False
        super().__init__(base_dir)

    def _store_with_run(self, rows: list[dict[str, Any]]) -> None:
        with self.run_connection(rows[0]["run_id"]) as connection:
            connection.execute(sa.insert(SqlEventLogStorageTable), rows)

    def _insert(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> Sequence[int]:
        connection.execute(sa.insert(SqlEventLogStorageTable), rows)
        # Nobody else can write before this transaction ends.
        last = connection.execute(sa.select(sa.func.max(SqlEventLogStorageTable.c.id))).scalar_one()
        return range(last - len(rows) + 1, last + 1)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> sa.Engine:
        engine = self._engines.get(shard)
        if engine is None:
            url = self.conn_string_for_shard(shard)
            engine = self._engines[shard] = _persistent_sqlite_engine(url)
        self._engines.move_to_end(shard)
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        if len(self._engines) > _OPEN_SHARDS:
            self._engines.popitem(last=False)[1].dispose()
        return engine

    def _has_asset_key_index_cols_on_connection(self, conn: sa.Connection) -> bool:
        # A column that exists once is never removed.
        self._has_columns = self._has_columns or super()._has_asset_key_index_cols_on_connection(
            conn
        )
        return self._has_columns

    def wipe(self) -> None:
        """Remove the files of all runs and the rows of the index."""
        self._close(self._engines.values())
        super().wipe()

    def dispose(self) -> None:
        """Stop watchers and close the files."""
        super().dispose()
        self._close(self._engines.values())

    def _close(self, engines: Iterable[sa.Engine]) -> None:
        with self._db_lock:
            for engine in engines:
                engine.dispose()
            self._engines.clear()


class _SqliteRuns(SqliteRunStorage):
    _engine: sa.Engine | None = None

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        if self._engine is None:
            self._engine = _persistent_sqlite_engine(self._conn_string)
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        super().dispose()
        if self._engine is not None:
            self._engine.dispose()


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's storage in SQLite files; files in use stay open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._run_storage = _SqliteRuns.from_local(f"{base_dir}/history/")
        self._event_log_storage = _SqliteEvents(f"{base_dir}/history/runs/")
