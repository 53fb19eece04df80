"""Events under keyed and anonymous profiles, by hand."""

from __future__ import annotations

import json
import uuid

import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.translator import Translator
from caliper_dagster.translator.identity import keyed_person, keyed_uuid
from caliper_dagster.translator.institutional import is_institutional
from caliper_dagster_tests.unit.translator.golden import ROWS
from caliper_dagster_tests.unit.translator.support import TIME, W, event, translate

KEY = b"0123456789abcdef0123456789abcdef"
TERM = "http://purl.imsglobal.org/caliper/"
PSEUDONYMOUS = {"profile": "pseudonymous", "key": KEY}
ANONYMOUS = {"profile": "anonymous", "key": KEY}
ADA = keyed_person(KEY, W, 3, None)
KEYED = pytest.mark.parametrize("profile", ["pseudonymous", "anonymous"])
VERSION = pytest.mark.parametrize("version", ["v1p2", "v1p1"])


def thing(place: str) -> str:
    return f"urn:uuid:{keyed_uuid(KEY, W, 'iri', place)}"


def of_namespace(name: str) -> str:
    namespace = uuid.UUID(keyed_uuid(KEY, W, "namespace", ""))
    return f"urn:uuid:{uuid.uuid5(namespace, name)}"


def test_a_submitted_attempt_under_pseudonyms():
    found = event(ROWS["submitted"] | {"session": {"id": 990, "timecreated": TIME, "user": 3}},
                  **PSEUDONYMOUS)  # fmt: skip
    plain = event(ROWS["submitted"])
    learner = plain["generated"]["assignee"]["id"].rpartition("=")[2]
    attempt = plain["generated"]["id"].removeprefix(W)

    assert found["id"] == of_namespace(f"logstore_standard_log:1001:{plain['eventTime'] and TIME}")
    assert found["actor"] == {
        "type": "Person", "id": keyed_person(KEY, W, int(plain["actor"]["id"].rpartition("=")[2]),
                                             None),
    }  # fmt: skip
    assert found["object"] == plain["object"]
    assert found["generated"] == plain["generated"] | {
        "id": thing(attempt),
        "assignee": {"type": "Person", "id": keyed_person(KEY, W, int(learner), None)},
    }
    facts = found["extensions"]["moodle"]
    assert not {"logId", "objectId"} & facts.keys()
    assert facts["contextInstanceId"] == 11


def test_a_membership_and_a_session_under_pseudonyms():
    login = {"id": 990, "timecreated": TIME - 1000, "user": 3}
    found = event({"session": login}, **PSEUDONYMOUS)
    assert found["actor"] == {"type": "Person", "id": ADA}
    assert found["membership"]["id"] == thing("/user/view.php?id=3&course=2")
    assert found["membership"]["member"] == ADA
    assert found["membership"]["organization"] == f"{W}/course/view.php?id=2"
    assert found["session"]["id"] == of_namespace("session:990")
    assert found["session"]["user"] == ADA


def test_columns_beside_the_event_are_those_of_the_event():
    (row,) = translate(ROWS["report"], pseudonym_base="https://id.example.org", **PSEUDONYMOUS)
    assert row["actor_id"] == row["json"]["actor"]["id"]
    assert row["actor_id"].startswith("https://id.example.org/")
    assert row["object_id"] == row["json"]["object"]["id"]
    assert row["object_id"].startswith("urn:uuid:")
    assert row["log_id"] == 1001


def test_a_site_that_moves_keeps_its_pseudonyms():
    moved = Translator("https://new.example.org", site_id=W, **PSEUDONYMOUS)
    stayed = Translator(W, **PSEUDONYMOUS)
    for iri in ("/user/profile.php?id=3", "/mod/quiz/review.php?attempt=7"):
        assert moved.iris.pseudonym(f"https://new.example.org{iri}") == stayed.iris.pseudonym(
            f"{W}{iri}"
        )


def test_scores_that_are_named_after_their_row_have_ids_of_their_own():
    graded = {
        "eventname": r"\core\event\user_graded", "objecttable": "grade_grades", "objectid": 58,
        "relateduserid": 16, "other": {"itemid": 5, "finalgrade": 7},
    }  # fmt: skip
    report = "/grade/report/user/index.php?id=2&userid=16#grade-58"
    found = [
        row["json"]["generated"]["id"]
        for row in translate(graded | {"id": 1}, graded | {"id": 2}, **PSEUDONYMOUS)
    ]
    assert found == [thing(f"{report}-1"), thing(f"{report}-2")]


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("second", "2026-01-31T14:05:09.000Z"),
        ("minute", "2026-01-31T14:05:00.000Z"),
        ("hour", "2026-01-31T14:00:00.000Z"),
        ("day", "2026-01-31T00:00:00.000Z"),
    ],
)
@pytest.mark.parametrize("profile", ["identified", "pseudonymous"])
def test_times_of_events_and_persons_are_cut_down(precision, expected, profile):
    login = {"id": 990, "timecreated": TIME + 309, "user": 3}
    options = {"profile": profile, "key": KEY, "time_precision": precision}
    row = {"timecreated": TIME + 309, "session": login}
    found = event(row, **options)
    assert found["eventTime"] == found["session"]["startedAtTime"] == expected
    assert found["group"]["dateCreated"] == "2023-11-14T22:13:20.000Z"
    assert found["id"] == event(row, profile=profile, key=KEY)["id"]


def test_durations_are_left_out_with_exact_times():
    submitted = ROWS["submitted"]
    assert "duration" in event(submitted)["generated"]
    found = event(submitted, time_precision="hour")["generated"]
    assert "duration" not in found
    assert found["startedAtTime"] <= found["endedAtTime"]


def test_nobody_acts_under_the_anonymous_profile():
    login = {"id": 990, "timecreated": TIME, "user": 3}
    for version in ("v1p2", "v1p1"):
        found = event(
            ROWS["submitted"] | {"session": login, "realuserid": 61}, version=version, **ANONYMOUS
        )
        assert found["actor"] == {"type": "Person", "id": f"{TERM}Person"}
        assert not {"session", "membership"} & found.keys()
        assert found["generated"]["id"] == f"{TERM}Attempt"
        assert found["object"]["id"] == f"{W}/mod/quiz/view.php?id=11"
        assert found["extensions"].keys() == {"moodle", "submittedBy"}
        assert found["extensions"]["submittedBy"]["id"] == W


def test_the_site_still_acts_under_the_anonymous_profile():
    found = event(
        {"eventname": r"\core\event\course_backup_created", "userid": 0, "origin": "cli"},
        **ANONYMOUS,
    )
    expected = {"id": W, "type": "SoftwareApplication"}
    assert {key: found["edApp"][key] for key in expected} == expected


@KEYED
def test_a_keyed_profile_needs_a_key(profile):
    with pytest.raises(ConfigurationError, match=f"The privacy profile {profile} needs a key"):
        Translator(W, profile=profile)


@KEYED
def test_what_settings_allow_of_persons_does_not_leave(profile):
    found = event(
        {},
        profile=profile,
        key=KEY,
        person_names=True,
        person_identifiers=("SystemId", "EmailAddress"),
        ip_addresses=True,
    )
    text = json.dumps(found)
    assert not [word for word in ("Ada", "ada@", "192.0.2.1", "profile.php") if word in text]


INSTITUTIONAL = (
    "", "/", "/#organization", "/course/view.php?id=2", "/course/view.php?id=2#page",
    "/course/view.php?id=2&section=4", "/mod/quiz/view.php?id=11", "/mod/zoom/view.php?id=11",
    "/mod/lesson/view.php?id=3&pageid=4", "/mod/survey/view.php?id=3#item-4",
    "/grade/edit/tree/item.php?courseid=2&id=5", "/admin/tool/lp/editcompetency.php?id=7#page",
    "/mod/assign/view.php?id=3#submission-form", "/badges/criteria.php?id=3#4",
    "/question/bank/previewquestion/preview.php?id=3", "/group/index.php?id=2&group=3",
    "/#customfield_field-7", "/webservice#core_user_get_users",
    "/grade/report/grader/index.php?id=2",
)  # fmt: skip
PERSONAL = (
    "/user/profile.php?id=3", "/user/view.php?id=3&course=2", "/course/view.php?id=2#member-3",
    "/mod/quiz/review.php?attempt=7", "/mod/assign/view.php?id=3#submission-7",
    "/mod/assign/view.php?id=3#feedback-7", "/mod/assign/view.php?id=3#submission-7-file",
    "/grade/report/user/index.php?id=2&userid=3", "/mod/forum/discuss.php?d=7#p13",
    "/course/view.php?id=2#backup-1001", "/mod/wiki/view.php?pageid=7", "/draftfile.php#a0b1",
    "/mod/scorm/view.php?id=5#user-3-attempt-1", "/local/x/thing.php?id=7", "/#comment-7",
    "/course/view.php?id=2&user=3", "/course/view.php?id=Ada", "/mod/quiz/view.php?id=1#Ada",
    "/tag/index.php?id=3#item-7", "/calendar/view.php#event_7", "/badges/badge.php#issued-7",
    ".evil.example/course/view.php?id=2",
)  # fmt: skip


@pytest.mark.parametrize("place", INSTITUTIONAL)
def test_things_of_the_institution_keep_their_ids(place):
    assert is_institutional(f"{W}{place}", W)


@pytest.mark.parametrize("place", PERSONAL)
def test_what_leads_to_a_person_does_not(place):
    assert not is_institutional(f"{W}{place}", W)


def test_elsewhere_hosts_and_terms_of_caliper_are_no_persons():
    assert is_institutional("https://tool.example:8/", W)
    assert is_institutional(f"{TERM}Attempt", W)
    assert not is_institutional("https://tool.example/user/3", W)


# Every recipe and every entity function
