"""The state that a module's completion had before a log row: what the row is a transition from.

Moodle tells only the new state (``other.completionstate``). State 0 is told when somebody undoes a
completion, and also when the tracking of a learner begins; only the earlier rows of the log tell
which of the two it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.log_rows import LogRows
from caliper_dagster.expander.lookups.log_lifecycle import (
    COMPLETION_UPDATED,
    MODULE_EVENTS,
    LogLifecycle,
)
from caliper_dagster.expander.record_columns import (
    Integers,
    distinct_codes,
    distinct_pairs,
    last_before,
)

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
    before = _states_before(lifecycle, modules, learners, rows.ids[positions])
    told = before >= 0
    yield from zip(positions[told].tolist(), before[told].tolist(), strict=True)
    if told.all():
        return
    pairs, pair_of = distinct_pairs(modules[~told], learners[~told])
    complete = np.array(_known_since(database, lifecycle, rows, pairs), dtype=bool)[pair_of]
    for position in positions[~told][complete].tolist():
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


def _states_before(
    lifecycle: LogLifecycle, modules: Integers, learners: Integers, ids: Integers
) -> Integers:
    """The state that the log told before each row; -1 without an earlier row.

    Args:
        lifecycle: the lifecycle rows of the whole log.
        modules: the module of each row.
        learners: the learner of each row.
        ids: the id of each row.
    """
    told = lifecycle.completions(np.unique(modules).tolist(), np.unique(learners).tolist())
    if not told.num_rows:
        return np.full(len(ids), -1, dtype=np.int64)
    told_modules, told_learners, told_ids, states = (
        told[name].to_numpy()
        for name in ("contextinstanceid", "relateduserid", "id", "completionstate")
    )
    (_, module_codes), (distinct_learners, learner_codes), (_, places) = (
        distinct_codes(np.concatenate(columns))
        for columns in ((told_modules, modules), (told_learners, learners), (told_ids, ids))
    )
    keys = module_codes * len(distinct_learners) + learner_codes
    number = told.num_rows
    # The row itself is told, too: the place before its own, counted from 1.
    last = last_before(keys[:number], places[:number] + 1, keys[number:], places[number:])
    before: Integers = np.where(last >= 0, states[last], -1)
    return before


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
    first_id, first_time = lifecycle.first_row
    added = {module: _added(rows.module_records.get(module)) for module, _ in pairs}
    unknown = {module for module, time in added.items() if not time}
    for row in lifecycle.rows((MODULE_EVENTS[0],), {"objectid": unknown}):
        added[row["objectid"]] = row["timecreated"]
    older = {learner for module, learner in pairs if added[module] < max(first_time, 1)}
    registered = {
        user["id"]: user["timecreated"] or 0
        for user in database.records("user", ("id", "timecreated"), {"id": older})
    }
    begun = [max(added[module], registered.get(learner, 0)) for module, learner in pairs]
    return [time >= first_time if time else first_id <= _FIRST_ID for time in begun]


def _added(module: Record | None) -> int:
    """Unix time at which a module was added to its course; 0 where it is unknown."""
    return int((module or {}).get("added") or 0)
