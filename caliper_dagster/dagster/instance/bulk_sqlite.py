"""Dagster's storage in SQLite with persistent connections and bulk writes of events.

Dagster parses its 90 migrations whenever it opens a file, and again when it creates one, which it
does in a transaction for each table. Every command opens three files, and every run has one of its
own. So here a file that has been set up is opened without them, and a file of events is created in
one transaction.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from dagster._core.event_api import EventHandlerFn
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.schema import (
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sql import get_alembic_config
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
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
    SqliteEventLogStorage._initdb: ("engine", "for_index_shard"),  # noqa: SLF001 - of the base
    get_alembic_config: ("config_path",),
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


def _is_set_up(path: str, table: str) -> bool:
    """Whether Dagster has set up an SQLite file: it has a revision, and this table."""
    address = f"file:{quote(path)}?mode=rw"
    try:
        with closing(
            sqlite3.connect(address, uri=True, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)
        ) as connection:
            connection.execute(f"SELECT 1 FROM {table} LIMIT 1")
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:  # there is no such file or table
        return False
    return revision is not None


@cache
def _migrations() -> ScriptDirectory:
    """Dagster's migrations."""
    return ScriptDirectory.from_config(get_alembic_config(sqlite_event_log.__file__))


def _create_events_file(engine: sa.Engine) -> None:
    """Set up a file of events as Dagster does, in one transaction.

    Raises:
        DatabaseError: another process holds the file.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        SqlEventLogStorageMetadata.create_all(connection)
        MigrationContext.configure(connection).stamp(_migrations(), "head")
        connection.commit()


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
        self._tables: set[str] = set()
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

    def _initdb(self, engine: sa.Engine, for_index_shard: bool = False) -> None:
        file = str(engine.url.database)
        if _is_set_up(file, SqlEventLogStorageTable.name):
            return
        if not Path(file).exists():
            with suppress(sa.exc.DatabaseError):
                _create_events_file(engine)
                return
        super()._initdb(engine, for_index_shard)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table; one that exists once is never removed."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

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

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """The runs in a file of this folder, which is created if there is none."""
        if _is_set_up(f"{base_dir}/runs.db", "instance_info"):
            return cls(create_db_conn_string(base_dir, "runs"), inst_data)
        return super().from_local(base_dir, inst_data)

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


def _schedules(base_dir: str) -> SqliteScheduleStorage:
    """The schedules and their ticks in a file of this folder, which is created if there is none."""
    if _is_set_up(f"{base_dir}/schedules.db", "job_ticks"):
        return SqliteScheduleStorage(create_db_conn_string(base_dir, "schedules"))
    return SqliteScheduleStorage.from_local(base_dir)


class SqliteStorage(DagsterSqliteStorage):
    """Dagster's storage in SQLite files; files in use stay open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Dagster's own would open all files a first time.
        DagsterStorage.__init__(self)
        self.base_dir, self._inst_data = base_dir, inst_data
        self._run_storage = _SqliteRuns.from_local(f"{base_dir}/history/")
        self._event_log_storage = self.events = SqliteEvents(f"{base_dir}/history/runs/")
        self._schedule_storage = _schedules(f"{base_dir}/schedules")
