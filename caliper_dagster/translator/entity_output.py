"""Entities to JSON: in the required version and shape, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entities import Entity
from caliper_dagster.caliper.entity_rules import entity_problems, is_certainly_valid
from caliper_dagster.caliper.ruleset import Ruleset, ruleset
from caliper_dagster.caliper.shapes import CANONICAL, Shape
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


def to_json(entity: Entity, version: Version, shape: Shape = CANONICAL) -> EntityOutput:
    """An entity in a version and shape. Its references are those of the shape already.

    Raises:
        InvalidEntityError: the entity is not valid in this version.
    """
    if shape.by_iri or shape.flat_extensions:
        entity = narrowed(entity, shape)
    if is_certainly_valid(entity, _strict(version)):  # no problem, no empty value, nothing newer
        return EntityOutput(dump(entity), type(entity).__name__, entity.id)
    plain = finalize(entity, version, shape)
    return EntityOutput(dump(plain), plain["type"], plain["id"])


def finalize(entity: Entity, version: Version, shape: Shape = CANONICAL) -> dict[str, Any]:
    """The entity as it is sent, by the same rules as a whole document.

    Raises:
        InvalidEntityError: the entity is not valid in this version.
    """
    plain = without_empty(msgspec.to_builtins(entity))
    if version is not NEWEST:
        plain = vocabulary.entity_in(version, plain)
        if shape.flat_extensions:  # what the older version lacks has become an extension
            plain = _flat_throughout(plain)
    for problem in entity_problems(plain, _strict(version)):
        raise InvalidEntityError(problem.sentence)
    return plain


def narrowed(entity: Entity, shape: Shape) -> Entity:
    """An entity as a shape that takes less than Caliper has it, at any depth.

    Properties that hold nothing but an IRI have it, and extensions are flat. The parts that stay as
    they are, are shared with the entity.
    """
    changes: dict[str, Any] = {}
    by_iri = shape.by_iri.get(type(entity).__name__, ())
    for name in entity_properties(type(entity)):
        value = getattr(entity, name)
        if isinstance(value, Entity):
            part: object = value.id if name in by_iri else narrowed(value, shape)
        elif type(value) is list:
            part = [narrowed(one, shape) if isinstance(one, Entity) else one for one in value]
        else:
            continue
        changes[name] = part
    if shape.flat_extensions and entity.extensions:
        changes["extensions"] = _flat(entity.extensions)
    return replace(entity, **changes) if changes else entity


@cache
def entity_properties(cls: type[Entity]) -> tuple[str, ...]:
    """The properties of an entity type that may hold entities, or references to them."""
    kinds = vocabulary.properties(cls.__name__)
    return tuple(name for name in cls.__struct_fields__ if "@" in kinds.get(name, ""))


def _flat(extensions: Mapping[str, Any]) -> dict[str, Any]:
    """Extensions without objects and lists: these become their JSON."""
    return {
        key: dump(value).decode() if isinstance(value, dict | list | Entity) else value
        for key, value in extensions.items()
    }


def _flat_throughout(value: dict[str, Any]) -> dict[str, Any]:
    """The same for the extensions of a plain entity and of all entities in its properties."""
    result: dict[str, Any] = {}
    for key, part in value.items():
        if key == "extensions" and isinstance(part, dict):
            result[key] = _flat(part)
        elif isinstance(part, dict):
            result[key] = _flat_throughout(part)
        elif isinstance(part, list):
            result[key] = [_flat_throughout(one) if type(one) is dict else one for one in part]
        else:
            result[key] = part
    return result


def dump(value: object) -> bytes:
    """JSON text of a value that consists of JSON values and entities."""
    return bytes(memoryview(_encode(value)))  # a copy: the encoder's own bytes hold a kilobyte


@cache
def _strict(version: Version) -> Ruleset:
    return ruleset(version, strict=True)
