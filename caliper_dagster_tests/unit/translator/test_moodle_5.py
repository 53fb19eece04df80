"""The events that Moodle 5.0 and 5.1 added."""

from __future__ import annotations

from typing import Any

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster_tests.unit.translator.golden import ASSIGN
from caliper_dagster_tests.unit.translator.support import ADA, W, event

VERSIONS = ("v1p2", "v1p1")
LIST: dict[str, Any] = {
    "crud": "r", "objecttable": None, "objectid": None, "contextlevel": 50, "contextinstanceid": 2,
}  # fmt: skip


def shape(found: dict[str, Any]) -> tuple[str, str, str, str]:
    return found["type"], found["action"], found["object"]["type"], found["object"]["id"]


def test_the_overview_of_a_course_is_a_page_of_it():
    found = event({**LIST, "eventname": r"\core\event\course_overview_viewed"})
    page = f"{W}/course/overview.php?id=2"
    assert shape(found) == ("NavigationEvent", "NavigatedTo", "WebPage", page)
    assert found["object"]["isPartOf"] == f"{W}/course/view.php?id=2#page"


@pytest.mark.parametrize("name", ["bigbluebuttonbn", "qbank", "zoom"])
def test_the_activities_of_a_kind_are_listed_on_moodles_page(name):
    found = event(
        {
            **LIST,
            "eventname": rf"\mod_{name}\event\course_module_instance_list_viewed",
            "component": f"mod_{name}",
        }
    )
    page = f"{W}/mod/{name}/index.php?id=2"
    assert shape(found) == ("NavigationEvent", "NavigatedTo", "DigitalResourceCollection", page)


@pytest.mark.parametrize(
    ("word", "action"), [("enabled", "Activated"), ("disabled", "Deactivated")]
)
def test_a_shared_category_of_custom_fields_is_switched(word, action):
    found = event(
        {
            "eventname": rf"\core_customfield\event\shared_category_usage_{word}",
            "component": "core_customfield", "crud": "u", "objecttable": "customfield_category",
            "objectid": 4,
        }
    )  # fmt: skip
    assert shape(found) == ("Event", action, "Entity", f"{W}/#customfield_category-4")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_feedback_file_is_a_document_beside_its_grade(version):
    found = event(
        {
            "eventname": r"\assignfeedback_file\event\feedback_downloaded",
            "component": "assignfeedback_file", "crud": "r", "objecttable": "assign_grades",
            "objectid": 90, "contextlevel": 70, "contextinstanceid": 12, "userid": 3, "user": ADA,
            "module": ASSIGN, "object": {"id": 90, "userid": 3, "grade": 80.0, "attemptnumber": 0},
        },
        version=version,
    )  # fmt: skip
    assert found["object"]["type"] == "Document"
    assert found["object"]["id"] == f"{W}/mod/assign/view.php?id=12#grade-90-file"
    assert found["extensions"]["moodle"]["result"]["resultScore"] == 80.0
    assert validate(found, strict=True) == []
