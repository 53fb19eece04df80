"""The gradebook: grades with what they were given for, as of the time of the row.

The grade itself is in the row (``other.finalgrade``); here is its item with the maximum that was
valid then, the activity, and the attempt that the learner had made by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander import activities
from caliper_dagster.expander.columns import group_by
from caliper_dagster.expander.database import Record
from caliper_dagster.expander.objects import assign, h5p, lesson, quiz, scorm, workshop
from caliper_dagster.expander.objects.rows import Found, Kind, Latest, Row, Source, number

_ITEM = (
    "itemtype", "itemmodule", "iteminstance", "itemnumber", "itemname", "gradetype", "grademax",
    "scaleid",
)  # fmt: skip
_GRADED = r"\core\event\user_graded"

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


class _Items:
    """Grade items as of a time: from ``grade_items_history``, else as they are today.

    The history is kept unless the site turned it off or cleared it; deleted items are in it too.
    """

    def __init__(self, source: Source, ids: Iterable[int]) -> None:
        ids = set(ids)
        self._today = source.by_id("grade_items", ("id", *_ITEM), ids)
        history = source.database.records(
            "grade_items_history", ("id", "oldid", "timemodified", *_ITEM), {"oldid": ids}
        )
        self._history = group_by(
            sorted(history, key=lambda row: (row["timemodified"] or 0, row["id"])), "oldid"
        )
        used = {row["scaleid"] for row in (*history, *self._today.values()) if row["scaleid"]}
        scales = source.by_id("scale", ("id", "scale"), used)
        self._scale_items = {
            id_: len((scale["scale"] or "").split(",")) for id_, scale in scales.items()
        }
        self._records: dict[tuple[int, int | None], Record] = {}

    def as_of(self, item: int, time: int) -> Record | None:
        """The item at a time, the same object while it does not change."""
        past = self._history.get(item, [])
        before = [version for version in past if (version["timemodified"] or 0) <= time]
        today = self._today.get(item)
        version = before[-1] if before else today or (past[0] if past else None)
        if version is None:
            return None
        key = (item, version["id"] if version is not today else None)
        if key not in self._records:
            self._records[key] = self._record(item, version)
        return self._records[key]

    def _record(self, item: int, version: Record) -> Record:
        record = {"id": item, **{name: version[name] for name in _ITEM}}
        items = self._scale_items.get(version["scaleid"])
        return {**record, "scale_items": items} if items else record


def items(source: Source, rows: Sequence[Row]) -> Found:
    """Grade items as of the row, also deleted ones.

    Records: ``id``, ``itemtype``, ``itemmodule``, ``iteminstance``, ``itemnumber``, ``itemname``,
    ``gradetype``, ``grademax``, ``scaleid``, ``scale_items`` (how many the scale has).
    """
    found = _Items(source, {row.id for row in rows})
    return [found.as_of(row.id, row.time) for row in rows]


def grades(source: Source, rows: Sequence[Row]) -> Found:
    """Grades: ``id``, ``itemid``, ``item``, ``module``, ``attempt``, ``finalgrade``.

    ``item`` is a record of :func:`items`; ``module`` one of the column ``module``, null for items
    of no activity; ``attempt`` the newest attempt of the learner, where the activity has attempts
    (a record of its kind, which begins with ``table``); ``finalgrade`` as of the row is there only
    where ``other`` does not say it. A grade that is gone is told by the item that ``other`` names.
    """
    listed = source.by_id("grade_grades", ("id", "itemid"), [row.id for row in rows])
    named = [
        number(row.other.get("itemid")) or listed.get(row.id, {}).get("itemid", 0) for row in rows
    ]
    found = _Items(source, named)
    chosen = [found.as_of(id_, row.time) for id_, row in zip(named, rows, strict=True)]
    modules = activities.modules_of(source.database, filter(None, map(_activity, chosen)))
    attempts = _Attempts(
        source,
        (
            (item, row.learner)
            for row, item in zip(rows, chosen, strict=True)
            if item and row.event == _GRADED
        ),
    )
    history = _History(source, zip(rows, named, strict=True))
    records: list[Record | None] = []
    for row, item in zip(rows, chosen, strict=True):
        if item is None:
            records.append(None)
            continue
        record: Record = {
            "id": row.id,
            "itemid": item["id"],
            "item": item,
            "module": modules.get(_activity(item) or ("", 0)),
        }
        if row.event == _GRADED:
            record["attempt"] = attempts.newest(item, row)
        records.append(history.complete(record, row))
    return records


def _activity(item: Record | None) -> tuple[str, int] | None:
    if item is None or item["itemtype"] != "mod" or not item["itemmodule"]:
        return None
    return item["itemmodule"], number(item["iteminstance"])


class _Attempts:
    """Newest attempts of the learners of grades, in every activity that has attempts."""

    def __init__(self, source: Source, graded: Iterable[tuple[Record, int]]) -> None:
        wanted: dict[str, set[tuple[int, int]]] = {}
        for item, user in graded:
            module, instance = _activity(item) or ("", 0)
            if module in _LATEST and item["itemnumber"] == 0 and user:
                wanted.setdefault(module, set()).add((instance, user))
        self._latest: dict[str, Latest] = {
            module: _LATEST[module](source, pairs) for module, pairs in sorted(wanted.items())
        }

    def newest(self, item: Record, row: Row) -> Record | None:
        """The attempt that the learner of the row had made in the item's activity by then."""
        module, instance = _activity(item) or ("", 0)
        latest = self._latest.get(module)
        if latest is None or item["itemnumber"] != 0 or not row.learner:
            return None
        return latest(instance, row.learner, row.time)


class _History:
    """Final grades from ``grade_grades_history``, for rows whose event data has none."""

    def __init__(self, source: Source, rows: Iterable[tuple[Row, int]]) -> None:
        silent = [(row, item) for row, item in rows if "finalgrade" not in row.other]
        self._changes: dict[tuple[int, int], list[Record]] = {}
        for change in source.database.records(
            "grade_grades_history",
            ("id", "itemid", "userid", "timemodified", "finalgrade"),
            {
                "userid": {row.learner for row, _ in silent if row.learner},
                "itemid": {item for _, item in silent},
            },
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
