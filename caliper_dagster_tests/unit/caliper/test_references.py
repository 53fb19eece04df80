"""References to entities agree with what is said of them, in a document and across documents."""

from __future__ import annotations

from typing import Any

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.caliper.references import References
from caliper_dagster_tests.unit.caliper.documents import (
    ANONYMOUS,
    ASSIGNMENT,
    ENVELOPE,
    EVENT,
    V1P2,
    VIEW,
    changed,
    in_1_1,
)

GROUP = "https://moodle.example/group/index.php?id=2&group=5"
ATTEMPT = EVENT["object"]["id"]
TEAM = {"id": GROUP, "type": "Group"}
LEARNER = "https://moodle.example/user/profile.php?id=4"


def findings(*documents: dict[str, Any]) -> list[tuple[str, str]]:
    """Path and sentence of each problem; earlier documents are known to later ones."""
    known = References()
    return [
        (problem.path, problem.sentence)
        for document in documents
        for problem in validate(document, references=known)
    ]


def test_a_team_is_no_assignee_although_only_its_iri_is_given():
    team = changed(EVENT, "object/assignee", GROUP) | {"group": TEAM}
    assert findings(team) == [
        ("/group/id", "a Group: Attempt.assignee references it and must be a Person")
    ]


def test_what_is_described_first_is_known_where_it_is_referenced():
    score = changed(EVENT, "generated/attempt", EVENT["membership"]["id"])
    described_first = {"membership": EVENT["membership"], **score}
    assert findings(described_first) == [
        ("/generated/attempt", "Score.attempt must be an Attempt, and references a Membership")
    ]


def test_an_entity_of_the_extensions_is_described_too():
    team = changed(EVENT, "object/assignee", GROUP)
    team["extensions"] = {"moodle": {"group": TEAM}}
    assert findings(team) == [
        (
            "/extensions/moodle/group/id",
            "a Group: Attempt.assignee references it and must be a Person",
        )
    ]


def test_one_iri_has_one_type():
    page = changed(EVENT, "generated/id", ATTEMPT)
    assert findings(page) == [("/generated/id", "a Score has the IRI of an Attempt")]


def test_a_subtype_fits_a_reference():
    assert findings(VIEW, changed(VIEW, "object/isPartOf", GROUP) | {"group": TEAM}) == []


def test_the_membership_is_the_actors():
    wrong = changed(EVENT, "membership/member", LEARNER)
    assert findings(wrong) == [
        ("/membership/member", "the member of the membership is not the actor")
    ]
    anonymous = changed(EVENT, "membership/member", ANONYMOUS)
    assert findings(anonymous) == []


@pytest.mark.parametrize("assignee", [LEARNER[:-1] + "5", {"id": LEARNER + "5", "type": "Person"}])
def test_an_attempt_has_one_assignee(assignee):
    other = changed(EVENT, "object/assignee", assignee)
    assert findings(EVENT, EVENT) == []
    assert findings(EVENT, other) == [("/object/assignee", "the Attempt has two assignees")]


def test_a_document_contradicts_an_earlier_one():
    described = {"@context": V1P2, **TEAM}
    team = changed(EVENT, "object/assignee", GROUP)
    referenced = "Attempt.assignee must be a Person, and references a Group"
    assert findings(described, team) == [("/object/assignee", referenced)]
    assert findings(team, described) == [
        ("/id", "a Group: Attempt.assignee references it and must be a Person")
    ]
    assert findings(team) == findings(described) == []


def test_what_an_envelope_carries_agrees_too():
    other = changed(EVENT, "object/assignee", LEARNER + "5")
    envelope = ENVELOPE | {"data": [EVENT, other]}
    assert findings(envelope) == [("/data/1/object/assignee", "the Attempt has two assignees")]


def test_another_version_may_have_another_type():
    survey = changed(VIEW, "object/type", "Questionnaire") | {"profile": "SurveyProfile"}
    older = in_1_1(changed(VIEW, "object/type", "DigitalResource"))
    assert findings(survey, older) == []
    page = changed(VIEW, "object/type", "WebPage")
    assert findings(survey, page) == [("/object/id", "a WebPage has the IRI of a Questionnaire")]


def test_anonymous_ids_name_nobody():
    first = changed(EVENT, "object/assignee", ANONYMOUS)
    assert findings(EVENT, first) == []
    assert ASSIGNMENT in str(EVENT)


def test_types_known_beforehand_count():
    known = References({GROUP: "Group"})
    (problem,) = validate(changed(EVENT, "object/assignee", GROUP), references=known)
    assert (problem.path, problem.rule) == ("/object/assignee", "reference")
