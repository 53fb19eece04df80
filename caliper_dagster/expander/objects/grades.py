"""The gradebook: grades with their item, activity and attempt, as of the time of the row.

The grade itself is in the row (``other.finalgrade``). The record adds its item with the maximum
that was valid then, the activity, and the attempt that the grade comes from.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander import bulk_read
from caliper_dagster.expander.connection import LOG, MoodleDatabase, Record
from caliper_dagster.expander.event_data import as_id, decode
from caliper_dagster.expander.lookups import activities
from caliper_dagster.expander.lookups.grade_items import GradeItem
from caliper_dagster.expander.lookups.log_lifecycle import LogLifecycle
from caliper_dagster.expander.objects import assign, h5p, lesson, quiz, scorm, workshop
from caliper_dagster.expander.objects.loader import (
    FindGradedAttempt,
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectLoader,
)
from caliper_dagster.expander.record_columns import preserialized

_DELETED = r"\core\event\grade_deleted"
_NO_GRADE: Record = {"itemid": 0}
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


def _of_attempts(item: GradeItem) -> bool:
    """Whether it is the item number 0 of an activity that has attempts."""
    activity = item.activity
    return (
        activity is not None and activity[0] in _GRADED_ATTEMPTS and item.record["itemnumber"] == 0
    )


def items(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Grade items as of the row, also deleted ones: records of :class:`GradeItem`."""
    as_of = lookup.grade_items.as_of([row.id for row in rows], [row.time for row in rows])
    return [item and item.record for item in as_of]


def grades(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Grades: ``id``, ``itemid``, ``item``, ``module``, ``attempt``, ``finalgrade``.

    ``item`` is a record of :class:`GradeItem`; ``module`` a record of the column ``module``, None
    for an item of no activity; ``attempt`` the attempt that the grade comes from by the grading
    method of the activity (a record that begins with ``table``), None where it comes from none; it
    is absent for items whose grades come from no attempts. ``lastgraded`` is the log id of the last
    row that told a deleted grade; it is absent where there is none, and where the grade comes from
    an attempt and the log has lost that row.
    ``finalgrade`` as of the row is only there where ``other`` has none. The item of a deleted grade
    is the one that ``other`` names.
    """
    item_ids = _item_ids(lookup, rows)
    as_of = lookup.grade_items.as_of(item_ids, [row.time for row in rows])
    items_by_id = {id(item): item for item in as_of if item}
    modules = {
        activity: preserialized(module)
        for activity, module in activities.modules_of(
            lookup.database,
            {item.activity for item in as_of if item and item.activity},
            lookup.modules,
        ).items()
    }
    last_told = _last_told(lookup.lifecycle, rows)
    last_rows = _last_rows(lookup.database, rows, as_of, last_told)
    told_by = [last_rows.get(row.log_id) if row.event == _DELETED else row for row in rows]
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
        if last is not None and _of_attempts(item):
            record["attempt"] = attempts.graded(item, last)
        # The score of an unknown attempt is not known either.
        if row.log_id in last_told and (last is not None or not _of_attempts(item)):
            record["lastgraded"] = last_told[row.log_id]
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


def _last_told(lifecycle: LogLifecycle, rows: Sequence[LogReference]) -> dict[int, int]:
    """The log id of the last row that tells each grade before it is deleted.

    Returns:
        By the log id of the row that deletes the grade; rows of untold grades are not among them.
    """
    deletions = [row for row in rows if row.event == _DELETED and row.id]
    gradings = lifecycle.gradings(row.id for row in deletions).sort_by("id")
    told: dict[tuple[int, int], list[int]] = {}
    # A database that was restored may give an id again, to the grade of another learner.
    for log_id, grade, learner in zip(*map(bulk_read.plain_values, gradings.columns), strict=True):
        told.setdefault((grade, learner or 0), []).append(log_id)
    last = {}
    for row in deletions:
        log_ids = told.get((row.id, row.related), [])
        if before := bisect_left(log_ids, row.log_id):
            last[row.log_id] = log_ids[before - 1]
    return last


def _last_rows(
    database: MoodleDatabase,
    rows: Sequence[LogReference],
    items_of_rows: Sequence[GradeItem | None],
    last_told: Mapping[int, int],
) -> dict[int, LogReference]:
    """The last rows that tell grades which were deleted and come from attempts.

    Args:
        database: an open Moodle database.
        rows: the rows, with those that delete a grade.
        items_of_rows: the grade item of each.
        last_told: see :func:`_last_told`.

    Returns:
        By the log id of the row that deletes the grade. A row that the log no longer has is not
        among them.
    """
    deletions = {
        row.log_id: row
        for row, item in zip(rows, items_of_rows, strict=True)
        if item and _of_attempts(item) and row.log_id in last_told
    }
    told = {
        row["id"]: row
        for row in database.log.records(
            LOG, ("id", "timecreated", "other"), {"id": map(last_told.__getitem__, deletions)}
        )
    }
    references = {}
    for log_id, row in deletions.items():
        if graded := told.get(last_told[log_id]):
            other = decode(graded["other"] or "")
            references[log_id] = row._replace(
                log_id=graded["id"],
                time=graded["timecreated"],
                other=other if isinstance(other, dict) else {},
            )
    return references


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
        self, lookup: Lookup, graded: Iterable[tuple[LogReference | None, GradeItem | None]]
    ) -> None:
        pairs: dict[str, set[tuple[int, int]]] = {}
        for row, item in graded:
            if row and item and item.activity and _of_attempts(item) and row.learner:
                module, instance = item.activity
                pairs.setdefault(module, set()).add((instance, row.learner))
        self._finders: dict[str, FindGradedAttempt] = {
            module: _GRADED_ATTEMPTS[module](lookup, of_module)
            for module, of_module in sorted(pairs.items())
        }

    def graded(self, item: GradeItem, row: LogReference) -> Record | None:
        """The attempt that the grade of the row comes from."""
        if item.activity is None or not row.learner:
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
