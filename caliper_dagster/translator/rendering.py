"""From what an entity function returns to JSON: cleaned, in the wanted version, and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from caliper_dagster.translator import vocabulary
from caliper_dagster.translator.rows import without_empty
from caliper_dagster.translator.vocabulary import Version

_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")


class InvalidEntityError(ValueError):
    """An entity that Caliper does not allow; the message holds types and properties, no values."""


def finish(entity: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """The entity as it is sent.

    Raises:
        InvalidEntityError: it is not valid in this version.
    """
    cleaned = without_empty(entity)
    finished = _in_1_1(cleaned) if version == "v1p1" else cleaned
    check(finished, version)
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


def check(entity: Mapping[str, Any], version: Version) -> None:
    """Check type, id, properties and the types of nested entities.

    Raises:
        InvalidEntityError: something is not as the vocabulary says.
    """
    name = entity.get("type")
    if name not in vocabulary.ENTITY_TYPES or not vocabulary.exists(str(name), version):
        raise InvalidEntityError(f"{name} is no entity type of {version}")
    if not _IRI.fullmatch(str(entity.get("id", ""))):
        raise InvalidEntityError(f"the id of a {name} is no IRI")
    kinds = vocabulary.properties(str(name))
    for key, value in entity.items():
        if key in {"id", "type"}:
            continue
        if key not in kinds:
            raise InvalidEntityError(f"{name} has no property {key}")
        _check_value(f"{name}.{key}", kinds[key], value, version)


def _check_value(where: str, kind: str, value: object, version: Version) -> None:
    if kind.startswith("["):
        if not isinstance(value, list):
            raise InvalidEntityError(f"{where} must be a list")
        for item in value:
            _check_value(where, kind[1:-1], item, version)
    elif kind.startswith("@"):
        if isinstance(value, dict):
            check(value, version)
            if not vocabulary.is_a(value["type"], kind[1:]):
                raise InvalidEntityError(f"{where} must be a {kind[1:]}, not a {value['type']}")
        elif not isinstance(value, str) or not _IRI.fullmatch(value):
            raise InvalidEntityError(f"{where} must be a {kind[1:]} or an IRI")
    elif kind in _KINDS and not _KINDS[kind](value):
        raise InvalidEntityError(f"{where} must be of kind {kind}")


_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_DURATION = re.compile(r"P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?")


def _is_role(value: object) -> bool:
    core, _, sub = str(value).partition("#")
    return core in vocabulary.ROLES and (not sub or sub in vocabulary.ROLES[core].split())


_KINDS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "dec": lambda value: isinstance(value, float),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "nonneg": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "bool": lambda value: isinstance(value, bool),
    "dt": lambda value: isinstance(value, str) and bool(_DATETIME.fullmatch(value)),
    "dur": lambda value: isinstance(value, str) and bool(_DURATION.fullmatch(value)),
    "role": _is_role,
    "status": lambda value: value in vocabulary.STATUSES,
    "sysid": lambda value: isinstance(value, dict) and value.get("type") == "SystemIdentifier",
    "map": lambda value: isinstance(value, dict),
}
