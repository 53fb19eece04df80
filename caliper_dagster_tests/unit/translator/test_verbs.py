"""Verbs and objects that experts would choose, and forms that no reader refuses."""

from __future__ import annotations

from typing import Any

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster_tests.unit.caliper.documents import EVENT, V1P2, VIEW
from caliper_dagster_tests.unit.translator.golden import ASSIGN, ATTEMPT, QUIZ
from caliper_dagster_tests.unit.translator.support import TEACHER, W, event

VERSIONS = ("v1p2", "v1p1")
SITE = {"type": "SoftwareApplication", "id": W, "version": "4.5.6"}
ADA_ID = f"{W}/user/profile.php?id=3"
PACKAGE = f"{W}/mod/scorm/view.php?id=16"

IN_MODULE = {"contextlevel": 70, "crud": "r"}
SCORM: dict[str, Any] = IN_MODULE | {
    "eventname": r"\mod_scorm\event\sco_launched",
    "component": "mod_scorm",
    "contextinstanceid": 16,
    "module": {"id": 16, "modname": "scorm", "instance": 7},
    "objecttable": "scorm_scoes",
    "objectid": 90,
    "object": {"id": 90, "attempt": 2, "first": True},
}
STATUS = SCORM | {
    "eventname": r"\mod_scorm\event\status_submitted",
    "objecttable": "scorm_scoes_value",
    "relateduserid": 3,
    "object": {"id": 90, "attempt": 2},
}
REVIEWED: dict[str, Any] = IN_MODULE | {
    "eventname": r"\mod_quiz\event\attempt_reviewed",
    "component": "mod_quiz",
    "contextinstanceid": 11,
    "module": QUIZ,
    "objecttable": "quiz_attempts",
    "objectid": 50,
    "relateduserid": 3,
    "object": {**ATTEMPT, "sumgrades": 4.0},
}
OVERDUE = REVIEWED | {"eventname": r"\mod_quiz\event\attempt_becameoverdue", "crud": "u"}
REGRADED = REVIEWED | {
    "eventname": r"\mod_quiz\event\attempt_regraded",
    "userid": 4,
    "user": TEACHER,
    "user_membership": None,
}
FEEDBACK = IN_MODULE | {
    "eventname": r"\mod_assign\event\feedback_viewed",
    "component": "mod_assign",
    "contextinstanceid": 12,
    "module": ASSIGN,
    "objecttable": "assign_grades",
    "objectid": 90,
    "object": {"id": 90, "userid": 3, "grade": 80.0, "attemptnumber": 0},
}
IN_COURSE = {"objecttable": "course", "objectid": 2, "object": None, "crud": "c"}
BACKUP = IN_COURSE | {"eventname": r"\core\event\course_backup_created"}
EMPTIED = IN_COURSE | {"eventname": r"\core\event\course_content_deleted"}
CALLED: dict[str, Any] = {
    "eventname": r"\core\event\webservice_function_called",
    "contextlevel": 10,
    "courseid": 0,
    "course": None,
    "user_membership": None,
    "other": {"function": "core_user_get_users"},
}
FAILED = CALLED | {"eventname": r"\core\event\user_login_failed", "other": {"reason": 3}}


def said(row: dict[str, Any], **options: Any) -> tuple[str, str, str, str]:
    """Type, action, actor and object of the event of a row."""
    found = event(row, **options)
    assert not validate(found, strict=True)
    return found["type"], found["action"], found["actor"]["id"], found["object"]["id"]


def test_the_first_launch_of_a_package_starts_its_attempt():
    assert said(SCORM) == ("AssignableEvent", "Started", ADA_ID, PACKAGE)
    assert event(SCORM)["generated"]["id"] == f"{PACKAGE}#user-3-attempt-2"


@pytest.mark.parametrize("record", [None, {"id": 90}, {"id": 90, "attempt": 2, "first": False}])
def test_a_later_launch_is_navigation(record):
    player = f"{W}/mod/scorm/player.php?cm=16&scoid=90"
    assert said(SCORM | {"object": record}) == ("NavigationEvent", "NavigatedTo", ADA_ID, player)


@pytest.mark.parametrize(
    ("status", "verb"),
    [
        ("completed", "Completed"),
        ("passed", "Completed"),
        ("failed", "Completed"),
        ("incomplete", "Modified"),
        ("browsed", "Modified"),
    ],
)
def test_only_a_package_that_is_done_is_completed(status, verb):
    row = STATUS | {"other": {"attemptid": 2, "cmielement": "cmi.core.x", "cmivalue": status}}
    found = event(row)
    assert found["action"] == verb
    if verb == "Modified":
        assert (found["object"]["type"], found["target"]["id"]) == ("Attempt", PACKAGE)


def test_a_call_of_a_web_service_is_the_use_of_a_tool():
    service = f"{W}/webservice#core_user_get_users"
    assert said(CALLED) == ("ToolUseEvent", "Used", ADA_ID, service)


def test_the_site_declines_a_log_in():
    assert said(FAILED) == ("Event", "Declined", W, W)
    assert event(FAILED)["target"] == {"type": "Person", "id": ADA_ID}
    assert "target" not in event(FAILED | {"userid": 0, "user": None})
    assert said(FAILED, version="v1p1") == ("Event", "Abandoned", W, W)


def test_the_site_lets_an_attempt_become_overdue_and_regrades():
    assert said(OVERDUE)[:3] == ("Event", "TimedOut", W)
    regraded = event(REGRADED)
    assert (regraded["actor"]["id"], regraded["generated"]["scoredBy"]) == (W, W)


def test_a_backup_creates_a_file():
    course = f"{W}/course/view.php?id=2"
    assert said(BACKUP) == ("Event", "Created", ADA_ID, course)
    file = event(BACKUP)["generated"]
    assert (file["type"], file["id"]) == ("Document", f"{course}#backup-1001")
    assert said(EMPTIED)[:2] == ("Event", "Modified")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_review_is_a_view_of_the_quiz(version):
    found = event(REVIEWED, version=version)
    review = f"{W}/mod/quiz/review.php?attempt=50"
    assert (found["type"], found["object"]["id"]) == (
        "ViewEvent",
        f"{W}/mod/quiz/view.php?id=11",
    )
    assert found["target"] == {"type": "Frame", "id": f"{review}#page", "isPartOf": review}
    assert found["extensions"]["moodle"]["result"] == {"resultScore": 8.0, "maxResultScore": 10.0}


@pytest.mark.parametrize("version", VERSIONS)
def test_feedback_is_a_part_of_the_assignment(version):
    found = event(FEEDBACK, version=version)
    page = f"{W}/mod/assign/view.php?id=12"
    assert (found["type"], found["object"]["id"]) == ("ViewEvent", page)
    assert found["target"] == {"type": "Frame", "id": f"{page}#feedback-90", "isPartOf": page}
    assert found["extensions"]["moodle"]["result"] == {"resultScore": 80.0, "maxResultScore": 100.0}


def test_validate_finds_what_readers_refuse():
    viewed = VIEW | {"object": {"id": f"{W}/#result", "type": "Result"}}
    viewed |= {"profile": "GradingProfile"}
    assert not validate(viewed)
    assert [problem.path for problem in validate(viewed, strict=True)] == ["/object"]
    answer = {"@context": V1P2, "id": f"{W}/#answer", "type": "OpenEndedResponse"}
    assert not validate(answer)
    assert [problem.path for problem in validate(answer, strict=True)] == ["/value"]
    assert not validate(answer | {"value": "So."}, strict=True)
    assert not validate(EVENT, strict=True)
