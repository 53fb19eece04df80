"""Scores, attempts, memberships and derived events are what Moodle's tables and history prove."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from caliper_dagster_tests.real_site.memberships import ROLES, Standing
from caliper_dagster_tests.real_site.site import (
    WWWROOT,
    Event,
    Site,
    Translation,
    activity,
    assert_same,
    decoded,
    entities,
    user,
)

GRADED = r"\core\event\user_graded"
QUIZ = r"\mod_quiz\event"
ASSIGN = r"\mod_assign\event"

_SAME_ACT = 60
_BY_SCALE = 2


def named(site: Site, *names: str) -> Iterator[sa.Row]:
    """The rows with one of these event names."""
    return (row for row in site.log if row.eventname in names)


def score(event: Event) -> tuple[float | None, float | None] | None:
    """What was given of what there was to get; None when the event gives no score."""
    generated = event.get("generated", {})
    if generated.get("type") != "Score":
        return None
    return generated.get("scoreGiven"), generated.get("maxScore")


# Scores of the gradebook


@pytest.fixture(scope="module")
def item_history(site: Site) -> dict[int, list[sa.Row]]:
    """What each grade item was, oldest first: its history has deleted ones, too."""
    found = defaultdict(list)
    for row in site.rows("SELECT * FROM [grade_items_history] ORDER BY timemodified, id"):
        found[row.oldid].append(row)
    return found


def test_every_gradebook_score_is_the_one_in_the_history_of_grades(
    site: Site, translation: Translation
) -> None:
    history = defaultdict(list)
    for row in site.rows("SELECT * FROM [grade_grades_history] WHERE finalgrade IS NOT NULL"):
        history[row.itemid, row.userid].append(row)
    removed = 0
    actual, expected = {}, {}
    for row in named(site, GRADED):
        other = decoded(row.other)
        event = translation.own[row.id]
        if other["finalgrade"] is None:
            removed += 1
            assert (event["type"], event["action"]) == ("Event", "Removed")
            assert score(event) is None
            continue
        actual[row.id] = event["generated"]["scoreGiven"]
        expected[row.id] = next(
            (
                float(grade.finalgrade)
                for grade in history[int(other["itemid"]), row.relateduserid]
                if abs(grade.timemodified - row.timecreated) <= _SAME_ACT
                and round(float(grade.finalgrade), 5) == round(float(other["finalgrade"]), 5)
            ),
            None,
        )
    assert_same(actual, expected)
    assert removed == 32


def test_every_gradebook_score_has_the_maximum_of_its_time(
    site: Site, translation: Translation, item_history: dict[int, list[sa.Row]]
) -> None:
    scales = {
        row.id: float(len(row.scale.split(","))) for row in site.rows("SELECT * FROM [scale]")
    }
    actual, expected = {}, {}
    for row in named(site, GRADED):
        given = score(translation.own[row.id])
        if given is None:
            continue
        versions = item_history[int(decoded(row.other)["itemid"])]
        item = [version for version in versions if version.timemodified <= row.timecreated][-1]
        actual[row.id] = given[1]
        by_scale = item.gradetype == _BY_SCALE
        expected[row.id] = scales[item.scaleid] if by_scale else float(item.grademax)
    assert_same(actual, expected)
    assert len(set(expected.values())) > 5


def test_every_score_is_between_nothing_and_its_maximum(translation: Translation) -> None:
    scores = [
        (score(event), event) for _, event in translation.everything if event["action"] == "Graded"
    ]
    complete = [(given, event) for given, event in scores if given and None not in given]

    assert len(complete) > 5900
    # An extra credit or an override may be more than the maximum.
    over = [event for (given, most), event in complete if not 0 <= given <= most]
    assert {event["extensions"]["moodle"]["eventName"] for event in over} <= {GRADED}
    assert len(over) < 100


def test_scores_without_a_value_are_of_grades_that_are_gone_or_were_not_given(
    site: Site, translation: Translation
) -> None:
    silent = Counter(
        row["event_name"]
        for row, event in translation.everything
        if event["type"] == "GradeEvent" and score(event)[0] is None
    )
    assert silent == NO_SCORE


NO_SCORE = {
    rf"{ASSIGN}\submission_graded": 480,  # of deleted courses; user_graded has the score
    rf"{QUIZ}\attempt_regraded": 60,  # questions wait to be graded, or the attempt is gone
    rf"{QUIZ}\question_manually_graded": 45,  # the attempt is gone
    rf"{QUIZ}\attempt_manual_grading_completed": 2,  # made-up ids
    r"\mod_lesson\event\essay_assessed": 9,  # Moodle stored no score
    r"\mod_workshop\event\assessment_evaluated": 2,  # made-up ids, like those of the next ones
    r"\mod_workshop\event\assessment_reevaluated": 2,
    r"\mod_workshop\event\submission_assessed": 2,
    r"\mod_workshop\event\submission_reassessed": 2,
}
"""GradeEvents whose score nothing in the database tells, and why."""


# Scores of activities


@pytest.fixture(scope="module")
def quiz_attempts(site: Site) -> dict[int, sa.Row]:
    """Quiz attempts with the scale of their quiz."""
    return {
        row.id: row
        for row in site.rows(
            "SELECT a.*, q.grade AS quiz_grade, q.sumgrades AS quiz_marks, cm.id AS cmid "
            "FROM [quiz_attempts] a JOIN [quiz] q ON q.id = a.quiz "
            "JOIN [course_modules] cm ON cm.instance = q.id "
            "JOIN [modules] m ON m.id = cm.module AND m.name = 'quiz'"
        )
    }


@pytest.fixture(scope="module")
def steps(site: Site) -> dict[tuple[int, int], list[sa.Row]]:
    """The history of each question of each attempt: (attempt, slot) → steps, oldest first."""
    found = defaultdict(list)
    for row in site.rows(
        "SELECT a.id AS attempt, qa.slot, qa.maxmark, s.* FROM [quiz_attempts] a "
        "JOIN [question_attempts] qa ON qa.questionusageid = a.uniqueid "
        "JOIN [question_attempt_steps] s ON s.questionattemptid = qa.id "
        "ORDER BY qa.id, s.sequencenumber"
    ):
        found[row.attempt, row.slot].append(row)
    return found


def test_regraded_quiz_attempts_have_the_marks_of_their_questions_then(
    site: Site,
    translation: Translation,
    quiz_attempts: dict[int, sa.Row],
    steps: dict[tuple[int, int], list[sa.Row]],
) -> None:
    actual, expected = {}, {}
    unchanged = 0
    for row in named(site, rf"{QUIZ}\attempt_regraded"):
        attempt = quiz_attempts.get(row.objectid)
        actual[row.id] = score(translation.own[row.id])
        expected[row.id] = (None, None)
        if attempt is None or not attempt.timefinish or attempt.timefinish > row.timecreated:
            continue
        if attempt.timemodified <= row.timecreated:
            unchanged += 1
            marks = attempt.sumgrades
        else:
            marks = _marks(attempt.id, row.timecreated, steps)
        if marks is not None:
            given = float(marks) / float(attempt.quiz_marks) * float(attempt.quiz_grade)
            expected[row.id] = (round(given, 5), float(attempt.quiz_grade))
    assert_same(actual, expected)
    assert unchanged


def _marks(attempt: int, time: int, steps: dict[tuple[int, int], list[sa.Row]]) -> float | None:
    """The marks of an attempt at a time; None while one of its questions waits to be graded."""
    marks = 0.0
    for (owner, _), history in steps.items():
        last = [step for step in history if step.timecreated <= time][-1:]
        if owner != attempt or not last:
            continue
        if last[0].state == "needsgrading":
            return None
        marks += float(last[0].fraction or 0) * float(last[0].maxmark)
    # The column that Moodle keeps them in has five places.
    return round(marks, 5)


def test_questions_graded_by_hand_have_the_marks_that_were_given(
    site: Site, translation: Translation, steps: dict[tuple[int, int], list[sa.Row]]
) -> None:
    actual, expected = {}, {}
    for row in named(site, rf"{QUIZ}\question_manually_graded"):
        other = decoded(row.other)
        event = translation.own[row.id]
        attempt, slot = int(other["attemptid"]), int(other["slot"])
        assert event["object"]["id"] == f"{review(attempt)}#slot-{slot}"
        graded = [
            step
            for step in steps[attempt, slot]
            if step.timecreated <= row.timecreated and step.state.startswith(("mangr", "graded"))
        ]
        actual[row.id] = score(event)
        expected[row.id] = (None, None)
        if graded and graded[-1].fraction is not None:
            most = float(graded[-1].maxmark)
            expected[row.id] = (round(float(graded[-1].fraction) * most, 5), most)
    assert_same(actual, expected)
    assert sum(given != (None, None) for given in expected.values()) > 50


def test_scores_of_packages_are_those_of_their_tracks(site: Site, translation: Translation) -> None:
    tracks = defaultdict(dict)
    for row in site.rows(
        "SELECT v.attemptid, e.element, v.value FROM [scorm_scoes_value] v "
        "JOIN [scorm_element] e ON e.id = v.elementid"
    ):
        tracks[row.attemptid][row.element] = row.value
    actual, expected = {}, {}
    proven = 0
    rows = list(named(site, r"\mod_scorm\event\scoreraw_submitted"))
    newest = {int(decoded(row.other)["attemptid"]): row.id for row in rows}
    for row in rows:
        other = decoded(row.other)
        event = translation.own[row.id]
        number, elements = int(other["attemptid"]), tracks[int(other["attemptid"])]
        actual[row.id] = score(event)[0]
        # The table holds the newest score of an attempt, the row its own.
        held = elements.get("cmi.core.score.raw") if newest[number] == row.id else None
        expected[row.id] = float(held or other["cmivalue"])
        if number in site.scorm_attempts:
            proven += 1
            found = site.scorm_attempts[number]
            assert event["object"]["assignee"]["id"] == user(found.userid)
            assert event["object"]["count"] == found.attempt
            assert score(event)[1] == float(elements["cmi.core.score.max"])
    assert_same(actual, expected)
    assert proven > 50


def test_scores_of_h5p_content_are_those_of_its_attempts(
    site: Site, translation: Translation
) -> None:
    attempts = site.table("h5pactivity_attempts")
    graded = {}
    for row in named(site, r"\mod_h5pactivity\event\statement_received"):
        for event in translation.derived.get(row.id, ()):
            if event["type"] == "GradeEvent":
                number = int(event["object"]["id"].rpartition("=")[2])
                graded[number] = (score(event), event["object"]["assignee"]["id"])
                assert row.userid == attempts[number].userid
    assert_same(
        graded,
        {
            row.id: ((float(row.rawscore), float(row.maxscore)), user(row.userid))
            for row in attempts.values()
        },
    )


# One attempt, one id


def review(attempt: int) -> str:
    """The IRI of a quiz attempt."""
    return f"{WWWROOT}/mod/quiz/review.php?attempt={attempt}"


def attempts_of(event: Event) -> set[str]:
    """The attempts that an event speaks of, also those that its other parts name by their ids."""
    found = set()
    for _, entity in entities(event):
        if entity["type"] == "Attempt":
            found.add(entity.get("isPartOf", entity["id"]))
        for key in ("attempt", "isPartOf"):
            if isinstance(entity.get(key), str) and "attempt" in entity[key]:
                found.add(entity[key])
    return found


def test_a_quiz_attempt_has_one_id_in_all_its_events(site: Site, translation: Translation) -> None:
    names = {
        rf"{QUIZ}\attempt_{name}"
        for name in (
            "abandoned", "autosaved", "becameoverdue", "deleted", "preview_started", "regraded",
            "reviewed", "started", "submitted", "summary_viewed", "updated", "viewed",
        )
    }  # fmt: skip
    actual, expected = {}, {}
    found = defaultdict(set)
    for row in named(site, *names):
        found[row.objectid].add(row.eventname.rpartition("_")[2])
        actual[row.id] = set.union(
            *map(attempts_of, (translation.own[row.id], *translation.derived.get(row.id, ())))
        )
        expected[row.id] = {review(row.objectid)}
    assert_same(actual, expected)
    whole = {"started", "viewed", "submitted", "reviewed"}
    assert sum(whole <= parts for parts in found.values()) > 30


def test_the_gradebooks_quiz_scores_are_of_the_learners_newest_attempt(
    site: Site, translation: Translation, quiz_attempts: dict[int, sa.Row]
) -> None:
    items = site.table("grade_items")
    finished = defaultdict(list)
    for attempt in quiz_attempts.values():
        if attempt.timefinish:
            finished[attempt.quiz, attempt.userid].append((attempt.timefinish, attempt.id))
    # Of attempts that were deleted since, the log tells: some seconds after the grade.
    ends = {row.objectid: row.timecreated for row in named(site, rf"{QUIZ}\attempt_deleted")}
    for row in named(site, rf"{QUIZ}\attempt_submitted"):
        if row.objectid not in quiz_attempts:
            pair = (int(decoded(row.other)["quizid"]), row.relateduserid)
            finished[pair].append((row.timecreated - 10, row.objectid))
    actual, expected = {}, {}
    for row in named(site, GRADED):
        item = items.get(int(decoded(row.other)["itemid"]))
        if item is None or item.itemmodule != "quiz" or score(translation.own[row.id]) is None:
            continue
        actual[row.id] = translation.own[row.id]["object"]["id"]
        expected[row.id] = review(
            max(
                (time, attempt)
                for time, attempt in finished[item.iteminstance, row.relateduserid]
                if time <= row.timecreated < ends.get(attempt, float("inf"))
            )[1]
        )
    assert_same(actual, expected)
    gone = [iri for iri in expected.values() if int(iri.rpartition("=")[2]) not in quiz_attempts]
    assert len(gone) == 16


def test_a_submission_has_one_id_in_all_its_events(site: Site, translation: Translation) -> None:
    actual, expected = {}, {}
    submissions = site.table("assign_submission")
    parts = {
        rf"\assignsubmission_{plugin}\event\submission_{done}": rf"assignsubmission_{plugin}"
        for plugin in ("file", "onlinetext")
        for done in ("created", "updated")
    }
    names = {
        rf"{ASSIGN}\{name}"
        for name in ("assessable_submitted", "submission_status_updated", "submission_duplicated")
    }
    for row in named(site, *names, *parts):
        number = row.objectid
        if row.eventname in parts:
            number = int(decoded(row.other)["submissionid"])
        if row.anonymous or (row.origin == "cli" and number not in submissions):
            continue
        event = translation.own[row.id]
        page = activity("assign", row.contextinstanceid)
        about = {event["object"]["id"], event.get("generated", {}).get("id")}
        suffix = r"-(file|onlinetext|user-\d+)$"
        actual[row.id] = {re.sub(suffix, "", iri) for iri in about - {None, page}}
        expected[row.id] = {f"{page}#submission-{number}"}
    assert_same(actual, expected)


def test_the_gradebooks_assignment_scores_are_of_submissions_of_the_learner(
    site: Site, translation: Translation
) -> None:
    submissions = site.table("assign_submission")
    members = {(row.groupid, row.userid) for row in site.table("groups_members").values()}
    checked = teams = 0
    for row in named(site, GRADED, rf"{ASSIGN}\submission_graded"):
        iri = translation.own[row.id]["object"]["id"]
        found = re.search(r"/assign/.*#submission-(\d+)(?:-user-(\d+))?$", iri)
        if not found:
            continue
        submission = submissions[int(found[1])]
        assert found[2] == (None if submission.userid else str(row.relateduserid)), row.id
        checked += 1
        if submission.groupid:
            teams += 1
            assert (submission.groupid, row.relateduserid) in members, row.id
        else:
            assert submission.userid in (row.relateduserid, 0), row.id
    assert checked > 2500
    assert teams


# Memberships


def test_every_membership_has_the_roles_and_the_status_of_its_time(
    translation: Translation, site: Site, standing: Standing
) -> None:
    rows = {row.id: row for row in site.log}
    actual, expected = {}, {}
    for outcome, event in translation.everything:
        membership = event.get("membership", {})
        if not isinstance(membership.get("member"), str):
            continue
        row = rows[outcome["log_id"]]
        person = int(membership["member"].rpartition("=")[2])
        assert membership["organization"] == f"{WWWROOT}/course/view.php?id={row.courseid}"
        actual[event["id"]] = (set(membership.get("roles", ())), membership.get("status"))
        expected[event["id"]] = (
            standing.roles(person, row.courseid, row.timecreated) or set(),
            standing.status(person, row.courseid, row.timecreated),
        )
    assert_same(actual, expected)
    assert len(expected) > 19_000


def test_role_assignments_tell_the_role_that_was_assigned(
    site: Site, translation: Translation
) -> None:
    roles = site.table("role")
    actual, expected = {}, {}
    for row in named(site, r"\core\event\role_assigned", r"\core\event\role_unassigned"):
        membership = translation.own[row.id]["object"]
        found = roles.get(row.objectid)
        actual[row.id] = (membership["member"]["id"], set(membership.get("roles", ())))
        known = ROLES.get(found.archetype, {"Member"}) if found else set()
        expected[row.id] = (user(row.relateduserid), known)
    assert_same(actual, expected)


def test_enrolments_tell_the_roles_of_their_second(
    site: Site, translation: Translation, standing: Standing
) -> None:
    told = 0
    names = (rf"\core\event\user_enrolment_{done}" for done in ("created", "updated", "deleted"))
    for row in named(site, *names):
        membership = translation.own[row.id]["object"]
        assert membership["member"]["id"] == user(row.relateduserid)
        if "roles" in membership:
            told += 1
            wanted = standing.roles(row.relateduserid, row.courseid, row.timecreated)
            assert set(membership["roles"]) == wanted
    assert told > 5, "most roles were assigned in a later second"


# Derived events


def test_derived_events_are_as_many_as_the_tables_tell(
    site: Site, translation: Translation
) -> None:
    derived = Counter(
        (row["event_name"], event["type"])
        for row, event in translation.everything
        if row["outcome"] == "derived"
    )

    def count(statement: str) -> int:
        return site.rows(statement)[0][0]

    of_rows = "FROM [logstore_standard_log] l"
    expected = {
        (rf"{QUIZ}\attempt_submitted", "AssessmentItemEvent"): count(
            f"SELECT COUNT(*) {of_rows} JOIN [quiz_attempts] a ON a.id = l.objectid "
            "JOIN [question_attempts] qa ON qa.questionusageid = a.uniqueid "
            "JOIN [question] q ON q.id = qa.questionid AND q.qtype <> 'description' "
            r"WHERE l.eventname = '\\mod_quiz\\event\\attempt_submitted'"
        ),
        (r"\mod_feedback\event\response_submitted", "QuestionnaireItemEvent"): count(
            f"SELECT COUNT(*) {of_rows} JOIN [feedback_value] v ON v.completed = l.objectid "
            r"WHERE l.eventname = '\\mod_feedback\\event\\response_submitted'"
        ),
        (r"\mod_survey\event\response_submitted", "QuestionnaireItemEvent"): count(
            f"SELECT COUNT(*) {of_rows} JOIN [course_modules] cm ON cm.id = l.contextinstanceid "
            "JOIN [survey_answers] a ON a.survey = cm.instance AND a.userid = l.userid "
            r"WHERE l.eventname = '\\mod_survey\\event\\response_submitted'"
        ),
        (r"\mod_h5pactivity\event\statement_received", "GradeEvent"): count(
            "SELECT COUNT(*) FROM [h5pactivity_attempts] WHERE maxscore > 0"
        ),
        (r"\mod_h5pactivity\event\statement_received", "AssessmentItemEvent"): count(
            "SELECT COUNT(*) FROM [h5pactivity_attempts_results]"
        ),
        (r"\mod_forum\event\discussion_created", "ResourceManagementEvent"): count(
            f"SELECT COUNT(*) {of_rows} "
            r"WHERE l.eventname = '\\mod_forum\\event\\discussion_created'"
        ),
        (r"\mod_lti\event\course_module_viewed", "ToolLaunchEvent"): count(
            f"SELECT COUNT(*) {of_rows} JOIN [course_modules] cm ON cm.id = l.contextinstanceid "
            "JOIN [lti] t ON t.id = cm.instance AND t.toolurl <> '' "
            r"WHERE l.eventname = '\\mod_lti\\event\\course_module_viewed' AND l.origin <> 'cli' "
            "AND COALESCE(l.realuserid, l.userid) > 1"
        ),
    }
    if translation.version == "v1p1":
        expected = {
            (name, IN_1_1.get(kind, kind)): count for (name, kind), count in expected.items()
        }
    assert derived == expected


IN_1_1 = {
    "QuestionnaireItemEvent": "Event",
    "ResourceManagementEvent": "Event",
    "ToolLaunchEvent": "ToolUseEvent",
}
"""What types that are new in 1.2 are in 1.1."""


def test_items_of_a_quiz_attempt_are_its_questions_and_skipped_where_nobody_answered(
    site: Site, translation: Translation, steps: dict[tuple[int, int], list[sa.Row]]
) -> None:
    questions = {
        (row.attempt, row.slot): row.questionid
        for row in site.rows(
            "SELECT a.id AS attempt, qa.slot, qa.questionid FROM [quiz_attempts] a "
            "JOIN [question_attempts] qa ON qa.questionusageid = a.uniqueid "
            "JOIN [question] q ON q.id = qa.questionid AND q.qtype <> 'description'"
        )
    }
    preview = f"{WWWROOT}/question/bank/previewquestion/preview.php?id="
    actual, expected = {}, {}
    for row in named(site, rf"{QUIZ}\attempt_submitted"):
        for event in translation.derived.get(row.id, ()):
            text = event["object"]["id"].removeprefix(preview)
            actual.setdefault(row.id, set()).add((int(text), event["action"]))
        for (attempt, slot), question in questions.items():
            if attempt == row.objectid:
                history = steps[attempt, slot]
                state = [step for step in history if step.timecreated <= row.timecreated][-1].state
                skipped = state in ("todo", "gaveup", "mangaveup", "invalid")
                action = "Skipped" if skipped else "Completed"
                expected.setdefault(row.id, set()).add((question, action))
    assert_same(actual, expected)


def test_a_package_is_started_once_in_an_attempt(site: Site, translation: Translation) -> None:
    cmids = {
        row.instance: row.id
        for row in site.rows(
            "SELECT cm.id, cm.instance FROM [course_modules] cm "
            "JOIN [modules] m ON m.id = cm.module AND m.name = 'scorm'"
        )
    }
    started = Counter(
        event["generated"]["id"]
        for row in named(site, r"\mod_scorm\event\sco_launched")
        if (event := translation.own[row.id])["type"] == "AssignableEvent"
    )
    assert started == Counter(
        f"{activity('scorm', cmids[row.scormid])}#user-{row.userid}-attempt-{row.attempt}"
        for row in site.scorm_attempts.values()
    )
