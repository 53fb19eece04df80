"""Lessons: attempts, pages, answers and essays. The log names no attempt, by id or by number.

A lesson counts how often a learner has completed it (``lesson_grades``). That number is ``retry``,
0 for the first attempt. The times of an attempt are those of a timer (``lesson_timer``), which
starts moments after the log row of the attempt's start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.event_data import decode
from caliper_dagster.expander.objects.grading_methods import GradingMethod, graded_attempt
from caliper_dagster.expander.objects.loader import (
    SECONDS_AFTER_LOG_ROW,
    SECONDS_BEFORE_LOG_ROW,
    FindGradedAttempt,
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectByIdLoader,
    ObjectLoader,
    id_from_other,
)

_ENDED = r"\mod_lesson\event\lesson_ended"
_PAGE = ("id", "lessonid", "qtype", "title")
_ATTEMPT = ("id", "lessonid", "pageid", "userid", "retry", "useranswer")
_ANSWER = ("id", "pageid", "userid", "answerid", "retry", "correct", "useranswer", "timeseen")
_CHOICE_PAGES = (2, 3)
"""Types of pages with offered answers: true or false, multiple choice."""
_SHORT_ANSWER_PAGES = (1, 8)
"""Types of pages whose answer is typed and short: short answer, numerical."""

_Pair = tuple[int, int]


class _Attempts:
    """Timers and completions of (lesson, user)."""

    def __init__(self, lookup: Lookup, pairs: Iterable[_Pair]) -> None:
        pairs = list(pairs)
        keys: dict[str, Iterable[int]] = {
            "userid": [user for _, user in pairs],
            "lessonid": [lesson for lesson, _ in pairs],
        }
        timers = lookup.database.records(
            "lesson_timer",
            ("id", "lessonid", "userid", "starttime", "lessontime"),
            keys,
            condition_columns=("starttime", "lessontime"),
        )
        grades = lookup.database.records(
            "lesson_grades",
            ("id", "lessonid", "userid", "completed", "grade"),
            keys,
            condition_columns=("completed",),
        )
        self._timers = _by_pair(timers, "starttime")
        self._grades = _by_pair(grades, "completed")

    def timer(self, pair: _Pair, time: int) -> Record | None:
        """The newest timer started by a time."""
        return next(
            (timer for timer in reversed(self._timers.get(pair, [])) if timer["starttime"] <= time),
            None,
        )

    def completed(self, pair: _Pair, time: int) -> int:
        """How often the lesson was completed by a time."""
        return len(self.grades(pair, time))

    def grades(self, pair: _Pair, time: int) -> list[Record]:
        """The completions by a time with their grades, oldest first."""
        return [grade for grade in self._grades.get(pair, []) if grade["completed"] <= time]


def _by_pair(records: Iterable[Record], order: str) -> dict[_Pair, list[Record]]:
    groups: dict[_Pair, list[Record]] = {}
    for record in sorted(records, key=lambda record: (record[order], record["id"])):
        groups.setdefault((record["lessonid"], record["userid"]), []).append(record)
    return groups


def lessons(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Lessons that a user starts, resumes or ends: ``id`` and ``attempt``.

    The attempt has ``retry`` (completions before it began), ``starttime`` and ``lessontime`` (when
    the user was last seen in it, at most the time of the row), both None without a timer, and
    ``ended`` (whether the row ends it).
    """
    lessons = lookup.by_id("lesson", ("id",), [row.id for row in rows])
    attempts = _Attempts(lookup, {(row.id, row.user) for row in rows if row.user})
    records: list[Record | None] = []
    for row in rows:
        if row.id not in lessons:
            records.append(None)
        elif not row.user:
            records.append(lessons[row.id])
        else:
            records.append({"id": row.id, "attempt": _attempt(attempts, row)})
    return records


def _attempt(attempts: _Attempts, row: LogReference) -> Record:
    pair = (row.id, row.user)
    ended = row.event == _ENDED
    timer = attempts.timer(pair, row.time + (0 if ended else SECONDS_AFTER_LOG_ROW))
    if timer is None:
        retry = attempts.completed(pair, row.time - 1)
        return {"retry": retry, "starttime": None, "lessontime": None, "ended": int(ended)}
    start = timer["starttime"]
    return {
        "retry": attempts.completed(pair, start),
        "starttime": start,
        "lessontime": max(start, min(timer["lessontime"], row.time)),
        "ended": int(ended),
    }


def graded(lookup: Lookup, pairs: Iterable[_Pair]) -> FindGradedAttempt:
    """Finds the completed attempt that a grade comes from: its ``retry``.

    Without retakes it is the first; with them, ``lesson.usemaxgrade`` decides.
    """
    pairs = list(pairs)
    attempts = _Attempts(lookup, pairs)
    lessons = lookup.by_id("lesson", ("id", "retake", "usemaxgrade"), {pair[0] for pair in pairs})

    def find(lesson: int, user: int, time: int, _: object) -> Record | None:
        grades = attempts.grades((lesson, user), time)
        return graded_attempt(
            _method(lessons.get(lesson, {})),
            [
                ({"table": "lesson", "retry": retry}, grade["grade"])
                for retry, grade in enumerate(grades)
            ],
        )

    return find


def _method(lesson: Record) -> GradingMethod:
    if not lesson.get("retake"):
        return GradingMethod.FIRST
    return GradingMethod.HIGHEST if lesson.get("usemaxgrade") else GradingMethod.AVERAGE


def pages(lookup: Lookup, ids: Iterable[int]) -> Mapping[int, Record]:
    """Pages: ``id``, ``lessonid``, ``qtype``, ``title``."""
    return lookup.by_id("lesson_pages", _PAGE, ids)


def answered_pages(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Pages with ``answer``, None where it was deleted.

    The answer is the user's newest on the page at the time of the row. It has ``id``, ``retry``,
    ``correct``, ``answerid``; ``response``, the text of the chosen answer (``responses`` of several
    ones); ``useranswer``, the typed text of a short or numerical answer. The texts of essays are
    never returned.
    """
    page_by_id = lookup.by_id("lesson_pages", _PAGE, [row.id for row in rows])
    answers = lookup.database.records(
        "lesson_attempts",
        _ANSWER,
        {"userid": {row.user for row in rows if row.user}, "pageid": page_by_id},
        condition_columns=("timeseen",),
    )
    offered = lookup.by_id(
        "lesson_answers", ("id", "answer"), {id_ for answer in answers for id_ in _chosen(answer)}
    )
    by_user: dict[_Pair, list[Record]] = {}
    for answer in sorted(answers, key=lambda row: (row["timeseen"], row["id"])):
        by_user.setdefault((answer["pageid"], answer["userid"]), []).append(answer)
    records: list[Record | None] = []
    for row in rows:
        page = page_by_id.get(row.id)
        newest = _newest(by_user.get((row.id, row.user), []), row.time)
        records.append(
            page and {**page, "answer": newest and _answer(newest, page["qtype"], offered)}
        )
    return records


def _newest(answers: list[Record], time: int) -> Record | None:
    earliest = time - SECONDS_BEFORE_LOG_ROW
    of_request = [answer for answer in answers if earliest <= answer["timeseen"] <= time]
    return of_request[-1] if of_request else None


def _chosen(answer: Record) -> list[int]:
    """Ids of the chosen answers; several are stored as a comma-separated list in the text."""
    ticked = (answer["useranswer"] or "").split(",")
    if len(ticked) > 1 and all(id_.isascii() and id_.isdigit() for id_ in ticked):
        return [int(id_) for id_ in ticked]
    return [answer["answerid"]]


def _answer(answer: Record, qtype: int, offered: Mapping[int, Record]) -> Record:
    record = {name: answer[name] for name in ("id", "retry", "correct", "answerid")}
    if qtype in _SHORT_ANSWER_PAGES:
        record["useranswer"] = answer["useranswer"]
    if qtype in _CHOICE_PAGES:
        texts = [offered[id_]["answer"] for id_ in _chosen(answer) if id_ in offered]
        if len(texts) == 1:
            record["response"] = texts[0]
        elif texts:
            record["responses"] = texts
    return record


def essays(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Essays: ``id``, ``pageid``, ``userid``, ``retry``, ``score`` and ``maxscore``.

    The score is today's: it is stored in the answer itself, and None until the essay is graded.
    """
    ids = [_essay_id(row) for row in rows]
    essay_by_id = lookup.by_id("lesson_attempts", _ATTEMPT, ids)
    max_scores: dict[int, float] = {}
    for answer in lookup.database.records(
        "lesson_answers",
        ("pageid", "score"),
        {"pageid": {row["pageid"] for row in essay_by_id.values()}},
    ):
        page = answer["pageid"]
        max_scores[page] = max(answer["score"] or 0, max_scores.get(page, 0))
    records = {
        id_: {
            **{name: essay[name] for name in ("id", "pageid", "userid", "retry")},
            "score": _score(essay["useranswer"]),
            "maxscore": max_scores.get(essay["pageid"]),
        }
        for id_, essay in essay_by_id.items()
    }
    return [records.get(id_) for id_ in ids]


def _essay_id(row: LogReference) -> int:
    return row.id if row.table == "lesson_attempts" else id_from_other("attemptid")(row)


def _score(useranswer: str | None) -> float | None:
    essay = decode(useranswer or "")
    score = essay.get("score") if isinstance(essay, dict) else None
    try:
        return float(score) if score is not None else None
    except (TypeError, ValueError):
        return None


LOADERS: Mapping[str, ObjectLoader | ObjectByIdLoader] = {
    "lesson_pages": ObjectByIdLoader("lesson_pages", pages),
    "lesson_attempts": ObjectLoader("lesson_attempts", essays, reads=("lesson_answers",)),
}
EVENT_LOADERS: Mapping[str, ObjectLoader] = {
    **{
        rf"\mod_lesson\event\lesson_{verb}": ObjectLoader(
            "lesson", lessons, reads=("lesson_timer", "lesson_grades")
        )
        for verb in ("started", "resumed", "restarted", "ended")
    },
    r"\mod_lesson\event\question_answered": ObjectLoader(
        "lesson_pages", answered_pages, reads=("lesson_attempts", "lesson_answers")
    ),
    r"\mod_lesson\event\essay_assessed": ObjectLoader(
        "lesson_attempts", essays, _essay_id, reads=("lesson_answers",)
    ),
}
