"""Dagster's storage in SQLite with persistent connections and bulk writes of events."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import sqlalchemy as sa
from dagster._core.event_api import EventHandlerFn
from dagster._core.storage.event_log.schema import (
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from caliper_dagster.dagster.instance import capability
from caliper_dagster.dagster.instance.bulk_events import CALLS, TABLES, BulkEvents
from caliper_dagster.dagster.instance.sample_events import SampleEvents

_OPEN_SHARDS = 4

_CALLS: Mapping[Callable[..., Any], Sequence[str]] = {
    **CALLS,
    SqliteEventLogStorage.run_connection: ("run_id",),
    SqliteEventLogStorage.conn_string_for_shard: ("shard_name",),
    SqliteEventLogStorage.watch: ("run_id", "cursor", "callback"),
    SqliteEventLogStorage._initdb: ("engine",),  # noqa: SLF001 - of the base class
}


def open_storage(base_dir: str, inst_data: ConfigurableClassData | None) -> DagsterSqliteStorage:
    """Dagster's storage in SQLite files in this folder.

    Raises:
        UnsuitedError: the installed Dagster is not one whose events may be written in bulk.
    """
    capability.require((BulkEvents, SqliteEvents, _SqliteRuns), TABLES, _CALLS)
    storage = SqliteStorage.from_local(base_dir, inst_data)
    try:
        events = storage.events
        capability.require_same_rows(
            events, partial(_write_and_read, SampleEvents(), events.base_dir)
        )
    except capability.UnsuitedError:
        storage.dispose()
        raise
    return storage


def _write_and_read(sample: SampleEvents, base_dir: str, in_bulk: bool) -> capability.Rows:
    """In databases in memory, with the tables of the installed Dagster."""
    storage = (SqliteEvents if in_bulk else SqliteEventLogStorage)(base_dir)
    with _in_memory() as index, _in_memory() as run:

        def connect(shard: str) -> nullcontext[sa.Connection]:
            return nullcontext(index if shard == INDEX_SHARD_NAME else run)

        storage._connect = connect  # type: ignore[method-assign,assignment] # noqa: SLF001
        sample.write(storage, in_bulk=in_bulk)
        found, of_run = sample.read(index), sample.read(run)
        return {table: rows + of_run[table] for table, rows in found.items()}


@contextmanager
def _in_memory() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    try:
        SqlEventLogStorageMetadata.create_all(engine)
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


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


class _RunWatcher(SqliteEventLogStorageWatchdog):
    """Tells the web UI of new events of a run that is being looked at.

    Dagster's own watches the run's file only. That one changes when a connection is closed; while
    connections stay open, new events stand in the write-ahead log beside it.
    """

    def __init__(
        self,
        storage: SqliteEventLogStorage,
        run_id: str,
        callback: EventHandlerFn,
        cursor: str | None,
    ) -> None:
        super().__init__(storage, run_id, callback, cursor)
        self._patterns = [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: object) -> None:
        self._process_log()


class SqliteEvents(BulkEvents, SqliteEventLogStorage):
    """Dagster's event log storage in SQLite: a file per run, and an index file over all runs."""

    def __init__(self, base_dir: str) -> None:
        self._engines: OrderedDict[str, sa.Engine] = OrderedDict()
        self._has_columns = False
        self.base_dir = base_dir
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

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Call back for each event of the run after the cursor, from now on."""
        super().watch(run_id, cursor, callback)
        stock, place = self._watchers[run_id][callback]
        watcher = _RunWatcher(self, run_id, callback, cursor)
        observer: Any = self._obs
        observer.remove_handler_for_watch(stock, place)
        observer.add_handler_for_watch(watcher, place)
        self._watchers[run_id][callback] = watcher, place

    def close_runs(self, run_ids: Iterable[str]) -> None:
        """Close the files of runs, before they are deleted."""
        with self._db_lock:
            for run_id in run_ids:
                self._initialized_dbs.discard(run_id)
                if run_id in self._engines:
                    self._engines.pop(run_id).dispose()

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
        self._event_log_storage = self.events = SqliteEvents(f"{base_dir}/history/runs/")
