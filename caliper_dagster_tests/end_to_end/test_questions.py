"""The queries of ``docs/data.md`` give what SQL on the sample site's own tables gives."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from caliper_dagster.caliper.shapes import ShapeName
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hours import SECONDS, Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.questions import (
    QUESTIONS,
    answers,
    columns_against_events,
    question,
    rows,
)

W = "https://moodle.example.edu"
END = Hour.from_key("2026-03-27-14:00")
HOURS = HourRange(END + -48, END)

ACTOR = (
    "CASE WHEN l.eventname LIKE '%attempt\\_submitted' ESCAPE '\\' THEN l.relateduserid "
    "ELSE COALESCE(l.realuserid, l.userid) END"
)
"""Who acted: the learner hands in an attempt, also when cron does it for the learner."""

SEEN = f"""
SELECT l.courseid AS course, {ACTOR} AS person, l.timecreated AS timecreated
FROM mdl_logstore_standard_log l
WHERE l.anonymous = 0 AND l.courseid > 1 AND {ACTOR} > 1
"""
"""What a person who is known did in a course."""

ROLES = {
    "manager": ["Administrator"],
    "coursecreator": ["ContentDeveloper"],
    "editingteacher": ["Instructor"],
    "teacher": ["Instructor", "Instructor#TeachingAssistant"],
    "student": ["Learner"],
    "": ["Member"],
}
"""Roles of a Membership (LIS vocabulary) by the archetype of a role of Moodle."""

ADMINISTRATOR = {"Administrator", "Administrator#SystemAdministrator"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("sample") / "site.sqlite"
    write_sample(path, students=90, hours=len(HOURS), seed=9, end=END)
    with closing(sqlite3.connect(path)) as connection:
        take_back_a_grade(connection)
        yield connection


@pytest.fixture(scope="module")
def expanded(site: sqlite3.Connection) -> pa.Table:
    """The rows of all hours."""
    ((_, _, path),) = site.execute("PRAGMA database_list")
    with MoodleDatabase.open(f"sqlite:///{Path(path)}") as database:
        log = pa.concat_tables(table for _, table in read_log(database, HOURS))
        return expand(database, log.unify_dictionaries())


@pytest.fixture(scope="module")
def storage(expanded: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder with the site's hours."""
    return stored(expanded, tmp_path_factory.mktemp("storage"), "canonical")


def stored(expanded: pa.Table, folder: Path, shape: ShapeName) -> str:
    events = Translator(W, shape=shape).translate(expanded)
    store = PartitionStore(folder.as_uri())
    for hour in HOURS:
        within = pc.equal(pc.divide(events["timecreated"], SECONDS), hour.number)
        store.write(CALIPER_EVENTS, hour, events.filter(within))
    return str(folder)


def test_the_answers_are_the_same_in_every_shape(
    expanded: pa.Table, storage: str, tmp_path: Path
) -> None:
    shapes: tuple[ShapeName, ...] = ("objects", "openlrw")
    folders = [stored(expanded, tmp_path / shape, shape) for shape in shapes]
    for text in QUESTIONS:
        wanted = sorted(map(repr, answers(storage, text)))
        for folder in folders:
            assert sorted(map(repr, answers(folder, text))) == wanted


def take_back_a_grade(site: sqlite3.Connection) -> None:
    """The teacher removes the first grade that was given, in the last minute of the log."""
    now = HOURS.end.start - 60
    log_row, grade, history = site.execute(
        """
        SELECT l.id, g.id, h.id FROM mdl_logstore_standard_log l
        JOIN mdl_assign_grades g ON g.id = l.objectid AND g.grade >= 0
        JOIN mdl_grade_items i ON i.itemmodule = 'assign' AND i.iteminstance = g.assignment
        JOIN mdl_grade_grades_history h ON h.itemid = i.id AND h.userid = g.userid
        WHERE l.objecttable = 'assign_grades' ORDER BY l.timecreated, l.id, h.id LIMIT 1
        """
    ).fetchone()
    site.execute(
        "UPDATE mdl_assign_grades SET grade = -1, timemodified = ? WHERE id = ?", [now, grade]
    )
    copy_row(site, "logstore_standard_log", log_row, timecreated=now)
    copy_row(
        site, "grade_grades_history", history,
        action=2, timemodified=now, rawgrade=None, finalgrade=None,
    )  # fmt: skip
    site.commit()


def copy_row(site: sqlite3.Connection, table: str, row_id: int, **changes: int | None) -> None:
    """Add a row that differs from another one in some columns."""
    cursor = site.execute(f"SELECT * FROM mdl_{table} WHERE id = ?", [row_id])
    names = [name for name, *_ in cursor.description]
    row = {**dict(zip(names, cursor.fetchone(), strict=True)), "id": None, **changes}
    marks = ", ".join("?" * len(row))
    site.execute(f"INSERT INTO mdl_{table} ({', '.join(row)}) VALUES ({marks})", [*row.values()])


def user(number: int) -> str:
    return f"{W}/user/profile.php?id={number}"


def course(number: int) -> str:
    return f"{W}/course/view.php?id={number}"


def activity(name: str, module: int) -> str:
    return f"{W}/mod/{name}/view.php?id={module}"


def modules(site: sqlite3.Connection, name: str) -> dict[int, int]:
    """Course module of each activity of a type."""
    return dict(
        site.execute(
            "SELECT m.instance, m.id FROM mdl_course_modules m "
            "JOIN mdl_modules n ON n.id = m.module WHERE n.name = ?",
            [name],
        )
    )


def learners(site: sqlite3.Connection) -> set[tuple[int, int]]:
    """Course and user of the students of existing courses who did something there."""
    return set(
        site.execute(
            f"""
            SELECT DISTINCT s.course, s.person FROM ({SEEN}) s
            JOIN mdl_context x ON x.contextlevel = 50 AND x.instanceid = s.course
            JOIN mdl_role_assignments a ON a.contextid = x.id AND a.userid = s.person
            JOIN mdl_role r ON r.id = a.roleid AND r.shortname = 'student'
            """
        )
    )


def test_every_question_is_tried():
    assert len(QUESTIONS) == 8
    for query in QUESTIONS.values():
        assert len(query.splitlines()) <= 20


def test_the_columns_say_what_the_events_say(storage):
    for name, (filled, different) in columns_against_events(storage).items():
        assert (filled > 20, different) == (True, 0), name


def test_hours_of_an_earlier_release_are_read_and_passed_over(storage, tmp_path):
    new, old = [
        Path(PartitionStore(Path(storage).as_uri()).path(CALIPER_EVENTS, hour)) for hour in HOURS
    ][-2:]
    for path in (new, old):
        copy = tmp_path / path.relative_to(storage)
        copy.parent.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(path, partitioning=None)
        if path == old:
            added = [column.name for column in CALIPER_EVENTS.columns if column.added]
            assert len(added) == 6
            table = table.drop_columns(added)
        pq.write_table(table, copy)
    count = "SELECT count(*), count(actor_id) FROM events"
    ((both, known),) = rows(str(tmp_path), count)
    assert 0 < known < both
    for query in QUESTIONS.values():
        rows(str(tmp_path), query)
    assert {row[0] for row in rows(str(tmp_path), "SELECT actor_id FROM events")} >= {None}


def test_who_is_where_in_which_role(site, storage):
    expected: dict[tuple[str, str], set[str]] = defaultdict(set)
    for where, person, archetype in site.execute(
        f"""
        SELECT DISTINCT s.course, s.person, r.archetype FROM ({SEEN}) s
        JOIN mdl_context x ON x.contextlevel = 50 AND x.instanceid = s.course
        JOIN mdl_context above ON x.path || '/' LIKE above.path || '/%'
        JOIN mdl_role_assignments a ON a.contextid = above.id AND a.userid = s.person
        JOIN mdl_role r ON r.id = a.roleid
        """
    ):
        expected[course(where), user(person)] |= set(ROLES[archetype])
    for where, person in site.execute(
        f"SELECT DISTINCT s.course, s.person FROM ({SEEN}) s "
        "JOIN mdl_config c ON c.name = 'siteadmins' AND c.value = s.person"
    ):
        expected[course(where), user(person)] |= ADMINISTRATOR
    found = answers(storage, "Who is in which course")
    assert len({row[:2] for row in found}) == len(found)
    assert {(where, person): set(roles) for where, person, roles in found} == expected
    kinds = {frozenset(roles) for roles in expected.values()}
    assert kinds == {*map(frozenset, ROLES.values()), frozenset(ADMINISTRATOR)}


def test_quizzes_with_attempts_and_best_results(site, storage):
    quizzes = modules(site, "quiz")
    attempts: Counter[tuple[str, str]] = Counter()
    best: dict[tuple[str, str], float] = {}
    for quiz, learner, result in site.execute(
        """
        SELECT a.quiz, a.userid, CASE WHEN a.id IN (
            SELECT objectid FROM mdl_logstore_standard_log
            WHERE component = 'mod_quiz' AND target = 'attempt' AND action = 'reviewed'
        ) THEN a.sumgrades / q.sumgrades * q.grade END
        FROM mdl_quiz_attempts a JOIN mdl_quiz q ON q.id = a.quiz
        WHERE a.state = 'finished' AND a.preview = 0
        """
    ):
        key = activity("quiz", quizzes[quiz]), user(learner)
        attempts[key] += 1
        if result is not None:
            best[key] = max(result, best.get(key, 0))
    deleted = site.execute(
        """
        SELECT contextinstanceid, relateduserid FROM mdl_logstore_standard_log
        WHERE component = 'mod_quiz' AND target = 'attempt' AND action = 'submitted'
        AND objectid NOT IN (SELECT id FROM mdl_quiz_attempts)
        """
    ).fetchall()
    attempts.update((activity("quiz", module), user(learner)) for module, learner in deleted)
    found = {(quiz, who): row for quiz, who, *row in answers(storage, "How often has each learner")}
    assert {key: row[0] for key, row in found.items()} == attempts
    results = {key: row[1] for key, row in found.items() if row[1] is not None}
    assert results == pytest.approx(best, abs=0.0001)
    assert len(results) > 20
    assert attempts.keys() - results.keys(), "every attempt was looked at"


def test_the_last_grades(site, storage):
    assignments = modules(site, "assign")
    expected = {
        (activity("assign", assignments[assignment]), user(learner)): (grade, highest)
        for assignment, learner, grade, highest in site.execute(
            """
            SELECT g.assignment, g.userid, g.grade, CASE WHEN a.grade > 0 THEN a.grade
                ELSE LENGTH(s.scale) - LENGTH(REPLACE(s.scale, ',', '')) + 1 END
            FROM mdl_assign_grades g
            JOIN mdl_assign a ON a.id = g.assignment
            LEFT JOIN mdl_scale s ON s.id = -a.grade
            WHERE g.grade >= 0
            ORDER BY g.timemodified
            """
        )
    }
    found = {row[:2]: row[2:] for row in answers(storage, "What is the last grade")}
    assert found == expected
    assert len(found) > 40
    regraded = site.execute(
        "SELECT COUNT(DISTINCT oldid), SUM(finalgrade IS NULL OR finalgrade < 0) "
        "FROM mdl_grade_grades_history WHERE action = 2 AND source = 'mod/assign'"
    ).fetchone()
    assert regraded[0] > 2, "no grade was changed"
    assert regraded[1] > 0, "no grade was removed"


def test_the_time_from_start_to_submission(site, storage):
    expected = dict(
        site.execute(
            f"""
            SELECT '{W}/mod/quiz/review.php?attempt=' || id, timefinish - timestart
            FROM mdl_quiz_attempts WHERE state = 'finished' AND preview = 0
            """
        )
    )
    found = dict(answers(storage, "How long does a quiz take"))
    assert {attempt: seconds for attempt, seconds in found.items() if seconds} == expected
    assert len(expected) > 20


def test_who_has_not_submitted(site, storage):
    assignments = modules(site, "assign")
    courses = dict(site.execute("SELECT id, course FROM mdl_assign"))
    # Moodle marks the submission of each member of a team.
    submitted = set(
        site.execute(
            "SELECT assignment, userid FROM mdl_assign_submission "
            "WHERE status = 'submitted' AND userid > 0"
        )
    )
    students = learners(site)
    expected = {
        (activity("assign", assignments[assignment]), user(learner))
        for assignment in {assignment for assignment, _ in submitted}
        for where, learner in students
        if where == courses[assignment] and (assignment, learner) not in submitted
    }
    found = answers(storage, "Who has not submitted")
    assert set(found) == expected
    assert len(found) == len(expected) > 40
    by_themselves = set(
        site.execute(
            "SELECT contextinstanceid, userid FROM mdl_logstore_standard_log "
            "WHERE objecttable = 'assign_submission' AND action = 'submitted'"
        )
    )
    by_the_team = {
        (courses[assignment], learner)
        for assignment, learner in submitted
        if (assignments[assignment], learner) not in by_themselves
    }
    assert by_the_team & students


def test_who_answers_whom_in_forums(site, storage):
    expected = {
        (user(author), user(answered)): posts
        for author, answered, posts in site.execute(
            """
            SELECT p.userid, parent.userid, COUNT(*) FROM mdl_forum_posts p
            JOIN mdl_forum_posts parent ON parent.id = p.parent
            WHERE p.created >= ? GROUP BY 1, 2
            """,
            [HOURS.start.start],
        )
    }
    found = answers(storage, "Who answers whom")
    assert {row[:2]: row[2] for row in found} == expected
    assert len(found) == len(expected) > 5


def test_daily_active_learners_in_the_time_zone_of_the_site(site, storage):
    ((zone,),) = site.execute("SELECT value FROM mdl_config WHERE name = 'timezone'")
    assert f"'{zone}'" in question("How many learners are active")
    students = learners(site)
    days: dict[object, set[int]] = defaultdict(set)
    for where, person, moment in site.execute(SEEN):
        if (where, person) in students:
            days[datetime.fromtimestamp(moment, ZoneInfo(zone)).date()].add(person)
    found = answers(storage, "How many learners are active")
    assert dict(found) == {day: len(active) for day, active in days.items()}
    assert len(found) == len(days) > 1


def test_what_an_administrator_did_as_another(site, storage):
    expected = site.execute(
        "SELECT realuserid, userid, timecreated, eventname FROM mdl_logstore_standard_log "
        "WHERE realuserid > 0 AND anonymous = 0 ORDER BY timecreated, id"
    ).fetchall()
    found = answers(storage, "What did an administrator do")
    assert [row[:4] for row in found] == [
        (user(real), user(other), moment, name) for real, other, moment, name in expected
    ]
    assert len(found) > 1
