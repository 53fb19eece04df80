"""Many entities are checked and written together, each as it would be alone."""

from __future__ import annotations

from typing import Any

import pytest

from caliper_dagster.caliper.entities import Assessment, Attempt, Entity, Person, SystemIdentifier
from caliper_dagster.caliper.versions import V1P1, V1P2, VERSIONS, Version
from caliper_dagster.translator.entity_output import (
    EntityOutput,
    InvalidEntityError,
    all_to_json,
    to_json,
)
from caliper_dagster.translator.renderer import in_bulk

SITE = "https://m.example"
PERSON = Person(id=f"{SITE}/user?id=3", otherIdentifiers=[SystemIdentifier("SystemId", "3")])
VALID = [
    Attempt(id=f"{SITE}/a?id=1", assignee=PERSON, assignable=f"{SITE}/q", count=1),
    Attempt(id=f"{SITE}/a?id=2", assignee=PERSON, count=2, duration="PT3S"),
    Attempt(id="http://purl.imsglobal.org/caliper/Attempt", count=2),
    Attempt(id=f"{SITE}/ä", assignable=Assessment(id=f"{SITE}/q", name="", maxScore=5.0)),
    Attempt(id=f"{SITE}/a?id=3", extensions={"a": None, "b": "line\nend"}),
    Assessment(id=f"{SITE}/q", name="Ada's\nquiz", maxScore=10.0, maxAttempts=3),
]
WRONG: list[dict[str, Any]] = [
    {"id": None},
    {"id": f"{SITE}/a b"},
    {"id": f"{SITE}/a\n{SITE}/b"},
    {"count": True},
    {"count": 1.0},
    {"duration": "3 s"},
    {"startedAtTime": "2026-01-31"},
    {"assignee": "nobody"},
    {"assignee": Assessment(id=f"{SITE}/q")},
    {"assignee": Person(id="nobody")},
    {"assignable": Assessment(id=f"{SITE}/q", maxScore=5)},
]


def alone(entity: Entity, version: Version) -> EntityOutput | str:
    try:
        return to_json(entity, version)
    except InvalidEntityError as error:
        return str(error)


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_together_they_are_written_as_alone(version: Version) -> None:
    outputs = all_to_json(VALID, version)
    together = [EntityOutput(*output) for output in zip(*outputs, strict=True)]
    assert together == [alone(entity, version) for entity in VALID]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_one_that_is_not_valid_fails_and_no_other(wrong: dict[str, Any]) -> None:
    entity = Attempt(**{"id": f"{SITE}/a?id=4", "count": 1, **wrong})
    entities = [*VALID, entity, *VALID, entity]
    for version in (V1P1, V1P2):
        made = in_bulk(lambda some, version=version: all_to_json(some, version).json, entities)
        texts = [str(one) if isinstance(one, Exception) else one for one in made]
        expected = [alone(one, version) for one in entities]
        assert texts == [one if isinstance(one, str) else one.json for one in expected]
        assert sum(isinstance(one, InvalidEntityError) for one in made) == 2


def test_of_none_nothing_is_made() -> None:
    assert all_to_json([], V1P2) == ([], [], [])
