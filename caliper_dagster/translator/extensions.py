"""``extensions`` of an event that recipes name: what Caliper has no property for.

They hold no text: a word of theirs is one of Moodle's own, or the name of a plugin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from caliper_dagster.caliper.entities import SoftwareApplication
from caliper_dagster.translator.entities.assign import assign_grade
from caliper_dagster.translator.entities.organisation import enrolment_is_active
from caliper_dagster.translator.entities.people import person_reference
from caliper_dagster.translator.entities.quiz import quiz_grade
from caliper_dagster.translator.entities.registry import (
    Record,
    Render,
    decimal,
    integer,
    of_other,
    time,
)

_ID = re.compile(r"-?\d{1,18}")
_METHOD = re.compile(r"[a-z_]{1,40}")


def submitted_by(render: Render, other: object, relateduserid: int | None) -> object:
    """Who submitted a learner's quiz attempt, if it was not the learner."""
    if not isinstance(other, dict) or "submitterid" not in other:
        return None
    submitter = other["submitterid"]
    if submitter is None:
        return _site(render)
    if not _ID.fullmatch(str(submitter)) or int(submitter) == relateduserid:
        return None
    return person_reference(render, int(submitter))


def _site(render: Render) -> SoftwareApplication:
    return SoftwareApplication(id=render.iris.site)


def triggered_by(render: Render, trigger: int | None) -> object:
    """Who triggered an event that counts as the learner's; ``trigger`` 0 is the site."""
    if trigger is None:
        return None
    return person_reference(render, trigger) if trigger else _site(render)


def overridden_by(render: Render, trigger: int | None, relateduserid: int | None) -> object:
    """Who set a learner's completion manually."""
    if not trigger or trigger == relateduserid:
        return None
    return person_reference(render, trigger)


def login_as(render: Render, relateduserid: int | None) -> object:
    """The user as whom an administrator logged in; that user did not log in."""
    return person_reference(render, relateduserid) if relateduserid else None


def preview(render: Render) -> object:
    """Marks a teacher's preview, which is not a learner's attempt."""
    del render
    return True


def gradebook(render: Render, other: object, object: Mapping[str, Any] | None) -> object:
    """The grade item of a gradebook score, and its type; the score may repeat an activity's."""
    del render
    item = (object or {}).get("item") or {}
    number = of_other(other, "itemid") or (object or {}).get("itemid")
    item_properties = {"itemId": integer(number), "itemType": item.get("itemtype")}
    return {key: value for key, value in item_properties.items() if value is not None} or True


def change(render: Render, eventname: str | None) -> object:
    """What was changed, if the action says only that something was changed."""
    del render
    return (eventname or "").rpartition("\\")[2] or None


def quiz_result(render: Render, object: Record | None, module: Record | None) -> object:
    """The grade of an attempt that is reviewed, on the scale of the quiz."""
    del render
    return _result(*quiz_grade(object or {}, (module or {}).get("activity") or {}))


def assign_result(render: Render, object: Record | None, module: Record | None) -> object:
    """The grade that a learner sees with the feedback on his work."""
    del render
    return _result(*assign_grade(object or {}, module or {}))


def _result(score: float | None, maximum: float | None) -> dict[str, float] | None:
    if score is None:
        return None
    return {"resultScore": score} | ({"maxResultScore": maximum} if maximum is not None else {})


def enrolment_method(render: Render, other: object, object: Mapping[str, Any] | None) -> object:
    """How a user was enrolled, such as ``manual``, ``self`` or ``cohort``."""
    del render
    method = of_other(other, "enrol") or (object or {}).get("enrol")
    return method if isinstance(method, str) and _METHOD.fullmatch(method) else None


def enrolment_change(
    render: Render,
    eventname: str | None,
    object: Mapping[str, Any] | None,
    relateduser_membership: Mapping[str, Any] | None,
    timecreated: int,
) -> object:
    """``deleted``, or ``suspended``: what ``status`` of a Membership cannot tell apart."""
    del render
    active = enrolment_is_active(eventname, object, relateduser_membership, timecreated)
    if active is not False:
        return None
    return "deleted" if (eventname or "").endswith("_deleted") else "suspended"


_COMPLETION_STATES = {
    "0": "incomplete",
    "1": "complete",
    "2": "passed",
    "3": "failed",
    "4": "failed",
}
"""By ``course_modules_completion.completionstate``; of 4, a failure, the learner does not know."""

_SUBMISSION_STATUSES = frozenset({"draft", "new", "reopened", "submitted"})

_CHANGES = {
    "extension_granted": "extensionGranted",
    "marker_updated": "markerUpdated",
    "submission_locked": "locked",
    "submission_unlocked": "unlocked",
    "user_override_created": "overrideCreated",
    "user_override_deleted": "overrideDeleted",
    "user_override_updated": "overrideUpdated",
    "workflow_state_updated": "workflowStateUpdated",
}
"""By the last word of the event's name."""

_DUE_DATES = ("extensionduedate", "duedate", "timeclose", "deadline")
"""Columns of ``assign_user_flags`` and of the overrides of assignments, quizzes, lessons."""


def completion_state(render: Render, other: object) -> object:
    """The state of a module's completion in words."""
    del render
    return _COMPLETION_STATES.get(str(of_other(other, "completionstate")))


def new_status(render: Render, other: object) -> object:
    """The status that a submission has now: one of Moodle's own words."""
    del render
    status = of_other(other, "newstatus")
    return status if status in _SUBMISSION_STATUSES else None


def learner_change(render: Render, eventname: str | None) -> object:
    """What was changed for one learner."""
    del render
    return _CHANGES.get((eventname or "").rpartition("\\")[2])


def learner_due_date(render: Render, object: Mapping[str, Any] | None) -> object:
    """The date by which one learner is to submit, where the change sets one."""
    del render
    dates = ((object or {}).get(name) for name in _DUE_DATES)
    return next((time(date) for date in dates if date), None)


def discussion_lock(render: Render, other: object) -> object:
    """Whether a discussion is locked now or unlocked."""
    del render
    status = of_other(other, "status")
    return status if status in {"locked", "unlocked"} else None


def grade_penalty(render: Render, object: Mapping[str, Any] | None) -> object:
    """The points deducted from a grade, such as for a late submission; from Moodle 5.0 on.

    ``grade_grades.deductedmark`` counts points; ``assign_grades.penalty`` is a percentage of the
    grade, which the penalty does not change.
    """
    del render
    record = object or {}
    penalty, grade = record.get("penalty"), record.get("grade")
    points = record.get("deductedmark")
    if penalty and grade and grade > 0:
        points = round(grade * penalty / 100, 5)
    return decimal(points) if points else None


def is_preview(record: object) -> bool:
    """Whether the record of an object is, or belongs to, a teacher's preview of a quiz."""
    if not isinstance(record, dict):
        return False
    attempt = record.get("attempt")
    return bool(record.get("preview") or (isinstance(attempt, dict) and attempt.get("preview")))


def is_told_before(record: object) -> bool:
    """Whether an earlier event tells the grading that the record of an object is about."""
    return isinstance(record, dict) and "samegradingas" in record


def same_grading(render: Render, object: Mapping[str, Any] | None) -> object:
    """The id of the earlier event that tells the same grading."""
    earlier = (object or {}).get("samegradingas")
    if not isinstance(earlier, dict):
        return None
    child = _GRADED_BESIDE.get(earlier["eventname"], "")
    return render.iris.event(earlier["id"], earlier["timecreated"], child)


_GRADED_BESIDE = {r"\mod_h5pactivity\event\statement_received": "score"}
"""Rows whose grading is a derived event: what tells it apart from the others of its row."""


EXTENSION_FUNCTIONS: dict[str, tuple[str, Callable[..., object]]] = {
    "assign_result": ("moodle.result", assign_result),
    "change": ("change", change),
    "enrolment_change": ("moodle.change", enrolment_change),
    "enrolment_method": ("moodle.enrolmentMethod", enrolment_method),
    "completion_state": ("moodle.completionState", completion_state),
    "discussion_lock": ("moodle.change", discussion_lock),
    "grade_penalty": ("moodle.gradePenalty", grade_penalty),
    "gradebook": ("gradebook", gradebook),
    "learner_change": ("moodle.change", learner_change),
    "learner_due_date": ("moodle.dueDate", learner_due_date),
    "login_as": ("loginAs", login_as),
    "new_status": ("moodle.newStatus", new_status),
    "overridden_by": ("overriddenBy", overridden_by),
    "preview": ("moodle.preview", preview),
    "quiz_result": ("moodle.result", quiz_result),
    "submitted_by": ("submittedBy", submitted_by),
}
"""Extensions that a recipe may name: their key in the event, and their function. A key that begins
with ``moodle.`` is one of ``extensions.moodle``."""

TELL_GRADES = frozenset({"assign_result", "quiz_result"})
"""Extensions that tell a grade, which may be another today than it was then."""
