"""Gradings that the log tells twice: by the activity, and by the gradebook in the same request.

The later of the two rows can always know the earlier, also over the boundary of an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from caliper_dagster.core.hours import SECONDS
from caliper_dagster.expander.connection import MoodleDatabase
from caliper_dagster.expander.event_data import as_id, decode
from caliper_dagster.expander.log_rows import MODULE_LEVEL, LogRows
from caliper_dagster.expander.lookups.activities import find_modules
from caliper_dagster.expander.record_columns import Flags, Integers, distinct_pairs, integers

_GRADEBOOK = r"\core\event\user_graded"
_OF_ACTIVITIES = (
    r"\mod_assign\event\submission_graded",
    r"\mod_h5pactivity\event\statement_received",
    r"\mod_quiz\event\attempt_graded",
    r"\mod_quiz\event\attempt_manual_grading_completed",
    r"\mod_quiz\event\attempt_regraded",
    r"\mod_scorm\event\scoreraw_submitted",
)
_EVENTS = (_GRADEBOOK, *_OF_ACTIVITIES)
_CODES = {name: code for code, name in enumerate(_EVENTS)}
_MAX_SECONDS = 60
"""Seconds within which two rows tell the same grading."""

_COLUMNS = (
    "id", "timecreated", "eventname", "userid", "relateduserid", "contextlevel",
    "contextinstanceid", "other",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Gradings:
    """Log rows that tell a grading, a column each.

    Attributes:
        positions: position of each row; -1 of a row that is not among those that are expanded.
        ids: id of each log row.
        times: Unix time of each row.
        events: code of each row's event, its index in :data:`_EVENTS`.
        learners: id of the learner; 0 where it is unknown.
        modules: id of the course module; 0 where it is unknown, and of rows of the gradebook.
        items: id of the grade item, of rows of the gradebook.
    """

    positions: Integers
    ids: Integers
    times: Integers
    events: Integers
    learners: Integers
    modules: Integers
    items: Integers

    @classmethod
    def concatenated(cls, parts: list[_Gradings]) -> _Gradings:
        """All rows of all parts."""
        names = cls.__slots__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def taken(self, chosen: Flags | Integers) -> _Gradings:
        """The chosen rows."""
        return _Gradings(*(getattr(self, name)[chosen] for name in self.__slots__))


def told_before(
    database: MoodleDatabase, rows: LogRows, already_expanded: pa.Table | None
) -> Iterator[tuple[int, dict[str, object]]]:
    """The earlier row of each row whose grading was told before.

    Args:
        database: an open Moodle database.
        rows: log rows of whole hours.
        already_expanded: the other log rows of these hours.

    Yields:
        Position of the row and the earlier row: its ``id``, ``timecreated`` and ``eventname``. Both
        have the same learner and activity, and at most 60 seconds lie between them. Each row is the
        earlier one of at most one other, and the later one of at most one.
    """
    own = _among(rows)
    if not own.ids.size:
        return
    gradings = _Gradings.concatenated([own, *_elsewhere(database, rows, own, already_expanded)])
    gradings = _told_by_both(_with_modules(database, gradings))
    waiting: dict[tuple[int, int, bool], list[tuple[int, int, int]]] = {}
    for position, id_, time, event, learner, module in zip(
        *(
            getattr(gradings, name).tolist()
            for name in ("positions", "ids", "times", "events", "learners", "modules")
        ),
        strict=True,
    ):
        is_gradebook = not event
        others = waiting.get((learner, module, not is_gradebook))
        if others and abs(time - others[-1][1]) <= _MAX_SECONDS:
            earlier, earlier_time, earlier_event = others.pop()
            if position >= 0:
                yield (
                    position,
                    {
                        "id": earlier,
                        "timecreated": earlier_time,
                        "eventname": _EVENTS[earlier_event],
                    },
                )
        else:
            waiting.setdefault((learner, module, is_gradebook), []).append((id_, time, event))


def _among(rows: LogRows) -> _Gradings:
    names, codes = rows.texts("eventname")
    events = np.array([_CODES.get(name, -1) for name in names], dtype=np.int64)[codes]
    positions = np.flatnonzero((events >= 0) & rows.identified)
    events = events[positions]
    from_gradebook = events == 0
    items = np.zeros(len(positions), dtype=np.int64)
    items[from_gradebook] = [
        as_id(other.get("itemid")) if isinstance(other, dict) else 0
        for other in rows.others(positions[from_gradebook])
    ]
    users, related = (rows.users[name][positions].clip(min=0) for name in ("user", "relateduser"))
    return _Gradings(
        positions,
        rows.ids[positions],
        rows.times[positions],
        events,
        np.where(related > 0, related, users),
        np.where(items > 0, 0, rows.modules[positions].clip(min=0)),
        items,
    )


def _elsewhere(
    database: MoodleDatabase, rows: LogRows, own: _Gradings, already_expanded: pa.Table | None
) -> Iterator[_Gradings]:
    """The gradings of the seconds before these hours, and those that are expanded already."""
    hours = set(np.unique(rows.times // SECONDS).tolist())
    early = np.unique(own.times[own.times % SECONDS < _MAX_SECONDS] // SECONDS).tolist()
    if already_expanded is not None and already_expanded.num_rows:
        yield _in_table(already_expanded)
    for hour in early:
        if hour - 1 not in hours:
            yield _in_log(database, hour * SECONDS - _MAX_SECONDS, hour * SECONDS)


def _in_table(table: pa.Table) -> _Gradings:
    names = table["eventname"].cast(pa.string())
    chosen = table.filter(
        pc.and_(
            pc.is_in(names, pa.array(_EVENTS, pa.string())),
            pa.array(integers(table["anonymous"]) != 1),
        )
    ).select(_COLUMNS)
    return _of_records([tuple(record.values()) for record in chosen.to_pylist()])


def _in_log(database: MoodleDatabase, start: int, end: int) -> _Gradings:
    log = database.quoted("logstore_standard_log")
    names = {f"name{number}": name for number, name in enumerate(_EVENTS)}
    found = database.execute(
        sa.text(
            f"SELECT {', '.join(_COLUMNS)} FROM {log} WHERE timecreated >= :start AND "
            "timecreated < :end AND anonymous = 0 "
            f"AND eventname IN ({', '.join(f':{name}' for name in names)})"
        ),
        start=start,
        end=end,
        **names,
    )
    return _of_records(found)


def _of_records(records: Sequence[Sequence[Any]]) -> _Gradings:
    """Gradings of the values of :data:`_COLUMNS`."""
    found = []
    for id_, time, name, user, related, level, instance, data in records:
        event, other = _CODES[name], decode(data or "")
        item = as_id(other.get("itemid")) if not event and isinstance(other, dict) else 0
        module = instance or 0 if level == MODULE_LEVEL and not item else 0
        learner = max(related or 0, 0) or max(user or 0, 0)
        found.append((-1, id_, time, event, learner, module, item))
    return _Gradings(*np.array(found, dtype=np.int64).reshape(-1, len(_Gradings.__slots__)).T)


def _with_modules(database: MoodleDatabase, gradings: _Gradings) -> _Gradings:
    """The gradings whose learner and activity are known."""
    ids, indices = np.unique(gradings.items, return_inverse=True)
    items = {
        item["id"]: (item["itemmodule"], item["iteminstance"])
        for item in database.records(
            "grade_items",
            ("id", "itemmodule", "iteminstance"),
            {"id": ids[ids > 0].tolist()},
            "itemtype = 'mod' AND itemnumber = 0",
            ("itemtype", "itemnumber"),
        )
    }
    modules = find_modules(database, set(items.values()))
    of_items = np.array(
        [modules.get(items.get(id_, ("", 0)), 0) for id_ in ids.tolist()], dtype=np.int64
    )[indices]
    gradings = replace(gradings, modules=np.where(of_items > 0, of_items, gradings.modules))
    return gradings.taken((gradings.modules > 0) & (gradings.learners > 0))


def _told_by_both(gradings: _Gradings) -> _Gradings:
    """The gradings of learners and activities that both kinds of rows tell of, ordered by id."""
    gradings = gradings.taken(np.argsort(gradings.ids, kind="stable"))
    _, pairs = distinct_pairs(gradings.learners, gradings.modules)
    number = int(pairs.max(initial=-1)) + 1
    from_gradebook = gradings.events == 0
    by_both = np.bincount(pairs[from_gradebook], minlength=number).astype(bool) & np.bincount(
        pairs[~from_gradebook], minlength=number
    ).astype(bool)
    return gradings.taken(by_both[pairs])
