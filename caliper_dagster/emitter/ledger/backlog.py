"""The backlog: the hours that a destination has yet to receive, in runs of its own.

With several event stores a run does not wait for one that is slow or unreachable. Each hour that it
could not send becomes a row here, which is removed when the hour has been sent. So the runs that
send a backlog need not compare the whole history, and a restart loses nothing.

The mark of a row is the time at which the hour was added. An hour that is added again while its
backlog is being sent has another mark by then, and stays.
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
    """The table: one row for each hour of a site that an event store has yet to receive."""
    return sa.Table(
        "caliper_left_over",
        tables,
        sa.Column("site", sa.Text, primary_key=True),
        sa.Column("event_store", sa.Text, primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("mark", sa.BigInteger, nullable=False, comment="nanoseconds since 1970, UTC"),
    )


class Backlog:
    """The hours of one site that event stores have yet to receive.

    Raises:
        StorageError: (all methods) the database failed.
    """

    def __init__(self, transaction: Transaction, table: sa.Table, site: str) -> None:
        self._transaction = transaction
        self._table = table
        self._site = site

    def all(self) -> dict[str, dict[Hour, int]]:
        """The marks of the hours of each event store that has any, the oldest mark first."""
        table, marks = self._table, dict[str, dict[Hour, int]]()
        query = (
            sa.select(table.c.event_store, table.c.hour, table.c.mark)
            .where(table.c.site == self._site)
            .order_by(table.c.mark, table.c.hour)
        )
        with self._transaction("could not be read") as connection:
            for row in connection.execute(query):
                marks.setdefault(row.event_store, {})[Hour(row.hour)] = row.mark
        return marks

    def add(self, event_store: str, hours: Collection[Hour]) -> None:
        """Add hours; those that are in the backlog already get a new mark."""
        if not hours:
            return
        mark = time.time_ns()
        rows = [
            {"site": self._site, "event_store": event_store, "hour": hour.number, "mark": mark}
            for hour in hours
        ]
        with self._transaction("could not be written") as connection:
            statement = _INSERT[connection.dialect.name](self._table).values(rows)
            upsert = statement.on_conflict_do_update(
                index_elements=["site", "event_store", "hour"], set_={"mark": mark}
            )
            connection.execute(upsert)

    def remove(self, event_store: str, hours: Mapping[Hour, int]) -> None:
        """Remove the hours that still have these marks."""
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
