"""Expanded rows → Caliper events, column by column.

Every slot of an event (actor, object, generated, …) is a column of JSON fragments, each rendered
once for what is distinct; the events are those columns joined. Nothing here happens per row in
Python but the event id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG, RECORD
from caliper_dagster.translator import conditions, entities, extensions, vocabulary
from caliper_dagster.translator.actors import APPLICATION, USER_IDS, Actors
from caliper_dagster.translator.entities import PersonOptions, Render
from caliper_dagster.translator.identity import ANONYMOUS_PERSON, PATH_COLUMNS, Iris
from caliper_dagster.translator.recipes import EntitySource, PathEntity, Recipe, load_recipes
from caliper_dagster.translator.rendering import finish
from caliper_dagster.translator.rows import (
    NOTHING,
    Flags,
    Fragments,
    Indices,
    Rows,
    dump,
    parameters,
)
from caliper_dagster.translator.vocabulary import Version

NO_RECIPE = "no recipe"

_RECORDS = frozenset(
    column.name
    for column in EXPANDED_LOG.columns
    if column.type == RECORD and column.name not in MOODLE_LOG.schema.names
) | {"other"}
_ASSIGNED = frozenset({"quiz_attempt", "quiz_result", "submission", "graded_submission"})
"""Entities that name the related user as assignee."""

_GRADES = frozenset({"quiz_result", "assign_score"})
"""Entities that tell a grade, which may be another than it was then."""

_SLOTS = ("object", "generated", "target")


class Translator:
    """Makes Caliper events of one version for one site.

    Args:
        wwwroot: the site's address, base of all entity IRIs.
        version: Caliper version of the events.
        person_names: whether full names may be sent.
        person_identifiers: which ``otherIdentifiers`` of persons may be sent.
        ip_addresses: whether the address of a row may be sent.
        recipes: recipes by event name; those of the package when not given.
    """

    def __init__(
        self,
        wwwroot: str,
        *,
        version: Version = "v1p2",
        person_names: bool = False,
        person_identifiers: Sequence[str] = ("SystemId",),
        ip_addresses: bool = False,
        recipes: Mapping[str, Recipe] | None = None,
    ) -> None:
        self.version = version
        self.iris = Iris(wwwroot)
        self.render = Render(self.iris, PersonOptions(person_names, tuple(person_identifiers)))
        self.ip_addresses = ip_addresses
        self.recipes = load_recipes() if recipes is None else recipes

    def translate(self, expanded: pa.Table) -> pa.Table:
        """Make the events of ``EXPANDED_LOG`` rows.

        Returns:
            ``CALIPER_EVENTS`` in the order of the rows: for each row exactly one ``event``,
            ``filtered`` (with the rule) or ``failed`` (with what went wrong, without any value).
        """
        if not expanded.num_rows:
            return CALIPER_EVENTS.empty()
        return _Translation(self, expanded).table()


class _Translation:
    """One table on its way through the translator."""

    def __init__(self, translator: Translator, expanded: pa.Table) -> None:
        self._translator = translator
        self._render = translator.render
        self._expanded = expanded
        self._rows = Rows(expanded, _RECORDS)
        self._anonymous = self._rows.integers("anonymous") == 1
        self._rows.hide((*USER_IDS, "other"), self._anonymous)
        self._failures = np.zeros(expanded.num_rows, dtype=np.int64)
        self._reasons = [""]
        self._recipes: list[Recipe] = []
        self._recipe = self._resolve()
        self._actors = Actors.of(
            self._rows,
            self._where(lambda recipe: recipe.actor == "learner"),
            self._where(lambda recipe: recipe.actor == "grader"),
        )
        self._rows.derive("actor", self._actors.actor)

    # Recipes

    def _resolve(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The recipe of each row, -1 for none; conditions are applied."""
        codes, names = self._rows.column("eventname")
        numbers = []
        for name in names:
            recipe = self._translator.recipes.get(name)
            numbers.append(-1 if recipe is None else len(self._recipes))
            if recipe is not None:
                self._recipes.append(recipe)
        chosen = np.array(numbers, dtype=np.int64)[codes]
        for number, recipe in enumerate(list(self._recipes)):
            for name, variant in recipe.unless:
                rows = np.flatnonzero(chosen == number)
                condition = conditions.CONDITIONS[name]
                results, inverse = self._evaluate(
                    lambda _, *values, condition=condition: condition(*values),
                    parameters(condition),
                    rows,
                    name,
                )
                holds = np.array(results, dtype=bool)
                if len(rows) and holds.any():
                    chosen[rows[holds[inverse]]] = len(self._recipes)
                    self._recipes.append(variant)
        return chosen

    def _where(self, holds: Callable[[Recipe], bool]) -> Flags:
        flags: Flags = np.array([*map(holds, self._recipes), False])
        chosen: Flags = flags[self._recipe]
        return chosen

    # Rendering

    def _evaluate(
        self, function: Callable[..., Any], names: Sequence[str], rows: Indices, slot: str
    ) -> tuple[list[Any], Indices]:
        """Call a function once per distinct combination; what it raises fails the rows."""
        combinations, inverse = self._rows.distinct(names, rows)
        results = []
        for number, values in enumerate(combinations):
            try:
                results.append(function(self._render, *values))
            except Exception as error:
                results.append(None)
                self._fail(rows[inverse == number], slot, error)
        return results, inverse

    def _fail(self, rows: Indices, slot: str, error: Exception) -> None:
        what = str(error) if error.__class__.__module__.startswith("caliper") else ""
        reason = f"{slot}: {what or type(error).__name__}"
        if reason not in self._reasons:
            self._reasons.append(reason)
        self._failures[rows] = self._reasons.index(reason)

    def _entity(
        self, function: Callable[..., Any], names: Sequence[str], rows: Indices, slot: str
    ) -> tuple[list[str | None], list[str | None], Indices]:
        """Render an entity: JSON and type of each distinct one."""

        def finished(render: Render, *values: object) -> tuple[str, str] | None:
            entity = function(render, *values)
            if entity is None:
                return None
            final = finish(entity, self._translator.version)
            return dump(final), final["type"]

        results, inverse = self._evaluate(finished, names, rows, slot)
        texts = [result[0] if result else None for result in results]
        types = [result[1] if result else None for result in results]
        return texts, types, inverse

    def _place(
        self,
        fragments: Fragments,
        function: Callable[..., Any],
        names: Sequence[str],
        rows: Indices,
        slot: str,
    ) -> None:
        if len(rows):
            texts, _, inverse = self._entity(function, names, rows, slot)
            fragments.place(rows, texts, inverse)

    def _place_value(
        self,
        fragments: Fragments,
        function: Callable[..., Any],
        names: Sequence[str],
        rows: Indices,
        slot: str,
    ) -> None:
        """Like :meth:`_place`, for JSON that is no entity of its own."""

        def dumped(render: Render, *values: object) -> str | None:
            result = function(render, *values)
            return None if result is None else dump(result)

        if len(rows):
            texts, inverse = self._evaluate(dumped, names, rows, slot)
            fragments.place(rows, texts, inverse)

    # Slots

    def _slot(self, slot: str) -> tuple[Fragments, np.ndarray[Any, np.dtype[np.int64]], list[str]]:
        """The fragments of object, generated or target, and the type of each row's entity."""
        fragments = Fragments(self._rows.number)
        type_codes = np.zeros(self._rows.number, dtype=np.int64)
        type_names = [""]
        sources: dict[EntitySource, list[int]] = {}
        for number, recipe in enumerate(self._recipes):
            source: EntitySource | None = getattr(recipe, slot)
            if source is not None:
                sources.setdefault(source, []).append(number)
        for source, numbers in sources.items():
            rows = np.flatnonzero(np.isin(self._recipe, numbers))
            if not len(rows):
                continue
            function, names = self._function(source)
            texts, types, inverse = self._entity(function, names, rows, slot)
            fragments.place(rows, texts, inverse)
            for name in types:
                if name and name not in type_names:
                    type_names.append(name)
            codes = np.array([type_names.index(name) if name else 0 for name in types])
            type_codes[rows] = codes[inverse]
        return fragments, type_codes, type_names

    def _function(self, source: EntitySource) -> tuple[Callable[..., Any], Sequence[str]]:
        if not isinstance(source, PathEntity):
            found = entities.ENTITY_FUNCTIONS[source]
            return found.function, found.columns
        entity_type, path = source.type, source.path

        def from_path(render: Render, other: object, *values: object) -> entities.Entity:
            known = dict(zip(PATH_COLUMNS, values, strict=True))
            if isinstance(other, dict):
                known |= {f"other.{key}": value for key, value in other.items()}
            return {"id": render.iris.path(path, known), "type": entity_type}

        return from_path, ("other", *PATH_COLUMNS)

    def _actor(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        actor = self._actors.actor
        for name, rows in self._person_rows():
            self._place(
                fragments,
                lambda render, user, record: entities.person(render, record or {"id": user}),
                ("actor", name),
                rows,
                "actor",
            )
        for function, names, rows in (
            (entities.application, ("site",), actor == APPLICATION),
            (lambda _: ANONYMOUS_PERSON, (), actor == NOTHING),
        ):
            self._place(fragments, function, names, np.flatnonzero(rows), "actor")
        return fragments

    def _person_rows(self) -> list[tuple[str, Indices]]:
        """Where the record of the acting person is: column and rows."""
        left = self._actors.actor > 0
        found = []
        for name in ("user", "realuser", "relateduser"):
            rows = left & (self._rows.integers(f"{name}id") == self._actors.actor)
            left &= ~rows
            found.append((name, np.flatnonzero(rows)))
        return found

    def _group(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        rows = np.flatnonzero(self._rows.integers("courseid") > 1)
        self._place(fragments, entities.course_section, ("courseid", "course"), rows, "group")
        return fragments

    def _membership(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        for name, rows in self._person_rows():
            column = f"{name}_membership"
            known = rows[_has(self._rows, column, rows)]
            self._place(fragments, entities.membership, (column,), known, "membership")
        guests = np.flatnonzero(self._actors.guest)
        guests = guests[_has(self._rows, "user_membership", guests)]
        self._place(
            fragments, entities.guest_membership, ("user_membership",), guests, "membership"
        )
        return fragments

    def _session(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        ends = self._where(lambda recipe: recipe.ends_session)
        times = np.where(ends, self._rows.integers("timecreated"), NOTHING)
        self._rows.derive("session_end", times)
        rows = np.flatnonzero(self._actors.actor > 0)
        rows = rows[_has(self._rows, "session", rows)]
        self._place(
            fragments, entities.session, ("session", "actor", "session_end"), rows, "session"
        )
        return fragments

    # Extensions

    def _extensions(self, rows: Indices) -> pa.Array:
        """The whole ``extensions`` of some rows, with its key before it."""
        named = ~self._anonymous
        facts = self._raw_facts()
        parts: list[pa.Array | str] = [facts.array(rows, ',"extensions":{"moodle":{')]
        for key, column, shown in (
            ("logId", "id", named),
            ("contextId", "contextid", None),
            ("contextInstanceId", "contextinstanceid", None),
            ("objectId", "objectid", named),
        ):
            parts.append(self._integer_facts(key, column, rows, shown))
        parts.append(self._other().array(rows, ',"other":'))
        if self._translator.ip_addresses:
            ip = Fragments(self._rows.number)
            self._place_value(ip, lambda _, ip: ip, ("ip",), np.flatnonzero(named), "extensions")
            parts.append(ip.array(rows, ',"ip":'))
        parts.append("}")
        parts.extend(self._extras(rows))
        parts.append("}")
        return pc.binary_join_element_wise(*parts, "")

    def _other(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        for allowed in {recipe.other for recipe in self._recipes}:

            def kept(_: Render, other: object, allowed: frozenset[str] = allowed) -> object:
                return extensions.filtered_other(other, allowed)

            rows = np.flatnonzero(self._where(partial(_allows, allowed)))
            self._place_value(fragments, kept, ("other",), rows, "extensions")
        return fragments

    def _raw_facts(self) -> Fragments:
        keys = {
            "eventName": "eventname", "component": "component", "crud": "crud",
            "eduLevel": "edulevel", "contextLevel": "contextlevel", "origin": "origin",
            "objectTable": "objecttable",
        }  # fmt: skip

        def facts(_: Render, *values: object) -> str:
            known = {
                key: value
                for key, value in zip(keys, values, strict=True)
                if value is not None and value != ""
            }
            return dump(known)[1:-1]

        fragments = Fragments(self._rows.number)
        rows = np.flatnonzero(self._recipe >= 0)
        results, inverse = self._evaluate(facts, tuple(keys.values()), rows, "extensions")
        fragments.place(rows, results, inverse)
        return fragments

    def _integer_facts(self, key: str, column: str, rows: Indices, shown: Flags | None) -> pa.Array:
        values = self._rows.integers(column)[rows]
        missing = values == NOTHING
        if shown is not None:
            missing |= ~shown[rows]
        texts = pa.array(values, mask=missing).cast(pa.string())
        return pc.binary_join_element_wise(f',"{key}":', texts, "").fill_null("")

    def _extras(self, rows: Indices) -> list[pa.Array]:
        everything = np.flatnonzero(self._recipe >= 0)
        graded = np.flatnonzero(
            self._where(lambda recipe: recipe.object in _GRADES or recipe.generated in _GRADES)
        )
        self._rows.derive("trigger", self._actors.trigger)
        self._rows.derive("assignee", self._assignees())
        wanted: list[tuple[str, Callable[..., Any], Sequence[str], Indices]] = [
            ("actingAs", _person, ("userid",), np.flatnonzero(self._actors.acting_as)),
            ("runAs", _person, ("userid",), np.flatnonzero(self._actors.run_as)),
            (
                "triggeredBy",
                extensions.triggered_by,
                ("trigger",),
                np.flatnonzero(
                    (self._actors.actor != self._actors.trigger) & (self._actors.actor > 0)
                ),
            ),
            (
                "relatedUser",
                extensions.related_user,
                ("relateduserid", "actor", "assignee"),
                everything,
            ),
            ("asOf", lambda _, record: (record or {}).get("asof"), ("object",), graded),
            ("unresolved", lambda _, names: names, ("unresolved",), everything),
        ]
        for name, (key, function) in extensions.EXTENSION_FUNCTIONS.items():
            chosen = np.flatnonzero(self._where(partial(_asks_for, name)))
            wanted.append((key, function, parameters(function)[1:], chosen))
        arrays = []
        for key, function, names, where in wanted:
            fragments = Fragments(self._rows.number)
            self._place_value(fragments, function, names, where, "extensions")
            arrays.append(fragments.array(rows, f',"{key}":'))
        return arrays

    def _assignees(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The user whom the event's attempt belongs to, where it has one."""
        assigned = self._where(
            lambda recipe: recipe.object in _ASSIGNED or recipe.generated in _ASSIGNED
        )
        codes, records = self._rows.column("object")
        owners = np.array([_owner(record) for record in records], dtype=np.int64)
        related = np.where(self._anonymous, NOTHING, self._rows.integers("relateduserid"))
        owner = owners[codes]
        return np.where(assigned, np.where(owner == NOTHING, related, owner), NOTHING)

    # Assembly

    def table(self) -> pa.Table:
        """The finished table."""
        objects, type_codes, type_names = self._slot("object")
        slots = {
            "generated": self._slot("generated")[0],
            "target": self._slot("target")[0],
            "group": self._group(),
            "membership": self._membership(),
            "session": self._session(),
        }
        actor, ed_app = self._actor(), self._ed_app()
        heads, head_codes = self._heads(type_codes, type_names)
        translated = np.flatnonzero((self._recipe >= 0) & (self._failures == 0))
        with_extensions = self._extensions(translated)
        # Extensions may fail rows, too: leave those out now.
        kept = self._failures[translated] == 0
        translated, with_extensions = translated[kept], with_extensions.filter(pa.array(kept))
        ids = pa.array(
            self._translator.iris.events(
                self._rows.integers("id")[translated].tolist(),
                self._rows.integers("timecreated")[translated].tolist(),
            ),
            pa.string(),
        )
        codes = pa.array(head_codes[translated])
        context = vocabulary.CONTEXT[self._translator.version]
        json = pc.binary_join_element_wise(
            f'{{"@context":"{context}","id":"',
            ids,
            pa.array([head.opening for head in heads]).take(codes),
            actor.array(translated),
            pa.array([head.middle for head in heads]).take(codes),
            objects.array(translated),
            ',"eventTime":"',
            self._times(translated),
            '"',
            ed_app.array(translated, ',"edApp":'),
            *(slots[name].array(translated, f',"{name}":') for name in slots),
            with_extensions,
            "}",
            "",
        )
        return self._outcomes(translated, heads, head_codes, ids, json)

    def _times(self, rows: Indices) -> pa.Array:
        seconds = pa.array(self._rows.integers("timecreated")[rows]).cast(pa.timestamp("s"))
        return pc.strftime(seconds, "%Y-%m-%dT%H:%M:%S.000Z")

    def _ed_app(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        self._place(
            fragments, entities.application, ("site",), np.arange(self._rows.number), "edApp"
        )
        return fragments

    def _heads(
        self, type_codes: np.ndarray[Any, np.dtype[np.int64]], type_names: list[str]
    ) -> tuple[list[_Head], np.ndarray[Any, np.dtype[np.int64]]]:
        """Type, action and profile of each row, by recipe, type of the object and kind of actor."""
        application = self._actors.actor == APPLICATION
        keys = (self._recipe * len(type_names) + type_codes) * 2 + application
        heads, codes = [_Head.none()], np.zeros(self._rows.number, dtype=np.int64)
        rows = np.flatnonzero((self._recipe >= 0) & (self._failures == 0))
        distinct, inverse = np.unique(keys[rows], return_inverse=True)
        for number, key in enumerate(distinct):
            recipe = self._recipes[key // 2 // len(type_names)]
            object_type = type_names[key // 2 % len(type_names)]
            head = _Head.of(recipe, object_type, bool(key % 2), self._translator.version)
            if isinstance(head, str):
                self._fail(rows[inverse == number], "event", _IllegalEventError(head))
                head = _Head.none()
            codes[rows[inverse == number]] = len(heads)
            heads.append(head)
        return heads, codes

    def _outcomes(
        self,
        translated: Indices,
        heads: list[_Head],
        head_codes: np.ndarray[Any, np.dtype[np.int64]],
        ids: pa.Array,
        json: pa.Array,
    ) -> pa.Table:
        number = self._rows.number
        position = np.full(number, -1, dtype=np.int64)
        position[translated] = np.arange(len(translated))
        where = pa.array(position, mask=position < 0)
        outcome = np.full(number, 2, dtype=np.int64)
        outcome[self._recipe < 0] = 1
        outcome[translated] = 0
        reason = np.where(self._recipe < 0, len(self._reasons), self._failures)
        codes = np.where(position < 0, 0, head_codes)
        recipe_names = [recipe.name for recipe in self._recipes]
        return CALIPER_EVENTS.conform(
            pa.table(
                {
                    "log_id": self._expanded["id"],
                    "timecreated": self._expanded["timecreated"],
                    "event_name": self._expanded["eventname"],
                    "outcome": _repeated(["event", "filtered", "failed"], outcome),
                    "reason": _repeated([*self._reasons, NO_RECIPE], reason, position >= 0),
                    "recipe": _repeated([*recipe_names, ""], self._recipe, self._recipe < 0),
                    "event_id": ids.take(where),
                    "event_type": _repeated([h.event_type for h in heads], codes, position < 0),
                    "action": _repeated([h.action for h in heads], codes, position < 0),
                    "profile": _repeated([h.profile for h in heads], codes, position < 0),
                    "caliper_version": _repeated(
                        [self._translator.version], np.zeros(number, np.int64), position < 0
                    ),
                    "json": json.take(where),
                }
            )
        )


class _IllegalEventError(Exception):
    """The recipe's event is not legal with the object that it got."""


class _Head:
    """What precedes and follows the actor in an event: type, profile and action."""

    def __init__(self, event_type: str, action: str, profile: str, version: Version) -> None:
        self.event_type, self.action, self.profile = event_type, action, profile
        written = f',"profile":"{profile}"' if version == "v1p2" else ""
        self.opening = f'","type":"{event_type}"{written},"actor":'
        self.middle = f',"action":"{action}","object":'

    @classmethod
    def none(cls) -> _Head:
        """For rows without an event."""
        return cls("", "", "", "v1p2")

    @classmethod
    def of(
        cls, recipe: Recipe, object_type: str, application: bool, version: Version
    ) -> _Head | str:
        """Rule R2 and the downgrade to 1.1; a sentence when the result is not Caliper."""
        event_type, action = recipe.event_type, recipe.action
        if version == "v1p1":
            event_type, action = vocabulary.event_in_1_1(event_type, action)
        if application and "SoftwareApplication" not in vocabulary.EVENT_TYPES[event_type].actors:
            event_type = "Event"
        wrong = vocabulary.illegal(event_type, action, object_type, version)
        if wrong:
            return wrong
        return cls(event_type, action, vocabulary.profile(event_type, object_type), version)


def _repeated(
    values: Sequence[str],
    codes: np.ndarray[Any, np.dtype[np.int64]],
    missing: Flags | None = None,
) -> pa.DictionaryArray:
    """A dictionary column from codes; equal values may occur twice among ``values``."""
    distinct = list(dict.fromkeys(values))
    merged = np.array([distinct.index(value) for value in values], dtype=np.int32)[codes]
    return pa.DictionaryArray.from_arrays(
        pa.array(merged, pa.int32(), mask=missing), pa.array(distinct, pa.string())
    )


def _owner(record: object) -> int:
    user = record.get("userid") if isinstance(record, dict) else None
    return user if isinstance(user, int) and abs(user) < 2**63 else int(NOTHING)


def _has(rows: Rows, column: str, where: Indices) -> Flags:
    codes, values = rows.column(column)
    return np.array([value is not None for value in values])[codes[where]]


def _allows(keys: frozenset[str], recipe: Recipe) -> bool:
    return recipe.other == keys


def _asks_for(extension: str, recipe: Recipe) -> bool:
    return extension in recipe.extensions


def _person(render: Render, user: int | None) -> object:
    return entities.person_reference(render, user) if user else None
