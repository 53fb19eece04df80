"""One thing has one IRI: what a record is in the recipes, it is in events that no recipe names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.translator.recipes import entities_of_tables, load_recipes
from caliper_dagster_tests.unit.translator.support import ADA, TEACHER, event, events, translate
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

MADE_FOR_THE_FALLBACK = {"assign_grades", "lesson_attempts", "workshop_assessments"}
"""Tables whose entity the recipes make with what only their events say, such as the grader."""

OF_SEVERAL_KINDS = {"bigbluebuttonbn", "course", "post", "role_capabilities", "tag_instance"}
"""Tables that recipes name by the id of something else, or whose records are several things."""


def unknown(of_recipe: dict[str, Any], **more: object) -> dict[str, Any]:
    name = r"\local_x\event\thing_updated"
    return {**of_recipe, "eventname": name, "component": "local_x", "crud": "u", **more}


def test_the_entity_of_every_table_is_that_of_a_recipe():
    assert entities_of_tables().keys() - KNOWN.keys() == MADE_FOR_THE_FALLBACK


def test_every_table_that_recipes_give_an_address_has_an_entity():
    addressed = {
        table
        for entry in mapping()
        for table in entry["moodle_objecttable"].split("|")
        for entity in (RECIPES.exact[entry["eventname"]].object,)
        if not isinstance(entity, str) and "{objectid}" in entity.path and entity.type != "WebPage"
    }
    assert addressed - OF_SEVERAL_KINDS <= entities_of_tables().keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_is_the_same_thing_in_an_event_that_no_recipe_names(version):
    rows = [of_recipe for _, of_recipe in KNOWN.values()]
    places = [place for place, _ in KNOWN.values()]
    of_recipes = zip(places, events(rows, version=version), strict=True)
    expected = [event[place] for place, event in of_recipes]
    found = events(map(unknown, rows), version=version)
    for table, entity, event_ in zip(KNOWN, expected, found, strict=True):
        object_ = event_["object"]
        assert (object_["id"], object_["type"]) == (entity["id"], entity["type"]), table
        assert validate(event_, strict=True) == []


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


@pytest.mark.parametrize(
    ("name", "table", "more"),
    [
        ("mod_lesson\\event\\essay_assessed", "lesson_attempts", {"other": {"attemptid": 90}}),
        ("mod_workshop\\event\\submission_assessed", "workshop_assessments", {}),
    ],
)
def test_what_is_graded_or_scored_is_the_same_thing(name, table, more):
    modname = name.partition("\\")[0].removeprefix("mod_")
    of_recipe = GRADE | {
        "eventname": f"\\{name}", "objecttable": table, "relateduserid": 5,
        "module": {"id": 12, "modname": modname, "instance": 71}, **more,
    }  # fmt: skip
    recipe = event(of_recipe)
    place = "object" if table == "lesson_attempts" else "generated"
    found = event(unknown(of_recipe))["object"]
    assert (found["id"], found["type"]) == (recipe[place]["id"], recipe[place]["type"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["quiz", "assign", "page", "zoom"])
def test_the_record_of_an_activity_is_the_activity(name, version):
    row = GRADE | {
        "objecttable": name, "objectid": 71, "module": {"id": 12, "modname": name, "instance": 71},
    }  # fmt: skip
    viewed = {"eventname": rf"\mod_{name}\event\course_module_viewed", "component": f"mod_{name}"}
    expected = event(row | viewed, version=version)["object"]
    for same in (row, row | {"objecttable": "course_modules", "objectid": 12}):
        found = event(same, version=version)
        shape = (found["object"]["id"], found["object"]["type"])
        assert shape == (expected["id"], expected["type"])
        assert validate(found, strict=True) == []


def test_the_record_of_another_activity_is_not_this_one():
    found = event(GRADE | {"objecttable": "assign", "objectid": 72})["object"]
    assert found["id"].endswith("/mod/assign/view.php?id=12#assign-72")


def test_an_address_is_completed_by_the_record():
    """``other`` of an event of a plugin need not have the keys that Moodle's own events have."""
    row = unknown(KNOWN["badge_criteria"][1])
    of_record = row | {"objectid": 4, "object": {"id": 4, "badgeid": 8}, "other": None}
    assert event(of_record)["object"]["id"].endswith("/badges/criteria.php?id=8#4")
    of_another = of_record | {"object": {"id": 5, "badgeid": 8}}
    assert event(of_another)["object"]["id"].endswith("/badges/criteria.php#4-badge_criteria")


def test_a_post_whose_discussion_is_unknown_is_in_none():
    post = unknown(KNOWN["forum_posts"][1]) | {"objectid": 7, "object": None, "other": None}
    found = event(post)["object"]
    assert found["id"].endswith("/mod/forum/discuss.php#p7")
    assert "isPartOf" not in found


@pytest.mark.parametrize("version", VERSIONS)
def test_a_page_that_shows_a_record_is_the_page_of_the_record(version):
    name = r"\local_x\event\thing_viewed"
    in_course = {"eventname": name, "component": "local_x", "crud": "r", "objectid": 9}
    badge = event({**in_course, "objecttable": "badge"}, version=version)
    assert (badge["type"], badge["object"]["type"]) == ("NavigationEvent", "DigitalResource")
    assert badge["object"]["id"].endswith("/badges/overview.php?id=9")
    cohort = event({**in_course, "objecttable": "cohort", "target": "thing"}, version=version)
    assert cohort["object"]["type"] == "WebPage"
    assert validate(badge, strict=True) == validate(cohort, strict=True) == []


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
