"""Rows that are expanded already: they stay as they were, and only the others are looked up.

An hour is expanded again when rows came late. What the database knows by then about the rows that
were there before (a name, a grade) is not what it knew: it would make other events of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.expand import expand

_DECODED = "other"
_AS_THEY_ARE = [
    column.name for column in EXPANDED_LOG.columns[: EXPANDED_LOG.schema.get_field_index(_DECODED)]
]


def expand_new(
    database: MoodleDatabase, log: pa.Table, known: pa.Table
) -> tuple[pa.Table, pa.Array]:
    """Expand the log rows that are not among the known ones, and keep these as they are.

    A row is known by its id and its columns: one that has changed in the log, or whose id was
    given again, is expanded anew. Known rows that the log no longer has are left out.

    Args:
        database: an open Moodle database; it is asked nothing when all rows are known.
        log: see ``expand``.
        known: ``EXPANDED_LOG`` rows of the same hours, from before.

    Returns:
        What ``expand`` returns, and for each of its rows whether it was expanded now.
    """
    places = _places(log, known)
    new = places < 0
    chosen = pa.array(new)
    if new.all():
        return expand(database, log), chosen
    expanded = expand(database, log.filter(chosen), beside=log.filter(pc.invert(chosen)))
    places[new] = known.num_rows + np.arange(expanded.num_rows)
    both = pa.concat_tables([known, expanded]).unify_dictionaries().combine_chunks()
    return both.take(pa.array(places)), chosen


def _places(log: pa.Table, known: pa.Table) -> npt.NDArray[np.int64]:
    """Where each log row is among the known ones; -1 where it is not."""
    ids = known["id"].combine_chunks()
    found = pc.index_in(log["id"].combine_chunks(), ids)
    places: npt.NDArray[np.int64] = found.fill_null(-1).to_numpy().astype(np.int64)
    met = np.flatnonzero(places >= 0)
    same = np.ones(len(met), dtype=np.bool_)
    rows, befores = pa.array(met), pa.array(places[met])
    for name in _AS_THEY_ARE:
        same &= _same(log[name].take(rows), known[name].take(befores))
    places[met[~same]] = -1
    return places


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    if pa.types.is_dictionary(one.type):
        one, other = one.cast(pa.string()), other.cast(pa.string())
    both_null = pc.and_(one.is_null(), other.is_null())
    equal: npt.NDArray[np.bool_] = pc.or_(pc.equal(one, other).fill_null(False), both_null)
    return np.asarray(equal)
