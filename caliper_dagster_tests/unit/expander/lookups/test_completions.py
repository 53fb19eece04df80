"""What the state before a completion is: that of the earlier rows of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from caliper_dagster_tests.harness.handmade_site import NOW, Site, decoded, expand_by_the_hour

LEARNER, OTHER = 5, 6
COMPLETION = {
    "eventname": r"\core\event\course_module_completion_updated",
    "component": "core",
    "objecttable": "course_modules_completion",
    "objectid": 1,
    "contextlevel": 70,
    "contextinstanceid": 7,
    "courseid": 2,
    "userid": 9,
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "moodle.sqlite")


def row(state: object, learner: int = LEARNER, **more: object) -> dict[str, Any]:
    other = f'{{"relateduserid":"{learner}","overrideby":null,"completionstate":{state}}}'
    return {**COMPLETION, "relateduserid": learner, "other": other, **more}


def before(rows: list[dict[str, Any]]) -> list[int | None]:
    return [(row["object"] or {}).get("previousstate") for row in rows]


def test_the_state_before_is_that_of_the_last_row_of_the_learner_and_module(site: Site) -> None:
    site.log(
        *(row(0), row(1), row(0), row(0), row('"3"'), row(0)),
        *(row(2, learner=OTHER), row(1, contextinstanceid=8), row(0, learner=OTHER)),
        row(0, contextinstanceid=9),
    )
    assert before(site.expand()) == [0, None, 1, 0, None, 3, None, None, 2, 0]


def test_event_data_in_php_is_read_like_json(site: Site) -> None:
    php = 'a:2:{s:13:"relateduserid";s:1:"5";s:15:"completionstate";%s}'
    site.log(
        *(row(0, other=php % text) for text in ("i:1;", "i:0;", 's:1:"2";', 's:1:"0";')),
    )
    assert before(site.expand()) == [None, 1, None, 2]


def test_the_state_before_is_known_over_the_boundary_of_an_hour(site: Site) -> None:
    site.log(row(1, timecreated=NOW - 7200), row(0))
    assert before(decoded(expand_by_the_hour(site.url, site.hours()))) == [None, 1]


@pytest.mark.parametrize(("added", "registered", "known"), [(0, 0, False), (NOW - 1, 0, True),
    (NOW - 9999, NOW - 9999, False), (NOW - 9999, NOW, True)])  # fmt: skip
def test_earlier_rows_may_be_gone(site: Site, added: int, registered: int, known: bool) -> None:
    """The log begins at ``NOW - 100``, and its first rows are gone."""
    site.add("modules", {"id": 1, "name": "page"})
    site.add("course_modules", {"id": 7, "course": 2, "module": 1, "instance": 1, "added": added})
    site.add("user", {"id": LEARNER, "username": "ada", "timecreated": registered})
    site.log({"id": 5000, "timecreated": NOW - 100}, {**row(0), "id": 5001}, {**row(0), "id": 5002})
    assert before(site.expand()) == [None, 0 if known else None, 0]


def test_a_row_whose_record_is_gone_still_says_so(site: Site) -> None:
    site.log(row(0))
    (found,) = site.expand()
    assert found["object"] == {"previousstate": 0}
    assert "course_modules_completion:1" in found["unresolved"]
