"""A grading that the log tells twice: the later row knows the earlier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from caliper_dagster.core.hours import HourRange
from caliper_dagster.expander import MoodleDatabase, expand
from caliper_dagster_tests.harness.handmade_site import (
    HOUR,
    NOW,
    Site,
    decoded,
    expand_by_the_hour,
    whole_log,
)

USER_GRADED, SUBMISSION_GRADED = (
    r"\core\event\user_graded", r"\mod_assign\event\submission_graded"
)  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "moodle.sqlite")
    made.add("modules", {"id": 1, "name": "assign"}, {"id": 2, "name": "scorm"})
    made.add(
        "course_modules",
        {"id": 7, "course": 2, "module": 1, "instance": 70},
        {"id": 8, "course": 2, "module": 2, "instance": 80},
    )
    for id_, module, instance, number in ((3, "assign", 70, 0), (4, "scorm", 80, 0),
                                          (5, "assign", 70, 1)):  # fmt: skip
        made.add(
            "grade_items",
            {"id": id_, "courseid": 2, "itemtype": "mod", "itemmodule": module,
             "iteminstance": instance, "itemnumber": number},
        )  # fmt: skip
    return made


def of_gradebook(time: int, learner: int = 5, item: int = 3) -> dict[str, Any]:
    return {
        "eventname": USER_GRADED, "objecttable": "grade_grades", "objectid": 1, "userid": 9,
        "relateduserid": learner, "courseid": 2, "contextlevel": 50, "contextinstanceid": 2,
        "timecreated": time, "other": f'{{"itemid":"{item}","finalgrade":1}}',
    }  # fmt: skip


def of_assignment(time: int, learner: int = 5) -> dict[str, Any]:
    return {
        "eventname": SUBMISSION_GRADED, "objecttable": "assign_grades", "objectid": 1,
        "userid": 9, "relateduserid": learner, "courseid": 2, "contextlevel": 70,
        "contextinstanceid": 7, "timecreated": time,
    }  # fmt: skip


def earlier(rows: list[dict[str, Any]]) -> list[int | None]:
    rows = sorted(rows, key=lambda row: row["id"])
    return [(row["object"] or {}).get("samegradingas", {}).get("id") for row in rows]


def test_the_later_row_has_the_earlier_of_the_same_learner_and_item(site: Site) -> None:
    site.log(
        *(of_gradebook(NOW), of_assignment(NOW + 1), of_gradebook(NOW + 2), of_gradebook(NOW + 3)),
        *(of_assignment(NOW + 3, learner=6), of_gradebook(NOW + 64, learner=6)),
        *(of_gradebook(NOW + 3, learner=8, item=4), of_assignment(NOW + 3, learner=8)),
        *(of_gradebook(NOW + 3, learner=10, item=5), of_assignment(NOW + 3, learner=10)),
        *(of_assignment(NOW + 9), {**of_assignment(NOW + 9), "anonymous": 1}),
    )
    assert earlier(site.expand()) == [
        *(None, 1, None, None), *(None, None), *(None, None), *(None, None), *(4, None)
    ]  # fmt: skip


def test_the_earlier_row_may_be_of_the_hour_before(site: Site) -> None:
    start = HOUR.start
    site.log(of_gradebook(start - 1), of_assignment(start))
    rows = decoded(expand_by_the_hour(site.url, site.hours()))
    assert earlier(rows) == [None, 1]
    assert rows[1]["object"]["samegradingas"] == {
        "id": 1, "timecreated": start - 1, "eventname": USER_GRADED
    }  # fmt: skip


def test_the_earlier_row_may_have_been_expanded_before(site: Site) -> None:
    site.log(of_gradebook(NOW), of_assignment(NOW))
    with MoodleDatabase.open(site.url) as database:
        log = whole_log(database, HourRange(HOUR, HOUR + 1))
        rows = expand(database, log.slice(1), already_expanded=log.slice(0, 1))
    assert earlier(decoded(rows)) == [1]


def test_scores_of_a_package_are_told_by_the_player_and_by_the_gradebook(site: Site) -> None:
    score = {
        **of_assignment(NOW), "eventname": r"\mod_scorm\event\scoreraw_submitted", "userid": 5,
        "relateduserid": None, "objecttable": "scorm_scoes_value", "contextinstanceid": 8,
    }  # fmt: skip
    site.log(of_gradebook(NOW, item=4), score)
    assert earlier(site.expand()) == [None, 1]
