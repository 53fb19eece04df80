"""The log itself: ``logstore_standard_log``, read by ``timecreated`` and never by event name.

Its 21 columns are the same in every Moodle from 2.9 on. Rows are handed over as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from caliper_dagster.expander.database import MoodleDatabase
from caliper_dagster.frames import MOODLE_LOG
from caliper_dagster.hours import SECONDS, Hour, HourRange


def count_rows(database: MoodleDatabase, hours: HourRange) -> dict[Hour, int]:
    """Rows of each hour as the database counts them; an hour without rows counts 0.

    It does not use :func:`read_log`: the accounting check holds the one against the other.
    """
    # Integer division is spelled differently everywhere; this form is the same in all dialects.
    statement = sa.text(
        f"SELECT (timecreated - timecreated % {SECONDS}) AS started, COUNT(*) "
        f"FROM {database.quoted('logstore_standard_log')} "
        "WHERE timecreated >= :start AND timecreated < :end "
        f"GROUP BY (timecreated - timecreated % {SECONDS})"
    )
    found = database.execute(statement, start=hours.start.start, end=hours.end.start)
    counts = dict.fromkeys(hours, 0)
    counts.update({Hour.of(int(start)): int(rows) for start, rows in found})
    return counts


def read_log(database: MoodleDatabase, hours: HourRange) -> Iterator[tuple[Hour, pa.Table]]:
    """Read all rows of a range of hours in one streamed query.

    Yields:
        Every hour of the range in order, also empty ones, with its ``MOODLE_LOG`` table ordered by
        ``timecreated``, then ``id``. Memory holds one hour (or 10,000 rows) at a time.
    """
    columns = ", ".join(MOODLE_LOG.schema.names)
    statement = sa.text(
        f"SELECT {columns} FROM {database.quoted('logstore_standard_log')} "
        "WHERE timecreated >= :start AND timecreated < :end ORDER BY timecreated, id"
    )
    pieces = database.stream(statement, start=hours.start.start, end=hours.end.start)
    waiting: list[pa.Table] = []
    current = hours.start
    for piece in chain(map(_table, pieces), (None,)):
        for hour, rows in _split(piece) if piece is not None else [(hours.end, None)]:
            while current < hour:
                yield current, pa.concat_tables([*waiting, MOODLE_LOG.empty()]).unify_dictionaries()
                waiting = []
                current += 1
            if rows is not None:
                waiting.append(rows)


def _table(rows: Sequence[Sequence[Any]]) -> pa.Table:
    arrays = []
    for field, values in zip(MOODLE_LOG.schema, zip(*rows, strict=True), strict=True):
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        array = pa.array(values, plain)
        arrays.append(array.dictionary_encode() if plain is not field.type else array)
    return pa.table(arrays, schema=MOODLE_LOG.schema)


def _split(table: pa.Table) -> Iterator[tuple[Hour, pa.Table]]:
    numbers = table["timecreated"].to_numpy() // SECONDS
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    for begin, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
        yield Hour(int(numbers[begin])), table.slice(begin, end - begin)
