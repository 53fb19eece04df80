"""Conditions that a recipe may name under ``unless``: facts of a row that change what it means.

Each is called once for each distinct combination of the columns that its parameters name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def grade_removed(object: Mapping[str, Any] | None) -> bool:
    """The grade of an assignment was taken away: ``assign_grades.grade`` is -1."""
    grade = (object or {}).get("grade")
    return grade is not None and grade < 0


CONDITIONS: dict[str, Callable[..., bool]] = {"grade_removed": grade_removed}
