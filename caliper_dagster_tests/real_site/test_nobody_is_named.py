"""Rules R1 to R4 and the secrets of ``mapping.md`` §7, over all events of the whole log."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from caliper_dagster.expander.event_data import decode
from caliper_dagster_tests.real_site.prescription import ANONYMOUS, SITE, Prescription
from caliper_dagster_tests.real_site.site import (
    GUEST,
    WWWROOT,
    Event,
    Site,
    Translation,
    assert_same,
    course,
    user,
)

SECRETS = {
    "badgehash", "content", "debug", "email", "extrauserinfo", "idnumber", "loggedinasusername",
    "newcontent", "oldvalue", "originalusername", "receivedconfigkey", "replace", "response",
    "search", "sessionid", "token", "username", "value",
}  # fmt: skip
"""Keys of ``other`` whose text never leaves."""

Rows = list[tuple[sa.Row, Event]]


@pytest.fixture
def all_rows(site: Site, translation: Translation) -> Rows:
    """Every event with its row, derived ones too."""
    rows = {row.id: row for row in site.log}
    return [(rows[outcome["log_id"]], event) for outcome, event in translation.everything]


@pytest.fixture(scope="module")
def private(site: Site) -> set[str]:
    """What names a user: names, user names, addresses, numbers."""
    return {
        value
        for row in site.rows(
            "SELECT username, email, idnumber, firstname, lastname, "
            "CONCAT(firstname, ' ', lastname) FROM [user]"
        )
        for value in row
        # Shorter ones are parts of other words.
        if value and len(value.strip()) > 3
    }


# R1, R2: who acted


def test_the_actor_is_who_the_rules_and_the_mapping_say(
    site: Site, translation: Translation, prescription: Prescription
) -> None:
    actual, expected = {}, {}
    for row in site.log:
        actor = translation.own[row.id]["actor"]
        actual[row.id] = (actor["id"], actor["type"])
        wanted = _actor(row, prescription)
        expected[row.id] = (wanted, "SoftwareApplication" if wanted == SITE else "Person")
    assert_same(actual, expected)
    assert {kind for _, kind in expected.values()} == {"Person", "SoftwareApplication"}


def _actor(row: sa.Row, prescription: Prescription) -> str:
    trigger = prescription.trigger(row)
    if row.anonymous or row.realuserid:
        return trigger
    said = prescription.mapping[row.eventname]["actor"]
    if said.startswith("Person(relateduserid)") and (row.relateduserid or 0) > 0:
        return user(row.relateduserid) if row.relateduserid != GUEST else ANONYMOUS
    if said in ("SoftwareApplication", "SoftwareApplication W", "SoftwareApplication(the SCO)"):
        return SITE
    if said.startswith(("SoftwareApplication when", "SoftwareApplication W", "Person(userid) or")):
        unattended = row.userid <= 0 or row.origin == "cli"
        own = said.startswith("SoftwareApplication when") and row.userid == row.relateduserid
        return SITE if unattended or own else trigger
    return trigger


def test_a_derived_event_has_the_actor_of_its_row_or_the_site(
    translation: Translation,
) -> None:
    kinds = Counter()
    for row, events in translation.derived.items():
        own = translation.own[row]
        for event in events:
            by_site = event["type"] == "GradeEvent"
            assert event["actor"]["id"] == (SITE if by_site else own["actor"]["id"])
            assert event["extensions"]["derivedFrom"] == own["id"]
            for key in ("group", "membership", "session"):
                assert by_site or event.get(key) == own.get(key)
            kinds[event["type"], by_site] += 1
    assert kinds.total() > 1000


def test_whoever_is_logged_in_as_another_is_the_one_who_acts(all_rows: Rows) -> None:
    rows = [(row, event) for row, event in all_rows if row.realuserid]

    assert len({row.id for row, _ in rows}) == 116
    for row, event in rows:
        assert event["actor"]["id"] == user(row.realuserid)
        other = row.relateduserid if row.eventname.endswith("user_loggedinas") else row.userid
        assert event["extensions"]["actingAs"] == {"id": user(other), "type": "Person"}
        if "session" in event:
            assert event["session"]["user"] == user(row.realuserid)
        if "membership" in event:
            assert event["membership"]["member"] == user(row.realuserid)


def test_the_account_of_a_script_is_kept_and_does_not_act(all_rows: Rows) -> None:
    rows = [
        (row, event)
        for row, event in all_rows
        if row.origin == "cli" and not row.realuserid and not row.anonymous
    ]
    assert len(rows) > 500
    for row, event in rows:
        account = {"id": user(row.userid), "type": "Person"} if row.userid > 0 else None
        assert event["extensions"].get("runAs") == account
        assert "session" not in event
        if event["actor"]["type"] == "Person":
            # The learner, whom the event is about, or nobody where no account is told either.
            learner = user(row.relateduserid) if (row.relateduserid or 0) > 0 else ANONYMOUS
            assert event["actor"]["id"] == learner
            assert "triggeredBy" in event["extensions"] or learner == ANONYMOUS


def test_visitors_and_guests_are_nobody(all_rows: Rows) -> None:
    rows = [
        (row, event)
        for row, event in all_rows
        if row.userid in (0, GUEST) and row.origin != "cli" and not row.realuserid
    ]
    assert len({row.id for row, _ in rows}) > 600
    for row, event in rows:
        assert "session" not in event
        actor = event["actor"]["id"]
        assert actor in (ANONYMOUS, SITE) or actor == user(row.relateduserid)
        if actor == ANONYMOUS:
            assert event["actor"] == {"id": ANONYMOUS, "type": "Person"}
    assert not [row.id for row, event in all_rows if event["actor"]["id"] == user(GUEST)]
    assert not [
        row.id
        for row, event in all_rows
        if user(GUEST) in (event.get("membership", {}).get("member"),)
    ]


def test_the_sites_own_users_are_the_site(all_rows: Rows) -> None:
    rows = [(row, event) for row, event in all_rows if row.userid < 0]

    assert len(rows) == 2200
    for row, event in rows:
        if event["actor"]["id"] != SITE:
            assert event["actor"]["id"] == user(row.relateduserid)
            assert event["extensions"]["triggeredBy"]["id"] == SITE
        assert not re.search(r"profile\.php\?id=-", json.dumps(event))


# R3, R4: who else, and where


def test_the_related_user_is_never_lost(all_rows: Rows) -> None:
    number = 0
    for row, event in all_rows:
        if row.anonymous or (row.relateduserid or 0) <= 0:
            continue
        number += 1
        assert re.search(rf"id={row.relateduserid}\b", json.dumps(event)), row.id
    assert number > 14_000


def test_the_course_is_the_group_and_no_event_is_in_the_site_course(all_rows: Rows) -> None:
    for row, event in all_rows:
        group = event.get("group")
        assert (group and group["id"]) == (course(row.courseid) if row.courseid > 1 else None)
        person = event["actor"]["type"] == "Person" and event["actor"]["id"] != ANONYMOUS
        assert ("membership" in event) == (row.courseid > 1 and (person or _is_guest(row, event)))


def _is_guest(row: sa.Row, event: Event) -> bool:
    """Whether the guest account is a member: nobody, with a guest's roles."""
    return (
        event["actor"]["id"] == ANONYMOUS
        and not row.anonymous
        and GUEST in ((row.realuserid or row.userid),)
    )


# Anonymous rows


def test_anonymous_rows_name_nobody_in_any_event(
    site: Site, all_rows: Rows, private: set[str]
) -> None:
    people = site.table("user")
    rows = [(row, event) for row, event in all_rows if row.anonymous]

    assert len({row.id for row, _ in rows}) == 81
    assert len(rows) > 130
    for row, event in rows:
        assert event["actor"] == {"id": ANONYMOUS, "type": "Person"}
        assert not {"membership", "session", "federatedSession"} & event.keys()
        # Neither the row nor who it is about: one could look them up.
        assert event["extensions"].keys() <= {"moodle", "unresolved", "change", "derivedFrom"}
        told = event["extensions"]["moodle"].keys()
        assert not {"logId", "objectId", "other", "ip"} & told
        text = json.dumps(event, ensure_ascii=False)
        assert not re.search(r"/user/|userid|user-\d|member-\d", text)
        for number in {row.userid, row.relateduserid, row.realuserid} - {None, 0}:
            assert not re.search(rf"id={number}\b", _without_places(text, row))
        for person in filter(None, map(people.get, (row.userid, row.relateduserid))):
            for value in (person.username, person.email, person.idnumber, person.lastname):
                assert not value.strip() or value not in text


def _without_places(text: str, row: sa.Row) -> str:
    """The event without the addresses of its course and its activity, which have ids, too."""
    places = (
        f"course/view.php?id={row.courseid}",
        f"/view.php?id={row.contextinstanceid}",
        f"show_entries.php?id={row.contextinstanceid}",
    )
    for place in places:
        text = re.sub(rf"{re.escape(place)}\b", "", text)
    return text


def test_nothing_joins_an_anonymous_answer_to_a_session_or_to_other_rows(
    all_rows: Rows, translation: Translation
) -> None:
    others = {
        value
        for row, event in all_rows
        if not row.anonymous
        for value in _texts(event)
        if "showcompleted" in value
    }
    answers = {
        value
        for row, event in all_rows
        if row.anonymous
        for value in _texts(event)
        if "showcompleted" in value
    }
    assert others
    assert not answers


# Secrets


@pytest.fixture(scope="module")
def secrets(site: Site) -> dict[str, set[str]]:
    """Texts of the rows that must not leave, by their keys."""
    found = defaultdict(set)
    for row in site.log:
        for key, value in _leaves(decode(row.other or "")):
            if key.lower() in SECRETS and isinstance(value, str) and value.strip():
                found[key].add(value)
    return found


def test_no_secret_of_a_row_leaves_in_any_event(
    translation: Translation, secrets: dict[str, set[str]]
) -> None:
    assert {"sessionid", "username", "content", "value", "email"} <= secrets.keys()
    # Shorter ones are parts of other words: see the test of the keys.
    wanted = {value for values in secrets.values() for value in values if len(value) > 5}
    wanted.remove(MADE_UP)
    assert len(wanted) > 400
    told = {text for _, event in translation.everything for text in _texts(event)}
    joined = "\n".join(told)

    assert not [
        value
        for value in wanted
        if value in joined and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", joined)
    ]


MADE_UP = "Näme 🙂"
"""What rows with made-up data have under every key, also under those of names."""


def test_no_key_of_a_secret_leaves_in_any_event(translation: Translation) -> None:
    keys = Counter(
        key
        for _, event in translation.everything
        for key, _ in _leaves(event["extensions"]["moodle"].get("other"))
    )
    assert not SECRETS & {key.lower() for key in keys}


# Names


def test_no_name_or_address_of_a_user_leaves_in_any_event(
    site: Site, translation: Translation, private: set[str]
) -> None:
    told = {
        text
        for _, event in translation.everything
        for key, text in _leaves(event)
        # A method of enrolment is a word of Moodle's, also where an account is called like it.
        if isinstance(text, str) and key != "enrol"
    }
    # What a course or an activity is called is no person's name, whatever it reads.
    known = {row.fullname for row in site.table("course").values()}
    known |= {row.shortname for row in site.table("course").values()}
    known |= {found.name for found in site.activities.values()}
    leak = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, sorted(private)))})(?!\w)")

    assert len(private) > 250
    # Moodle's own addresses and tables have these words in them.
    places = re.compile(rf"^{re.escape(WWWROOT)}/(admin|report|mod|course)/\S*$")
    leaks = {
        (text, match[1])
        for text in told - known
        if (match := leak.search(text)) and not (places.match(text) and match[1] == "admin")
    }
    assert not leaks


def test_only_the_system_id_identifies_persons_in_any_event(translation: Translation) -> None:
    kinds = Counter()
    for _, event in translation.everything:
        for identifier in event["actor"].get("otherIdentifiers", ()):
            kinds[identifier["identifierType"]] += 1
            assert identifier["identifier"] == event["actor"]["id"].rpartition("=")[2]
        assert "name" not in event["actor"] or event["actor"]["type"] == "SoftwareApplication"
    assert kinds.keys() <= {"SystemId"}


def test_addresses_of_clients_stay_in_every_event(site: Site, translation: Translation) -> None:
    addresses = {row.ip for row in site.log if row.ip} - {"127.0.0.1"}
    for _, event in translation.everything:
        assert "ip" not in event["extensions"]["moodle"]
        text = json.dumps(event)
        assert "ipAddress" not in text
        assert not [address for address in addresses if f'"{address}"' in text]


def _texts(value: object) -> Iterator[str]:
    return (leaf for _, leaf in _leaves(value) if isinstance(leaf, str))


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value with the nearest key above it that is no number."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, key if str(name).isdigit() else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, key)
    else:
        yield key, value
