"""Nobody is named who must not be, and no secret of a log row leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from caliper_dagster_tests.real_site.prescription import ANONYMOUS
from caliper_dagster_tests.real_site.site import (
    WWWROOT,
    Event,
    Site,
    Translation,
    decoded,
    plain,
    user,
)


def test_anonymous_rows_name_nobody(site: Site, translation: Translation) -> None:
    people = site.table("user")
    rows = [row for row in site.named if row.anonymous]

    assert len(rows) == 49
    for row in rows:
        event = translation.events[row.id]
        assert event["actor"] == {"id": ANONYMOUS, "type": "Person"}
        assert not {"membership", "session", "federatedSession"} & event.keys()
        assert event["extensions"].keys() <= {"moodle", "unresolved"}
        assert set(event["extensions"].get("unresolved", ())) <= {
            f"course:{row.courseid}",
            f"course_modules:{row.contextinstanceid}",
        }
        assert not {"logId", "objectId", "other", "ip"} & event["extensions"]["moodle"].keys()
        text = json.dumps(event, ensure_ascii=False)
        assert "/user/" not in text
        person = people[row.userid]
        for value in (person.username, person.email, person.idnumber, person.lastname):
            assert not value.strip() or value not in text
        # Beside the course, the activity and the event itself, nothing has an id.
        ids = set(re.findall(r'"id": "([^"]+)"', text)) - {event["id"]}
        assert ids == {
            ANONYMOUS,
            WWWROOT,
            f"{WWWROOT}/mod/feedback/view.php?id={row.contextinstanceid}",
            f"{WWWROOT}/course/view.php?id={row.courseid}",
        }


def test_guests_and_visitors_are_nobody(site: Site, translation: Translation) -> None:
    rows = [
        row
        for row in site.named
        if row.userid in (0, 1) and row.origin == "web" and not row.realuserid
    ]
    assert len(rows) > 200
    for row in rows:
        event = translation.events[row.id]
        assert event["actor"] == {"id": ANONYMOUS, "type": "Person"}
        assert "session" not in event


def test_who_is_logged_in_as_a_learner_is_not_taken_for_the_learner(
    site: Site, translation: Translation
) -> None:
    rows = [row for row in site.named if row.realuserid]

    assert len(rows) == 33
    for row in rows:
        event = translation.events[row.id]
        assert event["actor"]["id"] == user(row.realuserid)
        assert event["extensions"]["actingAs"]["id"] == user(row.userid)
        if "session" in event:
            assert event["session"]["user"] == user(row.realuserid)


def test_no_session_of_php_leaves(site: Site, translation: Translation) -> None:
    secrets = {
        str(decoded(row.other).get("sessionid") or "") for row in site.of_name("user_loggedout")
    } - {""}

    assert secrets
    texts = "\n".join(map(json.dumps, translation.events.values()))
    assert not [secret for secret in secrets if secret in texts]


def test_no_name_or_address_of_a_person_leaves(site: Site, translation: Translation) -> None:
    private = {
        value
        for row in site.rows("SELECT username, email, idnumber, firstname, lastname FROM [user]")
        for value in row
        # Shorter ones are parts of other words.
        if value and len(value) > 3
    }
    assert len(private) > 150
    known = {
        plain(text)
        for table, columns in (
            ("course", ("fullname", "shortname", "idnumber")),
            ("competency", ("shortname",)),
            ("course_modules", ("idnumber",)),
        )
        for row in site.table(table).values()
        for text in (getattr(row, column) for column in columns)
    } | {plain(found.name) for found in site.activities.values()}
    texts = {text for event in translation.events.values() for text in _texts(event)} - known
    texts = {text.removeprefix(f"{WWWROOT}/admin/tool/lp/") for text in texts}

    leak = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, sorted(private)))})(?!\w)")
    assert not [text for text in texts if leak.search(text)]


def test_only_the_system_id_identifies_a_person(events: dict[int, Event]) -> None:
    for event in events.values():
        for identifier in event["actor"].get("otherIdentifiers", ()):
            assert identifier == {
                "type": "SystemIdentifier",
                "identifierType": "SystemId",
                "identifier": event["actor"]["id"].rpartition("=")[2],
                "source": WWWROOT,
            }


def test_deleted_users_have_an_id_only(site: Site, translation: Translation) -> None:
    living = {row.id for row in site.rows("SELECT id FROM [user] WHERE deleted = 0")}
    number = 0
    for event in translation.events.values():
        actor = event["actor"]
        if "/user/" in actor["id"] and int(actor["id"].rpartition("=")[2]) not in living:
            number += 1
            assert actor.keys() == {"id", "type"}
    assert number


def test_addresses_of_clients_stay(events: dict[int, Event]) -> None:
    for event in events.values():
        assert "ip" not in event["extensions"]["moodle"]
        assert "ipAddress" not in json.dumps(event)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
