"""Who acted (rules R1 and R2), and who else is named."""

from __future__ import annotations

import json

import pytest

from caliper_dagster.translator import Translator
from caliper_dagster.translator.example import example_row, example_table
from caliper_dagster_tests.unit.translator.golden import ROWS
from caliper_dagster_tests.unit.translator.support import (
    ADA,
    RECIPES,
    STUDENT,
    TEACHER,
    W,
    event,
    member,
)

ANONYMOUS = {"id": "http://purl.imsglobal.org/caliper/Person", "type": "Person"}
MOODLE = {"id": W, "type": "SoftwareApplication", "version": "4.5.6"}
SITE = {"id": W, "type": "SoftwareApplication"}


def person(user: int) -> dict:
    return {"id": f"{W}/user/profile.php?id={user}", "type": "Person"}


def actor(found: dict) -> dict:
    """The actor of an event by id and type."""
    return {key: found["actor"][key] for key in ("id", "type")}


AS_ADA = {"realuserid": 4, "realuser": TEACHER}
GUEST = {"id": 3, "username": "guest", "deleted": 0, "guest": 1}
SYSTEM = {"userid": -1, "user": None, "user_membership": None}


@pytest.mark.parametrize(
    ("row", "expected", "extensions"),
    [
        ({}, person(3), {}),
        (AS_ADA, person(4), {"actingAs": person(3)}),
        ({**AS_ADA, "origin": "cli"}, person(4), {"actingAs": person(3)}),
        ({"anonymous": 1}, ANONYMOUS, {}),
        ({**AS_ADA, "anonymous": 1}, ANONYMOUS, {}),
        ({"anonymous": 1, "origin": "cli"}, ANONYMOUS, {}),
        ({**SYSTEM, "anonymous": 1}, ANONYMOUS, {}),
        ({"userid": 0}, ANONYMOUS, {}),
        ({"user": GUEST}, ANONYMOUS, {}),
        (SYSTEM, SITE, {}),
        ({**SYSTEM, "userid": -20}, SITE, {}),
        ({"origin": "cli"}, SITE, {"runAs": person(3)}),
        ({"origin": "cli", "userid": 0}, SITE, {}),
        ({"origin": "ws"}, person(3), {}),
        ({"origin": "restore"}, person(3), {}),
        ({"origin": None}, person(3), {}),
        ({"realuserid": 0}, person(3), {}),
    ],
    ids=str,
)
def test_the_actor_is_who_really_acted(row, expected, extensions):
    found = event(row)
    assert actor(found) == expected
    assert {key: found["extensions"].get(key) for key in ("actingAs", "runAs")} == {
        "actingAs": None, "runAs": None, **extensions
    }  # fmt: skip


def test_what_only_persons_do_is_a_plain_event_when_the_site_does_it():
    by_site, by_ada = event({"origin": "cli"}), event({})
    assert (by_ada["type"], by_ada["profile"]) == ("NavigationEvent", "ReadingProfile")
    assert (by_site["type"], by_site["profile"]) == ("Event", "GeneralProfile")
    assert by_site["action"] == by_ada["action"]
    assert by_site["object"] == by_ada["object"]
    assert "membership" not in by_site


def test_an_anonymous_row_names_nobody_anywhere():
    everything = {
        "anonymous": 1, "relateduserid": 5, **AS_ADA, "relateduser": {**ADA, "id": 5},
        "user_membership": member(3, STUDENT), "realuser_membership": member(4, STUDENT),
        "session": {"id": 1, "timecreated": 1, "user": 3}, "ip": "198.51.100.7",
        "other": {"submitterid": "3", "quizid": "70"},
    }  # fmt: skip
    for name in ("course_viewed", "submitted", "reviewed", "handed_in", "graded", "report"):
        found = event({**ROWS[name], **everything}, ip_addresses=True, person_names=True)
        assert found["actor"] == ANONYMOUS
        assert not {"membership", "session"} & found.keys()
        written = json.dumps(found)
        for trace in ("/user/profile.php", "/user/view.php", "198.51", "Ada", "logId", "user-"):
            assert trace not in written, (name, trace)


@pytest.mark.parametrize("version", ["v1p2", "v1p1"])
def test_an_anonymous_row_of_any_event_names_nobody_by_object_or_context(version):
    hidden = {"id": 7, "userid": 987654, "authorid": 987654}
    rows = [
        example_row(
            name, id=number, anonymous=1, userid=987654, relateduserid=987654, realuserid=987654,
            objecttable="user", objectid=987654, contextlevel=30, contextinstanceid=987654,
            object=hidden, other={"userid": 987654, "itemtype": "user", "itemid": 987654},
            user_membership=None, courseid=0, ip="9.8.7.6",
        )
        for number, name in enumerate(
            [*sorted(RECIPES.exact), r"\mod_zoom\event\x_viewed", r"\x\event\y_deleted", ""]
        )
    ]  # fmt: skip
    translator = Translator(W, version=version, ip_addresses=True, recipes=RECIPES)
    outcomes = translator.translate(example_table(rows)).to_pylist()
    assert len(outcomes) >= len(rows)
    for outcome in outcomes:
        assert outcome["outcome"] in {"event", "derived"}, (
            outcome["event_name"],
            outcome["reason"],
        )
        assert "987654" not in outcome["json"], outcome["event_name"]
        assert "9.8.7.6" not in outcome["json"]


def test_the_learner_submits_whoever_triggered_it():
    by_teacher = event({**ROWS["submitted"], "userid": 4, "user": TEACHER, "origin": "web"})
    assert actor(by_teacher) == person(3)
    assert by_teacher["extensions"]["triggeredBy"] == person(4)
    assert by_teacher["membership"]["member"] == person(3)["id"]
    by_cron = event(ROWS["submitted"])
    assert actor(by_cron) == person(3)
    assert by_cron["extensions"]["triggeredBy"] == SITE
    by_ada = event({**ROWS["submitted"], "userid": 3, "user": ADA, "origin": "web"})
    assert actor(by_ada) == person(3)
    assert "triggeredBy" not in by_ada["extensions"]


@pytest.mark.parametrize(
    ("row", "grader"),
    [
        ({}, person(4)),
        ({"userid": 3, "user": ADA}, SITE),
        ({"userid": 0, "user": None}, SITE),
        ({"userid": -1, "user": None}, SITE),
        ({"origin": "cli"}, SITE),
        ({"userid": 3, "user": ADA, **AS_ADA}, person(4)),
    ],
    ids=["teacher", "learner", "nobody", "system", "script", "teacher as learner"],
)
def test_an_automatic_grade_is_the_sites(row, grader):
    found = event({**ROWS["graded"], **row})
    assert actor(found) == grader
    assert (found["type"], found["action"]) == ("GradeEvent", "Graded")
    assert found["generated"]["scoredBy"] == grader["id"]
    assert found["object"]["assignee"] == person(3)


def test_the_guest_account_is_nobody_with_the_roles_of_a_guest():
    found = event({"user": GUEST, "user_membership": member(3, guest=1)})
    assert found["actor"] == ANONYMOUS
    assert found["membership"] == {
        "id": "http://purl.imsglobal.org/caliper/Membership",
        "type": "Membership",
        "member": ANONYMOUS,
        "organization": f"{W}/course/view.php?id=2",
        "roles": ["Learner", "Learner#GuestLearner"],
        "status": "Active",
    }


def test_a_session_is_only_said_to_be_its_owners():
    session = {"id": 1, "timecreated": 1_769_860_000, "user": 4}
    assert "session" not in event({"session": session})
    assert event({**AS_ADA, "session": session})["session"]["user"] == person(4)["id"]


def test_the_application_is_the_site_with_its_release():
    assert event(SYSTEM)["actor"] == event({})["edApp"] == MOODLE
