"""Anonymous forms of the entities of anonymous rows (1.2 Anonymous Entities).

Whoever can read Moodle's tables finds the actor of an anonymous row by the id of one record that
the actor owns: an attempt, a response, a document. So in these rows such an entity has the id of
its type and keeps only what leads to no record.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from caliper_dagster.caliper.entities import (
    Annotation,
    Attempt,
    Comment,
    Entity,
    Frame,
    Membership,
    Message,
    Organization,
    Person,
    Rating,
    Response,
    Result,
    Score,
    SoftwareApplication,
)
from caliper_dagster.caliper.vocabulary import TERM
from caliper_dagster.translator.derived import DerivedEvent
from caliper_dagster.translator.entities.registry import Render
from caliper_dagster.translator.identity import ANONYMOUS_PERSON

PERSONAL_TYPES = (
    Annotation, Attempt, Comment, Frame, Membership, Message, Person, Rating, Response, Result,
    Score,
)  # fmt: skip
"""Types of which each entity belongs to one person, wherever it stands. A Frame is a page of an
attempt."""

_KEPT = (
    "assignable", "assignee", "attempt", "maxResultScore", "maxScore", "organization",
    "resultScore", "roles", "scoreGiven", "selections", "status", "value", "values",
)  # fmt: skip
_REFERENCES = {"attempt": f"{TERM}Attempt", "assignee": f"{TERM}Person"}
_PAGE = re.compile(r".*/(mod/[a-z0-9_]+|course)/view\.php\?id=[0-9]+(#page)?")


def anonymous_form(entity: Entity) -> Entity:
    """The entity without its id and all that leads to its record."""
    if isinstance(entity, Person):
        return ANONYMOUS_PERSON
    if isinstance(entity, Organization | SoftwareApplication):
        return entity
    cls = type(entity)
    kept: dict[str, Any] = {}
    for name in _kept_of(cls):
        value = getattr(entity, name)
        if value is not None:
            kept[name] = _kept(name, value)
    whole = getattr(entity, "isPartOf", None)
    address = whole.id if isinstance(whole, Entity) and whole == type(whole)(id=whole.id) else whole
    if isinstance(address, str) and _PAGE.fullmatch(address):
        kept["isPartOf"] = whole
    return cls(id=f"{TERM}{cls.__name__}", **kept)


@cache
def _kept_of(cls: type[Entity]) -> tuple[str, ...]:
    """The properties of an entity type that its anonymous form keeps."""
    return tuple(name for name in cls.__struct_fields__ if name in _KEPT)


def _kept(name: str, value: Any) -> Any:  # noqa: ANN401 - whatever a property holds
    if isinstance(value, PERSONAL_TYPES):
        return anonymous_form(value)
    if isinstance(value, str) and name in _REFERENCES:
        return _REFERENCES[name]
    return value


def anonymised(function: Callable[..., Entity | None]) -> Callable[..., Entity | None]:
    """An entity function whose entities are all in their anonymous form."""

    def made(render: Render, *values: object) -> Entity | None:
        entity = function(render, *values)
        return None if entity is None else anonymous_form(entity)

    return made


def anonymous_event(event: DerivedEvent) -> DerivedEvent:
    """A derived event of an anonymous row: what belongs to a person is anonymous."""
    return replace(
        event,
        object=_personal_form(event.object),
        generated=event.generated and _personal_form(event.generated),
        target=event.target and _personal_form(event.target),
    )


def _personal_form(entity: Entity) -> Entity:
    return anonymous_form(entity) if isinstance(entity, PERSONAL_TYPES) else entity
