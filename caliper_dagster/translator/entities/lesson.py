"""Lessons: attempts, pages, questions and answers.

A lesson is an Assessment: only AssessmentEvent knows started, resumed and submitted. Its attempts
have no id in Moodle; they are numbered per learner by ``retry``, which counts from 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from caliper_dagster.caliper.entities import (
    AssessmentItem,
    Attempt,
    FillinBlankResponse,
    MultipleChoiceResponse,
    Page,
    Response,
    Score,
    TrueFalseResponse,
)
from caliper_dagster.translator.entities.activities import (
    ACTIVITY_TEXTS,
    activity,
    activity_reference,
)
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.registry import (
    Mark,
    Record,
    Render,
    below,
    decimal,
    duration,
    for_recipes,
    id_or,
    integer,
    name_of,
    of_other,
    time,
)

_RESPONSES: Mapping[int, type[Response]] = {
    1: FillinBlankResponse,
    2: TrueFalseResponse,
    3: MultipleChoiceResponse,
    5: FillinBlankResponse,
    8: FillinBlankResponse,
}
"""By ``lesson_pages.qtype``: short answer, true/false, multiple choice, matching, numerical."""

_QUESTION_TYPES = frozenset({1, 2, 3, 5, 8, 10})


def lesson_attempt_iri(
    render: Render, cmid: int | None, learner: int | None, retry: int | None
) -> str:
    """A learner's attempt at a lesson."""
    lesson = render.iris.activity("lesson", cmid or 0)
    number = f"-retry-{retry}" if retry is not None else ""
    if not learner:
        return f"{lesson}#attempt"
    return render.iris.of_user(learner, f"{lesson}#user-", number)


@for_recipes(personal_record=True)
def lesson_attempt(
    render: Render, object: Record | None, userid: int | None, anonymous: int, cmid: int | None
) -> Attempt:
    """The learner's attempt at the lesson, with its times."""
    run = (object or {}).get("attempt") or {}
    started, ended = run.get("starttime"), run.get("lessontime")
    return Attempt(
        id=lesson_attempt_iri(render, cmid, userid, run.get("retry")),
        assignee=anonymous_or(render, anonymous, userid),
        assignable=activity_reference(render, cmid, None, "mod_lesson"),
        count=run["retry"] + 1 if run.get("retry") is not None else None,
        startedAtTime=time(started),
        endedAtTime=time(ended) if run.get("ended") else None,
        duration=duration(ended - started) if started and ended else None,
    )


def _page_iri(render: Render, cmid: int | None, page: str) -> str:
    return f"{render.iris.activity('lesson', cmid or 0)}&pageid={page}"


@for_recipes(texts={"name": "institutional"})
def lesson_question(
    render: Render,
    objectid: int | None,
    object: Record | None,
    cmid: int | None,
    stand_in: Mark,
) -> AssessmentItem:
    """A question page."""
    return AssessmentItem(
        id=_page_iri(render, cmid, id_or(objectid, stand_in)),
        name=name_of(object, "title"),
        isPartOf=activity_reference(render, cmid, None, "mod_lesson"),
    )


@for_recipes(texts={"name": "institutional"})
def lesson_page(
    render: Render,
    objectid: int | None,
    object: Record | None,
    other: object,
    cmid: int | None,
    stand_in: Mark,
) -> AssessmentItem | Page:
    """A page that was created, changed or deleted: a question, or a page to read."""
    record = object or {}
    question = record.get("qtype") in _QUESTION_TYPES if "qtype" in record else None
    if question is None:
        question = of_other(other, "pagetype") not in (None, "", "Content", "End of branch")
    return (AssessmentItem if question else Page)(
        id=_page_iri(render, cmid, id_or(objectid, stand_in)),
        name=name_of(record, "title"),
        isPartOf=activity_reference(render, cmid, None, "mod_lesson"),
    )


@for_recipes(personal_record=True, texts={"value": "personal", "values": "personal"})
def lesson_response(
    render: Render,
    objectid: int | None,
    object: Record | None,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    log_mark: Mark,
) -> Response:
    """The answer to a question page."""
    record = object or {}
    answer = record.get("answer") or {}
    cls = _RESPONSES.get(record.get("qtype") or 0, Response)
    written = answer.get("response") or answer.get("useranswer")
    number = f"page-{id_or(objectid, log_mark)}-response-{log_mark}"
    if answer.get("id"):
        number = f"answer-{answer['id']}"
    iri = f"{render.iris.activity('lesson', cmid or 0)}#{number}"
    attempt = Attempt(
        id=lesson_attempt_iri(render, cmid, userid, answer.get("retry")),
        assignee=anonymous_or(render, anonymous, userid),
        assignable=activity_reference(render, cmid, None, "mod_lesson"),
    )
    extensions = {"correct": bool(answer["correct"])} if "correct" in answer else None
    if written and issubclass(cls, FillinBlankResponse):
        return cls(id=iri, attempt=attempt, values=[str(written)], extensions=extensions)
    if written and issubclass(cls, MultipleChoiceResponse | TrueFalseResponse):
        return cls(id=iri, attempt=attempt, value=str(written), extensions=extensions)
    return cls(id=iri, attempt=attempt, extensions=extensions)


@for_recipes(
    names_related_user=True, personal_record=True, texts=below("assignable", ACTIVITY_TEXTS)
)
def lesson_answer(
    render: Render,
    object: Record | None,
    other: object,
    module: Record | None,
    courseid: int | None,
    learner: int | None,
    anonymous: int,
    cmid: int | None,
    log_mark: Mark,
) -> Attempt:
    """The learner's answer to an essay question, as the attempt that is graded."""
    record = object or {}
    return Attempt(
        id=_answer_iri(render, other, cmid, log_mark),
        assignee=anonymous_or(render, anonymous, record.get("userid") or learner),
        assignable=activity(render, cmid, module, "mod_lesson", courseid),
        count=record["retry"] + 1 if record.get("retry") is not None else None,
    )


@for_recipes(personal_record=True)
def lesson_essay_score(
    render: Render,
    object: Record | None,
    other: object,
    cmid: int | None,
    actor: int | None,
    log_mark: Mark,
) -> Score:
    """The score of an essay."""
    record = object or {}
    score, maximum = record.get("score"), record.get("maxscore")
    answer = _answer_iri(render, other, cmid, log_mark)
    return Score(
        id=f"{answer}-score-{log_mark}",
        attempt=render.reference(Attempt, answer),
        maxScore=decimal(maximum) if score is not None else None,
        scoreGiven=decimal(score),
        scoredBy=render.agent_reference(actor),
    )


def _answer_iri(render: Render, other: object, cmid: int | None, log_mark: Mark) -> str:
    lesson = render.iris.activity("lesson", cmid or 0)
    return f"{lesson}#attempt-{id_or(integer(of_other(other, 'attemptid')), log_mark)}"
