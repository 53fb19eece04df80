"""The form of entities and values under a privacy profile, before they become JSON.

A form decides by the IRI and the type of an entity alone. So one thing has the same form wherever
it occurs: as the object of an event, within another entity, or as a reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, cast

from msgspec.structs import replace

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.entities import (
    Entity,
    Organization,
    Person,
    Session,
    SoftwareApplication,
)
from caliper_dagster.caliper.vocabulary import TERM
from caliper_dagster.core.privacy import Profile, TimePrecision
from caliper_dagster.translator.anonymity import PERSONAL_TYPES, anonymous_form
from caliper_dagster.translator.entity_output import entity_properties
from caliper_dagster.translator.identity import ANONYMOUS_PERSON, Iris, KeyedIris
from caliper_dagster.translator.institutional import is_institutional

_OF_PERSONS = (*PERSONAL_TYPES, Session)
_REFERENCES = {"attempt": f"{TERM}Attempt", "assignee": f"{TERM}Person"}
_NESTED = (Entity, Mapping, list)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_KEPT_OF_TIME: Mapping[TimePrecision, int] = {"second": 24, "minute": 17, "hour": 14, "day": 11}
_MIDNIGHT = "0000-00-00T00:00:00.000Z"
_LARGEST_CACHE = 200_000


class PrivateForm:
    """Entities with the ids that they have in Moodle; times of persons are cut down.

    Args:
        iris: of the site.
        precision: of the times in entities that belong to a person.
    """

    def __init__(self, iris: Iris, precision: TimePrecision) -> None:
        self._precision = precision
        site = iris.site
        self._is_institutional: Callable[[str], bool] = lru_cache(_LARGEST_CACHE)(
            lambda iri: is_institutional(iri, site)
        )

    def entity(self, entity: Entity) -> Entity:
        """An entity as it is sent, with all entities in it. What does not change is shared."""
        return self._with_parts(entity, self._changes_of_own(entity))

    def value(self, value: Any) -> Any:  # noqa: ANN401 - JSON values and entities
        """A value of an event's extensions; None if it must not be sent."""
        return self._value(value, cut_times=self._precision != "second")

    def _value(self, value: Any, *, cut_times: bool) -> Any:  # noqa: ANN401
        if isinstance(value, Entity):
            return self.entity(value)
        if isinstance(value, Mapping):
            if not cut_times and not any(isinstance(part, _NESTED) for part in value.values()):
                return value
            parts = {key: self._value(part, cut_times=cut_times) for key, part in value.items()}
            return {key: part for key, part in parts.items() if part is not None}
        if type(value) is list:
            values = [self._value(part, cut_times=cut_times) for part in value]
            return [part for part in values if part is not None]
        is_time = cut_times and isinstance(value, str) and _TIME.fullmatch(value)
        return self._cut(value) if is_time else value

    def _cut(self, time: str) -> str:
        """A time in Caliper's form, cut down."""
        kept = _KEPT_OF_TIME[self._precision]
        return time[:kept] + _MIDNIGHT[kept:]

    def _reference(self, name: str, iri: str) -> str | None:
        """The IRI that a property holds; None if it must not be sent."""
        del name
        return iri

    def _is_of_person(self, entity: Entity) -> bool:
        return isinstance(entity, _OF_PERSONS) or not self._is_institutional(entity.id)

    def _changes_of_own(self, entity: Entity) -> dict[str, Any]:
        """What changes in the properties of an entity itself."""
        if self._precision == "second" or not self._is_of_person(entity):
            return {}
        changes: dict[str, Any] = {}
        for name in _times(type(entity)):
            time = getattr(entity, name)
            if time is not None:
                changes[name] = self._cut(time)
        if getattr(entity, "duration", None) is not None:  # it would tell the exact times again
            changes["duration"] = None
        return changes

    def _with_parts(self, entity: Entity, changes: dict[str, Any]) -> Entity:
        for name in entity_properties(type(entity)):
            value = getattr(entity, name)
            if value is None:
                continue
            part = self._part(name, value)
            if part is not value:
                changes[name] = part
        if entity.extensions and "extensions" not in changes:
            cut_times = self._precision != "second" and self._is_of_person(entity)
            changes["extensions"] = self._value(entity.extensions, cut_times=cut_times) or None
        return replace(entity, **changes) if changes else entity

    def _part(self, name: str, value: Any) -> Any:  # noqa: ANN401 - whatever a property holds
        if isinstance(value, Entity):
            return self.entity(value)
        if isinstance(value, str):
            return self._reference(name, value)
        parts = [self._part(name, part) for part in value]
        return [part for part in parts if part is not None] or None


class PseudonymousForm(PrivateForm):
    """Entities with keyed ids, where their own ids lead to a person.

    Args:
        iris: makes keyed ids.
        precision: of the times in entities that belong to a person.
    """

    def __init__(self, iris: KeyedIris, precision: TimePrecision) -> None:
        super().__init__(iris, precision)
        self._sent: Callable[[str], str] = lru_cache(_LARGEST_CACHE)(
            lambda iri: iri if self._keeps(iri) else iris.pseudonym(iri)
        )

    def _keeps(self, iri: str) -> bool:
        # Those are keyed already: sessions, searches, ratings.
        return iri.startswith("urn:uuid:") or self._is_institutional(iri)

    def entity(self, entity: Entity) -> Entity:
        """An entity as it is sent; of a person only the id."""
        if isinstance(entity, Person):
            return Person(id=self._sent(entity.id))
        return super().entity(entity)

    def _reference(self, name: str, iri: str) -> str | None:
        return self._sent(iri)

    def _changes_of_own(self, entity: Entity) -> dict[str, Any]:
        changes = super()._changes_of_own(entity)
        iri = self._sent(entity.id)
        if iri != entity.id:
            changes["id"] = iri
            if entity.otherIdentifiers is not None:
                changes["otherIdentifiers"] = None
        return changes


class AnonymousForm(PrivateForm):
    """Entities in Caliper's anonymous form, where they are a person or belong to one.

    It is that of anonymous rows (:func:`anonymous_form`).
    """

    def entity(self, entity: Entity) -> Entity:
        """An entity as it is sent."""
        if isinstance(entity, Person):
            return ANONYMOUS_PERSON
        if not self._is_of_person(entity):
            return super().entity(entity)
        if isinstance(entity, Organization | SoftwareApplication):
            return type(entity)(id=f"{TERM}{type(entity).__name__}")
        return self._with_parts(anonymous_form(entity), {})

    def _value(self, value: Any, *, cut_times: bool) -> Any:  # noqa: ANN401
        if isinstance(value, Entity) and self._is_of_person(value):
            return None
        return super()._value(value, cut_times=cut_times)

    def _part(self, name: str, value: Any) -> Any:  # noqa: ANN401 - whatever a property holds
        if name == "members":
            return None
        return super()._part(name, value)

    def _reference(self, name: str, iri: str) -> str | None:
        return iri if self._is_institutional(iri) else _REFERENCES.get(name)


def private_form(iris: Iris, profile: Profile, precision: TimePrecision) -> PrivateForm | None:
    """The form of entities under a profile; None if they are sent as they are."""
    if profile.anonymous:
        return AnonymousForm(iris, precision)
    if profile.keyed:
        return PseudonymousForm(cast("KeyedIris", iris), precision)
    return None if precision == "second" else PrivateForm(iris, precision)


@cache
def _times(cls: type[Entity]) -> tuple[str, ...]:
    """The properties of an entity type that hold times."""
    kinds = vocabulary.properties(cls.__name__)
    return tuple(name for name in cls.__struct_fields__ if kinds.get(name) == "dt")
