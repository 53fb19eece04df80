"""Whole events, and the promise that every row has exactly one outcome."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from caliper_dagster.caliper.versions import V1P1, V1P2
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG
from caliper_dagster.core.hours import Hour
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.translator import Translator
from caliper_dagster.translator.event_shape import IllegalEventError, event_shape
from caliper_dagster_tests.harness.handmade_site import expand_at_once
from caliper_dagster_tests.unit.translator.golden import ATTEMPT, EVENTS_1_1, EVENTS_1_2, ROWS
from caliper_dagster_tests.unit.translator.support import (
    ADA,
    RECIPES,
    TIME,
    W,
    event,
    expanded,
    translate,
)


@pytest.mark.parametrize("name", EVENTS_1_2)
def test_an_event_in_1_2_is_as_a_whole_what_it_should_be(name):
    assert event(ROWS[name], version="v1p2") == EVENTS_1_2[name]


@pytest.mark.parametrize("name", EVENTS_1_1)
def test_an_event_in_1_1_is_as_a_whole_what_it_should_be(name):
    assert event(ROWS[name], version="v1p1") == EVENTS_1_1[name]


def test_the_columns_say_what_is_in_the_event():
    outcomes = translate(*ROWS.values())
    assert [outcome["outcome"] for outcome in outcomes].count("event") == len(ROWS)
    for outcome in outcomes:
        written = outcome["json"]
        assert outcome["outcome"] in {"event", "derived"}
        assert outcome["reason"] is None
        assert outcome["event_id"] == written["id"]
        assert outcome["event_type"] == written["type"]
        assert outcome["action"] == written["action"]
        assert outcome["profile"] == written["profile"]
        assert outcome["recipe"].startswith("P")
        assert outcome["resolution"] == "exact"
        assert (outcome["log_id"], outcome["timecreated"]) == (1001, TIME)
        assert outcome["caliper_version"] == "v1p2"


def test_a_row_that_no_recipe_names_is_an_event_and_says_so():
    unknown = {"eventname": r"\mod_zoom\event\join_meeting_button_clicked", "id": 7}
    found, known = translate(unknown, {})
    assert (found["log_id"], found["outcome"], found["reason"]) == (7, "event", None)
    assert (found["recipe"], found["resolution"]) == ("P99", "fallback")
    assert (known["recipe"], known["resolution"]) == ("P02", "exact")
    assert [row["outcome"] for row in translate(unknown, unknown)] == ["event"] * 2


def test_no_rows_give_no_events():
    assert Translator(W).translate(EXPANDED_LOG.empty()).equals(CALIPER_EVENTS.empty())


# Options


def test_names_and_identifiers_of_persons_leave_only_when_asked_for():
    bare = event({}, person_identifiers=())
    assert bare["actor"] == {"id": f"{W}/user/profile.php?id=3", "type": "Person"}
    everything = ["SystemId", "LtiUserId", "AccountUserName", "SisSourcedId", "EmailAddress"]
    actor = event({}, person_names=True, person_identifiers=everything)["actor"]
    assert actor["name"] == "Ada Lovelace"
    assert {item["identifierType"]: item["identifier"] for item in actor["otherIdentifiers"]} == {
        "SystemId": "3", "LtiUserId": "3", "AccountUserName": "ada", "SisSourcedId": "S-3",
        "EmailAddress": "ada@example.org",
    }  # fmt: skip
    for name, row in ROWS.items():
        written = json.dumps(event(row))
        assert not any(part in written for part in ("Ada", "Lovelace", "S-3", "@example")), name


def test_an_empty_identifier_is_left_out():
    row = {"user": {**ADA, "idnumber": "", "email": None}}
    actor = event(row, person_identifiers=("SisSourcedId", "EmailAddress"))["actor"]
    assert "otherIdentifiers" not in actor


def test_of_a_deleted_user_only_the_id_leaves():
    actor = event({"user": {"id": 3, "deleted": 1}}, person_names=True)["actor"]
    assert actor == {"id": f"{W}/user/profile.php?id=3", "type": "Person"}


def test_the_address_of_the_client_leaves_only_when_asked_for():
    assert "192.0.2.1" not in json.dumps(event({}))
    assert event({}, ip_addresses=True)["extensions"]["moodle"]["ip"] == "192.0.2.1"
    assert "ip" not in event({"ip": None}, ip_addresses=True)["extensions"]["moodle"]


def test_a_recipe_of_ones_own_is_used():
    text = (
        r"[{events: [\mod_x\event\y_viewed], pattern: X, type: ViewEvent, action: Viewed,"
        " object: {type: WebPage, path: 'x.php?id={objectid}&t={other.tab}&u={other.x}'},"
        " other: [tab]}]"
    )
    row = {
        "eventname": r"\mod_x\event\y_viewed",
        "objectid": 9,
        "other": {"tab": "other", "x": "my/own"},
    }
    (found,) = translate(row, recipes=RECIPES.with_user_recipes([("mine.yaml", text)]))
    assert (found["recipe"], found["resolution"]) == ("X", "user")
    assert found["json"]["object"] == {
        "id": f"{W}/x.php?id=9&t=other",
        "type": "WebPage",
        "isPartOf": f"{W}/course/view.php?id=2#page",
    }
    assert found["json"]["extensions"]["moodle"]["other"] == {"tab": "other"}


# Shapes that depend on the row


def test_a_grade_that_is_taken_away_is_a_removed_score():
    row = {**ROWS["graded"], "object": {**ROWS["graded"]["object"], "grade": -1.0}}
    found = event(row)
    assert (found["type"], found["action"], found["profile"]) == (
        "Event", "Removed", "GeneralProfile"
    )  # fmt: skip
    assert found["object"] == {
        "id": f"{W}/mod/assign/view.php?id=12#grade-90",
        "type": "Score",
        "attempt": f"{W}/mod/assign/view.php?id=12#submission-95",
        "scoredBy": f"{W}/user/profile.php?id=4",
    }
    assert "generated" not in found


def test_a_grade_of_nought_is_a_grade():
    row = {**ROWS["graded"], "object": {**ROWS["graded"]["object"], "grade": 0.0}}
    assert event(row)["generated"]["scoreGiven"] == 0.0


def test_a_grade_without_a_submission_is_for_the_learners_attempt():
    row = {**ROWS["graded"], "object": {**ROWS["graded"]["object"], "submission": None}}
    assert event(row)["object"]["id"] == f"{W}/mod/assign/view.php?id=12#user-3-attempt-1"


def test_a_grade_of_today_is_marked():
    row = {**ROWS["graded"], "object": {**ROWS["graded"]["object"], "asof": "export"}}
    assert event(row)["extensions"]["asOf"] == "export"


@pytest.mark.parametrize(
    ("activity", "item", "items", "maximum"),
    [
        ({"grade": 20}, {}, None, 20.0),
        ({"grade": -6}, {}, 3, 3.0),
        ({"grade": -6}, {}, None, None),
        ({"grade": 0}, {"gradetype": 1, "grademax": 30.0}, None, 30.0),
        ({}, {"gradetype": 2, "grademax": 4.0}, 4, 4.0),
        ({}, {"gradetype": 3, "grademax": 100.0}, None, None),
        ({}, {}, None, None),
    ],
    ids=["points", "scale", "lost scale", "gradebook", "gradebook scale", "text", "ungraded"],
)
def test_the_highest_grade_is_that_of_the_activity(activity, item, items, maximum):
    module = {"modname": "assign", "activity": activity, "grade_item": item, "scale_items": items}
    found = event({**ROWS["handed_in"], "module": module})
    assert found["object"].get("maxScore") == maximum


@pytest.mark.parametrize(
    ("modname", "mimetype", "expected"),
    [
        ("resource", "video/mp4", "VideoObject"),
        ("resource", "audio/ogg", "AudioObject"),
        ("resource", "image/png", "ImageObject"),
        ("resource", "application/pdf", "Document"),
        ("resource", None, "Document"),
        ("book", None, "Document"),
        ("page", None, "WebPage"),
        ("folder", None, "DigitalResourceCollection"),
        ("choice", None, "Questionnaire"),
        ("workshop", None, "AssignableDigitalResource"),
        ("facetoface", None, "DigitalResource"),
    ],
)
def test_an_activity_has_the_type_of_its_module(modname, mimetype, expected):
    row = {
        "eventname": rf"\mod_{modname}\event\course_module_viewed",
        "component": f"mod_{modname}",
        "contextlevel": 70,
        "contextinstanceid": 15,
        "module": {"modname": modname, "activity": {"name": "N"}, "mimetype": mimetype},
    }
    found = event(row)["object"]
    assert (found["type"], found["id"]) == (expected, f"{W}/mod/{modname}/view.php?id=15")


def test_without_a_page_a_viewed_attempt_has_no_target():
    assert "target" not in event({**ROWS["viewed"], "other": {"quizid": 70}})


def test_an_unfinished_attempt_has_neither_end_nor_result():
    attempt = {**ATTEMPT, "timefinish": 0, "sumgrades": None}
    assert "result" not in event({**ROWS["reviewed"], "object": attempt})["extensions"]["moodle"]
    row = {**ROWS["reviewed"], "eventname": r"\mod_quiz\event\attempt_autosaved"}
    begun = event({**row, "object": attempt})["object"]
    assert not {"endedAtTime", "duration"} & begun.keys()


# Many rows


def test_by_the_hour_and_at_once_are_the_same_bytes(tmp_path):
    path = tmp_path / "moodle.sqlite"
    summary = write_sample(
        path, students=15, hours=30, seed=5, end=Hour.from_key("2026-03-27-14:00")
    )
    table = expand_at_once(f"sqlite:///{path}", summary.hours)
    hours = pa.compute.divide(table["timecreated"], 3600)
    for version in ("v1p2", "v1p1"):
        translator = Translator(summary.wwwroot, version=version)
        at_once = translator.translate(table)
        by_the_hour = pa.concat_tables(
            translator.translate(table.filter(pa.compute.equal(hours, hour.number)))
            for hour in summary.hours
        )
        assert at_once.to_pylist() == by_the_hour.to_pylist()
        assert set(at_once["outcome"].to_pylist()) <= {"event", "derived"}
        own = at_once.filter(pa.compute.equal(at_once["outcome"], "event"))
        assert own["log_id"].to_pylist() == table["id"].to_pylist()
        assert len(set(at_once["event_id"].to_pylist())) == at_once.num_rows


def test_chunks_with_dictionaries_of_their_own_make_no_difference():
    tables = [expanded(row) for row in ROWS.values()]
    whole = Translator(W).translate(expanded(*ROWS.values()))
    assert Translator(W).translate(pa.concat_tables(tables)).to_pylist() == whole.to_pylist()


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("Ada", "object: AttributeError"),
        (
            {"modname": "quiz", "activity": {"name": ["Ada"]}},
            "object: Assessment.name must be text",
        ),
        ({"modname": "quiz", "activity": {"grade": "Ada"}}, "object: TypeError"),
    ],
)
def test_a_row_that_cannot_be_rendered_fails_alone_with_a_reason_without_its_values(module, reason):
    bad = {**ROWS["viewed"], "module": module}
    first, failed, last = translate(ROWS["viewed"], bad, ROWS["viewed"])
    assert first["json"] == last["json"] == EVENTS_1_2["viewed"]
    assert (failed["outcome"], failed["reason"]) == ("failed", reason)
    assert (failed["recipe"], failed["resolution"]) == ("P09", "exact")
    assert (failed["json"], failed["event_id"], failed["event_type"]) == (None, None, None)


@pytest.mark.parametrize("time", [-1, 253_402_300_800, 2**62, None])
def test_a_row_at_no_time_fails(time):
    failed, found = translate({"timecreated": time}, {})
    assert (failed["outcome"], failed["json"]) == ("failed", None)
    assert failed["reason"].startswith("eventTime: ")
    assert found["outcome"] == "event"


def test_an_event_type_that_does_not_fit_the_object_is_a_plain_event():
    row = {**ROWS["started"], "module": {"id": 11, "modname": "forum"}}
    found = event(row)
    assert (found["type"], found["action"], found["profile"]) == (
        "Event", "Started", "GeneralProfile"
    )  # fmt: skip
    assert found["object"]["type"] == "Forum"
    assert found["generated"]["type"] == "Attempt"


def test_a_combination_that_not_even_the_plain_event_may_have_is_refused():
    with pytest.raises(IllegalEventError, match="Painted is no action of v1p2"):
        event_shape("ViewEvent", "Painted", "WebPage", by_site=False, version=V1P2)
    with pytest.raises(IllegalEventError, match="Questionnaire is no entity type of v1p1"):
        event_shape("ViewEvent", "Viewed", "Questionnaire", by_site=False, version=V1P1)
