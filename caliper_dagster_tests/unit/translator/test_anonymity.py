"""No id of an anonymous row's events is that of a record which its actor owns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.translator.recipes import load_recipes
from caliper_dagster_tests.unit.translator.golden import ASSIGN, QUIZ
from caliper_dagster_tests.unit.translator.support import TIME, W, event, translate

TERM = "http://purl.imsglobal.org/caliper/"
VERSIONS = ("v1p2", "v1p1")

ANONYMOUS: dict[str, Any] = {
    "id": 40_001,
    "anonymous": 1,
    "userid": 3,
    "relateduserid": 3,
    "user": None,
    "user_membership": None,
    "contextlevel": 70,
    "objectid": 40_077,
    "unresolved": ["feedback_completed:40077"],
}
FEEDBACK = {"id": 13, "modname": "feedback", "course": 2, "instance": 5, "activity": {"id": 5}}
SUBMITTED = ANONYMOUS | {
    "eventname": r"\mod_feedback\event\response_submitted",
    "component": "mod_feedback",
    "objecttable": "feedback_completed",
    "crud": "c",
    "contextinstanceid": 13,
    "module": FEEDBACK,
    "other": {"cmid": "13", "instanceid": "5"},
}
ROWS = {
    "response": SUBMITTED,
    "submission": ANONYMOUS
    | {
        "eventname": r"\mod_assign\event\assessable_submitted",
        "component": "mod_assign",
        "objecttable": "assign_submission",
        "contextinstanceid": 12,
        "module": ASSIGN,
        "object": {"id": 40_077, "userid": 3, "attemptnumber": 0, "timecreated": TIME},
    },
    "grade": ANONYMOUS
    | {
        "eventname": r"\mod_assign\event\submission_graded",
        "component": "mod_assign",
        "objecttable": "assign_grades",
        "contextinstanceid": 12,
        "module": ASSIGN,
        "object": {
            "id": 40_077, "userid": 3, "grade": 80.0, "attemptnumber": 0,
            "submission": {"id": 40_078, "userid": 3},
        },
    },
    "document": ANONYMOUS
    | {
        "eventname": r"\mod_assign\event\submission_viewed",
        "component": "mod_assign",
        "objecttable": "assign_submission",
        "contextinstanceid": 12,
        "module": ASSIGN,
    },
    "quiz": ANONYMOUS
    | {
        "eventname": r"\mod_quiz\event\attempt_viewed",
        "component": "mod_quiz",
        "objecttable": "quiz_attempts",
        "contextinstanceid": 11,
        "module": QUIZ,
        "other": {"page": 1},
    },
    "plugin": ANONYMOUS
    | {
        "eventname": r"\mod_plugin\event\answer_saved",
        "component": "mod_plugin",
        "objecttable": "plugin_answers",
        "contextinstanceid": 14,
        "crud": "u",
    },
}  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ROWS)
def test_nothing_leads_to_the_record(name, version):
    for outcome in translate(ROWS[name], version=version):
        assert outcome["outcome"] in {"event", "derived"}, outcome["reason"]
        text = json.dumps(outcome["json"])
        assert "4007" not in text
        assert "40001" not in text
        assert "profile.php" not in text
        assert not validate(outcome["json"], strict=True)


def test_an_attempt_has_the_anonymous_form_of_its_type():
    assert event(SUBMITTED)["generated"] == {
        "type": "Attempt",
        "id": f"{TERM}Attempt",
        "assignee": {"type": "Person", "id": f"{TERM}Person"},
        "assignable": f"{W}/mod/feedback/view.php?id=13",
    }


def test_a_score_keeps_what_was_given():
    graded = event(ROWS["grade"])
    assert graded["generated"] == {
        "type": "Score",
        "id": f"{TERM}Score",
        "attempt": f"{TERM}Attempt",
        "maxScore": 100.0,
        "scoreGiven": 80.0,
    }


def test_what_belongs_to_nobody_keeps_its_id():
    viewed = event(
        SUBMITTED
        | {
            "eventname": r"\mod_feedback\event\course_module_viewed",
            "objecttable": "feedback",
            "crud": "r",
        }
    )
    assert viewed["object"]["id"] == f"{W}/mod/feedback/view.php?id=13"


RECIPE = r"""
- events: [\mod_feedback\event\response_submitted]
  pattern: P99
  type: ResourceManagementEvent
  action: Created
  object: {type: Document, path: "mod/feedback/show_entries.php?id={objectid}&user={userid}"}
"""


def test_a_recipe_of_a_site_cannot_undo_it():
    recipes = load_recipes().with_user_recipes([("own.yaml", RECIPE)])
    assert event(SUBMITTED, recipes=recipes)["object"] == {
        "type": "Document",
        "id": f"{TERM}Document",
        "isPartOf": f"{W}/mod/feedback/view.php?id=13",
    }


def _documents() -> Iterator[dict[str, Any]]:
    for row in ROWS.values():
        yield event(row)


def test_the_related_user_is_not_told():
    assert all("relatedUser" not in found["extensions"] for found in _documents())
