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


def completion_reset(other: object) -> bool:
    """The completion of an activity was reset: ``other.completionstate`` is 0."""
    return isinstance(other, dict) and str(other.get("completionstate")) == "0"


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
        completion_reset,
        tagged_person,
        policy_declined,
        launched_again,
        scorm_unfinished,
    )
}
