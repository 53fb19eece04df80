"""Entities to JSON: in the required version and shape, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entities import Entity
from caliper_dagster.caliper.entity_rules import (
    are_certainly_valid,
    entity_problems,
    is_certainly_valid,
)
from caliper_dagster.caliper.ruleset import Ruleset, ruleset
from caliper_dagster.caliper.shapes import CANONICAL, Shape
from caliper_dagster.caliper.versions import NEWEST, Version
from caliper_dagster.translator.rows import without_empty

_encoder = msgspec.json.Encoder()


class InvalidEntityError(ValueError):
    """An entity that Caliper does not allow; the message holds types and properties, no values."""


class EntityOutput(NamedTuple):
    """An entity as it is sent: its JSON, its type in that version and its IRI."""

    json: bytes
    type: str
    iri: str


class EntityOutputs(NamedTuple):
    """Entities as they are sent, as columns: their JSON, types in that version and IRIs."""

    json: list[bytes]
    types: list[str]
    iris: list[str]


def to_json(entity: Entity, version: Version, shape: Shape = CANONICAL) -> EntityOutput:
    """An entity in a version and shape. Its references are those of the shape already.

    Raises:
        InvalidEntityError: the entity is not valid in this version.
    """
    json, types, iris = all_to_json([entity], version, shape)
    return EntityOutput(json[0], types[0], iris[0])


def all_to_json(
    entities: Sequence[Entity], version: Version, shape: Shape = CANONICAL
) -> EntityOutputs:
    """Entities in a version and shape; see :func:`to_json`.

    They are checked and written together, which costs a fraction of doing so one by one.

    Raises:
        InvalidEntityError: one of them is not valid in this version.
    """
    rules = _strict(version)
    if shape.by_iri or shape.flat_extensions:
        entities = [narrowed(entity, shape) for entity in entities]
    types = [type(entity).__name__ for entity in entities]
    iris = [entity.id for entity in entities]
    if are_certainly_valid(entities, rules):  # no problem, no empty value, nothing newer
        return EntityOutputs(dump_all(entities), types, iris)
    documents: list[Entity | dict[str, Any]] = list(entities)
    for number, entity in enumerate(entities):
        if not is_certainly_valid(entity, rules):
            plain = documents[number] = finalize(entity, version, shape)
            types[number], iris[number] = plain["type"], plain["id"]
    return EntityOutputs(dump_all(documents), types, iris)


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
    return bytes(memoryview(_encoder.encode(value)))  # a copy: the encoder's own holds a kilobyte


def dump_all(values: Sequence[object]) -> list[bytes]:
    """JSON text of each of some values; see :func:`dump`."""
    return _encoder.encode_lines(values).split(b"\n")[:-1]  # JSON escapes the line ends of texts


@cache
def _strict(version: Version) -> Ruleset:
    return ruleset(version, strict=True)
