"""Facts of a row that change what its event means: the variants under ``when``."""

from __future__ import annotations

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.translator.conditions import CONDITIONS
from caliper_dagster_tests.unit.translator.golden import IN_ASSIGN, ROWS
from caliper_dagster_tests.unit.translator.support import RECIPES, translate

COMPLETION = {
    **IN_ASSIGN, "eventname": r"\core\event\course_module_completion_updated",
    "component": "core", "objecttable": "course_modules_completion", "objectid": 5,
    "relateduserid": 3,
}  # fmt: skip
GRADED = {
    "eventname": r"\core\event\user_graded", "component": "core", "objecttable": "grade_grades",
    "objectid": 7, "userid": 4, "user": None, "user_membership": None, "relateduserid": 3,
}  # fmt: skip
TAGGED = {
    "eventname": r"\core\event\tag_added", "component": "core", "objecttable": "tag_instance",
    "objectid": 7,
}  # fmt: skip
POLICY = {
    "eventname": r"\tool_policy\event\acceptance_created", "component": "tool_policy",
    "objecttable": "tool_policy_acceptances", "objectid": 7, "relateduserid": 3,
}  # fmt: skip


OF_ASSIGN = {
    "id": 7, "itemid": 2, "item": {"itemtype": "mod", "gradetype": 1, "grademax": 10.0},
    "module": {"id": 36, "modname": "assign"},
}  # fmt: skip
DELETED = {**GRADED, "eventname": r"\core\event\grade_deleted", "other": {"itemid": 2}}
STATUS = {
    **IN_ASSIGN, "eventname": r"\mod_assign\event\submission_status_updated",
    "objecttable": "assign_submission", "objectid": 5, "userid": 4, "user": None,
    "relateduserid": 3,
}  # fmt: skip


def graded(record: object) -> dict:
    return {**GRADED, "object": record, "other": {"itemid": 2, "finalgrade": "0.0"}}


def status(name: str) -> dict:
    return {**STATUS, "other": {"submissionid": 5, "newstatus": name}}


def completed(state: object, before: int | None) -> dict:
    record = None if before is None else {"previousstate": before}
    return {**COMPLETION, "object": record, "other": {"completionstate": state}}


def grade(value: object) -> dict:
    return {**ROWS["graded"], "object": {**ROWS["graded"]["object"], "grade": value}}


def tagged(kind: str | None) -> dict:
    return {**TAGGED, "other": {"itemtype": kind, "itemid": 9, "tagid": 2, "tagname": "algebra"}}


def launched(record: object) -> dict:
    return {
        **IN_ASSIGN, "eventname": r"\mod_scorm\event\sco_launched", "component": "mod_scorm",
        "module": {"id": 16, "modname": "scorm"}, "objecttable": "scorm_scoes", "objectid": 9,
        "object": record,
    }  # fmt: skip


def scorm_status(value: str | None) -> dict:
    row = launched({"id": 9, "attempt": 1})
    name = r"\mod_scorm\event\status_submitted"
    return {**row, "eventname": name, "relateduserid": 3, "other": {"cmivalue": value}}


CASES = [
    ("grade_removed", grade(-1.0), "Event Removed Score"),
    ("grade_removed", grade(0.0), "GradeEvent Graded Attempt"),
    ("grade_removed", grade(None), "GradeEvent Graded Attempt"),
    ("grade_removed", {**grade(1.0), "object": None}, "GradeEvent Graded Attempt"),
    (
        "final_grade_removed", {**GRADED, "other": {"itemid": 2, "finalgrade": None}},
        "Event Removed Score",
    ),
    (
        "final_grade_removed", graded(OF_ASSIGN),
        "GradeEvent Graded Attempt",
    ),
    (
        "final_grade_removed", {**GRADED, "object": OF_ASSIGN, "other": {"itemid": 2}},
        "GradeEvent Graded Attempt",
    ),
    (
        "final_grade_removed", {**GRADED, "object": OF_ASSIGN, "other": None},
        "GradeEvent Graded Attempt",
    ),
    ("grade_of_no_activity", graded(None), "Event Graded AssignableDigitalResource"),
    (
        "grade_of_no_activity",
        graded({"itemid": 2, "item": {"itemtype": "course"}, "module": None}),
        "Event Graded AssignableDigitalResource",
    ),
    ("grade_of_no_activity", graded(OF_ASSIGN), "GradeEvent Graded Attempt"),
    ("no_known_score", {**DELETED, "object": OF_ASSIGN}, "Event Deleted Attempt"),
    (
        "no_known_score", {**DELETED, "object": {**OF_ASSIGN, "lastgraded": 900}},
        "Event Deleted Score",
    ),
    *(
        (condition, completed(state, before), expected)
        for condition, state, before, expected in (
            ("completion_begun", 0, 0, "Event Started AssignableDigitalResource"),
            ("completion_begun", "0", 4, "Event Started AssignableDigitalResource"),
            ("completion_begun", 1, 0, "AssignableEvent Completed AssignableDigitalResource"),
            ("completion_reset", 0, 1, "Event Reset AssignableDigitalResource"),
            ("completion_reset", "0", 2, "Event Reset AssignableDigitalResource"),
            ("completion_reset", 0, 3, "Event Reset AssignableDigitalResource"),
            ("completion_unknown_before", 0, None, "Event Modified AssignableDigitalResource"),
            (
                "completion_unknown_before", 3, None,
                "AssignableEvent Completed AssignableDigitalResource",
            ),
        )
    ),
    ("submission_reopened", status("draft"), "Event Reset Attempt"),
    ("submission_reopened", status("submitted"), "Event Modified Attempt"),
    (
        "completion_reset", {**COMPLETION, "other": {"completionstate": 1}},
        "AssignableEvent Completed AssignableDigitalResource",
    ),
    (
        "completion_reset", {**COMPLETION, "other": {"completionstate": "2"}},
        "AssignableEvent Completed AssignableDigitalResource",
    ),
    (
        "completion_reset", {**COMPLETION, "other": None},
        "AssignableEvent Completed AssignableDigitalResource",
    ),
    ("tagged_person", tagged("user"), "Event Tagged Person"),
    ("tagged_person", tagged("post"), "AnnotationEvent Tagged WebPage"),
    ("tagged_person", tagged("anything"), "AnnotationEvent Tagged DigitalResource"),
    ("policy_declined", {**POLICY, "other": {"policyversionid": 2, "status": 0}},
     "Event Declined Document"),
    ("policy_declined", {**POLICY, "other": {"policyversionid": 2, "status": "0"}},
     "Event Declined Document"),
    ("policy_declined", {**POLICY, "other": {"policyversionid": 2, "status": 1}},
     "Event Accepted Document"),
    ("policy_declined", {**POLICY, "other": {"policyversionid": 2}}, "Event Accepted Document"),
    (
        "launched_again", launched({"id": 9, "attempt": 1, "first": True}),
        "AssignableEvent Started AssignableDigitalResource",
    ),
    ("launched_again", launched({"id": 9, "attempt": 1}), "NavigationEvent NavigatedTo WebPage"),
    ("launched_again", launched(None), "NavigationEvent NavigatedTo WebPage"),
    ("scorm_unfinished", scorm_status("incomplete"), "Event Modified Attempt"),
    ("scorm_unfinished", scorm_status("browsed"), "Event Modified Attempt"),
    (
        "scorm_unfinished", scorm_status("failed"),
        "AssignableEvent Completed AssignableDigitalResource",
    ),
    ("scorm_unfinished", scorm_status(None), "AssignableEvent Completed AssignableDigitalResource"),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "row", "expected"), CASES)
def test_what_a_row_holds_decides_what_its_event_is(condition, row, expected):
    recipe = RECIPES.exact[row["eventname"]]
    assert condition in [name for name, _ in recipe.when]
    for version in ("v1p2", "v1p1"):
        (outcome,) = translate(row, version=version)
        found = outcome["json"]
        assert validate(found, strict=True) == []
        assert (outcome["recipe"], outcome["resolution"]) == (recipe.pattern, "exact")
        if version == "v1p2":
            told = f"{found['type']} {found['action']} {found['object']['type']}"
            assert told == expected


def test_every_condition_is_tried_both_ways():
    tried = {(condition, expected.split()[1]) for condition, _, expected in CASES}
    assert {condition for condition, _ in tried} == CONDITIONS.keys()
    # To tag a person is to tag, and to grade no activity is to grade; Deleted is of two objects.
    assert len(tried) >= 2 * len(CONDITIONS) - 3
    used = {name for recipe in RECIPES.exact.values() for name, _ in recipe.when}
    assert used == CONDITIONS.keys()


def test_rows_of_both_kinds_side_by_side_do_not_mix():
    outcomes = translate(*(row for _, row, _ in CASES))
    told = [
        f"{found['json']['type']} {found['json']['action']} {found['json']['object']['type']}"
        for found in outcomes
    ]
    assert told == [expected for _, _, expected in CASES]


def test_a_condition_that_cannot_be_told_fails_its_row_alone():
    failed, found = translate(grade("Ada"), grade(-1.0))
    assert failed["outcome"] == "failed"
    assert failed["reason"].endswith(": TypeError")
    assert found["outcome"] == "event"


@pytest.mark.parametrize(("condition", "row", "expected"), CASES)
def test_an_anonymous_row_does_not_say_the_opposite(condition, row, expected):
    (outcome,) = translate({**row, "anonymous": 1, "user": None, "user_membership": None})
    assert outcome["action"] == expected.split()[1], condition
    assert validate(outcome["json"], strict=True) == []
    assert "/user/profile" not in str(outcome["json"])
    assert "userid=" not in str(outcome["json"])
    assert "other" not in outcome["json"]["extensions"]["moodle"]
