"""What all entity functions share: their arguments, small helpers, and how recipes name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Any, TypeVar

from caliper_dagster.translator.identity import Iris
from caliper_dagster.translator.rows import parameters

Record = Mapping[str, Any]
Entity = dict[str, Any]

FRONT_PAGE = 1
"""Course id of the front page, which is no course."""


@dataclass(frozen=True, slots=True)
class PersonOptions:
    """What of a person may be sent beside the id."""

    names: bool = False
    identifiers: tuple[str, ...] = ("SystemId",)


@dataclass(frozen=True, slots=True)
class Render:
    """What every entity function gets first: the site's IRIs, and what may be sent.

    Attributes:
        iris: makes ids.
        person: what may be sent of persons.
        free_text: whether text that persons wrote may be sent: search terms, answers.
    """

    iris: Iris
    person: PersonOptions = PersonOptions()
    free_text: bool = False


@dataclass(frozen=True, slots=True)
class EntityFunction:
    """An entity function with the columns that its parameters name."""

    function: Callable[..., Entity | None]
    columns: tuple[str, ...]


ENTITY_FUNCTIONS: dict[str, EntityFunction] = {}
"""Those that a recipe may name, by name."""

F = TypeVar("F", bound=Callable[..., Entity | None])


def for_recipes(function: F) -> F:
    """Let recipes name this function."""
    ENTITY_FUNCTIONS[function.__name__] = EntityFunction(function, parameters(function)[1:])
    return function


def time(seconds: float | None) -> str | None:
    """A date as Caliper wants it (UTC, milliseconds); None for Moodle's "no date", which is 0."""
    if not seconds or seconds < 0:
        return None
    return _written(seconds)


@lru_cache(maxsize=20_000)
def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def duration(seconds: float | None) -> str | None:
    """A span of time in ISO 8601."""
    return f"PT{int(seconds)}S" if seconds is not None and seconds >= 0 else None


def of_other(other: object, key: str) -> Any:  # noqa: ANN401 - decoded JSON
    """A value of the decoded ``other``; None when it has no such key, or is no map."""
    return other.get(key) if isinstance(other, dict) else None


def integer(value: object) -> int | None:
    """An integer, which PHP often stores as text."""
    if type(value) is int:
        return value
    try:
        return int(str(value)) if value is not None and not isinstance(value, bool) else None
    except ValueError:
        return None


def decimal(value: object) -> float | None:
    """A number with a fraction, which PHP often stores as text; ``NaN`` and the like are none."""
    try:
        number = float(str(value)) if value is not None and not isinstance(value, bool) else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None


def is_course(courseid: int | None) -> bool:
    """Whether a course id is that of a course (not 0, nor the front page)."""
    return courseid is not None and courseid > FRONT_PAGE
