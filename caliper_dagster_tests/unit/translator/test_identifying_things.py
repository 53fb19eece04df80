"""What identifies things is sent: id numbers, learning objectives, plain names, the site's name."""

from __future__ import annotations

from typing import Any

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.translator.entities.registry import plain
from caliper_dagster_tests.unit.translator.support import MATHS, ROW, TEACHER, W, event

CATEGORY = {"id": 5, "name": "Arts &amp; Sciences", "idnumber": "FAC-5", "path": "/5"}
COURSE = {**MATHS, "idnumber": "SIS-2", "enddate": 1_710_000_000, "category": CATEGORY}
COMPETENCY = {"id": 9, "name": "Counting"}
MODULE = {
    "id": 30, "modname": "quiz", "instance": 6, "idnumber": "QUIZ-1",
    "activity": {"id": 6, "name": "<em>Quiz</em>"}, "competencies": [COMPETENCY],
}  # fmt: skip


def numbers(entity: dict[str, Any]) -> dict[str, str]:
    """The identifiers of an entity by their types, in either version."""
    found = entity.get("otherIdentifiers") or entity["extensions"]["otherIdentifiers"]
    return {one["identifierType"]: one["identifier"] for one in found}


@pytest.mark.parametrize("version", ["v1p2", "v1p1"])
def test_a_course_has_its_id_number_and_its_dates(version: Any) -> None:
    found = event({"course": COURSE}, version=version)

    assert numbers(found["group"]) == {"SisSourcedId": "SIS-2", "LtiContextId": "2"}
    assert found["group"]["extensions"]["startDate"] == "2023-11-14T22:13:20.000Z"
    assert found["group"]["extensions"]["endDate"] == "2024-03-09T16:00:00.000Z"
    assert "subOrganizationOf" not in found["group"]
    assert list(validate(found)) == []


def test_a_course_has_its_category_where_a_setting_says_so() -> None:
    category = event({"course": COURSE}, course_categories=True)["group"]["subOrganizationOf"]

    assert category["id"] == f"{W}/course/index.php?categoryid=5"
    assert category["type"] == "Organization"
    assert category["name"] == "Arts & Sciences"
    assert numbers(category) == {"SisSourcedId": "FAC-5"}


@pytest.mark.parametrize(
    ("name", "table", "kind"),
    [
        (r"\core\event\group_updated", "groups", "SisSourcedId"),
        (r"\core\event\cohort_updated", "cohort", "SisSourcedId"),
        (r"\core\event\course_category_updated", "course_categories", "SisSourcedId"),
        (r"\core\event\competency_updated", "competency", "Other"),
    ],
)
def test_a_thing_has_its_id_number(name: str, table: str, kind: str) -> None:
    record = {"table": table, "id": 7, "name": "A name", "idnumber": "N-7"}
    found = event({"eventname": name, "objecttable": table, "objectid": 7, "object": record})

    assert numbers(found["object"]) == {kind: "N-7"}
    assert list(validate(found)) == []


def test_the_id_number_of_a_group_is_there_where_somebody_joins_it() -> None:
    found = event(
        {
            "eventname": r"\core\event\group_member_added", "objecttable": "groups", "objectid": 7,
            "object": {"table": "groups", "id": 7, "name": "Blue", "idnumber": "N-7"},
            "relateduserid": 4, "relateduser": TEACHER,
        }
    )  # fmt: skip

    assert numbers(found["object"]["organization"]) == {"SisSourcedId": "N-7"}


@pytest.mark.parametrize("version", ["v1p2", "v1p1"])
def test_an_activity_has_its_number_and_its_objectives(version: Any) -> None:
    found = event(
        {
            "eventname": r"\mod_quiz\event\course_module_viewed", "component": "mod_quiz",
            "objecttable": "quiz", "objectid": 6, "contextlevel": 70, "contextinstanceid": 30,
            "module": MODULE,
        },
        version=version,
    )  # fmt: skip

    assert numbers(found["object"]) == {"Other": "QUIZ-1"}
    assert found["object"]["name"] == "Quiz"
    (objective,) = found["object"]["learningObjectives"]
    assert objective["id"] == f"{W}/admin/tool/lp/editcompetency.php?id=9"
    assert objective["name"] == "Counting"
    assert list(validate(found)) == []


def test_the_objectives_of_a_course_are_those_of_its_page() -> None:
    found = event({"course": {**COURSE, "competencies": [COMPETENCY]}})

    assert found["object"]["id"].endswith("#page")
    assert [one["name"] for one in found["object"]["learningObjectives"]] == ["Counting"]
    assert "learningObjectives" not in found["group"]


def test_the_site_has_its_name() -> None:
    found = event({"site": {**ROW["site"], "name": "Our school"}})

    assert found["edApp"]["name"] == "Our school"


RATED = {
    "eventname": r"\core\event\competency_user_competency_rated_in_course",
    "objecttable": "competency_usercompcourse", "objectid": 8, "userid": 4, "user": TEACHER,
    "relateduserid": 3, "other": {"competencyid": 9, "grade": 2},
    "object": {
        "table": "competency_usercompcourse", "id": 8, "userid": 3, "competencyid": 9,
        "name": "Counting", "scale_item": "Very &amp; good",
    },
}  # fmt: skip


def test_a_rating_is_of_the_competency_and_names_the_learner() -> None:
    found = event(RATED)
    competency = f"{W}/admin/tool/lp/editcompetency.php?id=9"

    assert (found["type"], found["action"]) == ("FeedbackEvent", "Ranked")
    assert (found["object"]["type"], found["object"]["id"]) == ("LearningObjective", competency)
    assert found["generated"]["rated"] == competency
    assert found["generated"]["rater"]["id"] == f"{W}/user/profile.php?id=4"
    assert found["generated"]["selections"] == ["Very & good"]
    assert found["extensions"]["relatedUser"]["id"] == f"{W}/user/profile.php?id=3"
    assert list(validate(found)) == []


def test_a_rating_in_1_1_ranks_the_competency_and_generates_nothing() -> None:
    found = event(RATED, version="v1p1")

    assert (found["type"], found["action"]) == ("Event", "Ranked")
    assert found["object"]["id"] == f"{W}/admin/tool/lp/editcompetency.php?id=9"
    assert "generated" not in found
    assert list(validate(found)) == []


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("HTML bold &amp; more", "HTML bold & more"),
        ("<em>Kanji</em>", "Kanji"),
        ('<span lang="de" class="multilang">Mathe</span>', "Mathe"),
        ("One<br />two", "One two"),
        ("&lt;b&gt; in HTML", "<b> in HTML"),
        ("a &#228; &#xE4; &nbsp;b", "a ä ä  b"),
        ("List<String> & a < b", "List<String> & a < b"),
        ("AT&T &unknown; R&copy", "AT&T &unknown; R&copy"),
        ("<b></b>", None),
        ("", None),
        (None, None),
    ],
)
def test_a_name_is_plain_text(stored: str | None, expected: str | None) -> None:
    assert plain(stored) == expected
