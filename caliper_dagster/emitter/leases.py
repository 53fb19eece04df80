"""Leases: who may send events of an hour, so that two runs at once do not send them twice.

A lease is a row of the ledger for each hour, with its owner and the time at which it ends; the
owner puts that off while it works. A run that was killed cannot give its lease back: on the same
machine others see that its process is gone, elsewhere they wait until the lease ends. All times
are those of the ledger's database, so clocks need not agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from caliper_dagster.core import process_identity
from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.core.hours import Hour

SECONDS = 120
"""A lease ends so long after its owner was last heard of."""

_PATIENCE = 900
_POLL = 0.5

_NOW = {
    "sqlite": sa.literal_column("(julianday('now') - 2440587.5) * 86400.0", sa.Double),
    "postgresql": sa.literal_column("extract(epoch from clock_timestamp())", sa.Double),
}
_INSERT: dict[str, Callable[[sa.Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}

Transaction = Callable[[str], AbstractContextManager[sa.Connection]]


def leases_table(tables: sa.MetaData) -> sa.Table:
    """The table of leases: an hour of a site and an event store has one row, while it is sent."""
    return sa.Table(
        "caliper_lease",
        tables,
        sa.Column("site", sa.Text, primary_key=True),
        sa.Column("event_store", sa.Text, primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.Text, nullable=False, comment="process and run that sends"),
        sa.Column("ends_at", sa.Double, nullable=False, comment="seconds since 1970, UTC"),
    )


def among(
    table: sa.Table, site: str, event_store: str, hours: Sequence[Hour]
) -> tuple[sa.ColumnElement[bool], ...]:
    """Conditions for the rows of some hours, in a table with a row per hour or batch."""
    numbers = sorted({hour.number for hour in hours})
    hour = table.c.hour
    whole = numbers and numbers[-1] - numbers[0] == len(numbers) - 1
    of_hours = hour.between(numbers[0], numbers[-1]) if whole else hour.in_(numbers)
    return table.c.site == site, table.c.event_store == event_store, of_hours


class Lease:
    """The right to send events of some hours of one site to one event store; a context manager.

    Entering waits until no other has the right to any of the hours. All are taken, or none, so that
    two runs cannot wait for each other.

    Args:
        transaction: opens a transaction of the ledger; takes what to say if it fails.
        table: what `leases_table` made.
        site: whose events.
        event_store: name of the event store.
        hours: hours, in any order.
        seconds: how long the lease lasts without `keep`.
        patience: seconds to wait for another run.
        waiting: called now and then while it waits; may raise.

    Raises:
        DeliveryError: (on entering) another run kept the hours for too long; (in `keep`) another
            has taken them over, because this one was not heard of for too long. Transient.
    """

    def __init__(
        self,
        transaction: Transaction,
        table: sa.Table,
        site: str,
        event_store: str,
        hours: Sequence[Hour],
        *,
        seconds: float = SECONDS,
        patience: float = _PATIENCE,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._transaction = transaction
        self._table = table
        self._key = (site, event_store)
        self._hours = sorted(set(hours))
        self._seconds = seconds
        self._patience = patience
        self._waiting = waiting
        self._owner = f"{process_identity.process_name()} {uuid4()}"
        self._kept_at = 0.0

    def __enter__(self) -> Lease:
        deadline = time.monotonic() + self._patience
        while True:
            holders = self._take()
            if not holders:
                self._kept_at = time.monotonic()
                return self
            gone = [holder for holder in holders if is_gone(holder)]
            if gone:
                self._evict(gone)
            elif time.monotonic() > deadline:
                raise DeliveryError(
                    f"Another run has been sending the same hours for {self._patience:.0f} "
                    "seconds; run this one again when that has ended.",
                    transient=True,
                )
            else:
                self._waiting()
                time.sleep(_POLL)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._transaction("could not be written") as connection:
            connection.execute(self._table.delete().where(self._table.c.owner == self._owner))

    def keep(self) -> None:
        """Put the end off, if that is due; to be called often."""
        if time.monotonic() - self._kept_at < self._seconds / 4:
            return
        with self._transaction("could not be written") as connection:
            ends_at = _NOW[connection.dialect.name] + self._seconds
            statement = self._table.update().where(self._table.c.owner == self._owner)
            kept = connection.execute(statement.values(ends_at=ends_at)).rowcount
        if kept < len(self._hours):
            raise DeliveryError(
                "Another run has taken over the hours of this one, which was not heard of for "
                f"{self._seconds:.0f} seconds; run it again.",
                transient=True,
            )
        self._kept_at = time.monotonic()

    def _take(self) -> list[str]:
        """Take all hours, unless another has some: then its name (and that of others)."""
        table = self._table
        of_hours = among(table, *self._key, self._hours)
        with self._transaction("could not be written") as connection:
            now, insert = _NOW[connection.dialect.name], _INSERT[connection.dialect.name]
            rows = [
                {
                    "site": self._key[0],
                    "event_store": self._key[1],
                    "hour": hour.number,
                    "owner": self._owner,
                    "ends_at": now + self._seconds,
                }
                for hour in self._hours
            ]
            # A statement that writes comes first: SQLite then waits for others.
            connection.execute(table.delete().where(*of_hours, table.c.ends_at < now))
            connection.execute(insert(table).values(rows).on_conflict_do_nothing())
            others = sa.select(table.c.owner).where(*of_hours, table.c.owner != self._owner)
            holders = list(connection.execute(others.distinct()).scalars())
            if holders:
                connection.rollback()
        return holders

    def _evict(self, owners: list[str]) -> None:
        with self._transaction("could not be written") as connection:
            connection.execute(self._table.delete().where(self._table.c.owner.in_(owners)))


def is_gone(owner: str) -> bool:
    """Whether the owner of a lease was a process of this machine that does not run any more."""
    return process_identity.is_gone(owner.rpartition(" ")[0])
