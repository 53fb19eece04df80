"""The gradebook: the graded object, and the score; completion of activities."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from caliper_dagster.caliper.entities import (
    AssignableDigitalResource,
    Attempt,
    DigitalResource,
    Reference,
    Score,
)
from caliper_dagster.translator.entities.activities import (
    ACTIVITY_TEXTS,
    activity,
    activity_iri,
    activity_reference,
    course_reference,
    item_maximum,
)
from caliper_dagster.translator.entities.assign import submission_attempt, submission_iri
from caliper_dagster.translator.entities.lesson import lesson_attempt_iri
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.quiz import attempt_iri, attempt_of
from caliper_dagster.translator.entities.registry import (
    Mark,
    Record,
    Render,
    below,
    decimal_or_none,
    for_recipes,
    id_or,
    integer,
    of_other,
    text,
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


def _attempt_iri(render: Render, record: Record, learner: int | None) -> str | None:
    """The attempt that a grade belongs to; None of a grade that belongs to no activity."""
    module, attempt = record.get("module") or {}, record.get("attempt") or {}
    if not module.get("id") or not module.get("modname"):
        return None
    if attempt.get("table") in _FINDERS:
        return _FINDERS[attempt["table"]](render, module, attempt, learner)
    return learner_attempt_iri(
        render, render.iris.activity(module["modname"], module["id"]), learner
    )


def _attempt_reference(
    render: Render, record: Record, learner: int | None
) -> Attempt | Reference | None:
    iri = _attempt_iri(render, record, learner)
    return render.reference(Attempt, iri) if iri else None


def _item_id(record: Record, other: object, log_mark: Mark) -> str:
    return id_or(integer(of_other(other, "itemid")) or record.get("itemid"), log_mark)


def _item_iri(render: Render, courseid: int | None, item: str) -> str:
    return f"{render.iris.site}/grade/edit/tree/item.php?courseid={courseid or 0}&id={item}"


def _grade_item(
    render: Render, courseid: int | None, number: str, item: Record
) -> AssignableDigitalResource:
    return AssignableDigitalResource(
        id=_item_iri(render, courseid, number),
        name=text(item, "itemname"),
        isPartOf=course_reference(render, courseid),
        maxScore=item_maximum(item),
    )


@for_recipes(texts={"name": "institutional"})
def grade_item(
    render: Render,
    objectid: int | None,
    object: Record | None,
    other: object,
    courseid: int | None,
    stand_in: Mark,
) -> AssignableDigitalResource:
    """A grade item, with its name at that time."""
    record = dict(object or {})
    record["itemname"] = of_other(other, "itemname") or record.get("itemname")
    return _grade_item(render, courseid, id_or(objectid, stand_in), record)


@for_recipes(texts={"name": "institutional"})
def graded_grade_item(
    render: Render,
    object: Record | None,
    other: object,
    courseid: int | None,
    log_mark: Mark,
) -> AssignableDigitalResource:
    """The item of a grade that belongs to no activity: a course total, a manual item."""
    record = object or {}
    number = _item_id(record, other, log_mark)
    return _grade_item(render, courseid, number, record.get("item") or {})


def _report_iri(render: Render, courseid: int | None, learner: int | None) -> str:
    report = f"{render.iris.site}/grade/report/user/index.php?id={courseid or 0}"
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
    log_mark: Mark,
) -> Attempt:
    """What the gradebook grades: the attempt that the grade comes from.

    Where it comes from none, it is the learner's work in the activity as a whole, or in the item.
    """
    record = object or {}
    module, attempt = record.get("module") or {}, record.get("attempt") or {}
    item = _item_iri(render, courseid, _item_id(record, other, log_mark))
    iri = _attempt_iri(render, record, relateduserid) or learner_attempt_iri(
        render, item, relateduserid
    )
    assignee = anonymous_or(render, anonymous, relateduserid)
    assignable: DigitalResource | Reference = render.reference(AssignableDigitalResource, item)
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
    log_mark: Mark,
) -> Score:
    """The grade in the gradebook at that time, from ``other``; each change has its own score."""
    record = object or {}
    number, report = id_or(objectid, log_mark), _report_iri(render, courseid, relateduserid)
    grade = decimal_or_none(of_other(other, "finalgrade"))
    if grade is None and not isinstance(other, dict):
        grade = decimal_or_none(record.get("finalgrade"))
    return Score(
        id=f"{report}#grade-{number}-{log_mark}",
        attempt=_attempt_reference(render, record, relateduserid),
        maxScore=item_maximum(record.get("item") or {}) if grade is not None else None,
        scoreGiven=grade,
        scoredBy=render.agent_reference(actor),
    )


@for_recipes(personal_record=True)
def last_grade_score(
    render: Render,
    objectid: int | None,
    object: Record | None,
    courseid: int | None,
    relateduserid: int | None,
    stand_in: Mark,
) -> Score:
    """The score that was sent last for a grade: that of the grade's last row in the log."""
    record = object or {}
    report = _report_iri(render, courseid, relateduserid)
    return Score(
        id=f"{report}#grade-{id_or(objectid, stand_in)}-{record['lastgraded']}",
        attempt=_attempt_reference(render, record, relateduserid),
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
    """What a learner did in an activity as a whole, completed or not."""
    thing = activity_iri(render, cmid, module, component)
    return Attempt(
        id=learner_attempt_iri(render, thing, relateduserid),
        assignee=anonymous_or(render, anonymous, relateduserid),
        assignable=activity_reference(render, cmid, module, component),
    )
