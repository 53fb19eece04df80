"""Which recipe a row finds: its own, a site's, a family's or the fallback (mapping, section 5)."""

from __future__ import annotations

import csv

import pytest

from caliper_dagster.translator.recipes import action_of, load_recipes, read_recipes
from caliper_dagster_tests.harness.paths import DATA
from caliper_dagster_tests.unit.translator.support import RECIPES, W, event, translate
from caliper_dagster_tests.unit.translator.test_catalogue import mapping

ZOOM = {
    "component": "mod_zoom",
    "contextid": 44,
    "contextlevel": 70,
    "contextinstanceid": 15,
    "objecttable": "zoom_things",
    "objectid": 9,
    "target": "thing",
}
PAGE = f"{W}/mod/zoom/view.php?id=15"
GRADED = {
    "id": 15, "modname": "zoom", "activity": {"name": "Call"},
    "grade_item": {"gradetype": 1, "grademax": 5.0},
}  # fmt: skip


def own(names: str, **more: str) -> str:
    """A site's own recipe."""
    keys = {
        "events": names, "pattern": "own", "type": "Event", "action": "Linked", "object": "site",
        **more,
    }  # fmt: skip
    return "- " + "\n  ".join(f"{key}: {value}" for key, value in keys.items())


# The order


def test_a_row_finds_its_own_recipe_then_a_family_then_the_fallback():
    assert RECIPES.find(r"\mod_quiz\event\course_module_viewed").resolution == "exact"
    assert RECIPES.find(r"\mod_zoom\event\course_module_viewed").resolution == "family"
    assert RECIPES.find(r"\mod_zoom\event\thing_created").resolution == "fallback"
    for recipe in (RECIPES.find(r"\mod_zoom\event\course_module_viewed"), RECIPES.find("x")):
        assert recipe.source in {"families.yaml", "fallback.yaml"}


def test_a_sites_own_recipe_comes_before_the_projects():
    quiz, zoom = r"\mod_quiz\event\attempt_started", r"\mod_zoom\event\thing_created"
    recipes = RECIPES.with_user_recipes([("mine.yaml", own(f"[{quiz}, {zoom}]"))])
    for name in (quiz, zoom):
        found = recipes.find(name)
        assert (found.pattern, found.resolution, found.source) == ("own", "user", "mine.yaml")
    assert recipes.find(r"\mod_quiz\event\attempt_viewed") is RECIPES.find(
        r"\mod_quiz\event\attempt_viewed"
    )
    assert RECIPES.find(quiz).resolution == "exact"


def test_a_family_of_the_site_comes_before_the_projects_recipes_and_after_its_own_exact_ones():
    quiz, forum = r"\mod_quiz\event\course_module_viewed", r"\mod_forum\event\course_module_viewed"
    text = own(r"['*\event\course_module_viewed']") + "\n" + own(f"[{quiz}]", pattern="mine")
    recipes = RECIPES.with_user_recipes([("mine.yaml", text)])
    found = [recipes.find(name).pattern for name in (quiz, forum, forum.replace("forum", "zoom"))]
    assert found == ["mine", "own", "own"]
    assert recipes.find(r"\mod_zoom\event\attempt_viewed", "r", None, 70).resolution == "family"


def test_the_later_file_of_a_site_wins():
    name = r"\mod_quiz\event\attempt_started"
    files = [("a.yaml", own(f"[{name}]", pattern="a")), ("b.yaml", own(f"[{name}]", pattern="b"))]
    assert RECIPES.with_user_recipes(files).find(name).pattern == "b"
    assert RECIPES.with_user_recipes(reversed(files)).find(name).pattern == "a"
    assert RECIPES.with_user_recipes([]).exact == RECIPES.exact


def test_a_sites_own_family_about_activities_has_rows_of_any_context():
    text = own("['*_taken']", object="activity")
    recipes = RECIPES.with_user_recipes([("mine.yaml", text)])
    assert recipes.find(r"\local_x\event\attendance_taken", "c", None, 50).pattern == "own"


def test_the_number_of_recipes_does_not_change_what_a_row_becomes():
    names = ", ".join(rf"\local_x{n}\event\thing_{n}_done" for n in range(500))
    many = RECIPES.with_user_recipes([("many.yaml", own(f"[{names}]"))])
    few = load_recipes()
    rows = [
        {"eventname": name, **ZOOM, "id": number}
        for number, name in enumerate(
            [*sorted(few.exact)[::25], r"\mod_zoom\event\x_list_viewed", r"\a\event\b_sent", "x"]
        )
    ]
    assert len(many.exact) == len(few.exact) + 500
    assert translate(*rows, recipes=many) == translate(*rows, recipes=few)


# Families


@pytest.mark.parametrize(
    ("name", "pattern", "kind", "object_id"),
    [
        ("course_module_viewed", "P03", "ViewEvent Viewed AssignableDigitalResource", PAGE),
        (
            "course_module_instance_list_viewed", "P02",
            "NavigationEvent NavigatedTo DigitalResourceCollection",
            f"{W}/mod/zoom/index.php?id=2",
        ),
        ("calls_list_viewed", "P02", "NavigationEvent NavigatedTo WebPage", None),
        ("edit_form_viewed", "P02", "NavigationEvent NavigatedTo WebPage", None),
        ("report_viewed", "P05", "ViewEvent Viewed WebPage", None),
        ("calls_report_viewed", "P05", "ViewEvent Viewed WebPage", None),
        (
            "comment_created", "P18", "FeedbackEvent Commented DigitalResource",
            f"{PAGE}#zoom_things-9",
        ),
        ("comment_deleted", "P37", "Event Deleted Comment", f"{W}/#comment-9"),
        (
            "user_override_created", "P30", "ResourceManagementEvent Created DigitalResource",
            f"{PAGE}#zoom_things-9",
        ),
        ("override_updated", "P30", "ResourceManagementEvent Modified DigitalResource", None),
        ("group_override_deleted", "P30", "ResourceManagementEvent Deleted DigitalResource", None),
        ("assessable_uploaded", "P28", "ResourceManagementEvent Uploaded DigitalResource", None),
        ("grade_exported", "P28", "ResourceManagementEvent Downloaded WebPage", None),
        ("report_downloaded", "P28", "ResourceManagementEvent Downloaded WebPage", None),
        ("attempt_started", "P11", "AssignableEvent Started AssignableDigitalResource", PAGE),
        ("attempt_submitted", "P11", "AssignableEvent Submitted AssignableDigitalResource", PAGE),
        ("attempt_abandoned", "P37", "Event Abandoned Attempt", f"{PAGE}#zoom_things-9"),
        ("attempt_deleted", "P37", "Event Deleted Attempt", f"{PAGE}#zoom_things-9"),
        ("attempt_viewed", "P09", "ViewEvent Viewed AssignableDigitalResource", PAGE),
        ("attempt_reviewed", "P06", "ViewEvent Viewed AssignableDigitalResource", PAGE),
    ],
)  # fmt: skip
def test_an_unknown_plugins_event_belongs_to_a_family(name, pattern, kind, object_id):
    row = {**ZOOM, "eventname": rf"\mod_zoom\event\{name}", "module": GRADED, "crud": "c"}
    (outcome,) = translate(row)
    found = outcome["json"]
    assert (outcome["recipe"], outcome["resolution"]) == (pattern, "family")
    assert f"{found['type']} {found['action']} {found['object']['type']}" == kind
    assert object_id in {None, found["object"]["id"]}


def test_an_attempt_of_an_unknown_plugin_is_the_learners():
    row = {
        **ZOOM, "eventname": r"\mod_zoom\event\attempt_submitted", "module": GRADED,
        "objecttable": "zoom_attempts", "userid": -1, "user": None, "relateduserid": 3,
    }  # fmt: skip
    found = event(row)
    learner = f"{W}/user/profile.php?id=3"
    assert found["actor"]["id"] == learner
    assert found["generated"] == {
        "id": f"{PAGE}#zoom_attempts-9",
        "type": "Attempt",
        "assignee": {"id": learner, "type": "Person"},
        "assignable": PAGE,
    }


def test_without_a_grade_an_unknown_activity_is_a_resource_everywhere():
    module = {"id": 15, "modname": "zoom"}
    for name, kind in (("course_module_viewed", "ViewEvent"), ("attempt_started", "Event")):
        found = event({**ZOOM, "eventname": rf"\mod_zoom\event\{name}", "module": module})
        assert (found["type"], found["object"]["type"]) == (kind, "DigitalResource")


def test_attempts_outside_of_activities_are_the_fallbacks():
    row = {
        "eventname": r"\local_x\event\attempt_started", "component": "local_x",
        "objecttable": "local_x_attempts", "objectid": 5,
    }  # fmt: skip
    (outcome,) = translate(row)
    assert outcome["resolution"] == "fallback"
    assert outcome["json"]["object"] == {
        "id": f"{W}/course/view.php?id=2#local_x_attempts-5",
        "type": "Attempt",
    }


# The fallback


IN_COURSE = {"component": "local_x", "contextlevel": 50, "contextinstanceid": 2, "target": "thing"}
IN_SYSTEM = {
    **IN_COURSE, "contextlevel": 10, "contextinstanceid": 0, "courseid": 0, "course": None,
    "user_membership": None,
}  # fmt: skip
IN_PERSON = {**IN_SYSTEM, "contextlevel": 30, "contextinstanceid": 5}
THING = {"objecttable": "local_x_things", "objectid": 9}


@pytest.mark.parametrize(
    ("name", "row", "kind", "object_id"),
    [
        # the verb comes first, then crud
        ("thing_created", {**THING, "crud": "r"}, "ResourceManagementEvent Created", None),
        ("thing_frobbed", {**THING, "crud": "c"}, "ResourceManagementEvent Created", None),
        ("thing_frobbed", {**THING, "crud": "u"}, "ResourceManagementEvent Modified", None),
        ("thing_frobbed", {**THING, "crud": "d"}, "ResourceManagementEvent Deleted", None),
        ("thing_frobbed", {**THING, "crud": "r"}, "NavigationEvent NavigatedTo", None),
        ("thing_frobbed", {**THING, "crud": None}, "Event Used", None),
        ("thing_frobbed", {**THING, "crud": ""}, "Event Used", None),
        ("things_exported", THING, "ResourceManagementEvent Downloaded", None),
        ("thing_added", THING, "Event Added", None),
        ("certificate_issued", THING, "Event Completed", None),
        ("viewed", IN_SYSTEM, "NavigationEvent NavigatedTo", f"{W}/#page-local_x-thing"),
        ("things_searched", THING, "SearchEvent Searched", W),
        # contexts
        (
            "thing_viewed", {**ZOOM, "crud": "r"}, "ViewEvent Viewed", f"{PAGE}#zoom_things-9"
        ),
        (
            "thing_viewed", {**IN_COURSE, **THING}, "NavigationEvent NavigatedTo",
            f"{W}/course/view.php?id=2#page-local_x-thing-9",
        ),
        (
            "thing_created", {**IN_COURSE, **THING}, "ResourceManagementEvent Created",
            f"{W}/course/view.php?id=2#local_x_things-9",
        ),
        (
            "thing_created", {**IN_SYSTEM, **THING}, "ResourceManagementEvent Created",
            f"{W}/#local_x_things-9",
        ),
        (
            "thing_created", {**IN_PERSON, **THING}, "ResourceManagementEvent Created",
            f"{W}/user/profile.php?id=5#local_x_things-9",
        ),
        # without an object
        ("thing_enabled", IN_COURSE, "Event Activated", f"{W}/course/view.php?id=2#thing"),
        ("thing_created", {**ZOOM, "objectid": None}, "ResourceManagementEvent Created",
         f"{PAGE}#thing"),
        ("thing_enabled", IN_SYSTEM, "Event Activated", W),
        # tables
        ("x_deleted", {"objecttable": "user", "objectid": 5}, "Event Deleted",
         f"{W}/user/profile.php?id=5"),
        ("x_deleted", {"objecttable": "course", "objectid": 5}, "Event Deleted",
         f"{W}/course/view.php?id=5"),
        ("x_created", {"objecttable": "groups", "objectid": 5}, "Event Created",
         f"{W}/group/index.php?id=2&group=5"),
        ("x_created", {"objecttable": "cohort", "objectid": 5}, "Event Created",
         f"{W}/cohort/assign.php?id=5"),
        ("x_created", {"objecttable": "enrol_x_seats", "objectid": 5}, "Event Created", None),
        ("x_created", {"objecttable": "role_names", "objectid": 5}, "Event Created", None),
        ("x_created", {"objecttable": "grade_things", "objectid": 5}, "Event Created", None),
        ("x_created", {"objecttable": "comments", "objectid": 5}, "Event Created", None),
        ("x_created", {"objecttable": "x_submissions", "objectid": 5}, "Event Created", None),
        ("x_created", {"objecttable": "x_answer", "objectid": 5}, "Event Created", None),
        ("x_created", {"objecttable": "x_completed", "objectid": 5}, "Event Created", None),
        ("x_created", {"objecttable": "x_grades", "objectid": 5}, "Event Created", None),
    ],
)  # fmt: skip
def test_the_fallback_needs_only_columns_of_the_row(name, row, kind, object_id):
    row = {**IN_COURSE, "crud": "u", **row, "eventname": rf"\local_x\event\{name}"}
    (outcome,) = translate(row)
    found = outcome["json"]
    assert (outcome["recipe"], outcome["resolution"]) == ("P99", "fallback")
    assert f"{found['type']} {found['action']}" == kind
    assert object_id in {None, found["object"]["id"]}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("user", "Person"), ("course", "CourseSection"), ("groups", "Group"), ("cohort", "Group"),
        ("x_attempts", "Attempt"), ("x_attempt", "Attempt"), ("x_things", "DigitalResource"),
        ("role_names", "Entity"), ("x_answers", "Entity"), (None, "DigitalResource"),
    ],
)  # fmt: skip
def test_the_table_says_what_the_object_is(table, expected):
    row = {"eventname": r"\local_x\event\x_enabled", "objecttable": table, "objectid": 5}
    assert event({**IN_COURSE, **row})["object"]["type"] == expected


def test_a_resource_of_the_fallback_is_part_of_its_activity_or_its_courses_page():
    name = r"\local_x\event\thing_created"
    parts = [
        event({**row, **THING, "eventname": name})["object"].get("isPartOf")
        for row in (ZOOM, IN_COURSE, IN_SYSTEM, IN_PERSON)
    ]
    assert parts == [PAGE, f"{W}/course/view.php?id=2#page", None, None]


@pytest.mark.parametrize(
    "name", ["", "x", "\\", "\\event\\", "viewed", "\\A B\\event\\ü viewed", "\\\\\\", "%_{}", "*"]
)
@pytest.mark.parametrize("version", ["v1p2", "v1p1"])
def test_a_malformed_name_is_an_event_too(name, version):
    bare = dict.fromkeys(("component", "action", "target", "crud"))
    rows = [
        {**row, **less, "eventname": name}
        for row in (IN_COURSE, IN_SYSTEM, IN_PERSON, ZOOM)
        for less in ({}, bare)
    ]
    numbered = [{**row, "id": number} for number, row in enumerate(rows, 1)]
    found = [(one["outcome"], one["resolution"]) for one in translate(*numbered, version=version)]
    assert found == [("event", "fallback")] * len(rows)


def test_what_is_viewed_or_done_by_the_site_is_a_plain_event():
    row = {**ZOOM, "userid": -1, "user": None, "user_membership": None}
    found = event({**row, "eventname": r"\mod_zoom\event\thing_viewed"})
    assert (found["type"], found["action"], found["actor"]["id"]) == ("Event", "Viewed", W)


# Against the mapping


def test_every_verb_of_the_mapping_has_its_action():
    with (DATA / "verbs.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 38
    for row in rows:
        action = row["action"]
        for verb in row["verbs"].split(", "):
            assert action_of(rf"\x\event\thing_{verb}", "c") == action
            assert action_of(rf"\x\event\{verb}", None) == action


def test_the_fallback_alone_comes_close_to_the_mapping():
    levels = {"system": 10, "user": 30, "coursecat": 40, "course": 50, "module": 70, "any": 70}
    entries = mapping()
    bare = type(RECIPES)({}, RECIPES.families)
    same = 0
    for entry in entries:
        level = levels.get(entry["moodle_contextlevel"].strip("~").split("|")[0])
        found = bare.find(
            entry["eventname"], entry["moodle_crud"], entry["moodle_objecttable"], level
        )
        same += (found.event_type, found.action) == (entry["event_type"], entry["action"])
    assert same / len(entries) > 0.7


def test_families_are_tried_in_the_order_of_their_file():
    families = [pattern for pattern, _ in RECIPES.families]
    assert families[0] == r"*\event\course_module_viewed"
    first, second = (name for name, _ in read_recipes("m.yaml", own("['*_b', '*_a_b']")))
    assert (first, second) == ("*_b", "*_a_b")
