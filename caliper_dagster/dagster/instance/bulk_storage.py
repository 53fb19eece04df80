"""Dagster's own storages with kept connections and events written in bulk.

A run over many hours stores a planned and a done materialization for each hour and asset. Dagster
writes them one by one, most of them with several statements over new connections each; here a batch
is one transaction, over connections that stay open. What is written is what Dagster would write,
row for row. Which storage is taken, and with which versions of Dagster, is decided in
``dagster_storage``.
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

_BULK = frozenset(
    {
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    }
)
_LONGEST_IDLE = 300
_OPEN_SHARDS = 4


class _BulkEvents(SqlEventLogStorage):
    """Stores a batch of events in as few statements as the tables allow."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run, in their order.

        Asset and check events of the kinds that a run has by the hour are stored at once; a batch
        with any other is Dagster's business.
        """
        if {event.dagster_event_type for event in events} <= _BULK:
            self._store_at_once(events)
        else:
            super().store_event_batch(events)

    def _store_at_once(self, events: Sequence[EventLogEntry]) -> None:
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
            # Each event replaces what the one before it left in its asset's row. The rows are taken
            # in one order by all, so that runs at the same time cannot wait for each other.
            last = {str(event.get_dagster_event().asset_key): (event, n) for event, n in of_assets}
            for _, (event, number) in sorted(last.items()):
                self._store_asset_event(connection, event, number)
        for event, number in zip(events, ids, strict=True):
            if event.dagster_event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                self.store_asset_check_event(event, number)

    def _store_with_run(self, rows: list[dict[str, Any]]) -> None:
        """Insert the rows where the events of a run are kept, if that is another place."""

    @abstractmethod
    def _insert(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> Sequence[int]:
        """Insert the rows where assets are looked for; their ids, in the same order."""

    def _store_asset_check_evaluation_planned(
        self, event: EventLogEntry, event_id: int | None
    ) -> None:
        """A row for each hour, all with the same event."""
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


def _kept_postgres(url: str) -> sa.Engine:
    """An engine that keeps a few connections.

    Dagster itself opens one for each statement, except in the web server.
    """
    return sa.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=2,
        # Whoever needs more at once gets them, as from Dagster, and gives them back.
        max_overflow=-1,
        pool_recycle=_LONGEST_IDLE,
        pool_pre_ping=True,
    )


class PostgresEvents(_BulkEvents, PostgresEventLogStorage):
    """Dagster's events in PostgreSQL, over a few connections that are kept."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data)
        self._engine = _kept_postgres(postgres_url)

    def _insert(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> Sequence[int]:
        inserted = sa.insert(SqlEventLogStorageTable).returning(
            SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
        )
        return connection.execute(inserted, rows).scalars().all()

    def initialize_concurrency_limit_to_default(self, concurrency_key: str) -> bool:
        """Give a pool as many places as ``dagster.yaml`` says, also when others do so just now.

        Dagster inserts, and updates where that fails; but in PostgreSQL nothing more can be done in
        a transaction in which something has failed. The second run of a new instance would fail by
        it, and with a limit that was changed every run.
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
        """End what was started, and close the connections, which are those of all parts."""
        super().dispose()
        self._engine.dispose()


class PostgresStorage(DagsterPostgresStorage):
    """Dagster's storage in PostgreSQL, all of it over the few connections of its events."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        self._event_log_storage = events = PostgresEvents(postgres_url)
        for part in (self._run_storage, self._schedule_storage):
            part._engine = events._engine  # noqa: SLF001 - as its optimize_for_webserver does


# --- SQLite -------------------------------------------------------------------------------------


def _kept_sqlite(url: str) -> sa.Engine:
    """An engine that keeps its connection.

    What a crash of the machine takes from Dagster's records is the last moments, never their order:
    with a write-ahead log the file stays whole. What was sent is in the ledger.
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
    """One file for each run, and one, the index, for what is asked across runs."""

    def __init__(self, base_dir: str) -> None:
        self._kept: OrderedDict[str, sa.Engine] = OrderedDict()
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
        engine = self._kept.get(shard)
        if engine is None:
            engine = self._kept[shard] = _kept_sqlite(self.conn_string_for_shard(shard))
        self._kept.move_to_end(shard)
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        if len(self._kept) > _OPEN_SHARDS:
            self._kept.popitem(last=False)[1].dispose()
        return engine

    def _has_asset_key_index_cols_on_connection(self, conn: sa.Connection) -> bool:
        # Columns do not go away.
        self._has_columns = self._has_columns or super()._has_asset_key_index_cols_on_connection(
            conn
        )
        return self._has_columns

    def wipe(self) -> None:
        """Remove all files of runs, and what the index holds."""
        self._close(self._kept.values())
        super().wipe()

    def dispose(self) -> None:
        """End what was started, and close the files."""
        super().dispose()
        self._close(self._kept.values())

    def _close(self, engines: Iterable[sa.Engine]) -> None:
        with self._db_lock:
            for engine in engines:
                engine.dispose()
            self._kept.clear()


class _SqliteRuns(SqliteRunStorage):
    _kept: sa.Engine | None = None

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        if self._kept is None:
            self._kept = _kept_sqlite(self._conn_string)
        with self._kept.begin() as connection:
            yield connection

    def dispose(self) -> None:
        super().dispose()
        if self._kept is not None:
            self._kept.dispose()


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's storage in SQLite files, with the files that are in use kept open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._run_storage = _SqliteRuns.from_local(f"{base_dir}/history/")
        self._event_log_storage = _SqliteEvents(f"{base_dir}/history/runs/")
