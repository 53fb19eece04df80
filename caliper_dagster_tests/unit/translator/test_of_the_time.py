"""Names, log-outs and enrolments as they were at the time of the row."""

from __future__ import annotations

from typing import Any

import pytest

from caliper_dagster_tests.unit.translator.support import (
    ADA,
    ALL_TEXTS,
    STUDENT,
    TEACHER,
    TIME,
    W,
    event,
    member,
)

ADA_IRI, TEACHER_IRI = (f"{W}/user/profile.php?id={id_}" for id_ in (3, 4))


# Names


@pytest.mark.parametrize(
    ("name", "table", "other", "expected"),
    [
        (r"\mod_glossary\event\entry_deleted", "glossary_entries", {"concept": "Then"}, "Then"),
        (r"\core\event\course_category_deleted", "course_categories", {"name": "Then"}, "Then"),
        (r"\core\event\tag_updated", "tag", {"name": "then", "rawname": "Then"}, "then"),
        (r"\core_customfield\event\field_deleted", "customfield_field", {"name": "Then"}, "Then"),
        (r"\mod_data\event\field_updated", "data_fields", {"fieldname": "Then"}, "Then"),
        (r"\core\event\tag_updated", "tag", {"name": ""}, "Today"),
        (r"\core\event\tag_updated", "tag", None, "Today"),
    ],
)
@pytest.mark.parametrize("deleted", [False, True], ids=["there", "deleted"])
def test_a_thing_has_the_name_of_the_time(
    name: str, table: str, other: Any, expected: str, deleted: bool
) -> None:
    record = None if deleted else {"table": table, "id": 7, "name": "Today"}
    found = event(
        {"eventname": name, "objecttable": table, "objectid": 7, "object": record, "other": other},
        texts=ALL_TEXTS,
    )

    assert found["object"].get("name") == (None if deleted and expected == "Today" else expected)


def test_an_entry_of_the_calendar_has_the_name_of_the_time_where_it_is_known_whose_it_is() -> None:
    row = {
        "eventname": r"\core\event\calendar_event_updated", "objecttable": "event",
        "objectid": 7, "other": {"name": "Then"},
    }  # fmt: skip
    record = {"table": "event", "id": 7, "name": "Today", "eventtype": "course"}
    assert event({**row, "object": record})["object"]["name"] == "Then"
    assert "name" not in event({**row, "object": None})["object"]


def test_a_deleted_course_has_the_name_of_the_time() -> None:
    found = event(
        {
            "eventname": r"\core\event\course_deleted", "objecttable": "course", "objectid": 2,
            "course": None, "other": {"fullname": "Maths &amp; more", "shortname": "M"},
        }
    )  # fmt: skip

    assert (found["object"]["name"], found["object"]["courseNumber"]) == ("Maths & more", "M")


def test_an_anonymous_row_tells_no_name_of_its_event_data() -> None:
    found = event(
        {
            "eventname": r"\mod_glossary\event\entry_deleted", "objecttable": "glossary_entries",
            "objectid": 7, "anonymous": 1, "other": {"concept": "Then"},
        }
    )  # fmt: skip

    assert "Then" not in str(found)


# Logged in as another

LOG_OUT: dict[str, Any] = {
    "eventname": r"\core\event\user_loggedout", "objecttable": "user", "objectid": 3,
    "contextlevel": 10, "contextinstanceid": 0, "courseid": 0, "course": None,
    "user_membership": None,
}  # fmt: skip


def test_the_log_out_of_a_log_in_as_is_the_real_users() -> None:
    found = event(
        {**LOG_OUT, "realuser": TEACHER, "session": {"id": 9, "user": 4, "timecreated": TIME - 60}}
    )

    assert found["actor"]["id"] == TEACHER_IRI
    assert found["extensions"]["actingAs"]["id"] == ADA_IRI
    assert found["session"]["user"] == TEACHER_IRI
    assert found["session"]["endedAtTime"] == found["eventTime"]


def test_a_log_out_without_a_real_user_is_the_users_own() -> None:
    found = event(LOG_OUT)

    assert found["actor"]["id"] == ADA_IRI
    assert "actingAs" not in found["extensions"]


@pytest.mark.parametrize("real", [4, None])
def test_who_logs_in_as_a_learner_acts_as_the_learner(real: int | None) -> None:
    found = event(
        {
            **LOG_OUT, "eventname": r"\core\event\user_loggedinas", "userid": 4, "user": TEACHER,
            "realuserid": real, "realuser": real and TEACHER, "relateduserid": 3,
            "relateduser": ADA,
        }
    )  # fmt: skip

    assert found["actor"]["id"] == TEACHER_IRI
    assert found["extensions"]["actingAs"]["id"] == ADA_IRI


# Enrolments


def enrolment(verb: str, **changes: Any) -> dict[str, Any]:
    """The event of an enrolment of Ada by the teacher."""
    row: dict[str, Any] = {
        "eventname": rf"\core\event\user_enrolment_{verb}", "objecttable": "user_enrolments",
        "objectid": 8, "userid": 4, "user": TEACHER, "user_membership": None, "relateduserid": 3,
        "relateduser": ADA, "relateduser_membership": member(3, STUDENT),
        "object": {
            "table": "user_enrolments", "id": 8, "enrolid": 2, "status": 0, "timestart": TIME,
            "timecreated": TIME, "timemodified": TIME, "enrol": "cohort",
        },
    }  # fmt: skip
    record = {**row["object"], **changes.pop("object", {})}
    return event({**row, "object": record, **changes})


def test_an_enrolment_says_how_and_when() -> None:
    found = enrolment("created", other={"enrol": "self"})

    assert found["object"]["status"] == "Active"
    assert found["object"]["dateCreated"] == found["eventTime"]
    assert found["extensions"]["moodle"]["enrolmentMethod"] == "self"
    assert "change" not in found["extensions"]["moodle"]
    assert enrolment("created")["extensions"]["moodle"]["enrolmentMethod"] == "cohort"


def test_a_suspension_is_visible() -> None:
    found = enrolment("updated", object={"status": 1})

    assert found["object"]["status"] == "Inactive"
    assert found["extensions"]["moodle"]["change"] == "suspended"


def test_a_deleted_enrolment_is_inactive_although_it_was_active_till_then() -> None:
    found = enrolment("deleted")

    assert found["object"]["status"] == "Inactive"
    assert found["extensions"]["moodle"]["change"] == "deleted"


def test_a_suspension_of_later_is_not_told_of_the_enrolment() -> None:
    found = enrolment("created", object={"status": 1, "timemodified": TIME + 86_400})

    assert found["object"]["status"] == "Active"


def test_an_old_hour_without_the_new_columns_is_translated() -> None:
    found = enrolment("created", object={}, relateduser_membership=None)

    assert found["object"]["status"] == "Active"
