"""What the database knows about a log row, joined to it: on sites of a few rows, made by hand."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import expand
from caliper_dagster.expander.lookups.sessions import LOGGED_IN, LOGGED_OUT
from caliper_dagster_tests.harness.examples import examples
from caliper_dagster_tests.harness.handmade_site import (
    HOUR,
    LOG_ROW,
    NOW,
    Site,
    decoded,
    expand_at_once,
    expand_by_the_hour,
    whole_log,
)

ADA, BEN, CLEO = 3, 4, 5
MATHS, PHYSICS = 2, 3
QUIZ_MODULE, ASSIGN_MODULE = 11, 12
SYSTEM, CATEGORY, IN_MATHS, IN_PHYSICS = 1, 20, 30, 31
ROLES = {"manager": 1, "editingteacher": 3, "student": 5, "tutor": 9}
OPEN = {"status": 0, "timestart": 0, "timeend": 0, "timecreated": NOW - 9000}


@pytest.fixture
def school(site: Site) -> Site:
    """Two courses in a category, three users, roles, a quiz and an assignment."""
    site.add(
        "config",
        {"name": "release", "value": "4.5.6 (Build: 20250811)"},
        {"name": "siteguest", "value": "1"},
        {"name": "siteadmins", "value": "2, 9,x"},
    )
    site.add(
        "user",
        {"id": 1, "username": "guest", "firstname": "Guest"},
        {"id": 2, "username": "admin", "firstname": "Root", "mnethostid": 1},
        *(
            {"id": key, "username": name.lower(), "firstname": name, "email": f"{name}@x.org"}
            for key, name in ((ADA, "Ada"), (BEN, "Ben"), (CLEO, "Cleo"))
        ),
    )
    site.add("course_categories", {"id": 8, "name": "Science", "path": "/8"})
    site.add(
        "course",
        {"id": 1, "fullname": "Front page"},
        {"id": MATHS, "category": 8, "fullname": "Maths", "shortname": "M1"},
        {"id": PHYSICS, "category": 8, "fullname": "Physics"},
    )
    site.add(
        "context",
        {"id": SYSTEM, "contextlevel": 10, "path": "/1"},
        {"id": CATEGORY, "contextlevel": 40, "instanceid": 8, "path": "/1/20"},
        {"id": IN_MATHS, "contextlevel": 50, "instanceid": MATHS, "path": "/1/20/30"},
        {"id": IN_PHYSICS, "contextlevel": 50, "instanceid": PHYSICS, "path": "/1/20/31"},
        # A module's context with the number of a course must not be taken for it.
        {"id": 40, "contextlevel": 70, "instanceid": MATHS, "path": "/1/20/30/40"},
    )
    site.add(
        "role",
        *(
            {"id": key, "shortname": name, "sortorder": key, "archetype": name}
            for name, key in ROLES.items()
            if name != "tutor"
        ),
        {"id": 9, "shortname": "tutor", "sortorder": 9, "archetype": "teacher"},
    )
    site.add(
        "enrol",
        {"id": 60, "courseid": MATHS, "enrol": "manual"},
        {"id": 61, "courseid": PHYSICS, "enrol": "guest"},
        {"id": 62, "courseid": MATHS, "enrol": "self", "status": 1},
    )
    site.add("modules", {"id": 1, "name": "quiz"}, {"id": 2, "name": "assign"})
    site.add(
        "course_modules",
        {"id": QUIZ_MODULE, "course": MATHS, "module": 1, "instance": 70, "idnumber": "Q"},
        {"id": ASSIGN_MODULE, "course": MATHS, "module": 2, "instance": 71},
    )
    site.add("quiz", {"id": 70, "course": MATHS, "name": "Fractions", "grade": 10, "sumgrades": 5})
    site.add("assign", {"id": 71, "course": MATHS, "name": "Essay", "grade": 100})
    site.add(
        "grade_items",
        {"id": 80, "itemtype": "mod", "itemmodule": "quiz", "iteminstance": 70, "itemnumber": 0},
        {"id": 81, "itemtype": "mod", "itemmodule": "assign", "iteminstance": 71, "itemnumber": 0},
        # An outcome of the same activity is not its grade.
        {"id": 82, "itemtype": "mod", "itemmodule": "quiz", "iteminstance": 70, "itemnumber": 1000},
    )
    return site


def assign(site: Site, user: int, role: str, context: int) -> None:
    site.add("role_assignments", {"userid": user, "roleid": ROLES[role], "contextid": context})


def only(site: Site) -> dict:
    (row,) = site.expand()
    return row


def membership(site: Site, user: int = ADA, course: int = MATHS, time: int = NOW) -> dict:
    """The membership of a user in a row of the course."""
    site.log({"userid": user, "courseid": course, "timecreated": time})
    return only(site)["user_membership"]


def shortnames(membership: dict) -> list[str]:
    return [role["shortname"] for role in membership["roles"]]


# People


def test_roles_come_from_the_course_and_from_what_it_is_in(school):
    assign(school, ADA, "student", IN_MATHS)
    assign(school, ADA, "tutor", CATEGORY)
    assign(school, ADA, "manager", SYSTEM)
    assign(school, ADA, "editingteacher", IN_PHYSICS)
    assign(school, BEN, "editingteacher", IN_MATHS)
    found = membership(school)
    assert shortnames(found) == ["manager", "student", "tutor"]
    assert found["roles"][2] == {"shortname": "tutor", "archetype": "teacher"}
    assert (found["user"], found["course"]) == (ADA, MATHS)


def test_a_role_that_is_assigned_twice_counts_once(school):
    assign(school, ADA, "student", IN_MATHS)
    assign(school, ADA, "student", CATEGORY)
    assert shortnames(membership(school)) == ["student"]


@pytest.mark.parametrize(
    ("enrolment", "active"),
    [
        (OPEN, 1),
        ({**OPEN, "status": 1}, 0),
        ({**OPEN, "enrolid": 62}, 0),
        ({**OPEN, "timestart": NOW}, 1),
        ({**OPEN, "timestart": NOW + 1}, 0),
        ({**OPEN, "timeend": NOW + 1}, 1),
        ({**OPEN, "timeend": NOW}, 0),
        ({**OPEN, "timecreated": NOW + 1}, 0),
        ({**OPEN, "enrolid": 61}, 0),
        (None, 0),
    ],
    ids=[
        "open", "suspended", "method switched off", "begins now", "begins later", "ends later",
        "ended", "enrolled later", "another course", "never enrolled",
    ],
)  # fmt: skip
def test_a_membership_is_active_while_an_enrolment_holds(school, enrolment, active):
    if enrolment:
        school.add("user_enrolments", {"userid": ADA, "enrolid": 60, **enrolment})
    assert membership(school)["active"] == active


def test_rows_before_and_after_an_enrolment_differ(school):
    school.add("user_enrolments", {**OPEN, "userid": ADA, "enrolid": 60, "timeend": NOW})
    school.add("user_enrolments", {**OPEN, "userid": ADA, "enrolid": 62, "timestart": NOW})
    school.log(*({"userid": ADA, "courseid": MATHS, "timecreated": NOW + d} for d in (-1, 0)))
    assert [row["user_membership"]["active"] for row in school.expand()] == [1, 0]


def test_one_of_several_enrolments_is_enough(school):
    school.execute("UPDATE mdl_enrol SET status = 0")
    school.add("user_enrolments", {**OPEN, "userid": ADA, "enrolid": 60, "status": 1})
    school.add("user_enrolments", {**OPEN, "userid": ADA, "enrolid": 62})
    assert membership(school)["active"] == 1


def test_a_stranger_in_a_course_that_lets_guests_in_is_a_guest(school):
    assert membership(school, course=PHYSICS)["guest"] == 1


@pytest.mark.parametrize("known", ["role", "enrolment"])
def test_whoever_belongs_to_a_course_is_no_guest_there(school, known):
    if known == "role":
        assign(school, ADA, "student", IN_PHYSICS)
    else:
        school.add("user_enrolments", {**OPEN, "userid": ADA, "enrolid": 61, "status": 1})
    assert "guest" not in membership(school, course=PHYSICS)


def test_where_guests_are_not_let_in_nobody_is_one_but_the_guest_account(school):
    school.execute("UPDATE mdl_enrol SET status = 1 WHERE enrol = 'guest'")
    school.log({"userid": ADA, "courseid": PHYSICS}, {"userid": 1, "courseid": PHYSICS})
    ada, guest = school.expand()
    assert "guest" not in ada["user_membership"]
    assert guest["user_membership"]["guest"] == 1
    assert guest["user"]["guest"] == 1
    assert "guest" not in ada["user"]


def test_site_administrators_are_marked_and_odd_entries_do_not_matter(school):
    school.log({"userid": 2, "courseid": PHYSICS}, {"userid": ADA, "courseid": PHYSICS})
    admin, ada = school.expand()
    assert admin["user_membership"]["siteadmin"] == 1
    assert "siteadmin" not in ada["user_membership"]


@pytest.mark.parametrize("course", [0, 1, None])
def test_outside_of_courses_nobody_is_a_member(school, course):
    assert membership(school, course=course) is None


def test_all_users_of_a_row_are_members_of_its_course(school):
    assign(school, BEN, "student", IN_MATHS)
    assign(school, CLEO, "editingteacher", IN_MATHS)
    school.log({"userid": BEN, "relateduserid": ADA, "realuserid": CLEO, "courseid": MATHS})
    row = only(school)
    assert shortnames(row["user_membership"]) == ["student"]
    assert shortnames(row["realuser_membership"]) == ["editingteacher"]
    assert shortnames(row["relateduser_membership"]) == []
    assert [row[name]["id"] for name in ("user", "relateduser", "realuser")] == [BEN, ADA, CLEO]


def test_a_user_is_joined_with_names_and_addresses(school):
    school.log({"userid": ADA})
    assert only(school)["user"] == {
        "id": ADA,
        "username": "ada",
        "idnumber": "",
        "firstname": "Ada",
        "lastname": "",
        "email": "Ada@x.org",
        "deleted": 0,
    }


def test_of_a_deleted_user_only_the_id_is_kept(school):
    school.execute(f"UPDATE mdl_user SET deleted = 1 WHERE id = {ADA}")
    school.log({"userid": ADA})
    row = only(school)
    assert row["user"] == {"id": ADA, "deleted": 1}
    assert row["unresolved"] is None


def test_an_anonymous_row_is_joined_to_no_user(school):
    assign(school, ADA, "student", IN_MATHS)
    people = {"userid": ADA, "relateduserid": BEN, "realuserid": CLEO, "courseid": MATHS}
    school.log({**people, "anonymous": 1}, {**people, "userid": 999, "anonymous": 1}, people)
    hidden, unknown, shown = school.expand()
    names = [name for name in hidden if "user" in name and not name.endswith("id")] + ["session"]
    assert len(names) == 7
    assert {hidden[name] for name in names} == {None}
    assert hidden["course"]["id"] == MATHS
    assert unknown["unresolved"] is None
    assert shown["user"]["id"] == ADA


def test_nobody_and_the_system_are_no_missing_users(school):
    school.log({"userid": 0}, {"userid": -1}, {"userid": -20, "relateduserid": 0})
    for row in school.expand():
        assert (row["user"], row["relateduser"], row["unresolved"]) == (None, None, None)


# Courses, modules, what cannot be found


def test_a_row_knows_the_site_the_course_and_the_activity(school):
    school.log(
        {"courseid": MATHS, "contextlevel": 70, "contextinstanceid": QUIZ_MODULE, "contextid": 41}
    )
    row = only(school)
    assert row["site"] == {"release": "4.5.6 (Build: 20250811)", "name": "Front page"}
    assert row["course"]["fullname"] == "Maths"
    assert row["course"]["category"]["name"] == "Science"
    assert row["module"]["modname"] == "quiz"
    assert row["module"]["activity"]["name"] == "Fractions"
    assert row["module"]["grade_item"]["id"] == 80
    assert "scale_items" not in row["module"]


def test_a_course_module_is_only_what_a_module_context_names(school):
    school.log({"contextlevel": 50, "contextinstanceid": QUIZ_MODULE, "courseid": MATHS})
    assert only(school)["module"] is None


@pytest.mark.parametrize(("scale", "items"), [("Poor,Fair,Good", 3), ("Done", 1), ("", None)])
def test_an_activity_that_is_graded_by_a_scale_knows_its_length(school, scale, items):
    school.execute("UPDATE mdl_assign SET grade = -6")
    school.add("scale", {"id": 6, "scale": scale})
    school.log({"contextlevel": 70, "contextinstanceid": ASSIGN_MODULE})
    assert only(school)["module"].get("scale_items") == items


def test_a_single_file_knows_what_kind_of_file_it_is(school):
    school.add("modules", {"id": 3, "name": "resource"})
    school.add("course_modules", {"id": 13, "course": MATHS, "module": 3, "instance": 72})
    content = {
        "contextid": 42, "component": "mod_resource", "filearea": "content", "itemid": 0,
        "filesize": 1, "timecreated": 0, "timemodified": 0,
    }  # fmt: skip
    school.add(
        "files",
        {**content, "filename": ".", "mimetype": None, "sortorder": 9},
        {**content, "filename": "notes.txt", "mimetype": "text/plain"},
        {**content, "filename": "film.mp4", "mimetype": "video/mp4", "sortorder": 1},
        {**content, "filename": "intro.png", "mimetype": "image/png", "filearea": "intro"},
    )
    school.log({"contextid": 42, "contextlevel": 70, "contextinstanceid": 13})
    assert only(school)["module"]["mimetype"] == "video/mp4"


def test_a_row_whose_references_lead_nowhere_keeps_its_ids_and_lists_them(school):
    school.log(
        {
            "userid": 901,
            "relateduserid": 902,
            "realuserid": 901,
            "courseid": 903,
            "contextlevel": 70,
            "contextinstanceid": 904,
            "objecttable": "quiz_attempts",
            "objectid": 905,
            "other": "{cut",
        }
    )
    row = only(school)
    assert sorted(row["unresolved"]) == [
        "course:903", "course_modules:904", "other", "quiz_attempts:905", "user:901", "user:902"
    ]  # fmt: skip
    assert (row["userid"], row["courseid"], row["objectid"]) == (901, 903, 905)
    nothing = ("user", "relateduser", "realuser", "course", "module", "object", "other")
    assert {name: row[name] for name in nothing} == dict.fromkeys(nothing)


@pytest.mark.parametrize("table", ["quiz_attempts", "assign_submission", "assign_grades"])
def test_ids_of_a_restored_log_do_not_break_their_row(school, table):
    row = {"objecttable": table, "objectid": -31337, "userid": -31338, "courseid": -31337}
    school.log(row, {**row, "objectid": None, "courseid": None})
    assert [row["object"] for row in school.expand()] == [None, None]


def test_an_object_of_a_table_that_nobody_expands_is_no_missing_object(school):
    school.log({"objecttable": "zoom_meeting_participants", "objectid": 5})
    assert only(school)["unresolved"] is None


# Objects as of the row


def attempt_row(**columns: object) -> dict:
    return {"objecttable": "quiz_attempts", "objectid": 50, "courseid": MATHS, **columns}


def test_a_quiz_attempt_is_as_it_was_at_the_time_of_the_row(school):
    school.add(
        "quiz_attempts",
        {
            "id": 50, "quiz": 70, "userid": ADA, "attempt": 2, "state": "finished",
            "timestart": NOW, "timefinish": NOW + 60, "sumgrades": 4.5,
        },
    )  # fmt: skip
    school.log(*(attempt_row(timecreated=NOW + later) for later in (0, 59, 60, 9000)))
    started, working, submitted, reviewed = (row["object"] for row in school.expand())
    for unfinished in (started, working):
        assert unfinished["state"] == "inprogress"
        assert unfinished["timefinish"] == 0
        assert unfinished["sumgrades"] is None
    assert submitted == reviewed
    assert (submitted["state"], submitted["timefinish"]) == ("finished", NOW + 60)
    assert {part["attempt"] for part in (started, submitted)} == {2}


GRADE_ROW = {
    "objecttable": "assign_grades", "objectid": 90, "relateduserid": ADA, "userid": CLEO,
    "courseid": MATHS, "contextlevel": 70, "contextinstanceid": ASSIGN_MODULE,
}  # fmt: skip


def grade(site: Site, value: float, modified: int, **columns: object) -> None:
    site.add(
        "assign_grades",
        {
            "id": 90, "assignment": 71, "userid": ADA, "grader": CLEO, "grade": value,
            "timemodified": modified, **columns,
        },
    )  # fmt: skip


def history(site: Site, time: int, value: float | None, source: str = "mod/assign") -> None:
    site.add(
        "grade_grades_history",
        {
            "oldid": 1, "source": source, "timemodified": time, "itemid": 81, "userid": ADA,
            "rawgrade": value, "loggeduser": CLEO,
        },
    )  # fmt: skip


def test_a_grade_is_what_the_history_says_it_was(school):
    grade(school, 90.0, NOW + 200)
    history(school, NOW, 50.0)
    history(school, NOW + 50, 99.0, source="gradebook")
    history(school, NOW + 100, 70.0)
    history(school, NOW + 200, 90.0)
    school.log(*({**GRADE_ROW, "timecreated": NOW + later} for later in (-1, 1, 99, 100, 200)))
    objects = [row["object"] for row in school.expand()]
    # The first row is older than all that is known: today's grade, and said to be so.
    assert [found["grade"] for found in objects] == [90.0, 50.0, 50.0, 70.0, 90.0]
    assert [found.get("asof") for found in objects] == ["export", None, None, None, None]


def test_a_grade_that_was_taken_away_in_between_is_a_removed_one(school):
    grade(school, 90.0, NOW + 200)
    history(school, NOW, 50.0)
    history(school, NOW + 100, None)
    school.log({**GRADE_ROW, "timecreated": NOW + 101}, {**GRADE_ROW, "timecreated": NOW + 199})
    removed, unknown = (row["object"] for row in school.expand())
    assert removed["grade"] == -1
    assert unknown["asof"] == "export"


def test_without_a_history_a_later_grade_is_given_and_marked(school):
    school.execute("DROP TABLE mdl_grade_grades_history")
    grade(school, 90.0, NOW + 200)
    school.log(GRADE_ROW)
    found = only(school)["object"]
    assert (found["grade"], found["asof"]) == (90.0, "export")


def test_a_grade_knows_the_submission_of_its_attempt(school):
    for number in (0, 1):
        school.add(
            "assign_submission",
            {"id": 95 + number, "assignment": 71, "userid": ADA, "attemptnumber": number},
        )
    school.add("assign_submission", {"id": 97, "assignment": 71, "userid": BEN, "attemptnumber": 1})
    grade(school, 50.0, NOW, attemptnumber=1)
    school.log(GRADE_ROW)
    assert only(school)["object"]["submission"]["id"] == 96


def test_a_grade_without_a_submission_has_none(school):
    grade(school, 50.0, NOW)
    school.log(GRADE_ROW)
    assert only(school)["object"]["submission"] is None


@pytest.mark.parametrize(
    ("groups", "submissions", "graded"),
    [
        ([1], {1: 95, 2: 96}, 95),
        ([2], {1: 95, 2: 96}, 96),
        ([], {0: 94, 1: 95}, 94),
        ([3], {0: 94, 1: 95}, 94),
        ([1, 2], {1: 95, 2: 96}, None),
        ([1, 2], {2: 96}, 96),
        ([], {1: 95}, None),
    ],
    ids=[
        "first team", "second team", "default team", "own team has none", "two teams",
        "one of two teams", "no team",
    ],
)  # fmt: skip
def test_a_learners_grade_is_for_the_work_of_the_team(school, groups, submissions, graded):
    school.execute("UPDATE mdl_assign SET teamsubmission = 1")
    for group in groups:
        school.add("groups_members", {"groupid": group, "userid": ADA})
    for group, key in submissions.items():
        school.add("assign_submission", {"id": key, "assignment": 71, "groupid": group})
    # Moodle keeps an empty row for each member, too.
    school.add("assign_submission", {"id": 99, "assignment": 71, "userid": ADA})
    grade(school, 50.0, NOW)
    school.log(GRADE_ROW)
    found = only(school)["object"]["submission"]
    assert (found and found["id"]) == graded


# Sessions


def login(time: int, user: int = ADA, ip: str = "192.0.2.1", **columns: object) -> dict:
    return click(time, user, ip, eventname=LOGGED_IN, edulevel=0, **columns)


def logout(time: int, user: int = ADA, ip: str = "192.0.2.1", **columns: object) -> dict:
    return click(time, user, ip, eventname=LOGGED_OUT, edulevel=0, **columns)


def click(time: int, user: int = ADA, ip: str = "192.0.2.1", **columns: object) -> dict:
    return {"userid": user, "timecreated": NOW + time, "ip": ip, **columns}


def sessions(site: Site) -> list[int | None]:
    """The log id of the log-in that each row belongs to, checked to be the same by the hour."""
    hours = site.hours()
    at_once = decoded(expand_at_once(site.url, hours))
    assert at_once == decoded(expand_by_the_hour(site.url, hours))
    found = sorted(at_once, key=lambda row: row["id"])
    return [row["session"] and row["session"]["id"] for row in found]


def test_clicks_belong_to_the_log_in_before_them(school):
    school.log(click(-1), login(0), click(1), logout(2), click(3), login(9000), click(9001))
    assert sessions(school) == [None, 2, 2, 2, None, 6, 6]
    row = school.expand()[2]
    assert row["session"] == {"id": 2, "timecreated": NOW, "user": ADA}


def test_two_addresses_are_two_sessions(school):
    home, school_ip = "192.0.2.1", "2001:db8::7"
    school.log(
        login(0, ip=home), login(1, ip=school_ip), click(2, ip=home), click(3, ip=school_ip),
        logout(4, ip=home), click(5, ip=home), click(6, ip=school_ip), click(7, ip="192.0.2.99"),
    )  # fmt: skip
    assert sessions(school) == [1, 2, 1, 2, 1, None, 2, None]


def test_two_users_at_one_address_are_two_sessions(school):
    school.log(login(0), login(1, BEN), click(2), click(3, BEN), logout(4, BEN), click(5))
    assert sessions(school) == [1, 2, 1, 2, 2, 1]


def test_a_session_lasts_a_day_at_most(school):
    day = 24 * 3600
    school.log(login(0), click(day - 1), click(day), logout(day + 1))
    assert sessions(school) == [1, 1, None, None]


def test_rows_of_one_second_are_ordered_by_id(school):
    school.log(click(0), login(0), click(0), logout(0), click(0))
    assert sessions(school) == [None, 2, 2, 2, None]


@pytest.mark.parametrize(
    "columns",
    [{"origin": "ws"}, {"origin": "cli"}, {"origin": None}, {"anonymous": 1}, {"ip": None}],
    ids=str,
)
def test_scripts_services_and_the_unknown_have_no_session_and_make_none(school, columns):
    school.log({**login(0), **columns}, click(1), click(4000), {**click(4001), **columns})
    assert sessions(school) == [None] * 4
    school.log(login(5000), {**logout(5001), **columns}, click(5002), click(9000))
    assert sessions(school)[4:] == [5, None, 5, 5]


def test_the_guest_account_has_no_session(school):
    school.log(login(0, user=1), click(1, user=1))
    assert sessions(school) == [None, None]


def test_acting_as_somebody_else_is_part_of_the_own_session_and_does_not_end_it(school):
    as_ben = {"realuserid": CLEO}
    school.log(
        login(0, CLEO), login(1, BEN), click(2, BEN, **as_ben), click(4000, BEN, **as_ben),
        logout(4001, BEN, **as_ben), click(4002, CLEO), click(4003, BEN), click(9000, CLEO),
    )  # fmt: skip
    assert sessions(school) == [1, 2, 1, 1, 1, 1, 2, 1]


events = st.tuples(
    st.integers(0, 4 * 3600 - 1),
    st.sampled_from([LOGGED_IN, LOGGED_OUT, LOG_ROW["eventname"]]),
    st.sampled_from([1, ADA, BEN]),
    st.sampled_from(["192.0.2.1", "192.0.2.2", None]),
    st.sampled_from(["web", "web", "web", "ws"]),
    st.sampled_from([None, None, BEN]),
    st.sampled_from([0, 0, 0, 1]),
)


@given(st.lists(events, min_size=1, max_size=40))
@settings(max_examples=examples(25))
def test_any_traffic_has_the_same_sessions_by_the_hour_and_at_once(tmp_path_factory, traffic):
    site = Site(tmp_path_factory.mktemp("sessions") / "moodle.sqlite")
    site.add("config", {"name": "siteguest", "value": "1"})
    site.log(
        *(
            {
                "timecreated": HOUR.start + time,
                "eventname": name,
                "edulevel": 0,
                "userid": user,
                "ip": ip,
                "origin": origin,
                "realuserid": real,
                "anonymous": anonymous,
            }
            for time, name, user, ip, origin, real, anonymous in traffic
        )
    )
    sessions(site)


# The whole of a site


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> tuple[Path, HourRange]:
    """The sample site with at most six rows of each event, which leaves all kinds of rows."""
    path = tmp_path_factory.mktemp("sample") / "moodle.sqlite"
    summary = write_sample(
        path, students=10, hours=36, seed=3, end=Hour.from_key("2026-03-27-14:00")
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "DELETE FROM mdl_logstore_standard_log WHERE id NOT IN (SELECT id FROM (SELECT id, "
            "row_number() OVER (PARTITION BY eventname ORDER BY id) AS nth "
            "FROM mdl_logstore_standard_log) WHERE nth <= 6)"
        )
    return path, summary.hours


OPTIONAL = {
    "assign": "allowsubmissionsfromdate cutoffdate duedate grade maxattempts name teamsubmission",
    "assign_grades": "assignment attemptnumber grade grader timemodified userid",
    "assign_submission": "assignment attemptnumber groupid status timecreated timestarted userid",
    "config": "name value",
    "context": "contextlevel instanceid path",
    "course": "category enddate fullname idnumber shortname startdate timecreated",
    "course_categories": "idnumber name path",
    "course_modules": "added course idnumber instance module section",
    "enrol": "courseid enrol status",
    "files": "component contextid filearea filename mimetype sortorder",
    "grade_grades_history": "itemid rawgrade rawgrademax source timemodified userid",
    "grade_items": "courseid grademax gradetype iteminstance itemmodule itemnumber itemtype",
    "groups_members": "groupid userid",
    "modules": "name",
    "quiz": "attempts grade name sumgrades timeclose timeopen",
    "quiz_attempts": "attempt preview quiz state sumgrades timefinish timestart userid",
    "role": "archetype shortname",
    "role_assignments": "contextid roleid userid",
    "scale": "scale",
    "url": "course externalurl name",
    "user": "deleted email firstname idnumber lastname username",
    "user_enrolments": "enrolid status timecreated timeend timestart userid",
}


@pytest.fixture(scope="module")
def complete(sample) -> pa.Table:
    """The expanded rows of a Moodle that lacks nothing."""
    path, hours = sample
    return expand_at_once(f"sqlite:///{path}", hours)


WITHOUT_A_TABLE = [[f"mdl_{table} RENAME TO gone"] for table in OPTIONAL]
WITHOUT_COLUMNS = [
    [
        f"mdl_{table} RENAME COLUMN {column} TO gone"
        for table, column in zip(OPTIONAL, columns, strict=True)
        if column
    ]
    for columns in zip_longest(*map(str.split, OPTIONAL.values()))
]
"""One column of each table at once: the first, the second, …"""


@pytest.mark.parametrize("changes", [*WITHOUT_A_TABLE, *WITHOUT_COLUMNS])
def test_a_moodle_without_a_table_or_columns_still_gives_every_row(
    sample, complete, tmp_path, changes
):
    path = shutil.copy(sample[0], tmp_path / "moodle.sqlite")
    log_columns = [name for name in MOODLE_LOG.schema.names[:-1] if name != "other"]
    with closing(sqlite3.connect(path)) as connection, connection:
        for change in changes:
            connection.execute(f"ALTER TABLE {change}")
    after = expand_at_once(f"sqlite:///{path}", sample[1])
    assert after.schema.equals(EXPANDED_LOG.schema)
    assert after.select(log_columns).to_pylist() == complete.select(log_columns).to_pylist()


def test_a_site_is_expanded_by_the_hour_as_at_once(tmp_path):
    path = tmp_path / "moodle.sqlite"
    summary = write_sample(
        path, students=15, hours=30, seed=4, end=Hour.from_key("2026-03-27-14:00")
    )
    at_once = expand_at_once(f"sqlite:///{path}", summary.hours)
    by_the_hour = expand_by_the_hour(f"sqlite:///{path}", summary.hours)
    assert at_once.num_rows == summary.total
    assert at_once.to_pylist() == by_the_hour.to_pylist()


def test_a_module_that_is_gone_is_the_same_by_the_hour_and_at_once(school):
    gone = {"contextlevel": 70, "contextinstanceid": 999}
    school.log(
        {**gone, "component": "core", "timecreated": NOW - 3600}, {**gone, "component": "mod_quiz"}
    )
    at_once = decoded(expand_at_once(school.url, school.hours()))
    assert at_once == decoded(expand_by_the_hour(school.url, school.hours()))
    assert [row["unresolved"] for row in at_once] == [["course_modules:999"]] * 2


def test_ten_thousand_rows_take_as_many_statements_as_a_hundred(school):
    school.add("quiz_attempts", {"id": 50, "quiz": 70, "userid": ADA, "timefinish": NOW})
    grade(school, 50.0, NOW)
    kinds = [login(0), click(1, courseid=MATHS), attempt_row(userid=BEN), GRADE_ROW]

    def statements(site: Site) -> int:
        with site.open() as database:
            log = whole_log(database, site.hours())
            before = database.statements
            assert expand(database, log).num_rows == log.num_rows
            return database.statements - before

    school.log(*kinds * 25)
    few = statements(school)
    people = [{"id": key, "username": f"u{key}"} for key in range(1000, 3000)]
    school.add("user", *people)
    school.add(
        "quiz_attempts",
        *(
            {"id": key, "quiz": 70, "userid": key, "attempt": key, "uniqueid": key}
            for key in range(1000, 3000)
        ),
    )
    school.log(
        *(
            {**row, **({"objectid": key} if row is kinds[2] else {}), "userid": key}
            for key in range(1000, 3000)
            for row in (*kinds, kinds[1])
        )
    )
    assert statements(school) == few


def test_no_rows_are_expanded_to_no_rows_without_a_statement(school):
    school.log({})
    with school.open() as database:
        before = database.statements
        assert expand(database, MOODLE_LOG.empty()).equals(EXPANDED_LOG.empty())
        assert database.statements == before
