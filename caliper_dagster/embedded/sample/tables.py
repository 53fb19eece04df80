"""Rows of the sample's SQLite file: they get their ids here and are written many at once.

This module knows neither Moodle nor what the rows mean.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping

Value = int | float | str | None


class Tables:
    """Collects rows by table and assigns their ids, from 1 in each table.

    Attributes:
        deleted_ids: ids of deleted rows, by table.
    """

    def __init__(self, connection: sqlite3.Connection, prefix: str) -> None:
        self.deleted_ids: dict[str, list[int]] = defaultdict(list)
        self._connection = connection
        self._prefix = prefix
        self._last: Counter[str] = Counter()
        # Rows of one table with the same columns are written by one statement.
        self._rows: dict[tuple[str, ...], list[tuple[Value, ...]]] = defaultdict(list)

    def reserve(self, table: str) -> int:
        """Take the next id of the table, for a row that is added later."""
        self._last[table] += 1
        return self._last[table]

    def add(
        self, table: str, *, row_deleted: bool = False, id: int | None = None, **columns: Value
    ) -> int:
        """Add a row, see ``add_row``; the columns are keyword arguments."""
        return self.add_row(table, columns, row_deleted=row_deleted, row_id=id)

    def add_row(
        self,
        table: str,
        columns: Mapping[str, Value],
        *,
        row_deleted: bool = False,
        row_id: int | None = None,
    ) -> int:
        """Add a row; the other columns get Moodle's defaults.

        Args:
            table: name without prefix.
            columns: values by column.
            row_deleted: the row was deleted since: it only takes an id, which is added to
                ``deleted_ids``.
            row_id: an id that was reserved before; by default the next one.

        Returns:
            The row's id.
        """
        row_id = self.reserve(table) if row_id is None else row_id
        if row_deleted:
            self.deleted_ids[table].append(row_id)
        else:
            self._rows[table, "id", *columns].append((row_id, *columns.values()))
        return row_id

    def add_tuples(
        self, table: str, columns: tuple[str, ...], rows: list[tuple[Value, ...]]
    ) -> None:
        """Write rows that already have their ids immediately; faster, for the log."""
        self._insert(table, columns, rows)

    def flush(self) -> None:
        """Write the rows added since the last flush."""
        for (table, *columns), rows in self._rows.items():
            self._insert(table, tuple(columns), rows)
        self._rows.clear()

    def _insert(self, table: str, columns: tuple[str, ...], rows: list[tuple[Value, ...]]) -> None:
        placeholders = ", ".join("?" * len(columns))
        self._connection.executemany(
            f"INSERT INTO {self._prefix}{table} ({', '.join(columns)}) VALUES ({placeholders})",
            rows,
        )
