"""The classes of entities say the same as the tables of the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union, get_type_hints

import pytest

from caliper_dagster.caliper import entities, vocabulary
from caliper_dagster.caliper.entities import (
    ENTITY_CLASSES,
    VALUE_CLASSES,
    Decimal,
    Duration,
    Iri,
    Reference,
    Time,
)

PLAIN = {
    "str": str,
    "dec": Decimal,
    "int": int,
    "nonneg": int,
    "bool": bool,
    "dt": Time,
    "dur": Duration,
    "map": Mapping[str, Any],
}


def annotation(kind: str) -> Any:
    """The annotation of a property of this kind."""
    name = kind.strip("[]")
    if name.startswith("@"):
        classes = tuple(ENTITY_CLASSES[part] for part in name[1:].split("|"))
        one = Union[(*classes, Reference)]
    elif name.startswith("="):
        one = VALUE_CLASSES[name[1:]]
    else:
        one = str if name in vocabulary.TERMS else PLAIN[name]
    return Sequence[one] if kind.startswith("[") else one


def test_every_type_has_its_class():
    assert ENTITY_CLASSES.keys() == vocabulary.ENTITY_TYPES.keys()
    assert VALUE_CLASSES.keys() == vocabulary.VALUE_TYPES.keys()


@pytest.mark.parametrize("name", ENTITY_CLASSES)
def test_a_class_has_the_properties_of_its_type(name):
    hints = get_type_hints(ENTITY_CLASSES[name], vars(entities))
    wanted = {"id": Iri} | {
        key: annotation(kind) | None for key, kind in vocabulary.properties(name).items()
    }
    assert hints == wanted


@pytest.mark.parametrize("name", VALUE_CLASSES)
def test_a_class_of_values_has_the_properties_of_its_type(name):
    hints = get_type_hints(VALUE_CLASSES[name], vars(entities))
    required = vocabulary.required(name)
    wanted = {
        key: annotation(kind) if key in required else annotation(kind) | None
        for key, kind in vocabulary.VALUE_TYPES[name].items()
    }
    assert hints == wanted


@pytest.mark.parametrize("name", ENTITY_CLASSES)
def test_a_class_descends_from_supertypes_only(name):
    above = {cls.__name__ for cls in ENTITY_CLASSES[name].__mro__} & ENTITY_CLASSES.keys()
    assert all(vocabulary.is_a(name, ancestor) for ancestor in above)
    supertypes = vocabulary.ENTITY_TYPES[name].supertypes
    assert not supertypes or above & set(supertypes)
    # Whether something is a resource is asked of classes, too.
    assert ("DigitalResource" in above) is vocabulary.is_a(name, "DigitalResource")


def test_every_type_is_written_under_its_name():
    for name, cls in ENTITY_CLASSES.items() | VALUE_CLASSES.items():
        assert (cls.__struct_config__.tag_field, cls.__struct_config__.tag) == ("type", name)
        assert cls.__struct_config__.omit_defaults
