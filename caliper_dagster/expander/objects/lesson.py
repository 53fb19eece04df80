"""Lessons: attempts have no id and no number in the log; pages, answers and essays have.

A lesson counts how often a learner completed it (``lesson_grades``): that number is ``retry``, 0
for the first attempt. Its times are those of a timer (``lesson_timer``), which starts with the
attempt, some moments after the row that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.event_data import decode
from caliper_dagster.expander.objects.rows import (
    SAME_ACT,
    WRITTEN_LATER,
    Found,
    Kind,
    KindById,
    Latest,
    Row,
    Source,
    from_other,
)

_ENDED = r"\mod_lesson\event\lesson_ended"
_PAGE = ("id", "lessonid", "qtype", "title")
_ATTEMPT = ("id", "lessonid", "pageid", "userid", "retry", "useranswer")
_ANSWER = ("id", "pageid", "userid", "answerid", "retry", "correct", "useranswer", "timeseen")
_CHOSEN = (2, 3)
"""Page types whose answer is one of the offered ones: true or false, multiple choice."""
_TYPED = (1, 8)
"""Page types whose answer is typed and short: short answer, numerical."""

_Pair = tuple[int, int]


class _Attempts:
    """Timers and completions of (lesson, user)."""

    def __init__(self, source: Source, pairs: Iterable[_Pair]) -> None:
        pairs = list(pairs)
        keys: dict[str, Iterable[int]] = {
            "userid": [user for _, user in pairs],
            "lessonid": [lesson for lesson, _ in pairs],
        }
        timers = source.database.records(
            "lesson_timer",
            ("id", "lessonid", "userid", "starttime", "lessontime"),
            keys,
            conditional=("starttime", "lessontime"),
        )
        grades = source.database.records(
            "lesson_grades",
            ("id", "lessonid", "userid", "completed"),
            keys,
            conditional=("completed",),
        )
        self._timers = _by_pair(timers, "starttime")
        self._grades = _by_pair(grades, "completed")

    def timer(self, pair: _Pair, time: int) -> Record | None:
        """The newest timer that had started by then."""
        return next(
            (timer for timer in reversed(self._timers.get(pair, [])) if timer["starttime"] <= time),
            None,
        )

    def completed(self, pair: _Pair, time: int) -> int:
        """How often the lesson had been completed by then."""
        return sum(grade["completed"] <= time for grade in self._grades.get(pair, []))


def _by_pair(records: Iterable[Record], order: str) -> dict[_Pair, list[Record]]:
    found: dict[_Pair, list[Record]] = {}
    for record in sorted(records, key=lambda record: (record[order], record["id"])):
        found.setdefault((record["lessonid"], record["userid"]), []).append(record)
    return found


def lessons(source: Source, rows: Sequence[Row]) -> Found:
    """Lessons that somebody starts, resumes or ends: ``id`` and ``attempt``.

    The attempt has ``retry`` (completions before it began), ``starttime`` and ``lessontime`` (last
    seen in it, not after the row); both are null where there is no timer.
    """
    lessons = source.by_id("lesson", ("id",), [row.id for row in rows])
    attempts = _Attempts(source, {(row.id, row.user) for row in rows if row.user})
    records: list[Record | None] = []
    for row in rows:
        if row.id not in lessons:
            records.append(None)
        elif not row.user:
            records.append(lessons[row.id])
        else:
            records.append({"id": row.id, "attempt": _attempt(attempts, row)})
    return records


def _attempt(attempts: _Attempts, row: Row) -> Record:
    pair = (row.id, row.user)
    ended = row.event == _ENDED
    timer = attempts.timer(pair, row.time + (0 if ended else WRITTEN_LATER))
    if timer is None:
        retry = attempts.completed(pair, row.time - 1)
        return {"retry": retry, "starttime": None, "lessontime": None}
    start = timer["starttime"]
    return {
        "retry": attempts.completed(pair, start),
        "starttime": start,
        "lessontime": max(start, min(timer["lessontime"], row.time)),
    }


def latest(source: Source, wanted: Iterable[_Pair]) -> Latest:
    """The attempt that was completed last at a time, else the one under way: its ``retry``."""
    attempts = _Attempts(source, wanted)

    def find(lesson: int, user: int, time: int) -> Record | None:
        completed = attempts.completed((lesson, user), time)
        if not completed and attempts.timer((lesson, user), time) is None:
            return None
        return {"table": "lesson", "retry": max(completed - 1, 0)}

    return find


def pages(source: Source, ids: Iterable[int]) -> Mapping[int, Record]:
    """Pages: ``id``, ``lessonid``, ``qtype``, ``title``."""
    return source.by_id("lesson_pages", _PAGE, ids)


def answered_pages(source: Source, rows: Sequence[Row]) -> Found:
    """Pages with ``answer``, null where it is gone.

    The answer is the newest of the user on the page at the time of the row. It has ``id``,
    ``retry``, ``correct``, ``answerid``; ``response``, the text of the offered answer that was
    chosen (``responses`` where several may be); ``useranswer``, what was typed into a question with
    short or numerical answer. What was written in an essay is never read out.
    """
    found = source.by_id("lesson_pages", _PAGE, [row.id for row in rows])
    given = source.database.records(
        "lesson_attempts",
        _ANSWER,
        {"userid": {row.user for row in rows if row.user}, "pageid": found},
        conditional=("timeseen",),
    )
    offered = source.by_id(
        "lesson_answers", ("id", "answer"), {id_ for answer in given for id_ in _chosen(answer)}
    )
    by_user: dict[_Pair, list[Record]] = {}
    for answer in sorted(given, key=lambda row: (row["timeseen"], row["id"])):
        by_user.setdefault((answer["pageid"], answer["userid"]), []).append(answer)
    records: list[Record | None] = []
    for row in rows:
        page = found.get(row.id)
        chosen = _newest(by_user.get((row.id, row.user), []), row.time)
        records.append(
            page and {**page, "answer": chosen and _answer(chosen, page["qtype"], offered)}
        )
    return records


def _newest(given: list[Record], time: int) -> Record | None:
    near = [answer for answer in given if time - SAME_ACT <= answer["timeseen"] <= time]
    return near[-1] if near else None


def _chosen(answer: Record) -> list[int]:
    """Ids of the answers that were ticked: where several may be, they are a list in the text."""
    ticked = (answer["useranswer"] or "").split(",")
    if len(ticked) > 1 and all(id_.isascii() and id_.isdigit() for id_ in ticked):
        return [int(id_) for id_ in ticked]
    return [answer["answerid"]]


def _answer(answer: Record, qtype: int, offered: Mapping[int, Record]) -> Record:
    record = {name: answer[name] for name in ("id", "retry", "correct", "answerid")}
    if qtype in _TYPED:
        record["useranswer"] = answer["useranswer"]
    if qtype in _CHOSEN:
        texts = [offered[id_]["answer"] for id_ in _chosen(answer) if id_ in offered]
        if len(texts) == 1:
            record["response"] = texts[0]
        elif texts:
            record["responses"] = texts
    return record


def essays(source: Source, rows: Sequence[Row]) -> Found:
    """Essays: ``id``, ``pageid``, ``userid``, ``retry``, ``score`` and ``maxscore``.

    The score is today's: it is kept in the answer itself, and null until it was given.
    """
    ids = [_essay(row) for row in rows]
    found = source.by_id("lesson_attempts", _ATTEMPT, ids)
    most: dict[int, float] = {}
    for answer in source.database.records(
        "lesson_answers", ("pageid", "score"), {"pageid": {row["pageid"] for row in found.values()}}
    ):
        most[answer["pageid"]] = max(answer["score"] or 0, most.get(answer["pageid"], 0))
    records = {
        id_: {
            **{name: essay[name] for name in ("id", "pageid", "userid", "retry")},
            "score": _score(essay["useranswer"]),
            "maxscore": most.get(essay["pageid"]),
        }
        for id_, essay in found.items()
    }
    return [records.get(id_) for id_ in ids]


def _essay(row: Row) -> int:
    return row.id if row.table == "lesson_attempts" else from_other("attemptid")(row)


def _score(stored: str | None) -> float | None:
    essay = decode(stored or "")
    score = essay.get("score") if isinstance(essay, dict) else None
    try:
        return float(score) if score is not None else None
    except (TypeError, ValueError):
        return None


KINDS: Mapping[str, Kind | KindById] = {
    "lesson_pages": KindById("lesson_pages", pages),
    "lesson_attempts": Kind("lesson_attempts", essays),
}
EVENT_KINDS: Mapping[str, Kind] = {
    **{
        rf"\mod_lesson\event\lesson_{verb}": Kind("lesson", lessons)
        for verb in ("started", "resumed", "restarted", "ended")
    },
    r"\mod_lesson\event\question_answered": Kind("lesson_pages", answered_pages),
    r"\mod_lesson\event\essay_assessed": Kind("lesson_attempts", essays, _essay),
}
