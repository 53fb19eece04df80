"""Attempts of teams: a Person is the assignee, and the team's attempt is above the members'."""

from __future__ import annotations

from typing import Any

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.caliper.references import References
from caliper_dagster_tests.unit.translator.golden import ASSIGN
from caliper_dagster_tests.unit.translator.support import ADA, TEACHER, TIME, W, event

PAGE = f"{W}/mod/assign/view.php?id=12"
TEAM = f"{PAGE}#submission-95"
GROUP = f"{W}/group/index.php?id=2&group=6"

SUBMISSION = {
    "id": 95, "assignment": 71, "userid": 0, "groupid": 6, "attemptnumber": 0,
    "status": "submitted", "timecreated": TIME - 60, "members": [3, 5],
}  # fmt: skip
SUBMITTED: dict[str, Any] = {
    "eventname": r"\mod_assign\event\assessable_submitted",
    "component": "mod_assign",
    "target": "assessable",
    "action": "submitted",
    "objecttable": "assign_submission",
    "objectid": 95,
    "crud": "u",
    "contextlevel": 70,
    "contextinstanceid": 12,
    "userid": 3,
    "user": ADA,
    "module": ASSIGN,
    "object": SUBMISSION,
}
GRADED: dict[str, Any] = SUBMITTED | {
    "id": 1002,
    "eventname": r"\mod_assign\event\submission_graded",
    "objecttable": "assign_grades",
    "objectid": 90,
    "userid": 4,
    "user": TEACHER,
    "user_membership": None,
    "relateduserid": 5,
    "relateduser": {"id": 5},
    "object": {"id": 90, "userid": 5, "grade": 80.0, "attemptnumber": 0, "submission": SUBMISSION},
}
VERSIONS = ("v1p2", "v1p1")


def user(number: int) -> str:
    return f"{W}/user/profile.php?id={number}"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_member_who_submits_has_an_attempt_in_that_of_the_team(version):
    attempt = event(SUBMITTED, version=version)["generated"]
    assert (attempt["id"], attempt["assignee"]["id"]) == (f"{TEAM}-user-3", user(3))
    assert attempt["isPartOf"] == {
        "type": "Attempt",
        "id": TEAM,
        "assignable": PAGE,
        "count": 1,
        "extensions": {
            "moodle": {"group": {"type": "Group", "id": GROUP, "members": [user(3), user(5)]}}
        },
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_the_grade_of_a_member_is_on_his_attempt(version):
    graded = event(GRADED, version=version)
    assert (graded["object"]["id"], graded["object"]["assignee"]["id"]) == (
        f"{TEAM}-user-5",
        user(5),
    )
    assert graded["object"]["isPartOf"]["id"] == TEAM
    assert graded["generated"]["attempt"] == graded["object"]["id"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_events_of_a_team_agree(version):
    known = References()
    other = {"userid": 5, "user": None, "user_membership": None}
    rows = (SUBMITTED, SUBMITTED | other, GRADED)
    for row in rows:
        assert not validate(event(row, version=version), strict=True, references=known)


def test_a_team_has_no_assignee_where_none_of_its_members_acts():
    row = SUBMITTED | {"eventname": r"\mod_assign\event\submission_status_updated"}
    attempt = event(row | {"userid": 4, "user": TEACHER, "user_membership": None})["object"]
    assert (attempt["id"], attempt.get("assignee")) == (TEAM, None)


def test_the_default_team_has_no_group():
    own = {key: value for key, value in SUBMISSION.items() if key != "members"} | {"groupid": 0}
    attempt = event(SUBMITTED | {"object": own})["generated"]
    assert attempt["id"] == f"{TEAM}-user-3"
    assert attempt["isPartOf"] == {"type": "Attempt", "id": TEAM, "assignable": PAGE, "count": 1}


def test_an_older_stored_hour_does_not_know_the_members():
    own = {key: value for key, value in SUBMISSION.items() if key != "members"}
    whole = event(SUBMITTED | {"object": own})["generated"]["isPartOf"]
    assert whole["extensions"] == {"moodle": {"group": {"type": "Group", "id": GROUP}}}
