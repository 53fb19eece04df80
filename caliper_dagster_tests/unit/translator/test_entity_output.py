"""Entities on their way out: without what is empty, in the wanted version, checked."""

from __future__ import annotations

import json
import math

import pytest
from msgspec import to_builtins

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.caliper.entities import (
    ENTITY_CLASSES,
    VALUE_CLASSES,
    Assessment,
    AssessmentItem,
    Attempt,
    Comment,
    Entity,
    LtiLink,
    Membership,
    Person,
    Score,
    SystemIdentifier,
)
from caliper_dagster.caliper.versions import V1P1, V1P2, VERSIONS
from caliper_dagster.translator.entity_output import InvalidEntityError, finalize, to_json

QUIZ = {"id": "https://m.example/mod/quiz/view.php?id=1", "type": "Assessment"}
IDENTIFIER = {"type": "SystemIdentifier", "identifierType": "SystemId", "identifier": "3"}
PERSON = {"id": "https://m.example/u", "type": "Person"}


def sent(entity, version=V1P2):
    text, name, _ = to_json(entity, version)
    found = json.loads(text)
    assert found["type"] == name
    return found


def test_nothing_empty_is_sent_but_zero_and_false_are():
    entity = Assessment(
        id=QUIZ["id"],
        name="",
        description=None,
        keywords=[],
        extensions={"a": {"b": None}, "zero": 0, "no": False},
        maxScore=0.0,
        maxAttempts=0,
        isPartOf=Assessment(id=QUIZ["id"], name=None),
    )
    assert sent(entity) == {
        **QUIZ,
        "extensions": {"zero": 0, "no": False},
        "maxScore": 0.0,
        "maxAttempts": 0,
        "isPartOf": QUIZ,
    }
    assert sent(AssessmentItem(id=QUIZ["id"], isTimeDependent=False))["isTimeDependent"] is False


def test_a_decimal_is_written_with_its_fraction():
    text, *_ = to_json(Score(id="https://m.example/x", maxScore=10.0), V1P2)
    assert b'"maxScore":10.0' in text


def test_1_1_has_the_ancestor_and_keeps_in_extensions_what_it_lacks():
    identifiers = [SystemIdentifier("SystemId", "3")]
    tool = LtiLink(
        id="https://m.example/mod/lti/view.php?id=1",
        name="Tool",
        messageType="LtiResourceLinkRequest",
        otherIdentifiers=identifiers,
        extensions={"own": 1},
        isPartOf=Assessment(id=QUIZ["id"], otherIdentifiers=identifiers),
    )
    assert sent(tool, V1P1) == {
        "id": tool.id,
        "type": "DigitalResource",
        "name": "Tool",
        "isPartOf": {**QUIZ, "extensions": {"otherIdentifiers": [IDENTIFIER]}},
        "extensions": {
            "own": 1,
            "messageType": "LtiResourceLinkRequest",
            "otherIdentifiers": [IDENTIFIER],
        },
    }
    assert sent(tool) == {
        "id": tool.id,
        "type": "LtiLink",
        "name": "Tool",
        "messageType": "LtiResourceLinkRequest",
        "otherIdentifiers": [IDENTIFIER],
        "extensions": {"own": 1},
        "isPartOf": {**QUIZ, "otherIdentifiers": [IDENTIFIER]},
    }


def test_what_1_1_moves_to_extensions_is_itself_in_1_1():
    comment = Comment(
        id="https://m.example/#comment-1",
        commentedOn=LtiLink(id=QUIZ["id"], messageType="LtiResourceLinkRequest"),
    )
    moved = sent(comment, V1P1)["extensions"]["commentedOn"]
    assert moved["type"] == "DigitalResource"
    assert moved["extensions"] == {"messageType": "LtiResourceLinkRequest"}


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"id": "no iri"}, "Assessment"),
        ({"id": ""}, "Assessment"),
        ({"id": "https://m.example/a b"}, "IRI"),
        ({"name": 5}, "name"),
        ({"maxScore": "10"}, "maxScore"),
        ({"maxScore": 10}, "maxScore"),
        ({"maxScore": math.nan}, "maxScore"),
        ({"maxScore": math.inf}, "maxScore"),
        ({"maxAttempts": -1}, "maxAttempts"),
        ({"maxAttempts": True}, "maxAttempts"),
        ({"dateToSubmit": "2026-01-31"}, "dateToSubmit"),
        ({"dateToSubmit": "2026-01-31T14:00:00+01:00"}, "dateToSubmit"),
        ({"items": Assessment(id=QUIZ["id"])}, "items"),
        ({"items": [Assessment(id=QUIZ["id"])]}, "items"),
        ({"isPartOf": "not an iri"}, "isPartOf"),
        ({"isPartOf": Person(id=None)}, "Person"),
        ({"creators": [Assessment(id=QUIZ["id"])]}, "creators"),
        ({"extensions": ["x"]}, "extensions"),
        ({"otherIdentifiers": [SystemIdentifier("SystemId", None)]}, "identifier"),
        ({"otherIdentifiers": [SystemIdentifier("Number", "3")]}, "identifierType"),
    ],
)
def test_what_caliper_does_not_allow_is_refused_by_name(wrong, word):
    with pytest.raises(InvalidEntityError, match=word):
        to_json(Assessment(**{"id": QUIZ["id"], **wrong}), V1P2)


@pytest.mark.parametrize(
    ("cls", "values", "legal"),
    [
        (Membership, {"roles": ["Learner", "Instructor#TeachingAssistant"]}, True),
        (Membership, {"roles": ["Learner#TeachingAssistant"]}, False),
        (Membership, {"roles": ["Student"]}, False),
        (Membership, {"status": "Active"}, True),
        (Membership, {"status": "Suspended"}, False),
        (Membership, {"member": "https://m.example/u"}, True),
        (Attempt, {"duration": "PT895S"}, True),
        (Attempt, {"duration": "PT"}, False),
        (Attempt, {"duration": "895"}, False),
        (Attempt, {"count": 1.0}, False),
        (Person, {"otherIdentifiers": [SystemIdentifier("SystemId", "3")]}, True),
        (Person, {"otherIdentifiers": ["3"]}, False),
    ],
    ids=str,
)
def test_kinds_of_values_are_checked(cls, values, legal):
    entity = cls(id="https://m.example/x", **values)
    if legal:
        assert sent(entity)["id"] == entity.id
    else:
        with pytest.raises(InvalidEntityError):
            to_json(entity, V1P2)


def test_a_refusal_holds_no_value():
    with pytest.raises(InvalidEntityError) as refusal:
        to_json(Assessment(id=QUIZ["id"], dateToSubmit="Ada's secret"), V1P2)
    assert "Ada" not in str(refusal.value)


WILD = (
    "", "text", "https://m.example/x", "http://purl.imsglobal.org/caliper/Person", "Active",
    "2026-01-31T14:05:00.000Z", "PT5S", 0, 1, -1, 2.5, math.nan, True, [], ["a"], [""], {},
    {"a": 1}, {"a": None}, {"a": {"b": ""}}, ["Learner"], Person(id="https://m.example/u"),
    [Person(id="https://m.example/u")], Person(id="no iri"), Assessment(id=QUIZ["id"], name=""),
    LtiLink(id=QUIZ["id"]), Attempt(id=QUIZ["id"], assignee=LtiLink(id=QUIZ["id"])),
    SystemIdentifier("SystemId", "3"), [SystemIdentifier("SystemId", "")],
)  # fmt: skip


def _one_of_each_kind():
    """A class and a property for each kind of value, of old and of new types."""
    found = {}
    for name in ENTITY_CLASSES:
        for key, kind in vocabulary.properties(name).items():
            old = vocabulary.exists(name, V1P1), vocabulary.has_property(key, V1P1)
            found.setdefault((kind, *old), (name, key))
    return found.values()


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize(("name", "key"), [*_one_of_each_kind(), ("Entity", "id")])
def test_whatever_a_property_holds_is_valid_or_refused(name, key, version):
    """The quick look never lets pass what the rules for whole documents refuse.

    Only references are beyond it: it sees one entity at a time.
    """
    for value in WILD:
        entity = ENTITY_CLASSES[name](**{"id": "https://m.example/x", key: value})
        try:
            text, *_ = to_json(entity, version)
        except InvalidEntityError:
            continue
        document = json.loads(text)
        problems = validate({"@context": version.context, **document}, strict=True)
        assert [problem for problem in problems if problem.rule != "reference"] == []
        assert document == finalize(entity, version)


@pytest.mark.parametrize("cls", [*ENTITY_CLASSES.values(), *VALUE_CLASSES.values()])
def test_an_object_without_values_writes_none(cls):
    needed = {"id": "https://m.example/x"} if issubclass(cls, Entity) else {}
    if cls is SystemIdentifier:
        needed = {"identifierType": "SystemId", "identifier": "3"}
    assert to_builtins(cls(**needed)) == {"type": cls.__name__, **needed}
