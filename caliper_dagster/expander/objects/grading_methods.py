"""Which of several attempts a grade comes from, by the grading method of the activity."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from caliper_dagster.expander.connection import Record


class GradingMethod(Enum):
    """How an activity makes one grade of several attempts."""

    HIGHEST = auto()
    AVERAGE = auto()
    FIRST = auto()
    LAST = auto()
    MANUAL = auto()


def graded_attempt(
    method: GradingMethod, attempts: Sequence[tuple[Record, float | None]]
) -> Record | None:
    """The attempt that the grade comes from; None where it comes from none.

    Args:
        method: the grading method.
        attempts: attempts that count, oldest first, each with its score. Of several attempts with
            the highest score it is the oldest, and attempts without a score come last.
    """
    if not attempts:
        return None
    if method is GradingMethod.FIRST:
        return attempts[0][0]
    if method is GradingMethod.LAST:
        return attempts[-1][0]
    if method is GradingMethod.HIGHEST:
        return max(attempts, key=lambda attempt: (attempt[1] is not None, attempt[1] or 0.0))[0]
    return None
