"""Entities to JSON: in the required version, and checked."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import msgspec

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entities import Entity
from caliper_dagster.caliper.entity_rules import entity_problems, is_certainly_valid
from caliper_dagster.caliper.ruleset import Ruleset, ruleset
from caliper_dagster.caliper.versions import NEWEST, Version
from caliper_dagster.translator.rows import without_empty

_encode = msgspec.json.Encoder().encode


class InvalidEntityError(ValueError):
    """An entity that Caliper does not allow; the message holds types and properties, no values."""


class EntityOutput(NamedTuple):
    """An entity as it is sent: its JSON, its type in that version and its IRI."""

    json: bytes
    type: str
    iri: str


def to_json(entity: Entity, version: Version) -> EntityOutput:
    """An entity in a version.

    Raises:
        InvalidEntityError: the entity is not valid in this version.
    """
    if is_certainly_valid(entity, _strict(version)):  # no problem, no empty value, nothing newer
        return EntityOutput(dump(entity), type(entity).__name__, entity.id)
    plain = finalize(entity, version)
    return EntityOutput(dump(plain), plain["type"], plain["id"])


def finalize(entity: Entity, version: Version) -> dict[str, Any]:
    """The entity as it is sent, by the same rules as a whole document.

    Raises:
        InvalidEntityError: the entity is not valid in this version.
    """
    plain = without_empty(msgspec.to_builtins(entity))
    if version is not NEWEST:
        plain = vocabulary.entity_in(version, plain)
    for problem in entity_problems(plain, _strict(version)):
        raise InvalidEntityError(problem.sentence)
    return plain


def dump(value: object) -> bytes:
    """JSON text of a value that consists of JSON values and entities."""
    return bytes(memoryview(_encode(value)))  # a copy: the encoder's own bytes hold a kilobyte


@cache
def _strict(version: Version) -> Ruleset:
    return ruleset(version, strict=True)
