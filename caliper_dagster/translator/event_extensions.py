"""The ``extensions`` of events: facts of their rows (R6), and what Caliper has no property for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from caliper_dagster.core.addresses import addresses_in
from caliper_dagster.core.privacy import Profile
from caliper_dagster.translator import extensions
from caliper_dagster.translator.actors import USER_LEVEL, Actors
from caliper_dagster.translator.entities.classification import (
    INSTITUTIONAL_LEVELS,
    INSTITUTIONAL_RECORDS,
)
from caliper_dagster.translator.entities.people import person_reference
from caliper_dagster.translator.entities.registry import ENTITY_FUNCTIONS, EntityFunction, Render
from caliper_dagster.translator.entity_output import dump
from caliper_dagster.translator.event_data_filter import filtered_other
from caliper_dagster.translator.fragments import Fragments, TextColumn, integer_columns
from caliper_dagster.translator.recipes import EntitySource, Recipe
from caliper_dagster.translator.renderer import Renderer
from caliper_dagster.translator.rows import (
    NOTHING,
    Codes,
    Flags,
    Indices,
    Rows,
    grouped,
    parameters,
)

_SLOT = "extensions"
_FACT = "moodle."
_PREVIEW_STARTED = r"\mod_quiz\event\attempt_preview_started"

_ROW_PROPERTIES = {
    "eventName": "eventname", "component": "component", "crud": "crud", "eduLevel": "edulevel",
    "contextLevel": "contextlevel", "origin": "origin", "objectTable": "objecttable",
}  # fmt: skip


class EventExtensions:
    """Renders the extensions of all rows; see :meth:`columns`.

    Args:
        renderer: renders the rows.
        recipes: the recipes in use.
        recipe: code of each row's recipe.
        actors: the actors of the rows.
        profile: privacy profile of the events.
        ip_addresses: whether the address of a row may be sent.

    Attributes:
        searched: fragments in which a text of a person can stand, each with the path of its
            property in the event.
    """

    def __init__(
        self,
        renderer: Renderer,
        recipes: Sequence[Recipe],
        recipe: Codes,
        actors: Actors,
        *,
        profile: Profile,
        ip_addresses: bool,
    ) -> None:
        self._renderer = renderer
        self._profile = profile
        self._rows = renderer.rows
        self._recipes = recipes
        self._recipe = recipe
        self._named: Flags = self._rows.integers("anonymous") != 1
        visible = _VisibleFacts.of(self._rows, self._named, profile)
        self._shows_log = visible.log
        self._context = Fragments.merge(
            [
                self._ids("contextId", "contextid", visible.context),
                self._ids("contextInstanceId", "contextinstanceid", visible.context_instance),
            ]
        )
        self._object = self._ids("objectId", "objectid", visible.object)
        all_rows = np.arange(self._rows.number)
        self._properties = Fragments.empty(self._rows.number)
        results, inverse = renderer.evaluate(
            _row_properties, [*_ROW_PROPERTIES.values()], all_rows, _SLOT
        )
        self._properties.fill(all_rows, results, inverse)
        self._other = self._allowed_other()
        self.searched: list[tuple[str, Fragments]] = [("extensions.moodle.other", self._other)]
        located = np.flatnonzero(self._named) if ip_addresses else all_rows[:0]
        self._ip = self._values("ip", lambda _, ip: addresses_in(ip or ""), ("ip",), located)
        facts, extras = self._all_extras(actors)
        self._facts = Fragments.merge(facts)
        self._extras = Fragments.merge(extras)
        self._same_grading = self._values(
            "sameGradingAs", extensions.same_grading, ("object",), self._rows_told_before()
        )

    def columns(self, rows: Indices, grading: Flags, derived_from: Fragments) -> list[TextColumn]:
        """The ``extensions`` of events, with their key before them.

        Args:
            rows: row of each event.
            grading: whether each event tells a grading.
            derived_from: for derived events the id of their row's own event, with its key.
        """
        return [
            ',"extensions":{"moodle":{',
            self._properties.take(rows),
            *integer_columns(self._rows.integers("id")[rows], ',"logId":', self._shows_log[rows]),
            self._context.take(rows),
            self._object.take(rows),
            self._other.take(rows),
            self._facts.take(rows),
            self._same_grading_of(rows, grading),
            self._ip.take(rows),
            "}",
            self._extras.take(rows),
            derived_from,
            "}",
        ]

    def _ids(self, key: str, column: str, visible: Flags) -> Fragments:
        """The ids of a column, where they may be seen."""
        fragments = Fragments.empty(self._rows.number, f',"{key}":'.encode())
        codes, ids = self._rows.column(column)
        rows = np.flatnonzero(visible)
        texts = [None if id_ is None else b"%d" % id_ for id_ in ids]
        fragments.fill(rows, texts, codes[rows])
        return fragments

    def _values(
        self, key: str, function: Callable[..., Any], names: Sequence[str], rows: Indices
    ) -> Fragments:
        fragments = Fragments.empty(self._rows.number, f',"{key}":'.encode())
        self._renderer.fill_values(fragments, function, names, rows, _SLOT)
        return fragments

    def _of_recipes(self, holds: Sequence[bool]) -> Indices:
        return np.flatnonzero(self._flags(holds))

    def _allowed_other(self) -> Fragments:
        fragments = Fragments.empty(self._rows.number, b',"other":')
        if self._profile.anonymous:
            return fragments
        of_recipe = [(recipe.other, recipe.resolution) for recipe in self._recipes]
        rules = list(dict.fromkeys(of_recipe))
        codes = np.array([rules.index(rule) for rule in of_recipe])[self._recipe]
        for code, rows in grouped(codes, len(rules)):
            allowed, resolution = rules[code]
            filtered = partial(
                filtered_other,
                allowed=allowed,
                resolution=resolution,
                institutional=self._profile.keyed,
            )
            given = self._rows.having("other", rows)
            self._renderer.fill_values(fragments, filtered, ("other",), given, _SLOT)
        return fragments

    def _rows_told_before(self) -> Indices:
        """The rows whose grading an earlier row tells."""
        return np.flatnonzero(self._named & self._of_objects(extensions.is_told_before))

    def _same_grading_of(self, rows: Indices, grading: Flags) -> Fragments:
        """Which other event tells the same grading; a row may give further events."""
        taken = self._same_grading.take(rows)
        taken.codes[~grading] = 0
        return taken

    def _previews(self) -> Indices:
        """The rows of a teacher's preview of a quiz, which is no learner's attempt."""
        previews = self._of_objects(extensions.is_preview)
        return np.flatnonzero(previews | self._rows.holding("eventname", _PREVIEW_STARTED))

    def _of_objects(self, holds: Callable[[object], bool]) -> Flags:
        """Whether something holds for the object of each row; asked once per object."""
        codes, records = self._rows.column("object")
        flags: Flags = np.fromiter(map(holds, records), bool, len(records))[codes]
        return flags

    def _all_extras(self, actors: Actors) -> tuple[list[Fragments], list[Fragments]]:
        """The properties of ``extensions.moodle``, and those beside it."""
        self._rows.derive("assignee", self._assignees())
        self._rows.derive("acting_as", actors.acting_as)
        graded = self._of_recipes(
            [
                any(
                    _registration(entity).tells_grade
                    for entity in (recipe.object, recipe.generated)
                )
                or not extensions.TELL_GRADES.isdisjoint(recipe.extensions)
                for recipe in self._recipes
            ]
        )
        told = self._named & (not self._profile.anonymous)
        unresolved = _institutional_unresolved if self._profile.keyed else _unresolved
        reassigned = np.flatnonzero((actors.actor != actors.trigger) & (actors.actor > 0))
        extras: list[tuple[str, Callable[..., Any], Sequence[str], Indices]] = [
            ("actingAs", _person, ("acting_as",), np.flatnonzero(actors.acting_as > 0)),
            ("runAs", _person, ("userid",), np.flatnonzero(actors.run_as)),
            ("triggeredBy", extensions.triggered_by, ("trigger",), reassigned),
            ("relatedUser", _person, ("relateduserid",), self._further_persons(actors)),
            ("asOf", lambda _, record: (record or {}).get("asof"), ("object",), graded),
            ("unresolved", unresolved, ("unresolved",), np.flatnonzero(told)),
        ]
        for name, (key, function) in extensions.EXTENSION_FUNCTIONS.items():
            if self._profile.keyed and name in extensions.TELL_GRADES:
                continue  # an exact grade again, which is the learner's score of another event
            rows = self._of_recipes([name in recipe.extensions for recipe in self._recipes])
            if function is extensions.preview:
                rows = np.union1d(rows, self._previews())
            extras.append((key, function, parameters(function)[1:], rows))
        facts: list[Fragments] = []
        others: list[Fragments] = []
        for key, function, names, rows in extras:
            place = facts if key.startswith(_FACT) else others
            values = self._values(key.removeprefix(_FACT), function, names, rows)
            self.searched.append((f"{_SLOT}.{key}", values))
            place.append(values)
        return facts, others

    def _further_persons(self, actors: Actors) -> Indices:
        """The rows whose related user is neither the actor nor an assignee (rule R3)."""
        related = np.where(self._named, self._rows.integers("relateduserid"), NOTHING)
        known = (related == actors.actor) | (related == self._rows.integers("assignee"))
        return np.flatnonzero((related > 0) & ~known)

    def _assignees(self) -> Codes:
        """The user whom an entity of the event names, if the function of the entity says so."""
        named = [
            [
                registration
                for registration in map(
                    _registration, (recipe.object, recipe.generated, recipe.target)
                )
                if registration.names_related_user
            ]
            for recipe in self._recipes
        ]
        names_user = self._flags([bool(registrations) for registrations in named])
        confirmed = self._flags(
            [all("learner" in one.columns for one in registrations) for registrations in named]
        )
        codes, records = self._rows.column("object")
        owner = np.array([_owner(record) for record in records], dtype=np.int64)[codes]
        related = np.where(self._named, self._rows.integers("relateduserid"), NOTHING)
        related = np.where(confirmed, self._rows.integers("learner"), related)
        return np.where(names_user, np.where(owner == NOTHING, related, owner), NOTHING)

    def _flags(self, holds: Sequence[bool]) -> Flags:
        """For each row whether something holds for its recipe."""
        flags: Flags = np.array(holds, dtype=bool)[self._recipe]
        return flags


def _registration(source: EntitySource | None) -> EntityFunction:
    """The registration of a recipe's entity; an empty one for a path."""
    return ENTITY_FUNCTIONS[source] if isinstance(source, str) else _UNREGISTERED


_UNREGISTERED = EntityFunction(lambda _: None, ())


def _owner(record: Any) -> int:  # noqa: ANN401 - a record or None
    """The learner whom an attempt or submission belongs to; of a team's the row names one."""
    owner = record.get("userid") if isinstance(record, dict) else None
    return owner if isinstance(owner, int) and 0 < owner < 2**63 else _NOBODY


_NOBODY = int(NOTHING)


@dataclass(frozen=True, slots=True)
class _VisibleFacts:
    """The rows that may show a number of their log row."""

    log: Flags
    context: Flags
    context_instance: Flags
    object: Flags

    @classmethod
    def of(cls, rows: Rows, named: Flags, profile: Profile) -> _VisibleFacts:
        """Under a profile; what is not named is anonymous in Moodle already."""
        levels = rows.integers("contextlevel")
        if not profile.keyed:
            return cls(named, np.full(rows.number, True), named | (levels != USER_LEVEL), named)
        nothing = np.zeros(rows.number, dtype=bool)
        institutional = np.isin(levels, INSTITUTIONAL_LEVELS)
        objects = rows.holding_any("objecttable", INSTITUTIONAL_RECORDS)
        return cls(
            nothing, institutional, institutional, nothing if profile.anonymous else named & objects
        )


def _institutional_unresolved(_: Render, names: Sequence[str] | None) -> Sequence[str] | None:
    """References without a record, those that lead to no person."""
    kept = [name for name in names or () if name.partition(":")[0] in INSTITUTIONAL_RECORDS]
    return kept or None


def _row_properties(_: Render, *values: object) -> bytes:
    properties = {
        key: value
        for key, value in zip(_ROW_PROPERTIES, values, strict=True)
        if value is not None and value != ""
    }
    return dump(properties)[1:-1]


def _unresolved(render: Render, names: Sequence[str] | None) -> Sequence[str] | None:
    """References without a record, as ``table:id``."""
    if names is None:
        return None
    return [
        render.iris.of_user(name.removeprefix(_USER), _USER) if name.startswith(_USER) else name
        for name in names
    ]


_USER = "user:"


def _person(render: Render, user: int | None) -> object:
    return person_reference(render, user) if user else None
