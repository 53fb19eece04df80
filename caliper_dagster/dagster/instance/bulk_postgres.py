"""Dagster's storage in PostgreSQL with persistent connections and bulk writes of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import sqlalchemy as sa
from dagster._core.storage.event_log.schema import ConcurrencyLimitsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from sqlalchemy.dialects import postgresql

from caliper_dagster.core.postgres_deadlines import connect_arguments
from caliper_dagster.dagster.instance import capability
from caliper_dagster.dagster.instance.bulk_events import CALLS, TABLES, BulkEvents
from caliper_dagster.dagster.instance.sample_events import SampleEvents

_POOL_RECYCLE_SECONDS = 300
_ANSWER_SECONDS = 300
"""Seconds for the answer of PostgreSQL to a statement."""

_TABLES = {
    **TABLES,
    ConcurrencyLimitsTable: frozenset(
        {
            "id",
            "concurrency_key",
            "limit",
            "using_default_limit",
            "update_timestamp",
            "create_timestamp",
        }
    ),
}
_CALLS: Mapping[Callable[..., Any], Sequence[str]] = {
    **CALLS,
    SqlEventLogStorage._reconcile_concurrency_limits_from_slots: (),  # noqa: SLF001 - of the base
    SqlEventLogStorage._allocate_concurrency_slots: (  # noqa: SLF001
        "conn",
        "concurrency_key",
        "num",
    ),
}


def open_events(
    url: str, creates_tables: bool, inst_data: ConfigurableClassData | None
) -> PostgresEvents:
    """Dagster's event log storage in this database.

    Raises:
        UnsuitedError: the installed Dagster is not one whose events may be written in bulk.
    """
    capability.require((BulkEvents, PostgresEvents), _TABLES, _CALLS)
    events = PostgresEvents(url, creates_tables, inst_data)
    _require_same_rows(events)
    return events


def open_storage(url: str, inst_data: ConfigurableClassData | None) -> PostgresStorage:
    """Dagster's storage in this database.

    Raises:
        UnsuitedError: the installed Dagster is not one whose events may be written in bulk.
    """
    capability.require((BulkEvents, PostgresEvents), _TABLES, _CALLS)
    storage = PostgresStorage(url, inst_data)
    _require_same_rows(storage.events)
    return storage


def _require_same_rows(events: PostgresEvents) -> None:
    try:
        capability.require_same_rows(
            events, partial(_write_and_read, SampleEvents(), events.postgres_url)
        )
    except capability.UnsuitedError:
        events.dispose()
        raise


def _write_and_read(sample: SampleEvents, url: str, in_bulk: bool) -> capability.Rows:
    """In one transaction that is rolled back."""
    kind = PostgresEvents if in_bulk else PostgresEventLogStorage
    storage = kind(url, should_autocreate_tables=False)
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=_deadlines())
    with engine.connect() as connection:
        connection.begin()
        storage._connect = lambda: nullcontext(connection)  # type: ignore[method-assign] # noqa: SLF001
        sample.write(storage, in_bulk=in_bulk)
        return sample.read(connection)


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
        connect_args=_deadlines(),
    )


def _deadlines() -> dict[str, Any]:
    return connect_arguments(
        _ANSWER_SECONDS, "DAGSTER_POSTGRES_URL: the server did not answer in time"
    )


class PostgresEvents(BulkEvents, PostgresEventLogStorage):
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
        self._event_log_storage = self.events = events = PostgresEvents(postgres_url)
        for part in (self._run_storage, self._schedule_storage):
            part._engine = events._engine  # noqa: SLF001 - as its optimize_for_webserver does
