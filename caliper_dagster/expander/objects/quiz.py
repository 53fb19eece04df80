"""Quizzes: attempts, their questions and the responses, as of the time of the row.

``question_attempts`` belong to a usage (``quiz_attempts.uniqueid``). Their steps are their history:
state and fraction at a time are those of the newest step by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from caliper_dagster.expander.connection import LOG, Record
from caliper_dagster.expander.event_data import as_id, as_number
from caliper_dagster.expander.lookups.activities import find_modules
from caliper_dagster.expander.lookups.log_lifecycle import ATTEMPT_DELETED, ATTEMPT_SUBMITTED
from caliper_dagster.expander.objects.grading_methods import GradingMethod, graded_attempt
from caliper_dagster.expander.objects.loader import (
    SECONDS_AFTER_LOG_ROW,
    FindGradedAttempt,
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectByIdLoader,
    ObjectLoader,
    id_from_other,
)
from caliper_dagster.expander.record_columns import group_by

_ATTEMPT = (
    "id", "quiz", "userid", "attempt", "state", "preview", "timestart", "timefinish", "sumgrades",
)  # fmt: skip
_ATTEMPT_COLUMNS = (*_ATTEMPT, "uniqueid", "timemodified")
_QUESTION = ("id", "name", "qtype")
_WITH_RESPONSE = ("complete", "invalid")
_UNANSWERED = ("todo", "gaveup", "mangaveup", "notstarted", "unprocessed")
_GRADED = ("graded", "mangr")

_STARTED = r"\mod_quiz\event\attempt_started"
_MODULE_LEVEL = 70
_METHODS = {
    1: GradingMethod.HIGHEST,
    2: GradingMethod.AVERAGE,
    3: GradingMethod.FIRST,
    4: GradingMethod.LAST,
}
"""By ``quiz.grademethod``."""
_UNGRADED = ("abandoned", "submitted")
"""States of attempts that have an end, and never had a grade."""
_PRECISION = 0.00002
"""Twice the last decimal of the grades in the database."""


class Attempts:
    """Quiz attempts as of a time: an attempt that was not finished yet has no end and no grade.

    An attempt that was changed after it was finished, perhaps by regrading, has today's grade and
    ``asof`` = ``export``.
    """

    def __init__(self, attempts: Iterable[Record]) -> None:
        self._today: dict[int, Record] = {}
        self._in_progress: dict[int, Record] = {}
        self._changed_since: dict[int, Record] = {}
        self.usages: dict[int, int] = {}
        self._modified: dict[int, int] = {}
        for attempt in attempts:
            id_ = attempt["id"]
            attempt = dict(attempt)
            self.usages[id_] = attempt.pop("uniqueid")
            self._modified[id_] = attempt.pop("timemodified", None) or 0
            self._today[id_] = attempt
            self._in_progress[id_] = {
                **attempt, "state": "inprogress", "timefinish": 0, "sumgrades": None
            }  # fmt: skip
            self._changed_since[id_] = {**attempt, "asof": "export"}

    @classmethod
    def by_id(cls, lookup: Lookup, ids: Iterable[int]) -> Attempts:
        """Read attempts by their ids."""
        return cls(lookup.database.records("quiz_attempts", _ATTEMPT_COLUMNS, {"id": ids}))

    def as_of(self, attempt: int, time: int) -> Record | None:
        """The attempt at a time; the same Python object for all times with equal content."""
        today = self._today.get(attempt)
        if today is None:
            return None
        if (today["timefinish"] or 0) > time:
            return self._in_progress[attempt]
        changed = today["sumgrades"] is not None and self._modified[attempt] > time
        return self._changed_since[attempt] if changed else today

    def graded_as_of(self, attempt: int, time: int, usages: _Usages) -> Record | None:
        """The attempt at a time with the ``sumgrades`` of that time.

        Where the attempt changed since, ``sumgrades`` is the sum over the steps of its questions. A
        regrading overwrites the steps: what it changed is unknown.
        """
        record = self.as_of(attempt, time)
        if record is None or "asof" not in record or not record["timefinish"]:
            return record
        total = usages.total(self.usages[attempt], time)
        return {**self._today[attempt], "sumgrades": total}


def attempts(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Attempts: ``quiz_attempts`` as of the row."""
    by_id = Attempts.by_id(lookup, [row.id for row in rows])
    return [by_id.as_of(row.id, row.time) for row in rows]


def submitted_attempts(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Attempts with ``items``: each question, its final state, and the response.

    An item has ``id`` (of the question attempt), ``slot``, ``questionid``, ``qtype``, ``name``,
    ``version``, ``questionbankentryid``, ``maxmark``, ``state``, ``fraction``, ``responsesummary``
    and ``timecreated`` (Unix time of the last response, None without a response). Manual grading
    after the row does not count. Texts between questions (``description``) are not items.
    """
    by_id = Attempts.by_id(lookup, [row.id for row in rows])
    usages = _Usages(lookup, by_id.usages.values())
    records: list[Record | None] = []
    for row in rows:
        attempt = by_id.graded_as_of(row.id, row.time, usages)
        items = usages.items(by_id.usages[row.id], row.time) if attempt else []
        records.append(attempt and {**attempt, "items": items})
    return records


def scored_attempts(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Graded attempts: ``quiz_attempts`` with the ``sumgrades`` as of the row."""
    by_id = Attempts.by_id(lookup, [row.id for row in rows])
    as_of = [by_id.as_of(row.id, row.time) for row in rows]
    changed = {attempt["id"] for attempt in as_of if attempt and "asof" in attempt}
    usages = _Usages(lookup, [by_id.usages[id_] for id_ in changed])
    return [by_id.graded_as_of(row.id, row.time, usages) for row in rows]


def graded_questions(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Manually graded questions: the question attempt of (``other.attemptid``, ``other.slot``).

    Records: ``id``, ``slot``, ``questionid``, ``name``, ``qtype``, ``version``,
    ``questionbankentryid``, ``maxmark``, ``fraction`` (of the newest grading at the time of the
    row) and ``attempt``, the quiz attempt.
    """
    ids = [as_id(row.other.get("attemptid")) for row in rows]
    by_id = Attempts.by_id(lookup, ids)
    usages = _Usages(lookup, by_id.usages.values())
    records: list[Record | None] = []
    for id_, row in zip(ids, rows, strict=True):
        slot = as_id(row.other.get("slot"))
        question = usages.grading(by_id.usages.get(id_, 0), slot, row.time)
        records.append(question and {**question, "attempt": by_id.as_of(id_, row.time)})
    return records


class _DeletedAttempts:
    """Attempts that were deleted from the database, reconstructed from the log.

    Learners start their own attempts, so an index of the log finds these events by user. Anybody
    may have submitted or deleted an attempt: these events are lifecycle rows.

    Args:
        lookup: where to look.
        pairs: (quiz id, user id).
        existing: ids of attempts that the database still has.
    """

    def __init__(
        self, lookup: Lookup, pairs: Iterable[tuple[int, int]], existing: set[int]
    ) -> None:
        pairs = set(pairs)
        modules = find_modules(lookup.database, (("quiz", quiz) for quiz, _ in pairs))
        quizzes = {module: quiz for (_, quiz), module in modules.items()}
        started = lookup.database.log.records(
            LOG,
            ("id", "objectid", "userid", "contextinstanceid", "timecreated"),
            {"userid": {user for _, user in pairs}, "contextinstanceid": quizzes},
            # The index (userid, contextlevel, …) covers crud and edulevel, too.
            f"contextlevel = {_MODULE_LEVEL} AND crud = 'c' AND edulevel = 2 "
            "AND anonymous = 0 AND eventname = :started",
            started=_STARTED,
        )
        deleted = [row for row in started if row["objectid"] and row["objectid"] not in existing]
        later = lookup.lifecycle.rows(
            (ATTEMPT_SUBMITTED, ATTEMPT_DELETED),
            {"objectid": {row["objectid"] for row in deleted}},
        )
        times = {(row["objectid"], row["eventname"]): row["timecreated"] for row in later}
        self._by_pair: dict[tuple[int, int], list[_DeletedAttempt]] = {}
        for row in sorted(deleted, key=lambda row: (row["timecreated"], row["id"])):
            id_ = row["objectid"]
            attempt = _DeletedAttempt(
                {"id": id_, "userid": row["userid"]},
                row["timecreated"],
                times.get((id_, ATTEMPT_SUBMITTED)),
                times.get((id_, ATTEMPT_DELETED)),
            )
            pair = (quizzes[row["contextinstanceid"]], row["userid"])
            self._by_pair.setdefault(pair, []).append(attempt)

    def at(self, quiz: int, user: int, time: int) -> list[_DeletedAttempt]:
        """The attempts that existed at a time, oldest first."""
        return [
            attempt
            for attempt in self._by_pair.get((quiz, user), [])
            if attempt.started <= time and (attempt.deleted is None or attempt.deleted > time)
        ]


class _DeletedAttempt(NamedTuple):
    """A deleted attempt with the Unix times of its events; None where the log has no such event."""

    record: Record
    started: int
    submitted: int | None
    deleted: int | None

    def is_finished(self, time: int) -> bool:
        # The log row of the submission is written just after the grade.
        return self.submitted is not None and self.submitted - SECONDS_AFTER_LOG_ROW <= time


class _Candidate(NamedTuple):
    """An attempt that a grade may come from.

    Attributes:
        record: the attempt at the time of the grade.
        started: Unix time.
        points: its ``sumgrades`` at that time; None where they are not known.
        deleted: whether the attempt was deleted since.
    """

    record: Record
    started: int
    points: float | None
    deleted: bool


def graded(lookup: Lookup, pairs: Iterable[tuple[int, int]]) -> FindGradedAttempt:
    """Finds the finished attempt that a grade comes from, by ``quiz.grademethod``.

    Previews do not count. The record of an attempt that was deleted since has only ``id`` and
    ``userid``.
    """
    pairs = list(pairs)
    quizzes = lookup.by_id(
        "quiz", ("id", "grademethod", "sumgrades", "grade"), {quiz for quiz, _ in pairs}
    )
    finished = _FinishedAttempts(lookup, pairs)

    def find(quiz: int, user: int, time: int, grade: object) -> Record | None:
        record = quizzes.get(quiz, {})
        method = _METHODS.get(record.get("grademethod") or 1, GradingMethod.HIGHEST)
        candidates = finished.at(quiz, user, time)
        if method is GradingMethod.HIGHEST and any(one.deleted for one in candidates):
            attempt = _with_grade(candidates, record, grade)
        else:
            attempt = graded_attempt(method, [(one.record, one.points) for one in candidates])
        return attempt and {"table": "quiz_attempts", **attempt}

    return find


def _with_grade(candidates: list[_Candidate], quiz: Record, told: object) -> Record | None:
    """The attempt that a highest grade comes from, where deleted attempts may have had it."""
    scale = (quiz.get("grade") or 0) / quiz["sumgrades"] if quiz.get("sumgrades") else 0
    grade = as_number(told)
    if grade is not None:
        for one in candidates:
            if one.points is not None and abs(one.points * scale - grade) < _PRECISION:
                return one.record
    deleted = [one for one in candidates if one.deleted]
    return deleted[0].record if len(deleted) == 1 else None


class _FinishedAttempts:
    """The finished attempts of (quiz, user) at a time, also those that were deleted since."""

    def __init__(self, lookup: Lookup, pairs: list[tuple[int, int]]) -> None:
        records = lookup.database.records(
            "quiz_attempts",
            _ATTEMPT_COLUMNS,
            {"userid": {user for _, user in pairs}, "quiz": {quiz for quiz, _ in pairs}},
            "preview = 0",
            ("preview",),
        )
        self._by_pair: dict[tuple[int, int], list[Record]] = {}
        for record in sorted(records, key=lambda record: (record["attempt"], record["id"])):
            self._by_pair.setdefault((record["quiz"], record["userid"]), []).append(record)
        # Only of several attempts the points matter, and only where they may have changed.
        several = [row for rows in self._by_pair.values() if len(rows) > 1 for row in rows]
        changed = [row for row in several if (row["timemodified"] or 0) > (row["timefinish"] or 0)]
        self._usages = _Usages(lookup, [row["uniqueid"] for row in changed])
        self._deleted = _DeletedAttempts(lookup, pairs, {record["id"] for record in records})
        self._attempts = Attempts(records)

    def at(self, quiz: int, user: int, time: int) -> list[_Candidate]:
        """The attempts that were finished by a time, oldest first."""
        own = self._by_pair.get((quiz, user), [])
        candidates = [
            self._candidate(record, time, len(own) > 1)
            for record in own
            if 0 < (record["timefinish"] or 0) <= time and record["state"] not in _UNGRADED
        ]
        deleted = [
            _Candidate(attempt.record, attempt.started, None, deleted=True)
            for attempt in self._deleted.at(quiz, user, time)
            if attempt.is_finished(time)
        ]
        if not deleted:
            return candidates
        return sorted([*candidates, *deleted], key=lambda one: one.started)

    def _candidate(self, attempt: Record, time: int, is_one_of_several: bool) -> _Candidate:
        record = self._attempts.as_of(attempt["id"], time) or attempt
        points = attempt["sumgrades"]
        if is_one_of_several:
            as_of = self._attempts.graded_as_of(attempt["id"], time, self._usages)
            points = as_of["sumgrades"] if as_of else None
        return _Candidate(record, attempt["timestart"] or 0, points, deleted=False)


def questions(lookup: Lookup, ids: Iterable[int]) -> dict[int, Record]:
    """Questions by id: ``name``, ``qtype``; since 4.0 ``version`` and ``questionbankentryid``."""
    records = lookup.by_id("question", _QUESTION, ids)
    for version in lookup.database.records(
        "question_versions",
        ("questionid", "version", "questionbankentryid"),
        {"questionid": records},
    ):
        records[version.pop("questionid")].update(version)
    return records


class _Usages:
    """Question attempts of usages, with their steps and questions."""

    def __init__(self, lookup: Lookup, usages: Iterable[int]) -> None:
        question_attempts = lookup.database.records(
            "question_attempts",
            ("id", "questionusageid", "slot", "questionid", "maxmark", "responsesummary"),
            {"questionusageid": usages},
            condition_columns=("slot", "maxmark"),
        )
        self._lookup = lookup
        self._question_ids = {record["questionid"] for record in question_attempts}
        self._by_usage = group_by(
            sorted(question_attempts, key=lambda record: (record["slot"], record["id"])),
            "questionusageid",
        )
        steps = lookup.database.records(
            "question_attempt_steps",
            ("questionattemptid", "sequencenumber", "state", "fraction", "timecreated"),
            {"questionattemptid": {record["id"] for record in question_attempts}},
            condition_columns=("sequencenumber", "state", "timecreated"),
        )
        self._steps = group_by(
            sorted(steps, key=lambda step: step["sequencenumber"]), "questionattemptid"
        )

    @cached_property
    def _questions(self) -> dict[int, Record]:
        return questions(self._lookup, self._question_ids)

    def items(self, usage: int, time: int) -> list[Record]:
        """The items of a usage at a time, in the order of their slots."""
        return [
            {
                **self._item(record),
                **_result(self._steps_by(record, time)),
                "responsesummary": record["responsesummary"],
            }
            for record in self._by_usage.get(usage, [])
            if self._questions.get(record["questionid"], {}).get("qtype") != "description"
        ]

    def grading(self, usage: int, slot: int, time: int) -> Record | None:
        """The question of a slot, with the fraction of its newest grading by a time."""
        for record in self._by_usage.get(usage, []):
            if record["slot"] == slot:
                graded = [
                    step
                    for step in self._steps_by(record, time)
                    if step["state"].startswith(_GRADED)
                ]
                fraction = graded[-1]["fraction"] if graded else None
                return {**self._item(record), "fraction": fraction}
        return None

    def total(self, usage: int, time: int) -> float | None:
        """The sum of marks of a usage at a time; None while a question needs grading."""
        total = 0.0
        for record in self._by_usage.get(usage, []):
            steps = self._steps_by(record, time)
            if record["maxmark"] > 0 and steps and steps[-1]["state"] == "needsgrading":
                return None
            total += (steps[-1]["fraction"] or 0) * record["maxmark"] if steps else 0
        return round(total, 5)

    def _item(self, record: Record) -> Record:
        question = self._questions.get(record["questionid"], {})
        return {
            "id": record["id"],
            "slot": record["slot"],
            "questionid": record["questionid"],
            **{name: value for name, value in question.items() if name != "id"},
            "maxmark": record["maxmark"],
        }

    def _steps_by(self, record: Record, time: int) -> list[Record]:
        return [step for step in self._steps.get(record["id"], []) if step["timecreated"] <= time]


def _result(steps: list[Record]) -> Record:
    """State and fraction of the last step, and the Unix time of the last response.

    A step that saves a response is ``complete`` or ``invalid``; the step that ends the attempt only
    grades it. Question behaviours that grade immediately have no such step: there the grading step
    is the response.
    """
    if not steps:
        return {"state": None, "fraction": None, "timecreated": None}
    saved = [step for step in steps if step["state"] in _WITH_RESPONSE]
    answered = saved or [step for step in steps if step["state"] not in _UNANSWERED]
    return {
        "state": steps[-1]["state"],
        "fraction": steps[-1]["fraction"],
        "timecreated": answered[-1]["timecreated"] if answered else None,
    }


_QUESTIONS = ("question", "question_versions")
_RESPONSES = ("quiz", "question_attempts", "question_attempt_steps", *_QUESTIONS)

LOADERS: Mapping[str, ObjectLoader | ObjectByIdLoader] = {
    "quiz_attempts": ObjectLoader("quiz_attempts", attempts, reads=_RESPONSES),
    "question": ObjectByIdLoader("question", questions, _QUESTIONS),
}
EVENT_LOADERS: Mapping[str, ObjectLoader] = {
    r"\mod_quiz\event\attempt_submitted": ObjectLoader(
        "quiz_attempts", submitted_attempts, reads=_RESPONSES
    ),
    **{
        rf"\mod_quiz\event\attempt_{verb}": ObjectLoader(
            "quiz_attempts", scored_attempts, reads=_RESPONSES
        )
        for verb in ("graded", "regraded", "manual_grading_completed")
    },
    r"\mod_quiz\event\question_manually_graded": ObjectLoader(
        "question_attempts",
        graded_questions,
        id_from_other("attemptid"),
        "quiz_attempts",
        ("quiz_attempts", *_RESPONSES),
    ),
}
