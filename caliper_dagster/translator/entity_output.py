"""From what an entity function returns to JSON: cleaned, in the wanted version, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entity_rules import entity_problems, sound
from caliper_dagster.caliper.ruleset import Dialect, dialect
from caliper_dagster.caliper.vocabulary import Version
from caliper_dagster.translator.rows import without_empty


class InvalidEntityError(ValueError):
    """An entity that Caliper does not allow; the message holds types and properties, no values."""


def finish(entity: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """The entity as it is sent.

    Raises:
        InvalidEntityError: it is not valid in this version.
    """
    finished = without_empty(entity)
    if version == "v1p1":
        finished = _in_1_1(finished)
    spoken = _strict(version)
    if not sound(finished, spoken):  # by the same rules as a whole document
        for problem in entity_problems(finished, spoken):
            raise InvalidEntityError(problem.sentence)
    return finished


def _in_1_1(entity: dict[str, Any]) -> dict[str, Any]:
    """What 1.1 lacks: types become their ancestors, new properties go to the extensions."""
    older: dict[str, Any] = {}
    moved: dict[str, Any] = {}
    for key, value in entity.items():
        if key == "extensions":
            moved |= value
        elif vocabulary.is_new_property(key):
            moved[key] = value
        elif isinstance(value, dict) and "type" in value:
            older[key] = _in_1_1(value)
        else:
            older[key] = value
    older["type"] = vocabulary.entity_in_1_1(entity["type"])
    allowed = vocabulary.properties(older["type"])
    dropped = [key for key in older if key not in allowed and key not in {"id", "type"}]
    for key in dropped:
        moved[key] = older.pop(key)
    if moved:
        older["extensions"] = moved
    return older


@cache
def _strict(version: Version) -> Dialect:
    return dialect(version, strict=True)
