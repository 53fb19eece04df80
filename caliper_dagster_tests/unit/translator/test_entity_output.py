"""Entities on their way out: cleaned, in the wanted version, checked."""

from __future__ import annotations

import pytest

from caliper_dagster.translator.entity_output import InvalidEntityError, finish

QUIZ = {"id": "https://m.example/mod/quiz/view.php?id=1", "type": "Assessment"}
IDENTIFIER = {"type": "SystemIdentifier", "identifierType": "SystemId", "identifier": "3"}


def test_nothing_empty_is_sent_but_zero_and_false_are():
    entity = {
        **QUIZ,
        "name": "",
        "description": None,
        "keywords": [],
        "extensions": {"a": {"b": None}, "zero": 0, "no": False},
        "maxScore": 0.0,
        "isPartOf": {**QUIZ, "name": None},
    }
    assert finish(entity, "v1p2") == {
        **QUIZ,
        "extensions": {"zero": 0, "no": False},
        "maxScore": 0.0,
        "isPartOf": QUIZ,
    }


def test_1_1_has_the_ancestor_and_keeps_in_extensions_what_it_lacks():
    tool = {
        "id": "https://m.example/mod/lti/view.php?id=1",
        "type": "LtiLink",
        "name": "Tool",
        "messageType": "LtiResourceLinkRequest",
        "otherIdentifiers": [IDENTIFIER],
        "extensions": {"own": 1},
        "isPartOf": {**QUIZ, "otherIdentifiers": [IDENTIFIER]},
    }
    assert finish(tool, "v1p1") == {
        "id": tool["id"],
        "type": "DigitalResource",
        "name": "Tool",
        "isPartOf": {**QUIZ, "extensions": {"otherIdentifiers": [IDENTIFIER]}},
        "extensions": {
            "own": 1,
            "messageType": "LtiResourceLinkRequest",
            "otherIdentifiers": [IDENTIFIER],
        },
    }
    assert finish(tool, "v1p2") == tool


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"type": "Quiz"}, "Quiz"),
        ({"id": "no iri"}, "Assessment"),
        ({"id": ""}, "Assessment"),
        ({"id": "https://m.example/a b"}, "IRI"),
        ({"colour": "red"}, "colour"),
        ({"name": 5}, "name"),
        ({"maxScore": "10"}, "maxScore"),
        ({"maxScore": 10}, "maxScore"),
        ({"maxAttempts": -1}, "maxAttempts"),
        ({"maxAttempts": True}, "maxAttempts"),
        ({"dateToSubmit": "2026-01-31"}, "dateToSubmit"),
        ({"dateToSubmit": "2026-01-31T14:00:00+01:00"}, "dateToSubmit"),
        ({"items": QUIZ}, "items"),
        ({"items": [QUIZ]}, "items"),
        ({"isPartOf": "not an iri"}, "isPartOf"),
        ({"isPartOf": {"type": "Person"}}, "Person"),
        ({"creators": [QUIZ]}, "creators"),
        ({"extensions": ["x"]}, "extensions"),
    ],
)
def test_what_caliper_does_not_allow_is_refused_by_name(wrong, word):
    with pytest.raises(InvalidEntityError, match=word):
        finish({**QUIZ, **wrong}, "v1p2")


@pytest.mark.parametrize(
    ("entity", "legal"),
    [
        ({"type": "Membership", "roles": ["Learner", "Instructor#TeachingAssistant"]}, True),
        ({"type": "Membership", "roles": ["Learner#TeachingAssistant"]}, False),
        ({"type": "Membership", "roles": ["Student"]}, False),
        ({"type": "Membership", "status": "Active"}, True),
        ({"type": "Membership", "status": "Suspended"}, False),
        ({"type": "Membership", "member": "https://m.example/u"}, True),
        ({"type": "Attempt", "duration": "PT895S"}, True),
        ({"type": "Attempt", "duration": "PT"}, False),
        ({"type": "Attempt", "duration": "895"}, False),
        ({"type": "Attempt", "count": 1.0}, False),
        ({"type": "Person", "otherIdentifiers": [IDENTIFIER]}, True),
        ({"type": "Person", "otherIdentifiers": ["3"]}, False),
    ],
    ids=str,
)
def test_kinds_of_values_are_checked(entity, legal):
    whole = {"id": "https://m.example/x", **entity}
    if legal:
        assert finish(whole, "v1p2") == whole
    else:
        with pytest.raises(InvalidEntityError):
            finish(whole, "v1p2")


def test_a_refusal_holds_no_value():
    with pytest.raises(InvalidEntityError) as refusal:
        finish({**QUIZ, "dateToSubmit": "Ada's secret"}, "v1p2")
    assert "Ada" not in str(refusal.value)
