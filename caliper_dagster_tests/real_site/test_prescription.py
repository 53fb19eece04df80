"""Every row of the 30 names becomes the event that mapping.csv and mapping.md prescribe."""

from __future__ import annotations

import re
import uuid

from caliper_dagster_tests.real_site.prescription import ANONYMOUS, SITE, Prescription
from caliper_dagster_tests.real_site.site import (
    WWWROOT,
    Event,
    Row,
    Site,
    Translation,
    assert_same,
    iso,
)


def test_every_row_becomes_exactly_one_event_of_its_own(
    site: Site, translation: Translation
) -> None:
    table = translation.table.select(["log_id", "outcome", "reason", "resolution"]).to_pylist()
    own = [row for row in table if row["outcome"] != "derived"]

    assert [row["log_id"] for row in own] == [row.id for row in site.log]
    assert {(row["outcome"], row["reason"], row["resolution"]) for row in own} == {
        ("event", None, "exact")
    }


def test_event_ids_are_uuids_of_the_site_and_the_log_row(
    site: Site, translation: Translation
) -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, WWWROOT)

    assert_same(
        {row: event["id"] for row, event in translation.events.items()},
        {
            row.id: uuid.uuid5(namespace, f"logstore_standard_log:{row.id}:{row.timecreated}").urn
            for row in site.named
        },
    )
    assert len({event["id"] for event in translation.events.values()}) == len(site.named)


def test_event_times_are_those_of_the_rows(site: Site, translation: Translation) -> None:
    assert_same(
        {row: event["eventTime"] for row, event in translation.events.items()},
        {row.id: iso(row.timecreated) for row in site.named},
    )


def test_type_action_and_profile(
    site: Site, translation: Translation, prescription: Prescription
) -> None:
    assert_same(
        {
            row: (event["type"], event["action"], event.get("profile"))
            for row, event in translation.events.items()
        },
        {row.id: prescription.shape(row, translation.version) for row in site.named},
    )


def test_the_columns_of_the_table_say_what_the_events_say(translation: Translation) -> None:
    columns = ["log_id", "event_id", "event_type", "action", "caliper_version"]
    rows = translation.named.select(columns).to_pylist()

    assert_same(
        {row["log_id"]: tuple(row.values())[1:] for row in rows if row["event_id"]},
        {
            row: (event["id"], event["type"], event["action"], translation.version)
            for row, event in translation.events.items()
        },
    )


def test_actor(site: Site, translation: Translation, prescription: Prescription) -> None:
    assert_same(
        {
            row: (event["actor"]["id"], event["actor"]["type"])
            for row, event in translation.events.items()
        },
        {
            row.id: (
                prescription.actor(row),
                "SoftwareApplication" if prescription.actor(row) == SITE else "Person",
            )
            for row in site.named
        },
    )


def test_object(site: Site, translation: Translation, prescription: Prescription) -> None:
    assert_same(
        {row: _type_and_id(event["object"]) for row, event in translation.events.items()},
        {row.id: prescription.object(row, translation.version) for row in site.named},
    )


def test_generated(site: Site, translation: Translation, prescription: Prescription) -> None:
    assert_same(
        {row: _type_and_id(event.get("generated")) for row, event in translation.events.items()},
        {row.id: prescription.generated(row) for row in site.named},
    )


def test_target(site: Site, translation: Translation, prescription: Prescription) -> None:
    assert_same(
        {
            row: (*_type_and_id(event["target"]), event["target"].get("index"))
            if "target" in event
            else None
            for row, event in translation.events.items()
        },
        {row.id: prescription.target(row) for row in site.named},
    )


def test_group(site: Site, translation: Translation, prescription: Prescription) -> None:
    assert_same(
        {row: _type_and_id(event.get("group")) for row, event in translation.events.items()},
        {
            row.id: ("CourseSection", group) if (group := prescription.group(row)) else None
            for row in site.named
        },
    )


def test_membership(site: Site, translation: Translation, prescription: Prescription) -> None:
    def found(event: Event) -> tuple[str, str, str] | None:
        membership = event.get("membership")
        if membership is None:
            return None
        member = membership["member"]
        iri = member["id"] if isinstance(member, dict) else member
        return membership["id"], iri, membership["organization"]

    assert_same(
        {row: found(event) for row, event in translation.events.items()},
        {row.id: prescription.membership(row) for row in site.named},
    )


def test_session_is_that_of_the_log_in(
    site: Site, translation: Translation, prescription: Prescription
) -> None:
    expected = {}
    for row in site.named:
        begin = prescription.log_in(row)
        ended = row.eventname.endswith("user_loggedout")
        expected[row.id] = begin and (
            begin.id,
            prescription.actor(row),
            iso(begin.timecreated),
            iso(row.timecreated) if ended else None,
        )
    # The id says nothing of the log-in, but each log-in has one of its own.
    log_ins = {
        event["session"]["id"]: begin.id
        for row in site.named
        if (begin := prescription.log_in(row))
        and (event := translation.events[row.id])
        and "session" in event
    }
    assert all(re.fullmatch(r"urn:uuid:[\da-f]{8}-[\da-f]{4}-5[\da-f-]+", iri) for iri in log_ins)
    assert len(set(log_ins.values())) == len(log_ins)
    assert_same(
        {
            row: (
                log_ins.get(session["id"]),
                session["user"],
                session["startedAtTime"],
                session.get("endedAtTime"),
            )
            if (session := event.get("session"))
            else None
            for row, event in translation.events.items()
        },
        expected,
    )


def test_sessions_are_neither_of_guests_nor_of_services_nor_of_scripts(
    site: Site, events: dict[int, Event]
) -> None:
    for row in site.named:
        if row.origin != "web" or row.userid <= 1 or row.anonymous:
            assert "session" not in events[row.id]


def test_edapp_is_the_site_with_its_name_and_release(site: Site, translation: Translation) -> None:
    release = site.table("config", "name")["release"].value
    expected = {
        "id": WWWROOT,
        "type": "SoftwareApplication",
        "name": site.table("course")[1].fullname,
        "version": release,
    }

    assert all(event["edApp"] == expected for event in translation.events.values())


def test_raw_facts_of_the_row_are_in_the_extensions(site: Site, translation: Translation) -> None:
    columns = {
        "logId": "id", "eventName": "eventname", "component": "component", "crud": "crud",
        "eduLevel": "edulevel", "contextId": "contextid", "contextLevel": "contextlevel",
        "contextInstanceId": "contextinstanceid", "origin": "origin",
        "objectTable": "objecttable", "objectId": "objectid",
    }  # fmt: skip
    hidden = {"logId", "objectId"}
    more = {"other", "preview", "result", "sameGradingAs"}
    assert_same(
        {
            row: {k: v for k, v in event["extensions"]["moodle"].items() if k not in more}
            for row, event in translation.events.items()
        },
        {
            row.id: {
                key: getattr(row, column)
                for key, column in columns.items()
                if getattr(row, column) is not None and not (row.anonymous and key in hidden)
            }
            for row in site.named
        },
    )


def test_who_acted_as_whom_is_not_lost(
    site: Site, events: dict[int, Event], prescription: Prescription
) -> None:
    def person(number: int) -> Event:
        return {"id": f"{WWWROOT}/user/profile.php?id={number}", "type": "Person"}

    expected = {}
    for row in site.named:
        expected[row.id] = {
            "actingAs": person(_acted_as(row)) if prescription.real_user(row) else None,
            "runAs": person(row.userid)
            if row.origin == "cli" and row.userid > 0 and not row.realuserid
            else None,
        }
        trigger, actor = prescription.trigger(row), prescription.actor(row)
        if row.eventname.endswith("attempt_submitted") and trigger not in (actor, ANONYMOUS):
            assert events[row.id]["extensions"]["triggeredBy"]["id"] == trigger
        else:
            assert "triggeredBy" not in events[row.id]["extensions"]
    assert_same(
        {
            row: {key: event["extensions"].get(key) for key in ("actingAs", "runAs")}
            for row, event in events.items()
        },
        expected,
    )


def _acted_as(row: Row) -> int:
    return row.relateduserid if row.eventname.endswith("user_loggedinas") else row.userid


def test_related_user_is_in_each_event(site: Site, events: dict[int, Event]) -> None:
    rows = [row for row in site.named if (row.relateduserid or 0) > 0 and not row.anonymous]

    assert rows
    for row in rows:
        event = events[row.id]
        people = {event["actor"]["id"]}
        for entity in (event["object"], event.get("generated", {})):
            for attempt in (entity, entity.get("attempt", {})):
                if isinstance(attempt, dict) and isinstance(attempt.get("assignee"), dict):
                    people.add(attempt["assignee"]["id"])
        related = f"{WWWROOT}/user/profile.php?id={row.relateduserid}"
        extension = event["extensions"].get("relatedUser", {}).get("id")
        assert extension == (None if related in people else related), row.id


def _type_and_id(entity: Event | None) -> tuple[str, str] | None:
    return (entity["type"], entity["id"]) if entity else None
