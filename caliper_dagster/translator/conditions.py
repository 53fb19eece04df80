"""Conditions that a recipe may name under ``when``: facts of a row that change its meaning.

Each is called once for each distinct combination of the columns that its parameters name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def grade_removed(object: Mapping[str, Any] | None) -> bool:
    """The grade of an assignment was removed: ``assign_grades.grade`` is -1."""
    grade = (object or {}).get("grade")
    return grade is not None and grade < 0


def final_grade_removed(other: object) -> bool:
    """A grade in the gradebook was removed: ``other.finalgrade`` is null."""
    if isinstance(other, dict):
        return "finalgrade" in other and other["finalgrade"] is None
    return False


def grade_of_no_activity(object: Mapping[str, Any] | None) -> bool:
    """A grade of a course, a category, a manual item, or of an item or activity that is gone."""
    if object is None:
        return True
    module = object.get("module") or {}
    return "item" in object and not (module.get("id") and module.get("modname"))


def no_known_score(object: Mapping[str, Any] | None) -> bool:
    """The log knows no score of a grade: ``object.lastgraded`` is missing."""
    return not (object or {}).get("lastgraded")


def _is_incomplete(other: object) -> bool:
    return isinstance(other, dict) and str(other.get("completionstate")) == "0"


def completion_begun(other: object, object: Mapping[str, Any] | None) -> bool:
    """The tracking of an activity begins: it is not completed, and was not before."""
    return _is_incomplete(other) and (object or {}).get("previousstate") in _NOT_COMPLETED


def completion_reset(other: object, object: Mapping[str, Any] | None) -> bool:
    """An activity that was completed counts as not completed any more."""
    return _is_incomplete(other) and (object or {}).get("previousstate") in _COMPLETED


def completion_unknown_before(other: object, object: Mapping[str, Any] | None) -> bool:
    """An activity is not completed, and the log does not know whether it was before."""
    return _is_incomplete(other) and (object or {}).get("previousstate") is None


_COMPLETED = (1, 2, 3)
_NOT_COMPLETED = (0, 4)
"""States of ``course_modules_completion``; 4 is a failure that the learner does not see."""


def submission_reopened(other: object) -> bool:
    """A submission is a draft again: ``other.newstatus`` is ``draft``."""
    return isinstance(other, dict) and other.get("newstatus") == "draft"


def tagged_person(other: object) -> bool:
    """A user, who is no resource, was tagged."""
    return isinstance(other, dict) and other.get("itemtype") == "user"


def policy_declined(other: object) -> bool:
    """A policy was declined: ``other.status`` is 0 (from Moodle 3.5 on)."""
    return isinstance(other, dict) and str(other.get("status")) == "0"


def launched_again(object: Mapping[str, Any] | None) -> bool:
    """A launch of a SCORM package that is not known to be the first of its attempt."""
    return not (object or {}).get("first")


def scorm_unfinished(other: object) -> bool:
    """The status of a SCORM attempt says neither that it is complete nor that it is failed."""
    status = other.get("cmivalue") if isinstance(other, dict) else None
    return status in SCORM_UNFINISHED


SCORM_UNFINISHED = frozenset({"browsed", "incomplete", "not attempted", "notattempted", "unknown"})
"""Values of ``cmi.core.lesson_status`` and ``cmi.completion_status`` of work that goes on."""

CONDITIONS: dict[str, Callable[..., bool]] = {
    function.__name__: function
    for function in (
        grade_removed,
        final_grade_removed,
        grade_of_no_activity,
        no_known_score,
        completion_begun,
        completion_reset,
        completion_unknown_before,
        submission_reopened,
        tagged_person,
        policy_declined,
        launched_again,
        scorm_unfinished,
    )
}
