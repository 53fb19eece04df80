"""Over the dump: log-outs, names, id numbers and enrolments against SQL on its tables."""

from __future__ import annotations

import html
import re
from typing import Any

from caliper_dagster_tests.real_site.prescription import Prescription
from caliper_dagster_tests.real_site.site import Row, Site, Translation, decoded, user


def own(site: Site, translation: Translation, *endings: str) -> list[tuple[Row, Any]]:
    """Rows of these events with their own events."""
    return [(row, translation.own[row.id]) for row in site.log if row.eventname.endswith(endings)]


def identifiers(entity: Any) -> dict[str, str]:
    found = entity.get("otherIdentifiers") or entity.get("extensions", {}).get("otherIdentifiers")
    return {one["identifierType"]: one["identifier"] for one in found or ()}


def test_the_id_number_of_a_course_is_in_every_event_of_it(
    site: Site, translation: Translation
) -> None:
    numbers = {row.id: row.idnumber for row in site.table("course").values() if row.idnumber}
    rows = [row for row in site.log if row.courseid in numbers and row.courseid > 1]

    assert rows
    for row in rows:
        group = identifiers(translation.own[row.id]["group"])
        assert group["SisSourcedId"] == numbers[row.courseid]
        assert group["LtiContextId"] == str(row.courseid)


def test_activities_have_their_id_numbers(site: Site, translation: Translation) -> None:
    numbers = {row.id: row.idnumber for row in site.table("course_modules").values()}
    compared = 0
    for row, event in own(site, translation, "course_module_viewed"):
        if row.contextinstanceid in numbers and not row.anonymous:
            wanted = numbers[row.contextinstanceid]
            assert identifiers(event["object"]) == ({"Other": wanted} if wanted else {})
            compared += bool(wanted)
    assert compared > 100


def test_log_outs_of_who_was_logged_in_as_another(
    site: Site, translation: Translation, prescription: Prescription
) -> None:
    begun = [row for row in site.log if row.eventname.endswith("user_loggedinas")]
    ended = [
        row
        for row in site.log
        if row.eventname.endswith("user_loggedout") and prescription.real_user(row)
    ]

    assert len(begun) == 3
    assert {row.relateduserid for row in begun} >= {row.userid for row in ended} != set()
    for row in ended:
        event = translation.own[row.id]
        assert event["actor"]["id"] == user(prescription.real_user(row))
        assert event["extensions"]["actingAs"]["id"] == user(row.userid)
        assert event.get("session", {}).get("user") in (None, event["actor"]["id"])


def test_names_are_those_that_the_rows_hold(site: Site, translation: Translation) -> None:
    compared = 0
    for row, event in own(site, translation, "entry_created", "entry_deleted", "entry_updated"):
        concept = decoded(row.other).get("concept")
        if concept and not row.anonymous and row.eventname.startswith(r"\mod_glossary"):
            assert event["object"]["name"] == html.unescape(concept)
            compared += 1
    assert compared == sum(
        row.eventname.startswith(r"\mod_glossary\event\entry_")
        and not row.anonymous
        and bool(decoded(row.other).get("concept"))
        for row in site.log
    )
    assert compared > 0


def test_enrolments_say_how_and_when(site: Site, translation: Translation) -> None:
    records = site.table("user_enrolments")
    methods = {row.id: row.enrol for row in site.table("enrol").values()}
    found = own(site, translation, "user_enrolment_created", "user_enrolment_deleted")

    assert len(found) == 213 + 44
    for row, event in found:
        deleted = row.eventname.endswith("deleted")
        assert event["object"]["status"] == ("Inactive" if deleted else "Active")
        facts = event["extensions"]["moodle"]
        assert facts.get("change") == ("deleted" if deleted else None)
        record = records.get(row.objectid)
        if record is not None:
            assert facts["enrolmentMethod"] == methods[record.enrolid]
            assert event["object"]["dateCreated"]


def test_names_are_plain_text(translation: Translation) -> None:
    markup = re.compile(r"</?(?:em|b|span|p)\b[^<>]*>|&amp;")

    def names(value: Any) -> Any:
        if isinstance(value, dict):
            for key, item in value.items():
                if key == "name" and isinstance(item, str):
                    yield item
                yield from names(item)
        elif isinstance(value, list):
            for item in value:
                yield from names(item)

    for event in translation.own.values():
        parts = {key: item for key, item in event.items() if key != "extensions"}
        assert not [name for name in names(parts) if markup.search(name)]


def test_ratings_are_of_competencies(site: Site, translation: Translation) -> None:
    tables = {
        "competency_user_competency_rated": "competency_usercomp",
        "competency_user_competency_rated_in_course": "competency_usercompcourse",
        "competency_user_competency_rated_in_plan": "competency_usercomp",
    }
    for ending, name in tables.items():
        records = site.table(name)
        for row, event in own(site, translation, ending):
            if row.objectid in records:
                competency = records[row.objectid].competencyid
                assert event["object"]["id"].endswith(f"editcompetency.php?id={competency}")
                if event["@context"].endswith("v1p2"):
                    assert event["generated"]["rated"] == event["object"]["id"]
                else:
                    assert "generated" not in event
