"""Leases: the right to send events of an hour, so that two runs at once do not send them twice.

A lease is a row of the ledger for each hour, with its owner and the time at which it ends; the
owner renews it while it works. A killed run cannot release its lease. On the same machine other
runs see that its process has ended; elsewhere they wait until the lease ends. All times are those
of the ledger's database, so the clocks of machines need not agree.
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
"""A lease ends so long after it was renewed last."""

_MAX_WAIT = 900
_POLL = 0.5

NOW = {
    "sqlite": sa.literal_column("(julianday('now') - 2440587.5) * 86400.0", sa.Double),
    "postgresql": sa.literal_column("extract(epoch from clock_timestamp())", sa.Double),
}
"""The clock of the ledger's database, in seconds since 1970."""

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


def of_hours(
    table: sa.Table, site: str, event_store: str, hours: Sequence[Hour]
) -> tuple[sa.ColumnElement[bool], ...]:
    """Conditions for the rows of some hours, in a table with a row per hour or batch."""
    numbers = sorted({hour.number for hour in hours})
    hour = table.c.hour
    is_range = numbers and numbers[-1] - numbers[0] == len(numbers) - 1
    matches = hour.between(numbers[0], numbers[-1]) if is_range else hour.in_(numbers)
    return table.c.site == site, table.c.event_store == event_store, matches


class Lease:
    """The right to send events of some hours of one site to one event store; a context manager.

    Entering waits until no other run holds any of the hours. All hours are acquired, or none, so
    that two runs cannot wait for each other.

    Args:
        transaction: opens a transaction of the ledger; its argument is what the error says.
        table: what `leases_table` made.
        site: whose events.
        event_store: name of the event store.
        hours: hours, in any order.
        seconds: how long the lease lasts without `renew`.
        max_wait: seconds to wait for another run.
        waiting: called twice a second while it waits; may raise.

    Raises:
        DeliveryError: (on entering) another run held the hours for too long; (in `renew`) another
            run has taken them over, because this one did not renew them in time. Transient.
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
        max_wait: float = _MAX_WAIT,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._transaction = transaction
        self._table = table
        self._key = (site, event_store)
        self._hours = sorted(set(hours))
        self._seconds = seconds
        self._max_wait = max_wait
        self._waiting = waiting
        self._owner = f"{process_identity.process_name()} {uuid4()}"
        self._renewed_at = 0.0

    def __enter__(self) -> Lease:
        deadline = time.monotonic() + self._max_wait
        while True:
            holders = self._acquire()
            if not holders:
                self._renewed_at = time.monotonic()
                return self
            ended = [holder for holder in holders if is_gone(holder)]
            if ended:
                self._release(ended)
            elif time.monotonic() > deadline:
                raise DeliveryError(
                    f"Another run has been sending the same hours for {self._max_wait:.0f} "
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
        self._release([self._owner])

    def renew(self) -> None:
        """Renew the lease if that is due; cheap, and meant to be called often."""
        if time.monotonic() - self._renewed_at < self._seconds / 4:
            return
        with self._transaction("could not be written") as connection:
            ends_at = NOW[connection.dialect.name] + self._seconds
            statement = self._table.update().where(self._table.c.owner == self._owner)
            renewed = connection.execute(statement.values(ends_at=ends_at)).rowcount
        if renewed < len(self._hours):
            raise DeliveryError(
                "Another run has taken over the hours of this one, which did not renew its lease "
                f"for {self._seconds:.0f} seconds; run it again.",
                transient=True,
            )
        self._renewed_at = time.monotonic()

    def _acquire(self) -> list[str]:
        """Acquire all hours, or none: then return the owners of those that others hold."""
        table = self._table
        conditions = of_hours(table, *self._key, self._hours)
        with self._transaction("could not be written") as connection:
            now, insert = NOW[connection.dialect.name], _INSERT[connection.dialect.name]
            rows = [
                {
                    "site": self._key[0],
                    "event_store": self._key[1],
                    "hour": hour.number,
                    "owner": self._owner,
                }
                for hour in self._hours
            ]
            # A statement that writes comes first: SQLite then waits for others.
            connection.execute(table.delete().where(*conditions, table.c.ends_at < now))
            # One row in the statement: SQLAlchemy compiles one with many anew for each number.
            one = insert(table).values(ends_at=now + self._seconds)
            connection.execute(one.on_conflict_do_nothing(), rows)
            others = sa.select(table.c.owner).where(*conditions, table.c.owner != self._owner)
            holders = list(connection.execute(others.distinct()).scalars())
            if holders:
                connection.rollback()
        return holders

    def _release(self, owners: list[str]) -> None:
        with self._transaction("could not be written") as connection:
            connection.execute(self._table.delete().where(self._table.c.owner.in_(owners)))


def is_gone(owner: str) -> bool:
    """Whether the owner of a lease was a process of this machine that has ended."""
    return process_identity.is_gone(owner.rpartition(" ")[0])
