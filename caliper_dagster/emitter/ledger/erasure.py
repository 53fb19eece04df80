"""What the ledger of a site says of events about a person, and how it forgets their content.

An event that was acknowledged stays known by its id, so that it is not sent again. The hash of its
content goes: with it somebody could check guesses. Its content may then be anything
(`fingerprints.ANY_CONTENT`). The words of an event store about a rejected event may quote it, so
they go, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from caliper_dagster.core.hours import Hour
from caliper_dagster.emitter.ledger.fingerprints import (
    ANY_CONTENT,
    event_ids,
    packed_ids,
    unpacked,
)

Transaction = Callable[[str], AbstractContextManager[sa.Connection]]


class Answer(NamedTuple):
    """What an event store answered about an event.

    Attributes:
        event_store: its name in the ledger.
        outcome: ``acknowledged`` or ``rejected``.
        answered_at: milliseconds since 1970, UTC.
        error: the event store's words about a rejected event.
    """

    event_store: str
    hour: Hour
    event_id: str
    outcome: str
    answered_at: int
    batch_id: str
    error: str | None

    @property
    def answered(self) -> str:
        """When, in ISO 8601."""
        moment = datetime.fromtimestamp(self.answered_at / 1000, UTC)
        return moment.isoformat(timespec="milliseconds")


class LedgerErasure:
    """The batches of one site, whatever the event store.

    Raises:
        StorageError: (all methods) the database failed.
    """

    def __init__(self, transaction: Transaction, batches: sa.Table, site: str) -> None:
        self._transaction, self._batches, self._site = transaction, batches, site

    def answers(self, events: Mapping[Hour, Collection[str]]) -> Iterator[Answer]:
        """All answers about some events, oldest first.

        Args:
            events: ``urn:uuid:`` of events by hour.
        """
        for row, chosen in self._batches_of(events):
            for event_id in event_ids(unpacked(bytes(row.fingerprints))[chosen]).to_pylist():
                yield Answer(
                    row.event_store,
                    Hour(row.hour),
                    event_id,
                    row.outcome,
                    row.answered_at,
                    row.batch_id,
                    row.error,
                )

    def forget(self, events: Mapping[Hour, Collection[str]]) -> None:
        """Forget the content of some events; that they were answered stays known.

        Args:
            events: ``urn:uuid:`` of events by hour.
        """
        columns = self._batches.c
        for row, chosen in self._batches_of(events):
            packed = unpacked(bytes(row.fingerprints)).copy()
            packed["content"][chosen] = ANY_CONTENT
            change = self._batches.update().where(columns.id == row.id)
            with self._transaction("could not be written") as connection:
                _overwrite_freed_space(connection)
                values = {"fingerprints": packed.tobytes(), "error": None}
                connection.execute(change.values(values))

    def forget_errors(self, hours: Collection[Hour], holds: Callable[[str], bool]) -> None:
        """Forget the words about rejected events of some hours that hold something."""
        columns = self._batches.c
        condition = (
            (columns.site == self._site)
            & columns.hour.in_([hour.number for hour in hours])
            & columns.error.is_not(None)
        )
        with self._transaction("could not be written") as connection:
            rows = connection.execute(sa.select(columns.id, columns.error).where(condition))
            found = [row.id for row in rows if holds(row.error)]
            _overwrite_freed_space(connection)
            for id_ in found:
                change = self._batches.update().where(columns.id == id_)
                connection.execute(change.values(error=None))

    def flush(self) -> None:
        """Leave nothing of what was overwritten in the write-ahead log of an SQLite ledger."""
        with self._transaction("could not be written") as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _batches_of(
        self, events: Mapping[Hour, Collection[str]]
    ) -> Iterator[tuple[sa.Row[Any], npt.NDArray[np.bool_]]]:
        """The batches that hold any of the events, and which of theirs these are, as a mask."""
        columns = self._batches.c
        hours = [hour.number for hour, ids in events.items() if ids]
        if not hours:
            return
        query = (
            sa.select(self._batches)
            .where((columns.site == self._site) & columns.hour.in_(hours))
            .order_by(columns.id)
        )
        with self._transaction("could not be read") as connection:
            rows = list(connection.execute(query))
        packed = {hour.number: packed_ids(ids) for hour, ids in events.items() if ids}
        for row in rows:
            chosen = np.isin(unpacked(bytes(row.fingerprints))["id"], packed[row.hour])
            if chosen.any():
                yield row, chosen


def _overwrite_freed_space(connection: sa.Connection) -> None:
    """What SQLite frees is overwritten with zeros; PostgreSQL overwrites it when it vacuums."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
