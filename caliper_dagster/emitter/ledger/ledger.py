"""The ledger: one row per answered batch, in SQLite beside the storage, or in PostgreSQL.

Of an event it holds the fingerprint (24 bytes), never its content, so 100 million events in
envelopes of 500 are about 2.5 GB. No column holds a secret. The ledger does not decide what is
sent.

An event that the event store rejects is a row of its own, with the store's words, for as long as
the rejection is the last answer to it; the next answer removes the row. An hour that the event
store takes whole has one row, that of the last request.

A batch is committed before `Ledger.record` returns. SQLite runs in WAL mode with
``synchronous=FULL``: with ``NORMAL`` a power failure could undo batches that were reported as
acknowledged, and one flush per envelope costs less than the POST it follows.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from caliper_dagster.core.database_url import require_encoded_account
from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName, StorageError
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.parts import in_parts
from caliper_dagster.core.postgres_deadlines import connect_arguments, is_silence
from caliper_dagster.core.revisions import PRUNED_REVISION
from caliper_dagster.core.site_identity import SiteIdentity
from caliper_dagster.emitter.ledger.backlog import Backlog
from caliper_dagster.emitter.ledger.erasure import LedgerErasure
from caliper_dagster.emitter.ledger.fingerprints import unpacked
from caliper_dagster.emitter.ledger.leases import Lease, of_hours
from caliper_dagster.emitter.ledger.pseudonym_keys import LedgerKeys
from caliper_dagster.emitter.ledger.records import (
    ACKNOWLEDGED,
    REJECTED,
    BatchRecord,
    LastAnswers,
)
from caliper_dagster.emitter.ledger.retention import LedgerRetention
from caliper_dagster.emitter.ledger.sites import check_site, claim_site
from caliper_dagster.emitter.ledger.tables import (
    BACKLOG,
    BATCHES,
    LEASES,
    PSEUDONYM_KEYS,
    SITES,
    TOMBSTONES,
    prepare,
)
from caliper_dagster.emitter.ledger.tombstones import LedgerTombstones
from caliper_dagster.emitter.ledger.totals import LedgerTotals

_SETTING = SettingName("CALIPER_LEDGER_URL")
_TIMEOUT = SettingName("CALIPER_LEDGER_TIMEOUT")

_LOCK_WAIT = 30
"""Seconds to wait for another process that writes to the same SQLite ledger."""

_HOURS_PER_READ = 168
"""Hours whose fingerprints are held in memory at once when a long range is counted."""

_INSERT_BATCH = BATCHES.insert().inline()
_FIRST_ID = sa.type_coerce(sa.func.substr(BATCHES.c.fingerprints, 1, 16), sa.LargeBinary)


class Ledger:
    """What each event store has acknowledged; a context manager.

    Tables are created on first use; processes that do so at once wait for each other.

    Args:
        url: SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg2://…``. The folder of an
            SQLite file is created.
        identity: the site that uses it; None does not check that it is one of the ledger's.
        timeout: seconds for the answer to a statement, in PostgreSQL; a server that is silent for
            longer counts as failed.

    Raises:
        ConfigurationError: the URL is none of these, or (on entering, or at the first use) the
            database cannot be opened; the sentence names ``CALIPER_LEDGER_URL``. Or the ledger has
            the site at another address; the sentence names ``CALIPER_SITE_ID``.
    """

    def __init__(
        self, url: str, identity: SiteIdentity | None = None, *, timeout: float = 120
    ) -> None:
        self._identity = identity
        self._url = _parsed(url)
        self._name = _display_name(self._url)
        self._engine = _engine(self._url, timeout)
        self._prepared = False

    def __repr__(self) -> str:
        return f"Ledger({self._name!r})"

    def __enter__(self) -> Ledger:
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def exists(self) -> bool:
        """Whether there is a ledger to read; looking does not create one.

        Only the file of an SQLite ledger is looked for. A PostgreSQL database is taken to have one.
        """
        path = self._url.database
        return self._url.get_backend_name() != "sqlite" or bool(path and Path(path).exists())

    def claim(self, identity: SiteIdentity) -> None:
        """Record that a site uses the ledger, and its address.

        Raises:
            ConfigurationError: the ledger has the site at another address.
            StorageError: the database could not be written.
        """
        with self._transaction("could not be written") as connection:
            check_site(connection, SITES, BATCHES, identity)
            claim_site(connection, SITES, identity)

    def close(self) -> None:
        """Close all connections; the ledger can be used again and then opens new ones."""
        self._engine.dispose()

    def record(
        self,
        event_store: str,
        batch: BatchRecord,
        *,
        site: str,
        superseded: Collection[bytes] = (),
        replaces_hour: bool = False,
    ) -> None:
        """Add one answered batch. It is committed when this returns.

        Args:
            event_store: name of the event store that answered.
            batch: what it answered to.
            site: whose events they are.
            superseded: packed ids of events of the hour whose rejections are no longer the last
                answer.
            replaces_hour: whether the event store now has these events of the hour and no others.

        Raises:
            StorageError: the database could not be written.
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
            "mapping_revision": batch.mapping_revision,
            "fingerprints": batch.fingerprints.tobytes(),
        }
        replaced: list[sa.ColumnElement[bool]] = []
        if replaces_hour or superseded:
            replaced.extend(of_hours(BATCHES, site, event_store, [batch.hour]))
        if superseded and not replaces_hour:
            # numpy strips the zeros at the end of packed ids.
            ids = [packed.ljust(16, b"\0") for packed in superseded]
            replaced.extend((BATCHES.c.outcome == REJECTED, _FIRST_ID.in_(ids)))
        with self._transaction("could not be written") as connection:
            if replaced:
                connection.execute(BATCHES.delete().where(*replaced))
            connection.execute(_INSERT_BATCH, row)

    def batches(
        self, event_store: str, hours: Sequence[Hour], *, site: str
    ) -> dict[Hour, list[BatchRecord]]:
        """All batches of the hours, oldest first, from one query; every given hour is a key.

        Raises:
            StorageError: the database could not be read.
        """
        batches: dict[Hour, list[BatchRecord]] = {hour: [] for hour in hours}
        if not batches:
            return batches
        for batch in self._read(*of_hours(BATCHES, site, event_store, list(batches))):
            batches[batch.hour].append(batch)
        return batches

    def answered_hours(self, hours: Sequence[Hour], *, site: str) -> set[Hour]:
        """Those of the hours of which any event store has answered a batch.

        Raises:
            StorageError: the database could not be read.
        """
        if not hours:
            return set()
        numbers = BATCHES.c.hour
        query = sa.select(numbers).where(
            BATCHES.c.site == site,
            numbers.between(min(hours).number, max(hours).number),
        )
        with self._transaction("could not be read") as connection:
            found = {Hour(number) for number in connection.execute(query.distinct()).scalars()}
        return found.intersection(hours)

    def rejected(self, event_store: str, hours: HourRange, *, site: str) -> list[BatchRecord]:
        """The events of the hours whose last answer is a rejection, each as a batch, by hour.

        Raises:
            StorageError: the database could not be read.
        """
        rejections = self._read(
            *of_hours(BATCHES, site, event_store, list(hours)), BATCHES.c.outcome == REJECTED
        )
        return sorted(rejections, key=lambda batch: batch.hour)

    def lease(
        self,
        event_store: str,
        hours: Sequence[Hour],
        *,
        site: str,
        waiting: Callable[[], None] = lambda: None,
    ) -> Lease:
        """The right to send events of these hours, not acquired yet; see `Lease`."""
        return Lease(self._transaction, LEASES, site, event_store, hours, waiting=waiting)

    def backlog(self, site: str) -> Backlog:
        """The hours of a site that event stores have yet to receive in runs of their own."""
        return Backlog(self._transaction, BACKLOG, site)

    def pseudonym_keys(self, site: str) -> LedgerKeys:
        """The keys under which each event store of a site was sent events."""
        return LedgerKeys(self._transaction, PSEUDONYM_KEYS, BATCHES, site)

    def retention(self, site: str) -> LedgerRetention:
        """What the ledger of a site need not keep, and what may not be deleted elsewhere."""
        return LedgerRetention(self._transaction, BATCHES, LEASES, site)

    def tombstones(self, site: str) -> LedgerTombstones:
        """Which persons of a site were erased, and which requests of its Moodle were answered."""
        return LedgerTombstones(self._transaction, TOMBSTONES, site)

    def erasure(self, site: str) -> LedgerErasure:
        """What the ledger of a site says of events about a person."""
        return LedgerErasure(self._transaction, BATCHES, site)

    def totals(self, site: str) -> LedgerTotals:
        """What the ledger says of all hours of a site together."""
        return LedgerTotals(self._transaction, BATCHES, site)

    def acknowledged(
        self, event_store: str, hours: Sequence[Hour], *, site: str
    ) -> dict[Hour, LastAnswers]:
        """What the event store has of each hour, from one query: the last acknowledged contents."""
        batches = self.batches(event_store, hours, site=site)
        return {hour: LastAnswers.of(of_hour, ACKNOWLEDGED) for hour, of_hour in batches.items()}

    def acknowledged_otherwise(
        self, event_store: str, revision: int, *, site: str, hours: HourRange | None = None
    ) -> dict[Hour, int]:
        """How many events of each hour were last acknowledged under another mapping revision.

        Events whose content cannot be made again (`LedgerRetention.forget_contents`) do
        not count.

        Args:
            event_store: name of the event store.
            revision: the mapping revision of now.
            site: whose events.
            hours: only these; all hours when not given.

        Returns:
            the hours that have such events, in order. Hours that have none cost nothing but one
            query; of the others the fingerprints are read, a week at a time.

        Raises:
            StorageError: the database could not be read.
        """
        counts: dict[Hour, int] = {}
        affected = self._hours_of_other_batches(event_store, revision, site, hours)
        for part in in_parts(affected, _HOURS_PER_READ):
            for hour, last in self.acknowledged(event_store, part, site=site).items():
                counts[hour] = int((~np.isin(last.revisions, (revision, PRUNED_REVISION))).sum())
        return {hour: count for hour, count in counts.items() if count}

    def hours_of_several_revisions(self, event_store: str, *, site: str) -> list[Hour]:
        """The hours of which batches of more than one mapping revision were acknowledged, in order.

        Raises:
            StorageError: the database could not be read.
        """
        columns = BATCHES.c
        query = (
            sa.select(columns.hour)
            .where(
                columns.site == site,
                columns.event_store == event_store,
                columns.outcome == ACKNOWLEDGED,
                columns.mapping_revision != PRUNED_REVISION,
            )
            .group_by(columns.hour)
            .having(sa.func.min(columns.mapping_revision) < sa.func.max(columns.mapping_revision))
            .order_by(columns.hour)
        )
        with self._transaction("could not be read") as connection:
            return [Hour(number) for number in connection.execute(query).scalars()]

    def _hours_of_other_batches(
        self, event_store: str, revision: int, site: str, hours: HourRange | None
    ) -> list[Hour]:
        columns = BATCHES.c
        conditions = [
            columns.site == site,
            columns.event_store == event_store,
            columns.outcome == ACKNOWLEDGED,
            columns.mapping_revision.not_in([revision, PRUNED_REVISION]),
        ]
        if hours is not None:
            conditions.append(columns.hour.between(hours.start.number, hours.end.number - 1))
        query = sa.select(columns.hour).where(*conditions).distinct().order_by(columns.hour)
        with self._transaction("could not be read") as connection:
            return [Hour(number) for number in connection.execute(query).scalars()]

    def _read(self, *conditions: sa.ColumnElement[bool]) -> list[BatchRecord]:
        query = sa.select(BATCHES).where(*conditions).order_by(BATCHES.c.id)
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
                Sentence(f"The ledger at {self._name} {failure}: ", self._reason(error), ".")
            ) from None

    def _prepare(self) -> None:
        if self._prepared:
            return
        try:
            _create_folder(self._url)
            with self._engine.begin() as connection:
                prepare(connection)
                if self._identity is not None:
                    check_site(connection, SITES, BATCHES, self._identity)
        except (SQLAlchemyError, OSError) as error:
            raise ConfigurationError(
                Sentence(
                    _SETTING,
                    f" is wrong: the ledger at {self._name} cannot be opened (",
                    self._reason(error),
                    ").",
                )
            ) from None
        self._prepared = True

    def _reason(self, error: Exception) -> str:
        """The database's own message on one line, without the password and without parameters."""
        if isinstance(error, DBAPIError) and is_silence(error.orig):
            return Sentence("the server did not answer in time, see ", _TIMEOUT)
        words = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        reason = " ".join(words.split())
        secrets = [self._url.password, *_texts(self._url.query.values())]
        for secret in secrets:
            if secret:
                reason = reason.replace(str(secret), "***")
        return reason[:200].rstrip(".")


def _parsed(url: str) -> sa.URL:
    require_encoded_account(_SETTING, url)
    parsed = None
    with suppress(ArgumentError, ValueError):
        parsed = sa.make_url(url)
    if parsed is None or parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise ConfigurationError(
            Sentence(
                _SETTING,
                " must be an SQLAlchemy URL of SQLite or PostgreSQL, such as "
                "sqlite:///ledger.sqlite or postgresql+psycopg2://user:password@host/database.",
            )
        )
    return parsed


def _display_name(url: sa.URL) -> str:
    """The database without account and options; ``URL.set`` cannot remove an account."""
    shown = sa.URL.create(url.drivername, host=url.host, port=url.port, database=url.database)
    return shown.render_as_string()


def _engine(url: sa.URL, timeout: float) -> sa.Engine:
    engine: sa.Engine | None
    try:
        if url.get_backend_name() == "sqlite":
            engine = sa.create_engine(
                url, hide_parameters=True, connect_args={"timeout": _LOCK_WAIT}
            )
        else:
            engine = sa.create_engine(
                url,
                hide_parameters=True,
                pool_pre_ping=True,
                connect_args=connect_arguments(timeout),
            )
    except (ImportError, SQLAlchemyError):
        engine = None
    if engine is None:
        raise ConfigurationError(
            Sentence(_SETTING, f" is wrong: there is no database driver {url.drivername!r} here.")
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
            # SQLite itself does not wait when two processes switch a new file to WAL at once.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    connection.execute("PRAGMA synchronous=FULL")


def _create_folder(url: sa.URL) -> None:
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


def _batch(row: sa.Row[Any]) -> BatchRecord:
    return BatchRecord(
        hour=Hour(row.hour),
        batch_id=row.batch_id,
        outcome=row.outcome,
        bytes=row.bytes,
        attempts=row.attempts,
        http_status=row.http_status,
        sent_at=row.sent_at,
        answered_at=row.answered_at,
        error=row.error,
        mapping_revision=row.mapping_revision,
        fingerprints=unpacked(bytes(row.fingerprints)),
    )


def _texts(values: Any) -> list[str]:  # noqa: ANN401 - of a URL's query: text or tuples of it
    return [text for value in values for text in ([value] if isinstance(value, str) else value)]
