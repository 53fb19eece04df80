"""Every event is Caliper: held against ``data/caliper_entities.csv``, not our vocabulary."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from caliper_dagster_tests.harness.paths import DATA
from caliper_dagster_tests.real_site.site import Event, Translation, entities

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
DURATION = re.compile(r"P(T(\d+H)?(\d+M)?\d+S)")
IRI = re.compile(r"(https?|urn):[^\s<>\"{}|\\^`]+")
EVENT = {
    "@context", "id", "type", "actor", "action", "object", "eventTime", "profile", "edApp",
    "generated", "target", "group", "membership", "session", "extensions",
}  # fmt: skip
ONLY_1_2 = {"otherIdentifiers", "host", "ipAddress", "userAgent", "client"}

LEGAL = {
    "AssessmentEvent": ({"Started", "Submitted"}, "Assessment"),
    "AssignableEvent": ({"Submitted"}, "AssignableDigitalResource"),
    "GradeEvent": ({"Graded"}, "Attempt"),
    "NavigationEvent": ({"NavigatedTo"}, "DigitalResource"),
    "SessionEvent": ({"LoggedIn", "LoggedOut"}, "SoftwareApplication"),
    "ViewEvent": ({"Viewed"}, "DigitalResource"),
}
"""Actions and object of the types in use (§4.1); a Result may be viewed, too."""


@dataclass(frozen=True)
class EntityType:
    supertypes: tuple[str, ...]
    properties: dict[str, str]
    only_1_2: bool


@cache
def vocabulary() -> dict[str, EntityType]:
    """The table of entities."""
    with (DATA / "caliper_entities.csv").open(encoding="utf-8", newline="") as lines:
        return {
            row["entity"]: EntityType(
                tuple(row["supertypes"].split(", ")) if row["supertypes"] else (),
                dict(re.findall(r"(\w+): ([^\s,]+)", row["properties"])),
                row["since"] == "1.2",
            )
            for row in csv.DictReader(lines)
        }


def is_a(name: str, ancestor: str) -> bool:
    return name == ancestor or any(is_a(t, ancestor) for t in vocabulary()[name].supertypes)


def properties(name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for supertype in vocabulary()[name].supertypes:
        found |= properties(supertype)
    return found | vocabulary()[name].properties


@pytest.fixture
def all_entities(translation: Translation) -> list[dict[str, Any]]:
    """Every distinct entity of all events."""
    found = {
        json.dumps(entity, sort_keys=True): entity
        for event in translation.events.values()
        for where, entity in entities(event)
        if ".extensions" not in where and entity["type"] != "SystemIdentifier"
    }
    return list(found.values())


def test_the_table_of_entities_is_read() -> None:
    assert len(vocabulary()) > 60
    assert properties("Assessment")["maxScore"] == "dec"


def test_entities_have_known_types_and_properties(
    all_entities: list[dict[str, Any]], translation: Translation
) -> None:
    for entity in all_entities:
        assert IRI.fullmatch(entity["id"]), entity
        if translation.version == "v1p1":
            assert not vocabulary()[entity["type"]].only_1_2, entity
            assert not ONLY_1_2 & entity.keys(), entity
        known = properties(entity["type"])
        for key in entity.keys() - {"id", "type"}:
            assert key in known, entity
            assert _holds(known[key], entity[key]), (key, entity)


def _holds(kind: str, value: object) -> bool:
    """Whether a value is of a kind of §6."""
    if kind.startswith("["):
        return isinstance(value, list) and all(_holds(kind[1:-1], item) for item in value)
    if kind.startswith("@"):
        if isinstance(value, dict):
            return is_a(value["type"], kind[1:])
        return isinstance(value, str) and bool(IRI.fullmatch(value))
    number = isinstance(value, int) and not isinstance(value, bool)
    return {
        "str": lambda: isinstance(value, str),
        "dec": lambda: isinstance(value, float),
        "int": lambda: number,
        "nonneg": lambda: number and value >= 0,
        "dt": lambda: isinstance(value, str) and bool(TIME.fullmatch(value)),
        "dur": lambda: isinstance(value, str) and bool(DURATION.fullmatch(value)),
        "role": lambda: isinstance(value, str) and value.partition("#")[0].isalpha(),
        "status": lambda: value in ("Active", "Inactive"),
        "map": lambda: isinstance(value, dict),
        "sysid": lambda: isinstance(value, dict) and value["type"] == "SystemIdentifier",
    }[kind]()


def test_one_iri_is_one_thing_of_one_type(all_entities: list[dict[str, Any]]) -> None:
    types = defaultdict(set)
    for entity in all_entities:
        types[entity["id"]].add(entity["type"])

    assert not {iri: found for iri, found in types.items() if len(found) > 1}


def test_iris_that_are_referred_to_are_of_the_type_that_they_have_elsewhere(
    translation: Translation, all_entities: list[dict[str, Any]]
) -> None:
    types = {entity["id"]: entity["type"] for entity in all_entities}
    for entity in all_entities:
        for key, kind in properties(entity["type"]).items():
            value = entity.get(key)
            if kind.startswith("@") and isinstance(value, str) and value in types:
                assert is_a(types[value], kind[1:]), (key, entity)


def test_events_have_their_properties_and_legal_parts(translation: Translation) -> None:
    context = f"http://purl.imsglobal.org/ctx/caliper/{translation.version}"
    for event in translation.events.values():
        assert event.keys() <= EVENT
        assert event["@context"] == context
        assert ("profile" in event) == (translation.version == "v1p2")
        assert re.fullmatch(r"urn:uuid:[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}", event["id"])
        assert TIME.fullmatch(event["eventTime"])
        if event["type"] == "Event":
            continue
        actions, kind = LEGAL[event["type"]]
        assert event["action"] in actions
        viewed = event["type"] == "ViewEvent" and event["object"]["type"] == "Result"
        assert viewed or is_a(event["object"]["type"], kind)
        agents = {"Person"} | ({"SoftwareApplication"} if event["type"] == "GradeEvent" else set())
        assert event["actor"]["type"] in agents


def test_nothing_is_null_or_empty(translation: Translation) -> None:
    for row, event in translation.events.items():
        assert not [value for value in _values(event) if value in (None, "", [], {})], row


def test_events_are_written_once_and_compactly(translation: Translation) -> None:
    def once(pairs: list[tuple[str, Any]]) -> Event:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    for text in translation.table["json"].drop_null().to_pylist():
        event = json.loads(text, object_pairs_hook=once)
        assert len(text) == len(json.dumps(event, ensure_ascii=False, separators=(",", ":")))


def _values(value: object) -> Iterator[object]:
    yield value
    for item in (
        value.values() if isinstance(value, dict) else (value if isinstance(value, list) else ())
    ):
        yield from _values(item)
