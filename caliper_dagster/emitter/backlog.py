"""Hours left over: those that an event store is still to get, in runs of its own.

With several event stores a run does not wait for one that is slow or down: what it could not send
is noted here, a row for each hour, and is taken away when the hour has been sent. So whoever
catches up need not compare what ever was sent, and a restart forgets nothing.

The mark of a row tells when the hour was left. An hour that is left again while it is being caught
up has got another mark, and stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from caliper_dagster.core.hours import Hour

Transaction = Callable[[str], AbstractContextManager[sa.Connection]]

_INSERT: dict[str, Callable[[sa.Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def backlog_table(tables: sa.MetaData) -> sa.Table:
    """The table: an hour of a site that an event store is still to get has one row."""
    return sa.Table(
        "caliper_left_over",
        tables,
        sa.Column("site", sa.Text, primary_key=True),
        sa.Column("event_store", sa.Text, primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("mark", sa.BigInteger, nullable=False, comment="nanoseconds since 1970, UTC"),
    )


class Backlog:
    """The hours of one site that event stores are still to get.

    Raises:
        StorageError: (all methods) the database failed.
    """

    def __init__(self, transaction: Transaction, table: sa.Table, site: str) -> None:
        self._transaction = transaction
        self._table = table
        self._site = site

    def all(self) -> dict[str, dict[Hour, int]]:
        """The marks of the hours of each event store that has any, the oldest mark first."""
        table, found = self._table, dict[str, dict[Hour, int]]()
        wanted = sa.select(table.c.event_store, table.c.hour, table.c.mark)
        ordered = wanted.where(table.c.site == self._site).order_by(table.c.mark, table.c.hour)
        with self._transaction("could not be read") as connection:
            for row in connection.execute(ordered):
                found.setdefault(row.event_store, {})[Hour(row.hour)] = row.mark
        return found

    def add(self, event_store: str, hours: Collection[Hour]) -> None:
        """Leave hours to runs of their own; those that are left already get a new mark."""
        if not hours:
            return
        mark = time.time_ns()
        rows = [
            {"site": self._site, "event_store": event_store, "hour": hour.number, "mark": mark}
            for hour in hours
        ]
        with self._transaction("could not be written") as connection:
            statement = _INSERT[connection.dialect.name](self._table).values(rows)
            again = statement.on_conflict_do_update(
                index_elements=["site", "event_store", "hour"], set_={"mark": mark}
            )
            connection.execute(again)

    def settle(self, event_store: str, hours: Mapping[Hour, int]) -> None:
        """Take away the hours that still have these marks."""
        table = self._table
        with self._transaction("could not be written") as connection:
            for hour, mark in hours.items():
                connection.execute(
                    table.delete().where(
                        table.c.site == self._site,
                        table.c.event_store == event_store,
                        table.c.hour == hour.number,
                        table.c.mark == mark,
                    )
                )
