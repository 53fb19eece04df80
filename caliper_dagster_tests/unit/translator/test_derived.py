"""Events that a row gives beside its own (mapping, section 6)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.caliper.versions import V1P1
from caliper_dagster.core.privacy import IDENTIFIED
from caliper_dagster.translator.derived import DERIVED_EVENTS
from caliper_dagster_tests.unit.translator.golden import LOGIN, ROWS
from caliper_dagster_tests.unit.translator.support import (
    ADA,
    ALL_TEXTS,
    RECIPES,
    STUDENT,
    TIME,
    W,
    derived,
    member,
    translate,
)

SUBCONTENT = "0b3ecd5e-2f14-4a6e-9a51-0123456789ab"
ADA_ID = f"{W}/user/profile.php?id=3"
NOBODY = {"id": "http://purl.imsglobal.org/caliper/Person", "type": "Person"}


def derived_id(child: str) -> str:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, W)
    return f"urn:uuid:{uuid.uuid5(namespace, f'logstore_standard_log:1001:{TIME}:{child}')}"


def question(slot: int, state: str | None, **more: Any) -> dict[str, Any]:
    return {
        "slot": slot, "questionid": 300 + slot, "questionbankentryid": 400 + slot,
        "name": f"Question {slot}", "version": 2, "maxmark": 2.0, "state": state,
        "qtype": "truefalse", "timecreated": None, **more,
    }  # fmt: skip


def in_module(modname: str, **more: Any) -> dict[str, Any]:
    return {
        "component": f"mod_{modname}", "contextid": 45, "contextlevel": 70,
        "contextinstanceid": 16, "session": LOGIN,
        "module": {"id": 16, "modname": modname, "instance": 8, "activity": {"name": "Thing"}},
        **more,
    }  # fmt: skip


def submitted(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    row = {**ROWS["submitted"], "userid": 3, "user": ADA, "origin": "web", "session": LOGIN}
    row["user_membership"] = member(3, STUDENT)
    return {**row, "object": {**row["object"], "items": list(items)}, **more}


FEEDBACK = in_module(
    "feedback",
    eventname=r"\mod_feedback\event\response_submitted",
    objecttable="feedback_completed",
    objectid=50,
    object={
        "items": [
            {"id": 1, "typ": "multichoice", "name": "Colours", "value": "1|3",
             "presentation": "c>>>>>red|green|blue<<<<<1"},
            {"id": 2, "typ": "multichoicerated", "name": "How much?", "value": "2",
             "presentation": "r>>>>>1####little|5####much"},
            {"id": 3, "typ": "textarea", "name": "Why?", "value": "my own words"},
            {"id": 4, "typ": "numeric", "name": "Age", "value": "77"},
            {"id": 5, "typ": "captcha", "name": None, "value": "captcha words"},
        ]
    },
)  # fmt: skip
SURVEY = in_module(
    "survey",
    eventname=r"\mod_survey\event\response_submitted",
    objecttable=None,
    object={
        "items": [
            {"id": 21, "text": "colles1", "answer1": "3", "answer2": "5"},
            {"id": 22, "text": "ciq1", "answer1": "my own words", "answer2": ""},
        ]
    },
)
H5P = in_module(
    "h5pactivity",
    eventname=r"\mod_h5pactivity\event\statement_received",
    objecttable="h5pactivity",
    objectid=8,
    object={
        "id": 60, "h5pactivityid": 8, "userid": 3, "attempt": 2, "timecreated": TIME - 60,
        "duration": 55, "rawscore": 3, "maxscore": 4,
        "results": [
            {"id": 71, "subcontent": None, "rawscore": 1, "maxscore": 2, "duration": 12},
            {"id": 72, "subcontent": SUBCONTENT, "rawscore": None, "maxscore": None},
        ],
    },
)  # fmt: skip
FORUM = in_module(
    "forum",
    eventname=r"\mod_forum\event\discussion_created",
    objecttable="forum_discussions",
    objectid=33,
    object={"id": 33, "name": "Hello", "firstpost": 330},
)
EVERY = {
    "quiz": submitted(question(1, "gradedright", fraction=1.0), question(2, "gaveup")),
    "feedback": FEEDBACK,
    "survey": SURVEY,
    "h5p": H5P,
    "forum": FORUM,
    "lti": {**ROWS["lti"], "session": LOGIN},
}


def test_every_kind_of_derived_event_is_tried_here():
    used = {name for row in EVERY.values() for name in RECIPES.exact[row["eventname"]].derived}
    assert used == DERIVED_EVENTS.keys()
    assert all(derived(row) for row in EVERY.values())


@pytest.mark.parametrize("version", ["v1p2", "v1p1"])
@pytest.mark.parametrize("texts", [frozenset(), IDENTIFIED.texts, ALL_TEXTS])
@pytest.mark.parametrize("name", EVERY)
def test_derived_events_are_valid_and_say_what_they_come_from(name, version, texts):
    own, *others = translate(EVERY[name], version=version, texts=texts)
    assert own["outcome"] == "event"
    assert "derivedFrom" not in own["json"]["extensions"]
    assert len({outcome["event_id"] for outcome in (own, *others)}) == len(others) + 1
    for outcome in others:
        found = outcome["json"]
        assert outcome["outcome"] == "derived"
        assert (outcome["log_id"], outcome["timecreated"]) == (1001, TIME)
        assert (outcome["recipe"], outcome["event_name"]) == (own["recipe"], own["event_name"])
        assert validate(found, strict=True) == []
        assert found["extensions"]["derivedFrom"] == own["event_id"]
        assert found["extensions"]["moodle"] == own["json"]["extensions"]["moodle"]
        for slot in ("edApp", "group"):
            assert found[slot] == own["json"][slot]
        if found["actor"]["type"] == "Person":
            for slot in ("actor", "membership", "session"):
                assert found[slot] == own["json"][slot]


@pytest.mark.parametrize("name", EVERY)
def test_in_1_1_a_derived_event_is_the_older_form_of_the_same(name):
    newer, older = (derived(EVERY[name], version=version) for version in ("v1p2", "v1p1"))
    assert [event["id"] for event in newer] == [event["id"] for event in older]
    for new, old in zip(newer, older, strict=True):
        assert (old["type"], old["action"]) == vocabulary.event_in(V1P1, new["type"], new["action"])
        assert old["object"]["type"] == vocabulary.entity_type_in(V1P1, new["object"]["type"])
        assert "profile" not in old


@pytest.mark.parametrize("name", EVERY)
def test_derived_events_of_an_anonymous_row_name_nobody(name):
    row = {**EVERY[name], "anonymous": 1, "user": None, "session": None, "user_membership": None}
    for found in derived(row):
        assert validate(found, strict=True) == []
        assert found["actor"]["type"] == "SoftwareApplication" or found["actor"] == NOBODY
        assert "/user/" not in str(found)
        assert "user-3" not in str(found)


# Quiz


def test_a_submitted_attempt_gives_an_event_for_each_question():
    right, skipped = derived(
        submitted(
            question(1, "gradedpartial", fraction=0.25, timecreated=TIME - 40),
            question(2, "gaveup", maxmark=None, version=None, questionbankentryid=None),
        )
    )
    attempt = {
        "id": f"{W}/mod/quiz/review.php?attempt=50",
        "type": "Attempt",
        "assignee": {"id": ADA_ID, "type": "Person"},
        "assignable": f"{W}/mod/quiz/view.php?id=11",
        "count": 2,
    }
    assert [right["id"], skipped["id"]] == [derived_id("item:1"), derived_id("item:2")]
    assert (right["type"], right["profile"]) == ("AssessmentItemEvent", "AssessmentProfile")
    assert [right["action"], skipped["action"]] == ["Completed", "Skipped"]
    assert right["object"] == {
        "id": f"{W}/question/bank/previewquestion/preview.php?id=301",
        "type": "AssessmentItem",
        "name": "Question 1",
        "isPartOf": f"{W}/mod/quiz/view.php?id=11",
        "maxScore": 2.0,
        "version": "2",
        "extensions": {"questionBankEntryId": 401},
    }
    assert right["generated"] == {
        "id": f"{W}/mod/quiz/review.php?attempt=50#response-1",
        "type": "TrueFalseResponse",
        "attempt": attempt,
        "extensions": {"scoreGiven": 0.5, "maxScore": 2.0},
    }
    assert skipped["generated"] == attempt
    assert not {"maxScore", "version", "extensions"} & skipped["object"].keys()
    # when it was answered; else when the attempt was finished
    assert right["eventTime"] == "2026-01-31T13:59:20.000Z"
    assert skipped["eventTime"] == "2026-01-31T13:59:55.000Z"


@pytest.mark.parametrize(
    ("state", "action"),
    [
        ("complete", "Completed"), ("needsgrading", "Completed"), ("finished", "Completed"),
        ("gradedwrong", "Completed"), ("gradedpartial", "Completed"), ("mangrright", "Completed"),
        ("mangrpartial", "Completed"), ("manfinished", "Completed"), ("gaveup", "Skipped"),
        ("mangaveup", "Skipped"), ("todo", "Skipped"), ("invalid", "Skipped"),
        ("notstarted", "Skipped"), ("unprocessed", "Skipped"), ("", "Skipped"), (None, "Skipped"),
    ],
)  # fmt: skip
def test_the_final_state_of_a_question_says_whether_it_was_answered(state, action):
    (found,) = derived(submitted(question(1, state)))
    assert found["action"] == action


@pytest.mark.parametrize(
    ("qtype", "expected", "value"),
    [
        ("multichoice", "MultipleChoiceResponse", {"value": "a b"}),
        ("calculatedmulti", "MultipleChoiceResponse", {"value": "a b"}),
        ("multichoiceset", "MultipleResponseResponse", {"values": ["a b"]}),
        ("truefalse", "TrueFalseResponse", {"value": "a b"}),
        ("shortanswer", "FillinBlankResponse", {"values": ["a b"]}),
        ("numerical", "FillinBlankResponse", {"values": ["a b"]}),
        ("calculatedsimple", "FillinBlankResponse", {"values": ["a b"]}),
        ("match", "FillinBlankResponse", {"values": ["a b"]}),
        ("essay", "Response", {}),
        ("coderunner", "Response", {}),
        (None, "Response", {}),
    ],
)
def test_a_response_is_of_its_questions_type_and_holds_text_only_when_asked_for(
    qtype, expected, value
):
    row = submitted(question(1, "complete", qtype=qtype, responsesummary="a b"))
    bare, full = (
        derived(row, texts=texts)[0]["generated"] for texts in (IDENTIFIED.texts, ALL_TEXTS)
    )
    assert (bare["type"], full["type"]) == (expected, expected)
    assert not {"value", "values"} & bare.keys()
    assert {key: full[key] for key in ("value", "values") if key in full} == value


def test_an_attempt_that_cron_submits_has_its_items_of_the_learner():
    row = {**ROWS["submitted"], "object": {**ROWS["submitted"]["object"]}}
    row["object"]["items"] = [question(1, "complete")]
    (found,) = derived(row)
    assert found["actor"]["id"] == ADA_ID
    assert found["extensions"]["triggeredBy"]["id"] == W


# Questionnaires


def test_a_feedback_gives_an_event_for_each_answer():
    found = derived(FEEDBACK)
    assert [event["id"] for event in found] == [derived_id(f"value:{n}") for n in range(1, 6)]
    assert {(event["type"], event["action"]) for event in found} == {
        ("QuestionnaireItemEvent", "Completed")
    }
    assert {event["eventTime"] for event in found} == {"2026-01-31T14:00:00.000Z"}
    assert found[0]["object"] == {
        "id": f"{W}/mod/feedback/view.php?id=16#item-1",
        "type": "QuestionnaireItem",
        "name": "Colours",
        "isPartOf": f"{W}/mod/feedback/view.php?id=16",
    }
    entry = f"{W}/mod/feedback/show_entries.php?id=16&showcompleted=50"
    assert found[0]["generated"] == {
        "id": f"{entry}#response-1",
        "type": "MultiselectResponse",
        "attempt": {
            "id": entry,
            "type": "Attempt",
            "assignee": {"id": ADA_ID, "type": "Person"},
            "assignable": f"{W}/mod/feedback/view.php?id=16",
        },
        "selections": ["red", "blue"],
    }
    answers = [event["generated"] for event in found]
    assert [answer["type"] for answer in answers] == [
        "MultiselectResponse", "RatingScaleResponse", "Response", "Response", "Response",
    ]  # fmt: skip
    assert answers[1]["selections"] == ["much"]


def test_what_persons_wrote_leaves_only_when_asked_for():
    for row in (FEEDBACK, SURVEY):
        assert "words" not in str(translate(row))
        assert "'77'" not in str(translate(row))
    assert derived(FEEDBACK, texts=ALL_TEXTS)[2]["generated"]["value"] == "my own words"
    assert derived(FEEDBACK, texts=ALL_TEXTS)[3]["generated"]["value"] == "77"
    assert "captcha words" not in str(translate(FEEDBACK, texts=ALL_TEXTS))
    assert derived(SURVEY, texts=ALL_TEXTS)[1]["generated"]["value"] == "my own words"


def test_search_terms_leave_only_when_asked_for():
    row = {
        **in_module("forum", eventname=r"\mod_forum\event\course_searched", objecttable=None),
        "other": {"searchterm": "my own words"},
    }
    assert "words" not in str(translate(row))
    (found,) = translate(row, texts=ALL_TEXTS)
    assert found["json"]["generated"]["query"]["searchTerms"] == "my own words"


def test_a_survey_gives_an_event_for_each_answer():
    rated, written = derived(SURVEY)
    assert [rated["id"], written["id"]] == [derived_id("value:21"), derived_id("value:22")]
    assert rated["object"]["id"] == f"{W}/mod/survey/view.php?id=16#item-21"
    assert rated["generated"] == {
        "id": f"{W}/mod/survey/view.php?id=16#user-3-response-21",
        "type": "RatingScaleResponse",
        "attempt": {
            "id": f"{W}/mod/survey/view.php?id=16#user-3",
            "type": "Attempt",
            "assignee": {"id": ADA_ID, "type": "Person"},
            "assignable": f"{W}/mod/survey/view.php?id=16",
        },
        "selections": ["3", "5"],
    }
    assert written["generated"]["type"] == "Response"
    assert not {"selections", "value"} & written["generated"].keys()


# H5P


def test_a_statement_of_h5p_gives_a_grade_of_the_site_and_an_event_for_each_result():
    grade, first, second = derived(H5P)
    attempt = f"{W}/mod/h5pactivity/report.php?a=8&attemptid=60"
    assert (grade["id"], grade["type"], grade["action"]) == (
        derived_id("score"), "GradeEvent", "Graded"
    )  # fmt: skip
    assert grade["actor"]["id"] == W
    assert not {"membership", "session"} & grade.keys()
    assert (grade["object"]["id"], grade["object"]["type"]) == (attempt, "Attempt")
    assert grade["object"]["assignee"] == {"id": ADA_ID, "type": "Person"}
    assert grade["object"]["count"] == 2
    assert grade["generated"] == {
        "id": f"{attempt}#score",
        "type": "Score",
        "attempt": attempt,
        "maxScore": 4.0,
        "scoreGiven": 3.0,
        "scoredBy": W,
    }
    assert [first["id"], second["id"]] == [derived_id("item:71"), derived_id("item:72")]
    assert (first["type"], first["action"]) == ("AssessmentItemEvent", "Completed")
    assert first["object"]["id"] == f"{W}/mod/h5pactivity/view.php?id=16#content-71"
    assert second["object"]["id"] == f"{W}/mod/h5pactivity/view.php?id=16#content-{SUBCONTENT}"
    assert first["generated"]["duration"] == "PT12S"
    assert first["generated"]["extensions"] == {"scoreGiven": 1.0, "maxScore": 2.0}
    assert not {"duration", "extensions"} & second["generated"].keys()


@pytest.mark.parametrize(
    "record",
    [None, {}, {"id": 60, "rawscore": None, "maxscore": 4}, {"rawscore": 0, "maxscore": 0}],
)
def test_a_statement_without_a_score_gives_no_grade(record):
    assert derived({**H5P, "object": record}) == []


# Forum, external tool, SCORM


def test_a_new_discussion_is_a_thread_beside_its_first_post():
    assert "name" not in derived(FORUM)[0]["object"]
    (found,) = derived(FORUM, texts=ALL_TEXTS)
    assert (found["id"], found["type"], found["action"]) == (
        derived_id("thread"), "ResourceManagementEvent", "Created"
    )  # fmt: skip
    assert found["object"] == {
        "id": f"{W}/mod/forum/discuss.php?d=33",
        "type": "Thread",
        "name": "Hello",
        "isPartOf": f"{W}/mod/forum/view.php?id=16",
    }


def test_looking_at_an_external_tool_launches_it():
    (found,) = derived(EVERY["lti"])
    assert (found["id"], found["type"], found["action"]) == (
        derived_id("launch"), "ToolLaunchEvent", "Launched"
    )  # fmt: skip
    assert found["object"] == {"id": "https://t/", "type": "SoftwareApplication"}
    assert found["target"] == {
        "id": f"{W}/mod/lti/view.php?id=14",
        "type": "LtiLink",
        "messageType": "LtiResourceLinkRequest",
    }
    assert (found["federatedSession"]["type"], found["federatedSession"]["user"]) == (
        "LtiSession", ADA_ID
    )  # fmt: skip
    (older,) = derived(EVERY["lti"], version="v1p1")
    assert (older["type"], older["action"]) == ("ToolUseEvent", "Used")
    assert "target" not in older


@pytest.mark.parametrize(
    ("activity", "tool"),
    [
        ({"toolurl": "https://tool.example.org:8443/launch?key=secret#x"}, "https://tool.example.org:8443/"),
        ({"toolurl": "https://u:p@tool.example.org/x"}, "https://tool.example.org/"),
        ({"toolurl": "", "type": {"baseurl": "http://a.org/x", "name": "A"}}, "http://a.org/"),
        ({"toolurl": "https://b.org", "type": {"baseurl": "https://a.org"}}, "https://a.org/"),
        ({"toolurl": "javascript:alert(1)"}, None),
        ({"toolurl": "tool.example.org"}, None),
        ({"toolurl": None, "type": None}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_tool_is_the_host_of_its_address_and_nothing_secret(activity, tool):
    row = {**ROWS["lti"], "module": {"id": 14, "modname": "lti", "activity": activity}}
    assert [found["object"]["id"] for found in derived(row)] == ([tool] if tool else [])


@pytest.mark.parametrize(
    "row", [{"anonymous": 1}, {"userid": 0}, {"userid": -1}, {"origin": "cli"}]
)
def test_nobody_in_particular_launches_no_tool(row):
    assert derived({**ROWS["lti"], **row}) == []


# What cannot be told


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (question(1, "complete", name=["Ada"]), "derived item: AssessmentItem.name must be text"),
        (question(1, "complete", timecreated="Ada"), "derived item: TypeError"),
        (question(1, "complete", timecreated=2**62), "derived item: the time is none between"),
        (question(1, "complete", maxmark="Ada"), "derived: ValueError"),
        ("Ada", "derived: AttributeError"),
    ],
)
def test_a_row_whose_derived_event_cannot_be_told_fails_alone(item, reason):
    good = submitted(question(1, "complete"))
    outcomes = translate(good, submitted(question(2, "complete"), item), good)
    assert [found["outcome"] for found in outcomes] == [
        "event", "derived", "failed", "event", "derived"
    ]  # fmt: skip
    assert outcomes[2]["reason"].startswith(reason)
    assert "Ada" not in outcomes[2]["reason"]
    assert outcomes[0]["json"] == outcomes[3]["json"]
