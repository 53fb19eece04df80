"""Quizzes: attempts, their questions and how each was answered, as of the time of the row.

``question_attempts`` belong to a usage (``quiz_attempts.uniqueid``); their steps are their history,
so states and fractions are those of the newest step at the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from caliper_dagster.expander.columns import group_by
from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.lookups.activities import find_modules
from caliper_dagster.expander.lookups.log_lifecycle import ATTEMPT_DELETED, ATTEMPT_SUBMITTED
from caliper_dagster.expander.objects.rows import (
    WRITTEN_LATER,
    Found,
    Kind,
    KindById,
    Latest,
    Row,
    Source,
    from_other,
    number,
)

_ATTEMPT = (
    "id", "quiz", "userid", "attempt", "state", "preview", "timestart", "timefinish", "sumgrades",
)  # fmt: skip
_READ = (*_ATTEMPT, "uniqueid", "timemodified")
_QUESTION = ("id", "name", "qtype")
_WITH_RESPONSE = ("complete", "invalid")
_UNANSWERED = ("todo", "gaveup", "mangaveup", "notstarted", "unprocessed")
_GRADED = ("graded", "mangr")

_STARTED = r"\mod_quiz\event\attempt_started"
_MODULE_LEVEL = 70


class Attempts:
    """Quiz attempts as of a time: one that was not finished yet has no end and no grade.

    One that was changed since it was finished, perhaps by another grading, is marked with ``asof``
    = ``export``: its grade is today's.
    """

    def __init__(self, attempts: Iterable[Record]) -> None:
        self._now: dict[int, Record] = {}
        self._open: dict[int, Record] = {}
        self._later: dict[int, Record] = {}
        self.usages: dict[int, int] = {}
        self._changed: dict[int, int] = {}
        for attempt in attempts:
            id_ = attempt["id"]
            self.usages[id_] = attempt.pop("uniqueid")
            self._changed[id_] = attempt.pop("timemodified", None) or 0
            self._now[id_] = attempt
            self._open[id_] = {
                **attempt, "state": "inprogress", "timefinish": 0, "sumgrades": None
            }  # fmt: skip
            self._later[id_] = {**attempt, "asof": "export"}

    @classmethod
    def by_id(cls, source: Source, ids: Iterable[int]) -> Attempts:
        """Read attempts by their ids."""
        return cls(source.database.records("quiz_attempts", _READ, {"id": ids}))

    def as_of(self, attempt: int, time: int) -> Record | None:
        """The attempt at a time; the same object while it does not change."""
        now = self._now.get(attempt)
        if now is None:
            return None
        if (now["timefinish"] or 0) > time:
            return self._open[attempt]
        changed = now["sumgrades"] is not None and self._changed[attempt] > time
        return self._later[attempt] if changed else now

    def graded_as_of(self, attempt: int, time: int, usages: _Usages) -> Record | None:
        """The attempt at a time with the ``sumgrades`` of that time.

        Where it was changed since, they are summed up from the steps of its questions. A regrading
        overwrites those: what it changed is not known any more.
        """
        record = self.as_of(attempt, time)
        if record is None or "asof" not in record or not record["timefinish"]:
            return record
        total = usages.total(self.usages[attempt], time)
        return {**self._now[attempt], "sumgrades": total}


def attempts(source: Source, rows: Sequence[Row]) -> Found:
    """Attempts: ``quiz_attempts`` as of the row."""
    found = Attempts.by_id(source, [row.id for row in rows])
    return [found.as_of(row.id, row.time) for row in rows]


def submitted_attempts(source: Source, rows: Sequence[Row]) -> Found:
    """Attempts with ``items``: each question, the state that it ended in, and the response.

    An item has ``id`` (of the question attempt), ``slot``, ``questionid``, ``qtype``, ``name``,
    ``version``, ``questionbankentryid``, ``maxmark``, ``state``, ``fraction``, ``responsesummary``
    and ``timecreated``: when the last response was given, null where there was none. What was
    graded by hand after the row is not in it. Texts between questions (``description``) are no
    items.
    """
    found = Attempts.by_id(source, [row.id for row in rows])
    usages = _Usages(source, found.usages.values())
    records: list[Record | None] = []
    for row in rows:
        attempt = found.graded_as_of(row.id, row.time, usages)
        items = usages.items(found.usages[row.id], row.time) if attempt else []
        records.append(attempt and {**attempt, "items": items})
    return records


def scored_attempts(source: Source, rows: Sequence[Row]) -> Found:
    """Attempts that are graded: ``quiz_attempts`` with the ``sumgrades`` as of the row."""
    found = Attempts.by_id(source, [row.id for row in rows])
    usages = _Usages(source, found.usages.values())
    return [found.graded_as_of(row.id, row.time, usages) for row in rows]


def graded_questions(source: Source, rows: Sequence[Row]) -> Found:
    """Questions graded by hand: the question attempt of (``other.attemptid``, ``other.slot``).

    Records: ``id``, ``slot``, ``questionid``, ``name``, ``qtype``, ``version``,
    ``questionbankentryid``, ``maxmark``, ``fraction`` (of the newest grading at the time of the
    row) and ``attempt``, the quiz attempt.
    """
    ids = [number(row.other.get("attemptid")) for row in rows]
    found = Attempts.by_id(source, ids)
    usages = _Usages(source, found.usages.values())
    records: list[Record | None] = []
    for id_, row in zip(ids, rows, strict=True):
        slot = number(row.other.get("slot"))
        question = usages.grading(found.usages.get(id_, 0), slot, row.time)
        records.append(question and {**question, "attempt": found.as_of(id_, row.time)})
    return records


class _Deleted:
    """Attempts that are gone from the tables, as the log tells of them: learners start their own.

    What they started is asked for by columns of an index of the log; anybody may have submitted or
    deleted it.
    """

    def __init__(self, source: Source, pairs: Iterable[tuple[int, int]], left: set[int]) -> None:
        pairs = set(pairs)
        modules = find_modules(source.database, (("quiz", quiz) for quiz, _ in pairs))
        quizzes = {module: quiz for (_, quiz), module in modules.items()}
        started = source.database.records(
            "logstore_standard_log",
            ("id", "objectid", "userid", "contextinstanceid", "timecreated"),
            {"userid": {user for _, user in pairs}, "contextinstanceid": quizzes},
            f"contextlevel = {_MODULE_LEVEL} AND anonymous = 0 AND eventname = :started",
            started=_STARTED,
        )
        gone = [row for row in started if row["objectid"] and row["objectid"] not in left]
        later = source.database.lifecycle.rows(
            (ATTEMPT_SUBMITTED, ATTEMPT_DELETED), {"objectid": {row["objectid"] for row in gone}}
        )
        times = {(row["objectid"], row["eventname"]): row["timecreated"] for row in later}
        self._found: dict[tuple[int, int], list[_Past]] = {}
        for row in sorted(gone, key=lambda row: (row["timecreated"], row["id"])):
            id_ = row["objectid"]
            past = _Past(
                {"id": id_, "userid": row["userid"]},
                row["timecreated"],
                times.get((id_, ATTEMPT_SUBMITTED)),
                times.get((id_, ATTEMPT_DELETED)),
            )
            pair = (quizzes[row["contextinstanceid"]], row["userid"])
            self._found.setdefault(pair, []).append(past)

    def at(self, quiz: int, user: int, time: int) -> list[_Past]:
        """Those that had been begun and were not deleted yet, oldest first."""
        return [
            past
            for past in self._found.get((quiz, user), [])
            if past.begun <= time and (past.deleted is None or past.deleted > time)
        ]


class _Past(NamedTuple):
    """An attempt with its times by the log, which has the submission just after the grade."""

    record: Record
    begun: int
    submitted: int | None
    deleted: int | None

    def is_finished(self, time: int) -> bool:
        return self.submitted is not None and self.submitted - WRITTEN_LATER <= time


def latest(source: Source, wanted: Iterable[tuple[int, int]]) -> Latest:
    """The newest attempt finished at a time, else the newest begun; previews are none.

    Of one that was deleted since, the record has only ``id`` and ``userid``.
    """
    wanted = list(wanted)
    records = source.database.records(
        "quiz_attempts",
        _READ,
        {"userid": {user for _, user in wanted}, "quiz": {quiz for quiz, _ in wanted}},
        "preview = 0",
        ("preview", "timestart"),
    )
    by_pair: dict[tuple[int, int], list[Record]] = {}
    for record in sorted(records, key=lambda record: (record["attempt"], record["id"])):
        by_pair.setdefault((record["quiz"], record["userid"]), []).append(record)
    found = Attempts(records)
    deleted = _Deleted(source, wanted, {record["id"] for record in records})

    def find(quiz: int, user: int, time: int) -> Record | None:
        own = by_pair.get((quiz, user), [])
        past = deleted.at(quiz, user, time)
        finished = [record for record in own if 0 < (record["timefinish"] or 0) <= time]
        over = [attempt for attempt in past if attempt.is_finished(time)]
        begun = [record for record in own if record["timestart"] <= time]
        if finished or over:
            begun, past = finished, over
        if past and (not begun or past[-1].begun > begun[-1]["timestart"]):
            return {"table": "quiz_attempts", **past[-1].record}
        attempt = found.as_of(begun[-1]["id"], time) if begun else None
        return attempt and {"table": "quiz_attempts", **attempt}

    return find


def questions(source: Source, ids: Iterable[int]) -> dict[int, Record]:
    """Questions by id: ``name``, ``qtype``, and since 4.0 ``version``, ``questionbankentryid``."""
    found = source.by_id("question", _QUESTION, ids)
    for version in source.database.records(
        "question_versions", ("questionid", "version", "questionbankentryid"), {"questionid": found}
    ):
        found[version.pop("questionid")].update(version)
    return found


class _Usages:
    """Question attempts of usages with their steps and questions."""

    def __init__(self, source: Source, usages: Iterable[int]) -> None:
        found = source.database.records(
            "question_attempts",
            ("id", "questionusageid", "slot", "questionid", "maxmark", "responsesummary"),
            {"questionusageid": usages},
            conditional=("slot", "maxmark"),
        )
        self._questions = questions(source, {record["questionid"] for record in found})
        self._by_usage = group_by(
            sorted(found, key=lambda record: (record["slot"], record["id"])), "questionusageid"
        )
        steps = source.database.records(
            "question_attempt_steps",
            ("questionattemptid", "sequencenumber", "state", "fraction", "timecreated"),
            {"questionattemptid": {record["id"] for record in found}},
            conditional=("sequencenumber", "state", "timecreated"),
        )
        self._steps = group_by(
            sorted(steps, key=lambda step: step["sequencenumber"]), "questionattemptid"
        )

    def items(self, usage: int, time: int) -> list[Record]:
        """The items of a usage at a time, in the order of their slots."""
        return [
            {
                **self._item(record),
                **_outcome(self._until(record, time)),
                "responsesummary": record["responsesummary"],
            }
            for record in self._by_usage.get(usage, [])
            if self._questions.get(record["questionid"], {}).get("qtype") != "description"
        ]

    def grading(self, usage: int, slot: int, time: int) -> Record | None:
        """The question of a slot and the fraction that the newest grading gave by then."""
        for record in self._by_usage.get(usage, []):
            if record["slot"] == slot:
                graded = [
                    step for step in self._until(record, time) if step["state"].startswith(_GRADED)
                ]
                fraction = graded[-1]["fraction"] if graded else None
                return {**self._item(record), "fraction": fraction}
        return None

    def total(self, usage: int, time: int) -> float | None:
        """The marks of a usage at a time; None while a question waits to be graded."""
        total = 0.0
        for record in self._by_usage.get(usage, []):
            steps = self._until(record, time)
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

    def _until(self, record: Record, time: int) -> list[Record]:
        return [step for step in self._steps.get(record["id"], []) if step["timecreated"] <= time]


def _outcome(steps: list[Record]) -> Record:
    """State and fraction of the last step, and when the last response was given.

    A step that saves a response is ``complete`` or ``invalid``; the one that ends the attempt only
    grades it. Behaviours that grade at once have no such step: there the grading one counts.
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


KINDS: Mapping[str, Kind | KindById] = {
    "quiz_attempts": Kind("quiz_attempts", attempts),
    "question": KindById("question", questions),
}
EVENT_KINDS: Mapping[str, Kind] = {
    r"\mod_quiz\event\attempt_submitted": Kind("quiz_attempts", submitted_attempts),
    r"\mod_quiz\event\attempt_regraded": Kind("quiz_attempts", scored_attempts),
    r"\mod_quiz\event\attempt_manual_grading_completed": Kind("quiz_attempts", scored_attempts),
    r"\mod_quiz\event\question_manually_graded": Kind(
        "question_attempts", graded_questions, from_other("attemptid"), "quiz_attempts"
    ),
}
