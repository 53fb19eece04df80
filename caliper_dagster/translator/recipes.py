"""Recipes: which Caliper event a Moodle event becomes, as data.

The recipes are the YAML files in ``recipes/``; ``docs/recipes.md`` explains their keys. A row finds
its recipe by the exact event name, else by the first family that matches, else by the fallback,
which needs only columns of the row: every row has one. Recipes are checked when they are loaded,
against the vocabulary and the registered functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.ruleset import is_iri
from caliper_dagster.caliper.versions import NEWEST, V1P1
from caliper_dagster.core.errors import RecipeError
from caliper_dagster.core.yaml_limits import load_limited
from caliper_dagster.translator.conditions import CONDITIONS
from caliper_dagster.translator.derived import DERIVED_EVENTS
from caliper_dagster.translator.entities import ENTITY_FUNCTIONS
from caliper_dagster.translator.entities.generic import PATH_COLUMNS, is_resource
from caliper_dagster.translator.event_data_filter import is_never_sent
from caliper_dagster.translator.extensions import EXTENSION_FUNCTIONS
from caliper_dagster.translator.identity import Iris

EVENT_NAME = re.compile(r"\\[a-z][a-z0-9_]*\\event\\[a-z][a-z0-9_]*")
_FAMILY = re.compile(r"\*[a-z0-9_\\]*")
_FALLBACK_FILE = "fallback.yaml"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MODULE_LEVEL = 70
_RECORDS = frozenset({"object", "module"})
_LONGEST_SHOWN = 60
_LONGEST_LINE = 200

Actor = Literal["user", "learner", "grader", "user_or_site", "site"]
Resolution = Literal["exact", "family", "fallback", "user"]


def _quoted(value: str) -> str:
    """A value of a file as a sentence shows it: on one line, and not all of a long one."""
    return repr(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…")


def _on_one_line(text: str) -> str:
    """A key of a file, or a sentence about it, without what a terminal would take for a command."""
    printable = "".join(letter for letter in text if letter.isprintable())
    return printable if len(printable) <= _LONGEST_LINE else f"{printable[:_LONGEST_LINE]}…"


class PathEntity(BaseModel):
    """An entity that has only a type and a path below the site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    path: str

    @field_validator("type")
    @classmethod
    def _check_type(cls, value: str) -> str:
        if value not in vocabulary.ENTITY_TYPES:
            raise ValueError(f"{_quoted(value)} is no entity type of Caliper")
        return value

    @field_validator("path")
    @classmethod
    def _check_placeholders(cls, value: str) -> str:
        columns = [column for column in PATH_COLUMNS if column not in _RECORDS]
        for name in Iris.placeholders(value):
            column, _, key = name.partition(".")
            shown = _on_one_line(f"{{{name}}}")
            if column == "other" and is_never_sent(key):
                raise ValueError(f"{shown} may hold a secret and is never sent")
            if name not in columns and not (column == "other" and key):
                allowed = ", ".join(f"{{{column}}}" for column in (*columns, "other.KEY"))
                raise ValueError(f"there is no {shown}; there are {allowed}")
        if not is_iri(f"https://host/{Iris.filled(value, '1')}"):
            raise ValueError(f"{_quoted(value)} cannot be a part of an address")
        return value


EntitySource = str | PathEntity

_FORMER_WHEN = ("unless",)
_FORMER_ENTITIES = {
    "page": "fallback_page",
    "part": "fallback_object",
    "part_attempt": "fallback_attempt",
}
"""Former names, which recipe files of sites may still use."""


class _VariantSource(BaseModel):
    """The keys that a recipe and its ``when`` variants share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_type: Annotated[str, Field(alias="type")]
    action: str | None = None
    object_: Annotated[EntitySource, Field(alias="object")]
    target: EntitySource | None = None
    generated: EntitySource | None = None

    @field_validator("object_", "target", "generated")
    @classmethod
    def _check_entity(cls, value: EntitySource | None) -> EntitySource | None:
        if isinstance(value, str):
            value = _FORMER_ENTITIES.get(value, value)
        if isinstance(value, str) and value not in ENTITY_FUNCTIONS:
            names = ", ".join(sorted(ENTITY_FUNCTIONS))
            raise ValueError(f"there is no entity {_quoted(value)}; there are {names}")
        return value

    @field_validator("event_type")
    @classmethod
    def _check_event_type(cls, value: str) -> str:
        if value not in vocabulary.EVENT_TYPES:
            raise ValueError(f"{_quoted(value)} is no event type of Caliper")
        return value

    @field_validator("action")
    @classmethod
    def _check_action(cls, value: str | None) -> str | None:
        if value is not None and value not in vocabulary.ACTIONS:
            raise ValueError(f"{_quoted(value)} is no action of Caliper")
        return value

    def check_legality(self, action: str) -> None:
        """Check that the event type has this action, and this object if its type is given.

        Raises:
            ValueError: it has not.
        """
        actions = vocabulary.EVENT_TYPES[self.event_type].actions
        if actions is not None and action not in actions:
            raise ValueError(f"{self.event_type} has no action {action}")
        if isinstance(self.object_, PathEntity):
            problem = vocabulary.illegal(self.event_type, action, self.object_.type, NEWEST)
            if problem:
                raise ValueError(problem)


_FUNCTIONS: dict[str, Mapping[str, object]] = {
    "when": CONDITIONS,
    "extensions": EXTENSION_FUNCTIONS,
    "derived": DERIVED_EVENTS,
}


class _RecipeSource(_VariantSource):
    """A recipe as it is written in YAML."""

    events: Annotated[list[str], Field(min_length=1)]
    pattern: str
    actor: Actor = "user"
    action_1_1: str | None = None
    session: Literal["holds", "ends"] = "holds"
    other: list[str] = []
    extensions: list[str] = []
    derived: list[str] = []
    when: Annotated[
        dict[str, _VariantSource], Field(validation_alias=AliasChoices("when", *_FORMER_WHEN))
    ] = {}

    @field_validator("events")
    @classmethod
    def _check_names(cls, value: list[str]) -> list[str]:
        for name in value:
            if not EVENT_NAME.fullmatch(name) and not _FAMILY.fullmatch(name):
                raise ValueError(
                    rf"{_quoted(name)} is no event name such as \mod_quiz\event\attempt_started, "
                    "nor the end of one after a *"
                )
        return value

    @field_validator("action_1_1")
    @classmethod
    def _check_older_action(cls, value: str | None) -> str | None:
        if value is not None and not vocabulary.has_action(value, V1P1):
            raise ValueError(f"{_quoted(value)} is no action of Caliper 1.1")
        return value

    @field_validator("when", "extensions", "derived")
    @classmethod
    def _check_functions(cls, value: Any, info: Any) -> Any:  # noqa: ANN401 - list or dict
        functions = _FUNCTIONS[info.field_name]
        for name in value:
            if name not in functions:
                names = ", ".join(sorted(functions))
                raise ValueError(f"there is no {_quoted(name)}; there are {names}")
        return value


@dataclass(frozen=True, slots=True)
class Recipe:
    """The Caliper event that a Moodle event becomes.

    Attributes:
        pattern: pattern of the mapping, such as ``P13``.
        event_type: Caliper 1.2 event type.
        action: Caliper 1.2 action.
        actor: ``user``, the acting user; ``learner``, the related user, whoever triggered the
            event; ``grader``, the user, or the site if the grade is automatic; ``user_or_site``,
            the site if no user acted; ``site``.
        object: entity function, or type and path.
        target: the same, or None.
        generated: the same, or None.
        action_1_1: action in Caliper 1.1, if it differs from the general rule.
        ends_session: whether the row ends its session.
        other: keys of ``other`` that may be sent although they hold text.
        extensions: further extensions, by name.
        derived: further events that the row gives, by name.
        when: conditions, each with the recipe that replaces this one if the condition holds.
        resolution: how rows find it.
        source: its file.
    """

    pattern: str
    event_type: str
    action: str
    object: EntitySource
    actor: Actor = "user"
    target: EntitySource | None = None
    generated: EntitySource | None = None
    action_1_1: str | None = None
    ends_session: bool = False
    other: frozenset[str] = frozenset()
    extensions: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    when: tuple[tuple[str, Recipe], ...] = ()
    resolution: Resolution = "exact"
    source: str = ""


@dataclass(frozen=True)
class Recipes:
    """All recipes, and the search for the recipe of a row.

    Attributes:
        exact: recipes by event name.
        families: ends of event names after a ``*`` with their recipes, first match first.
    """

    exact: Mapping[str, Recipe]
    families: tuple[tuple[str, Recipe], ...] = ()
    _cache: dict[tuple[Any, ...], Recipe] = field(default_factory=dict, repr=False)

    def find(
        self,
        event_name: str,
        crud: str | None = None,
        objecttable: str | None = None,
        contextlevel: int | None = None,
    ) -> Recipe:
        """The recipe of a row; there always is one."""
        exact = self.exact.get(event_name)
        if exact is not None:
            return exact
        key = (event_name, crud, objecttable, contextlevel)
        if key not in self._cache:
            recipe = self._family(event_name, contextlevel) or _fallback(*key)
            self._cache[key] = _about_table(recipe, objecttable, contextlevel)
        return self._cache[key]

    def _family(self, event_name: str, contextlevel: int | None) -> Recipe | None:
        return next(
            (
                _for_name(recipe, event_name)
                for pattern, recipe in self.families
                if fnmatchcase(event_name, pattern) and _applies(recipe, contextlevel)
            ),
            None,
        )

    def with_user_recipes(self, files: Iterable[tuple[str, str]]) -> Recipes:
        """These recipes, overridden and extended by those of a site.

        Args:
            files: names and texts of recipe files; if two name the same event, the later one wins.

        Raises:
            RecipeError: see :func:`read_recipes`.
        """
        exact, families = dict(self.exact), list(self.families)
        user_families: list[tuple[str, Recipe]] = []
        for name, text in files:
            for event, recipe in read_recipes(name, text, resolution="user"):
                if event.startswith("*"):
                    user_families.append((event, recipe))
                else:
                    exact[event] = recipe
        # A family of the site also precedes the exact recipes that it matches.
        for event, recipe in user_families:
            for known in [known for known in exact if fnmatchcase(known, event)]:
                if exact[known].resolution != "user":
                    exact[known] = _for_name(recipe, known)
        return Recipes(exact, (*user_families, *families))

    def event_data_keys(self) -> frozenset[str]:
        """The keys of ``other`` that paths name, or whose text may be sent."""
        found: set[str] = set()
        recipes = [*self.exact.values(), *(recipe for _, recipe in self.families)]
        while recipes:
            recipe = recipes.pop()
            recipes.extend(variant for _, variant in recipe.when)
            found |= recipe.other
            for entity in (recipe.object, recipe.target, recipe.generated):
                if isinstance(entity, PathEntity):
                    names = Iris.placeholders(entity.path)
                    found.update(name[6:] for name in names if name.startswith("other."))
        return frozenset(found)


def _applies(recipe: Recipe, contextlevel: int | None) -> bool:
    """Whether a family applies to a row: one about activities needs the context of a module."""
    about_activity = recipe.resolution == "family" and recipe.object in {
        "activity",
        "fallback_attempt",
    }
    return not about_activity or contextlevel in {None, _MODULE_LEVEL}


def _for_name(recipe: Recipe, event_name: str) -> Recipe:
    """A family's recipe for one event; without an action, that of the verb."""
    return replace(
        recipe,
        action=recipe.action or action_of(event_name, None),
        when=tuple((name, _for_name(variant, event_name)) for name, variant in recipe.when),
    )


@cache
def load_recipes() -> Recipes:
    """The recipes that the package ships.

    Raises:
        RecipeError: a recipe is invalid, or two recipes name the same event.
    """
    exact: dict[str, Recipe] = {}
    families: list[tuple[str, Recipe]] = []
    folder = resources.files("caliper_dagster.translator") / "recipes"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".yaml") or file.name == _FALLBACK_FILE:
            continue
        for event, recipe in read_recipes(file.name, file.read_text(encoding="utf-8")):
            if event.startswith("*"):
                families.append((event, replace(recipe, resolution="family")))
                continue
            if event in exact:
                raise RecipeError(f"{file.name}: there are two recipes for {event}.")
            exact[event] = recipe
    return Recipes(exact, tuple(families))


def read_recipes(
    name: str, text: str, resolution: Resolution = "exact"
) -> Iterator[tuple[str, Recipe]]:
    """Read recipes from YAML.

    Args:
        name: name of the file, for errors.
        text: a list of recipes.
        resolution: how rows find them.

    Yields:
        Event name, or the end of one after ``*``, with its recipe.

    Raises:
        RecipeError: the text is not YAML, or a recipe is invalid; it names file, line and reason.
    """
    try:
        content, document = load_limited(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = _on_one_line(getattr(error, "problem", None) or "it cannot be read")
        raise RecipeError(f"{name}{line}: this is no YAML: {what}.") from None
    sources = content or []
    if not isinstance(sources, list):
        raise RecipeError(f"{name}, line 1: there must be a list of recipes.")
    nodes = document.value if document is not None and sources else []
    lines = [node.start_mark.line + 1 for node in nodes]
    for line, source in zip(lines, sources, strict=True):
        try:
            checked = _RecipeSource.model_validate(source)
        except ValidationError as error:
            raise RecipeError(f"{name}, line {line}: {_first_problem(error)}.") from None
        try:
            yield from _recipes(checked, resolution, name)
        except ValueError as error:
            raise RecipeError(f"{name}, line {line}: {error}.") from None


def schema() -> dict[str, Any]:
    """The JSON Schema of a recipe file, for editors. Loading checks more than it states."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Recipes of caliper_dagster",
        **TypeAdapter(list[_RecipeSource]).json_schema(),
    }


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    # An entity is a name or a map, and pydantic reports both: the error of the map is useful.
    problem = next((each for each in problems if each["loc"][-1:] != ("str",)), problems[0])
    parts = (str(part) for part in problem["loc"] if part not in {"str", "PathEntity"})
    where = ".".join(map(_on_one_line, parts))
    what = problem["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{where}: {what[:1].lower()}{what[1:]}" if where else what


def _recipes(
    source: _RecipeSource, resolution: Resolution, file: str
) -> Iterator[tuple[str, Recipe]]:
    for event_name in source.events:
        shared: dict[str, Any] = {
            "pattern": source.pattern,
            "actor": source.actor,
            "action_1_1": source.action_1_1,
            "ends_session": source.session == "ends",
            "other": frozenset(source.other),
            "extensions": tuple(source.extensions),
            "derived": tuple(source.derived),
            "resolution": resolution,
            "source": file,
        }
        when = tuple(
            (condition, Recipe(**shared, **_event_fields(variant, event_name)))
            for condition, variant in source.when.items()
        )
        yield event_name, Recipe(**shared, **_event_fields(source, event_name), when=when)


def _event_fields(shape: _VariantSource, event_name: str) -> dict[str, Any]:
    action = shape.action or ("" if event_name.startswith("*") else action_of(event_name, None))
    if action:
        shape.check_legality(action)
    return {
        "event_type": shape.event_type,
        "action": action,
        "object": shape.object_,
        "target": shape.target,
        "generated": shape.generated,
    }


class _FallbackSource(BaseModel):
    """The file of the fallback."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verbs: dict[str, list[str]]
    crud: dict[str, str]
    otherwise: str
    objects: dict[str, EntitySource]


@cache
def _fallback_source() -> _FallbackSource:
    folder = resources.files("caliper_dagster.translator") / "recipes"
    text = (folder / _FALLBACK_FILE).read_text(encoding="utf-8")
    # S506: the loader is the safe one, in C.
    return _FallbackSource.model_validate(yaml.load(text, Loader=_Loader))  # noqa: S506


def entities_of_tables() -> Mapping[str, EntitySource]:
    """The entity that the records of a table are, by table."""
    return _fallback_source().objects


@cache
def _actions_by_word() -> tuple[dict[str, str], dict[str, str], str]:
    """Actions by verb, actions by crud, and the action for all other events."""
    source = _fallback_source()
    verbs = {verb: action for action, verbs in source.verbs.items() for verb in verbs}
    return verbs, source.crud, source.otherwise


def action_of(event_name: str, crud: str | None) -> str:
    """The action by the last word of an event name, else by ``crud``."""
    verbs, by_crud, otherwise = _actions_by_word()
    verb = re.split(r"[_\\]", event_name)[-1]
    return verbs.get(verb) or by_crud.get(crud or "") or otherwise


def _fallback(
    event_name: str, crud: str | None, objecttable: str | None, contextlevel: int | None
) -> Recipe:
    """The recipe of an event without recipe or family; it needs only columns of the row."""
    action = action_of(event_name, crud)
    event_type, source = "Event", "fallback_object"
    if action == "Viewed" and contextlevel == _MODULE_LEVEL:
        event_type = "ViewEvent"
    elif action == "Viewed":
        event_type, action, source = "NavigationEvent", "NavigatedTo", "fallback_page"
    elif action == "Searched":
        event_type, source = "SearchEvent", "site"
    elif action in (vocabulary.EVENT_TYPES["ResourceManagementEvent"].actions or ()) and (
        is_resource(objecttable)
    ):
        event_type = "ResourceManagementEvent"
    return Recipe(
        "P99",
        event_type,
        action,
        source,
        # Nobody grades himself.
        actor="grader" if action == "Graded" else "user",
        resolution="fallback",
        source=_FALLBACK_FILE,
    )


_GENERAL_ENTITIES = ("fallback_object", "fallback_attempt")


def _about_table(recipe: Recipe, objecttable: str | None, contextlevel: int | None) -> Recipe:
    """A recipe whose object is the entity of the row's table, where the table has one."""
    own = entities_of_tables().get(objecttable or "")
    if own is None or (_needs_module(own) and contextlevel != _MODULE_LEVEL):
        return recipe
    if recipe.generated == "fallback_attempt" and _types(own) == {"Attempt"}:
        return replace(recipe, generated=own)
    # A record that an event makes is not what the event is about.
    is_general = recipe.object in _GENERAL_ENTITIES and recipe.generated is None
    is_page = recipe.object == "fallback_page" and recipe.resolution == "fallback"
    if not is_general and not is_page:
        return recipe
    is_legal = not any(
        vocabulary.illegal(recipe.event_type, recipe.action, name, NEWEST) for name in _types(own)
    )
    if is_page:
        return replace(recipe, object=own) if is_legal else recipe
    return replace(recipe, object=own, event_type=recipe.event_type if is_legal else "Event")


def _needs_module(entity: EntitySource) -> bool:
    if isinstance(entity, str):
        return "cmid" in ENTITY_FUNCTIONS[entity].columns
    return "cmid" in Iris.placeholders(entity.path)


def _types(entity: EntitySource) -> set[str]:
    """The types that an entity may have."""
    if not isinstance(entity, str):
        return {entity.type}
    told = ENTITY_FUNCTIONS[entity].function.__annotations__["return"]
    return {name.strip() for name in told.split("|")} - {"None"}
