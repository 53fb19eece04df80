"""Conditions that a recipe may name under ``when``: facts of a row that change what it means.

Each is called once for each distinct combination of the columns that its parameters name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def grade_removed(object: Mapping[str, Any] | None) -> bool:
    """The grade of an assignment was taken away: ``assign_grades.grade`` is -1."""
    grade = (object or {}).get("grade")
    return grade is not None and grade < 0


def final_grade_removed(other: object) -> bool:
    """A grade in the gradebook was taken away: ``other.finalgrade`` is null."""
    if isinstance(other, dict):
        return "finalgrade" in other and other["finalgrade"] is None
    return False


def completion_reset(other: object) -> bool:
    """An activity counts as not completed any more: ``other.completionstate`` is 0."""
    return isinstance(other, dict) and str(other.get("completionstate")) == "0"


def tagged_person(other: object) -> bool:
    """A user, who is no resource, was tagged."""
    return isinstance(other, dict) and other.get("itemtype") == "user"


def policy_declined(other: object) -> bool:
    """A policy was declined: ``other.status`` is 0 (from Moodle 3.5 on)."""
    return isinstance(other, dict) and str(other.get("status")) == "0"


CONDITIONS: dict[str, Callable[..., bool]] = {
    function.__name__: function
    for function in (
        grade_removed,
        final_grade_removed,
        completion_reset,
        tagged_person,
        policy_declined,
    )
}
