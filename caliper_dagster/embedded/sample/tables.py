"""Rows on their way into the sample's SQLite file: ids, and writing many at once.

This module knows neither Moodle nor what the rows mean.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping

Value = int | float | str | None


class Tables:
    """Collects rows by table and gives them their ids, counted from 1 in each table.

    Attributes:
        missing: ids that were given but have no row, by table: what was deleted later.
    """

    def __init__(self, connection: sqlite3.Connection, prefix: str) -> None:
        self.missing: dict[str, list[int]] = defaultdict(list)
        self._connection = connection
        self._prefix = prefix
        self._last: Counter[str] = Counter()
        # Rows of one table that name the same columns go in one statement.
        self._rows: dict[tuple[str, ...], list[tuple[Value, ...]]] = defaultdict(list)

    def reserve(self, table: str) -> int:
        """The next id of the table, for a row that is added later."""
        self._last[table] += 1
        return self._last[table]

    def add(
        self, table: str, *, gone: bool = False, id: int | None = None, **columns: Value
    ) -> int:
        """Add a row, see ``add_row``; columns are named as arguments."""
        return self.add_row(table, columns, gone=gone, row_id=id)

    def add_row(
        self,
        table: str,
        columns: Mapping[str, Value],
        *,
        gone: bool = False,
        row_id: int | None = None,
    ) -> int:
        """Add a row; columns that are not named get Moodle's default.

        Args:
            table: without the prefix.
            columns: values by column.
            gone: the row was deleted since: it gets an id, which is kept in ``missing``.
            row_id: an id that was reserved before; else the next one is taken.

        Returns:
            The row's id.
        """
        row_id = self.reserve(table) if row_id is None else row_id
        if gone:
            self.missing[table].append(row_id)
        else:
            self._rows[table, "id", *columns].append((row_id, *columns.values()))
        return row_id

    def add_tuples(
        self, table: str, columns: tuple[str, ...], rows: list[tuple[Value, ...]]
    ) -> None:
        """Write rows that carry their id already, at once; the fast way for the log."""
        self._insert(table, columns, rows)

    def flush(self) -> None:
        """Write what was added since the last time."""
        for (table, *columns), rows in self._rows.items():
            self._insert(table, tuple(columns), rows)
        self._rows.clear()

    def _insert(self, table: str, columns: tuple[str, ...], rows: list[tuple[Value, ...]]) -> None:
        marks = ", ".join("?" * len(columns))
        self._connection.executemany(
            f"INSERT INTO {self._prefix}{table} ({', '.join(columns)}) VALUES ({marks})", rows
        )
