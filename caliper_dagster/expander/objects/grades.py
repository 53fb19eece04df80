"""The gradebook: grades with their item, activity and attempt, as of the time of the row.

The grade itself is in the row (``other.finalgrade``). The record adds its item with the maximum
that was valid then, the activity, and the attempt that the grade comes from.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from caliper_dagster.expander.connection import LOG, MoodleDatabase, Record
from caliper_dagster.expander.event_data import as_id, decode
from caliper_dagster.expander.lookups import activities
from caliper_dagster.expander.objects import assign, h5p, lesson, quiz, scorm, workshop
from caliper_dagster.expander.objects.loader import (
    FindGradedAttempt,
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectLoader,
)
from caliper_dagster.expander.record_columns import (
    distinct_codes,
    distinct_pairs,
    preserialized,
)

_ITEM = (
    "itemtype", "itemmodule", "iteminstance", "itemnumber", "itemname", "gradetype", "grademax",
    "scaleid", "idnumber",
)  # fmt: skip
_GRADED = r"\core\event\user_graded"
_DELETED = r"\core\event\grade_deleted"
_NO_GRADE: Record = {"itemid": 0}
_MAX_TIME = 2**40
"""Greater than any Unix time."""

_GRADED_ATTEMPTS = {
    "assign": assign.graded,
    "h5pactivity": h5p.graded,
    "lesson": lesson.graded,
    "quiz": quiz.graded,
    "scorm": scorm.graded,
    "workshop": workshop.graded,
}
"""Activities whose grades belong to an attempt. Only item number 0 does: a workshop also grades
assessments, a forum the whole discussion."""


class _Item(NamedTuple):
    """A grade item as of a time.

    Attributes:
        record: see :func:`items`.
        activity: module and id of the graded activity; None for an item of no activity.
        of_attempts: whether it is the item number 0 of an activity that has attempts.
    """

    record: Record
    activity: tuple[str, int] | None
    of_attempts: bool


def _items(lookup: Lookup, ids: Sequence[int], times: Sequence[int]) -> list[_Item | None]:
    """Grade items as of times: from ``grade_items_history``, else as they are today.

    A site has the history, also of deleted items, unless it turned it off or cleared it. The table
    has many versions of an item and few are needed: all columns are read of those only.
    """
    pairs, codes = distinct_pairs(np.array(ids, dtype=np.int64), np.array(times, dtype=np.int64))
    today = lookup.by_id("grade_items", ("id", *_ITEM), {id_ for id_, _ in pairs})
    versions = _versions(lookup.database, pairs, today)
    past = lookup.by_id("grade_items_history", ("id", *_ITEM), set(versions))
    scale_ids = {row["scaleid"] for row in (*past.values(), *today.values()) if row["scaleid"]}
    scales = lookup.by_id("scale", ("id", "scale"), scale_ids)
    by_version: dict[tuple[int, int], _Item | None] = {}
    by_content: dict[tuple[Any, ...], _Item] = {}
    found: list[_Item | None] = []
    for (id_, _), version in zip(pairs, versions, strict=True):
        key = id_, version
        if key not in by_version:
            by_version[key] = None
            if as_of := past.get(version) if version else today.get(id_):
                content = (id_, *map(as_of.__getitem__, _ITEM))
                if content not in by_content:
                    by_content[content] = _item(id_, as_of, scales)
                by_version[key] = by_content[content]
        found.append(by_version[key])
    return list(map(found.__getitem__, codes.tolist()))


def _versions(
    database: MoodleDatabase, pairs: Sequence[tuple[int, int]], today: Container[int]
) -> list[int]:
    """The id in ``grade_items_history`` of each item's version that was valid at a time.

    It is the last version written by that time. Without one it is 0, which means today's item; for
    a deleted item it is the first version.

    Args:
        database: an open Moodle database.
        pairs: ids of grade items, each with a Unix time.
        today: ids of the items that still exist.
    """
    item_ids, times = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    history = database.integers(
        "grade_items_history",
        ("id", "oldid", "timemodified"),
        {"oldid": distinct_codes(item_ids)[0].tolist()},
    )
    version, item, since = (column.fill_null(0).to_numpy() for column in history.columns)
    order = np.lexsort((version, since, item))
    version, item, since = version[order], item[order], since[order]
    items, first = np.unique(item, return_index=True)
    last = np.append(first[1:], len(item)) - 1
    if not len(items):
        return [0] * len(pairs)
    index = np.searchsorted(items, item_ids).clip(max=len(items) - 1)
    has_history = items[index] == item_ids
    # One sort key for item and time: the position of the item, then the time.
    ordered = np.repeat(np.arange(len(items)), last - first + 1) * _MAX_TIME + since
    valid = np.searchsorted(ordered, index * _MAX_TIME + times, side="right") - 1
    existed = has_history & (valid >= first[index])
    exists_today = np.fromiter((id_ in today for id_, _ in pairs), np.bool_, len(pairs))
    deleted = has_history & ~existed & ~exists_today
    versions: list[int] = np.where(
        existed, version[valid], np.where(deleted, version[first[index]], 0)
    ).tolist()
    return versions


def _item(id_: int, version: Record, scales: Mapping[int, Record]) -> _Item:
    record: Record = {"id": id_, **{name: version[name] for name in _ITEM}}
    if version["scaleid"] in scales:
        record["scale_items"] = len((scales[version["scaleid"]]["scale"] or "").split(","))
    activity = None
    if version["itemtype"] == "mod" and version["itemmodule"]:
        activity = version["itemmodule"], as_id(version["iteminstance"])
    of_attempts = (
        activity is not None and activity[0] in _GRADED_ATTEMPTS and version["itemnumber"] == 0
    )
    return _Item(record, activity, of_attempts)


def items(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Grade items as of the row, also deleted ones.

    Records: ``id``, ``itemtype``, ``itemmodule``, ``iteminstance``, ``itemnumber``, ``itemname``,
    ``gradetype``, ``grademax``, ``scaleid``, ``idnumber``, ``scale_items`` (number of items of the
    scale).
    """
    as_of = _items(lookup, [row.id for row in rows], [row.time for row in rows])
    return [item and item.record for item in as_of]


def grades(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Grades: ``id``, ``itemid``, ``item``, ``module``, ``attempt``, ``finalgrade``.

    ``item`` is a record of :func:`items`; ``module`` a record of the column ``module``, None for an
    item of no activity; ``attempt`` the attempt that the grade comes from by the grading method of
    the activity (a record that begins with ``table``), None where it comes from none; it is absent
    for items whose grades come from no attempts.
    ``finalgrade`` as of the row is only there where ``other`` has none. The item of a deleted grade
    is the one that ``other`` names.
    """
    item_ids = _item_ids(lookup, rows)
    as_of = _items(lookup, item_ids, [row.time for row in rows])
    items_by_id = {id(item): item for item in as_of if item}
    modules = {
        activity: preserialized(module)
        for activity, module in activities.modules_of(
            lookup.database,
            {item.activity for item in as_of if item and item.activity},
            lookup.modules,
        ).items()
    }
    last_rows = _last_rows(lookup.database, rows, as_of)
    told_by = [last_rows.get(row.id) if row.event == _DELETED else row for row in rows]
    attempts = _Attempts(lookup, zip(told_by, as_of, strict=True))
    history = _FinalGrades(lookup, zip(rows, item_ids, strict=True))
    penalties = _penalties(lookup, rows)
    of_items = {
        key: (preserialized(item.record), modules.get(item.activity) if item.activity else None)
        for key, item in items_by_id.items()
    }
    records: list[Record | None] = []
    for row, id_, item, last in zip(rows, item_ids, as_of, told_by, strict=True):
        if item is None:
            records.append(None)
            continue
        item_json, module_json = of_items[id(item)]
        record: Record = {"id": row.id, "itemid": id_, "item": item_json, "module": module_json}
        if last is not None:
            if item.of_attempts:
                record["attempt"] = attempts.graded(item, last)
            if row.event == _DELETED:
                record["lastgraded"] = last.log_id
        if row.id in penalties:
            record["deductedmark"] = penalties[row.id]
        if "finalgrade" not in row.other:
            record = history.with_final_grade(record, row)
        records.append(record)
    return records


def _penalties(lookup: Lookup, rows: Sequence[LogReference]) -> dict[int, float]:
    """What was deducted from each grade; ``grade_grades`` has the column since Moodle 5.0."""
    if "deductedmark" not in lookup.database.columns("grade_grades"):
        return {}
    records = lookup.by_id("grade_grades", ("id", "deductedmark"), [row.id for row in rows])
    return {id_: row["deductedmark"] for id_, row in records.items() if row["deductedmark"]}


def _last_rows(
    database: MoodleDatabase, rows: Sequence[LogReference], items_of_rows: Sequence[_Item | None]
) -> dict[int, LogReference]:
    """The last row that tells each grade which was deleted, by the grade's id.

    Only where an attempt is looked up by them, time and event data are those of the last row.
    """
    deleted: dict[int, LogReference] = {}
    of_attempts: dict[int, bool] = {}
    for row, item in zip(rows, items_of_rows, strict=True):
        if item and row.event == _DELETED and row.id:
            deleted[row.id], of_attempts[row.id] = row, item.of_attempts
    last = _last_told(database, deleted)
    told = {
        row["id"]: row
        for row in database.log.records(
            LOG,
            ("id", "timecreated", "other"),
            {"id": (log_id for id_, log_id in last.items() if of_attempts[id_])},
        )
    }
    references = {}
    for id_, log_id in last.items():
        changes: dict[str, Any] = {"log_id": log_id}
        if (graded := told.get(log_id)) is not None:
            other = decode(graded["other"] or "")
            changes["time"] = graded["timecreated"]
            changes["other"] = other if isinstance(other, dict) else {}
        references[id_] = deleted[id_]._replace(**changes)
    return references


def _last_told(database: MoodleDatabase, deleted: Mapping[int, LogReference]) -> dict[int, int]:
    """The log id of the last row that tells each grade before it was deleted, by the grade's id."""
    courses = {row.course for row in deleted.values()}
    condition = "anonymous = 0 AND eventname = :graded"
    keys = {"courseid": courses, "objectid": deleted}
    last = database.log.last_ids(LOG, "objectid", keys, condition, graded=_GRADED)
    # Of a grade that is told after its deletion, too, all rows are looked at.
    later = {id_ for id_, log_id in last.items() if log_id >= deleted[id_].log_id}
    for id_ in later:
        del last[id_]
    for row in database.log.records(
        LOG,
        ("id", "objectid"),
        {"courseid": courses, "objectid": later},
        condition,
        graded=_GRADED,
    ):
        id_, log_id = row["objectid"], row["id"]
        if log_id < deleted[id_].log_id:
            last[id_] = max(log_id, last.get(id_, 0))
    return last


def _item_ids(lookup: Lookup, rows: Sequence[LogReference]) -> list[int]:
    """The item of each grade, from the event data, else from the grade itself."""
    item_ids = [as_id(row.other.get("itemid")) for row in rows]
    without_item = [row.id for row, id_ in zip(rows, item_ids, strict=True) if not id_]
    by_id = lookup.by_id("grade_grades", ("id", "itemid"), without_item)
    return [
        id_ or by_id.get(row.id, _NO_GRADE)["itemid"]
        for row, id_ in zip(rows, item_ids, strict=True)
    ]


class _Attempts:
    """The attempts that grades come from, in every activity that has attempts."""

    def __init__(
        self, lookup: Lookup, graded: Iterable[tuple[LogReference | None, _Item | None]]
    ) -> None:
        pairs: dict[str, set[tuple[int, int]]] = {}
        for row, item in graded:
            if row and item and item.of_attempts and item.activity and row.learner:
                module, instance = item.activity
                pairs.setdefault(module, set()).add((instance, row.learner))
        self._finders: dict[str, FindGradedAttempt] = {
            module: _GRADED_ATTEMPTS[module](lookup, of_module)
            for module, of_module in sorted(pairs.items())
        }

    def graded(self, item: _Item, row: LogReference) -> Record | None:
        """The attempt that the grade of the row comes from."""
        if not item.of_attempts or item.activity is None or not row.learner:
            return None
        module, instance = item.activity
        return self._finders[module](instance, row.learner, row.time, row.other.get("finalgrade"))


class _FinalGrades:
    """Final grades from ``grade_grades_history``, for rows whose event data has none."""

    def __init__(self, lookup: Lookup, rows: Iterable[tuple[LogReference, int]]) -> None:
        without_grade = [(row, item) for row, item in rows if "finalgrade" not in row.other]
        self._changes: dict[tuple[int, int], list[Record]] = {}
        for change in lookup.database.records(
            "grade_grades_history",
            ("id", "itemid", "userid", "timemodified", "finalgrade"),
            {("userid", "itemid"): ((row.learner, item) for row, item in without_grade)},
        ):
            self._changes.setdefault((change["itemid"], change["userid"]), []).append(change)
        for changes in self._changes.values():
            changes.sort(key=lambda change: (change["timemodified"] or 0, change["id"]))

    def with_final_grade(self, record: Record, row: LogReference) -> Record:
        """The record, with ``finalgrade`` as of the row where it is known."""
        changes = self._changes.get((record["itemid"], row.learner), [])
        before = [change for change in changes if (change["timemodified"] or 0) <= row.time]
        return {**record, "finalgrade": before[-1]["finalgrade"]} if before else record


_ITEM_TABLES = ("grade_items", "grade_items_history", "scale")

LOADERS: Mapping[str, ObjectLoader] = {
    "grade_grades": ObjectLoader(
        "grade_grades", grades, reads=(*_ITEM_TABLES, "grade_grades_history")
    ),
    "grade_items": ObjectLoader("grade_items", items, reads=_ITEM_TABLES),
}
