"""The queries of ``docs/data.md`` give what SQL on the sample site's own tables gives."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.questions import QUESTIONS, answers

W = "https://moodle.example.edu"
BY_LEARNER = "l.eventname = '\\mod_quiz\\event\\attempt_submitted'"
"""Rows whose actor is the related user, whoever triggered them."""
ACTOR = f"CASE WHEN {BY_LEARNER} THEN l.relateduserid ELSE COALESCE(l.realuserid, l.userid) END"
OWN_ROWS = f"l.anonymous = 0 AND (COALESCE(l.origin, '') <> 'cli' OR {BY_LEARNER}) AND {ACTOR} > 1"
"""Rows whose actor is a person who is known."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("sample") / "site.sqlite"
    write_sample(path, students=60, hours=30)
    with closing(sqlite3.connect(path)) as connection:
        yield connection


@pytest.fixture(scope="module")
def events(site: sqlite3.Connection) -> pa.Table:
    ((first, last),) = site.execute(
        "SELECT MIN(timecreated), MAX(timecreated) FROM mdl_logstore_standard_log"
    )
    hours = HourRange(Hour(first // 3600), Hour(last // 3600 + 1))
    (_, _, path) = next(site.execute("PRAGMA database_list"))
    with MoodleDatabase.open(f"sqlite:///{Path(path)}") as database:
        log = pa.concat_tables(table for _, table in read_log(database, hours))
        return Translator(W).translate(expand(database, log.unify_dictionaries()))


def user(number: int) -> str:
    return f"{W}/user/profile.php?id={number}"


def course(number: int) -> str:
    return f"{W}/course/view.php?id={number}"


def activity(name: str, module: int) -> str:
    return f"{W}/mod/{name}/view.php?id={module}"


def learners(site: sqlite3.Connection) -> set[tuple[int, int]]:
    """Course and user of the students of existing courses who did something there."""
    return set(
        site.execute(
            f"""
            SELECT DISTINCT l.courseid, l.actor FROM (
                SELECT l.courseid, {ACTOR} AS actor
                FROM mdl_logstore_standard_log l WHERE {OWN_ROWS}
            ) l
            JOIN mdl_context x ON x.contextlevel = 50 AND x.instanceid = l.courseid
            JOIN mdl_role_assignments a ON a.contextid = x.id AND a.userid = l.actor
            JOIN mdl_role r ON r.id = a.roleid AND r.shortname = 'student'
            """
        )
    )


def test_every_question_is_tried():
    assert len(QUESTIONS) == 8


def test_who_is_where_in_which_role(site, events):
    found = answers(events, "Who is in which course")
    assert len({row[:2] for row in found}) == len(found)
    students = {row[:2] for row in found if "Learner" in row[2]}
    assert students == {(course(c), user(u)) for c, u in learners(site)}
    teachers = {person for _, person, roles in found if "Instructor" in roles}
    assert teachers
    assert not teachers & {person for _, person in students}


def test_quizzes_and_their_best_results(site, events):
    handed_in, best = defaultdict(int), {}
    rows = site.execute(
        f"""
        SELECT l.eventname, l.contextinstanceid, {ACTOR}, a.sumgrades / q.sumgrades * q.grade
        FROM mdl_logstore_standard_log l
        LEFT JOIN mdl_quiz_attempts a ON a.id = l.objectid AND a.state = 'finished'
            AND a.timefinish <= l.timecreated
        LEFT JOIN mdl_quiz q ON q.id = a.quiz
        WHERE l.component = 'mod_quiz' AND {OWN_ROWS}
        """
    )
    for name, module, learner, result in rows:
        key = activity("quiz", module), user(learner)
        handed_in[key] += name == r"\mod_quiz\event\attempt_submitted"
        if name == r"\mod_quiz\event\attempt_reviewed" and result is not None:
            best[key] = max(result, best.get(key, 0))
    found = answers(events, "How often has each learner handed in")
    assert {row[:2]: row[2] for row in found} == {k: v for k, v in handed_in.items() if v}
    for quiz, learner, _, result in found:
        assert result == pytest.approx(best.get((quiz, learner)), abs=0.0001)
    assert sum(row[3] is not None for row in found) > 20


def test_the_last_grades(site, events):
    expected = {
        (activity("assign", module), user(learner)): (grade, float(highest))
        for module, learner, grade, highest in site.execute(
            f"""
            SELECT m.id, g.userid, g.grade, a.grade
            FROM mdl_assign_grades g
            JOIN mdl_assign a ON a.id = g.assignment AND a.grade > 0
            JOIN mdl_course_modules m ON m.instance = a.id
            JOIN mdl_modules n ON n.id = m.module AND n.name = 'assign'
            WHERE g.grade >= 0 AND g.attemptnumber = (
                SELECT MAX(o.attemptnumber) FROM mdl_assign_grades o
                WHERE o.assignment = g.assignment AND o.userid = g.userid)
            AND EXISTS (
                SELECT 1 FROM mdl_logstore_standard_log l
                WHERE l.eventname LIKE '%submission_graded' AND l.objectid = g.id AND {OWN_ROWS})
            """
        )
    }
    found = {row[:2]: row[2:] for row in answers(events, "What is the last grade")}
    compared = expected.keys() & found.keys()
    assert len(compared) > 50
    assert {key: found[key] for key in compared} == {key: expected[key] for key in compared}


def test_the_time_from_start_to_submission(site, events):
    expected = dict(
        site.execute(
            f"""
            SELECT '{W}/mod/quiz/review.php?attempt=' || a.id, a.timefinish - a.timestart
            FROM mdl_quiz_attempts a WHERE a.id IN (
                SELECT objectid FROM mdl_logstore_standard_log
                WHERE eventname LIKE '%attempt\\_submitted' ESCAPE '\\'
                AND timecreated >= a.timefinish)
            """
        )
    )
    found = {row[0]: row[1] for row in answers(events, "How long does a quiz take")}
    assert {attempt: found.get(attempt) for attempt in expected} == expected
    assert len(expected) > 20


def test_who_has_not_submitted(site, events):
    submitted = set()
    for module, learner, team in site.execute(
        f"""
        SELECT l.contextinstanceid, COALESCE(l.relateduserid, l.userid), s.groupid
        FROM mdl_logstore_standard_log l
        LEFT JOIN mdl_assign_submission s ON s.id = l.objectid
        WHERE l.eventname LIKE '%assessable\\_submitted' ESCAPE '\\' AND {OWN_ROWS}
        """
    ):
        submitted.add((module, learner))
        members = site.execute("SELECT userid FROM mdl_groups_members WHERE groupid = ?", [team])
        submitted.update((module, member) for (member,) in members)
    seen = set(
        site.execute(
            "SELECT DISTINCT courseid, contextinstanceid FROM mdl_logstore_standard_log "
            "WHERE eventname LIKE '%assessable\\_submitted' ESCAPE '\\'"
        )
    )
    expected = {
        (activity("assign", module), user(learner))
        for c, learner in learners(site)
        for other, module in seen
        if c == other and (module, learner) not in submitted
    }
    found = answers(events, "Who has not submitted")
    assert set(found) == expected
    assert len(found) == len(expected) > 10
    assert site.execute("SELECT COUNT(*) FROM mdl_assign_submission WHERE groupid > 0").fetchone()[
        0
    ]


def test_daily_active_learners(site, events):
    students, days = learners(site), defaultdict(set)
    for c, learner, moment in site.execute(
        f"SELECT l.courseid, {ACTOR}, l.timecreated "
        f"FROM mdl_logstore_standard_log l WHERE {OWN_ROWS}"
    ):
        if (c, learner) in students:
            days[datetime.fromtimestamp(moment, ZoneInfo("Europe/Berlin")).date()].add(learner)
    found = dict(answers(events, "How many learners are active"))
    assert found == {day: len(active) for day, active in days.items()}
    assert len(found) > 1


def test_what_was_done_as_another(site, events):
    expected = site.execute(
        "SELECT realuserid, userid, timecreated, eventname FROM mdl_logstore_standard_log "
        "WHERE realuserid > 0 AND anonymous = 0 ORDER BY timecreated, id"
    ).fetchall()
    found = answers(events, "What did an administrator do")
    assert [row[:4] for row in found] == [
        (user(real), user(as_other), moment, name) for real, as_other, moment, name in expected
    ]
    assert found
