"""Roles and enrolments of a row are those of its time, by the log, not those of today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from caliper_dagster_tests.harness.handmade_site import NOW, Site

LEARNER, COURSE, OTHER_COURSE, CATEGORY = 5, 2, 3, 4
STUDENT, TEACHER, MANAGER = 1, 2, 3
DAY = 86_400


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "moodle.db")
    site.add("user", {"id": LEARNER, "username": "ada"})
    site.add(
        "role",
        {"id": STUDENT, "shortname": "student", "archetype": "student"},
        {"id": TEACHER, "shortname": "editingteacher", "archetype": "editingteacher"},
        {"id": MANAGER, "shortname": "manager", "archetype": "manager"},
    )
    site.add(
        "context",
        {"id": 10, "contextlevel": 10, "instanceid": 0, "path": "/10"},
        {"id": 11, "contextlevel": 40, "instanceid": CATEGORY, "path": "/10/11"},
        {"id": 12, "contextlevel": 50, "instanceid": COURSE, "path": "/10/11/12"},
        {"id": 13, "contextlevel": 50, "instanceid": OTHER_COURSE, "path": "/10/11/13"},
    )
    site.add("course", {"id": COURSE, "category": CATEGORY}, {"id": OTHER_COURSE})
    site.add("enrol", {"id": 7, "enrol": "manual", "status": 0, "courseid": COURSE})
    return site


def viewed(time: int, course: int = COURSE) -> dict[str, Any]:
    return {"timecreated": time, "userid": LEARNER, "courseid": course}


def change(verb: str, time: int, objectid: int, **row: object) -> dict[str, Any]:
    return {
        "eventname": rf"\core\event\{verb}",
        "timecreated": time,
        "objectid": objectid,
        "relateduserid": LEARNER,
        "userid": 2,
        "courseid": COURSE,
        "contextlevel": 50,
        "contextinstanceid": COURSE,
        **row,
    }


def standings(site: Site) -> list[tuple[list[str], int]]:
    """Roles, and whether an enrolment holds, in each row of the learner."""
    memberships = [row["user_membership"] for row in site.expand() if row["userid"] == LEARNER]
    return [
        ([role["shortname"] for role in membership["roles"]], membership["active"])
        for membership in memberships
    ]


def test_who_was_promoted_was_a_learner_before(site: Site) -> None:
    site.add("role_assignments", {"userid": LEARNER, "roleid": TEACHER, "contextid": 12})
    site.add("user_enrolments", {"id": 9, "enrolid": 7, "userid": LEARNER, "timestart": NOW})
    site.log(
        change("user_enrolment_created", NOW, 9),
        change("role_assigned", NOW, STUDENT),
        viewed(NOW + 60),
        change("role_unassigned", NOW + DAY, STUDENT),
        change("role_assigned", NOW + DAY, TEACHER),
        viewed(NOW + 2 * DAY),
    )

    assert standings(site) == [(["student"], 1), (["editingteacher"], 1)]


def test_whose_role_was_taken_yesterday_had_it_before(site: Site) -> None:
    site.add("user_enrolments", {"id": 9, "enrolid": 7, "userid": LEARNER, "timestart": NOW})
    site.log(viewed(NOW + 60), change("role_unassigned", NOW + DAY, STUDENT), viewed(NOW + DAY + 1))

    assert standings(site) == [(["student"], 1), ([], 1)]


def test_nobody_has_a_role_before_it_was_assigned(site: Site) -> None:
    site.add("role_assignments", {"userid": LEARNER, "roleid": STUDENT, "contextid": 12})
    site.add("user_enrolments", {"id": 9, "enrolid": 7, "userid": LEARNER, "timestart": NOW + 60})
    site.log(
        viewed(NOW),
        change("user_enrolment_created", NOW + 60, 9),
        change("role_assigned", NOW + 60, STUDENT),
        viewed(NOW + 60),
    )

    assert standings(site) == [([], 0), (["student"], 1)]


def test_a_role_that_the_log_never_mentions_is_that_of_today(site: Site) -> None:
    site.add(
        "role_assignments",
        {"userid": LEARNER, "roleid": STUDENT, "contextid": 12},
        {"userid": LEARNER, "roleid": TEACHER, "contextid": 12},
    )
    site.log(viewed(NOW), change("role_assigned", NOW + DAY, TEACHER))

    assert standings(site) == [(["student"], 0)]


def test_an_enrolment_that_was_deleted_held_before_beside_one_that_is_left(site: Site) -> None:
    site.add("user_enrolments", {"id": 9, "enrolid": 7, "userid": LEARNER, "timestart": NOW + DAY})
    site.log(
        viewed(NOW), change("user_enrolment_deleted", NOW + 60, 8), viewed(NOW + 61),
        viewed(NOW + DAY),
    )  # fmt: skip

    assert [active for _, active in standings(site)] == [1, 0, 1]


def test_a_role_above_the_course_counts_in_all_its_courses(site: Site) -> None:
    in_category = {"courseid": 0, "contextlevel": 40, "contextinstanceid": CATEGORY}
    site.log(
        change("role_assigned", NOW, MANAGER, **in_category),
        viewed(NOW + 1),
        viewed(NOW + 1, OTHER_COURSE),
        change("role_unassigned", NOW + 60, MANAGER, **in_category),
        viewed(NOW + 61),
    )

    assert standings(site) == [(["manager"], 0), (["manager"], 0), ([], 0)]


def test_an_administrator_stays_one_in_the_past(site: Site) -> None:
    site.add("config", {"name": "siteadmins", "value": str(LEARNER)})
    site.log(viewed(NOW), change("role_unassigned", NOW + DAY, TEACHER))

    row = site.expand()[0]

    assert row["user_membership"]["siteadmin"] == 1
    assert [role["shortname"] for role in row["user_membership"]["roles"]] == ["editingteacher"]


def test_a_change_in_a_later_hour_is_seen_when_an_hour_is_expanded_alone(site: Site) -> None:
    site.add("role_assignments", {"userid": LEARNER, "roleid": TEACHER, "contextid": 12})
    site.log(viewed(NOW), change("role_assigned", NOW + 5 * 3600, TEACHER))

    (alone,) = site.expand_hour(NOW)

    assert alone["user_membership"]["roles"] == []
