"""The ledger: the durable record of what each event store has acknowledged.

One row per batch, in SQL: SQLite beside the storage, or PostgreSQL. Of an event it holds the
fingerprint (24 bytes), never its content, so 100 million events in envelopes of 500 are about
2.5 GB. No HTTP here, no decision about what to send, and no secret in any column.

An event that the event store refuses is a row of its own, with the store's words, for as long as
that is the last answer to it: the next answer takes the row away.

A batch is committed before `Ledger.record` returns. SQLite runs in WAL mode with
``synchronous=FULL``: with ``NORMAL`` a power failure could take back batches that were reported as
acknowledged, and one flush per envelope costs less than the POST it follows.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from caliper_dagster.core.errors import ConfigurationError, StorageError
from caliper_dagster.core.frames import EMISSION_RESULTS
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.emitter.backlog import Backlog, backlog_table
from caliper_dagster.emitter.fingerprints import (
    FINGERPRINT,
    Fingerprints,
    event_ids,
    latest,
    unpacked,
)
from caliper_dagster.emitter.leases import Lease, among, leases_table

ACKNOWLEDGED = "acknowledged"
REJECTED = "rejected"

_LOCK_WAIT = 30
"""Seconds to wait for another process that writes to the same SQLite ledger."""

_CREATION_LOCK = 0x43414C495045
"""Key of PostgreSQL's advisory lock under which the tables are created."""

_TABLES = sa.MetaData()
_BATCHES = sa.Table(
    "caliper_batch",
    _TABLES,
    # SQLite numbers rows by itself only in a column declared INTEGER.
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("site", sa.Text, nullable=False, comment="site whose events they are"),
    sa.Column("event_store", sa.Text, nullable=False, comment="name of the event store"),
    sa.Column("hour", sa.Integer, nullable=False, comment="hours since 1970, UTC"),
    sa.Column("batch_id", sa.Text, nullable=False, unique=True, comment="urn:uuid of the batch"),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("events", sa.Integer, nullable=False, comment="number of events"),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="size of the envelope"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("http_status", sa.Integer),
    sa.Column("sent_at", sa.BigInteger, nullable=False, comment="milliseconds since 1970, UTC"),
    sa.Column("answered_at", sa.BigInteger, nullable=False, comment="milliseconds since 1970, UTC"),
    sa.Column("error", sa.Text, comment="words of the event store, when it refused"),
    sa.Column(
        "fingerprints",
        sa.LargeBinary,
        nullable=False,
        comment="per event: 16 bytes of its uuid, 8 bytes of BLAKE2b over its JSON",
    ),
)
_FIRST_ID = sa.type_coerce(sa.func.substr(_BATCHES.c.fingerprints, 1, 16), sa.LargeBinary)
_LEASES = leases_table(_TABLES)
_LEFT_OVER = backlog_table(_TABLES)
_BY_HOUR = sa.Index("caliper_batch_hour", _BATCHES.c.site, _BATCHES.c.event_store, _BATCHES.c.hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch that an event store has answered.

    Attributes:
        batch_id: ``urn:uuid:`` of the batch.
        outcome: ``acknowledged`` or ``rejected``.
        bytes: size of the envelope.
        attempts: how often it was posted.
        sent_at: when it was posted last, in milliseconds since 1970, UTC.
        answered_at: when the answer came, in the same unit.
        error: the event store's words when it refused.
        fingerprints: the events in the envelope, in their order.
    """

    hour: Hour
    batch_id: str
    outcome: str
    bytes: int
    attempts: int
    http_status: int | None
    sent_at: int
    answered_at: int
    error: str | None
    fingerprints: Fingerprints

    def event_ids(self) -> list[str]:
        """``urn:uuid:…`` of the events, in their order."""
        found: list[str] = event_ids(self.fingerprints).to_pylist()
        return found


class Ledger:
    """What each event store has acknowledged; a context manager.

    Tables are created on first use; processes that do so at once wait for each other.

    Args:
        url: SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg2://…``. The folder of an
            SQLite file is created.

    Raises:
        ConfigurationError: the URL is none of these, or (on entering, or at the first use) the
            database cannot be opened. The sentence names ``CALIPER_LEDGER_URL``.
    """

    def __init__(self, url: str) -> None:
        self._url = _parsed(url)
        self._name = _display_name(self._url)
        self._engine = _engine(self._url)
        self._prepared = False

    def __repr__(self) -> str:
        return f"Ledger({self._name!r})"

    def __enter__(self) -> Ledger:
        self._prepare()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the ledger can be used again and then opens new ones."""
        self._engine.dispose()

    def record(
        self, event_store: str, batch: Batch, *, site: str, superseded: Collection[bytes] = ()
    ) -> None:
        """Add one answered batch. It is committed when this returns.

        Args:
            event_store: name of the event store that answered.
            batch: what it answered to.
            site: whose events they are.
            superseded: packed ids of events of the hour; their rejections are not the last answer
                any more.

        Raises:
            StorageError: the database did not take it.
        """
        row = {
            "site": site,
            "event_store": event_store,
            "hour": batch.hour.number,
            "batch_id": batch.batch_id,
            "outcome": batch.outcome,
            "events": len(batch.fingerprints),
            "bytes": batch.bytes,
            "attempts": batch.attempts,
            "http_status": batch.http_status,
            "sent_at": batch.sent_at,
            "answered_at": batch.answered_at,
            "error": batch.error,
            "fingerprints": batch.fingerprints.tobytes(),
        }
        with self._transaction("could not be written") as connection:
            if superseded:
                # Packed ids come without the zeros at their end.
                ids = [packed.ljust(16, b"\0") for packed in superseded]
                connection.execute(
                    _BATCHES.delete().where(
                        *among(_BATCHES, site, event_store, [batch.hour]),
                        _BATCHES.c.outcome == REJECTED,
                        _FIRST_ID.in_(ids),
                    )
                )
            connection.execute(_BATCHES.insert().inline(), row)

    def batches(
        self, event_store: str, hours: Sequence[Hour], *, site: str
    ) -> dict[Hour, list[Batch]]:
        """All batches of the hours, oldest first, from one query; every hour asked for is a key.

        Raises:
            StorageError: the database could not be read.
        """
        found: dict[Hour, list[Batch]] = {hour: [] for hour in hours}
        if not found:
            return found
        for batch in self._read(*among(_BATCHES, site, event_store, list(found))):
            found[batch.hour].append(batch)
        return found

    def rejected(self, event_store: str, hours: HourRange, *, site: str) -> list[Batch]:
        """The events of the hours whose last answer is a rejection, each as a batch, by hour.

        Raises:
            StorageError: the database could not be read.
        """
        found = self._read(
            *among(_BATCHES, site, event_store, list(hours)), _BATCHES.c.outcome == REJECTED
        )
        return sorted(found, key=lambda batch: batch.hour)

    def lease(
        self,
        event_store: str,
        hours: Sequence[Hour],
        *,
        site: str,
        waiting: Callable[[], None] = lambda: None,
    ) -> Lease:
        """The right to send events of these hours, not taken yet: see `Lease`."""
        return Lease(self._transaction, _LEASES, site, event_store, hours, waiting=waiting)

    def backlog(self, site: str) -> Backlog:
        """The hours of a site that event stores are still to get in runs of their own."""
        return Backlog(self._transaction, _LEFT_OVER, site)

    def acknowledged(
        self, event_store: str, hours: Sequence[Hour], *, site: str
    ) -> dict[Hour, Fingerprints]:
        """What the event store has of each hour, from one query.

        Returns:
            per hour the last acknowledged fingerprint of each event, ordered by id (see
            `caliper_dagster.emitter.fingerprints`).
        """
        found = self.batches(event_store, hours, site=site)
        return {hour: acknowledged_fingerprints(batches) for hour, batches in found.items()}

    def _read(self, *conditions: sa.ColumnElement[bool]) -> list[Batch]:
        query = sa.select(_BATCHES).where(*conditions).order_by(_BATCHES.c.id)
        with self._transaction("could not be read") as connection:
            return [_batch(row) for row in connection.execute(query)]

    @contextmanager
    def _transaction(self, failure: str) -> Iterator[sa.Connection]:
        self._prepare()
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StorageError(
                f"The ledger at {self._name} {failure}: {self._reason(error)}."
            ) from None

    def _prepare(self) -> None:
        if self._prepared:
            return
        try:
            _create_folder(self._url)
            with self._engine.begin() as connection:
                _create_tables(connection)
        except (SQLAlchemyError, OSError) as error:
            raise ConfigurationError(
                f"CALIPER_LEDGER_URL is wrong: the ledger at {self._name} cannot be opened "
                f"({self._reason(error)})."
            ) from None
        self._prepared = True

    def _reason(self, error: Exception) -> str:
        """The database's own words on one line, without the password and without parameters."""
        told = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        reason = " ".join(told.split())
        secrets = [self._url.password, *_texts(self._url.query.values())]
        for secret in secrets:
            if secret:
                reason = reason.replace(str(secret), "***")
        return reason[:200].rstrip(".")


def acknowledged_fingerprints(batches: Sequence[Batch]) -> Fingerprints:
    """The last acknowledged fingerprint of each event of these batches, ordered by id."""
    return latest(_history(batches, ACKNOWLEDGED))


def rejected_fingerprints(batches: Sequence[Batch]) -> Fingerprints:
    """The events of these batches whose last answer is a rejection, ordered by id."""
    return latest(_history(batches, REJECTED))


def _history(batches: Sequence[Batch], outcome: str) -> Fingerprints:
    found = [batch.fingerprints for batch in batches if batch.outcome == outcome]
    return np.concatenate(found) if found else np.empty(0, FINGERPRINT)


def results_table(event_store: str, batches: Sequence[Batch]) -> pa.Table:
    """The batches as an ``EMISSION_RESULTS`` table, in their order."""
    if not batches:
        return EMISSION_RESULTS.empty()
    ends = np.cumsum([len(batch.fingerprints) for batch in batches], dtype=np.int32)
    offsets = np.concatenate((np.zeros(1, np.int32), ends))
    events = event_ids(np.concatenate([batch.fingerprints for batch in batches]))
    columns = {
        "event_store": [event_store] * len(batches),
        "batch_id": [batch.batch_id for batch in batches],
        "outcome": [batch.outcome for batch in batches],
        "events": np.diff(offsets).astype(np.int64),
        "bytes": [batch.bytes for batch in batches],
        "attempts": [batch.attempts for batch in batches],
        "http_status": [batch.http_status for batch in batches],
        "sent_at": [batch.sent_at for batch in batches],
        "answered_at": [batch.answered_at for batch in batches],
        "error": [batch.error for batch in batches],
        "event_ids": pa.ListArray.from_arrays(pa.array(offsets), events),
    }
    schema = EMISSION_RESULTS.schema
    return pa.table(
        {name: _column(columns[name], schema.field(name).type) for name in schema.names}
    )


def _column(values: Any, wanted: pa.DataType) -> pa.Array:  # noqa: ANN401 - list or array
    if isinstance(values, pa.Array):
        return values.cast(wanted)
    if pa.types.is_dictionary(wanted):
        return pa.array(values, wanted.value_type).dictionary_encode().cast(wanted)
    return pa.array(values, wanted)


def _parsed(url: str) -> sa.URL:
    parsed = None
    with suppress(ArgumentError, ValueError):
        parsed = sa.make_url(url)
    if parsed is None or parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise ConfigurationError(
            "CALIPER_LEDGER_URL must be an SQLAlchemy URL of SQLite or PostgreSQL, such as "
            "sqlite:///ledger.sqlite or postgresql+psycopg2://user:password@host/database."
        )
    return parsed


def _display_name(url: sa.URL) -> str:
    """The database without account and options; ``URL.set`` cannot take an account away."""
    shown = sa.URL.create(url.drivername, host=url.host, port=url.port, database=url.database)
    return shown.render_as_string()


def _engine(url: sa.URL) -> sa.Engine:
    engine: sa.Engine | None
    try:
        if url.get_backend_name() == "sqlite":
            engine = sa.create_engine(
                url, hide_parameters=True, connect_args={"timeout": _LOCK_WAIT}
            )
        else:
            engine = sa.create_engine(url, hide_parameters=True, pool_pre_ping=True)
    except (ImportError, SQLAlchemyError):
        engine = None
    if engine is None:
        raise ConfigurationError(
            f"CALIPER_LEDGER_URL is wrong: there is no database driver {url.drivername!r} here."
        )
    if isinstance(engine.dialect, SQLiteDialect):
        sa.event.listen(engine, "connect", _set_durable)
    return engine


def _set_durable(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # SQLite itself does not wait when two processes turn a new file to WAL at once.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    connection.execute("PRAGMA synchronous=FULL")


def _create_folder(url: sa.URL) -> None:
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


def _create_tables(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        # An account that may not create tables can still use a ledger that exists.
        if all(sa.inspect(connection).has_table(name) for name in _TABLES.tables):
            return
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
    for table in _TABLES.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
    connection.execute(CreateIndex(_BY_HOUR, if_not_exists=True))


def _batch(row: sa.Row[Any]) -> Batch:
    return Batch(
        hour=Hour(row.hour),
        batch_id=row.batch_id,
        outcome=row.outcome,
        bytes=row.bytes,
        attempts=row.attempts,
        http_status=row.http_status,
        sent_at=row.sent_at,
        answered_at=row.answered_at,
        error=row.error,
        fingerprints=unpacked(bytes(row.fingerprints)),
    )


def _texts(values: Any) -> list[str]:  # noqa: ANN401 - of a URL's query: text or tuples of it
    return [text for value in values for text in ([value] if isinstance(value, str) else value)]
