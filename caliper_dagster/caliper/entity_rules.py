"""The rules for entities and values, shared by `finishing` and `validation`.

Every function returns the problems of what it is given, with paths that start there; callers put
them below their own keys, so that what is valid costs no path.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import isfinite
from typing import Any

from msgspec.structs import astuple

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entities import ENTITY_CLASSES, VALUE_CLASSES, Entity
from caliper_dagster.caliper.problems import Problem, Problems, article, found, shown, shown_term
from caliper_dagster.caliper.ruleset import Holds, Kind, Kinds, Ruleset, is_blank_node, is_iri
from caliper_dagster.caliper.vocabulary import TERM

_NONE: Problems = ()
_PLAIN = frozenset({str, int, float, bool})
_KEYWORDS = frozenset({"id", "type", "@context"})


def entity_problems(entity: Mapping[str, Any], rules: Ruleset) -> Problems:
    """What is wrong with an entity: its type, its id, its properties, and what it holds.

    1.2 Entities; 1.1 section 2.2. A describe's ``@context`` is left to the caller.
    """
    name = entity.get("type")
    kinds = rules.entity(name)
    if kinds is not None:
        owner = str(name)
        problems = property_problems(owner, entity, kinds, rules)
        return [
            *id_problems(owner, entity, rules),
            *problems,
            *missing(owner, entity, vocabulary.required(owner)),
        ]
    if rules.foreign and isinstance(name, str):
        return id_problems("entity", entity, rules)
    if name is None:
        return found("required", "the entity has no type", "type")
    return found("type", f"{shown_term(name)} is no entity type of {rules.version}", "type")


def is_certainly_valid(entity: Entity, rules: Ruleset) -> bool:
    """Whether an entity has no problems and nothing empty: a quick look that most entities stand.

    False says nothing: then :func:`entity_problems` decides.
    """
    cls = type(entity)
    if entity.id is None:
        return False
    tests = rules.tests.get(cls)
    if tests is None:
        tests = rules.tests[cls] = _tests(cls, rules)
    for value, test in zip(astuple(entity), tests, strict=True):
        if value is not None and not test(value):
            return False
    return True


def _tests(cls: type[Entity], rules: Ruleset) -> Sequence[Holds]:
    """For each field of a class what certainly holds of a valid value."""
    name = cls.__name__
    kinds = rules.entity(name)
    if kinds is None or vocabulary.required(name):
        return (_never,) * len(cls.__struct_fields__)
    return [
        _is_name if field == "id" else _test(kinds[field], rules) if field in kinds else _never
        for field in cls.__struct_fields__
    ]


def _never(_: object) -> bool:
    return False


def _is_name(value: object) -> bool:
    return type(value) is str and _names(value)


@lru_cache(maxsize=50_000)
def _names(iri: str) -> bool:
    """Whether this is the IRI of a thing that is not anonymous; each is found in many entities."""
    return is_iri(iri) and not iri.startswith(TERM)


def _test(kind: Kind, rules: Ruleset) -> Holds:
    if kind.many:
        one = _test(replace(kind, many=False), rules)
        return lambda value: type(value) is list and bool(value) and all(map(one, value))
    if kind.entity:
        return _reference_test(kind.entity, rules)
    if kind.value:
        return _value_type_test(kind.value, rules)
    if kind.holds is None:
        return _never
    if kind.plain is None:  # a map, or a term
        return _filled(kind.holds)
    if kind.plain(""):
        return lambda value: type(value) is str and value != ""
    return kind.plain


def _filled(holds: Holds) -> Holds:
    """A term, or a map of plain values that is not empty."""
    return lambda value: (
        holds(value)
        and (type(value) is not dict or (bool(value) and all(map(_is_plain, value.values()))))
    )


def _value_type_test(name: str, rules: Ruleset) -> Holds:
    kinds = rules.value_type(name)
    cls = VALUE_CLASSES[name]
    required = vocabulary.required(name)
    tests = [
        (_test(kinds[field], rules) if field in kinds else _never, field not in required)
        for field in cls.__struct_fields__
    ]
    return lambda value: (
        type(value) is cls
        and all(
            optional if item is None else test(item)
            for item, (test, optional) in zip(astuple(value), tests, strict=True)
        )
    )


def _is_plain(item: object) -> bool:
    return type(item) in _PLAIN and item != "" and not _is_no_number(item)


def _reference_test(types: str, rules: Ruleset) -> Holds:
    fitting = frozenset(cls for name, cls in ENTITY_CLASSES.items() if vocabulary.fits(name, types))

    def test(value: Any) -> bool:  # noqa: ANN401 - whatever a property holds
        if type(value) is str:
            return _names(value)
        return type(value) in fitting and is_certainly_valid(value, rules)

    return test


def id_problems(owner: str, entity: Mapping[str, Any], rules: Ruleset) -> Problems:
    """What is wrong with the id of an entity (1.2, Identifiers and Anonymous Entities)."""
    value = entity.get("id")
    if not is_iri(value) and (rules.strict or not is_blank_node(value)):
        rule = "id" if value is not None else "required"
        return found(rule, f"the id of {article(owner)} is no IRI", "id")
    anonymous = anonymous_type(value)
    if anonymous is None:
        return _NONE
    if anonymous != owner and owner in vocabulary.ENTITY_TYPES:
        return found(
            "anonymous", f"{article(owner)} has the anonymous id of {article(anonymous)}", "id"
        )
    return _too_much(owner, entity) if rules.strict else _NONE


def _too_much(owner: str, entity: Mapping[str, Any]) -> Problems:
    """What an anonymous entity says of itself although it "may not be appropriate to"."""
    if vocabulary.is_a(owner, "Agent"):
        told = entity.keys() - vocabulary.ANONYMOUS_AGENT_PROPERTIES
    else:
        told = entity.keys() & vocabulary.NOT_ANONYMOUS_PROPERTIES
    return [
        problem
        for key in sorted(told, key=str)
        for problem in found("anonymous", f"an anonymous {owner} has {shown(key)}", key)
    ]


def anonymous_type(iri: object) -> str | None:
    """The type whose anonymous form has this id; None for every other id."""
    if not isinstance(iri, str) or not iri.startswith(TERM):
        return None
    name = iri[len(TERM) :]
    return name if name in vocabulary.ENTITY_TYPES else None


def missing(owner: str, item: Mapping[str, Any], required: Collection[str]) -> Problems:
    """Which properties are required and not there."""
    if not required:
        return _NONE
    return [
        problem
        for name in required
        if name not in item
        for problem in found("required", f"{owner} has no {name}", name)
    ]


def property_problems(
    owner: str, item: Mapping[str, Any], kinds: Kinds, rules: Ruleset
) -> list[Problem]:
    """What is wrong with the properties of an object of a known type.

    Args:
        owner: type of the object.
        item: the object.
        kinds: what each of its properties may hold.
        rules: the rules of the document's version.
    """
    problems: list[Problem] = []
    for key, value in item.items():
        kind = kinds.get(key)
        if kind is not None:
            if kind.plain is not None and kind.plain(value) and value:
                continue  # most values: nothing more to ask
            for problem in value_problems(owner, key, kind, value, rules):
                problems.append(problem.below(key))  # noqa: PERF401 - mostly there is none
        elif key not in _KEYWORDS:
            problems += _unknown(owner, key, rules)
    return problems


def _unknown(owner: str, key: object, rules: Ruleset) -> Problems:
    sentence = f"{owner} has no property {shown(key)}"
    if key in rules.terms:
        return found("property", sentence, key)
    if rules.foreign:
        return _NONE
    return found("term", f"{sentence}, and the JSON-LD context does not define it", key)


def value_problems(owner: str, key: str, kind: Kind, value: Any, rules: Ruleset) -> Problems:  # noqa: ANN401
    """What is wrong with the value of a property.

    Args:
        owner: type of the object that has the property.
        key: name of the property.
        kind: what it may hold.
        value: what it holds.
        rules: the rules of the document's version.
    """
    if value is None:
        return found("empty", f"{owner}.{key} is null")
    if not kind.many:
        return _single(owner, key, kind, value, rules)
    if not isinstance(value, list):
        return found(kind.rule, f"{owner}.{key} must be a list")
    if rules.strict and not value:
        return found("empty", f"{owner}.{key} is empty")
    return [
        problem.below(number)
        for number, item in enumerate(value)
        for problem in _single(owner, key, kind, item, rules)
    ]


def _single(owner: str, key: str, kind: Kind, value: Any, rules: Ruleset) -> Problems:  # noqa: ANN401
    if kind.entity:
        return _reference(owner, key, kind, value, rules)
    if kind.value:
        return value_type_problems(f"{owner}.{key}", value, kind.value, rules)
    if kind.holds is not None and not kind.holds(value):
        return found(kind.rule, f"{owner}.{key} must be {kind.what}")
    if rules.strict and not kind.many and (value == "" or isinstance(value, dict)):
        return _empty(f"{owner}.{key}", value)
    return _NONE


def _reference(owner: str, key: str, kind: Kind, value: object, rules: Ruleset) -> Problems:
    """An entity in line, or the IRI of one (1.2, Types and Type Coercion)."""
    if isinstance(value, dict):
        problems = entity_problems(value, rules)
        name = value.get("type")
        if "@context" in value:
            problems = [*problems, *_nested_context(owner, key, rules)]
    elif is_iri(value) or (is_blank_node(value) and not rules.strict):
        problems, name = _NONE, anonymous_type(value)
    else:
        return found(kind.rule, f"{owner}.{key} must be {kind.what}")
    if (
        isinstance(name, str)
        and name in vocabulary.ENTITY_TYPES
        and not vocabulary.fits(name, kind.entity)
    ):
        wanted = kind.what.removesuffix(" or an IRI")
        return [
            *problems,
            *found(kind.rule, f"{owner}.{key} must be {wanted}, not {article(name)}"),
        ]
    return problems


def _nested_context(owner: str, key: str, rules: Ruleset) -> Problems:
    """Nested objects need no context of their own; that they have one is legal JSON-LD."""
    if not rules.strict:
        return _NONE
    return found("context", f"{owner}.{key} has a @context of its own", "@context")


def value_type_problems(where: str, value: object, name: str, rules: Ruleset) -> Problems:
    """What is wrong with an object that has a type but no id, such as a SystemIdentifier.

    Args:
        where: how a sentence names its place.
        value: what is there.
        name: the type that it must have.
        rules: the rules of the document's version.
    """
    if not isinstance(value, dict) or value.get("type") != name:
        return found("value", f"{where} must be {article(name)}")
    problems = property_problems(name, value, rules.value_type(name), rules)
    if "id" in value:
        problems += found("property", f"{name} has no property id", "id")
    problems += missing(name, value, vocabulary.required(name))
    return problems


def _is_no_number(value: object) -> bool:
    """Whether this is a float that JSON cannot hold; it would be written as null."""
    return type(value) is float and not isfinite(value)


def _empty(where: str, value: object) -> Problems:
    """What is null or empty in a text or map, at any depth; list items have their meaning."""
    if value is None or _is_no_number(value):
        return found("empty", f"something in {where} is null")
    if value == "" or value == [] or value == {}:
        return found("empty", f"something in {where} is empty")
    if isinstance(value, dict):
        return [p.below(key) for key, item in value.items() for p in _empty(where, item)]
    if isinstance(value, list):
        return [
            p.below(number)
            for number, item in enumerate(value)
            if isinstance(item, dict | list)
            for p in _empty(where, item)
        ]
    return _NONE
