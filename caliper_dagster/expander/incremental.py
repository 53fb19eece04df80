"""Incremental expansion: only new rows are looked up; rows expanded before stay unchanged.

An hour is expanded again when rows arrive late. By then the database may know other facts about
the earlier rows (a name, a grade) than before. Expanding them again would change their events.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.earlier_parts import EarlierParts
from caliper_dagster.expander.erasure import without_erased
from caliper_dagster.expander.expand import expand
from caliper_dagster.expander.lookups.log_lifecycle import LogLifecycle

_UNCHANGED_COLUMNS = [
    column.name
    for column in EXPANDED_LOG.columns[: EXPANDED_LOG.schema.get_field_index("other")]
    if column.name != "ip"
]
"""Columns that expansion copies from the log. ``other``, which it decodes, is the first after.
Addresses may have been truncated, or left out, when the rows were stored."""


def expand_new(
    database: MoodleDatabase,
    log: pa.Table,
    existing: pa.Table,
    lifecycle: LogLifecycle | None = None,
    earlier: EarlierParts | None = None,
) -> tuple[pa.Table, pa.Array]:
    """Expand the log rows that are new, and keep the rows that were expanded before.

    A log row counts as expanded before when its id and its other columns, except the address, are
    those of an existing row. A row that has changed in the log, or whose id belongs to another row
    now, is expanded again. Existing rows that the log no longer has are dropped.

    Args:
        database: an open Moodle database; nothing is read from it when no row is new.
        log: see ``expand``.
        existing: ``EXPANDED_LOG`` rows of the same hours, from an earlier expansion.
        lifecycle: see ``expand``.
        earlier: the earlier parts of the same hour; this part is added to them.

    Returns:
        The table that ``expand`` returns, and for each of its rows whether it was expanded now.
    """
    log, existing = without_erased(database, log), without_erased(database, existing)
    positions = _positions(log, existing)
    is_new = positions < 0
    new = pa.array(is_new)
    already_expanded = None if is_new.all() else log.filter(pc.invert(new))
    expanded = expand(
        database,
        log if already_expanded is None else log.filter(new),
        lifecycle,
        already_expanded=already_expanded,
        earlier=earlier,
    )
    if earlier is not None:
        earlier.add(log)
    if already_expanded is None:
        return expanded, new
    positions[is_new] = existing.num_rows + np.arange(expanded.num_rows)
    both = pa.concat_tables([existing, expanded]).unify_dictionaries().combine_chunks()
    return both.take(pa.array(positions)), new


def _positions(log: pa.Table, existing: pa.Table) -> npt.NDArray[np.int64]:
    """The position of each log row in the existing rows; -1 for a new row."""
    index = pc.index_in(log["id"].combine_chunks(), existing["id"].combine_chunks())
    positions: npt.NDArray[np.int64] = index.fill_null(-1).to_numpy().astype(np.int64)
    matched = np.flatnonzero(positions >= 0)
    same = np.ones(len(matched), dtype=np.bool_)
    rows, existing_rows = pa.array(matched), pa.array(positions[matched])
    for name in _UNCHANGED_COLUMNS:
        same &= _equal(log[name].take(rows), existing[name].take(existing_rows))
    positions[matched[~same]] = -1
    return positions


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Where two columns are equal; null equals null."""
    if pa.types.is_dictionary(one.type):
        one, other = one.cast(pa.string()), other.cast(pa.string())
    both_null = pc.and_(one.is_null(), other.is_null())
    equal: npt.NDArray[np.bool_] = pc.or_(pc.equal(one, other).fill_null(False), both_null)
    return np.asarray(equal)
