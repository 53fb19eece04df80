"""The events that Moodle 5.0 and 5.1 added."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caliper_dagster.caliper.document_rules import validate
from caliper_dagster.translator import Translator
from caliper_dagster.translator.example import example_row
from caliper_dagster_tests.harness.handmade_site import NOW, Site, expand_at_once
from caliper_dagster_tests.unit.translator.golden import ASSIGN
from caliper_dagster_tests.unit.translator.support import ADA, RECIPES, W, event

VERSIONS = ("v1p2", "v1p1")
LIST: dict[str, Any] = {
    "crud": "r", "objecttable": None, "objectid": None, "contextlevel": 50, "contextinstanceid": 2,
}  # fmt: skip


def shape(found: dict[str, Any]) -> tuple[str, str, str, str]:
    return found["type"], found["action"], found["object"]["type"], found["object"]["id"]


def test_the_overview_of_a_course_is_a_page_of_it():
    found = event({**LIST, "eventname": r"\core\event\course_overview_viewed"})
    page = f"{W}/course/overview.php?id=2"
    assert shape(found) == ("NavigationEvent", "NavigatedTo", "WebPage", page)
    assert found["object"]["isPartOf"] == f"{W}/course/view.php?id=2#page"


@pytest.mark.parametrize("name", ["bigbluebuttonbn", "qbank", "zoom"])
def test_the_activities_of_a_kind_are_listed_on_moodles_page(name):
    found = event(
        {
            **LIST,
            "eventname": rf"\mod_{name}\event\course_module_instance_list_viewed",
            "component": f"mod_{name}",
        }
    )
    page = f"{W}/mod/{name}/index.php?id=2"
    assert shape(found) == ("NavigationEvent", "NavigatedTo", "DigitalResourceCollection", page)


@pytest.mark.parametrize(
    ("word", "action"), [("enabled", "Activated"), ("disabled", "Deactivated")]
)
def test_a_shared_category_of_custom_fields_is_switched(word, action):
    found = event(
        {
            "eventname": rf"\core_customfield\event\shared_category_usage_{word}",
            "component": "core_customfield", "crud": "u", "objecttable": "customfield_category",
            "objectid": 4,
        }
    )  # fmt: skip
    assert shape(found) == ("Event", action, "Entity", f"{W}/#customfield_category-4")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_feedback_file_is_a_document_beside_its_grade(version):
    found = event(
        {
            "eventname": r"\assignfeedback_file\event\feedback_downloaded",
            "component": "assignfeedback_file", "crud": "r", "objecttable": "assign_grades",
            "objectid": 90, "contextlevel": 70, "contextinstanceid": 12, "userid": 3, "user": ADA,
            "other": {"fileid": 7, "filename": "essay.pdf"}, "module": ASSIGN,
            "object": {"id": 90, "userid": 3, "grade": 80.0, "attemptnumber": 0},
        },
        version=version,
    )  # fmt: skip
    assert found["object"]["type"] == "Document"
    assert found["object"]["id"] == f"{W}/mod/assign/view.php?id=12#grade-90-file-7"
    assert found["extensions"]["moodle"]["result"]["resultScore"] == 80.0
    assert validate(found, strict=True) == []


def test_each_feedback_file_is_a_document_of_its_own():
    row = {
        "eventname": r"\assignfeedback_file\event\feedback_downloaded", "objectid": 90,
        "objecttable": "assign_grades", "contextlevel": 70, "contextinstanceid": 12,
        "module": ASSIGN,
    }  # fmt: skip
    one, other = (
        event(row | {"other": {"fileid": file, "filename": "essay.pdf"}}) for file in (7, 8)
    )
    assert one["object"]["id"] == f"{W}/mod/assign/view.php?id=12#grade-90-file-7"
    assert other["object"]["id"] == f"{W}/mod/assign/view.php?id=12#grade-90-file-8"
    assert "essay" not in str(one)


GONE = [
    name
    for name in RECIPES.exact
    if name.startswith(("\\mod_chat\\", "\\mod_survey\\"))
    or name.rpartition("\\")[2].startswith("message_contact_")
    or name.endswith("legacy_logged")
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", GONE)
def test_old_rows_of_events_that_are_gone_are_sent(name, version):
    found = event(example_row(name, object=None), version=version)
    assert validate(found, strict=True) == []


# A site of Moodle 5.1: its tables made by hand, and what its log becomes

LEARNER, GRADER = 5, 9
QUIZ_PAGE = f"{W}/mod/quiz/view.php?id=11"
ATTEMPT: dict[str, Any] = {
    "id": 101, "quiz": 70, "userid": LEARNER, "attempt": 1, "uniqueid": 1, "state": "finished",
    "timestart": NOW - 500, "timefinish": NOW - 10, "timemodified": NOW - 10, "sumgrades": 4,
}  # fmt: skip
IN_QUIZ = {
    "component": "mod_quiz", "objecttable": "quiz_attempts", "objectid": 101, "courseid": 2,
    "contextlevel": 70, "contextinstanceid": 11, "relateduserid": LEARNER,
}  # fmt: skip
OF_GRADE = {
    "eventname": r"\core\event\user_graded", "objecttable": "grade_grades", "objectid": 1,
    "userid": GRADER, "relateduserid": LEARNER, "courseid": 2, "contextlevel": 50,
    "contextinstanceid": 2,
}  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "moodle.sqlite")
    made.execute(
        "ALTER TABLE mdl_quiz ADD precreateattempts INTEGER",
        "ALTER TABLE mdl_assign ADD gradepenalty INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE mdl_assign_grades ADD penalty REAL NOT NULL DEFAULT 0",
        "ALTER TABLE mdl_grade_grades ADD deductedmark REAL NOT NULL DEFAULT 0",
        *(
            f"DROP TABLE IF EXISTS mdl_{table}"
            for table in ("chat", "chat_messages", "survey", "survey_answers", "survey_questions")
        ),
    )
    made.add("course", {"id": 2, "fullname": "Maths"})
    made.add("modules", {"id": 1, "name": "quiz"}, {"id": 2, "name": "assign"})
    made.add(
        "course_modules",
        {"id": 11, "course": 2, "module": 1, "instance": 70},
        {"id": 12, "course": 2, "module": 2, "instance": 71},
    )
    made.add("quiz", {"id": 70, "course": 2, "name": "Q", "sumgrades": 10, "grade": 20,
                      "precreateattempts": 1})  # fmt: skip
    made.add("assign", {"id": 71, "course": 2, "name": "A", "grade": 100, "gradepenalty": 1})
    for item, module, instance in ((81, "quiz", 70), (82, "assign", 71)):
        made.add(
            "grade_items",
            {"id": item, "courseid": 2, "itemtype": "mod", "itemmodule": module,
             "iteminstance": instance, "itemnumber": 0, "gradetype": 1, "grademax": 20},
        )  # fmt: skip
    return made


def sent(site: Site, version: str) -> dict[str, Any]:
    """The event of the one log row, which is valid."""
    table = Translator(W, version=version, recipes=RECIPES).translate(
        expand_at_once(site.url, site.hours())
    )
    (outcome,) = (row for row in table.to_pylist() if row["outcome"] != "derived")
    assert outcome["outcome"] == "event", outcome["reason"]
    document: dict[str, Any] = json.loads(outcome["json"])
    assert validate(document, strict=True) == []
    return document


@pytest.mark.parametrize("version", VERSIONS)
def test_a_finished_attempt_is_graded_by_the_site(site, version):
    """The points are those of then: a step that a teacher graded later does not count."""
    site.add("quiz_attempts", ATTEMPT | {"sumgrades": 9, "timemodified": NOW + 500})
    site.execute(
        "CREATE TABLE mdl_question_attempts (id INTEGER PRIMARY KEY, questionusageid, slot, "
        "questionid, maxmark, responsesummary)",
        "CREATE TABLE mdl_question_attempt_steps (id INTEGER PRIMARY KEY, questionattemptid, "
        "sequencenumber, state, fraction, timecreated)",
    )
    site.add("question_attempts", {"id": 31, "questionusageid": 1, "slot": 1, "maxmark": 10})
    site.add(
        "question_attempt_steps",
        {"questionattemptid": 31, "sequencenumber": 0, "state": "gradedpartial", "fraction": 0.4,
         "timecreated": NOW - 10},
        {"questionattemptid": 31, "sequencenumber": 1, "state": "mangrpartial", "fraction": 0.9,
         "timecreated": NOW + 500},
    )  # fmt: skip
    site.log(
        IN_QUIZ
        | {
            "eventname": r"\mod_quiz\event\attempt_graded", "userid": LEARNER,
            "other": json.dumps({"submitterid": LEARNER, "quizid": 70, "studentisonline": True}),
        }
    )  # fmt: skip
    found = sent(site, version)
    assert (found["type"], found["action"], found["actor"]["id"]) == ("GradeEvent", "Graded", W)
    attempt, score = found["object"], found["generated"]
    assert attempt["id"] == score["attempt"] == f"{W}/mod/quiz/review.php?attempt=101"
    assert attempt["count"] == 1
    assert attempt["assignee"]["id"].endswith(f"/user/profile.php?id={LEARNER}")
    assert attempt["assignable"]["id"] == QUIZ_PAGE
    assert (score["scoreGiven"], score["maxScore"], score["scoredBy"]) == (8.0, 20.0, W)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_override_before_anybody_began_is_on_the_work_as_a_whole(site, version):
    site.add(
        "quiz_attempts",
        ATTEMPT | {"state": "notstarted", "timestart": 0, "timefinish": 0, "sumgrades": None},
    )
    site.log(OF_GRADE | {"other": json.dumps({"itemid": "81", "finalgrade": 15.0})})
    found = sent(site, version)
    assert (found["type"], found["action"]) == ("GradeEvent", "Graded")
    assert found["actor"]["id"].endswith(f"/user/profile.php?id={GRADER}")
    assert found["object"]["id"] == f"{QUIZ_PAGE}#user-{LEARNER}"
    assert "count" not in found["object"]
    assert found["generated"]["attempt"] == f"{QUIZ_PAGE}#user-{LEARNER}"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_attempt_that_nobody_has_begun_has_no_times(site, version):
    site.add(
        "quiz_attempts",
        ATTEMPT | {"state": "notstarted", "timestart": 0, "timefinish": 0, "sumgrades": None},
    )
    site.log(IN_QUIZ | {"eventname": r"\mod_quiz\event\attempt_deleted", "userid": GRADER})
    attempt = sent(site, version)["object"]
    assert attempt["id"] == f"{W}/mod/quiz/review.php?attempt=101"
    assert attempt.keys().isdisjoint({"startedAtTime", "endedAtTime", "duration"})
    assert "1970" not in json.dumps(attempt)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_attempt_that_waits_for_its_grading_has_an_end_and_no_score(site, version):
    site.add("quiz_attempts", ATTEMPT | {"state": "submitted", "sumgrades": None})
    site.log(IN_QUIZ | {"eventname": r"\mod_quiz\event\attempt_submitted", "userid": LEARNER})
    found = sent(site, version)
    assert found["generated"]["duration"] == "PT490S"
    assert "endedAtTime" in found["generated"]
    assert "scoreGiven" not in json.dumps(found)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_grade_of_a_late_submission_says_what_was_deducted_in_the_gradebook(site, version):
    """Moodle stores the penalty of an assignment as a percentage of the grade."""
    site.add("assign_grades", {"id": 90, "assignment": 71, "userid": LEARNER, "grader": GRADER,
                               "grade": 80, "penalty": 10, "timemodified": NOW})  # fmt: skip
    site.log({"eventname": r"\mod_assign\event\submission_graded", "component": "mod_assign",
              "objecttable": "assign_grades", "objectid": 90, "contextlevel": 70, "courseid": 2,
              "contextinstanceid": 12, "userid": GRADER, "relateduserid": LEARNER})  # fmt: skip
    found = sent(site, version)
    assert found["generated"]["scoreGiven"] == 80.0
    assert found["extensions"]["moodle"]["gradePenalty"] == 8.0


@pytest.mark.parametrize(("deducted", "expected"), [(8.0, 8.0), (0.0, None)])
def test_a_score_in_the_gradebook_says_what_was_deducted(site, deducted, expected):
    site.add("grade_grades", {"id": 1, "itemid": 82, "userid": LEARNER, "finalgrade": 72,
                              "deductedmark": deducted})  # fmt: skip
    site.log(OF_GRADE | {"other": json.dumps({"itemid": "82", "finalgrade": 72.0})})
    found = sent(site, "v1p2")
    assert found["generated"]["scoreGiven"] == 72.0
    assert found["extensions"]["moodle"].get("gradePenalty") == expected


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("chat\\event\\message_sent", "chat_messages"),
        ("survey\\event\\response_submitted", None),
    ],
)
def test_old_rows_are_sent_though_their_tables_are_gone(site, name, table, version):
    module = name.partition("\\")[0]
    site.log({"eventname": f"\\mod_{name}", "component": f"mod_{module}", "objecttable": table,
              "objectid": 4 if table else None, "contextlevel": 70, "contextinstanceid": 99,
              "courseid": 2, "userid": LEARNER, "relateduserid": LEARNER,
              "other": json.dumps({"surveyid": 6})})  # fmt: skip
    assert f"/mod/{module}/view.php?id=99" in json.dumps(sent(site, version)["object"])
