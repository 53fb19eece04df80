"""The rules for entities and values; ``entity_output`` and ``document_rules`` apply them.

Each function returns the problems of its argument, with paths relative to the argument. A caller
prefixes its own key, so that no path is built for a valid value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from math import isfinite
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entities import ENTITY_CLASSES, VALUE_CLASSES, Entity
from caliper_dagster.caliper.problems import (
    Problem,
    Problems,
    article,
    shown,
    shown_term,
    violation,
)
from caliper_dagster.caliper.ruleset import (
    WEB_ADDRESS,
    FieldTest,
    Holds,
    Kind,
    Kinds,
    Ruleset,
    is_blank_node,
    is_iri,
)
from caliper_dagster.caliper.vocabulary import TERM

_NO_PROBLEMS: Problems = ()
_PLAIN_TYPES = frozenset({str, int, float, bool})
_KEYWORDS = frozenset({"id", "type", "@context"})
_WEB_ADDRESSES = re.compile(rf"(?:{WEB_ADDRESS}\n)*+")


def entity_problems(entity: Mapping[str, Any], rules: Ruleset) -> Problems:
    """The problems of an entity: its type, its id, its properties and nested objects.

    1.2 Entities; 1.1 section 2.2. The caller checks the ``@context`` of a describe.
    """
    name = entity.get("type")
    kinds = rules.entity(name)
    if kinds is not None:
        owner = str(name)
        problems = property_problems(owner, entity, kinds, rules)
        return [
            *id_problems(owner, entity, rules),
            *problems,
            *missing_properties(owner, entity, _required(owner, rules)),
        ]
    if rules.foreign and isinstance(name, str):
        return id_problems("entity", entity, rules)
    if name is None:
        return violation("required", "the entity has no type", "type")
    return violation("type", f"{shown_term(name)} is no entity type of {rules.version}", "type")


def _required(owner: str, rules: Ruleset) -> Collection[str]:
    """What an entity must have; strictly, also that without which some readers refuse it."""
    return vocabulary.strictly_required(owner) if rules.strict else vocabulary.required(owner)


def is_certainly_valid(entity: Entity, rules: Ruleset) -> bool:
    """Whether a fast check finds an entity valid and without empty values; most entities pass.

    If it returns False, the entity may still be valid: :func:`entity_problems` decides.
    """
    return _holds(entity, _tests(type(entity), rules))


def are_certainly_valid(entities: Sequence[Entity], rules: Ruleset) -> bool:
    """Whether :func:`is_certainly_valid` holds for all of these, property by property.

    Equal values of a property are checked once, and all new IRIs in one search.
    """
    classes = set(map(type, entities))
    if len(classes) == 1:
        return _all_hold(entities, _tests(classes.pop(), rules))
    return all(
        are_certainly_valid([one for one in entities if type(one) is cls], rules) for cls in classes
    )


def _holds(value: Struct, tests: Sequence[FieldTest]) -> bool:
    for part, test in zip(astuple(value), tests, strict=True):
        if not (test.optional if part is None else test.one(part)):
            return False
    return True


def _all_hold(values: Sequence[Struct], tests: Sequence[FieldTest]) -> bool:
    for column, test in zip(zip(*map(astuple, values), strict=True), tests, strict=True):
        missing = column.count(None)
        if missing and not test.optional:
            return False
        if missing < len(column) and not test.all(
            [part for part in column if part is not None] if missing else column
        ):
            return False
    return True


def _tests(cls: type[Entity], rules: Ruleset) -> Sequence[FieldTest]:
    """For each field of a class, a test that only valid values pass."""
    tests = rules.tests.get(cls)
    if tests is None:
        name = cls.__name__
        kinds = rules.entity(name)
        if kinds is None or _required(name, rules):
            kinds = {}
        tests = rules.tests[cls] = [
            _id_test()
            if kinds and field == "id"
            else _field_test(kinds.get(field), rules, optional=field != "id")
            for field in cls.__struct_fields__
        ]
    return tests


def _never(_: object) -> bool:
    return False


def _field_test(kind: Kind | None, rules: Ruleset, *, optional: bool = True) -> FieldTest:
    if kind is None:
        return FieldTest(_never, _never, optional)
    return FieldTest(_test(kind, rules), _test_of_all(kind, rules), optional)


def _test_of_all(kind: Kind, rules: Ruleset) -> Callable[[Sequence[Any]], bool]:
    """Whether all of some values certainly are of a kind."""
    if kind.many:
        each = _test_of_all(replace(kind, many=False), rules)
        return lambda lists: (
            set(map(type, lists)) == {list} and all(lists) and each([*chain.from_iterable(lists)])
        )
    if kind.entity:
        return _references_test(kind.entity, rules)
    if kind.value:
        cls, tests = _value_type(kind.value, rules)
        return lambda values: set(map(type, values)) == {cls} and _all_hold(values, tests)
    test = _test(kind, rules)
    return lambda values: all(map(test, _distinct(values)))


def _distinct(values: Sequence[Any]) -> Collection[Any]:
    """The distinct ones of some values, if they are simple; else the values.

    Only values of one type are compared: 1, 1.0 and True are equal.
    """
    types = set(map(type, values))
    return set(values) if len(types) == 1 and types <= _PLAIN_TYPES else values


def _id_test() -> FieldTest:
    return FieldTest(
        lambda value: type(value) is str and _is_named_iri(value),
        lambda values: set(map(type, values)) == {str} and _are_named_iris(set(values)),
        optional=False,
    )


def _is_named_iri(iri: str) -> bool:
    """Whether this is the IRI of an entity that is not anonymous."""
    return is_iri(iri) and not iri.startswith(TERM)


def _are_named_iris(iris: Collection[str]) -> bool:
    """The same for many; most are addresses in ASCII, which one search finds."""
    lines = "\n".join([*iris, ""])
    if TERM not in lines and _WEB_ADDRESSES.fullmatch(lines) and lines.count("\n") == len(iris):
        return True
    return all(map(_is_named_iri, iris))


def _test(kind: Kind, rules: Ruleset) -> Holds:
    if kind.many:
        one = _test(replace(kind, many=False), rules)
        return lambda value: type(value) is list and bool(value) and all(map(one, value))
    if kind.entity:
        return _reference_test(kind.entity, rules)
    if kind.value:
        cls, tests = _value_type(kind.value, rules)
        return lambda value: type(value) is cls and _holds(value, tests)
    if kind.holds is None:
        return _never
    if kind.plain is None:  # a map, or a term
        return _term_or_map_test(kind.holds)
    if kind.plain(""):
        return lambda value: type(value) is str and value != ""
    return kind.plain


def _term_or_map_test(holds: Holds) -> Holds:
    """A term, or a map without empty values."""
    return lambda value: holds(value) and (type(value) is not dict or _is_full(value))


def _value_type(name: str, rules: Ruleset) -> tuple[type[Struct], Sequence[FieldTest]]:
    """The class of a value type, and the test of each of its fields."""
    kinds = rules.value_type(name)
    cls = VALUE_CLASSES[name]
    required = vocabulary.required(name)
    return cls, [
        _field_test(kinds.get(field), rules, optional=field not in required)
        for field in cls.__struct_fields__
    ]


def _is_full(value: object) -> bool:
    """Whether a value of a map is neither null nor empty, at any depth."""
    if type(value) is dict:
        return bool(value) and all(map(_is_full, value.values()))
    if type(value) is list:
        return bool(value) and all(map(_is_full, value))
    if isinstance(value, Entity):  # in extensions, where no rule holds for it
        return all(part is None or _is_full(part) for part in astuple(value))
    return type(value) in _PLAIN_TYPES and value != "" and not _is_not_finite(value)


def _fitting(types: str) -> frozenset[type[Entity]]:
    return frozenset(cls for name, cls in ENTITY_CLASSES.items() if vocabulary.fits(name, types))


def _reference_test(types: str, rules: Ruleset) -> Holds:
    fitting = _fitting(types)

    def test(value: Any) -> bool:  # noqa: ANN401 - whatever a property holds
        if type(value) is str:
            return _is_named_iri(value)
        return type(value) in fitting and is_certainly_valid(value, rules)

    return test


def _references_test(types: str, rules: Ruleset) -> Callable[[Sequence[Any]], bool]:
    """The same for all values of a property; an object that several entities share counts once."""
    fitting = _fitting(types)

    def test(values: Sequence[Any]) -> bool:
        kinds = set(map(type, values))
        if not kinds - {str} <= fitting:
            return False
        if str in kinds and not _are_named_iris({one for one in values if type(one) is str}):
            return False
        objects = {id(one): one for one in values if type(one) is not str} if kinds - {str} else {}
        return are_certainly_valid([*objects.values()], rules)

    return test


def id_problems(owner: str, entity: Mapping[str, Any], rules: Ruleset) -> Problems:
    """The problems of the id of an entity (1.2, Identifiers and Anonymous Entities)."""
    value = entity.get("id")
    if not is_iri(value) and (rules.strict or not is_blank_node(value)):
        rule = "id" if value is not None else "required"
        return violation(rule, f"the id of {article(owner)} is no IRI", "id")
    anonymous = anonymous_type(value)
    if anonymous is None:
        return _NO_PROBLEMS
    if anonymous != owner and owner in vocabulary.ENTITY_TYPES:
        return violation(
            "anonymous", f"{article(owner)} has the anonymous id of {article(anonymous)}", "id"
        )
    return _excess_properties(owner, entity) if rules.strict else _NO_PROBLEMS


def _excess_properties(owner: str, entity: Mapping[str, Any]) -> Problems:
    """Properties of an anonymous entity that "may not be appropriate" for it."""
    if vocabulary.is_a(owner, "Agent"):
        excess = entity.keys() - vocabulary.ANONYMOUS_AGENT_PROPERTIES
    else:
        excess = entity.keys() & vocabulary.NOT_ANONYMOUS_PROPERTIES
    return [
        problem
        for key in sorted(excess, key=str)
        for problem in violation("anonymous", f"an anonymous {owner} has {shown(key)}", key)
    ]


def anonymous_type(iri: object) -> str | None:
    """The type whose anonymous form has this id; None for every other id."""
    if not isinstance(iri, str) or not iri.startswith(TERM):
        return None
    name = iri[len(TERM) :]
    return name if name in vocabulary.ENTITY_TYPES else None


def missing_properties(owner: str, item: Mapping[str, Any], required: Collection[str]) -> Problems:
    """The problems of required properties that are missing."""
    if not required:
        return _NO_PROBLEMS
    return [
        problem
        for name in required
        if name not in item
        for problem in violation("required", f"{owner} has no {name}", name)
    ]


def property_problems(
    owner: str, item: Mapping[str, Any], kinds: Kinds, rules: Ruleset
) -> list[Problem]:
    """The problems of the properties of an object of a known type.

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
                continue  # most values need no further check
            for problem in value_problems(owner, key, kind, value, rules):
                problems.append(problem.below(key))  # noqa: PERF401 - usually there is none
        elif key not in _KEYWORDS:
            problems += _unknown_property(owner, key, rules)
    return problems


def _unknown_property(owner: str, key: object, rules: Ruleset) -> Problems:
    sentence = f"{owner} has no property {shown(key)}"
    if key in rules.terms:
        return violation("property", sentence, key)
    if rules.foreign:
        return _NO_PROBLEMS
    return violation("term", f"{sentence}, and the JSON-LD context does not define it", key)


def value_problems(owner: str, key: str, kind: Kind, value: Any, rules: Ruleset) -> Problems:  # noqa: ANN401
    """The problems of the value of a property.

    Args:
        owner: type of the object that has the property.
        key: name of the property.
        kind: what it may hold.
        value: what it holds.
        rules: the rules of the document's version.
    """
    if value is None:
        return violation("empty", f"{owner}.{key} is null")
    if not kind.many:
        return _single_value_problems(owner, key, kind, value, rules)
    if not isinstance(value, list):
        return violation(kind.rule, f"{owner}.{key} must be a list")
    if rules.strict and not value:
        return violation("empty", f"{owner}.{key} is empty")
    return [
        problem.below(number)
        for number, item in enumerate(value)
        for problem in _single_value_problems(owner, key, kind, item, rules)
    ]


def _single_value_problems(
    owner: str,
    key: str,
    kind: Kind,
    value: Any,  # noqa: ANN401
    rules: Ruleset,
) -> Problems:
    if kind.entity:
        return _reference_problems(owner, key, kind, value, rules)
    if kind.value:
        return value_type_problems(f"{owner}.{key}", value, kind.value, rules)
    if kind.holds is not None and not kind.holds(value):
        return violation(kind.rule, f"{owner}.{key} must be {kind.what}")
    if rules.strict and not kind.many and (value == "" or isinstance(value, dict)):
        return _empty_value_problems(f"{owner}.{key}", value)
    return _NO_PROBLEMS


def _reference_problems(
    owner: str, key: str, kind: Kind, value: object, rules: Ruleset
) -> Problems:
    """An entity in line, or the IRI of one (1.2, Types and Type Coercion)."""
    if isinstance(value, dict):
        problems = entity_problems(value, rules)
        name = value.get("type")
        if "@context" in value:
            problems = [*problems, *_nested_context(owner, key, rules)]
    elif is_iri(value) or (is_blank_node(value) and not rules.strict):
        problems, name = _NO_PROBLEMS, anonymous_type(value)
    else:
        return violation(kind.rule, f"{owner}.{key} must be {kind.what}")
    if (
        isinstance(name, str)
        and name in vocabulary.ENTITY_TYPES
        and not vocabulary.fits(name, kind.entity)
    ):
        expected = kind.what.removesuffix(" or an IRI")
        return [
            *problems,
            *violation(kind.rule, f"{owner}.{key} must be {expected}, not {article(name)}"),
        ]
    return problems


def _nested_context(owner: str, key: str, rules: Ruleset) -> Problems:
    """Nested objects need no context of their own; that they have one is legal JSON-LD."""
    if not rules.strict:
        return _NO_PROBLEMS
    return violation("context", f"{owner}.{key} has a @context of its own", "@context")


def value_type_problems(where: str, value: object, name: str, rules: Ruleset) -> Problems:
    """The problems of an object that has a type but no id, such as a SystemIdentifier.

    Args:
        where: the path that a sentence shows.
        value: the value.
        name: the required type.
        rules: the rules of the document's version.
    """
    if not isinstance(value, dict) or value.get("type") != name:
        return violation("value", f"{where} must be {article(name)}")
    problems = property_problems(name, value, rules.value_type(name), rules)
    if "id" in value:
        problems += violation("property", f"{name} has no property id", "id")
    problems += missing_properties(name, value, vocabulary.required(name))
    return problems


def _is_not_finite(value: object) -> bool:
    """Whether this is a float that JSON cannot hold; it would be written as null."""
    return type(value) is float and not isfinite(value)


def _empty_value_problems(where: str, value: object) -> Problems:
    """Null or empty values in a text or map, at any depth; an item of a list may be empty."""
    if value is None or _is_not_finite(value):
        return violation("empty", f"something in {where} is null")
    if value == "" or value == [] or value == {}:
        return violation("empty", f"something in {where} is empty")
    if isinstance(value, dict):
        return [
            p.below(key) for key, item in value.items() for p in _empty_value_problems(where, item)
        ]
    if isinstance(value, list):
        return [
            p.below(number)
            for number, item in enumerate(value)
            if isinstance(item, dict | list)
            for p in _empty_value_problems(where, item)
        ]
    return _NO_PROBLEMS
