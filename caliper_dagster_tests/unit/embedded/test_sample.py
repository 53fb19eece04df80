"""The sample site as somebody sees it who opens the file: is it a Moodle database in use?"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import Hour
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.embedded.sample.journal import php_json, php_serialize
from caliper_dagster_tests.harness.paths import DUMP

END = datetime(2026, 3, 27, 14, 20, 5, tzinfo=UTC)
HOURS = 48
START = int(END.timestamp()) - HOURS * 3600

VIEWED = (
    "page quiz url folder forum book scorm resource choice data feedback lesson lti wiki workshop "
    "chat glossary imscp survey facetoface"
)
SUPPORTED = {
    r"\core\event\course_viewed",
    r"\core\event\user_loggedin",
    r"\core\event\user_loggedout",
    *(rf"\mod_{module}\event\course_module_viewed" for module in VIEWED.split()),
    r"\mod_forum\event\post_created",
    r"\mod_forum\event\user_report_viewed",
    r"\mod_quiz\event\attempt_started",
    r"\mod_quiz\event\attempt_viewed",
    r"\mod_quiz\event\attempt_submitted",
    r"\mod_quiz\event\attempt_reviewed",
    r"\mod_assign\event\assessable_submitted",
    r"\mod_assign\event\submission_graded",
}


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "moodle.sqlite"
    return write_sample(path, students=120, hours=HOURS, seed=7, end=END)


@pytest.fixture(scope="module")
def db(summary):
    with closing(sqlite3.connect(summary.path)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def log(db, name="", where="1"):
    """Log rows of one event (by the end of its name), by time."""
    return db.execute(
        "SELECT * FROM mdl_logstore_standard_log WHERE eventname LIKE ? AND "
        f"{where} ORDER BY timecreated, id",
        (f"%{name}",),
    ).fetchall()


def by_id(db, table):
    return {row["id"]: row for row in db.execute(f"SELECT * FROM mdl_{table}")}


def content(path):
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def decode(other):
    """What a reader of both formats sees, and which format it was."""
    if re.match(r"N;|[abids]:", other):
        value, rest = _unserialize(other.encode())
        assert rest == b""
        return value, "php"
    return json.loads(other), "json"


def _unserialize(data):
    kind = data[:1]
    if kind == b"N":
        return None, data[2:]
    if kind == b"s":
        length, rest = data[2:].split(b":", 1)
        size = int(length)
        assert rest[size + 1 : size + 3] == b'";'
        return rest[1 : size + 1].decode(), rest[size + 3 :]
    if kind in b"ib":
        number, rest = data[2:].split(b";", 1)
        return (bool(int(number)) if kind == b"b" else int(number)), rest
    count, rest = data[2:].split(b":", 1)
    items, rest = [], rest[1:]
    for _ in range(2 * int(count)):
        item, rest = _unserialize(rest)
        items.append(item)
    assert rest[:1] == b"}"
    return dict(zip(items[::2], items[1::2], strict=True)), rest[1:]


COURSES_WITHOUT_STUDENTS = """
SELECT count(*) FROM mdl_enrol
JOIN mdl_context ON contextlevel = 50 AND instanceid = courseid
WHERE mdl_context.id NOT IN (
    SELECT contextid FROM mdl_role_assignments a
    JOIN mdl_role r ON r.id = a.roleid WHERE r.shortname = 'student'
)
"""


@pytest.mark.parametrize("students", [1, 2, 3, 170, 2800])
def test_sites_of_any_size_can_be_written(tmp_path, students):
    """A handful of students fill no four courses, and 170 come to seven courses, 2800 to 112."""
    path = tmp_path / "moodle.sqlite"
    assert write_sample(path, students=students, hours=2, seed=10, end=END).total > 0
    with closing(sqlite3.connect(path)) as connection:
        (empty,) = connection.execute(COURSES_WITHOUT_STUDENTS).fetchone()
    assert empty == 0 or students < 4


def test_all_events_occur_and_are_counted(db, summary):
    counted = dict(
        db.execute(
            "SELECT eventname, COUNT(*) FROM mdl_logstore_standard_log GROUP BY 1"
        ).fetchall()
    )
    assert len(SUPPORTED) == 31
    assert set(counted) == SUPPORTED
    assert summary.rows == counted
    assert summary.total == sum(counted.values()) > 3000


def test_event_names_are_made_of_their_columns(db):
    for row in log(db):
        assert row["eventname"] == f"\\{row['component']}\\event\\{row['target']}_{row['action']}"


@pytest.mark.parametrize(("students", "hours"), [(1, 1), (3, 2), (1, 30)])
@pytest.mark.parametrize("end", [END, Hour.of(END.timestamp())])
def test_even_the_smallest_site_shows_everything(tmp_path, students, hours, end):
    summary = write_sample(tmp_path / "s", students=students, hours=hours, seed=3, end=end)
    assert all(summary.rows.values())
    with closing(sqlite3.connect(summary.path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = log(connection)
    assert {row["origin"] for row in rows} == {"web", "ws", "cli"}
    assert {0, 1} <= {row["userid"] for row in rows}
    assert any(row["realuserid"] == 2 and row["userid"] != 2 for row in rows)
    assert {row["anonymous"] for row in rows} == {0, 1}
    assert {row["objectid"] for row in rows} & set(summary.dangling["quiz_attempts"])
    assert {row["courseid"] for row in rows} & set(summary.dangling["course"])
    assert {row["timecreated"] // 3600 for row in rows} == {hour.number for hour in summary.hours}


def test_same_arguments_give_the_same_rows(tmp_path, summary):
    again = write_sample(tmp_path / "again", students=120, hours=HOURS, seed=7, end=END)
    assert content(again.path) == content(summary.path)
    assert again.rows == summary.rows


@pytest.mark.parametrize("changed", [{"seed": 8}, {"students": 121}, {"hours": HOURS + 1}])
def test_other_arguments_give_other_rows(tmp_path, summary, changed):
    arguments = {"students": 120, "hours": HOURS, "seed": 7, "end": END, **changed}
    other = write_sample(tmp_path / "other", **arguments)
    assert content(other.path) != content(summary.path)


def test_times_lie_in_the_range_and_no_hour_is_empty(db, summary):
    hours = [row["timecreated"] // 3600 for row in log(db)]
    times = [row["timecreated"] for row in log(db)]
    assert min(times) >= START
    assert max(times) < END.timestamp()
    assert set(hours) == set(range(START // 3600, int(END.timestamp()) // 3600 + 1))
    assert summary.first_hour == Hour.of(START)
    assert summary.hours.end == Hour.of(END.timestamp()) + 1


def test_evenings_are_busier_than_nights(db):
    clock = [row["timecreated"] // 3600 % 24 for row in log(db)]
    assert sum(hour in range(18, 21) for hour in clock) > 5 * sum(
        hour in range(1, 4) for hour in clock
    )


def test_the_log_ends_now_by_default(tmp_path):
    before = datetime.now(UTC).timestamp()
    summary = write_sample(tmp_path / "now", students=2, hours=3)
    assert Hour.of(before) <= summary.hours.end <= Hour.of(datetime.now(UTC).timestamp()) + 1
    with closing(sqlite3.connect(summary.path)) as connection:
        newest = connection.execute("SELECT MAX(timecreated) FROM mdl_logstore_standard_log")
        assert newest.fetchone()[0] <= datetime.now(UTC).timestamp()


def test_an_hour_as_end_stands_for_its_start(tmp_path):
    summary = write_sample(tmp_path / "hour", students=2, hours=3, end=Hour(500_000))
    assert list(summary.hours) == [Hour(499_997), Hour(499_998), Hour(499_999)]


def test_rows_of_cron_have_higher_ids_than_later_events(db):
    late = log(db, "attempt_submitted", "origin = 'cli'")[0]
    assert any(
        row["id"] < late["id"] and row["timecreated"] > late["timecreated"] for row in log(db)
    )


def test_every_id_in_the_log_joins_or_is_listed_as_dangling(db, summary):
    missing = {table: set(ids) for table, ids in summary.dangling.items()}
    named = set()
    known = {}
    for row in log(db):
        references = [
            ("context", row["contextid"]),
            ("user", max(row["userid"], 1)),
            ("user", row["relateduserid"]),
            ("user", row["realuserid"]),
            ("course", row["courseid"] or None),
            (row["objecttable"], row["objectid"]),
            ("course_modules", row["contextinstanceid"] if row["contextlevel"] == 70 else None),
            ("course", row["contextinstanceid"] if row["contextlevel"] == 50 else None),
        ]
        for table, key in references:
            if key is None:
                continue
            if table not in known:
                known[table] = set(by_id(db, table))
            ids = known[table]
            assert (key in ids) != (key in missing.get(table, set())), (table, key, dict(row))
            if key not in ids:
                named.add(table)
    assert {
        "course",
        "course_modules",
        "context",
        "page",
        "quiz_attempts",
        "assign_grades",
    } <= named
    assert not {"user", "quiz", "assign", "assign_submission"} & set(missing)


def test_names_repeat_late(db):
    people = [(row["firstname"], row["lastname"]) for row in by_id(db, "user").values()]
    assert len(set(people)) == len(people)


def test_ids_of_activities_and_course_modules_differ(db):
    assert any(row["id"] != row["instance"] for row in by_id(db, "course_modules").values())


def test_deleted_users_keep_their_emptied_row(db):
    deleted = [user for user in by_id(db, "user").values() if user["deleted"]]
    assert deleted
    for user in deleted:
        assert user["idnumber"] == ""
        assert re.fullmatch(r".+@.+\.\d+", user["username"])
        assert re.fullmatch(r"[0-9a-f]{32}", user["email"])
        rows = log(db, where=f"userid = {user['id']}")
        assert rows
        assert max(row["timecreated"] for row in rows) < user["timemodified"]
        for table in ("role_assignments", "user_enrolments"):
            assert not [r for r in by_id(db, table).values() if r["userid"] == user["id"]]


def test_contexts_lead_to_the_system(db):
    contexts = by_id(db, "context")
    for context in contexts.values():
        path = [int(step) for step in context["path"].split("/")[1:]]
        assert path[0] == 1
        assert path[-1] == context["id"]
        assert len(path) == context["depth"]
        assert all(step in contexts for step in path)
    for row in log(db, where="contextlevel = 70"):
        if row["contextid"] in contexts:
            course = contexts[int(contexts[row["contextid"]]["path"].split("/")[-2])]
            assert (course["contextlevel"], course["instanceid"]) == (50, row["courseid"])
            assert contexts[row["contextid"]]["instanceid"] == row["contextinstanceid"]


def test_people_have_roles_on_different_levels(db):
    found = {
        (row["shortname"], row["archetype"], row["contextlevel"])
        for row in db.execute(
            "SELECT r.shortname, r.archetype, c.contextlevel FROM mdl_role_assignments a "
            "JOIN mdl_role r ON r.id = a.roleid JOIN mdl_context c ON c.id = a.contextid "
            "JOIN mdl_user u ON u.id = a.userid"
        )
    }
    assert found == {
        ("manager", "manager", 40),
        ("coursecreator", "coursecreator", 10),
        ("editingteacher", "editingteacher", 50),
        ("teacher", "teacher", 50),
        ("tutor", "teacher", 50),
        ("student", "student", 50),
        ("observer", "", 50),
    }
    config = {row["name"]: row["value"] for row in by_id(db, "config").values()}
    assert (config["siteguest"], config["siteadmins"]) == ("1", "2")


def test_somebody_who_learned_in_a_course_is_not_in_it_any_more(db):
    students = db.execute(
        "SELECT DISTINCT l.userid FROM mdl_logstore_standard_log l "
        "JOIN mdl_course k ON k.id = l.courseid JOIN mdl_user u ON u.id = l.userid "
        "WHERE l.courseid > 1 AND u.deleted = 0 AND u.username LIKE 'student%' "
        "AND NOT EXISTS (SELECT 1 FROM mdl_user_enrolments e JOIN mdl_enrol m ON m.id = e.enrolid "
        "WHERE m.courseid = l.courseid AND e.userid = l.userid)"
    ).fetchall()
    assert students


def test_activities_hang_together(db):
    modules = {row["id"]: row["name"] for row in by_id(db, "modules").values()}
    sections = by_id(db, "course_sections")
    seen = set()
    for cm in by_id(db, "course_modules").values():
        name = modules[cm["module"]]
        seen.add(name)
        instance = by_id(db, name)[cm["instance"]]
        assert instance["course"] == cm["course"]
        assert str(cm["id"]) in sections[cm["section"]]["sequence"].split(",")
    assert seen == {*VIEWED.split(), "assign"}
    mimes = {row["mimetype"] for row in by_id(db, "files").values()}
    assert mimes == {"application/pdf", "video/mp4", "audio/mpeg", "image/png", None}


def test_sessions_are_framed_by_one_address(db):
    by_user = {}
    for row in log(db, where="origin = 'web' AND userid > 2 AND realuserid IS NULL"):
        by_user.setdefault(row["userid"], []).append(row)
    log_outs = 0
    for rows in by_user.values():
        assert rows[0]["action"] == "loggedin"
        for before, row in itertools.pairwise(rows):
            if row["action"] == "loggedout":
                log_outs += 1
                assert before["ip"] == row["ip"]
    assert log_outs > 50


def test_present_log_ins_are_those_of_the_log(db):
    newest = {row["userid"]: row for row in log(db, "user_loggedin")}
    for user in by_id(db, "user").values():
        row = newest.get(user["id"])
        assert user["currentlogin"] == (row["timecreated"] if row else 0)
        assert user["lastip"] == (row["ip"] if row else "")


def test_quiz_attempts_agree_with_their_events(db):
    attempts = by_id(db, "quiz_attempts")
    quizzes = by_id(db, "quiz")
    started = {r["objectid"]: r for r in log(db, "attempt_started")}
    submitted = {r["objectid"]: r for r in log(db, "attempt_submitted")}
    states = {row["state"] for row in attempts.values() if not row["preview"]}
    assert states == {"finished", "inprogress", "abandoned"}
    for attempt in attempts.values():
        row = submitted.get(attempt["id"])
        assert (attempt["state"] == "finished") == (row is not None)
        if not attempt["preview"]:
            assert started[attempt["id"]]["timecreated"] == attempt["timestart"]
            assert started[attempt["id"]]["userid"] == attempt["userid"]
        if row is None:
            assert (attempt["timefinish"], attempt["sumgrades"]) == (0, None)
            continue
        other, _ = decode(row["other"])
        assert other["quizid"] == str(attempt["quiz"])
        assert row["relateduserid"] == attempt["userid"]
        if row["origin"] == "cli":
            limit = quizzes[attempt["quiz"]]["timelimit"]
            assert attempt["timefinish"] == attempt["timestart"] + limit < row["timecreated"]
            assert (other["submitterid"], other["studentisonline"]) == (None, False)
        else:
            assert attempt["timefinish"] == row["timecreated"] > attempt["timestart"]
            assert (other["submitterid"], other["studentisonline"]) == (str(row["userid"]), True)


def test_quiz_pages_and_reviews_lie_between_start_and_end(db, summary):
    attempts = by_id(db, "quiz_attempts")
    for row in log(db, "attempt_viewed"):
        attempt = attempts.get(row["objectid"])
        if attempt is None:
            assert row["objectid"] in summary.dangling["quiz_attempts"]
            continue
        other, _ = decode(row["other"])
        assert other["quizid"] == str(attempt["quiz"])
        pages = attempt["layout"].split(",").count("0")
        assert 0 <= int(other["page"]) < pages
        assert attempt["timestart"] <= row["timecreated"]
        assert row["timecreated"] <= (attempt["timefinish"] or END.timestamp())
    reviewers = set()
    for row in log(db, "attempt_reviewed"):
        if row["objectid"] in attempts:
            assert attempts[row["objectid"]]["timefinish"] <= row["timecreated"]
            reviewers.add(row["userid"] == row["relateduserid"])
    assert reviewers == {True, False}


def test_attempts_of_a_quiz_are_numbered_and_never_overlap(db):
    by_key = {}
    for attempt in by_id(db, "quiz_attempts").values():
        by_key.setdefault((attempt["quiz"], attempt["userid"]), []).append(attempt)
    assert any(len(attempts) > 1 for attempts in by_key.values())
    for attempts in by_key.values():
        attempts.sort(key=lambda attempt: attempt["attempt"])
        for before, after in itertools.pairwise(attempts):
            assert before["timemodified"] < after["timestart"]


def test_quiz_grades_are_the_best_attempts(db):
    quizzes = by_id(db, "quiz")
    best = {}
    for attempt in by_id(db, "quiz_attempts").values():
        if attempt["sumgrades"] is not None:
            quiz = quizzes[attempt["quiz"]]
            assert 0 <= attempt["sumgrades"] <= quiz["sumgrades"]
            grade = round(attempt["sumgrades"] * quiz["grade"] / quiz["sumgrades"], 5)
            key = (attempt["quiz"], attempt["userid"])
            best[key] = max(grade, best.get(key, 0))
    grades = {
        (row["quiz"], row["userid"]): row["grade"] for row in by_id(db, "quiz_grades").values()
    }
    assert grades == best
    assert grades
    assert _gradebook(db, "quiz") == grades


def _gradebook(db, module):
    return {
        (row["iteminstance"], row["userid"]): row["finalgrade"]
        for row in db.execute(
            "SELECT i.iteminstance, g.userid, g.finalgrade FROM mdl_grade_grades g "
            "JOIN mdl_grade_items i ON i.id = g.itemid WHERE i.itemmodule = ?",
            (module,),
        )
    }


def test_submissions_agree_with_their_events(db):
    submissions = by_id(db, "assign_submission")
    assignments = by_id(db, "assign")
    events = {}
    for row in log(db, "assessable_submitted"):
        events.setdefault(row["objectid"], []).append(row)
    assert set(events) == {
        s["id"] for s in submissions.values() if s["userid"] == 0 or s["id"] in events
    }
    teams = 0
    for key, rows in events.items():
        submission = submissions[key]
        assignment = assignments[submission["assignment"]]
        assert submission["timecreated"] == rows[0]["timecreated"]
        assert submission["timemodified"] == rows[-1]["timecreated"]
        teams += submission["groupid"] > 0
        if submission["userid"]:
            assert {row["userid"] for row in rows} == {submission["userid"]}
        other, _ = decode(rows[0]["other"])
        assert other == {"submission_editable": not assignment["submissiondrafts"]}
    assert teams
    assert any(len(rows) > 1 for rows in events.values())
    assert {0, 1} <= {submission["attemptnumber"] for submission in submissions.values()}


def test_only_the_newest_submission_is_the_latest(db):
    newest = {}
    for row in by_id(db, "assign_submission").values():
        newest.setdefault((row["assignment"], row["userid"], row["groupid"]), []).append(row)
    for rows in newest.values():
        rows.sort(key=lambda row: row["attemptnumber"])
        assert [row["latest"] for row in rows] == [0] * (len(rows) - 1) + [1]
        assert [row["attemptnumber"] for row in rows] == list(range(len(rows)))


def test_grades_agree_with_their_events(db, summary):
    grades = by_id(db, "assign_grades")
    assignments = by_id(db, "assign")
    submissions = {
        (row["assignment"], row["userid"], row["attemptnumber"]): row
        for row in by_id(db, "assign_submission").values()
    }
    events = {}
    for row in log(db, "submission_graded"):
        assert row["objectid"] in grades or row["objectid"] in summary.dangling["assign_grades"]
        events[row["objectid"]] = row
    values = {"none": 0, "points": 0, "scale": 0}
    for grade in grades.values():
        row = events[grade["id"]]
        assert grade["timemodified"] == row["timecreated"]
        assert (grade["grader"], grade["userid"]) == (row["userid"], row["relateduserid"])
        submission = submissions[grade["assignment"], grade["userid"], grade["attemptnumber"]]
        assert submission["timemodified"] < grade["timemodified"]
        highest = assignments[grade["assignment"]]["grade"]
        if grade["grade"] == -1:
            values["none"] += 1
        elif highest < 0:
            values["scale"] += 1
            assert grade["grade"] in {1, 2, 3, 4}
        else:
            values["points"] += 1
            assert 0 <= grade["grade"] <= highest
    assert all(values.values())


def test_the_gradebook_knows_maxima_scales_and_history(db):
    items = by_id(db, "grade_items")
    scales = [row for row in items.values() if row["gradetype"] == 2]
    assert scales
    for item in scales:
        size = len(by_id(db, "scale")[item["scaleid"]]["scale"].split(","))
        assert (item["grademin"], item["grademax"]) == (1, size)
    newest = {}
    for row in by_id(db, "grade_grades_history").values():
        key = (row["itemid"], row["userid"])
        newest[key] = max(
            newest.get(key, (0, None)), (row["timemodified"], row["finalgrade"] or -1)
        )
    for grade in by_id(db, "grade_grades").values():
        last = newest[grade["itemid"], grade["userid"]]
        assert (grade["timemodified"], grade["finalgrade"] or -1) == last


def test_replies_agree_with_their_events(db):
    posts, discussions = by_id(db, "forum_posts"), by_id(db, "forum_discussions")
    logged = {row["objectid"]: row for row in log(db, "post_created")}
    replies = {key for key, post in posts.items() if post["created"] >= START}
    assert set(logged) == replies
    assert len(replies) > 20
    for key, row in logged.items():
        post = posts[key]
        parent, discussion = posts[post["parent"]], discussions[post["discussion"]]
        assert (row["userid"], row["timecreated"]) == (post["userid"], post["created"])
        assert parent["discussion"] == post["discussion"]
        assert parent["created"] < post["created"]
        assert parent["userid"] != post["userid"]
        other, _ = decode(row["other"])
        assert (other["discussionid"], other["forumid"]) == (discussion["id"], discussion["forum"])
    newest = {}
    for post in posts.values():
        newest[post["discussion"]] = max(newest.get(post["discussion"], 0), post["created"])
    assert newest == {key: row["timemodified"] for key, row in discussions.items()}
    assert {posts[row["firstpost"]]["parent"] for row in discussions.values()} == {0}


def test_other_is_written_in_both_formats(db):
    keys = {}
    formats = set()
    for row in log(db):
        value, how = decode(row["other"])
        formats.add(how)
        keys.setdefault(row["eventname"].rsplit("\\", 1)[1], set()).add(tuple(value or ()))
    assert formats == {"php", "json"}
    assert keys == {
        "course_viewed": {(), ("coursesectionnumber",)},
        "user_loggedin": {("username", "extrauserinfo")},
        "user_loggedout": {("sessionid",)},
        "user_report_viewed": {("reportmode",)},
        "course_module_viewed": {(), ("anonymous",), ("mode",), ("viewed",)},
        "post_created": {("discussionid", "forumid", "forumtype")},
        "attempt_started": {()},
        "attempt_viewed": {("quizid", "page")},
        "attempt_submitted": {("submitterid", "quizid", "studentisonline")},
        "attempt_reviewed": {("quizid",)},
        "assessable_submitted": {("submission_editable",)},
        "submission_graded": {()},
    }


@pytest.mark.parametrize(
    ("value", "php", "as_json"),
    [
        (None, "N;", "null"),
        (
            {"username": "stu06", "extrauserinfo": []},
            'a:2:{s:8:"username";s:5:"stu06";s:13:"extrauserinfo";a:0:{}}',
            '{"username":"stu06","extrauserinfo":[]}',
        ),
        (
            {"submitterid": None, "quizid": "1", "studentisonline": False},
            'a:3:{s:11:"submitterid";N;s:6:"quizid";s:1:"1";s:15:"studentisonline";b:0;}',
            '{"submitterid":null,"quizid":"1","studentisonline":false}',
        ),
        ({"n": 4}, 'a:1:{s:1:"n";i:4;}', '{"n":4}'),
        ({"ü": "a/b"}, 'a:1:{s:2:"ü";s:3:"a/b";}', r'{"\u00fc":"a\/b"}'),
    ],
)
def test_other_is_spelled_as_moodle_spells_it(value, php, as_json):
    assert php_serialize(value) == php
    assert php_json(value) == as_json


def test_anonymous_rows_are_those_of_anonymous_feedback(db):
    for row in log(db, where="component = 'mod_feedback'"):
        other, _ = decode(row["other"])
        assert row["anonymous"] == (other["anonymous"] == "1")
    assert {row["component"] for row in log(db, where="anonymous = 1")} == {"mod_feedback"}


def test_names_are_such_as_break_things(db):
    people = "".join(row["lastname"] + row["firstname"] for row in by_id(db, "user").values())
    courses = "".join(row["fullname"] for row in by_id(db, "course").values())
    for characters in ("é|ë|ü|ø", "[\u0590-\u06ff]", "'", "[\U0001f300-\U0001faff]"):
        assert re.search(characters, people), characters
    assert "<b>" in courses


def test_addresses_and_mails_belong_to_nobody(db):
    documentation = r"192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|2001:db8::"
    for row in log(db):
        assert (row["ip"] is None) == (row["origin"] == "cli")
        assert row["ip"] is None or re.match(documentation, row["ip"])
    assert all(
        row["deleted"] or row["email"].endswith("@moodle.example.edu")
        for row in by_id(db, "user").values()
    )


def dumped_tables():
    """Columns and keys by table, as the dump of the real site creates them."""
    tables, name = {}, None
    with gzip.open(DUMP, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("CREATE TABLE"):
                name = line.split("`")[1]
                tables[name] = (set(), {})
            elif line.startswith(")"):
                name = None
            elif name and (column := re.match(r"  `(\w+)` ", line)):
                tables[name][0].add(column[1])
            elif name and (key := re.match(r"  (?:UNIQUE )?KEY `(\w+)` \((.+)\)", line)):
                tables[name][1][key[1]] = key[2].replace("`", "").split(",")
    return tables


def test_tables_columns_and_indexes_are_moodles(db):
    real = dumped_tables()
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert len(tables) > 40
    for table in tables:
        columns = {row["name"] for row in db.execute(f"PRAGMA table_info({table})")}
        if table == "mdl_facetoface":
            assert {"id", "course", "name", "intro"} <= columns
            continue
        assert columns == real[table][0], table
        for index in db.execute(f"PRAGMA index_list({table})"):
            fields = [row["name"] for row in db.execute(f"PRAGMA index_info({index['name']})")]
            assert real[table][1][index["name"]] == fields
    log_table = "mdl_logstore_standard_log"
    made = {row["name"] for row in db.execute(f"PRAGMA index_list({log_table})")}
    assert made == set(real[log_table][1])


@pytest.mark.parametrize("prefix", ["", "m_"])
def test_any_table_prefix(tmp_path, prefix):
    summary = write_sample(tmp_path / "p", students=1, hours=1, end=END, prefix=prefix)
    with closing(sqlite3.connect(summary.path)) as connection:
        found = connection.execute(f'SELECT COUNT(*) FROM "{prefix}logstore_standard_log"')
        assert found.fetchone()[0] == summary.total


def test_a_file_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "moodle.sqlite"
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="overwrite"):
        write_sample(path, students=1, hours=1)
    assert path.read_text() == "mine"
    write_sample(path, students=1, hours=1, overwrite=True)
    assert path.read_bytes().startswith(b"SQLite format 3")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["no/such/folder/x.sqlite", "", "x" * 300])
def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path, name):
    with pytest.raises(ConfigurationError, match=r"cannot be written to .*\.$"):
        write_sample(tmp_path / name, students=1, hours=1)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def refuse(self, target):
        raise PermissionError("no")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_sample(tmp_path / "x", students=1, hours=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"students": 0}, "student"),
        ({"hours": 0}, "hour"),
        ({"prefix": "a; DROP"}, "prefix"),
        ({"end": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
    ],
)
def test_wrong_arguments_are_named(tmp_path, wrong, word):
    with pytest.raises(ConfigurationError, match=word):
        write_sample(tmp_path / "x", **wrong)
    assert not list(tmp_path.iterdir())
