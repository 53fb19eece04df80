"""The gradebook: grades with what they were given for, as of the time of the row.

The grade itself is in the row (``other.finalgrade``); here is its item with the maximum that was
valid then, the activity, and the attempt that the learner had made by then.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import orjson

from caliper_dagster.expander.columns import once
from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.lookups import activities
from caliper_dagster.expander.objects import assign, h5p, lesson, quiz, scorm, workshop
from caliper_dagster.expander.objects.rows import Found, Kind, Latest, Row, Source, number

_ITEM = (
    "itemtype", "itemmodule", "iteminstance", "itemnumber", "itemname", "gradetype", "grademax",
    "scaleid",
)  # fmt: skip
_GRADED = r"\core\event\user_graded"
_NO_GRADE: Record = {"itemid": 0}
_BEYOND_TIME = 2**40
"""More than any Unix time."""

_LATEST = {
    "assign": assign.latest,
    "h5pactivity": h5p.latest,
    "lesson": lesson.latest,
    "quiz": quiz.latest,
    "scorm": scorm.latest,
    "workshop": workshop.latest,
}
"""Activities whose grades are those of an attempt. Item number 0 only: a workshop also grades the
assessing, a forum the whole discussion."""


class _Item(NamedTuple):
    """A grade item as it was for some time.

    Attributes:
        record: see :func:`items`.
        json: the record as part of others.
        activity: module and id of the activity that it grades; None for items of no activity.
        of_attempts: whether it is the activity's first item, and this has attempts.
    """

    record: Record
    json: orjson.Fragment
    activity: tuple[str, int] | None
    of_attempts: bool


def _items(source: Source, ids: Sequence[int], times: Sequence[int]) -> list[_Item | None]:
    """Grade items as of times: from ``grade_items_history``, else as they are today.

    The history is kept unless the site turned it off or cleared it; deleted items are in it too.
    A table has many versions of an item, of which a few are asked for: only those are read whole.
    """
    today = source.by_id("grade_items", ("id", *_ITEM), ids)
    versions = _versions(source.database, ids, times, today)
    past = source.by_id("grade_items_history", ("id", *_ITEM), set(versions))
    used = {row["scaleid"] for row in (*past.values(), *today.values()) if row["scaleid"]}
    scales = source.by_id("scale", ("id", "scale"), used)
    found: dict[tuple[int, int], _Item | None] = {}
    chosen = []
    for key in zip(ids, versions, strict=True):
        if key not in found:
            id_, version = key
            as_of = past.get(version) if version else today.get(id_)
            found[key] = _item(id_, as_of, scales) if as_of else None
        chosen.append(found[key])
    return chosen


def _versions(
    database: MoodleDatabase, ids: Sequence[int], times: Sequence[int], today: Container[int]
) -> list[int]:
    """The version of ``grade_items_history`` that held of each item at a time.

    That is the last one that had been written by then. Where none had been, it is 0, today's item;
    and where that is gone, the first version.
    """
    history = database.integers(
        "grade_items_history", ("id", "oldid", "timemodified"), {"oldid": ids}
    )
    version, item, since = (column.fill_null(0).to_numpy() for column in history.columns)
    order = np.lexsort((version, since, item))
    version, item, since = version[order], item[order], since[order]
    items, first = np.unique(item, return_index=True)
    last = np.append(first[1:], len(item)) - 1
    if not len(items):
        return [0] * len(ids)
    wanted = np.array(ids, dtype=np.int64)
    place = np.searchsorted(items, wanted).clip(max=len(items) - 1)
    known = items[place] == wanted
    # Items come one after the other: within each, times do.
    ordered = np.repeat(np.arange(len(items)), last - first + 1) * _BEYOND_TIME + since
    held = np.searchsorted(ordered, place * _BEYOND_TIME + np.array(times), side="right") - 1
    begun = known & (held >= first[place])
    gone = known & ~begun & ~np.fromiter((id_ in today for id_ in ids), np.bool_, len(ids))
    found: list[int] = np.where(
        begun, version[held], np.where(gone, version[first[place]], 0)
    ).tolist()
    return found


def _item(id_: int, version: Record, scales: Mapping[int, Record]) -> _Item:
    record: Record = {"id": id_, **{name: version[name] for name in _ITEM}}
    if version["scaleid"] in scales:
        record["scale_items"] = len((scales[version["scaleid"]]["scale"] or "").split(","))
    activity = None
    if version["itemtype"] == "mod" and version["itemmodule"]:
        activity = version["itemmodule"], number(version["iteminstance"])
    of_attempts = activity is not None and activity[0] in _LATEST and version["itemnumber"] == 0
    return _Item(record, once(record), activity, of_attempts)


def items(source: Source, rows: Sequence[Row]) -> Found:
    """Grade items as of the row, also deleted ones.

    Records: ``id``, ``itemtype``, ``itemmodule``, ``iteminstance``, ``itemnumber``, ``itemname``,
    ``gradetype``, ``grademax``, ``scaleid``, ``scale_items`` (how many the scale has).
    """
    found = _items(source, [row.id for row in rows], [row.time for row in rows])
    return [item and item.record for item in found]


def grades(source: Source, rows: Sequence[Row]) -> Found:
    """Grades: ``id``, ``itemid``, ``item``, ``module``, ``attempt``, ``finalgrade``.

    ``item`` is a record of :func:`items`; ``module`` one of the column ``module``, null for items
    of no activity; ``attempt`` the newest attempt of the learner, where the activity has attempts
    (a record of its kind, which begins with ``table``); ``finalgrade`` as of the row is there only
    where ``other`` does not say it. A grade that is gone is told by the item that ``other`` names.
    """
    named = _item_ids(source, rows)
    chosen = _items(source, named, [row.time for row in rows])
    modules: dict[tuple[str, int] | None, orjson.Fragment] = {
        activity: once(module)
        for activity, module in activities.modules_of(
            source.database, {item.activity for item in chosen if item and item.activity}
        ).items()
    }
    attempts = _Attempts(source, zip(rows, chosen, strict=True))
    history = _History(source, zip(rows, named, strict=True))
    records: list[Record | None] = []
    for row, id_, item in zip(rows, named, chosen, strict=True):
        if item is None:
            records.append(None)
            continue
        record: Record = {
            "id": row.id,
            "itemid": id_,
            "item": item.json,
            "module": modules.get(item.activity),
        }
        if row.event == _GRADED:
            record["attempt"] = attempts.newest(item, row)
        records.append(history.complete(record, row))
    return records


def _item_ids(source: Source, rows: Sequence[Row]) -> list[int]:
    """The item of each grade, as the event data names it, else as the grade itself does."""
    named = [number(row.other.get("itemid")) for row in rows]
    silent = [row.id for row, id_ in zip(rows, named, strict=True) if not id_]
    listed = source.by_id("grade_grades", ("id", "itemid"), silent)
    return [
        id_ or listed.get(row.id, _NO_GRADE)["itemid"] for row, id_ in zip(rows, named, strict=True)
    ]


class _Attempts:
    """Newest attempts of the learners of grades, in every activity that has attempts."""

    def __init__(self, source: Source, graded: Iterable[tuple[Row, _Item | None]]) -> None:
        wanted: dict[str, set[tuple[int, int]]] = {}
        for row, item in graded:
            if item and item.of_attempts and item.activity and row.event == _GRADED and row.learner:
                module, instance = item.activity
                wanted.setdefault(module, set()).add((instance, row.learner))
        self._latest: dict[str, Latest] = {
            module: _LATEST[module](source, pairs) for module, pairs in sorted(wanted.items())
        }

    def newest(self, item: _Item, row: Row) -> Record | None:
        """The attempt that the learner of the row had made in the item's activity by then."""
        if not item.of_attempts or item.activity is None or not row.learner:
            return None
        module, instance = item.activity
        return self._latest[module](instance, row.learner, row.time)


class _History:
    """Final grades from ``grade_grades_history``, for rows whose event data has none."""

    def __init__(self, source: Source, rows: Iterable[tuple[Row, int]]) -> None:
        silent = [(row, item) for row, item in rows if "finalgrade" not in row.other]
        self._changes: dict[tuple[int, int], list[Record]] = {}
        for change in source.database.records(
            "grade_grades_history",
            ("id", "itemid", "userid", "timemodified", "finalgrade"),
            {"userid": {row.learner for row, _ in silent if row.learner}},
            among={"itemid": {item for _, item in silent}},
        ):
            self._changes.setdefault((change["itemid"], change["userid"]), []).append(change)
        for changes in self._changes.values():
            changes.sort(key=lambda change: (change["timemodified"] or 0, change["id"]))

    def complete(self, record: Record, row: Row) -> Record:
        """The record with ``finalgrade`` as of the row, where only the history knows it."""
        if "finalgrade" in row.other:
            return record
        changes = self._changes.get((record["itemid"], row.learner), [])
        before = [change for change in changes if (change["timemodified"] or 0) <= row.time]
        return {**record, "finalgrade": before[-1]["finalgrade"]} if before else record


KINDS: Mapping[str, Kind] = {
    "grade_grades": Kind("grade_grades", grades),
    "grade_items": Kind("grade_items", items),
}
