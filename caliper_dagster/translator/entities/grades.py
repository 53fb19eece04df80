"""The gradebook: the graded object, and the score; completion of activities."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from caliper_dagster.caliper.entities import Attempt, Score
from caliper_dagster.translator.entities.activities import (
    ACTIVITY_TEXTS,
    activity,
    activity_iri,
    item_maximum,
)
from caliper_dagster.translator.entities.assign import submission_attempt, submission_iri
from caliper_dagster.translator.entities.lesson import lesson_attempt_iri
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.quiz import attempt_iri, attempt_of
from caliper_dagster.translator.entities.registry import (
    Record,
    Render,
    below,
    decimal_or_none,
    for_recipes,
    integer,
    of_other,
)
from caliper_dagster.translator.entities.tools import (
    h5p_attempt_iri,
    scorm_attempt_iri,
    workshop_submission_iri,
)

_FINDERS: dict[str, Callable[[Render, Record, Record, int | None], str]] = {
    "assign_submission": lambda render, module, attempt, learner: submission_iri(
        render, attempt, attempt["id"], learner, module["id"]
    ),
    "quiz_attempts": lambda render, _, attempt, __: attempt_iri(render, attempt["id"]),
    "lesson": lambda render, module, attempt, learner: lesson_attempt_iri(
        render, module["id"], learner, attempt.get("retry")
    ),
    "scorm_attempt": lambda render, module, attempt, learner: scorm_attempt_iri(
        render, module["id"], learner, attempt.get("attempt")
    ),
    "workshop_submissions": lambda render, module, attempt, _: workshop_submission_iri(
        render, module["id"], attempt["id"]
    ),
    "h5pactivity_attempts": lambda render, module, attempt, _: h5p_attempt_iri(
        render, module.get("instance"), attempt["id"]
    ),
}
"""IRI of the attempt that a grade belongs to, by its table: from module, attempt and learner."""


def _attempt_iri(
    render: Render,
    record: Record,
    courseid: int | None,
    learner: int | None,
    item: int | None,
) -> str:
    module, attempt = record.get("module") or {}, record.get("attempt") or {}
    if module.get("id") and attempt.get("table") in _FINDERS:
        return _FINDERS[attempt["table"]](render, module, attempt, learner)
    if module.get("id") and module.get("modname"):
        return learner_attempt_iri(
            render, render.iris.activity(module["modname"], module["id"]), learner
        )
    return f"{_report_iri(render, courseid, learner)}#item-{item}"


def _report_iri(render: Render, courseid: int | None, learner: int | None) -> str:
    report = f"{render.iris.site}/grade/report/user/index.php?id={courseid}"
    return render.iris.of_user(learner, f"{report}&userid=") if learner else report


def learner_attempt_iri(render: Render, thing: str, learner: int | None) -> str:
    """A learner's whole work in an activity that does not count attempts."""
    return render.iris.of_user(learner, f"{thing}#user-") if learner else f"{thing}#attempt"


@for_recipes(
    names_related_user=True, personal_record=True, texts=below("assignable", ACTIVITY_TEXTS)
)
def graded_item(
    render: Render,
    object: Record | None,
    other: object,
    courseid: int | None,
    relateduserid: int | None,
    anonymous: int,
) -> Attempt:
    """The graded object: the learner's latest attempt, or what the grade item stands for."""
    record = object or {}
    item = integer(of_other(other, "itemid")) or record.get("itemid")
    module, attempt = record.get("module") or {}, record.get("attempt") or {}
    iri = _attempt_iri(render, record, courseid, relateduserid, item)
    assignee = anonymous_or(render, anonymous, relateduserid)
    assignable = None
    if module.get("id") and module.get("modname"):
        assignable = activity(render, module["id"], module, None, courseid)
    if attempt.get("table") == "quiz_attempts":
        attempt_or_submission = attempt_of(render, attempt, attempt["id"], relateduserid, anonymous)
    elif attempt.get("table") == "assign_submission":
        attempt_or_submission = submission_attempt(
            render, attempt, attempt["id"], relateduserid, anonymous, module.get("id"), courseid
        )
    else:
        return Attempt(id=iri, assignee=assignee, assignable=assignable)
    return replace(
        attempt_or_submission,
        id=iri,
        assignee=assignee or attempt_or_submission.assignee,
        assignable=assignable or attempt_or_submission.assignable,
    )


@for_recipes(tells_grade=True, personal_record=True)
def grade_score(
    render: Render,
    objectid: int | None,
    object: Record | None,
    other: object,
    courseid: int | None,
    relateduserid: int | None,
    actor: int | None,
    log_mark: str | None,
) -> Score:
    """The grade in the gradebook at that time, from ``other``; each change has its own score."""
    record = object or {}
    item = integer(of_other(other, "itemid")) or record.get("itemid")
    grade = decimal_or_none(of_other(other, "finalgrade"))
    if grade is None and not isinstance(other, dict):
        grade = decimal_or_none(record.get("finalgrade"))
    return Score(
        id=f"{_report_iri(render, courseid, relateduserid)}#grade-{objectid}-{log_mark}",
        attempt=_attempt_iri(render, record, courseid, relateduserid, item),
        maxScore=item_maximum(record.get("item") or {}) if grade is not None else None,
        scoreGiven=grade,
        scoredBy=render.iris.agent(actor),
    )


@for_recipes(names_related_user=True, personal_record=True)
def completion_attempt(
    render: Render,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    relateduserid: int | None,
    anonymous: int,
) -> Attempt:
    """A learner's attempt at an activity, completed or not."""
    thing = activity_iri(render, cmid, module, component)
    return Attempt(
        id=learner_attempt_iri(render, thing, relateduserid),
        assignee=anonymous_or(render, anonymous, relateduserid),
        assignable=thing,
    )
