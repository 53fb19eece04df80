"""Recipes: which Caliper event a Moodle event becomes, as data.

The recipes are the YAML files in ``recipes/``; ``docs/recipes.md`` explains their keys. They are
checked when they are loaded, against the vocabulary and the entity functions that they name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from caliper_dagster.errors import RecipeError
from caliper_dagster.translator import conditions, vocabulary
from caliper_dagster.translator.entities import ENTITY_FUNCTIONS
from caliper_dagster.translator.extensions import EXTENSION_FUNCTIONS, NEVER
from caliper_dagster.translator.identity import PATH_COLUMNS, Iris

EVENT_NAME = re.compile(r"\\[a-z][a-z0-9_]*\\event\\[a-z][a-z0-9_]*")

Actor = Literal["user", "learner", "grader"]


class PathEntity(BaseModel):
    """An entity that is no more than a type and a path below the site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    path: str

    @field_validator("path")
    @classmethod
    def _check_placeholders(cls, value: str) -> str:
        for name in Iris.placeholders(value):
            column, _, key = name.partition(".")
            if column == "other" and key.lower() in NEVER:
                raise ValueError(f"{{{name}}} may hold a secret and never leaves")
            if name not in PATH_COLUMNS and not (column == "other" and key):
                known = ", ".join(f"{{{column}}}" for column in (*PATH_COLUMNS, "other.KEY"))
                raise ValueError(f"there is no {{{name}}}; there are {known}")
        return value


def _known_entity(value: Any) -> Any:  # noqa: ANN401 - before validation
    if isinstance(value, str) and value not in ENTITY_FUNCTIONS:
        raise ValueError(f"there is no entity {value!r}; there are {', '.join(ENTITY_FUNCTIONS)}")
    if isinstance(value, dict) and str(value.get("type")) not in vocabulary.ENTITY_TYPES:
        raise ValueError(f"{value.get('type')!r} is no entity type of Caliper")
    return value


EntitySource = str | PathEntity


class _Shape(BaseModel):
    """What a recipe and its ``unless`` variants share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_type: Annotated[str, Field(alias="type")]
    action: str
    object_: Annotated[EntitySource, Field(alias="object")]
    target: EntitySource | None = None
    generated: EntitySource | None = None

    @field_validator("object_", "target", "generated", mode="before")
    @classmethod
    def _check_entity(cls, value: Any) -> Any:  # noqa: ANN401 - before validation
        return _known_entity(value)

    @field_validator("event_type")
    @classmethod
    def _check_event_type(cls, value: str) -> str:
        if value not in vocabulary.EVENT_TYPES:
            raise ValueError(f"{value!r} is no event type of Caliper")
        return value

    @field_validator("action")
    @classmethod
    def _check_action(cls, value: str) -> str:
        if value not in vocabulary.ACTIONS["v1p2"]:
            raise ValueError(f"{value!r} is no action of Caliper")
        return value

    @model_validator(mode="after")
    def _check_legality(self) -> Self:
        actions = vocabulary.EVENT_TYPES[self.event_type].actions
        if actions is not None and self.action not in actions:
            raise ValueError(f"{self.event_type} has no action {self.action}")
        if isinstance(self.object_, PathEntity):
            wrong = vocabulary.illegal(self.event_type, self.action, self.object_.type, "v1p2")
            if wrong:
                raise ValueError(wrong)
        return self


class _Variant(_Shape):
    """Another shape, for rows on which a condition holds."""


class _Source(_Shape):
    """A recipe as written."""

    events: Annotated[list[str], Field(min_length=1)]
    pattern: str
    actor: Actor = "user"
    session: Literal["holds", "ends"] = "holds"
    other: list[str] = []
    extensions: list[str] = []
    unless: dict[str, _Variant] = {}

    @field_validator("events")
    @classmethod
    def _check_names(cls, value: list[str]) -> list[str]:
        for name in value:
            if not EVENT_NAME.fullmatch(name):
                raise ValueError(
                    rf"{name!r} is no event name such as \mod_quiz\event\attempt_started"
                )
        return value

    @field_validator("unless")
    @classmethod
    def _check_conditions(cls, value: dict[str, _Variant]) -> dict[str, _Variant]:
        for name in value:
            if name not in conditions.CONDITIONS:
                raise ValueError(f"there is no condition {name!r}")
        return value

    @field_validator("extensions")
    @classmethod
    def _check_extensions(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in EXTENSION_FUNCTIONS:
                raise ValueError(f"there is no extension {name!r}")
        return value


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which event a Moodle event becomes.

    Attributes:
        event_name: class name of the Moodle event.
        name: what the recipe is called in results: its pattern.
        event_type: Caliper 1.2 event type.
        action: Caliper 1.2 action.
        actor: ``user`` who did it, ``learner`` (the related user, whoever triggered it), or
            ``grader`` (the site when the grade is automatic).
        object: entity function, or type and path.
        target: likewise, or None.
        generated: likewise, or None.
        ends_session: whether the row ends its session.
        other: keys of ``other`` that may be sent although they hold text.
        extensions: further extensions, by name.
        unless: conditions with the recipe that replaces this one where they hold.
    """

    event_name: str
    name: str
    event_type: str
    action: str
    actor: Actor
    object: EntitySource
    target: EntitySource | None
    generated: EntitySource | None
    ends_session: bool = False
    other: frozenset[str] = frozenset()
    extensions: tuple[str, ...] = ()
    unless: tuple[tuple[str, Recipe], ...] = ()


def load_recipes() -> dict[str, Recipe]:
    """The recipes that the package ships, by event name.

    Raises:
        RecipeError: one of them is wrong, or two are for one event.
    """
    folder = resources.files("caliper_dagster.translator") / "recipes"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda f: f.name
    )
    recipes: dict[str, Recipe] = {}
    for file in files:
        for recipe in read_recipes(file.name, file.read_text(encoding="utf-8")):
            if recipe.event_name in recipes:
                raise RecipeError(f"{file.name}: there are two recipes for {recipe.event_name}.")
            recipes[recipe.event_name] = recipe
    return recipes


def read_recipes(name: str, text: str) -> Iterator[Recipe]:
    """Read recipes from YAML.

    Args:
        name: name of the file, for errors.
        text: a list of recipes.

    Raises:
        RecipeError: the text is not YAML, or a recipe is wrong; it names the file and the recipe.
    """
    try:
        sources = yaml.safe_load(text) or []
    except yaml.YAMLError as error:
        raise RecipeError(f"{name} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(sources, list):
        raise RecipeError(f"{name} must be a list of recipes.")
    for number, source in enumerate(sources, start=1):
        try:
            yield from _recipes(_Source.model_validate(source))
        except ValidationError as error:
            raise RecipeError(
                f"{name}: recipe {number}{_event(source)} is wrong: {_first(error)}"
            ) from None


def _first(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    # An entity is a name or a map, and both are complained about: the map says what is wrong.
    problem = next((each for each in problems if each["loc"][-1:] != ("str",)), problems[0])
    where = ".".join(str(part) for part in problem["loc"] if part not in {"str", "PathEntity"})
    what = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def _event(source: object) -> str:
    events = source.get("events") if isinstance(source, dict) else None
    return f" ({events[0]})" if isinstance(events, list) and events else ""


def _recipes(source: _Source) -> Iterable[Recipe]:
    for event_name in source.events:
        shared: dict[str, Any] = {
            "event_name": event_name,
            "name": source.pattern,
            "actor": source.actor,
            "ends_session": source.session == "ends",
            "other": frozenset(source.other),
            "extensions": tuple(source.extensions),
        }
        unless = tuple(
            (condition, Recipe(**shared, **_shape(variant)))
            for condition, variant in source.unless.items()
        )
        yield Recipe(**shared, **_shape(source), unless=unless)


def _shape(shape: _Shape) -> dict[str, Any]:
    return {
        "event_type": shape.event_type,
        "action": shape.action,
        "object": shape.object_,
        "target": shape.target,
        "generated": shape.generated,
    }
