"""The state that a module's completion had before a log row: what the row is a transition from.

Moodle tells only the new state (``other.completionstate``). State 0 is told when somebody undoes a
completion, and also when the tracking of a learner begins; only the earlier rows of the log tell
which of the two it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.log_rows import LogRows
from caliper_dagster.expander.lookups.log_lifecycle import (
    COMPLETION_UPDATED,
    MODULE_EVENTS,
    LogLifecycle,
)
from caliper_dagster.expander.record_columns import Integers, distinct_pairs

_INCOMPLETE = 0
_FIRST_ID = 1


def previous_states(
    database: MoodleDatabase, lifecycle: LogLifecycle, rows: LogRows
) -> Iterator[tuple[int, int]]:
    """The previous state of each row that tells state 0.

    Args:
        database: an open Moodle database.
        lifecycle: the lifecycle rows of the whole log.
        rows: log rows, with their records of modules.

    Yields:
        Position of the row and the state before it: that of the learner's row before it about the
        same module; 0 without one. Rows are left out whose earlier rows may be gone, because the
        log begins later than both the module and the learner.
    """
    positions = _incomplete(rows)
    if not len(positions):
        return
    modules, learners = rows.modules[positions], rows.users["relateduser"][positions]
    pairs, pair_of = distinct_pairs(modules, learners)
    states = _States(lifecycle, pairs)
    before = states.before(pair_of, rows.ids[positions])
    told = before >= 0
    yield from zip(positions[told].tolist(), before[told].tolist(), strict=True)
    if told.all():
        return
    missing = np.unique(pair_of[~told]).tolist()
    since = _known_since(database, lifecycle, rows, [pairs[pair] for pair in missing])
    complete = dict(zip(missing, since, strict=True))
    for position, pair in zip(positions[~told].tolist(), pair_of[~told].tolist(), strict=True):
        if complete[pair]:
            yield position, _INCOMPLETE


def _incomplete(rows: LogRows) -> Integers:
    """The positions of the rows that tell state 0 of a known learner in a known module."""
    events, codes = rows.texts("eventname")
    if COMPLETION_UPDATED not in events:
        return np.zeros(0, dtype=np.int64)
    candidates = np.flatnonzero(
        (codes == events.index(COMPLETION_UPDATED))
        & rows.identified
        & (rows.modules > 0)
        & (rows.users["relateduser"] > 0)
    )
    zero = [str(other.get("completionstate")) == "0" for other in rows.others(candidates)]
    chosen: Integers = candidates[np.array(zero, dtype=bool)]
    return chosen


class _States:
    """The states that the log tells of (module, learner), each with the id of its row."""

    def __init__(self, lifecycle: LogLifecycle, pairs: list[tuple[int, int]]) -> None:
        index = {pair: number for number, pair in enumerate(pairs)}
        told = lifecycle.completions({pair[0] for pair in pairs}, {pair[1] for pair in pairs})
        keys = zip(
            told["contextinstanceid"].to_pylist(), told["relateduserid"].to_pylist(), strict=True
        )
        pair_of = np.array([index.get(key, -1) for key in keys], dtype=np.int64)
        ids = told["id"].to_numpy()
        order = np.lexsort((ids, pair_of))
        self._pairs, self._ids = pair_of[order], ids[order]
        self._states = told["completionstate"].to_numpy()[order]

    def before(self, pair_of: Integers, ids: Integers) -> Integers:
        """The state before each row by its pair and id; -1 without an earlier row."""
        if not len(self._ids):
            return np.full(len(ids), -1, dtype=np.int64)
        all_ids = np.union1d(self._ids, ids)
        size = len(all_ids) + 1
        known = self._pairs * size + np.searchsorted(all_ids, self._ids)
        wanted = pair_of * size + np.searchsorted(all_ids, ids)
        index = np.searchsorted(known, wanted) - 1
        found = (index >= 0) & (self._pairs[index] == pair_of)
        states: Integers = np.where(found, self._states[index], -1)
        return states


def _known_since(
    database: MoodleDatabase,
    lifecycle: LogLifecycle,
    rows: LogRows,
    pairs: list[tuple[int, int]],
) -> list[bool]:
    """Whether the log has all rows of each (module, learner).

    It has when it is older than the module or the learner; where neither time is known, when its
    very first row is still there.
    """
    first_id, first_time = lifecycle.first_row()
    created = lifecycle.rows((MODULE_EVENTS[0],), {"objectid": {module for module, _ in pairs}})
    added = {row["objectid"]: row["timecreated"] for row in created}
    for module, _ in pairs:
        record = rows.module_records.get(module, {})
        added[module] = record.get("added") or added.get(module, 0)
    registered = {
        user["id"]: user["timecreated"] or 0
        for user in database.records("user", ("id", "timecreated"), {"id": {p[1] for p in pairs}})
    }
    begun = [max(added[module], registered.get(learner, 0)) for module, learner in pairs]
    return [time >= first_time if time else first_id <= _FIRST_ID for time in begun]
