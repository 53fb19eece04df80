"""What a ledger says of all hours together: rejected events, the last acknowledgement, its size."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import sqlalchemy as sa

from caliper_dagster.emitter.ledger.records import ACKNOWLEDGED, REJECTED

Transaction = Callable[[str], AbstractContextManager[sa.Connection]]


@dataclass(frozen=True, slots=True)
class StoreTotals:
    """What an event store has answered so far.

    Attributes:
        rejected: events whose last answer is a rejection.
        last_acknowledged: Unix time in seconds of its last acknowledgement; None without one.
    """

    rejected: int = 0
    last_acknowledged: float | None = None


class LedgerTotals:
    """Totals over the batches of one site.

    Raises:
        StorageError: (all methods) the database failed.
    """

    def __init__(self, transaction: Transaction, batches: sa.Table, site: str) -> None:
        self._transaction, self._batches, self._site = transaction, batches, site

    def by_store(self) -> dict[str, StoreTotals]:
        """The totals of each event store that has answered, by its name in the ledger.

        One query, which passes over all batches of the site.
        """
        columns = self._batches.c
        query = (
            sa.select(
                columns.event_store,
                sa.func.count().filter(columns.outcome == REJECTED).label("rejected"),
                sa.func.max(columns.answered_at)
                .filter(columns.outcome == ACKNOWLEDGED)
                .label("last"),
            )
            .where(columns.site == self._site)
            .group_by(columns.event_store)
        )
        with self._transaction("could not be read") as connection:
            return {
                row.event_store: StoreTotals(
                    row.rejected, None if row.last is None else row.last / 1000
                )
                for row in connection.execute(query)
            }

    def size(self) -> int:
        """The size of the ledger in bytes: of the SQLite file, or of its tables in PostgreSQL.

        The sites that share a ledger share its size.
        """
        with self._transaction("could not be read") as connection:
            if connection.dialect.name == "sqlite":
                pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
                return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
            sizes = [
                sa.func.pg_total_relation_size(table.name)
                for table in self._batches.metadata.sorted_tables
            ]
            return sum(map(int, connection.execute(sa.select(*sizes)).one()))
