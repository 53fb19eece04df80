"""What the original plugin did wrong (mapping.md §10, reference_defects.json) is not done here."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Callable

import pyarrow as pa
import pytest
import sqlalchemy as sa

from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster_tests.harness.paths import DATA
from caliper_dagster_tests.real_site.prescription import ANONYMOUS, Prescription
from caliper_dagster_tests.real_site.site import (
    HOURS,
    WWWROOT,
    Event,
    Site,
    Translation,
    activity,
    entities,
    user,
)


def of_name(ending: str) -> Callable[[sa.Row], bool]:
    return lambda row: row.eventname.endswith(ending)


def attempt(event: Event) -> Event:
    """The attempt of an event about one."""
    return event.get("generated", event["object"]) if "Attempt" in str(event) else {}


def learner_is_lost(row: sa.Row, event: Event) -> bool:
    return event["type"] == "GradeEvent" and (
        event["object"]["assignee"]["id"] != user(row.relateduserid)
        or f"user-{row.userid}" in event["object"]["id"]
    )


def maximum_is_wrong(row: sa.Row, event: Event) -> bool:
    score = event.get("generated", {})
    return score.get("maxScore") != (
        event["object"].get("assignable", {}).get("maxScore") if "scoreGiven" in score else None
    )


def counted_from_zero(row: sa.Row, event: Event) -> bool:
    return any(
        entity.get("count", 1) < 1 for _, entity in entities(event) if entity["type"] == "Attempt"
    )


def in_1970(row: sa.Row, event: Event) -> bool:
    return '"1970-' in json.dumps(event)


def attempt_is_lost(row: sa.Row, event: Event) -> bool:
    return f"attempt={row.objectid}" not in json.dumps([event["object"], event.get("target")])


def has_federated_session(row: sa.Row, event: Event) -> bool:
    return "federatedSession" in event


def has_bare_ids(row: sa.Row, event: Event) -> bool:
    membership = event.get("membership", {"member": "http:", "organization": "http:"})
    member = membership["member"]
    member = member["id"] if isinstance(member, dict) else member
    return not (member.startswith("http:") and membership["organization"].startswith("http:"))


def has_negative_maximum(row: sa.Row, event: Event) -> bool:
    return any(entity.get("maxScore", 1) <= 0 for _, entity in entities(event))


DEFECTS: dict[str, tuple[str, Callable[[sa.Row, Event], bool]]] = {
    "event without any id": ("", lambda row, event: not event.get("id")),
    "membership.member/organization bare ids": ("", has_bare_ids),
    "federatedSession empty string": ("", has_federated_session),
    'description invented: "A Moodle course"': (
        "",
        lambda row, event: any(
            "description" in entity or entity.get("name") in ("A Moodle course", "A module")
            for _, entity in entities(event)
        ),
    ),
    "submission_graded: attempt/result @id carries the grader, not the learner": (
        "submission_graded",
        learner_is_lost,
    ),
    "submission_graded: no normalScore": (
        "submission_graded",
        lambda row, event: (
            event["type"] == "GradeEvent"
            and "scoreGiven" not in event["generated"]
            and "unresolved" not in event["extensions"]
        ),
    ),
    "submission_graded: maxScore is not the assignment maximum": (
        "submission_graded",
        maximum_is_wrong,
    ),
    "submission_graded: attempt count 0 (0-based)": ("submission_graded", counted_from_zero),
    "submission_graded: dateToStartOn 1970": ("submission_graded", in_1970),
    "submission_graded: dateToSubmit 1970": ("submission_graded", in_1970),
    "attempt_viewed: attempt lost, same event as quiz view": ("attempt_viewed", attempt_is_lost),
    "attempt_reviewed: attempt lost, same event as quiz view": (
        "attempt_reviewed",
        attempt_is_lost,
    ),
    "courseid 0 row placed in site course /course/1": (
        "",
        lambda row, event: row.courseid <= 1 and bool({"group", "membership"} & event.keys()),
    ),
    "assessable_submitted: attempt count 0 (0-based)": ("assessable_submitted", counted_from_zero),
    "assessable_submitted: dateToStartOn 1970": ("assessable_submitted", in_1970),
    "assessable_submitted: dateToSubmit 1970": ("assessable_submitted", in_1970),
    "assessable_submitted: maxScore negative (scale id)": (
        "assessable_submitted",
        has_negative_maximum,
    ),
    "attempt_started: dateToStartOn 1970": ("attempt_started", in_1970),
    "attempt_started: dateToSubmit 1970": ("attempt_started", in_1970),
    "attempt_submitted: dateToStartOn 1970": ("attempt_submitted", in_1970),
    "attempt_submitted: dateToSubmit 1970": ("attempt_submitted", in_1970),
    "guest user emitted as Person .../user/1": (
        "",
        lambda row, event: user(1) in (event["actor"]["id"], event.get("session", {}).get("user")),
    ),
    "login-as: realuserid lost": (
        "",
        lambda row, event: (
            bool(row.realuserid)
            and (
                event["actor"]["id"] != user(row.realuserid)
                or event["extensions"]["actingAs"]["id"]
                not in (
                    user(row.userid),
                    user(row.relateduserid or 0),
                )
            )
        ),
    ),
    "@id /module/N shared by several module types": (
        "",
        lambda row, event: "/module/" in json.dumps(event),
    ),
    "(distinct /module/N ids)": ("", lambda row, event: "/module/" in json.dumps(event)),
    "actor @id without a user (/user/)": (
        "",
        lambda row, event: (
            event["actor"]["type"] == "Person"
            and event["actor"]["id"] != ANONYMOUS
            and not event["actor"]["id"].rpartition("?id=")[2].isdigit()
        ),
    ),
}
"""Each defect of reference_defects.json: the events it was in, and how one recognises it."""


@pytest.mark.parametrize("defect", DEFECTS)
def test_counted_defect_is_in_no_event(defect: str, site: Site, translation: Translation) -> None:
    ending, is_there = DEFECTS[defect]
    rows = list(site.of_name(ending))

    assert rows
    assert not [row.id for row in rows if is_there(row, translation.events[row.id])]


def test_every_counted_defect_is_looked_for(site: Site) -> None:
    counted = json.loads((DATA / "reference_defects.json").read_text())["defects"]
    history = "submission_graded rows that repeat the CURRENT grade of one grade row (history lost)"

    assert set(counted) == {*DEFECTS, history}


def test_gradings_of_one_learner_have_each_their_own_grade(
    site: Site, events: dict[int, Event], prescription: Prescription
) -> None:
    told, held = defaultdict(set), defaultdict(set)
    for row in site.of_name("submission_graded"):
        known, grade = prescription.grade_as_of(row)
        if known and grade is not None:
            told[row.objectid].add(events[row.id]["generated"]["scoreGiven"])
            held[row.objectid].add(grade)
    assert told == held
    assert sum(len(grades) > 1 for grades in told.values()) > 100


def test_every_row_that_the_plugin_lost_has_an_event(translation: Translation) -> None:
    with gzip.open(DATA / "reference_logstore_caliper.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]

    assert Counter(row["outcome"] for row in rows) == {"sent": 3774, "dropped": 2352}
    assert {row["logid"] for row in rows} == translation.events.keys()


def test_gradings_without_a_comment_have_events_and_scores(
    site: Site, events: dict[int, Event], prescription: Prescription
) -> None:
    commented = {row.grade for row in site.rows("SELECT grade FROM [assignfeedback_comments]")}
    rows = [
        row
        for row in site.of_name("submission_graded")
        if row.objectid in prescription.grades and row.objectid not in commented
    ]
    assert len(rows) > 500
    for row in rows:
        assert "generated" in events[row.id] or prescription.is_removal(row)


def test_an_activity_is_the_same_thing_in_views_and_attempts(
    site: Site, events: dict[int, Event]
) -> None:
    viewed, attempted = (
        {row.contextinstanceid: events[row.id]["object"]["id"] for row in site.of_name(ending)}
        for ending in (r"mod_quiz\event\course_module_viewed", "attempt_started")
    )
    assert viewed
    assert attempted.keys() & viewed.keys()
    for module, iri in {**viewed, **attempted}.items():
        assert iri == activity("quiz", module)
        assert viewed.get(module, iri) == iri


def test_graded_attempts_are_the_submitted_ones(site: Site, events: dict[int, Event]) -> None:
    submitted = {events[row.id]["generated"]["id"] for row in site.of_name("assessable_submitted")}
    graded = {
        events[row.id]["object"]["id"]
        for row in site.of_name("submission_graded")
        if events[row.id]["type"] == "GradeEvent"
    }
    assert len(graded & submitted) > 50


def test_learners_do_not_share_an_attempt(site: Site, events: dict[int, Event]) -> None:
    learners = defaultdict(set)
    for row in site.of_name("submission_graded", "attempt_started", "attempt_submitted"):
        for _, entity in entities(events[row.id]):
            if entity["type"] == "Attempt" and "assignee" in entity:
                learners[entity["id"]].add(entity["assignee"]["id"])
    assert learners
    assert not {iri: found for iri, found in learners.items() if len(found) > 1}


def test_unlimited_attempts_are_no_number(translation: Translation) -> None:
    limits = {
        entity["maxAttempts"]
        for event in translation.events.values()
        for _, entity in entities(event)
        if "maxAttempts" in entity
    }
    assert limits
    assert min(limits) > 0


def test_shapes_of_caliper_1_0_are_gone(translation: Translation) -> None:
    for event in translation.events.values():
        assert event["type"] not in {"OutcomeEvent", "ReadingEvent"}
        if event["type"] in {"AssessmentEvent", "AssignableEvent"}:
            assert event["object"]["type"] in {"Assessment", "AssignableDigitalResource"}
            assert event["generated"]["type"] == "Attempt"
            assert "target" not in event
        if event["type"] == "NavigationEvent":
            assert event["object"]["type"] in {"DigitalResourceCollection", "WebPage"}
        if event["type"] == "GradeEvent":
            assert event["generated"]["type"] == "Score"


def test_log_ins_are_in_no_course_and_teachers_are_no_learners(
    site: Site, translation: Translation
) -> None:
    for row in site.of_name("user_loggedin", "user_loggedout"):
        assert not {"group", "membership"} & translation.events[row.id].keys()
    teachers = {
        (row.userid, row.instanceid)
        for row in site.rows(
            "SELECT ra.userid, c.instanceid FROM [role_assignments] ra "
            "JOIN [role] r ON r.id = ra.roleid JOIN [context] c ON c.id = ra.contextid "
            "WHERE r.archetype IN ('teacher', 'editingteacher') AND c.contextlevel = 50"
        )
    }
    found = 0
    for row in site.named:
        membership = translation.events[row.id].get("membership", {})
        person = membership.get("id", "").partition("&")[0].rpartition("=")[2]
        if person.isdigit() and (int(person), row.courseid) in teachers:
            found += 1
            assert "Instructor" in membership["roles"]
            assert "Learner" not in membership["roles"]
    assert found > 1000


def test_course_number_is_the_short_name_and_the_site_has_its_name(
    site: Site, translation: Translation
) -> None:
    front_page = site.table("course")[1].fullname
    idnumbers = {row.idnumber for row in site.table("course").values()} - {""}
    for event in translation.events.values():
        assert event.get("group", {}).get("courseNumber") not in idnumbers
        assert event["edApp"]["id"] == WWWROOT
        assert event["edApp"]["name"] == front_page


def test_user_reports_have_events(site: Site, translation: Translation) -> None:
    rows = list(site.of_name("user_report_viewed"))

    assert len(rows) == 62
    assert all(translation.events[row.id]["object"]["type"] == "WebPage" for row in rows)


def test_statements_grow_with_kinds_of_rows_and_not_with_rows(moodle_dump_mariadb: str) -> None:
    with MoodleDatabase.open(moodle_dump_mariadb) as database:
        rows = pa.concat_tables(table for _, table in read_log(database, HOURS))
        rows = rows.unify_dictionaries()
        statements = {}
        for most in (5, len(rows)):
            some = _of_each_name(rows, most)
            before = database.statements
            expand(database, some)
            statements[some.num_rows] = database.statements - before
    few, many = statements
    assert many > 10 * few
    # Keys go a thousand at a time, which no more than a few tables have in so many rows.
    assert statements[many] < 1.15 * statements[few]


def test_an_hour_needs_few_statements(moodle_dump_mariadb: str) -> None:
    with MoodleDatabase.open(moodle_dump_mariadb) as database:
        hour = max((table for _, table in read_log(database, HOURS)), key=len)
        before = database.statements
        expand(database, hour)
        assert database.statements - before < 80 < len(hour) / 10


def _of_each_name(rows: pa.Table, most: int) -> pa.Table:
    """The first rows of each event name."""
    number: Counter[str] = Counter()
    chosen = []
    for name in rows["eventname"].to_pylist():
        number[name] += 1
        chosen.append(number[name] <= most)
    return rows.filter(pa.array(chosen))
