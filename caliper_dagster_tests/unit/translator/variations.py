"""Rows of every event that a recipe names, with full and with empty records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from caliper_dagster.translator.example import example_row
from caliper_dagster_tests.unit.translator.golden import ROWS
from caliper_dagster_tests.unit.translator.support import RECIPES, ROW

UNKNOWN = (
    r"\mod_zoom\event\attempt_submitted", r"\mod_zoom\event\thing_viewed",
    r"\local_x\event\x_report_viewed", r"\local_x\event\x_created",
    r"\local_x\event\user_override_deleted", r"\local_x\event\content_searched",
)  # fmt: skip

SOME = (
    r"\core\event\course_viewed", r"\mod_assign\event\submission_graded",
    r"\mod_workshop\event\submission_viewed", r"\mod_resource\event\course_module_viewed",
    *UNKNOWN,
)  # fmt: skip

QUESTION = {
    "id": 1, "slot": 1, "questionid": 3, "state": "complete", "maxmark": 2.0, "fraction": 1.0,
    "responsesummary": "an answer", "name": "a question", "text": "a question", "version": 2,
    "questionbankentryid": 4, "timecreated": 6,
}  # fmt: skip
OBJECT: dict[str, Any] = {
    "id": 7, "table": "groups", "userid": 21, "authorid": 21, "overrideby": 51, "name": "a name",
    "subject": "a subject", "title": "a title", "fullname": "a full name", "concept": "a concept",
    "shortname": "student", "archetype": "student", "commentarea": "plan", "parent": 2,
    "discussion": 5, "conversationid": 3, "firstpost": 3, "attemptnumber": 1, "grade": 5.5,
    "grademax": 10.0, "timecreated": 1_700_000_000, "qtype": 1, "first": 1, "retry": 0, "score": 3,
    "maxscore": 4, "rawscore": 1, "options": ["an option"], "scale_item": "a scale word",
    "questionid": 4, "fraction": 0.5, "maxmark": 2.0,
    "submission": {"id": 3, "timecreated": 5},
    "item": {"gradetype": 1, "grademax": 10, "itemname": "a grade item"},
    "itemname": "a grade item", "parentuserid": 21, "previousstate": 0, "lastgraded": 900,
    "timesubmitted": 1_700_000_100, "preview": 1, "penalty": 1.5, "duedate": 1_700_000_000,
    "samegradingas": {
        "id": 900, "timecreated": 1_700_000_000, "eventname": r"\core\event\user_graded",
    },
    "module": {
        "id": 36, "modname": "quiz", "activity": {"name": "an activity"}, "idnumber": "A-1",
        "competencies": [{"id": 9, "name": "a competency"}],
    },
    "attempt": {"table": "quiz_attempts", "id": 5, "attempt": 2, "userid": 21, "retry": 0},
    "answer": {"id": 3, "correct": 1, "response": "an answer"},
    "items": [
        {**QUESTION, "qtype": "multichoice", "typ": "textarea", "value": "a value", "answer1": "1"},
        {
            **QUESTION, "id": 2, "slot": 2, "qtype": "shortanswer", "typ": "multichoice",
            "presentation": "r>>>>>an option|another", "value": "1", "answer1": "an answer",
        },
    ],
    "results": [{"id": 1, "duration": 4, "rawscore": 1, "maxscore": 2}, {"id": 2}],
}  # fmt: skip
ACTIVITY = {
    "id": 4, "name": "an activity", "toolurl": "https://t.example/x", "grade": 100,
    "externalurl": "https://e.example", "sumgrades": 10, "gradinggrade": 20,
    "type": {"baseurl": "https://tool.example:8/", "name": "a tool"},
}  # fmt: skip
OTHER = {
    "relateduserid": 21, "userid": "21", "submitterid": 51, "useridto": 21, "itemtype": "user",
    "itemid": 21, "tagrawname": "a tag", "query": "a search", "attemptid": 3, "slot": 1, "page": 0,
    "modulename": "quiz", "name": "an activity", "fullname": "a course", "shortname": "a course",
    "submissionid": 7, "entryid": 5, "courseid": 3, "finalgrade": 5,
}  # fmt: skip

COMPETENCIES = [{"id": 9, "name": "a competency"}]
COURSE = {
    "id": 3, "fullname": "a course", "shortname": "a course", "idnumber": "C-3",
    "startdate": 1_700_000_000, "enddate": 1_710_000_000, "competencies": COMPETENCIES,
    "category": {"id": 4, "name": "a category", "idnumber": "K-4"},
}  # fmt: skip

DIFFERENCES: tuple[dict[str, Any], ...] = (
    {},
    {"anonymous": 1},
    {"objectid": None, "object": None, "other": None},
    {"object": OBJECT, "other": OTHER},
    {"object": {**OBJECT, "attempt": {"table": "assign_submission", "id": 5}}},
    {"object": {**OBJECT, "attempt": {}, "submission": None, "qtype": 3}, "other": {}},
    {"other": {**OTHER, "itemtype": "course_modules"}},
    {"object": {**OBJECT, "attempt": {"table": "scorm_attempt", "id": 5, "attempt": 1}}},
    {"object": {**OBJECT, "attempt": {"table": "lesson", "id": 5, "retry": 1}}},
    {"objecttable": "user", "objectid": 21, "object": {"id": 21, "table": "user"}},
    {"objecttable": "groups", "object": OBJECT},
    {"contextlevel": 30, "contextinstanceid": 21, "courseid": 0, "module": None},
    {"contextlevel": 40, "origin": "cli"},
    {"realuserid": 61, "unresolved": ["user:21", "course:3"]},
    {"userid": 21, "relateduserid": None},
    {"module": {"id": 36, "modname": "lti", "course": 3, "activity": ACTIVITY}},
    {
        "module": {
            "id": 36,
            "modname": "assign",
            "activity": ACTIVITY,
            "idnumber": "A-1",
            "competencies": COMPETENCIES,
        },
        "course": COURSE,
        "site": {"release": "4.5.6", "name": "a site"},
        "objectid": 3,
        "object": {**OBJECT, "idnumber": "G-7", "competencyid": 9},
        "other": {**OTHER, "itemtype": "course_modules"},
    },
)


def rows(more: Iterable[Mapping[str, Any]], *, few: bool = False) -> Iterator[dict[str, Any]]:
    """Each row as values of columns, with an id of its own, and more such; few have few events."""
    number = 0
    for name in SOME if few else (*sorted(RECIPES.exact), *UNKNOWN):
        for difference in DIFFERENCES:
            number += 1
            yield {**example_row(name, **difference), "id": number}
    for row in (*ROWS.values(), *more):
        number += 1
        yield {**ROW, **row, "id": number}
