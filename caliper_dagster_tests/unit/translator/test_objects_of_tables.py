"""One thing has one IRI: what a record is in the recipes, it is in events that no recipe names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.translator.recipes import entities_of_tables, load_recipes
from caliper_dagster_tests.unit.translator.support import ADA, TEACHER, event, translate
from caliper_dagster_tests.unit.translator.test_catalogue import mapping, row

VERSIONS = ("v1p2", "v1p1")
RECIPES = load_recipes()
RECORDS = ("other", "module", "object")


def plausible(number: int, entry: dict[str, str]) -> dict[str, Any]:
    made = row(number, entry)
    return made | {name: json.loads(made[name]) for name in RECORDS}


KNOWN: dict[str, tuple[str, dict[str, Any]]] = {}
"""For each table, the property and the row of an event with a recipe that has the same entity."""
for number, entry in enumerate(mapping()):
    recipe = RECIPES.exact[entry["eventname"]]
    for table in entry["moodle_objecttable"].split("|"):
        own = entities_of_tables().get(table)
        for place in ("object", "generated"):
            if own is not None and getattr(recipe, place) == own:
                KNOWN.setdefault(table, (place, plausible(number, entry)))

MADE_FOR_THE_FALLBACK = {"assign_grades"}
"""Tables whose entity the recipes make with what only their events say, such as the grader."""


def unknown(of_recipe: dict[str, Any], **more: object) -> dict[str, Any]:
    name = r"\local_x\event\thing_updated"
    return {**of_recipe, "eventname": name, "component": "local_x", "crud": "u", **more}


def test_the_entity_of_every_table_is_that_of_a_recipe():
    assert entities_of_tables().keys() - KNOWN.keys() == MADE_FOR_THE_FALLBACK


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("table", sorted(KNOWN))
def test_a_record_is_the_same_thing_in_an_event_that_no_recipe_names(table, version):
    place, of_recipe = KNOWN[table]
    expected = event(of_recipe, version=version)[place]
    found = event(unknown(of_recipe), version=version)
    assert (found["object"]["id"], found["object"]["type"]) == (expected["id"], expected["type"])
    assert validate(found, strict=True) == []


GRADE = {
    "eventname": r"\local_x\event\thing_updated", "component": "local_x", "crud": "u",
    "objecttable": "assign_grades", "objectid": 90, "contextlevel": 70, "contextinstanceid": 12,
    "module": {"id": 12, "modname": "assign", "instance": 71},
}  # fmt: skip


def test_a_grade_is_the_score_that_its_grading_gave():
    graded = GRADE | {"eventname": r"\mod_assign\event\submission_graded", "relateduserid": 5}
    score = event(graded)["generated"]
    found = event(GRADE)["object"]
    assert (found["id"], found["type"]) == (score["id"], "Score")


def test_outside_of_its_activity_a_record_stays_what_its_table_says():
    found = event(GRADE | {"contextlevel": 50, "contextinstanceid": 2, "module": None})
    assert found["object"]["id"].endswith("/course/view.php?id=2#assign_grades-90")


def test_an_anonymous_row_does_not_name_the_record():
    _, of_recipe = KNOWN["quiz_attempts"]
    (outcome,) = translate(unknown(of_recipe, anonymous=1, user=None, user_membership=None))
    assert outcome["json"]["object"]["id"] == "http://purl.imsglobal.org/caliper/Attempt"


def test_the_comment_that_is_made_is_not_what_is_commented_on():
    found = event(unknown(KNOWN["comments"][1]) | {"eventname": r"\local_x\event\comment_created"})
    assert found["generated"]["type"] == "Comment"
    assert found["object"]["id"] != found["generated"]["id"]


@pytest.mark.parametrize("verb", ["graded", "regraded", "scored"])
def test_nobody_grades_himself(verb):
    of_grade = GRADE | {"eventname": rf"\local_x\event\thing_{verb}", "relateduserid": 3}
    own = event(of_grade | {"userid": 3, "user": ADA})
    assert (own["action"], own["actor"]["type"]) == ("Graded", "SoftwareApplication")
    by_teacher = event(of_grade | {"userid": 4, "user": TEACHER})
    assert by_teacher["actor"]["id"].endswith("/user/profile.php?id=4")
