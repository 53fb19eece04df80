"""Assignments: submissions and grades, as they were at the time of the row.

A grade that was changed since is looked up in the gradebook's history. Where the history does not
reach back far enough, the record has today's grade and ``asof`` = ``export``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.event_data import as_id
from caliper_dagster.expander.objects.loader import (
    SECONDS_AFTER_LOG_ROW,
    SECONDS_BEFORE_LOG_ROW,
    FindGradedAttempt,
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectLoader,
)
from caliper_dagster.expander.record_columns import distinct_pairs, group_by

_SUBMISSION = (
    "id", "assignment", "userid", "groupid", "attemptnumber", "status", "timecreated",
    "timemodified", "timestarted",
)  # fmt: skip
_GRADE = (
    "id", "assignment", "userid", "grader", "grade", "attemptnumber", "timemodified",
    "penalty",
)  # fmt: skip
_EXTENSION_GRANTED = r"\mod_assign\event\extension_granted"
_PLUGIN_TABLES = ("assignsubmission_file", "assignsubmission_onlinetext")
_GRADED = r"\mod_assign\event\submission_graded"
_NO_GRADE = -1.0
"""Moodle's value of ``assign_grades.grade`` for a grade that was removed."""


def submissions(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Submissions: ``assign_submission`` without what was submitted.

    One that was submitted by then has ``timesubmitted``.
    """
    of_plugins = _submissions_of_plugins(lookup, rows)
    ids = [_submission_id(row) or of_plugins.get((row.table, row.id), 0) for row in rows]
    by_id = lookup.by_id("assign_submission", _SUBMISSION, ids)
    records = dict(zip(by_id, _with_members(lookup.database, by_id.values()), strict=True))
    return [_as_submitted(records.get(id_), row.time) for id_, row in zip(ids, rows, strict=True)]


def _as_submitted(submission: Record | None, time: int) -> Record | None:
    """A submission, with ``timesubmitted`` if it was submitted by a time."""
    if submission is None or submission["status"] != "submitted":
        return submission
    submitted = submission["timemodified"] or 0
    if not 0 < submitted <= time + SECONDS_AFTER_LOG_ROW:
        return submission
    return {**submission, "timesubmitted": submitted}


def _with_members(database: MoodleDatabase, records: Iterable[Record]) -> list[Record]:
    """Submissions, those of a group with ``members``: the ids of its users, as they are now."""
    records = list(records)
    groups = {record["groupid"] for record in records if record["groupid"]}
    if not groups:
        return records
    rows = database.records("groups_members", ("groupid", "userid"), {"groupid": groups})
    members = {
        group: sorted(row["userid"] for row in of_group if row["userid"])
        for group, of_group in group_by(rows, "groupid").items()
    }
    return [
        {**record, "members": members[record["groupid"]]}
        if record["groupid"] in members
        else record
        for record in records
    ]


def _submission_id(row: LogReference) -> int:
    id_ = as_id(row.other.get("submissionid"))
    return id_ or (0 if row.table in _PLUGIN_TABLES else row.id)


def _submissions_of_plugins(
    lookup: Lookup, rows: Sequence[LogReference]
) -> dict[tuple[str, int], int]:
    """Submission ids by table and id of a submission plugin, for rows that only name the latter."""
    submission_ids = {}
    for table in _PLUGIN_TABLES:
        ids = {row.id for row in rows if row.table == table and not _submission_id(row)}
        for record in lookup.database.records(table, ("id", "submission"), {"id": ids}):
            submission_ids[table, record["id"]] = record["submission"]
    return submission_ids


def grades(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Grades as of the rows: ``assign_grades`` with its ``submission``."""
    today = lookup.by_id("assign_grades", _GRADE, [row.id for row in rows])
    submitted = _Submissions(lookup.database, today.values())
    versions_of_rows = [_Version.of(row) for row in rows]
    versions = {version for version in versions_of_rows if version.id in today}
    changed = {version for version in versions if version.may_differ(today[version.id])}
    history = _GradeHistory(
        lookup.database,
        [today[id_] for id_ in sorted({version.id for version in changed})],
        max((version.time for version in changed), default=0),
    )
    changes = {
        version: history.change(today[version.id], version.time, version.user)
        for version in changed
    }
    history_records = lookup.by_id(
        "grade_grades_history",
        ("id", "rawgrade", "rawgrademax"),
        {change.id for change in changes.values()},
    )
    given = {
        id_: {key: value for key, value in grade.items() if key != "timemodified"}
        for id_, grade in today.items()
    }
    records = {
        version: {
            **_as_of(given[version.id], changes.get(version), history_records),
            "submission": submitted.graded(today[version.id], version.time),
        }
        for version in versions
    }
    return [records.get(version) for version in versions_of_rows]


class _Version(NamedTuple):
    """A grade as a log row tells of it.

    Attributes:
        id: id of the record of ``assign_grades``.
        time: Unix time of the row.
        user: the row's user.
        is_grader: whether this user gave the grade.
    """

    id: int
    time: int
    user: int
    is_grader: bool

    @classmethod
    def of(cls, row: LogReference) -> _Version:
        """The version that a row tells of."""
        return cls(row.id, row.time, row.user, row.event == _GRADED and row.user > 0)

    def may_differ(self, grade: Record) -> bool:
        """Whether the grade of now may be another: written later, or by a second grader then."""
        written = grade["timemodified"] or 0
        by_another = self.is_grader and grade["grader"] != self.user
        return written > self.time or (by_another and written > self.time - SECONDS_BEFORE_LOG_ROW)


def _as_of(
    record: Record, change: _GradeChange | None, history_records: Mapping[int, Record]
) -> Record:
    """The grade record with ``grade`` as of a time, and ``asof`` = ``export`` where it is unknown.

    Args:
        record: the record as it is now.
        change: the change that wrote the grade of that time; None when it is the grade of now.
        history_records: records of ``grade_grades_history`` by id.
    """
    if change is None:
        return record
    past = history_records.get(change.id)
    if past is not None and past["rawgrade"] is not None:
        return {**record, "grade": past["rawgrade"], "grademax": past["rawgrademax"]}
    if change.same_request:
        return {**record, "grade": _NO_GRADE}
    return {**record, "asof": "export"}


def graded(lookup: Lookup, pairs: Iterable[tuple[int, int]]) -> FindGradedAttempt:
    """Finds the submission of a learner, or of the learner's team, that a grade comes from.

    It is that of the highest ``attemptnumber`` graded by then.
    """
    wanted = set(pairs)
    read = lookup.database.records(
        "assign_grades",
        (*_GRADE, "timecreated"),
        {"userid": {user for _, user in wanted}, "assignment": {pair[0] for pair in wanted}},
    )
    # The query selects all combinations of these users and assignments.
    given = [grade for grade in read if (grade["assignment"], grade["userid"]) in wanted]
    submitted = _Submissions(lookup.database, given)
    grades: dict[tuple[int, int], list[Record]] = {}
    for grade in sorted(given, key=lambda grade: -(grade["attemptnumber"] or 0)):
        grades.setdefault((grade["assignment"], grade["userid"]), []).append(grade)

    def find(assignment: int, user: int, time: int, _: object) -> Record | None:
        own = grades.get((assignment, user), ())
        last = next((grade for grade in own if _was_given(grade, time)), None)
        if last is None:
            return None
        submission = submitted.graded(last, time)
        return submission and {"table": "assign_submission", **submission}

    return find


def _was_given(grade: Record, time: int) -> bool:
    """Whether there was a grade at a time. What was written later may be its removal."""
    if (grade["timecreated"] or 0) > time + SECONDS_AFTER_LOG_ROW:
        return False
    is_empty = grade["grade"] is None or grade["grade"] < 0
    return not is_empty or (grade["timemodified"] or 0) > time


SUBMISSION = ObjectLoader(
    "assign_submission",
    submissions,
    _submission_id,
    reads=("assign", "groups_members", *_PLUGIN_TABLES),
)


def extensions(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Extensions: ``extensionduedate`` of a learner in an assignment, as it is today."""
    flags = {
        (record["assignment"], record["userid"]): {"extensionduedate": record["extensionduedate"]}
        for record in lookup.database.records(
            "assign_user_flags",
            ("assignment", "userid", "extensionduedate"),
            {
                "userid": {row.related for row in rows if row.related},
                "assignment": {_assignment(row) for row in rows},
            },
        )
    }
    return [flags.get((_assignment(row), row.related)) for row in rows]


def _assignment(row: LogReference) -> int:
    return row.instance or row.id


GRADE = ObjectLoader(
    "assign_grades",
    grades,
    reads=("assign", "assign_submission", "grade_items", "grade_grades_history", "groups_members"),
)

LOADERS: Mapping[str, ObjectLoader] = {
    "assign_submission": SUBMISSION,
    "assign_grades": GRADE,
    **dict.fromkeys(_PLUGIN_TABLES, SUBMISSION),
}
EVENT_LOADERS: Mapping[str, ObjectLoader] = {
    _EXTENSION_GRANTED: ObjectLoader("assign_user_flags", extensions, lambda _: 0),
}


class _Submissions:
    """Submissions by assignment and learner: the learner's own, or those of the learner's team."""

    def __init__(self, database: MoodleDatabase, grades: Iterable[Record]) -> None:
        grades = list(grades)
        assignments = {grade["assignment"] for grade in grades}
        learners = {grade["userid"] for grade in grades}
        team_assignments = {
            assign["id"]
            for assign in database.records("assign", ("id", "teamsubmission"), {"id": assignments})
            if assign.get("teamsubmission")
        }
        self._team_assignments = team_assignments
        self._own: dict[tuple[int, int, int], list[Record]] = {}
        for row in database.records(
            "assign_submission",
            _SUBMISSION,
            {"userid": learners, "assignment": assignments - team_assignments},
        ):
            key = (row["assignment"], row["userid"], row["attemptnumber"])
            self._own.setdefault(key, []).append(row)
        self._groups: dict[int, set[int]] = {}
        self._of_teams: dict[int, list[Record]] = {}
        if team_assignments:
            members = database.records(
                "groups_members", ("groupid", "userid"), {"userid": learners}
            )
            for learner, rows in group_by(members, "userid").items():
                self._groups[learner] = {row["groupid"] for row in rows}
            submitted = database.records(
                "assign_submission", _SUBMISSION, {"assignment": team_assignments}
            )
            for row in _with_members(database, submitted):
                if not row["userid"]:
                    self._of_teams.setdefault(row["assignment"], []).append(row)

    def graded(self, grade: Record, time: int) -> Record | None:
        """The submission that was graded, as of a time.

        None without one, or when the team is uncertain.
        """
        assignment, user, attempt = grade["assignment"], grade["userid"], grade["attemptnumber"]
        if assignment in self._team_assignments:
            of_team = self._of_team(assignment, user)
            found = [row for row in of_team if row["attemptnumber"] == attempt]
        else:
            found = self._own.get((assignment, user, attempt), [])
        return _as_submitted(found[0], time) if len(found) == 1 else None

    def _of_team(self, assignment: int, user: int) -> list[Record]:
        candidates = self._of_teams.get(assignment, [])
        groups = self._groups.get(user, set())
        own = [row for row in candidates if row["groupid"] in groups]
        # Learners without a group, or whose group submitted nothing, form Moodle's default team.
        return own or [row for row in candidates if not row["groupid"]]


class _GradeHistory:
    """Grades of assignments as of a time, from ``grade_grades_history``.

    The gradebook's raw grade of source ``mod/assign`` is the assignment's grade. The request that
    triggers the event writes it, moments before the log row. Other requests write there too: those
    of a second grader at the same time, or of a learner who submits (with a null grade).
    """

    def __init__(self, database: MoodleDatabase, grades: Iterable[Record], until: int) -> None:
        """Read the history of grades up to a Unix time."""
        learners: dict[int, set[int]] = {}
        for grade in grades:
            learners.setdefault(grade["assignment"], set()).add(grade["userid"])
        items = database.records(
            "grade_items",
            ("id", "iteminstance"),
            {"iteminstance": learners},
            "itemtype = 'mod' AND itemmodule = 'assign' AND itemnumber = 0",
            ("itemtype", "itemmodule", "itemnumber"),
        )
        assignments = {item["id"]: item["iteminstance"] for item in items}
        changes = database.integers(
            "grade_grades_history",
            ("id", "itemid", "userid", "timemodified", "loggeduser"),
            {
                ("userid", "itemid"): (
                    (learner, item)
                    for item, assignment in assignments.items()
                    for learner in learners[assignment]
                )
            },
            f"source = 'mod/assign' AND timemodified <= {until}",
            ("source",),
        )
        ids, item_ids, users, times, graders = (
            column.fill_null(-1).to_numpy() for column in changes.columns
        )
        assignment_ids = np.array([assignments[item] for item in item_ids.tolist()], dtype=np.int64)
        pairs, codes = distinct_pairs(assignment_ids, users)
        order = np.lexsort((ids, times, codes))
        self._ids, self._times, self._users = (
            column[order].tolist() for column in (ids, times, graders)
        )
        distinct, firsts, counts = np.unique(codes[order], return_index=True, return_counts=True)
        spans = zip(firsts.tolist(), (firsts + counts).tolist(), strict=True)
        self._spans = dict(zip((pairs[code] for code in distinct.tolist()), spans, strict=True))

    def change(self, grade: Record, time: int, user: int) -> _GradeChange:
        """The change that wrote the grade which was valid at a time.

        Args:
            grade: one of the grades of the constructor.
            time: Unix time of the event.
            user: user of the event's log row, who graded.
        """
        start, end = self._spans.get((grade["assignment"], grade["userid"]), (0, 0))
        end = bisect_right(self._times, time, start, end)
        first = bisect_left(self._times, time - SECONDS_BEFORE_LOG_ROW, start, end)
        same_request = [index for index in range(first, end) if self._users[index] == user]
        # Grading again with the same grade leaves no record: then the last change is valid.
        index = same_request[-1] if same_request else end - 1
        return _GradeChange(
            self._ids[index] if index >= start else 0, same_request=bool(same_request)
        )


class _GradeChange(NamedTuple):
    """A change of a grade in the history.

    Attributes:
        id: id of its record; 0 when the history has none.
        same_request: whether the request that wrote the log row wrote it.
    """

    id: int
    same_request: bool
