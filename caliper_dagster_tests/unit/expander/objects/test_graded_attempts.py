"""The attempt that a grade in the gradebook comes from, by the grading method of the activity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.expander import LIFECYCLE, LogLifecycle, expand
from caliper_dagster_tests.harness.handmade_site import NOW, Site, decoded, whole_log

LEARNER = 5


_FURTHER_TABLES = {
    "scorm_element": "element",
    "scorm_attempt": "userid, scormid, attempt",
    "scorm_scoes_value": "scoid, attemptid, elementid, value, timemodified",
    "lesson_grades": "lessonid, userid, grade, completed",
    "h5pactivity": "course, name, grademethod",
    "h5pactivity_attempts": (
        "h5pactivityid, userid, attempt, timecreated, timemodified, scaled, completion"
    ),
}
"""Tables that the sample site does not have, with the columns that count here."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "moodle.sqlite")
    made.execute(
        *(
            f"CREATE TABLE IF NOT EXISTS mdl_{name} (id INTEGER PRIMARY KEY, {columns})"
            for name, columns in _FURTHER_TABLES.items()
        )
    )
    return made


GRADED = {
    "eventname": r"\core\event\user_graded", "objecttable": "grade_grades", "objectid": 1,
    "userid": 9, "relateduserid": LEARNER, "courseid": 2, "contextlevel": 50,
    "contextinstanceid": 2, "other": '{"itemid":"3","finalgrade":9.0}',
}  # fmt: skip
DELETED = {**GRADED, "eventname": r"\core\event\grade_deleted"}


def add_grade_item(site: Site, module: str) -> None:
    """The grade item of activity 70."""
    site.add("modules", {"id": 1, "name": module})
    site.add("course_modules", {"id": 7, "course": 2, "module": 1, "instance": 70})
    site.add(
        "grade_items",
        {"id": 3, "courseid": 2, "itemtype": "mod", "itemmodule": module, "iteminstance": 70,
         "itemnumber": 0, "gradetype": 1, "grademax": 10},
    )  # fmt: skip


def attempt_of_grade(site: Site, module: str, grade: float = 9.0) -> dict[str, Any] | None:
    """What a grade at ``NOW`` in activity 70 comes from."""
    add_grade_item(site, module)
    site.log({**GRADED, "other": f'{{"itemid":"3","finalgrade":{grade}}}'})
    (graded,) = (row for row in site.expand() if row["eventname"].endswith("user_graded"))
    attempt: dict[str, Any] | None = graded["object"]["attempt"]
    return attempt


def quiz_attempt(number: int, points: float | None, **more: object) -> dict[str, object]:
    return {
        "id": 100 + number, "quiz": 70, "userid": LEARNER, "attempt": number, "uniqueid": number,
        "state": "finished", "preview": 0, "timestart": NOW - 1000 + 10 * number,
        "timefinish": NOW - 900 + 10 * number, "timemodified": NOW - 900 + 10 * number,
        "sumgrades": points, **more,
    }  # fmt: skip


@pytest.mark.parametrize(("method", "expected"), [(1, 102), (2, None), (3, 101), (4, 103)])
def test_of_a_quiz(site: Site, method: int, expected: int | None) -> None:
    site.add("quiz", {"id": 70, "course": 2, "name": "Q", "grademethod": method, "sumgrades": 10,
                      "grade": 10})  # fmt: skip
    site.add(
        "quiz_attempts",
        *(quiz_attempt(1, 4), quiz_attempt(2, 9), quiz_attempt(3, 9)),
        quiz_attempt(4, 10, timefinish=NOW + 100, timemodified=NOW + 100),
        quiz_attempt(5, 10, preview=1),
        quiz_attempt(6, 10, state="abandoned"),
    )
    attempt = attempt_of_grade(site, "quiz")
    assert (attempt and attempt["id"]) == expected


def test_of_a_quiz_that_nobody_has_begun(site: Site) -> None:
    """An attempt made ahead has no times: 0 is none."""
    site.add("quiz", {"id": 70, "course": 2, "name": "Q", "sumgrades": 10, "grade": 10})
    site.add(
        "quiz_attempts",
        quiz_attempt(1, None, state="notstarted", timestart=0, timefinish=0, timemodified=0),
    )
    assert attempt_of_grade(site, "quiz") is None


@pytest.mark.parametrize(("grade", "expected"), [(9.0, 101), (10.0, 99)])
def test_of_a_quiz_whose_best_attempt_was_deleted(site: Site, grade: float, expected: int) -> None:
    site.add("quiz", {"id": 70, "course": 2, "name": "Q", "sumgrades": 10, "grade": 10})
    site.add("quiz_attempts", quiz_attempt(1, 9))
    deleted = {
        "objecttable": "quiz_attempts", "objectid": 99, "userid": LEARNER, "contextlevel": 70,
        "contextinstanceid": 7, "relateduserid": LEARNER, "courseid": 2,
    }  # fmt: skip
    for name, crud, time in (
        ("started", "c", -500),
        ("submitted", "u", -400),
        ("deleted", "d", 400),
    ):
        event = rf"\mod_quiz\event\attempt_{name}"
        site.log({**deleted, "eventname": event, "crud": crud, "timecreated": NOW + time})
    assert (attempt_of_grade(site, "quiz", grade) or {})["id"] == expected


@pytest.mark.parametrize(("method", "expected"), [(0, 2), (1, None), (2, 1), (3, 3)])
def test_of_a_package(site: Site, method: int, expected: int | None) -> None:
    site.add("scorm", {"id": 70, "course": 2, "name": "S", "whatgrade": method, "grademethod": 1,
                       "maxgrade": 100, "maxattempt": 0})  # fmt: skip
    site.add("scorm_element", {"id": 1, "element": "cmi.core.score.raw"})
    for number, score in ((1, 40), (2, 90), (3, 60)):
        site.add("scorm_attempt", {"id": number, "userid": LEARNER, "scormid": 70,
                                   "attempt": number})  # fmt: skip
        site.add("scorm_scoes_value", {"scoid": 1, "attemptid": number, "elementid": 1,
                                       "value": str(score),
                                       "timemodified": NOW - 9 + number})  # fmt: skip
    attempt = attempt_of_grade(site, "scorm")
    assert (attempt and attempt["attempt"]) == expected


@pytest.mark.parametrize(("retake", "highest", "expected"), [(0, 1, 0), (1, 1, 1), (1, 0, None)])
def test_of_a_lesson(site: Site, retake: int, highest: int, expected: int | None) -> None:
    site.add("lesson", {"id": 70, "course": 2, "name": "L", "retake": retake,
                        "usemaxgrade": highest})  # fmt: skip
    for number, grade in enumerate((40, 90, 60)):
        site.add("lesson_grades", {"lessonid": 70, "userid": LEARNER, "grade": grade,
                                   "completed": NOW - 9 + number})  # fmt: skip
    attempt = attempt_of_grade(site, "lesson")
    assert (attempt and attempt["retry"]) == expected


@pytest.mark.parametrize(("method", "expected"), [(0, None), (1, 2), (2, None), (3, 3), (4, 1)])
def test_of_an_h5p_activity(site: Site, method: int, expected: int | None) -> None:
    site.add("h5pactivity", {"id": 70, "course": 2, "name": "H", "grademethod": method})
    for number, score, complete in ((1, 0.4, 1), (2, 0.9, 1), (3, 0.6, 1), (4, 1, 0)):
        site.add(
            "h5pactivity_attempts",
            {"id": number, "h5pactivityid": 70, "userid": LEARNER, "attempt": number,
             "timecreated": NOW - 9 + number, "timemodified": NOW, "scaled": score,
             "completion": complete},
        )  # fmt: skip
    attempt = attempt_of_grade(site, "h5pactivity")
    assert (attempt and attempt["id"]) == expected


def test_of_an_assignment(site: Site) -> None:
    """Of three attempts the second was graded last; the third is not graded yet."""
    site.add("assign", {"id": 70, "course": 2, "name": "A"})
    for number in range(3):
        site.add(
            "assign_submission",
            {"id": 200 + number, "assignment": 70, "userid": LEARNER, "attemptnumber": number,
             "status": "submitted", "timecreated": NOW - 900 + number, "timemodified": NOW - 800,
             "latest": int(number == 2)},
        )  # fmt: skip
        site.add(
            "assign_grades",
            {"assignment": 70, "userid": LEARNER, "attemptnumber": number, "grader": 9,
             "grade": (5, 9, -1)[number], "timecreated": NOW - 700 + number,
             "timemodified": NOW - 700 + number},
        )  # fmt: skip
    assert (attempt_of_grade(site, "assign") or {})["id"] == 201


def test_of_an_assignment_that_nobody_graded_in_it(site: Site) -> None:
    site.add("assign", {"id": 70, "course": 2, "name": "A"})
    site.add("assign_submission", {"id": 200, "assignment": 70, "userid": LEARNER,
                                   "timecreated": NOW - 900})  # fmt: skip
    assert attempt_of_grade(site, "assign") is None


@pytest.mark.parametrize("told_after", [False, True])
def test_a_deleted_grade_names_the_last_row_that_told_it_before(
    site: Site, *, told_after: bool
) -> None:
    site.add("grade_items", {"id": 3, "courseid": 2, "itemtype": "manual", "gradetype": 1})
    for time in (-90, -60):
        site.log({**GRADED, "timecreated": NOW + time})
    site.log({**DELETED, "timecreated": NOW})
    if told_after:
        site.log({**GRADED, "timecreated": NOW + 60})
    _, last, deleted, *_ = site.expand()
    assert deleted["object"]["lastgraded"] == last["id"]


@pytest.mark.parametrize("itemtype", ["mod", "manual"])
def test_of_an_attempt_no_score_is_known_whose_row_the_log_has_lost(
    site: Site, tmp_path: Path, itemtype: str
) -> None:
    """The attempt is found by what that row tells; a grade without attempts needs only its id."""
    add_grade_item(site, "quiz")
    site.execute(f"UPDATE mdl_grade_items SET itemtype = '{itemtype}'")
    site.add("quiz", {"id": 70, "course": 2, "name": "Q", "sumgrades": 10, "grade": 10})
    site.add("quiz_attempts", quiz_attempt(1, 9))
    site.log({**GRADED, "timecreated": NOW - 90}, DELETED, {"id": 300_000})
    pieces = PartitionStore(str(tmp_path / "storage")).id_range_tables(LIFECYCLE)

    def deleted() -> dict[str, Any]:
        with site.open() as database:
            log = whole_log(database, site.hours())
            rows = decoded(expand(database, log, LogLifecycle(database, pieces)))
        (row,) = (row for row in rows if row["eventname"].endswith("grade_deleted"))
        object_: dict[str, Any] = row["object"]
        return object_

    before = deleted()
    assert before["lastgraded"] == 1
    site.execute("DELETE FROM mdl_logstore_standard_log WHERE id = 1")
    after = deleted()
    if itemtype == "manual":
        assert after == before
    else:
        assert before["attempt"]["id"] == 101
        assert not {"attempt", "lastgraded"} & after.keys()


def test_each_deletion_of_a_grade_names_the_telling_before_it(site: Site) -> None:
    """A database that was restored gives ids again, also to grades of other learners."""
    site.add("grade_items", {"id": 3, "courseid": 2, "itemtype": "manual", "gradetype": 1})
    other = {"relateduserid": LEARNER + 1}
    site.log(GRADED, DELETED, GRADED, {**DELETED, **other}, DELETED, {**GRADED, **other})
    site.log({**DELETED, **other})
    assert [
        row["object"].get("lastgraded")
        for row in site.expand()
        if row["eventname"].endswith("grade_deleted")
    ] == [1, None, 3, 6]
