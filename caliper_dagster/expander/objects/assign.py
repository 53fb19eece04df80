"""Assignments: submissions and grades, as they were at the time of the row.

A grade that was changed since is looked up in the gradebook's history; where the history does not
reach, today's grade is given and marked with ``asof`` = ``export``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander.columns import group_by
from caliper_dagster.expander.database import MoodleDatabase, Record
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
    versions: dict[tuple[int, int, int], Record] = {}
    records: list[Record | None] = []
    for row in rows:
        grade = found.get(row.id)
        version = (row.id, row.time, row.user)
        if grade is not None and version not in versions:
            versions[version] = {
                **history.as_of(grade, row.time, row.user),
                "submission": submitted.of(grade),
            }
        records.append(versions.get(version))
    return records


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


def _modified(row: Record) -> int:
    time: int = row["timemodified"]
    return time


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
        self._changes: dict[tuple[int, int], list[Record]] = {
            (grade["assignment"], grade["userid"]): [] for grade in grades
        }
        for row in database.records(
            "grade_grades_history",
            ("id", "itemid", "userid", "timemodified", "loggeduser", "rawgrade", "rawgrademax"),
            {"userid": {grade["userid"] for grade in grades}},
            "source = 'mod/assign' AND timemodified IS NOT NULL",
            ("source", "timemodified"),
            {"itemid": assignments},
        ):
            key = (assignments[row["itemid"]], row["userid"])
            if key in self._changes:
                self._changes[key].append(row)
        for changes in self._changes.values():
            changes.sort(key=lambda row: (row["timemodified"], row["id"]))

    def as_of(self, grade: Record, time: int, user: int) -> Record:
        """The grade record with ``grade`` as of the time, ``asof`` = ``export`` where unknown.

        Args:
            grade: the record as it is now; one of those given, where it was changed since.
            time: Unix time of the event.
            user: user of the event's log row, who gave the grade.
        """
        record = {key: value for key, value in grade.items() if key != "timemodified"}
        if not _is_changed(grade, time):
            return record
        changes = self._changes[grade["assignment"], grade["userid"]]
        first, end = (
            bisect_right(changes, moment, key=_modified) for moment in (time - SAME_ACT - 1, time)
        )
        in_this_act = [change for change in changes[first:end] if change["loggeduser"] == user]
        # A grade that is given again as it was leaves no trace: then the last one holds.
        written = in_this_act[-1:] or changes[:end][-1:]
        if written and written[0]["rawgrade"] is not None:
            return {
                **record,
                "grade": written[0]["rawgrade"],
                "grademax": written[0]["rawgrademax"],
            }
        if in_this_act:
            return {**record, "grade": _REMOVED}
        return {**record, "asof": "export"}
