"""Recipes of a site, whose paths and texts could carry a person past a keyed profile."""

from __future__ import annotations

from typing import Any

import pytest

from caliper_dagster.core.privacy import ProfileName
from caliper_dagster_tests.unit.translator.support import RECIPES, W, event

KEY = b"0123456789abcdef0123456789abcdef"
RECIPE = """
- events: ['\\local_x\\event\\seen']
  pattern: our-x
  type: ViewEvent
  action: Viewed
  object: {{type: WebPage, path: "{path}"}}
  other: [mode, alias]
"""
ROW: dict[str, Any] = {
    "eventname": r"\local_x\event\seen",
    "component": "local_x",
    "objecttable": "local_x_attempts",
    "objectid": 77_123,
    "userid": 77_003,
    "relateduserid": 77_004,
    "contextlevel": 30,
    "contextid": 77_030,
    "contextinstanceid": 77_003,
    "other": {"matric": 77_999, "alias": "mueller", "mode": "Karl Mueller", "courseid": 5,
              "useridto": 77_005, "itemid": 77_006},
}  # fmt: skip

TO_PERSONS = (
    "course/view.php?id={userid}",
    "mod/quiz/view.php?id={relateduserid}",
    "mod/quiz/view.php?id=1#item-{relateduserid}",
    "course/view.php?id={other.useridto}",
    "course/view.php?id={other.matric}",
    "mod/quiz/view.php?id={other.itemid}",
    "course/view.php?id={objectid}",
    "grade/edit/letter/index.php?id={contextid}",
    "#{other.alias}",
    "report/stats/index.php?id={courseid}&mode={other.alias}",
    "webservice#{other.alias}",
    "mod/{other.alias}/view.php?id=2",
)


def seen(path: str, profile: ProfileName, **columns: object) -> dict[str, Any]:
    recipes = RECIPES.with_user_recipes([("x.yaml", RECIPE.format(path=path))])
    return event({**ROW, **columns}, recipes=recipes, profile=profile, key=KEY)


@pytest.mark.parametrize("path", TO_PERSONS)
def test_a_path_with_the_value_of_a_person_is_keyed_wherever_it_seems_to_lead(path: str) -> None:
    pseudonymous = seen(path, "pseudonymous")["object"]["id"]
    assert pseudonymous.startswith("urn:uuid:")
    assert seen(path, "anonymous")["object"]["id"] == "http://purl.imsglobal.org/caliper/WebPage"
    plain = seen(path, "identified")["object"]["id"]
    assert plain.startswith(W)
    assert plain.isprintable()


def test_a_path_with_values_of_the_institution_stays_an_address() -> None:
    found = seen("course/view.php?id={other.courseid}", "pseudonymous")
    assert found["object"]["id"] == f"{W}/course/view.php?id=5"
    found = seen("mod/quiz/view.php?id={objectid}", "anonymous", objecttable="quiz")
    assert found["object"]["id"] == f"{W}/mod/quiz/view.php?id=77123"


def test_a_value_that_the_row_does_not_have_hides_nothing() -> None:
    found = seen("course/view.php?id=5&section={other.matric}", "pseudonymous", other=None)
    assert found["object"]["id"] == f"{W}/course/view.php?id=5"


def test_a_page_of_a_person_has_one_id_however_it_is_named() -> None:
    by_recipe = seen("user/profile.php?id={relateduserid}", "pseudonymous")["object"]["id"]
    other = seen("my/", "pseudonymous")["extensions"]["relatedUser"]["id"]
    assert by_recipe == other


def test_text_that_a_recipe_allows_does_not_leave_under_a_key() -> None:
    facts = seen("my/", "pseudonymous")["extensions"]["moodle"]
    assert facts["other"] == {"courseid": 5}
    told = seen("my/", "identified")["extensions"]["moodle"]["other"]
    assert told["mode"] == "Karl Mueller"
