"""Rules of mapping.md for rows that the real site's log does not hold."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.translator import Translator
from caliper_dagster.translator.roles import caliper_roles

SITE = "https://moodle.example.edu"
NOBODY = {"id": "http://purl.imsglobal.org/caliper/Person", "type": "Person"}
COURSE_MODULE = {"id": 9, "modname": "resource", "activity": {"name": "A thing"}}


def person(number: int) -> str:
    return f"{SITE}/user/profile.php?id={number}"


def translate(eventname: str, **columns: Any) -> dict[str, Any]:
    """The event of one expanded row; records as dicts."""
    row = {
        "id": 1, "eventname": eventname, "component": eventname.split("\\")[1], "edulevel": 2,
        "crud": "r", "contextid": 3, "contextlevel": 70, "contextinstanceid": 9, "userid": 5,
        "courseid": 2, "anonymous": 0, "timecreated": 1_800_000_000, "origin": "web", **columns,
    }  # fmt: skip
    values = [
        json.dumps(value) if isinstance(value := row.get(name), dict | list) else value
        for name in EXPANDED_LOG.schema.names
    ]
    table = pa.table(
        [
            pa.array([value], field.type.value_type).dictionary_encode()
            if pa.types.is_dictionary(field.type)
            else pa.array([value], field.type)
            for field, value in zip(EXPANDED_LOG.schema, values, strict=True)
        ],
        schema=EXPANDED_LOG.schema,
    )
    (result,) = Translator(SITE).translate(table).to_pylist()
    assert result["outcome"] == "event", result["reason"]
    return json.loads(result["json"])


def graded(**columns: Any) -> dict[str, Any]:
    record = {"id": 7, "userid": 6, "grade": 12.0, "attemptnumber": 0, "submission": {"id": 70}}
    return translate(
        r"\mod_assign\event\submission_graded",
        objecttable="assign_grades",
        objectid=7,
        relateduserid=6,
        object=record,
        **columns,
    )


def submitted(**columns: Any) -> dict[str, Any]:
    return translate(
        r"\mod_quiz\event\attempt_submitted",
        objecttable="quiz_attempts",
        objectid=8,
        relateduserid=6,
        **columns,
    )


@pytest.mark.parametrize(
    ("archetypes", "more", "expected"),
    [
        (["student"], {}, ["Learner"]),
        (["editingteacher"], {}, ["Instructor"]),
        (["teacher"], {}, ["Instructor", "Instructor#TeachingAssistant"]),
        (["manager"], {}, ["Administrator"]),
        (["coursecreator"], {}, ["ContentDeveloper"]),
        (["guest"], {}, ["Learner", "Learner#GuestLearner"]),
        (["user"], {}, ["Member"]),
        (["frontpage"], {}, ["Member"]),
        ([], {}, ["Member"]),
        ([], {"guest": 1}, ["Learner", "Learner#GuestLearner"]),
        (["student", "teacher"], {}, ["Learner", "Instructor", "Instructor#TeachingAssistant"]),
        (
            ["student"],
            {"siteadmin": 1},
            ["Learner", "Administrator", "Administrator#SystemAdministrator"],
        ),
    ],
)
def test_roles_follow_their_archetypes_and_all_are_kept(
    archetypes: list[str], more: dict[str, int], expected: list[str]
) -> None:
    roles = [{"shortname": f"custom{name}", "archetype": name} for name in archetypes]

    assert caliper_roles({"roles": roles, **more}) == expected


def test_role_without_archetype_goes_by_its_short_name() -> None:
    found = caliper_roles({"roles": [{"shortname": "editingteacher", "archetype": ""}]})

    assert found == ["Instructor"]


def test_grade_that_learners_give_themselves_is_the_sites() -> None:
    event = graded(userid=6)

    assert event["type"] == "GradeEvent"
    assert event["actor"]["type"] == "SoftwareApplication"
    assert event["generated"]["scoredBy"] == SITE


def test_grade_of_nobody_is_the_sites() -> None:
    assert graded(userid=0)["actor"]["id"] == SITE
    assert graded(userid=-1)["actor"]["id"] == SITE


def test_grader_who_is_logged_in_as_another_is_the_scorer() -> None:
    event = graded(userid=6, realuserid=2)

    assert event["actor"]["id"] == event["generated"]["scoredBy"] == person(2)
    assert event["extensions"]["actingAs"]["id"] == person(6)


def test_anonymous_grade_names_neither_grader_nor_learner() -> None:
    event = graded(anonymous=1)

    assert event["actor"] == NOBODY
    assert event["object"]["assignee"] == NOBODY
    assert "scoredBy" not in event["generated"]
    assert "/user/" not in json.dumps(event)
    assert not {"relatedUser", "triggeredBy"} & event["extensions"].keys()


def test_grade_that_is_taken_away_is_removed() -> None:
    record = {"id": 7, "userid": 6, "grade": -1.0, "attemptnumber": 0, "submission": {"id": 70}}
    event = translate(
        r"\mod_assign\event\submission_graded",
        objecttable="assign_grades",
        objectid=7,
        relateduserid=6,
        object=record,
    )

    assert (event["type"], event["action"]) == ("Event", "Removed")
    assert event["object"]["type"] == "Score"
    assert not {"scoreGiven", "maxScore"} & event["object"].keys()
    assert event["extensions"]["relatedUser"]["id"] == person(6)


def test_attempt_that_cron_submits_is_the_learners() -> None:
    event = submitted(userid=-1, origin="cli", other={"submitterid": None})

    assert event["type"] == "AssessmentEvent"
    assert event["actor"]["id"] == person(6)
    assert event["extensions"]["triggeredBy"]["id"] == SITE
    assert event["extensions"]["submittedBy"]["id"] == SITE


def test_attempt_that_a_teacher_submits_is_the_learners() -> None:
    event = submitted(userid=5, other={"submitterid": "5"})

    assert event["actor"]["id"] == person(6)
    assert event["extensions"]["triggeredBy"]["id"] == person(5)
    assert event["extensions"]["submittedBy"]["id"] == person(5)


def test_attempt_that_somebody_submits_as_the_learner_is_not_the_learners() -> None:
    event = submitted(userid=6, realuserid=2, other={"submitterid": "6"})

    assert event["actor"]["id"] == person(2)
    assert event["generated"]["assignee"]["id"] == person(6)
    assert event["extensions"]["actingAs"]["id"] == person(6)


def test_anonymous_attempt_names_nobody() -> None:
    event = submitted(userid=6, anonymous=1, other={"submitterid": "6"})

    assert event["actor"] == NOBODY
    assert event["generated"]["assignee"] == NOBODY
    assert "/user/" not in json.dumps(event)
    assert event["extensions"].keys() == {"moodle"}


@pytest.mark.parametrize("userid", [-1, -10, -20])
def test_what_the_system_does_is_a_generic_event_of_the_site(userid: int) -> None:
    event = translate(r"\mod_page\event\course_module_viewed", userid=userid)

    assert (event["type"], event["action"], event["profile"]) == (
        "Event",
        "Viewed",
        "GeneralProfile",
    )
    assert event["actor"]["id"] == SITE
    assert "membership" not in event
    assert "runAs" not in event["extensions"]


@pytest.mark.parametrize(
    ("mimetype", "expected", "profile"),
    [
        ("video/mp4", "VideoObject", "MediaProfile"),
        ("audio/mpeg", "AudioObject", "MediaProfile"),
        ("image/png", "ImageObject", "MediaProfile"),
        ("application/pdf", "Document", "ReadingProfile"),
        (None, "Document", "ReadingProfile"),
    ],
)
def test_file_is_what_its_type_says(mimetype: str | None, expected: str, profile: str) -> None:
    event = translate(
        r"\mod_resource\event\course_module_viewed",
        module={**COURSE_MODULE, "mimetype": mimetype},
    )

    assert (event["object"]["type"], event["profile"]) == (expected, profile)


def test_page_of_a_quiz_that_is_not_logged_is_no_target() -> None:
    event = translate(
        r"\mod_quiz\event\attempt_viewed",
        objecttable="quiz_attempts",
        objectid=8,
        relateduserid=5,
        other={"quizid": 3},
    )

    assert "target" not in event


@pytest.mark.parametrize("courseid", [0, 1])
def test_front_page_is_a_page_without_group(courseid: int) -> None:
    event = translate(
        r"\core\event\course_viewed", courseid=courseid, contextlevel=50, contextinstanceid=1
    )

    assert (event["object"]["type"], event["object"]["id"]) == ("WebPage", f"{SITE}/")
    assert not {"group", "membership", "target"} & event.keys()
