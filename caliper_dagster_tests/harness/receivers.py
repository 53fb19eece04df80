"""What receivers of events refuse, as far as their published sources say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from caliper_dagster.caliper.ruleset import Kinds, Ruleset, ruleset
from caliper_dagster.caliper.versions import BY_NAME

Json = Mapping[str, Any]

_EVENT_OBJECTS = ("actor", "object", "target", "generated", "edApp", "group", "membership")
_TEXTS = {"assignable", "actor", "comment", "version", "duration", "currentTime", "name"}
_OBJECTS = {"isPartOf", "scoredBy", "subOrganizationOf"}


def refused_by_openlrw(event: Json) -> list[str]:
    """The places of an event for which OpenLRW refuses its whole envelope.

    After the classes ``Event``, ``Entity``, ``Agent``, ``Group``, ``SubOrganizationOf`` and
    ``Membership`` of Apereo's ``lai-event`` 1.1.4. Properties that they do not have are ignored
    there, and so they are here.
    """
    places = [] if isinstance(event.get("@context"), str) else ["@context"]
    for slot in _EVENT_OBJECTS:
        if slot not in event:
            continue
        if not isinstance(event[slot], dict):
            places.append(slot)
        elif slot == "membership":
            places += _refused_membership(event[slot])
        else:
            places += _refused_entity(slot, event[slot])
    if not isinstance(event.get("federatedSession", ""), str):
        places.append("federatedSession")
    return places


def _refused_membership(membership: Json) -> Iterator[str]:
    for name in ("member", "organization"):
        if not isinstance(membership.get(name, ""), str):
            yield f"membership.{name}"
    yield from _refused_extensions("membership", membership)


def _refused_entity(place: str, entity: Json) -> Iterator[str]:
    if not entity.get("id") or not entity.get("type"):
        yield f"{place}.id"
    yield from _refused_extensions(place, entity)
    for name, value in entity.items():
        if (name in _TEXTS and isinstance(value, dict | list)) or (
            name in _OBJECTS and not isinstance(value, dict)
        ):
            yield f"{place}.{name}"
        elif name in _OBJECTS:
            yield from _refused_entity(f"{place}.{name}", value)


def _refused_extensions(place: str, entity: Json) -> Iterator[str]:
    for name, value in entity.get("extensions", {}).items():
        if isinstance(value, dict | list):
            yield f"{place}.extensions.{name}"


def bare_references(event: Json, version: str) -> list[str]:
    """The places of an event where an IRI stands for an entity."""
    rules = ruleset(BY_NAME[version], strict=True)
    kinds = rules.event(event["type"], event["action"])
    return list(_bare("", event, kinds, rules))


def _bare(place: str, item: Json, kinds: Kinds, rules: Ruleset) -> Iterator[str]:
    for key, value in item.items():
        kind = kinds.get(key)
        for part in value if isinstance(value, list) else [value]:
            if kind is not None and kind.entity and isinstance(part, str):
                yield f"{place}{key}"
            elif isinstance(part, dict):
                name = part.get("type")
                inner = rules.entity(name) if isinstance(name, str) else None
                if inner is None and name == "SystemIdentifier":
                    inner = rules.value_type(name)
                yield from _bare(f"{place}{key}.", part, inner or {}, rules)
