"""Assignments: submissions and grades, as they were at the time of the row.

A grade that was changed since is looked up in the gradebook's history; where the history does not
reach, today's grade is given and marked with ``asof`` = ``export``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.expander.columns import group_by
from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.objects.rows import (
    SAME_ACT,
    Found,
    Kind,
    Latest,
    Row,
    Source,
    number,
)

_SUBMISSION = (
    "id", "assignment", "userid", "groupid", "attemptnumber", "status", "timecreated",
    "timemodified", "timestarted",
)  # fmt: skip
_GRADE = ("id", "assignment", "userid", "grader", "grade", "attemptnumber", "timemodified")
_PLUGIN_TABLES = ("assignsubmission_file", "assignsubmission_onlinetext")
_REMOVED = -1.0


def submissions(source: Source, rows: Sequence[Row]) -> Found:
    """Submissions: ``assign_submission`` without what was submitted."""
    plugin = _submissions_of_plugins(source, rows)
    ids = [_submission(row) or plugin.get((row.table, row.id), 0) for row in rows]
    found = source.by_id("assign_submission", _SUBMISSION, ids)
    return [found.get(id_) for id_ in ids]


def _submission(row: Row) -> int:
    named = number(row.other.get("submissionid"))
    return named or (0 if row.table in _PLUGIN_TABLES else row.id)


def _submissions_of_plugins(source: Source, rows: Sequence[Row]) -> dict[tuple[str, int], int]:
    """Submissions behind ids of the submission plugins, for rows that do not name them."""
    found = {}
    for table in _PLUGIN_TABLES:
        ids = {row.id for row in rows if row.table == table and not _submission(row)}
        for record in source.database.records(table, ("id", "submission"), {"id": ids}):
            found[table, record["id"]] = record["submission"]
    return found


def grades(source: Source, rows: Sequence[Row]) -> Found:
    """Grades as of the rows: ``assign_grades`` with its ``submission``."""
    found = source.by_id("assign_grades", _GRADE, [row.id for row in rows])
    submitted = _AssignSubmissions(source.database, found.values())
    changed = {row.id for row in rows if _is_changed(found.get(row.id), row.time)}
    history = _GradeHistory(source.database, [found[id_] for id_ in sorted(changed)])
    versions = {(row.id, row.time, row.user): found[row.id] for row in rows if row.id in found}
    acts = {
        version: history.act(grade, *version[1:])
        for version, grade in versions.items()
        if _is_changed(grade, version[1])
    }
    written = source.by_id(
        "grade_grades_history",
        ("id", "rawgrade", "rawgrademax"),
        {act.change for act in acts.values()},
    )
    records = {
        version: {**_as_of(grade, acts.get(version), written), "submission": submitted.of(grade)}
        for version, grade in versions.items()
    }
    return [records.get((row.id, row.time, row.user)) for row in rows]


def _as_of(grade: Record, act: _Act | None, written: Mapping[int, Record]) -> Record:
    """The grade record with ``grade`` as of a time, ``asof`` = ``export`` where it is not known.

    Args:
        grade: the record as it is now.
        act: what the history tells; None when the grade is the one of that time.
        written: the records of the history.
    """
    record = {key: value for key, value in grade.items() if key != "timemodified"}
    if act is None:
        return record
    change = written.get(act.change)
    if change is not None and change["rawgrade"] is not None:
        return {**record, "grade": change["rawgrade"], "grademax": change["rawgrademax"]}
    if act.same:
        return {**record, "grade": _REMOVED}
    return {**record, "asof": "export"}


def latest(source: Source, wanted: Iterable[tuple[int, int]]) -> Latest:
    """The newest submission of a learner, or of the learner's team, that had begun at a time."""
    submitted = _AssignSubmissions(
        source.database,
        [{"assignment": assignment, "userid": user} for assignment, user in wanted],
    )

    def find(assignment: int, user: int, time: int) -> Record | None:
        submission = submitted.latest(assignment, user, time)
        return submission and {"table": "assign_submission", **submission}

    return find


SUBMISSION = Kind("assign_submission", submissions, _submission)
GRADE = Kind("assign_grades", grades)

KINDS: Mapping[str, Kind] = {
    "assign_submission": SUBMISSION,
    "assign_grades": GRADE,
    **dict.fromkeys(_PLUGIN_TABLES, SUBMISSION),
}


class _AssignSubmissions:
    """Submissions by assignment and learner: the learner's own, or those of the team."""

    def __init__(self, database: MoodleDatabase, grades: Iterable[Record]) -> None:
        grades = list(grades)
        assignments = {grade["assignment"] for grade in grades}
        learners = {grade["userid"] for grade in grades}
        team = {
            assign["id"]
            for assign in database.records("assign", ("id", "teamsubmission"), {"id": assignments})
            if assign.get("teamsubmission")
        }
        self._team = team
        self._own: dict[tuple[int, int], list[Record]] = {}
        for row in database.records(
            "assign_submission",
            _SUBMISSION,
            {"userid": learners, "assignment": assignments - team},
        ):
            self._own.setdefault((row["assignment"], row["userid"]), []).append(row)
        self._groups: dict[int, set[int]] = {}
        self._teams: dict[int, list[Record]] = {}
        if team:
            members = database.records(
                "groups_members", ("groupid", "userid"), {"userid": learners}
            )
            for learner, rows in group_by(members, "userid").items():
                self._groups[learner] = {row["groupid"] for row in rows}
            for row in database.records("assign_submission", _SUBMISSION, {"assignment": team}):
                if not row["userid"]:
                    self._teams.setdefault(row["assignment"], []).append(row)

    def of(self, grade: Record) -> Record | None:
        """The graded submission; None when there is none, or when the team is not certain."""
        number = grade["attemptnumber"]
        candidates = self._candidates(grade["assignment"], grade["userid"])
        return _only([row for row in candidates if row["attemptnumber"] == number])

    def latest(self, assignment: int, user: int, time: int) -> Record | None:
        """The newest one begun by then; None when there is none, or the team is not certain."""
        begun = [
            row for row in self._candidates(assignment, user) if (row["timecreated"] or 0) <= time
        ]
        newest = max((row["attemptnumber"] or 0 for row in begun), default=0)
        return _only([row for row in begun if (row["attemptnumber"] or 0) == newest])

    def _candidates(self, assignment: int, user: int) -> list[Record]:
        if assignment not in self._team:
            return self._own.get((assignment, user), [])
        candidates = self._teams.get(assignment, [])
        groups = self._groups.get(user, set())
        own = [row for row in candidates if row["groupid"] in groups]
        # Learners without a group, or whose group submitted nothing, are Moodle's default team.
        return own or [row for row in candidates if not row["groupid"]]


def _only(found: list[Record]) -> Record | None:
    return found[0] if len(found) == 1 else None


def _is_changed(grade: Record | None, time: int) -> bool:
    """Whether the grade may have been another one at a time."""
    return grade is not None and (grade["timemodified"] or 0) > time


class _GradeHistory:
    """Grades of assignments as of a time, from ``grade_grades_history``.

    The gradebook's raw grade of source ``mod/assign`` is the assignment's grade. The grader writes
    it in the same act as the event, some moments before; others write there, too: a second grader
    at the same time, a learner who submits (who writes no grade: null).
    """

    def __init__(self, database: MoodleDatabase, grades: Iterable[Record]) -> None:
        grades = list(grades)
        items = database.records(
            "grade_items",
            ("id", "iteminstance"),
            {"iteminstance": {grade["assignment"] for grade in grades}},
            "itemtype = 'mod' AND itemmodule = 'assign' AND itemnumber = 0",
            ("itemtype", "itemmodule", "itemnumber"),
        )
        assignments = {item["id"]: item["iteminstance"] for item in items}
        found = database.integers(
            "grade_grades_history",
            ("id", "itemid", "userid", "timemodified", "loggeduser"),
            {"userid": {grade["userid"] for grade in grades}},
            "source = 'mod/assign' AND timemodified IS NOT NULL",
            ("source",),
            {"itemid": assignments},
        )
        named = pc.index_in(found["itemid"], pa.array(list(assignments), pa.int64()))
        found = found.append_column(
            "pair",
            pc.binary_join_element_wise(
                pa.array(list(assignments.values()), pa.int64()).take(named).cast(pa.string()),
                found["userid"].cast(pa.string()),
                " ",
            ),
        )
        # Of all these users in all these assignments few have one of the grades.
        found = found.filter(pc.is_in(found["pair"], pa.array(map(_pair, grades), pa.string())))
        found = found.sort_by([(name, "ascending") for name in ("pair", "timemodified", "id")])
        self._ids, self._times, self._users = (
            found[name].to_pylist() for name in ("id", "timemodified", "loggeduser")
        )
        pairs, counts = pc.value_counts(found["pair"]).flatten()  # in the order of the rows
        ends = pc.cumulative_sum(counts)
        spans = zip(pc.subtract(ends, counts).to_pylist(), ends.to_pylist(), strict=True)
        self._spans = dict(zip(pairs.to_pylist(), spans, strict=True))

    def act(self, grade: Record, time: int, user: int) -> _Act:
        """What the history tells of a grade at a time.

        Args:
            grade: one of those given.
            time: Unix time of the event.
            user: user of the event's log row, who gave the grade.
        """
        start, end = self._spans.get(_pair(grade), (0, 0))
        end = bisect_right(self._times, time, start, end)
        first = bisect_left(self._times, time - SAME_ACT, start, end)
        same = [place for place in range(first, end) if self._users[place] == user]
        # A grade that is given again as it was leaves no trace: then the last one holds.
        place = same[-1] if same else end - 1
        return _Act(self._ids[place] if place >= start else 0, same=bool(same))


def _pair(grade: Record) -> str:
    return f"{grade['assignment']} {grade['userid']}"


class _Act(NamedTuple):
    """A change of a grade that the history tells of.

    Attributes:
        change: id of its record; 0 when the history tells of none.
        same: whether the row's own request wrote it.
    """

    change: int
    same: bool
