"""Log rows, expanded rows and lifecycle rows without the persons who were erased."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa

from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG, Frame
from caliper_dagster.core.persons import Persons, UserAccount
from caliper_dagster.expander.erasure import lifecycle_without, own_rows, without_persons
from caliper_dagster.expander.lookups.log_lifecycle import SCHEMA

ANA = Persons(frozenset({5}), frozenset({UserAccount("Ana", "Müller", ("ana5",))}))
_ROW = {
    "id": 1,
    "eventname": r"\mod_quiz\event\attempt_submitted",
    "component": "mod_quiz",
    "action": "submitted",
    "target": "attempt",
    "objecttable": "quiz_attempts",
    "objectid": 7,
    "contextid": 3,
    "contextlevel": 70,
    "contextinstanceid": 36,
    "userid": 6,
    "courseid": 2,
    "relateduserid": None,
    "anonymous": 0,
    "timecreated": 1_774_000_000,
    "origin": "web",
    "ip": "192.0.2.7",
    "realuserid": None,
}


def row(frame: Frame, **changes: object) -> dict[str, object]:
    """One row of a log after it was cleaned; records are given, and returned, as values."""
    records = {
        field.name: json.dumps(changes[field.name])
        for field in frame.schema
        if isinstance(changes.get(field.name), dict | list)
    }
    full = {field.name: None for field in frame.schema} | _ROW | changes | records
    table = pa.Table.from_pylist([full], frame.schema)
    cleaned = without_persons(table, ANA)
    assert cleaned.schema == table.schema
    assert without_persons(cleaned, ANA).equals(cleaned)
    found = cleaned.to_pylist()[0]
    return {
        name: json.loads(value) if name in records and value is not None else value
        for name, value in found.items()
    }


def differences(found: Mapping[str, object], **changes: object) -> dict[str, object]:
    full = dict.fromkeys(found) | _ROW | changes
    return {name: value for name, value in found.items() if value != full[name]}


def test_a_row_of_the_person_is_a_row_of_an_anonymous_person() -> None:
    own = {"userid": 5, "other": 'a:1:{s:6:"quizid";i:9;}'}
    assert differences(row(MOODLE_LOG, **own), **own) == {
        "userid": None,
        "anonymous": 1,
        "ip": None,
        "other": None,
        "objectid": None,
    }


def test_the_course_and_the_activity_of_a_row_stay() -> None:
    viewed = {"userid": 5, "objecttable": "quiz", "objectid": 9}
    assert row(MOODLE_LOG, **viewed)["objectid"] == 9
    assert row(MOODLE_LOG, userid=5, objecttable="course", objectid=2)["objectid"] == 2


def test_a_row_that_affects_the_person_is_anonymous_and_keeps_the_other_id() -> None:
    found = row(MOODLE_LOG, relateduserid=5)
    assert (found["userid"], found["relateduserid"], found["anonymous"]) == (6, None, 1)
    found = row(MOODLE_LOG, realuserid=5)
    assert (found["userid"], found["realuserid"], found["anonymous"]) == (6, None, 1)


def test_a_context_of_the_person_goes() -> None:
    found = row(MOODLE_LOG, contextlevel=30, contextinstanceid=5)
    assert (found["contextid"], found["contextinstanceid"], found["anonymous"]) == (None, None, 1)
    found = row(MOODLE_LOG, contextlevel=70, contextinstanceid=5)
    assert (found["contextid"], found["contextinstanceid"], found["anonymous"]) == (3, 5, 0)


def test_an_account_of_the_person_goes() -> None:
    found = row(MOODLE_LOG, objecttable="user", objectid=5)
    assert (found["objectid"], found["anonymous"]) == (None, 1)
    assert row(MOODLE_LOG, objecttable="user", objectid=6)["anonymous"] == 0


def test_event_data_of_others_lose_what_mentions_the_person() -> None:
    php = 'a:2:{s:6:"userid";i:5;s:4:"name";s:16:"For Ana Müller";}'
    found = row(MOODLE_LOG, other=php.replace("s:16", "s:15"))
    assert found["anonymous"] == 0
    assert json.loads(str(found["other"])) == {"name": "For [erased]"}
    kept = 'a:1:{s:6:"userid";i:55;}'
    assert row(MOODLE_LOG, other=kept)["other"] == kept


def test_event_data_that_cannot_be_decoded_and_may_mention_the_person_go() -> None:
    assert row(MOODLE_LOG, other='a:2:{s:6:"userid";i:5;')["other"] is None


def test_the_records_of_an_expanded_row_of_the_person_go() -> None:
    found = row(
        EXPANDED_LOG,
        userid=5,
        relateduserid=6,
        user={"id": 5, "firstname": "Ana"},
        user_membership={"user": 5},
        relateduser={"id": 6},
        session={"id": 1, "user": 5},
        object={"id": 7, "userid": 5},
        module={"id": 36, "activity": {"name": "Quiz of Ana Müller"}},
        course={"id": 2},
        unresolved=["user:5"],
    )
    gone = ("user", "user_membership", "relateduser", "object", "session", "other", "unresolved")
    assert [found[name] for name in (*gone, "userid", "objectid", "ip")] == [None] * 10
    assert found["relateduserid"] == 6
    assert found["module"] == {"id": 36, "activity": {"name": "Quiz of [erased]"}}


def test_an_expanded_row_of_another_loses_the_record_that_belongs_to_the_person() -> None:
    user = {"id": 6, "firstname": "Bo"}
    found = row(EXPANDED_LOG, user=user, object={"id": 7, "userid": 5, "subject": "mine"})
    assert (found["user"], found["object"], found["anonymous"]) == (user, None, 0)


def test_a_person_who_was_logged_in_as_another_is_found_by_the_record() -> None:
    found = row(EXPANDED_LOG, realuser={"id": 5}, user={"id": 6}, session={"id": 1, "user": 5})
    assert (found["anonymous"], found["userid"], found["user"]) == (1, 6, None)
    assert (found["realuser"], found["session"]) == (None, None)


def test_rows_of_the_person_are_found() -> None:
    rows = [_ROW, {**_ROW, "userid": 5}, {**_ROW, "realuserid": 5}, {**_ROW, "userid": 55}]
    table = pa.Table.from_pylist(rows, MOODLE_LOG.schema)
    assert own_rows(table, ANA).to_pylist() == [False, True, True, False]


def test_lifecycle_rows_about_the_person_go_and_those_about_modules_stay() -> None:
    rows = [
        {"id": 1, "eventname": r"\core\event\role_assigned", "relateduserid": 5, "userid": 6},
        {
            "id": 2,
            "eventname": r"\core\event\course_module_created",
            "userid": 5,
            "ip": "192.0.2.7",
            "other": '{"name":"Quiz of Ana Müller","modulename":"quiz"}',
        },
        {"id": 3, "eventname": r"\core\event\role_assigned", "relateduserid": 6, "userid": 6},
        {"id": 4, "eventname": r"\core\event\course_module_completion_updated", "userid": 5},
        {"contextinstanceid": 36, "component": "mod_quiz"},
        {"id": 5, "objectid": 40, "relateduserid": 5},
        {"id": 6, "objectid": 41, "relateduserid": 6},
    ]
    table = pa.Table.from_pylist(rows, SCHEMA)
    found = lifecycle_without(table, ANA).to_pylist()
    assert [it["id"] for it in found] == [2, 3, None, 6]
    assert (found[0]["userid"], found[0]["ip"]) == (None, None)
    assert json.loads(found[0]["other"]) == {"name": "Quiz of [erased]", "modulename": "quiz"}
    assert found[2]["contextinstanceid"] == 36
