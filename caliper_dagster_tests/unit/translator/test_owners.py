"""Whose attempt or submission the object of a row is, where its record is gone."""

from __future__ import annotations

import pytest

from caliper_dagster_tests.unit.translator.golden import ROWS
from caliper_dagster_tests.unit.translator.support import W, event

QUIZ = {**ROWS["reviewed"], "relateduserid": 7, "userid": 4, "object": None}
AUTOSAVED = {**QUIZ, "eventname": r"\mod_quiz\event\attempt_autosaved"}
ASSESSED = {
    "eventname": r"\mod_workshop\event\submission_assessed",
    "component": "mod_workshop",
    "objecttable": "workshop_assessments",
    "objectid": 105,
    "other": {"submissionid": 5},
    "userid": 4,
    "relateduserid": 7,
}
SUBMITTED = {
    "eventname": r"\mod_assign\event\assessable_submitted",
    "component": "mod_assign",
    "objecttable": "assign_submission",
    "objectid": 9,
    "userid": 4,
    "relateduserid": 7,
}


def person(user: int) -> dict[str, str]:
    return {"id": f"{W}/user/profile.php?id={user}", "type": "Person"}


def attempts(found: dict) -> list[dict]:
    """The attempts that an event describes."""
    return [
        found[slot]
        for slot in ("object", "generated")
        if found.get(slot, {}).get("type") == "Attempt"
    ]


@pytest.mark.parametrize("row", [AUTOSAVED, ASSESSED, SUBMITTED])
def test_the_related_user_owns_an_object_whose_record_is_gone(row):
    assert [attempt["assignee"] for attempt in attempts(event(row))] == [person(7)]


@pytest.mark.parametrize("row", [AUTOSAVED, ASSESSED, SUBMITTED])
def test_a_script_confirms_no_owner(row):
    found = event({**row, "origin": "cli"})
    assert [attempt.get("assignee") for attempt in attempts(found)] == [None]
    assert found["extensions"]["relatedUser"] == person(7)


@pytest.mark.parametrize("row", [AUTOSAVED, ASSESSED, SUBMITTED])
def test_a_script_that_acts_as_the_learner_confirms_the_learner(row):
    found = event({**row, "origin": "cli", "userid": 7})
    assert [attempt["assignee"] for attempt in attempts(found)] == [person(7)]


def test_the_record_tells_the_owner_whoever_wrote_the_row():
    found = event({**AUTOSAVED, "object": {"id": 12, "userid": 8}, "origin": "cli"})
    assert found["object"]["assignee"] == person(8)
    assert found["extensions"]["relatedUser"] == person(7)
