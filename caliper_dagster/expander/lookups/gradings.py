"""Gradings that the log tells twice: by the activity, and by the gradebook in the same request.

The later of the two rows can always know the earlier, also over the boundary of an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.hours import SECONDS
from caliper_dagster.core.parts import in_parts
from caliper_dagster.expander.connection import LOG, MoodleDatabase
from caliper_dagster.expander.event_data import as_id, decode
from caliper_dagster.expander.log_rows import MODULE_LEVEL, LogRows
from caliper_dagster.expander.lookups.activities import find_modules
from caliper_dagster.expander.lookups.log_lifecycle import USER_GRADED
from caliper_dagster.expander.record_columns import (
    Flags,
    Integers,
    distinct_codes,
    distinct_pairs,
    integers,
)

_OF_ACTIVITIES = (
    r"\mod_assign\event\submission_graded",
    r"\mod_h5pactivity\event\statement_received",
    r"\mod_quiz\event\attempt_graded",
    r"\mod_quiz\event\attempt_manual_grading_completed",
    r"\mod_quiz\event\attempt_regraded",
    r"\mod_scorm\event\scoreraw_submitted",
)
_EVENTS = (USER_GRADED, *_OF_ACTIVITIES)
_CODES = {name: code for code, name in enumerate(_EVENTS)}
_MAX_SECONDS = 60
"""Seconds within which two rows tell the same grading."""
_HOURS_PER_STATEMENT = 100

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


class OpenGradings:
    """Gradings that the other kind of row has not told yet, so that a later row may.

    Gradings are added in the order of time and id, in one part or in several.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int, bool], list[tuple[int, int, int]]] = {}
        self._hours_looked_back: set[int] = set()

    def hours_to_look_back(self, hours: Iterable[int]) -> list[int]:
        """Those of the hours before which the log was not read yet; each is named once."""
        found = sorted(set(hours) - self._hours_looked_back)
        self._hours_looked_back.update(found)
        return found

    def add(self, gradings: _Gradings) -> Iterator[tuple[int, dict[str, object]]]:
        """Add gradings; yields what `told_before` does."""
        for position, id_, time, event, learner, module in zip(
            *(
                getattr(gradings, name).tolist()
                for name in ("positions", "ids", "times", "events", "learners", "modules")
            ),
            strict=True,
        ):
            is_gradebook = not event
            others = self._waiting.get((learner, module, not is_gradebook))
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
                key = (learner, module, is_gradebook)
                self._waiting.setdefault(key, []).append((id_, time, event))

    def forget_before(self, time: int) -> None:
        """Forget the gradings that no row of a Unix time or later can tell again."""
        self._waiting = {
            key: kept
            for key, gradings in self._waiting.items()
            if (kept := [grading for grading in gradings if grading[1] >= time - _MAX_SECONDS])
        }


def told_before(
    database: MoodleDatabase,
    rows: LogRows,
    already_expanded: pa.Table | None,
    earlier: OpenGradings | None = None,
) -> Iterator[tuple[int, dict[str, object]]]:
    """The earlier row of each row whose grading was told before.

    Args:
        database: an open Moodle database.
        rows: log rows of whole hours, or of a part of one.
        already_expanded: the other log rows of these hours, or of the part.
        earlier: the gradings of the earlier parts; those of this part are added.

    Yields:
        Position of the row and the earlier row: its ``id``, ``timecreated`` and ``eventname``. Both
        have the same learner and activity, and at most 60 seconds lie between them. Each row is the
        earlier one of at most one other, and the later one of at most one.
    """
    own = _among(rows)
    if earlier is not None:
        yield from _of_part(database, own, already_expanded, earlier)
    elif own.ids.size:
        hours = set(np.unique(rows.times // SECONDS).tolist())
        parts = [own, *_expanded(already_expanded)]
        parts += _before_hours(database, parts, lambda early: early - {h + 1 for h in hours})
        gradings = _told_by_both(_with_modules(database, _Gradings.concatenated(parts)))
        yield from OpenGradings().add(_in_order(gradings))


def note(database: MoodleDatabase, already_expanded: pa.Table, earlier: OpenGradings) -> None:
    """Add the gradings of a part of an hour of which no row is expanded."""
    nothing = _of_records([])
    for _ in _of_part(database, nothing, already_expanded, earlier):
        pass


def _of_part(
    database: MoodleDatabase,
    own: _Gradings,
    already_expanded: pa.Table | None,
    earlier: OpenGradings,
) -> Iterator[tuple[int, dict[str, object]]]:
    parts = [own, *_expanded(already_expanded)]
    if not any(part.ids.size for part in parts):
        return
    parts += _before_hours(database, parts, earlier.hours_to_look_back)
    # The other kind of row may follow in a later part.
    gradings = _in_order(_with_modules(database, _Gradings.concatenated(parts)))
    yield from earlier.add(gradings)
    if gradings.ids.size:
        earlier.forget_before(int(gradings.times[-1]))


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


def _expanded(already_expanded: pa.Table | None) -> list[_Gradings]:
    """The gradings that are expanded already."""
    if already_expanded is None or not already_expanded.num_rows:
        return []
    return [_in_table(already_expanded)]


def _before_hours(
    database: MoodleDatabase,
    parts: Iterable[_Gradings],
    choose: Callable[[set[int]], Iterable[int]],
) -> list[_Gradings]:
    """The gradings of the seconds before some hours.

    Args:
        database: an open Moodle database.
        parts: the gradings of the hours.
        choose: returns those of the hours with early gradings before which the log is to be read.
    """
    early: set[int] = set()
    for part in parts:
        early.update((part.times[part.times % SECONDS < _MAX_SECONDS] // SECONDS).tolist())
    hours = sorted(choose(early))
    return [_in_log(database, some) for some in in_parts(hours, _HOURS_PER_STATEMENT)]


def _in_table(table: pa.Table) -> _Gradings:
    names = table["eventname"].cast(pa.string())
    chosen = table.filter(
        pc.and_(
            pc.is_in(names, pa.array(_EVENTS, pa.string())),
            pa.array(integers(table["anonymous"]) != 1),
        )
    ).select(_COLUMNS)
    return _of_records([tuple(record.values()) for record in chosen.to_pylist()])


def _in_log(database: MoodleDatabase, hours: Sequence[int]) -> _Gradings:
    """The gradings of the seconds before some hours, which one statement names."""
    before = " OR ".join(
        f"timecreated >= {hour * SECONDS - _MAX_SECONDS} AND timecreated < {hour * SECONDS}"
        for hour in hours
    )
    names = {f"name{number}": name for number, name in enumerate(_EVENTS)}
    events = ", ".join(f":{name}" for name in names)
    condition = f"({before}) AND anonymous = 0 AND eventname IN ({events})"
    found = database.log.records(LOG, _COLUMNS, None, condition, **names)
    return _of_records([tuple(record.values()) for record in found])


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
    ids, indices = distinct_codes(gradings.items)
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


def _in_order(gradings: _Gradings) -> _Gradings:
    """The gradings by time, then id: the order of the log."""
    return gradings.taken(np.lexsort((gradings.ids, gradings.times)))


def _told_by_both(gradings: _Gradings) -> _Gradings:
    """The gradings of learners and activities that both kinds of rows tell of."""
    _, pairs = distinct_pairs(gradings.learners, gradings.modules)
    number = int(pairs.max(initial=-1)) + 1
    from_gradebook = gradings.events == 0
    by_both = np.bincount(pairs[from_gradebook], minlength=number).astype(bool) & np.bincount(
        pairs[~from_gradebook], minlength=number
    ).astype(bool)
    return gradings.taken(by_both[pairs])
