"""The log itself: ``logstore_standard_log``, read by ``timecreated`` and never by event name.

Its 21 columns are the same in every Moodle from 2.9 on. Rows are returned unchanged. It may be
another table, also in another database (`MoodleDatabase.log`). Rows that are newer than a replica
that lags are not there yet for any function that looks for new rows (`replica`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import LAST_TIME, SECONDS, Hour, HourRange
from caliper_dagster.core.own_dictionaries import cut
from caliper_dagster.expander.connection import LOG, MoodleDatabase
from caliper_dagster.expander.erasure import without_erased
from caliper_dagster.expander.replica import waiting_after

# The start of the row's hour. Integer division differs between dialects; this form does not.
_HOUR_START = f"(timecreated - timecreated % {SECONDS})"

LAST_ID = 2**63 - 1
"""The highest id that a database can hold."""

ROWS_PER_STATEMENT = 100_000
"""Rows that one statement reads, about 25 MB."""

_LOW_CARDINALITY = [
    *(field.name for field in MOODLE_LOG.schema if pa.types.is_dictionary(field.type)),
    *("edulevel", "contextlevel", "anonymous"),
]


_SUM_MODULUS = 2**32
_DAY = 86_400

GAP = 5_000_000
"""An id that is so much higher than the next lower one does not continue the sequence of ids.

Ids do not rise with time in every log. Somebody may have inserted a row by hand, and a database of
several servers gives each server ids of its own. So the highest id says little about the newest
rows.
"""


@dataclass(frozen=True, slots=True)
class IdStats:
    """Statistics of the ids of one hour's log rows, above some id.

    Two sets of rows with equal number and sum are taken to be the same set, without listing it.

    Attributes:
        number: how many rows there are.
        total: see `id_sum`.
        last: highest id that is at most `GAP` higher than that id; None without one.
        far: number of rows with higher ids.
        first_far: lowest id of these.
    """

    number: int
    total: int
    last: int | None
    far: int = 0
    first_far: int | None = None


def id_sum(ids: Iterable[int]) -> int:
    """The sum of ids, each modulo 2^32, so that no database's sum of integers overflows."""
    return sum(id_ % _SUM_MODULUS for id_ in ids)


def count_rows(database: MoodleDatabase, hours: HourRange) -> dict[Hour, int]:
    """Rows of each hour as the database counts them; 0 for an hour without rows.

    It does not use :func:`read_log`, because the accounting check compares the two.
    """
    counts = dict.fromkeys(hours, 0)
    counts.update(_counted(database, hours.start.start, _end(database, hours)))
    return counts


def count_waiting_rows(database: MoodleDatabase, hours: HourRange) -> dict[Hour, int]:
    """Rows of each hour that wait for a replica that lags; only hours that have some."""
    begin = max(hours.start.start, _end(database, hours))
    return _counted(database, begin, hours.end.start) if begin < hours.end.start else {}


def _counted(database: MoodleDatabase, start: int, end: int) -> dict[Hour, int]:
    """Rows from one Unix time up to another, by hour; only hours that have some."""
    statement = sa.text(
        f"SELECT {_HOUR_START} AS hour_start, COUNT(*) "
        f"FROM {database.log.quoted(LOG)} "
        "WHERE timecreated >= :start AND timecreated < :end "
        f"GROUP BY {_HOUR_START}"
    )
    rows_by_hour = database.log.execute(statement, start=start, end=end)
    return {Hour.of(int(first)): int(rows) for first, rows in rows_by_hour}


def _end(database: MoodleDatabase, hours: HourRange) -> int:
    """The Unix time at which the hours end, or before it that from which on rows wait."""
    until = waiting_after(database)
    return hours.end.start if until is None else min(hours.end.start, until + 1)


def _newest_time(database: MoodleDatabase) -> int:
    """The last Unix time whose rows do not wait."""
    until = waiting_after(database)
    return LAST_TIME if until is None else until


def id_stats_above(database: MoodleDatabase, low: int) -> dict[Hour, IdStats]:
    """Statistics of the rows with ids above ``low``, by hour: one range scan of the primary key.

    Rows whose ``timecreated`` is no time are in no hour.
    """
    near = "CASE WHEN id <= :near THEN id END"
    far = "CASE WHEN id > :near THEN id END"
    statement = sa.text(
        f"SELECT {_HOUR_START} AS hour_start, COUNT(*), SUM(id % {_SUM_MODULUS}), "
        f"MAX({near}), COUNT({far}), MIN({far}) "
        f"FROM {database.log.quoted(LOG)} "
        f"WHERE id > :low AND timecreated BETWEEN 0 AND :last GROUP BY {_HOUR_START}"
    )
    limit, last_time = min(low + GAP, LAST_ID), _newest_time(database)
    rows = database.log.execute(statement, low=low, last=last_time, near=limit)
    return {
        Hour.of(int(start)): IdStats(int(number), int(total), last, int(number_far), first_far)
        for start, number, total, last, number_far, first_far in rows
    }


def hour_that_waits(database: MoodleDatabase) -> Hour | None:
    """The hour of which only the first rows do not wait for a replica; None without one."""
    until = waiting_after(database)
    if until is None or Hour.of(until + 1) != Hour.of(until):
        return None
    return Hour.of(until)


def first_waiting_id(
    database: MoodleDatabase, low: int, now: float, *, before: Hour | None = None
) -> int | None:
    """The lowest id above ``low`` of a row that waits for a replica; None without one.

    Rows that are dated more than a day after ``now`` do not count.

    Args:
        database: an open Moodle database.
        low: the id.
        now: Unix time in seconds.
        before: an hour before this one waits as a whole when some of its rows do.
    """
    until, hour = waiting_after(database), hour_that_waits(database)
    if until is None:
        return None
    if hour is not None and before is not None and hour < before:
        until = hour.start - 1
    statement = sa.text(
        f"SELECT MIN(id) FROM {database.log.quoted(LOG)} "
        "WHERE id > :low AND timecreated > :until AND timecreated <= :latest"
    )
    ((first,),) = database.log.execute(statement, low=low, until=until, latest=int(now) + _DAY)
    return None if first is None else int(first)


def ids_above(database: MoodleDatabase, low: int, hour: Hour) -> frozenset[int]:
    """The ids above ``low`` of one hour's rows."""
    statement = sa.text(
        f"SELECT id FROM {database.log.quoted(LOG)} "
        "WHERE timecreated >= :start AND timecreated < :end AND id > :low"
    )
    end = _end(database, HourRange(hour, hour + 1))
    rows = database.log.execute(statement, low=low, start=hour.start, end=end)
    return frozenset(int(id_) for (id_,) in rows)


def id_before(database: MoodleDatabase, time: int, now: float) -> int:
    """An id below all rows with a ``timecreated`` of ``time`` or later, and near to them.

    Without such rows it is below those of the newest hour; 0 in an empty log. Rows that are dated
    more than a day after ``now`` do not count, nor do ids beyond a `GAP`.
    """
    log, latest = database.log.quoted(LOG), int(now) + _DAY
    since = sa.text(f"SELECT MIN(id) FROM {log} WHERE timecreated BETWEEN :time AND :latest")
    ((first,),) = database.log.execute(since, time=time, latest=latest)
    if first is None:
        newest = sa.text(f"SELECT MAX(timecreated) FROM {log} WHERE timecreated <= :latest")
        ((latest,),) = database.log.execute(newest, latest=latest)
        if latest is None:
            return 0
        ((first,),) = database.log.execute(since, time=latest - SECONDS, latest=latest)
    highest_below = sa.text(f"SELECT MAX(id) FROM {log} WHERE id < :id")
    ((below,),) = database.log.execute(highest_below, id=first)
    return int(below) if below is not None and first - below > GAP else int(first) - 1


def next_id(database: MoodleDatabase, after: int) -> int | None:
    """The lowest id above ``after``; None without one."""
    log = database.log.quoted(LOG)
    ((first,),) = database.log.execute(
        sa.text(f"SELECT MIN(id) FROM {log} WHERE id > :after"), after=after
    )
    return None if first is None else int(first)


def read_log(
    database: MoodleDatabase, hours: HourRange, *, fast: bool = True
) -> Iterator[tuple[Hour, pa.Table]]:
    """Read all rows of a range of hours, 100,000 rows in a statement.

    A statement is complete before its rows are yielded, so the caller's work does not count towards
    the statement's timeout.

    Yields:
        Every hour of the range in order, also empty ones, with its ``MOODLE_LOG`` table ordered by
        ``timecreated``, then ``id``. Memory holds one hour (or 100,000 rows) at a time.
    """
    tables: list[pa.Table] = []
    for part in read_log_in_parts(database, hours, fast=fast):
        tables.append(part.rows)
        if part.ends:
            yield part.hour, _concatenated(tables)
            tables = []


class LogPart(NamedTuple):
    """Some log rows of one hour.

    Attributes:
        rows: ``MOODLE_LOG`` rows.
        ends: whether they are the last ones of the hour.
    """

    hour: Hour
    rows: pa.Table
    ends: bool


def read_log_in_parts(
    database: MoodleDatabase, hours: HourRange, *, fast: bool = True
) -> Iterator[LogPart]:
    """Read all rows of a range of hours as `read_log` does, and hold 100,000 of them at a time.

    Yields:
        The parts of every hour of the range in order; an hour without rows has one part.
    """
    current, last = hours.start, MOODLE_LOG.empty()
    for page in chain(_pages(database, hours, fast=fast), (None,)):
        for hour, rows in _split_by_hour(page) if page is not None else [(hours.end, last[:0])]:
            # Only now is it known whether the rows before were the last ones of their hour.
            if current < hour:
                yield LogPart(current, last, ends=True)
                for empty in HourRange(current + 1, hour):
                    yield LogPart(empty, MOODLE_LOG.empty(), ends=True)
            elif last.num_rows:
                yield LogPart(current, last, ends=False)
            current, last = hour, rows


def _pages(database: MoodleDatabase, hours: HourRange, *, fast: bool) -> Iterator[pa.Table]:
    """The rows of the range in order, one page per statement, along the index of timecreated."""
    log, after = database.log.quoted(LOG), ""
    start, end = hours.start.start, _end(database, hours)
    while True:
        page = database.log.table(
            MOODLE_LOG.schema,
            f"FROM {log} WHERE timecreated >= {start} AND timecreated < {end}{after} "
            f"ORDER BY timecreated, id LIMIT {ROWS_PER_STATEMENT}",
            _LOW_CARDINALITY,
            fast=fast,
        )
        if page.num_rows:
            yield without_erased(database, page)
        if page.num_rows < ROWS_PER_STATEMENT:
            return
        start, last = (page[name][-1].as_py() for name in ("timecreated", "id"))
        after = f" AND (timecreated > {start} OR id > {last})"


def with_addresses(database: MoodleDatabase, log: pa.Table) -> pa.Table:
    """Log rows with the whole addresses of their clients, by one statement.

    Stored rows may be without them. Rows that the log no longer has keep what they have.

    Args:
        database: an open Moodle database.
        log: ``MOODLE_LOG`` rows.
    """
    if not log.num_rows:
        return log
    limits = pc.min_max(log["timecreated"]).as_py()
    schema = pa.schema([MOODLE_LOG.schema.field(name) for name in ("id", "ip")])
    known = database.log.table(
        schema,
        f"FROM {database.log.quoted(LOG)} "
        f"WHERE timecreated >= {limits['min']} AND timecreated <= {limits['max']}",
    )
    positions = pc.index_in(log["id"].combine_chunks(), known["id"].combine_chunks())
    found = known["ip"].combine_chunks().take(positions)
    index = log.schema.get_field_index("ip")
    return log.set_column(index, log.field(index), pc.coalesce(found, log["ip"].combine_chunks()))


def _concatenated(tables: list[pa.Table]) -> pa.Table:
    if not tables:
        return MOODLE_LOG.empty()
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _split_by_hour(table: pa.Table) -> Iterator[tuple[Hour, pa.Table]]:
    numbers = table["timecreated"].to_numpy() // SECONDS
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    hours = [Hour(int(numbers[begin])) for begin in starts]
    yield from zip(hours, cut(table, np.append(starts, len(numbers))), strict=True)
