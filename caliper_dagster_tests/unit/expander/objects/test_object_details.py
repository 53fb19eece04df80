"""What the real site has no case of: sites of a few records, each made for one question."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from caliper_dagster.core.hours import HourRange, parse_hour
from caliper_dagster.expander import MoodleDatabase, expand, read_log

HOURS = HourRange(parse_hour("2026-03-24T05", "START"), parse_hour("2026-03-24T06", "END"))
NOW = HOURS.start.start + 1000
LOG = {
    "eventname": r"\core\event\course_viewed",
    "component": "core",
    "action": "viewed",
    "target": "course",
    "objecttable": None,
    "objectid": None,
    "crud": "r",
    "edulevel": 2,
    "contextid": 1,
    "contextlevel": 70,
    "contextinstanceid": 7,
    "userid": 5,
    "courseid": 2,
    "relateduserid": None,
    "anonymous": 0,
    "other": "N;",
    "timecreated": NOW,
    "origin": "web",
    "ip": "192.0.2.1",
    "realuserid": None,
}


@pytest.fixture
def expanded(tmp_path):
    """Expands log rows on a site with these tables; gives the rows as dicts, decoded."""

    def build(log, **tables):
        path = tmp_path / "moodle.sqlite"
        rows = [{"id": id_, **LOG, **row} for id_, row in enumerate(log, 1)]
        with closing(sqlite3.connect(path)) as site:
            for table, records in {**tables, "logstore_standard_log": rows}.items():
                columns = list(dict.fromkeys(name for record in records for name in record))
                names = ", ".join(f'"{name}"' for name in columns)
                site.execute(f"CREATE TABLE mdl_{table} ({names})")
                site.executemany(
                    f"INSERT INTO mdl_{table} VALUES ({', '.join('?' * len(columns))})",
                    [[record.get(name) for name in columns] for record in records],
                )
            site.commit()
        with MoodleDatabase.open(f"sqlite:///{path}") as database:
            found = []
            for _, hour in read_log(database, HOURS):
                found += expand(database, hour).to_pylist()
        for row in found:
            for name, value in row.items():
                if isinstance(value, str) and value[:1] in "[{":
                    row[name] = json.loads(value)
        return sorted(found, key=lambda row: row["id"])

    return build


MODULE = {
    "modules": [{"id": 1, "name": "lesson"}, {"id": 2, "name": "lti"}, {"id": 3, "name": "forum"}],
    "course_modules": [
        {"id": 7, "course": 2, "module": 1, "instance": 70, "section": 9},
        {"id": 8, "course": 2, "module": 2, "instance": 80, "section": 9},
        {"id": 9, "course": 2, "module": 3, "instance": 90, "section": 9},
    ],
    "course_sections": [{"id": 9, "name": "Week 1"}],
}


def test_a_tool_has_its_type_and_never_its_secret(expanded):
    [row] = expanded(
        [{"contextinstanceid": 8}],
        **MODULE,
        lti=[{"id": 80, "course": 2, "name": "Tool", "typeid": 4, "password": "hidden"}],
        lti_types=[{"id": 4, "name": "Type", "tooldomain": "tool.example", "clientid": "abc"}],
    )
    assert row["module"]["section_name"] == "Week 1"
    assert row["module"]["activity"]["type"] == {
        "id": 4,
        "name": "Type",
        "baseurl": None,
        "tooldomain": "tool.example",
        "ltiversion": None,
        "clientid": "abc",
    }
    assert "hidden" not in json.dumps(row)


@pytest.mark.parametrize(
    "row",
    [
        {"component": "mod_forum", "other": '{"forumid":"90"}'},
        {"component": "forumreport_summary", "other": '{"forumid":90}'},
        {"component": "mod_forum", "other": '{"instanceid":90}'},
        {"component": "mod_forum", "objecttable": "forum", "objectid": 90},
        {"objecttable": "course_modules", "objectid": 9},
    ],
)
def test_rows_in_the_course_that_name_an_activity_have_its_module(expanded, row):
    [found] = expanded([{"contextlevel": 50, "contextinstanceid": 2, **row}], **MODULE)
    assert (found["module"]["id"], found["module"]["modname"]) == (9, "forum")


@pytest.mark.parametrize(
    "row",
    [
        # There it is the id of a course module, which may be that of any activity.
        {"component": "report_participation", "other": '{"instanceid":90}'},
        {"component": "mod_forum", "other": '{"forumid":"all"}'},
        {"component": "mod_forum", "other": '{"forumid":91}'},
        {"component": "mod_forum", "other": '["forumid"]'},
    ],
)
def test_rows_that_name_no_activity_have_no_module(expanded, row):
    [found] = expanded([{"contextlevel": 50, "contextinstanceid": 2, **row}], **MODULE)
    assert found["module"] is None


def test_a_module_that_is_gone_is_told_by_its_own_rows(expanded):
    told = '{"modulename":"quiz","instanceid":"33","name":"Test"}'
    created = {
        "eventname": r"\core\event\course_module_created",
        "objecttable": "course_modules",
        "objectid": 99,
        "contextinstanceid": 99,
        "other": told,
    }
    rows = expanded(
        [created, {"contextinstanceid": 99}, {"contextinstanceid": 98, "component": "mod_book"}],
        **MODULE,
    )
    gone = {"id": 99, "modname": "quiz", "missing": 1, "instance": 33, "name": "Test"}
    assert [row["module"] for row in rows] == [
        gone,
        gone,
        {"id": 98, "modname": "book", "missing": 1},
    ]
    assert rows[1]["unresolved"][-1] == "course_modules:99"


def answered(**row):
    return {
        "eventname": r"\mod_lesson\event\question_answered",
        "component": "mod_lesson",
        "objecttable": "lesson_pages",
        "objectid": 3,
        **row,
    }


def lesson(qtype, answerid, useranswer):
    return {
        **MODULE,
        "lesson_pages": [{"id": 3, "lessonid": 70, "qtype": qtype, "title": "Page"}],
        "lesson_answers": [{"id": 1, "answer": "red"}, {"id": 2, "answer": "blue"}],
        "lesson_attempts": [
            {
                "id": 11,
                "pageid": 3,
                "userid": 5,
                "answerid": answerid,
                "retry": 1,
                "correct": 1,
                "useranswer": useranswer,
                "timeseen": NOW - 1,
            }
        ],
    }


@pytest.mark.parametrize(
    ("qtype", "answerid", "useranswer", "expected"),
    [
        (3, 1, "red", {"response": "red"}),
        (3, 1, "1,2", {"responses": ["red", "blue"]}),
        (2, 2, None, {"response": "blue"}),
        (1, 1, "my words", {"useranswer": "my words"}),
        (8, 0, "3.5", {"useranswer": "3.5"}),
        (10, 0, 'O:8:"stdClass":1:{s:6:"answer";s:5:"essay";}', {}),
    ],
)
def test_answers_in_a_lesson(expanded, qtype, answerid, useranswer, expected):
    [row] = expanded([answered()], **lesson(qtype, answerid, useranswer))
    assert row["object"] == {
        "table": "lesson_pages",
        "id": 3,
        "lessonid": 70,
        "qtype": qtype,
        "title": "Page",
        "answer": {"id": 11, "retry": 1, "correct": 1, "answerid": answerid, **expected},
    }


def test_nothing_is_found_by_the_user_of_an_anonymous_row(expanded):
    rows = expanded(
        [answered(anonymous=1), {"objecttable": "user", "objectid": 5, "anonymous": 1}],
        **lesson(3, 1, "red"),
        user=[{"id": 5, "username": "ada", "deleted": 0}],
    )
    assert rows[0]["object"]["answer"] is None
    assert rows[1]["object"] is None
    assert "ada" not in json.dumps(rows)


def test_an_essay_has_its_score(expanded):
    essay = 'O:8:"stdClass":3:{s:6:"graded";i:1;s:5:"score";s:3:"2.5";s:6:"answer";s:3:"abc";}'
    [row] = expanded(
        [
            {
                "eventname": r"\mod_lesson\event\essay_assessed",
                "objecttable": "lesson_grades",
                "objectid": 1,
                "other": '{"attemptid":11}',
            }
        ],
        lesson_attempts=[{"id": 11, "pageid": 3, "userid": 6, "retry": 0, "useranswer": essay}],
        lesson_answers=[{"id": 1, "pageid": 3, "score": 5}],
    )
    assert row["object"] == {
        "table": "lesson_attempts",
        "id": 11,
        "pageid": 3,
        "userid": 6,
        "retry": 0,
        "score": 2.5,
        "maxscore": 5,
    }


@pytest.mark.parametrize("stored", ['{"optionid":[1,2]}', '{"optionid":{"3":"1","4":"2"}}'])
def test_several_options_of_a_choice(expanded, stored):
    [row] = expanded(
        [
            {
                "eventname": r"\mod_choice\event\answer_submitted",
                "objecttable": "choice",
                "objectid": 6,
                "other": stored,
            }
        ],
        choice_options=[{"id": 1, "text": "Tea"}, {"id": 2, "text": "Milk"}],
    )
    assert row["object"] == {"table": "choice_answers", "options": ["Tea", "Milk"]}


def test_notes_have_no_subject_and_an_enrolment_that_ended_is_told_by_its_row(expanded):
    ended = {"id": "4", "enrolid": "2", "status": "0", "timestart": "10", "timeend": "0"}
    note, blog, enrolment = expanded(
        [
            {"objecttable": "post", "objectid": 1},
            {"objecttable": "post", "objectid": 2},
            {
                "objecttable": "user_enrolments",
                "objectid": 4,
                "other": json.dumps({"userenrolment": ended}),
            },
        ],
        post=[
            {"id": 1, "module": "notes", "subject": "About you", "publishstate": "draft"},
            {"id": 2, "module": "blog", "subject": "My day", "publishstate": "site"},
        ],
    )
    assert note["object"] == {
        "table": "post", "id": 1, "module": "notes", "publishstate": "draft"
    }  # fmt: skip
    assert blog["object"]["subject"] == "My day"
    assert enrolment["object"] == {
        "table": "user_enrolments", "id": 4, "enrolid": 2, "status": 0, "timestart": 10,
        "timeend": 0, "timecreated": 0, "timemodified": 0, "enrol": None,
    }  # fmt: skip


ROLES = {"role": [{"id": 3, "shortname": "student", "archetype": "student"}]}
PEOPLE = {"user": [{"id": 5, "deleted": 0}], "context": [
    {"id": 20, "contextlevel": 50, "instanceid": 2, "path": "/1/20"}
]}  # fmt: skip


def change(verb, time, **row):
    of_role = verb.startswith("role")
    return {
        "eventname": rf"\core\event\{verb}",
        "objectid": 3 if of_role else 1,
        "relateduserid": 5,
        "userid": 0,
        "contextlevel": 50,
        "contextinstanceid": 2,
        "timecreated": time,
        **row,
    }


def viewed(time):
    return {"timecreated": time}


def roles(rows):
    return [
        (
            [role["shortname"] for role in row["user_membership"]["roles"]],
            row["user_membership"]["active"],
            row["user_membership"].get("replayed"),
        )
        for row in rows
        if row["userid"] == 5
    ]


def test_a_role_is_held_from_its_assignment_until_it_is_taken(expanded):
    rows = expanded(
        [
            viewed(NOW),
            change("user_enrolment_created", NOW + 10),
            change("role_assigned", NOW + 10),
            viewed(NOW + 10),
            change("role_unassigned", NOW + 20),
            change("user_enrolment_deleted", NOW + 20),
            viewed(NOW + 20),
            viewed(NOW + 21),
        ],
        **ROLES,
        **PEOPLE,
    )
    held = (["student"], 1, 1)
    assert roles(rows) == [([], 0, 1), held, held, ([], 0, 1)]


def test_a_role_that_the_log_only_takes_away_was_held_before(expanded):
    rows = expanded([viewed(NOW), change("role_unassigned", NOW + 5), viewed(NOW + 9)], **ROLES)
    assert roles(rows) == [(["student"], 0, 1), ([], 0, 1)]


def test_no_role_is_claimed_that_nothing_proves(expanded):
    rows = expanded(
        [
            viewed(NOW),
            change("role_assigned", NOW - 9, relateduserid=6),
            change("role_assigned", NOW - 9, courseid=3),
            change("role_assigned", NOW - 9, contextlevel=70),
        ],
        **ROLES,
        **PEOPLE,
    )
    assert roles(rows) == [([], 0, None)]
    assert rows[1]["user_membership"] is None


def test_who_has_a_role_today_is_not_replayed(expanded):
    rows = expanded(
        [viewed(NOW), change("role_unassigned", NOW - 5)],
        **ROLES,
        **PEOPLE,
        role_assignments=[{"userid": 5, "roleid": 3, "contextid": 20}],
    )
    assert roles(rows) == [(["student"], 0, None)]
