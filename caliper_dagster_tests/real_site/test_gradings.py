"""Grades and completions, counted against SQL on the tables of the site."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

from caliper_dagster_tests.real_site.site import WWWROOT, Site, Translation, decoded

_GRADED = r"\core\event\user_graded"
_COMPLETION = r"\core\event\course_module_completion_updated"


def test_reset_says_that_something_had_been_complete(site: Site, translation: Translation) -> None:
    states: dict[tuple[int, int], str] = {}
    actions: Counter[str] = Counter()
    for row in site.rows(
        "SELECT id, contextinstanceid, relateduserid, other FROM [logstore_standard_log] "
        r"WHERE eventname LIKE '%course\\_module\\_completion\\_updated' ORDER BY id"
    ):
        key = (row.contextinstanceid, row.relateduserid)
        state = str(decoded(row.other)["completionstate"])
        document = translation.own[row.id]
        expected = "Completed"
        if state == "0":
            expected = "Reset" if states.get(key) in {"1", "2", "3"} else "Started"
        assert document["action"] == expected, row
        assert document["extensions"]["moodle"]["completionState"] in {
            "incomplete", "complete", "passed", "failed"
        }  # fmt: skip
        states[key] = state
        actions[expected] += 1
    assert actions["Started"] > 1000
    assert actions["Completed"] > 100


def test_a_grade_of_a_quiz_is_on_the_attempt_that_the_method_chooses(
    site: Site, translation: Translation
) -> None:
    attempts = defaultdict(list)
    for one in site.rows(
        "SELECT id, quiz, userid, attempt, sumgrades, timefinish, timemodified FROM "
        "[quiz_attempts] WHERE preview = 0 AND state = 'finished' ORDER BY attempt"
    ):
        attempts[one.quiz, one.userid].append(one)
    existing = {one.id for own in attempts.values() for one in own}
    compared = 0
    for row in site.rows(
        "SELECT l.id, l.relateduserid, l.timecreated, q.id AS quiz, q.grademethod FROM "
        "[logstore_standard_log] l JOIN [grade_grades] g ON g.id = l.objectid JOIN [grade_items] i "
        "ON i.id = g.itemid AND i.itemmodule = 'quiz' JOIN [quiz] q ON q.id = i.iteminstance "
        r"WHERE l.eventname LIKE '%core\\\\event\\\\user\\_graded'"
    ):
        own = [a for a in attempts[row.quiz, row.relateduserid] if a.timefinish <= row.timecreated]
        if not own or (len(own) > 1 and any(a.timemodified > row.timecreated for a in own)):
            continue
        best = max(own, key=lambda a: (a.sumgrades is not None, a.sumgrades or 0))
        chosen = {1: best, 3: own[0], 4: own[-1]}.get(row.grademethod)
        generated = translation.own[row.id].get("generated") or translation.own[row.id]["object"]
        if chosen is None:
            assert f"#user-{row.relateduserid}" in generated["attempt"]
        else:
            told = int(generated["attempt"].rpartition("=")[2])
            # The attempt that had the grade may have been deleted since.
            assert told == chosen.id or told not in existing
        compared += 1
    assert compared > 30


def test_a_grade_of_no_activity_is_on_no_attempt(site: Site, translation: Translation) -> None:
    compared = 0
    for row in site.rows(
        "SELECT l.id, l.courseid, l.relateduserid, i.id AS item FROM [logstore_standard_log] l "
        "JOIN [grade_grades] g ON g.id = l.objectid JOIN [grade_items] i ON i.id = g.itemid AND "
        r"i.itemtype <> 'mod' WHERE l.eventname LIKE '%core\\\\event\\\\user\\_graded'"
    ):
        document = translation.own[row.id]
        if document["action"] == "Removed":
            continue
        item = f"{WWWROOT}/grade/edit/tree/item.php?courseid={row.courseid}&id={row.item}"
        assert (document["type"], document["action"]) == ("Event", "Graded")
        assert document["object"]["type"] == "AssignableDigitalResource"
        assert document["object"]["id"] == item
        assert document["target"]["id"].endswith(f"profile.php?id={row.relateduserid}")
        assert "attempt" not in document["generated"]
        assert f"{item}#" not in json.dumps(document)
        compared += 1
    assert compared > 50


def test_a_grading_that_is_told_twice_is_linked(translation: Translation) -> None:
    by_id = {event["id"]: log_id for log_id, event in translation.own.items()}
    linked = 0
    for log_id, event in translation.own.items():
        earlier = event["extensions"]["moodle"].get("sameGradingAs")
        if earlier is not None:
            linked += 1
            if earlier in by_id:
                assert by_id[earlier] < log_id
    assert linked >= 185
