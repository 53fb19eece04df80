"""The log itself: ``logstore_standard_log``, read by ``timecreated`` and never by event name.

Its 21 columns are the same in every Moodle from 2.9 on. Rows are handed over as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import SECONDS, Hour, HourRange
from caliper_dagster.expander.connection import MoodleDatabase

# Integer division is spelled differently everywhere; this form is the same in all dialects.
_STARTED = f"(timecreated - timecreated % {SECONDS})"

ROWS_PER_STATEMENT = 100_000
"""Rows that one statement reads, about 25 MB."""

_FEW = [
    *(field.name for field in MOODLE_LOG.schema if pa.types.is_dictionary(field.type)),
    *("edulevel", "contextlevel", "anonymous"),
]


@dataclass(frozen=True, slots=True)
class RowsAbove:
    """Log rows of one hour with ids above some id: how many, the sum of their ids, the last id.

    Number and sum together say whether two sets of rows are the same without listing them.
    """

    number: int
    total: int
    last: int


def count_rows(database: MoodleDatabase, hours: HourRange) -> dict[Hour, int]:
    """Rows of each hour as the database counts them; an hour without rows counts 0.

    It does not use :func:`read_log`: the accounting check holds the one against the other.
    """
    statement = sa.text(
        f"SELECT {_STARTED} AS started, COUNT(*) "
        f"FROM {database.quoted('logstore_standard_log')} "
        "WHERE timecreated >= :start AND timecreated < :end "
        f"GROUP BY {_STARTED}"
    )
    found = database.execute(statement, start=hours.start.start, end=hours.end.start)
    counts = dict.fromkeys(hours, 0)
    counts.update({Hour.of(int(start)): int(rows) for start, rows in found})
    return counts


def rows_above(database: MoodleDatabase, low: int) -> dict[Hour, RowsAbove]:
    """The rows with ids above ``low``, by hour: one statement along the primary key."""
    statement = sa.text(
        f"SELECT {_STARTED} AS started, COUNT(*), SUM(id), MAX(id) "
        f"FROM {database.quoted('logstore_standard_log')} WHERE id > :low GROUP BY {_STARTED}"
    )
    return {
        Hour.of(int(start)): RowsAbove(int(number), int(total), int(last))
        for start, number, total, last in database.execute(statement, low=low)
    }


def ids_above(database: MoodleDatabase, low: int, hour: Hour) -> frozenset[int]:
    """The ids above ``low`` of one hour's rows."""
    statement = sa.text(
        f"SELECT id FROM {database.quoted('logstore_standard_log')} "
        "WHERE timecreated >= :start AND timecreated < :end AND id > :low"
    )
    found = database.execute(statement, low=low, start=hour.start, end=hour.end)
    return frozenset(int(number) for (number,) in found)


def id_before(database: MoodleDatabase, time: int) -> int:
    """An id below those of all rows with a ``timecreated`` from ``time`` on; the last without."""
    log = database.quoted("logstore_standard_log")
    since = sa.text(f"SELECT MIN(id) FROM {log} WHERE timecreated >= :time")
    ((first,),) = database.execute(since, time=time)
    if first is not None:
        return int(first) - 1
    ((last,),) = database.execute(sa.text(f"SELECT MAX(id) FROM {log}"))
    return int(last or 0)


def read_log(
    database: MoodleDatabase, hours: HourRange, *, fast: bool = True
) -> Iterator[tuple[Hour, pa.Table]]:
    """Read all rows of a range of hours, 100,000 rows in a statement.

    A statement is answered before its rows are worked on, so what is done with them does not count
    as its time.

    Yields:
        Every hour of the range in order, also empty ones, with its ``MOODLE_LOG`` table ordered by
        ``timecreated``, then ``id``. Memory holds one hour (or 100,000 rows) at a time.
    """
    waiting: list[pa.Table] = []
    current = hours.start
    for piece in chain(_pieces(database, hours, fast=fast), (None,)):
        for hour, rows in _split(piece) if piece is not None else [(hours.end, None)]:
            while current < hour:
                yield current, _joined(waiting)
                waiting = []
                current += 1
            if rows is not None:
                waiting.append(rows)


def _pieces(database: MoodleDatabase, hours: HourRange, *, fast: bool) -> Iterator[pa.Table]:
    """The rows of the range in order, in pieces that a statement each reads along the index."""
    log, after = database.quoted("logstore_standard_log"), ""
    start, end = hours.start.start, hours.end.start
    while True:
        piece = database.table(
            MOODLE_LOG.schema,
            f"FROM {log} WHERE timecreated >= {start} AND timecreated < {end}{after} "
            f"ORDER BY timecreated, id LIMIT {ROWS_PER_STATEMENT}",
            _FEW,
            fast=fast,
        )
        if piece.num_rows:
            yield piece
        if piece.num_rows < ROWS_PER_STATEMENT:
            return
        start, last = (piece[name][-1].as_py() for name in ("timecreated", "id"))
        after = f" AND (timecreated > {start} OR id > {last})"


def _joined(tables: list[pa.Table]) -> pa.Table:
    if not tables:
        return MOODLE_LOG.empty()
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _split(table: pa.Table) -> Iterator[tuple[Hour, pa.Table]]:
    numbers = table["timecreated"].to_numpy() // SECONDS
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    for begin, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
        yield Hour(int(numbers[begin])), table.slice(begin, end - begin)
