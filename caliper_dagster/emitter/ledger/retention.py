"""What a ledger need not keep for ever, and what it says about stored hours that are to go.

A batch decides nothing any more when each of its events was acknowledged again later: the last
acknowledgement of an event counts. All other rows stay, so what is acknowledged stays known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from caliper_dagster.core.hours import Hour
from caliper_dagster.core.parts import in_parts
from caliper_dagster.core.revisions import PRUNED_REVISION
from caliper_dagster.emitter.ledger.fingerprints import last_positions, unpacked
from caliper_dagster.emitter.ledger.leases import NOW
from caliper_dagster.emitter.ledger.records import ACKNOWLEDGED

Transaction = Callable[[str], AbstractContextManager[sa.Connection]]

_HOURS_PER_READ = 168
"""Hours whose fingerprints are held in memory at once."""

_ROWS_PER_STATEMENT = 500


class SupersededBatch(NamedTuple):
    """A batch whose events were all acknowledged again later.

    Attributes:
        id: of its row.
        bytes: size of its fingerprints, which are nearly all of the row.
    """

    id: int
    bytes: int


class LedgerRetention:
    """The batches and leases of one site.

    Raises:
        StorageError: (all methods) the database failed.
    """

    def __init__(
        self, transaction: Transaction, batches: sa.Table, leases: sa.Table, site: str
    ) -> None:
        self._transaction = transaction
        self._batches, self._leases, self._site = batches, leases, site

    def superseded(self, event_store: str, answered_before: datetime) -> list[SupersededBatch]:
        """The batches of an event store that were answered before a time and superseded since."""
        columns, limit = self._batches.c, int(answered_before.timestamp() * 1000)
        acknowledged = (
            columns.site == self._site,
            columns.event_store == event_store,
            columns.outcome == ACKNOWLEDGED,
        )
        hours = (
            sa.select(columns.hour)
            .where(*acknowledged)
            .group_by(columns.hour)
            .having(sa.func.count() > 1, sa.func.min(columns.answered_at) < limit)
            .order_by(columns.hour)
        )
        with self._transaction("could not be read") as connection:
            numbers = list(connection.execute(hours).scalars())
        found: list[SupersededBatch] = []
        for part in in_parts(numbers, _HOURS_PER_READ):
            query = (
                sa.select(columns.id, columns.hour, columns.answered_at, columns.fingerprints)
                .where(*acknowledged, columns.hour.in_(part))
                .order_by(columns.hour, columns.id)
            )
            with self._transaction("could not be read") as connection:
                batches = connection.execute(query).all()
            for _, of_hour in groupby(batches, lambda batch: int(batch.hour)):
                found += _superseded(list(of_hour), limit)
        return found

    def delete(self, batches: Iterable[SupersededBatch]) -> None:
        """Delete batches."""
        for part in in_parts([batch.id for batch in batches], _ROWS_PER_STATEMENT):
            with self._transaction("could not be written") as connection:
                connection.execute(self._batches.delete().where(self._batches.c.id.in_(part)))

    def forget_contents(self, hours: Collection[Hour]) -> None:
        """Record that the content of the hours' events cannot be made again.

        From then on an event that an event store has acknowledged counts by its id.
        """
        columns = self._batches.c
        for part in in_parts(sorted(hour.number for hour in hours), _HOURS_PER_READ):
            statement = self._batches.update().where(
                columns.site == self._site,
                columns.hour.in_(part),
                columns.outcome == ACKNOWLEDGED,
                columns.mapping_revision != PRUNED_REVISION,
            )
            with self._transaction("could not be written") as connection:
                connection.execute(statement.values(mapping_revision=PRUNED_REVISION))

    def leased_hours(self) -> set[Hour]:
        """The hours of which a run may be sending events now."""
        table = self._leases
        with self._transaction("could not be read") as connection:
            now = NOW[connection.dialect.name]
            query = sa.select(table.c.hour).where(table.c.site == self._site, table.c.ends_at > now)
            return {Hour(number) for number in connection.execute(query.distinct()).scalars()}


def _superseded(batches: Sequence[Any], limit: int) -> Iterator[SupersededBatch]:
    """Of the acknowledged batches of one hour, oldest first, those that decide nothing any more."""
    history = [unpacked(bytes(batch.fingerprints)) for batch in batches]
    counts = np.zeros(sum(map(len, history)), np.bool_)
    counts[last_positions(np.concatenate(history))] = True
    begin = 0
    for batch, events in zip(batches, history, strict=True):
        end = begin + len(events)
        if batch.answered_at < limit and not counts[begin:end].any():
            yield SupersededBatch(batch.id, len(batch.fingerprints))
        begin = end
