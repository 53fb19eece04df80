"""What documents say about the same IRI: one type, references that fit it, one assignee.

An entity may be described in one place and referenced by its IRI in others (1.2, Types and Type
Coercion), in the same document or in another one. A consumer that joins the two needs them to
agree, so a reference is checked like the entity that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entity_rules import anonymous_type
from caliper_dagster.caliper.problems import Problem, Problems, article, violation
from caliper_dagster.caliper.ruleset import Kinds, Ruleset, is_iri

Key = tuple[str, str]
"""Version of Caliper and IRI: a type of 1.2 may be another one in 1.1."""


class References:
    """The entities that documents describe and reference, one document after the other.

    A contradiction between two documents is a problem of the later one. The memory that this needs
    grows with the distinct IRIs, not with the documents.

    Args:
        types: the type of IRIs that are known beforehand, of any version.
    """

    def __init__(self, types: Mapping[str, str] | None = None) -> None:
        self._known: Mapping[str, str] = types or {}
        self._types: dict[Key, str] = {}
        self._wanted: dict[Key, dict[str, str]] = {}
        self._assignees: dict[Key, str] = {}

    def problems(self, item: Mapping[str, Any], ruleset: Ruleset) -> Problems:
        """What an event or an entity says that contradicts itself or what was said before."""
        try:
            problems = list(self._item(item, ruleset))
        except RecursionError:  # a document nested so deeply has a problem of its own
            return []
        return problems

    def _item(self, item: Mapping[str, Any], ruleset: Ruleset) -> Iterator[Problem]:
        name = item.get("type")
        if not isinstance(name, str) or name not in vocabulary.EVENT_TYPES:
            yield from self._entity(item, ruleset)
            return
        yield from self._properties(name, item, ruleset.event(name, item.get("action")), ruleset)
        yield from _membership_problems(item)

    def _entity(self, entity: Mapping[str, Any], ruleset: Ruleset) -> Iterator[Problem]:
        """An entity in line: its type, then what it holds."""
        name = _entity_type(entity)
        if name is None:
            return
        iri = _iri(entity)
        if iri is not None:
            key = ruleset.version.name, iri
            yield from self._described(key, name)
            if name == "Attempt":
                yield from self._assigned(key, entity.get("assignee"))
        yield from self._properties(name, entity, ruleset.entity(name) or {}, ruleset)

    def _properties(
        self, owner: str, item: Mapping[str, Any], kinds: Kinds, ruleset: Ruleset
    ) -> Iterator[Problem]:
        for key, value in item.items():
            kind = kinds.get(key)
            if kind is None or not (kind.entity or isinstance(value, dict)):
                continue
            place = f"{owner}.{key}"
            for problem in self._value(place, kind.entity, value, ruleset):
                yield problem.below(key)

    def _value(
        self, place: str, allowed: str, value: object, ruleset: Ruleset
    ) -> Iterator[Problem]:
        if isinstance(value, list):
            for number, part in enumerate(value):
                for problem in self._value(place, allowed, part, ruleset):
                    yield problem.below(number)
        elif isinstance(value, dict):
            if allowed:
                yield from self._entity(value, ruleset)
            else:
                yield from self._map(value, ruleset)
        elif allowed and isinstance(value, str) and is_iri(value) and not anonymous_type(value):
            yield from self._referenced((ruleset.version.name, value), place, allowed)

    def _map(self, value: Mapping[str, Any], ruleset: Ruleset) -> Iterator[Problem]:
        """A map, such as extensions: there may be entities in it, and maps and lists of them."""
        if _iri(value) is not None and _entity_type(value) is not None:
            yield from self._entity(value, ruleset)
            return
        for key, part in value.items():
            if isinstance(part, dict | list):
                for problem in self._value("", "", part, ruleset):
                    yield problem.below(key)

    # What is said of an IRI

    def _described(self, key: Key, name: str) -> Iterator[Problem]:
        known = self._types.setdefault(key, name)
        if known != name:
            yield from violation(
                "reference", f"{article(name)} has the IRI of {article(known)}", "id"
            )
            return
        for allowed, place in self._wanted.get(key, {}).items():
            if not vocabulary.fits(name, allowed):
                sentence = f"{place} references it and must be {article(allowed)}"
                yield from violation("reference", f"{article(name)}: {sentence}", "id")

    def _referenced(self, key: Key, place: str, allowed: str) -> Iterator[Problem]:
        known = self._types.get(key) or self._known.get(key[1])
        if known is not None and not vocabulary.fits(known, allowed):
            sentence = f"{place} must be {article(allowed)}, and references {article(known)}"
            yield from violation("reference", sentence)
        elif allowed != "Entity":
            self._wanted.setdefault(key, {}).setdefault(allowed, place)

    def _assigned(self, key: Key, assignee: object) -> Iterator[Problem]:
        iri = _iri(assignee)
        if iri is not None and self._assignees.setdefault(key, iri) != iri:
            yield from violation("reference", "the Attempt has two assignees", "assignee")


def _membership_problems(event: Mapping[str, Any]) -> Iterator[Problem]:
    """The membership of an event is the actor's (1.2 Event; 1.1 section 2.1).

    Only a time-out is the application's, with the membership of the person whose session ended.
    """
    if event.get("action") == "TimedOut":
        return
    membership = event.get("membership")
    member = _iri(membership.get("member")) if isinstance(membership, dict) else None
    actor = _iri(event.get("actor"))
    if member is not None and actor is not None and member != actor:
        for problem in violation(
            "reference", "the member of the membership is not the actor", "member"
        ):
            yield problem.below("membership")


def _entity_type(value: Mapping[str, Any]) -> str | None:
    name = value.get("type")
    return name if isinstance(name, str) and name in vocabulary.ENTITY_TYPES else None


def _iri(value: object) -> str | None:
    """The IRI of an entity or reference; None when it is anonymous, a blank node or none."""
    iri = value.get("id") if isinstance(value, dict) else value
    return iri if isinstance(iri, str) and is_iri(iri) and not anonymous_type(iri) else None
