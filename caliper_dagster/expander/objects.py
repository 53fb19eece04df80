"""The objects of rows: quiz attempts, submissions, grades, as they were at the time of the row.

Tables hold the present. Where a row is older than the last change of its object, what came later
is taken back (an attempt that was not finished yet) or looked up in the history (a grade that was
changed since); where Moodle keeps no history, today's value is given and marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from caliper_dagster.expander.columns import Flags, Integers, RecordColumn, distinct, group_by
from caliper_dagster.expander.database import MoodleDatabase, Record

_SUBMISSION = (
    "id", "assignment", "userid", "groupid", "attemptnumber", "status", "timecreated",
    "timemodified", "timestarted",
)  # fmt: skip
_QUIZ_ATTEMPT = (
    "id", "quiz", "userid", "attempt", "state", "preview", "timestart", "timefinish",
    "timemodified", "sumgrades",
)  # fmt: skip
_OPEN, _CHANGED = 1, 2
"""A quiz attempt at the time of a row: not finished yet; finished, but perhaps regraded since."""

_REMOVED = -1.0
_SAME_ACT = 60
"""Seconds, at most, between the gradebook's record of a grading and the event that it raises."""


class Objects:
    """Finds the records of (objecttable, objectid) and puts them into the column ``object``."""

    def __init__(self, database: MoodleDatabase) -> None:
        self._database = database
        self._kinds: Mapping[
            str, Callable[[RecordColumn, Flags, Integers, Integers, Integers], Flags]
        ] = {
            "quiz_attempts": self._quiz_attempts,
            "assign_submission": self._submissions,
            "assign_grades": self._assign_grades,
        }

    @property
    def tables(self) -> Iterable[str]:
        """Object tables that are expanded."""
        return self._kinds

    def place(
        self,
        column: RecordColumn,
        table: str,
        rows: Flags,
        ids: Integers,
        times: Integers,
        users: Integers,
    ) -> Flags:
        """Fill the column for the rows of one object table; returns the rows that found nothing."""
        return self._kinds[table](column, rows, ids, times, users)

    def _quiz_attempts(
        self, column: RecordColumn, rows: Flags, ids: Integers, times: Integers, users: Integers
    ) -> Flags:
        del users
        attempts = self._database.records(
            "quiz_attempts", _QUIZ_ATTEMPT, {"id": distinct(ids, rows)}
        )
        records: dict[int, Record] = {}
        finished, modified = {}, {}
        for attempt in attempts:
            key = attempt["id"]
            finished[key] = attempt["timefinish"] or 0
            modified[key] = attempt.pop("timemodified")
            records[key * 3] = attempt
            records[key * 3 + _OPEN] = {
                **attempt, "state": "inprogress", "timefinish": 0, "sumgrades": None
            }  # fmt: skip
            records[key * 3 + _CHANGED] = {**attempt, "asof": "export"}
        state = np.zeros(len(ids), dtype=np.int64)
        for row in np.flatnonzero(rows):
            key, time = int(ids[row]), times[row]
            if finished.get(key, 0) > time:
                state[row] = _OPEN
            elif modified.get(key, 0) > time and records[key * 3]["sumgrades"] is not None:
                state[row] = _CHANGED
        return column.place(rows, ids * 3 + state, records)

    def _submissions(
        self, column: RecordColumn, rows: Flags, ids: Integers, times: Integers, users: Integers
    ) -> Flags:
        del times, users  # a submission's number and owner do not change
        found = self._database.records(
            "assign_submission", _SUBMISSION, {"id": distinct(ids, rows)}
        )
        return column.place(rows, ids, {submission["id"]: submission for submission in found})

    def _assign_grades(
        self, column: RecordColumn, rows: Flags, ids: Integers, times: Integers, users: Integers
    ) -> Flags:
        grades = {
            grade["id"]: grade
            for grade in self._database.records(
                "assign_grades",
                ("id", "assignment", "userid", "grader", "grade", "attemptnumber", "timemodified"),
                {"id": distinct(ids, rows)},
            )
        }
        submissions = _AssignSubmissions(self._database, grades.values())
        history = _GradeHistory(self._database, grades.values())
        versions: dict[tuple[int, int, int], int] = {}
        records: dict[int, Record] = {}
        keys = np.full(len(ids), -1, dtype=np.int64)
        for row in np.flatnonzero(rows):
            grade = grades.get(int(ids[row]))
            if grade is None:
                continue
            version = (grade["id"], int(times[row]), int(users[row]))
            keys[row] = versions.setdefault(version, len(versions))
            if keys[row] not in records:
                records[int(keys[row])] = {
                    **history.as_of(grade, *version[1:]),
                    "submission": submissions.of(grade),
                }
        return column.place(rows, keys, records)


class _AssignSubmissions:
    """Finds the submission that an ``assign_grades`` row grades: the learner's, or the team's."""

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
        self._own = {
            (row["assignment"], row["userid"], row["attemptnumber"]): row
            for row in database.records(
                "assign_submission",
                _SUBMISSION,
                {"userid": learners, "assignment": assignments - team},
            )
        }
        self._groups: dict[int, set[int]] = {}
        self._teams: dict[tuple[int, int], list[Record]] = {}
        if team:
            members = database.records(
                "groups_members", ("groupid", "userid"), {"userid": learners}
            )
            for learner, rows in group_by(members, "userid").items():
                self._groups[learner] = {row["groupid"] for row in rows}
            for row in database.records("assign_submission", _SUBMISSION, {"assignment": team}):
                if not row["userid"]:
                    key = (row["assignment"], row["attemptnumber"])
                    self._teams.setdefault(key, []).append(row)

    def of(self, grade: Record) -> Record | None:
        """The graded submission; None when there is none, or when the team is not certain."""
        if grade["assignment"] not in self._team:
            return self._own.get((grade["assignment"], grade["userid"], grade["attemptnumber"]))
        candidates = self._teams.get((grade["assignment"], grade["attemptnumber"]), [])
        groups = self._groups.get(grade["userid"], set())
        own = [row for row in candidates if row["groupid"] in groups]
        # Learners without a group, or whose group submitted nothing, are Moodle's default team.
        chosen = own or [row for row in candidates if not row["groupid"]]
        return chosen[0] if len(chosen) == 1 else None


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
        self._changes: dict[tuple[int, int], list[Record]] = {}
        for row in database.records(
            "grade_grades_history",
            ("id", "itemid", "userid", "timemodified", "loggeduser", "rawgrade", "rawgrademax"),
            {"userid": {grade["userid"] for grade in grades}, "itemid": assignments},
            "source = 'mod/assign' AND timemodified IS NOT NULL",
            ("source", "timemodified"),
        ):
            key = (assignments[row["itemid"]], row["userid"])
            self._changes.setdefault(key, []).append(row)
        for changes in self._changes.values():
            changes.sort(key=lambda row: (row["timemodified"], row["id"]))

    def as_of(self, grade: Record, time: int, user: int) -> Record:
        """The grade record with ``grade`` as of the time, ``asof`` = ``export`` where unknown.

        Args:
            grade: the record as it is now.
            time: Unix time of the event.
            user: user of the event's log row, who gave the grade.
        """
        record = {key: value for key, value in grade.items() if key != "timemodified"}
        if (grade["timemodified"] or 0) <= time:
            return record
        changes = self._changes.get((grade["assignment"], grade["userid"]), [])
        before = [change for change in changes if change["timemodified"] <= time]
        in_this_act = [
            change
            for change in before
            if change.get("loggeduser") == user and time - change["timemodified"] <= _SAME_ACT
        ]
        # A grade that is given again as it was leaves no trace: then the last one holds.
        written = (in_this_act or before)[-1:]
        if written and written[0]["rawgrade"] is not None:
            return {
                **record,
                "grade": written[0]["rawgrade"],
                "grademax": written[0]["rawgrademax"],
            }
        if in_this_act:
            return {**record, "grade": _REMOVED}
        return {**record, "asof": "export"}
