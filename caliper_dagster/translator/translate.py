"""Expanded rows → Caliper events, column by column.

Every slot of an event (actor, object, generated, …) is a column of JSON fragments, each rendered
once for what is distinct; the events are those columns joined. Nothing here happens per row in
Python but the event id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG, RECORD
from caliper_dagster.translator import conditions, vocabulary
from caliper_dagster.translator.actors import APPLICATION, USER_IDS, USER_LEVEL, Actors
from caliper_dagster.translator.derived import DERIVED_EVENTS, DerivedEvent
from caliper_dagster.translator.entities import ENTITY_FUNCTIONS, Render, activities, people
from caliper_dagster.translator.entities.generic import PATH_COLUMNS, by_path
from caliper_dagster.translator.entities.registry import Entity, PersonOptions
from caliper_dagster.translator.heads import Head, IllegalEventError, head
from caliper_dagster.translator.identity import ANONYMOUS_PERSON, Iris
from caliper_dagster.translator.raw_facts import RawFacts
from caliper_dagster.translator.recipes import (
    EntitySource,
    PathEntity,
    Recipe,
    Recipes,
    load_recipes,
)
from caliper_dagster.translator.renderer import Renderer
from caliper_dagster.translator.rendering import InvalidEntityError
from caliper_dagster.translator.rows import (
    NOTHING,
    Codes,
    Flags,
    Fragments,
    Indices,
    Rows,
    parameters,
    repeated,
)
from caliper_dagster.translator.vocabulary import Version

_RECORDS = frozenset(
    column.name
    for column in EXPANDED_LOG.columns
    if column.type == RECORD and column.name not in MOODLE_LOG.schema.names
) | {"other"}

_MODULE_LEVEL = 70
_SLOTS = ("generated", "target", "group", "membership", "session", "federatedSession")
_OUTCOMES = ("event", "derived", "filtered", "failed")
_FIRST_TIME, _LAST_TIME = 0, 253_402_300_799  # 1970 to 9999
_NO_TIME = "the time is none between the years 1970 and 9999"


class Translator:
    """Makes Caliper events of one version for one site.

    Args:
        wwwroot: the site's address, base of all entity IRIs.
        version: Caliper version of the events.
        person_names: whether full names may be sent.
        person_identifiers: which ``otherIdentifiers`` of persons may be sent.
        ip_addresses: whether the address of a row may be sent.
        free_text: whether text that persons wrote (search terms, answers) may be sent.
        recipes: those of the package when not given.
    """

    def __init__(
        self,
        wwwroot: str,
        *,
        version: Version = "v1p2",
        person_names: bool = False,
        person_identifiers: Sequence[str] = ("SystemId",),
        ip_addresses: bool = False,
        free_text: bool = False,
        recipes: Recipes | None = None,
    ) -> None:
        self.version = version
        self.iris = Iris(wwwroot)
        options = PersonOptions(person_names, tuple(person_identifiers))
        self.render = Render(self.iris, options, free_text)
        self.ip_addresses = ip_addresses
        self.recipes = load_recipes() if recipes is None else recipes

    def translate(self, expanded: pa.Table) -> pa.Table:
        """Make the events of ``EXPANDED_LOG`` rows.

        Returns:
            ``CALIPER_EVENTS`` in the order of the rows: for each row exactly one ``event`` or
            ``failed`` (with what went wrong, without any value), and after it its ``derived``
            events.
        """
        if not expanded.num_rows:
            return CALIPER_EVENTS.empty()
        return _Translation(self, expanded).table()


@dataclass(slots=True)
class _Batch:
    """Events to be assembled: their rows, and what is theirs alone.

    Attributes:
        rows: row of each event; derived events share rows.
        ids: event ids.
        heads: code of the head of each event.
        objects: JSON of the object.
        times: Unix time.
        own: fragments of slots that derived events have of their own, each with its key.
        by_site: events in which the site acts, whoever the row's actor is.
        of: for derived events the id of the row's own event.
    """

    rows: Indices
    ids: pa.Array
    heads: Codes
    objects: pa.Array
    times: Codes
    own: dict[str, pa.Array] = field(default_factory=dict)
    by_site: Flags | None = None
    of: pa.Array | None = None


class _Translation:
    """One table on its way through the translator."""

    def __init__(self, translator: Translator, expanded: pa.Table) -> None:
        self._translator = translator
        self._expanded = expanded
        self._rows = rows = Rows(expanded, _RECORDS)
        anonymous = rows.integers("anonymous") == 1
        rows.derive("log", np.where(anonymous, NOTHING, rows.integers("id")))
        in_module = rows.integers("contextlevel") == _MODULE_LEVEL
        rows.derive("cmid", np.where(in_module, rows.integers("contextinstanceid"), NOTHING))
        self._renderer = Renderer(rows, translator.render, translator.version)
        self._recipes: list[Recipe] = []
        # Conditions tell no person, so they see what an anonymous row hides from its event.
        self._recipe = self._resolve()
        rows.hide((*USER_IDS, "other"), anonymous)
        rows.hide(("contextinstanceid",), anonymous & (rows.integers("contextlevel") == USER_LEVEL))
        rows.hide(("objectid", "object"), anonymous & rows.holding("objecttable", "user"))
        self._actors = Actors.of(rows, self._recipes, self._recipe)
        rows.derive("actor", self._actors.actor)
        rows.derive("trigger", self._actors.trigger)
        self._heads = [Head()]
        self._known_heads: dict[tuple[Any, ...], int] = {}

    # Recipes

    def _resolve(self) -> Codes:
        """The recipe of each row; conditions are applied."""
        everything = np.arange(self._rows.number)
        columns = ("eventname", "crud", "objecttable", "contextlevel")
        combinations, inverse = self._rows.distinct(columns, everything)
        numbers: dict[int, int] = {}
        codes = []
        for name, *others in combinations:
            recipe = self._translator.recipes.find(name or "", *others)
            if id(recipe) not in numbers:
                numbers[id(recipe)] = len(self._recipes)
                self._recipes.append(recipe)
            codes.append(numbers[id(recipe)])
        chosen: Codes = np.array(codes, dtype=np.int64)[inverse]
        for number, recipe in enumerate(list(self._recipes)):
            for name, variant in recipe.unless:
                self._apply(chosen, np.flatnonzero(chosen == number), name, variant)
        return chosen

    def _apply(self, chosen: Codes, rows: Indices, name: str, variant: Recipe) -> None:
        condition = conditions.CONDITIONS[name]
        results, inverse = self._renderer.evaluate(
            lambda _, *values: condition(*values), parameters(condition), rows, name
        )
        holds = np.array(results, dtype=bool)
        if holds.any():
            chosen[rows[holds[inverse]]] = len(self._recipes)
            self._recipes.append(variant)

    # Slots

    def _sources(self, slot: str) -> dict[EntitySource, Indices]:
        """Which rows get a slot from which entity."""
        numbers: dict[EntitySource, list[int]] = {}
        for number, recipe in enumerate(self._recipes):
            source: EntitySource | None = getattr(recipe, slot)
            if slot == "target" and not self._keeps_target(recipe.event_type):
                continue
            if source is not None:
                numbers.setdefault(source, []).append(number)
        return {
            source: np.flatnonzero(np.isin(self._recipe, found))
            for source, found in numbers.items()
        }

    def _keeps_target(self, event_type: str) -> bool:
        return vocabulary.keeps_target(event_type, self._translator.version)

    def _slot(self, slot: str) -> Fragments:
        fragments = Fragments(self._rows.number)
        for source, rows in self._sources(slot).items():
            function, names = _entity_function(source)
            self._renderer.place(fragments, function, names, rows, slot)
        return fragments

    def _objects(self) -> tuple[Fragments, Codes, list[str]]:
        """The objects, and for each row the type of its object."""
        fragments = Fragments(self._rows.number)
        names = [""]
        codes: Codes = np.zeros(self._rows.number, dtype=np.int64)
        for source, rows in self._sources("object").items():
            if not len(rows):
                continue
            function, columns = _entity_function(source)
            results, inverse = self._renderer.entities(function, columns, rows, "object")
            fragments.place(rows, [result[0] if result else None for result in results], inverse)
            found = [result[1] if result else "" for result in results]
            names.extend(name for name in dict.fromkeys(found) if name not in names)
            codes[rows] = np.array([names.index(name) for name in found])[inverse]
        return fragments, codes, names

    def _actor(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        actor = self._actors.actor
        for name, rows in self._actors.person_rows(self._rows):
            self._renderer.place(fragments, _actor_person, ("actor", name), rows, "actor")
        site, nobody = np.flatnonzero(actor == APPLICATION), np.flatnonzero(actor == NOTHING)
        self._renderer.place(fragments, people.site, ("site",), site, "actor")
        self._renderer.place(fragments, lambda _: ANONYMOUS_PERSON, (), nobody, "actor")
        return fragments

    def _site(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        everything = np.arange(self._rows.number)
        self._renderer.place(fragments, people.site, ("site",), everything, "edApp")
        return fragments

    def _group(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        rows = np.flatnonzero(self._rows.integers("courseid") > 1)
        columns = ("courseid", "course")
        self._renderer.place(fragments, activities.course_section, columns, rows, "group")
        return fragments

    def _membership(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        for name, rows in self._actors.person_rows(self._rows):
            column = f"{name}_membership"
            known = self._rows.having(column, rows)
            self._renderer.place(fragments, people.membership, (column,), known, "membership")
        guests = self._rows.having("user_membership", np.flatnonzero(self._actors.guest))
        columns = ("user_membership",)
        self._renderer.place(fragments, people.guest_membership, columns, guests, "membership")
        return fragments

    def _session(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        ends = np.array([recipe.ends_session for recipe in self._recipes])[self._recipe]
        times = np.where(ends, self._rows.integers("timecreated"), NOTHING)
        self._rows.derive("session_end", times)
        rows = self._rows.having("session", np.flatnonzero(self._actors.actor > 0))
        columns = ("session", "actor", "session_end")
        self._renderer.place(fragments, people.session, columns, rows, "session")
        return fragments

    # Heads

    def _head(self, key: tuple[Any, ...], rows: Indices, **facts: Any) -> int:  # noqa: ANN401
        """Code of a head; rows whose event cannot be legal fail."""
        if key not in self._known_heads:
            try:
                made = head(**facts, version=self._translator.version)
            except IllegalEventError as error:
                self._renderer.fail(rows, "event", str(error))
                return 0
            self._known_heads[key] = len(self._heads)
            self._heads.append(made)
        return self._known_heads[key]

    def _primary_heads(self, type_codes: Codes, type_names: list[str]) -> Codes:
        by_site = self._actors.actor == APPLICATION
        keys = (self._recipe * len(type_names) + type_codes) * 2 + by_site
        codes: Codes = np.zeros(self._rows.number, dtype=np.int64)
        rows = np.flatnonzero(self._renderer.failures == 0)
        distinct, inverse = np.unique(keys[rows], return_inverse=True)
        for number, key in enumerate(distinct):
            recipe = self._recipes[key // 2 // len(type_names)]
            chosen = rows[inverse == number]
            codes[chosen] = self._head(
                ("primary", int(key)),
                chosen,
                event_type=recipe.event_type,
                action=recipe.action,
                object_type=type_names[key // 2 % len(type_names)],
                by_site=bool(key % 2),
                action_1_1=recipe.action_1_1,
            )
        return codes

    def _check_times(self) -> None:
        times = self._rows.integers("timecreated")
        wrong = np.flatnonzero((times < _FIRST_TIME) | (times > _LAST_TIME))
        if len(wrong):
            self._renderer.fail(wrong, "eventTime", _NO_TIME)

    # Derived events

    def _derived(self, primary: _Batch) -> _Batch | None:
        """The derived events of the rows whose own event is sent."""
        found: list[tuple[int, DerivedEvent]] = []
        for name in dict.fromkeys(name for recipe in self._recipes for name in recipe.derived):
            wanted = np.array([name in recipe.derived for recipe in self._recipes])[self._recipe]
            rows = np.flatnonzero(wanted & (self._renderer.failures == 0))
            function = DERIVED_EVENTS[name]
            results, inverse = self._renderer.evaluate(
                function, parameters(function)[1:], rows, "derived"
            )
            for row, number in zip(rows, inverse, strict=True):
                found.extend((int(row), event) for event in results[number] or ())
        made = [event for row, one in found if (event := self._make(row, one)) is not None]
        if not made:
            return None
        rows = np.array([event["row"] for event in made])
        own = {
            slot: pa.array([event[slot] for event in made], pa.string())
            for slot in ("generated", "target", "federatedSession")
        }
        position = np.zeros(self._rows.number, dtype=np.int64)
        position[primary.rows] = np.arange(len(primary.rows))
        return _Batch(
            rows,
            pa.array([event["id"] for event in made], pa.string()),
            np.array([event["head"] for event in made], dtype=np.int64),
            pa.array([event["object"] for event in made], pa.string()),
            np.array([event["time"] for event in made], dtype=np.int64),
            own,
            np.array([event["by_site"] for event in made], dtype=bool),
            primary.ids.take(pa.array(position[rows])),
        )

    def _make(self, row: int, event: DerivedEvent) -> dict[str, Any] | None:
        """The pieces of one derived event; None, and its row fails, when it cannot be made."""
        try:
            return self._pieces(row, event)
        except Exception as error:
            slot = f"derived {event.child.partition(':')[0]}"
            self._renderer.blame(np.array([row]), slot, error)
            return None

    def _pieces(self, row: int, event: DerivedEvent) -> dict[str, Any]:
        time = int(self._rows.integers("timecreated")[row])
        object_json, object_type = self._renderer.finished(event.object)
        target = event.target if self._keeps_target(event.event_type) else None
        slots = {
            "generated": self._own("generated", event.generated),
            "target": self._own("target", target),
            "federatedSession": self._own("federatedSession", event.federated_session),
        }
        by_site = bool(event.by_site or self._actors.actor[row] == APPLICATION)
        code = self._head(
            ("derived", event.event_type, event.action, object_type, by_site),
            np.array([row]),
            event_type=event.event_type,
            action=event.action,
            object_type=object_type,
            by_site=by_site,
        )
        log = int(self._rows.integers("id")[row])
        return {
            "row": row,
            "id": self._translator.iris.derived_event(log, time, event.child),
            "head": code,
            "object": object_json,
            "time": _sayable(event.time or time),
            "by_site": event.by_site,
            **slots,
        }

    def _own(self, slot: str, entity: Entity | None) -> str:
        return f',"{slot}":{self._renderer.finished(entity)[0]}' if entity is not None else ""

    # Assembly

    def table(self) -> pa.Table:
        """The finished table."""
        objects, type_codes, type_names = self._objects()
        slots = {
            "generated": self._slot("generated"),
            "target": self._slot("target"),
            "group": self._group(),
            "membership": self._membership(),
            "session": self._session(),
        }
        common = {"actor": self._actor(), "site": self._site()}
        facts = RawFacts(
            self._renderer,
            self._recipes,
            self._recipe,
            self._actors,
            ip_addresses=self._translator.ip_addresses,
        )
        heads = self._primary_heads(type_codes, type_names)
        self._check_times()
        rows = np.flatnonzero(self._renderer.failures == 0)
        primary = self._primary(rows, heads, objects)
        derived = self._derived(primary)
        failed = self._renderer.failures[rows] != 0
        if failed.any():  # by their derived events
            rows = rows[~failed]
            primary = self._primary(rows, heads, objects)
            derived = self._derived(primary)
        batches = [primary] if derived is None else [primary, derived]
        tables = [
            self._described(batch, self._json(batch, slots, common, facts)) for batch in batches
        ]
        return self._in_order([*tables, self._failed()])

    def _primary(self, rows: Indices, heads: Codes, objects: Fragments) -> _Batch:
        times = self._rows.integers("timecreated")[rows]
        ids = self._translator.iris.events(self._rows.integers("id")[rows].tolist(), times.tolist())
        return _Batch(rows, pa.array(ids, pa.string()), heads[rows], objects.array(rows), times)

    def _json(
        self,
        batch: _Batch,
        slots: Mapping[str, Fragments],
        common: Mapping[str, Fragments],
        facts: RawFacts,
    ) -> pa.Array:
        codes = pa.array(batch.heads)
        actor = common["actor"].array(batch.rows)
        shown = {name: slots[name].array(batch.rows, f',"{name}":') for name in slots}
        shown |= batch.own
        if batch.by_site is not None and batch.by_site.any():
            by_site = pa.array(batch.by_site)
            actor = pc.if_else(by_site, common["site"].array(batch.rows), actor)
            for name in ("membership", "session"):
                shown[name] = pc.if_else(by_site, "", shown[name])
        seconds = pa.array(batch.times).cast(pa.timestamp("s"))
        context = vocabulary.CONTEXT[self._translator.version]
        return pc.binary_join_element_wise(
            f'{{"@context":"{context}","id":"',
            batch.ids,
            pa.array([head.opening for head in self._heads]).take(codes),
            actor,
            pa.array([head.middle for head in self._heads]).take(codes),
            batch.objects,
            ',"eventTime":"',
            pc.strftime(seconds, "%Y-%m-%dT%H:%M:%S.000Z"),
            '"',
            common["site"].array(batch.rows, ',"edApp":'),
            *(shown[name] for name in _SLOTS if name in shown),
            facts.array(batch.rows, batch.of),
            "}",
            "",
        )

    def _described(self, batch: _Batch, json: pa.Array) -> pa.Table:
        """``CALIPER_EVENTS`` rows of assembled events, and ``row``."""
        outcome = np.zeros(len(batch.rows), dtype=np.int64) + (batch.of is not None)
        return self._table(
            batch.rows,
            outcome,
            {
                "reason": pa.nulls(len(batch.rows), pa.string()),
                "event_id": batch.ids,
                "event_type": repeated([h.event_type for h in self._heads], batch.heads),
                "action": repeated([h.action for h in self._heads], batch.heads),
                "profile": repeated([h.profile for h in self._heads], batch.heads),
                "caliper_version": repeated([self._translator.version], outcome * 0),
                "json": json,
            },
        )

    def _failed(self) -> pa.Table:
        rows = np.flatnonzero(self._renderer.failures)
        nothing = pa.nulls(len(rows), pa.string())
        names = ("event_id", "event_type", "action", "profile", "caliper_version", "json")
        return self._table(
            rows,
            np.full(len(rows), _OUTCOMES.index("failed")),
            {
                "reason": repeated(self._renderer.reasons, self._renderer.failures[rows]),
                **dict.fromkeys(names, nothing),
            },
        )

    def _table(self, rows: Indices, outcome: Codes, own: Mapping[str, pa.Array]) -> pa.Table:
        where = pa.array(rows)
        codes = self._recipe[rows]
        columns = {
            "row": where,
            "log_id": self._expanded["id"].take(where).combine_chunks(),
            "timecreated": self._expanded["timecreated"].take(where).combine_chunks(),
            "event_name": self._expanded["eventname"].take(where),
            "outcome": repeated(list(_OUTCOMES), outcome),
            "recipe": repeated([recipe.pattern for recipe in self._recipes], codes),
            "resolution": repeated([recipe.resolution for recipe in self._recipes], codes),
            **own,
        }
        row = pa.field("row", pa.int64())
        table = pa.table(columns).select(["row", *CALIPER_EVENTS.schema.names])
        return table.cast(pa.schema([row, *CALIPER_EVENTS.schema]))

    @staticmethod
    def _in_order(tables: Sequence[pa.Table]) -> pa.Table:
        """One table in the order of the rows, each row's own event before its derived ones."""
        present = [table for table in tables if table.num_rows]
        merged = pa.concat_tables(present).unify_dictionaries()
        if len(present) > 1:
            order = np.argsort(merged["row"].to_numpy(), kind="stable")
            merged = merged.take(pa.array(order))
        return CALIPER_EVENTS.conform(merged)


def _sayable(time: int) -> int:
    if not _FIRST_TIME <= time <= _LAST_TIME:
        raise InvalidEntityError(_NO_TIME)
    return int(time)


def _entity_function(source: EntitySource) -> tuple[Callable[..., Any], Sequence[str]]:
    """The function that makes an entity, and the columns that it wants."""
    if not isinstance(source, PathEntity):
        found = ENTITY_FUNCTIONS[source]
        return found.function, found.columns
    entity_type, path = source.type, source.path

    def from_path(render: Render, *values: object) -> Entity:
        row = dict(zip(PATH_COLUMNS, values, strict=True))
        return by_path(render, entity_type, path, row)

    return from_path, PATH_COLUMNS


def _actor_person(render: Render, actor: int, record: Mapping[str, Any] | None) -> Entity:
    return people.person(render, record or {"id": actor})
