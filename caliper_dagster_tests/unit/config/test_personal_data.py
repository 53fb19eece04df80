"""The inventory of personal data says what is so: of frames, entity functions, settings, events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from caliper_dagster.config.event_stores import EventStoreDefinition
from caliper_dagster.config.personal_data import INVENTORY
from caliper_dagster.config.settings import declared
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.core.privacy import PROFILES
from caliper_dagster.translator.derived import DERIVED_EVENTS
from caliper_dagster.translator.entities.registry import ENTITY_FUNCTIONS, TRANSLATOR_FUNCTIONS
from caliper_dagster_tests.unit.translator.support import ADA, event

COLUMNS = {f"{frame.name}.{column.name}": column for frame in FRAMES for column in frame.columns}
REGISTERED = [
    *ENTITY_FUNCTIONS.values(), *TRANSLATOR_FUNCTIONS.values(), *DERIVED_EVENTS.values()
]  # fmt: skip


def test_every_personal_column_is_in_the_inventory_and_every_column_of_it_exists() -> None:
    stored = {name for item in INVENTORY for name in item.stored}
    assert stored <= COLUMNS.keys()
    assert {name for name, column in COLUMNS.items() if column.personal} <= stored


def test_every_switch_is_a_setting() -> None:
    names = {name for item in INVENTORY for name in (*item.switches, item.at_rest) if name}
    assert names <= declared().keys()


def test_every_text_of_an_entity_function_is_in_the_inventory_with_its_class() -> None:
    known: dict[str, set[str]] = {}
    for item in INVENTORY:
        if item.text:
            known.setdefault(item.text, set()).update(
                path.rpartition(".")[2] for path in item.events
            )
    for function in REGISTERED:
        for path, kind in function.texts.items():
            name = path.rpartition(".")[2]
            if name != "externalUrl":
                kinds = known if kind == "by_table" else {kind}
                assert any(name in known[one] for one in kinds), (function, path, kind)


VALUES = {
    "user id": "profile.php?id=3",
    "first and last name": "Ada Lovelace",
    "user name": ADA["username"],
    "e-mail address": ADA["email"],
    "idnumber (such as a matriculation number)": ADA["idnumber"],
    "IP address": "192.0.2.1",
    "roles and enrolment in a course": '"membership"',
    "ids of log rows and of their records": '"logId"',
}

SWITCHES: list[dict[str, Any]] = [
    *({"privacy": name} for name in PROFILES),
    {"person_names": True},
    {"person_identifiers": ("AccountUserName",)},
    {"person_identifiers": ("EmailAddress", "LisSourcedId")},
    {"ip_addresses": True},
]


@pytest.mark.parametrize("values", SWITCHES, ids=str)
def test_what_it_says_to_leave_leaves_and_nothing_else(values: dict[str, Any]) -> None:
    privacy = EventStoreDefinition(**values).effective_privacy
    options: dict[str, Any] = {"key": b"k" * 32} if privacy.profile.keyed else {}
    document = json.dumps(
        event(
            {},
            profile=privacy.profile.name,
            person_names=privacy.names,
            person_identifiers=privacy.identifiers,
            ip_addresses=privacy.ip_addresses,
            **options,
        )
    ).replace("ada@", "e-mail@")
    said = {item.name: item.form(privacy) for item in INVENTORY}
    for name, value in VALUES.items():
        value = value.replace("ada@", "e-mail@")
        quoted = f'"{value}"' if name == "user name" else value
        assert (quoted in document) == (said[name] == "as in Moodle"), name
