"""What the events say of people, courses, activities, attempts and grades is what Moodle holds."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest
import sqlalchemy as sa

from caliper_dagster_tests.real_site.memberships import ADMINISTRATOR, ROLES, Standing
from caliper_dagster_tests.real_site.prescription import ANONYMOUS, SITE, Prescription
from caliper_dagster_tests.real_site.site import (
    WWWROOT,
    Event,
    Site,
    Translation,
    activity,
    assert_same,
    course,
    entities,
    iso,
    plain,
    user,
)

DATES = {
    "assign": ("allowsubmissionsfromdate", "duedate"),
    "lesson": ("available", "deadline"),
    "quiz": ("timeopen", "timeclose"),
    "scorm": ("timeopen", "timeclose"),
    "workshop": ("submissionstart", "submissionend"),
}
ATTEMPTS = {"assign": "maxattempts", "quiz": "attempts", "scorm": "maxattempt"}


# Courses


def test_courses_have_their_names(site: Site, translation: Translation) -> None:
    courses = site.table("course")
    actual, expected = {}, {}
    for row in site.named:
        group = translation.events[row.id].get("group")
        if group:
            actual[row.id] = tuple(map(group.get, ("name", "courseNumber", "dateCreated")))
            found = courses.get(row.courseid)
            expected[row.id] = (
                (plain(found.fullname), plain(found.shortname), iso(found.timecreated))
                if found
                else (None,) * 3
            )
    assert_same(actual, expected)


# Activities


def test_activities_are_those_of_their_tables(site: Site, translation: Translation) -> None:
    scales = {
        row.id: float(len(row.scale.split(","))) for row in site.rows("SELECT * FROM [scale]")
    }
    items = {
        (row.itemmodule, row.iteminstance): row
        for row in site.rows("SELECT * FROM [grade_items] WHERE itemtype='mod' AND itemnumber = 0")
    }
    pattern = re.compile(re.escape(WWWROOT) + r"/mod/(\w+)/view\.php\?id=(\d+)")

    def expected(name: str, module: int, courseid: int, kind: str) -> dict[str, Any]:
        found = site.activities.get(module)
        values: dict[str, Any] = {"isPartOf": course(courseid)}
        if found is None:
            return values | ({"name": plain(site.told[module])} if module in site.told else {})
        values["name"] = plain(found.name)
        if kind not in {"Assessment", "AssignableDigitalResource"}:
            return values
        start, end = (getattr(found, column) for column in DATES[name])
        values |= {"dateToStartOn": iso(start), "dateToSubmit": iso(end)}
        limit = getattr(found, ATTEMPTS[name]) if name in ATTEMPTS else 0
        values["maxAttempts"] = limit if limit > 0 else None
        item = items.get((name, found.id))
        values["maxScore"] = (
            scales[-found.grade] if name == "assign" and found.grade < 0
            else float(found.grade) if name in {"assign", "lesson", "quiz", "workshop"}
            else float(item.grademax) if item
            else None
        ) or None  # fmt: skip
        return {key: value for key, value in values.items() if value is not None}

    number = 0
    no_values = {"id", "type", "extensions", "otherIdentifiers"}
    for row in site.named:
        for _, entity in entities(translation.events[row.id]):
            place = pattern.fullmatch(entity.get("id", ""))
            if place:
                number += 1
                values = {k: v for k, v in entity.items() if k not in no_values}
                wanted = expected(place[1], int(place[2]), row.courseid, entity["type"])
                assert values == wanted, row.id
    assert number > 4000


def test_address_that_a_url_leads_to_is_in_the_extensions(
    site: Site, events: dict[int, Event]
) -> None:
    for row in site.of_name(r"mod_url\event\course_module_viewed"):
        found = site.activities.get(row.contextinstanceid)
        extensions = events[row.id]["object"].get("extensions")
        assert extensions == ({"externalUrl": found.externalurl} if found else None)


# Quizzes


def _finished(attempt: sa.Row, row: sa.Row) -> bool:
    """Whether the attempt was over at the time of the row."""
    return 0 < attempt.timefinish <= row.timecreated


def _quiz_attempt(attempt: sa.Row | None, row: sa.Row) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": f"{WWWROOT}/mod/quiz/review.php?attempt={row.objectid}",
        "type": "Attempt",
        "assignee": {"id": user(row.relateduserid), "type": "Person"},
    }
    if attempt is None:
        return values
    values |= {
        "assignee": {"id": user(attempt.userid), "type": "Person"},
        "count": attempt.attempt,
        "startedAtTime": iso(attempt.timestart),
    }
    if _finished(attempt, row):
        values["endedAtTime"] = iso(attempt.timefinish)
        values["duration"] = f"PT{attempt.timefinish - attempt.timestart}S"
    return values


def test_quiz_attempts_are_as_they_were_then(site: Site, translation: Translation) -> None:
    attempts = site.table("quiz_attempts")
    actual, expected = {}, {}
    for row in site.of_name("attempt_started", "attempt_submitted"):
        actual[row.id] = translation.events[row.id]["generated"]
        expected[row.id] = {
            **_quiz_attempt(attempts.get(row.objectid), row),
            "assignable": activity("quiz", row.contextinstanceid),
        }
    assert_same(actual, expected)


def test_quiz_results_are_on_the_scale_of_the_quiz(site: Site, translation: Translation) -> None:
    attempts = site.table("quiz_attempts")
    actual, expected = {}, {}
    for row in site.of_name("attempt_reviewed"):
        event = translation.events[row.id]
        result = event["extensions"]["moodle"].get("result")
        attempt = attempts.get(row.objectid)
        quiz = site.activities.get(row.contextinstanceid)
        score = None
        if attempt and quiz and _finished(attempt, row) and attempt.sumgrades is not None:
            score = (float(attempt.sumgrades / quiz.sumgrades * quiz.grade), float(quiz.grade))
        actual[row.id] = (
            event["object"]["id"],
            event["target"]["isPartOf"],
            pytest.approx((result["resultScore"], result["maxResultScore"]), abs=0.00001)
            if result
            else None,
        )
        expected[row.id] = (
            activity("quiz", row.contextinstanceid),
            f"{WWWROOT}/mod/quiz/review.php?attempt={row.objectid}",
            score,
        )
    assert_same(actual, expected)


def test_result_that_may_have_changed_since_is_marked(site: Site, events: dict[int, Event]) -> None:
    # Moodle keeps no history of an attempt's points, which regrading changes.
    attempts = site.table("quiz_attempts")
    actual, expected = {}, {}
    for row in site.of_name("attempt_reviewed"):
        attempt = attempts.get(row.objectid)
        actual[row.id] = events[row.id]["extensions"].get("asOf")
        changed = (
            attempt
            and "result" in events[row.id]["extensions"]["moodle"]
            and attempt.timemodified > row.timecreated
        )
        expected[row.id] = "export" if changed else None
    assert_same(actual, expected)
    assert "export" in expected.values()


# Assignments


_SAME_REQUEST = 10
"""Seconds after a row within which its request may have written the submission."""


def _submission(found: sa.Row | None, number: int | None, row: sa.Row) -> dict[str, Any]:
    submitted = (
        found is not None
        and found.status == "submitted"
        and found.timemodified <= row.timecreated + _SAME_REQUEST
    )
    values = {
        "endedAtTime": iso(found.timemodified) if found and submitted else None,
        "count": None if number is None else number + 1,
        "dateCreated": iso(found.timecreated) if found else None,
        "startedAtTime": iso(found.timestarted or found.timecreated) if found else None,
    }
    return {key: value for key, value in values.items() if value is not None}


def _members_of_groups(site: Site) -> dict[int, list[str]]:
    members = defaultdict(list)
    for row in site.rows("SELECT groupid, userid FROM [groups_members] ORDER BY userid"):
        members[row.groupid].append(user(row.userid))
    return members


def _of_team(found: sa.Row, row: sa.Row, members: dict[int, list[str]]) -> dict[str, Any]:
    """The attempt of a whole team, of which each member's attempt is a part."""
    page = activity("assign", row.contextinstanceid)
    values = {
        "id": f"{page}#submission-{found.id}",
        "type": "Attempt",
        "assignable": page,
        "count": found.attemptnumber + 1,
    }
    if not found.groupid:
        return values
    iri = f"{WWWROOT}/group/index.php?id={row.courseid}&group={found.groupid}"
    group = {"id": iri, "type": "Group", "members": members[found.groupid]}
    return values | {"extensions": {"moodle": {"group": group}}}


def test_submissions_are_counted_from_one_and_belong_to_the_learner_or_the_team(
    site: Site, translation: Translation
) -> None:
    submissions, members = site.table("assign_submission"), _members_of_groups(site)
    actual, expected = {}, {}
    teams = 0
    for row in site.of_name("assessable_submitted"):
        attempt = translation.events[row.id]["generated"]
        found = submissions.get(row.objectid)
        owner = found.userid if found and found.userid else row.relateduserid or row.userid
        values = _submission(found, found.attemptnumber if found else None, row)
        values |= {"id": f"{activity('assign', row.contextinstanceid)}#submission-{row.objectid}"}
        values["assignable"] = activity("assign", row.contextinstanceid)
        if found or row.relateduserid:  # a deleted one may have been a team's
            values["assignee"] = {"id": user(owner), "type": "Person"}
        if found and not found.userid:
            teams += 1
            values["isPartOf"] = _of_team(found, row, members)
            values["id"] += f"-user-{owner}"
        actual[row.id] = attempt
        expected[row.id] = values | {"type": "Attempt"}
    assert_same(actual, expected)
    assert teams


def test_graded_attempt_is_the_learners(
    site: Site, translation: Translation, prescription: Prescription
) -> None:
    actual, expected = {}, {}
    members = _members_of_groups(site)
    for row in site.of_name("submission_graded"):
        if prescription.is_removal(row):
            continue
        attempt = translation.events[row.id]["object"]
        grade = prescription.grades.get(row.objectid)
        found = prescription.submission(grade) if grade else None
        values = _submission(found, grade.attemptnumber if grade else None, row)
        values["assignee"] = {"id": user(row.relateduserid), "type": "Person"}
        if found and not found.userid:
            values["isPartOf"] = _of_team(found, row, members)
        actual[row.id] = {k: v for k, v in attempt.items() if k not in {"id", "type", "assignable"}}
        expected[row.id] = values
        assert attempt["assignable"]["id"] == activity("assign", row.contextinstanceid)
    assert_same(actual, expected)


def test_scores_are_those_that_were_given_then(
    site: Site, translation: Translation, prescription: Prescription
) -> None:
    actual, expected, unknown = {}, {}, []
    for row in site.of_name("submission_graded"):
        event = translation.events[row.id]
        known, grade = prescription.grade_as_of(row)
        if known:
            actual[row.id] = event.get("generated", {}).get("scoreGiven")
            expected[row.id] = grade
            assert "asOf" not in event["extensions"]
        elif row.objectid in prescription.grades:
            unknown.append(event["extensions"].get("asOf"))
        else:
            assert "scoreGiven" not in event["generated"]
            assert f"assign_grades:{row.objectid}" in event["extensions"]["unresolved"]
    assert_same(actual, expected)
    # Only where the gradebook takes no grades at all, nothing tells what was given.
    assert unknown == ["export"] * 4


def test_scores_have_the_maximum_the_attempt_and_the_grader(
    site: Site, translation: Translation, prescription: Prescription
) -> None:
    actual, expected = {}, {}
    for row in site.of_name("submission_graded"):
        if prescription.is_removal(row):
            continue
        event = translation.events[row.id]
        score = event["generated"]
        found = site.activities.get(row.contextinstanceid)
        maximum = event["object"]["assignable"].get("maxScore")
        actual[row.id] = (score["attempt"], score["scoredBy"], score.get("maxScore"))
        expected[row.id] = (
            prescription.graded_attempt(row),
            prescription.actor(row),
            maximum if "scoreGiven" in score else None,
        )
        if found and found.grade and "scoreGiven" in score:
            assert 0 <= score["scoreGiven"] <= maximum
    assert_same(actual, expected)


# Roles


def test_roles_are_those_assigned_in_the_course_and_above_it_or_those_that_the_log_proves(
    translation: Translation, site: Site, prescription: Prescription, standing: Standing
) -> None:
    actual, expected = {}, {}
    for row, person in _members(site, prescription):
        actual[row.id] = set(translation.events[row.id]["membership"].get("roles", ()))
        expected[row.id] = standing.roles(person, row.courseid, row.timecreated) or set()
    assert_same(actual, expected)
    assert {"Learner"} in expected.values()
    assert ADMINISTRATOR in expected.values()


def test_guests_have_a_guests_roles_and_no_name(
    site: Site, translation: Translation, prescription: Prescription
) -> None:
    guests = [
        row
        for row in site.named
        if (found := prescription.membership(row)) and found[1] == ANONYMOUS
    ]
    assert guests
    for row in guests:
        event = translation.events[row.id]
        assert event["actor"] == {"id": ANONYMOUS, "type": "Person"}
        assert set(event["membership"].get("roles", ())) in (ROLES["guest"], set())
        assert ("roles" in event["membership"]) == (row.courseid in site.table("course"))


def test_status_is_that_of_the_enrolment_at_the_time(
    translation: Translation, site: Site, prescription: Prescription, standing: Standing
) -> None:
    actual, expected = {}, {}
    for row, person in _members(site, prescription):
        actual[row.id] = translation.events[row.id]["membership"].get("status")
        expected[row.id] = standing.status(person, row.courseid, row.timecreated)
    assert_same(actual, expected)
    assert {"Active", "Inactive"} <= set(expected.values())


def test_roles_of_those_who_have_left_are_not_lost(
    translation: Translation, site: Site, prescription: Prescription, standing: Standing
) -> None:
    roles = [
        set(translation.events[row.id]["membership"].get("roles", ()))
        for row, person in _members(site, prescription)
        if standing.has_left(person, row.courseid)
    ]
    assert sum(map(bool, roles)) > 900
    assert {"Learner"} in roles
    assert {"Instructor"} in roles


def _members(site: Site, prescription: Prescription) -> list[tuple[sa.Row, int]]:
    """The rows in which a person acts in a course, with the person's id."""
    return [
        (row, int(found[1].rpartition("=")[2]))
        for row in site.named
        if (found := prescription.membership(row)) and found[1] not in (ANONYMOUS, SITE)
    ]
