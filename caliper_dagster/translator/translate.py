"""Expanded rows → Caliper events, column by column.

Every slot of an event (actor, object, generated, …) is a column of JSON fragments; each distinct
fragment is rendered once. The events are these columns, joined. Only event ids are computed per
row in Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.caliper import versions, vocabulary
from caliper_dagster.caliper.entities import Entity, Person, Score
from caliper_dagster.caliper.shapes import CANONICAL, SHAPES, ShapeName
from caliper_dagster.caliper.versions import VersionName
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG, RECORD
from caliper_dagster.core.gc_tuning import gc_paused
from caliper_dagster.core.object_tables import belong_to_no_person
from caliper_dagster.core.privacy import (
    IDENTIFIED,
    PROFILES,
    SECONDS_OF,
    ProfileName,
    TextClass,
    TimePrecision,
)
from caliper_dagster.core.stored_fields import StoredFields
from caliper_dagster.translator import conditions, names_of_the_time
from caliper_dagster.translator.actors import (
    APPLICATION,
    USER_IDS,
    USER_LEVEL,
    Actors,
    owners,
    real_users,
)
from caliper_dagster.translator.anonymity import anonymised, anonymous_event
from caliper_dagster.translator.derived import DERIVED_EVENTS, DerivedEvent
from caliper_dagster.translator.entities import ENTITY_FUNCTIONS, Render, activities, people
from caliper_dagster.translator.entities.generic import path_function
from caliper_dagster.translator.entities.registry import PersonOptions, is_course
from caliper_dagster.translator.entity_output import InvalidEntityError, dump
from caliper_dagster.translator.event_extensions import EventExtensions
from caliper_dagster.translator.event_shape import EventShape, IllegalEventError, event_shape
from caliper_dagster.translator.fragments import (
    Fragments,
    PooledColumn,
    TextColumn,
    join_columns,
    time_columns,
)
from caliper_dagster.translator.identity import ANONYMOUS_PERSON, Iris, KeyedIris
from caliper_dagster.translator.leak_search import Leak, LeakSearch, Pool
from caliper_dagster.translator.personal_values import ForbiddenKinds, PersonalValues, persons_of
from caliper_dagster.translator.privacy_forms import private_form
from caliper_dagster.translator.recipes import (
    EntitySource,
    PathEntity,
    Recipe,
    Recipes,
    load_recipes,
)
from caliper_dagster.translator.renderer import Renderer, in_bulk
from caliper_dagster.translator.rows import (
    LOG_MARK,
    NOTHING,
    Codes,
    Flags,
    Indices,
    Rows,
    encoded,
    first_of_each,
    grouped,
    parameters,
    repeated,
)

_RECORDS = frozenset(
    column.name
    for column in EXPANDED_LOG.columns
    if column.type == RECORD and column.name not in MOODLE_LOG.schema.names
) | {"other"}

_WORD = re.compile(r"[a-z][a-z0-9_]{0,99}")
_NAMES_OF_CODE = {
    "eventname": re.compile(r"(?=.{1,255}\Z)\\[A-Za-z][A-Za-z0-9_]*\\event\\[A-Za-z0-9_]+"),
    "component": _WORD,
    "action": _WORD,
    "target": _WORD,
    "objecttable": _WORD,
    "crud": re.compile(r"[crud]"),
    "origin": re.compile("web|ws|cli|restore"),
}
"""Columns that Moodle fills with names of its code. They go into IRIs and raw facts."""

_MODULE_LEVEL = 70
_ENTITY_SLOTS = ("object", "generated", "target", "federatedSession")
_OPTIONAL_SLOTS = (
    "edApp", "generated", "target", "group", "membership", "session", "federatedSession",
)  # fmt: skip
_GRADING = ("Graded", "Removed")
_OUTCOMES = ("event", "derived", "filtered", "failed")
_SCORE_COLUMNS = ("generated_score", "generated_max_score")
_Scores = tuple[float, ...]
_NO_SCORES: _Scores = (np.nan, np.nan)
_FIRST_TIME, _LAST_TIME = 0, 253_402_300_799  # 1970 to 9999
_NO_TIME = "the time is none between the years 1970 and 9999"


class Searched(NamedTuple):
    """Events, and what the leak check says of them.

    Attributes:
        events: ``CALIPER_EVENTS``.
        leaks: values of persons in them that must not leave.
        pools: what they are joined from: all entities, and whatever else a text can stand in.
    """

    events: pa.Table
    leaks: list[Leak]
    pools: list[Pool]


class Translator:
    """Makes Caliper events of one version and shape for one site.

    Args:
        wwwroot: the site's address, base of all entity IRIs.
        site_id: what ids of events are made of; the address when not given.
        version: Caliper version of the events.
        shape: shape of the events.
        person_names: whether full names may be sent.
        person_identifiers: which ``otherIdentifiers`` of persons may be sent.
        ip_addresses: whether the address of a row may be sent.
        texts: classes of texts that may be sent, those of the profile when not given; of the names
            and identifiers of persons, ``person_names`` and ``person_identifiers`` decide.
        course_categories: whether courses are sent as part of their category.
        recipes: those of the package by default.
        profile: privacy profile. Under a keyed one, no name, identifier or address is sent.
        key: secret of the event store, which a keyed profile needs. All rows of a translator have
            the same one.
        pseudonym_base: an IRI to put pseudonyms of persons below; ``urn:uuid:`` when not given.
        time_precision: what times of events, and of records of persons, are cut down to.
        allowed_fields: paths of properties in which the leak check does not look.

    Raises:
        ConfigurationError: a keyed profile has no key.
    """

    def __init__(
        self,
        wwwroot: str,
        *,
        site_id: str | None = None,
        version: VersionName = versions.NEWEST.name,
        shape: ShapeName = CANONICAL.name,
        person_names: bool = False,
        person_identifiers: Sequence[str] = ("SystemId",),
        ip_addresses: bool = False,
        texts: frozenset[TextClass] | None = None,
        course_categories: bool = False,
        recipes: Recipes | None = None,
        profile: ProfileName = IDENTIFIED.name,
        key: bytes | None = None,
        pseudonym_base: str | None = None,
        time_precision: TimePrecision = "second",
        allowed_fields: Collection[str] = (),
    ) -> None:
        self.version = versions.BY_NAME[version]
        self.profile = PROFILES[profile]
        kinds = self.profile.texts if texts is None else texts
        self.time_precision: TimePrecision = time_precision
        self.iris = Iris(wwwroot, site_id)
        options = PersonOptions(person_names, tuple(person_identifiers))
        if self.profile.keyed:
            if not key:
                raise ConfigurationError(
                    f"The privacy profile {profile} needs a key of pseudonyms, and there is none."
                )
            self.iris = KeyedIris(wwwroot, site_id, key, pseudonym_base)
            options = PersonOptions(identifiers=())
            ip_addresses = False
        self.render = Render(self.iris, options, kinds, course_categories, SHAPES[shape])
        self.form = private_form(self.iris, self.profile, time_precision)
        self.ip_addresses = ip_addresses
        self.recipes = load_recipes() if recipes is None else recipes
        forbidden = ForbiddenKinds.of(
            names=options.names, identifiers=options.identifiers, ip_addresses=ip_addresses
        )
        self._leak_search = LeakSearch(self.iris.site, forbidden, allowed_fields, pseudonym_base)

    @property
    def searches(self) -> bool:
        """Whether events are searched, for there are values of persons that must not leave."""
        return self._leak_search.is_needed

    @property
    def looked_for(self) -> StoredFields:
        """The personal fields of rows that the leak check looks for."""
        return self._leak_search.looked_for

    def translate(self, expanded: pa.Table) -> pa.Table:
        """Make the events of ``EXPANDED_LOG`` rows.

        Returns:
            ``CALIPER_EVENTS`` in the order of the rows: for each row exactly one ``event`` or
            ``failed`` (with the reason, without any value), and after it its ``derived``
            events.
        """
        if not expanded.num_rows:
            return CALIPER_EVENTS.empty()
        with gc_paused():
            return _Translation(self, expanded).table()

    def translate_and_search(
        self,
        expanded: pa.Table,
        persons: PersonalValues | None = None,
        around: pa.Table | None = None,
    ) -> Searched:
        """Like :meth:`translate`, and search the events for values of persons (``leak_search``).

        Args:
            expanded: ``EXPANDED_LOG`` rows.
            persons: those of the whole hour, if the rows are a part of one.
            around: all rows of their hours, if others become no event; they name persons, too.
                Only persons whose records hold names are found (``CALIPER_STORED_NAMES``).

        Returns:
            The events, and what of them must not leave.
        """
        if not expanded.num_rows:
            return Searched(CALIPER_EVENTS.empty(), [], [])
        with gc_paused():
            translation = _Translation(self, expanded)
            events = translation.table()
            pools = translation.pools()
            if not self.searches:
                return Searched(events, [], pools)
            around = expanded if around is None else around
            whole = persons or persons_of(around)
            leaks = self._leak_search.find(
                expanded,
                pools,
                translation.paths(),
                whole,
                around=None if persons else around,
            )
            return Searched(events, leaks, pools)


@dataclass(slots=True)
class _Derived:
    """The derived events of some rows, and the values in which they differ from their rows' events.

    Attributes:
        rows: rows.
        shapes: codes of their shapes.
        times: Unix times.
        children: names that distinguish the derived events of a row.
        by_site: whether the site is the actor, whoever the row's actor is.
        entities: JSON of their own entities by slot, or None.
        object_types: types of their objects.
        object_ids: IRIs of their objects.
        scores: the score, and the highest possible one, that they generate.
    """

    rows: list[int] = field(default_factory=list)
    shapes: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    by_site: list[bool] = field(default_factory=list)
    entities: dict[str, list[bytes | None]] = field(
        default_factory=lambda: {slot: [] for slot in _ENTITY_SLOTS}
    )
    object_types: list[str] = field(default_factory=list)
    object_ids: list[bytes | None] = field(default_factory=list)
    scores: list[_Scores] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _FailedEvent:
    """A derived event that cannot be made: its slot, and the error."""

    slot: str
    error: Exception


@dataclass(frozen=True, slots=True)
class _RenderedEvent:
    """A :class:`DerivedEvent` with its entities as JSON; several rows can share it."""

    event: DerivedEvent
    object_type: str
    object_id: str
    entities: dict[str, bytes | None]


@dataclass(frozen=True, slots=True)
class _Order:
    """The order of the outcomes: that of the rows; derived events follow their row's own event.

    Attributes:
        rows: the row of each outcome.
        primary_positions: the position of each row's own outcome.
        derived_positions: the positions of the derived events.
        derived_numbers: which derived event is at each of these positions.
    """

    rows: Indices
    primary_positions: Indices
    derived_positions: Indices
    derived_numbers: Indices

    @classmethod
    def of(cls, number: int, derived: _Derived) -> _Order:
        """The order of the outcomes of a number of rows."""
        rows = np.concatenate([np.arange(number), np.array(derived.rows, dtype=np.intp)])
        order = np.argsort(rows, kind="stable")
        primary_positions = np.flatnonzero(order < number)
        derived_positions = np.flatnonzero(order >= number)
        derived_numbers = order[derived_positions] - number
        return cls(rows[order], primary_positions, derived_positions, derived_numbers)

    def with_derived(self, values: Codes, derived: Sequence[int]) -> Codes:
        """The values of the outcomes, with those of the derived events at their positions."""
        values[self.derived_positions] = np.array(derived, dtype=np.int64)[self.derived_numbers]
        return values


class _Translation:
    """The translation of one table."""

    def __init__(self, translator: Translator, expanded: pa.Table) -> None:
        self._translator = translator
        self._expanded = expanded
        self._rows = rows = Rows(expanded, _RECORDS)
        _keep_names_of_code(rows)
        self._anonymous = anonymous = rows.integers("anonymous") == 1
        self._owned = _owned(rows, anonymous)
        rows.derive("log", np.where(anonymous, NOTHING, rows.integers("id")))
        self._profile = translator.profile
        has_objectid = ~np.isin(rows.integers("objectid"), [int(NOTHING), 0])
        if self._profile.keyed:  # the id is part of what the key hides, not of the text
            logs = rows.integers("log")
            marks = logs * 0 + NOTHING if self._profile.anonymous else logs
            rows.derive("log_mark", marks)
            rows.derive("stand_in", np.where(has_objectid, NOTHING, marks))
        else:
            rows.add("log_mark", anonymous.astype(np.int64), [LOG_MARK, None])
            rows.add("stand_in", (anonymous | has_objectid).astype(np.int64), [LOG_MARK, None])
        in_module = rows.integers("contextlevel") == _MODULE_LEVEL
        rows.derive("cmid", np.where(in_module, rows.integers("contextinstanceid"), NOTHING))
        rows.derive("realuserid", real_users(rows))
        for name, users in owners(rows).items():
            rows.derive(name, np.where(anonymous, NOTHING, users))
        names_of_the_time.put_into(rows, np.flatnonzero(~anonymous))
        self._renderer = Renderer(rows, translator.render, translator.version, translator.form)
        self._recipes: list[Recipe] = []
        # Conditions reveal no person, so they are evaluated before anonymous rows are redacted.
        self._recipe = self._resolve()
        rows.hide((*USER_IDS, "other"), anonymous)
        rows.hide(("contextinstanceid",), anonymous & (rows.integers("contextlevel") == USER_LEVEL))
        rows.hide(("objectid", "object"), anonymous & rows.holding("objecttable", "user"))
        self._actors = Actors.of(rows, self._recipes, self._recipe)
        rows.derive("actor", self._actors.actor)
        rows.derive("trigger", self._actors.trigger)
        self._shapes = [EventShape()]
        self._shape_codes: dict[tuple[Any, ...], int] = {}
        self._pools: list[Pool] = []

    # Recipes

    def _resolve(self) -> Codes:
        """The recipe of each row; conditions are applied."""
        all_rows = np.arange(self._rows.number)
        columns = ("eventname", "crud", "objecttable", "contextlevel")
        combinations, inverse = self._rows.distinct(columns, all_rows)
        code_of_recipe: dict[int, int] = {}
        codes = []
        for name, *others in combinations:
            recipe = self._translator.recipes.find(name or "", *others)
            if id(recipe) not in code_of_recipe:
                code_of_recipe[id(recipe)] = len(self._recipes)
                self._recipes.append(recipe)
            codes.append(code_of_recipe[id(recipe)])
        recipe_codes: Codes = np.array(codes, dtype=np.int64)[inverse]
        for number, recipe in enumerate(list(self._recipes)):
            for name, variant in recipe.when:
                self._apply_variant(
                    recipe_codes, np.flatnonzero(recipe_codes == number), name, variant
                )
        return recipe_codes

    def _apply_variant(
        self, recipe_codes: Codes, rows: Indices, name: str, variant: Recipe
    ) -> None:
        condition = conditions.CONDITIONS[name]
        results, inverse = self._renderer.evaluate(
            lambda _, *values: condition(*values), parameters(condition), rows, name
        )
        holds = np.array(results, dtype=bool)
        if holds.any():
            recipe_codes[rows[holds[inverse]]] = len(self._recipes)
            self._recipes.append(variant)

    # Slots

    def _sources(self, slot: str) -> Iterator[tuple[Callable[..., Any], Sequence[str], Indices]]:
        """The functions that make the entities of a slot, with their columns and rows.

        There are hundreds of paths. All paths with the same columns share one function, which takes
        the path from a separate column.
        """
        groups: dict[str | tuple[str, ...], int] = {}
        paths: dict[Callable[..., Any], int] = {}
        group_of_recipe = np.full(len(self._recipes), -1)
        path_of = np.zeros(len(self._recipes), dtype=np.int64)
        for number, recipe in enumerate(self._recipes):
            source: EntitySource | None = getattr(recipe, slot)
            if source is None or not self._keeps(slot, recipe):
                continue
            if isinstance(source, PathEntity):
                path = path_function(source.type, source.path)
                path_of[number] = paths.setdefault(path.function, len(paths))
                group_of_recipe[number] = groups.setdefault(path.columns, len(groups))
            else:
                group_of_recipe[number] = groups.setdefault(source, len(groups))
        self._rows.add("path", path_of[self._recipe], list(paths))
        keys = list(groups)
        for code, rows in grouped(group_of_recipe[self._recipe], len(keys)):
            key = keys[code]
            if isinstance(key, tuple):
                yield from self._by_anonymity(_by_path, ("path", *key), rows)
            else:
                source_function = ENTITY_FUNCTIONS[key]
                yield from self._by_anonymity(
                    source_function.function,
                    source_function.columns,
                    rows,
                    personal=source_function.personal_record,
                )

    def _by_anonymity(
        self,
        function: Callable[..., Any],
        names: Sequence[str],
        rows: Indices,
        *,
        personal: bool = False,
    ) -> Iterator[tuple[Callable[..., Any], Sequence[str], Indices]]:
        """The function for rows of known actors, and its anonymous form for the others.

        Only what belongs to one person is anonymous: by the function, or as the object of a table
        whose records do.
        """
        hidden = self._anonymous[rows]
        if not personal:
            hidden = hidden & self._owned[rows] if "objectid" in names else hidden & False
        if not hidden.all():
            yield function, names, rows[~hidden]
        if hidden.any():
            yield anonymised(function), names, rows[hidden]

    def _keeps(self, slot: str, recipe: Recipe) -> bool:
        """Whether the events of a recipe have a slot in the wanted version."""
        if slot == "target":
            return self._keeps_target(recipe.event_type)
        return slot != "generated" or vocabulary.keeps_generated(
            recipe.event_type, recipe.action, self._translator.version
        )

    def _keeps_target(self, event_type: str) -> bool:
        return vocabulary.keeps_target(event_type, self._translator.version)

    def _fragments(self, slot: str) -> Fragments:
        return Fragments.empty(self._rows.number, f',"{slot}":'.encode())

    def _slot(self, slot: str) -> Fragments:
        fragments = self._fragments(slot)
        for function, names, rows in self._sources(slot):
            self._renderer.fill(fragments, function, names, rows, slot)
        return fragments

    def _generated(self) -> tuple[Fragments, npt.NDArray[np.float64]]:
        """The generated entities, and for each row the score and the highest one; else NaN."""
        fragments = self._fragments("generated")
        scores = np.full((self._rows.number, 2), np.nan)
        for function, names, rows in self._sources("generated"):
            results, inverse = self._renderer.evaluate(
                function, names, rows, "generated", self._with_scores
            )
            fragments.fill(rows, [result and result[0] for result in results], inverse)
            given = [result[1] if result else _NO_SCORES for result in results]
            if any(one is not _NO_SCORES for one in given):
                scores[rows] = np.array(given)[inverse]
        return fragments, scores

    def _with_scores(self, entities: Sequence[Entity]) -> list[tuple[bytes, _Scores]]:
        return list(zip(self._renderer.to_json(entities).json, map(_scores, entities), strict=True))

    def _objects(self) -> tuple[Fragments, Fragments, Codes, list[str]]:
        """The objects, their IRIs, and for each row the type of its object."""
        fragments, iris = (Fragments.empty(self._rows.number) for _ in range(2))
        types = {"": 0}
        codes: Codes = np.zeros(self._rows.number, dtype=np.int64)
        for function, columns, rows in self._sources("object"):
            results, inverse = self._renderer.evaluate(
                function, columns, rows, "object", self._outputs
            )
            fragments.fill(rows, [result and result[0] for result in results], inverse)
            iris.fill(rows, [result and result[2].encode() for result in results], inverse)
            names = [result[1] if result else "" for result in results]
            codes[rows] = np.array([types.setdefault(name, len(types)) for name in names])[inverse]
        return fragments, iris, codes, list(types)

    def _outputs(self, entities: Sequence[Entity]) -> list[tuple[bytes, str, str]]:
        return list(zip(*self._renderer.to_json(entities), strict=True))

    def _actor(self) -> Fragments:
        fragments = Fragments.empty(self._rows.number)
        actor = self._actors.actor
        for name, rows in self._actors.person_rows(self._rows):
            self._renderer.fill(fragments, people.actor_person, ("actor", name), rows, "actor")
        site, nobody = np.flatnonzero(actor == APPLICATION), np.flatnonzero(actor == NOTHING)
        self._renderer.fill(fragments, people.site, ("site",), site, "actor")
        self._renderer.fill(fragments, lambda _: ANONYMOUS_PERSON, (), nobody, "actor")
        return fragments

    def _site(self) -> Fragments:
        fragments = self._fragments("edApp")
        all_rows = np.arange(self._rows.number)
        self._renderer.fill(fragments, people.site, ("site",), all_rows, "edApp")
        return fragments

    def _group(self) -> Fragments:
        fragments = self._fragments("group")
        rows = np.flatnonzero(self._rows.integers("courseid") > 1)
        columns = ("courseid", "course")
        self._renderer.fill(fragments, activities.course_section, columns, rows, "group")
        return fragments

    def _membership(self) -> Fragments:
        fragments = self._fragments("membership")
        if self._profile.anonymous:
            return fragments
        for name, rows in self._actors.person_rows(self._rows):
            columns = (f"{name}_membership", "actor")
            enrolled = self._rows.having(columns[0], rows)
            self._renderer.fill(fragments, people.actor_membership, columns, enrolled, "membership")
        guests = self._rows.having("user_membership", np.flatnonzero(self._actors.guest))
        guest_columns = ("user_membership",)
        self._renderer.fill(fragments, people.guest_membership, guest_columns, guests, "membership")
        return fragments

    def _session(self) -> Fragments:
        fragments = self._fragments("session")
        if self._profile.anonymous:
            return fragments
        ends = np.array([recipe.ends_session for recipe in self._recipes])[self._recipe]
        times = np.where(ends, self._rows.integers("timecreated"), NOTHING)
        self._rows.derive("session_end", times)
        rows = self._rows.having("session", np.flatnonzero(self._actors.actor > 0))
        columns = ("session", "actor", "session_end")
        self._renderer.fill(fragments, people.session, columns, rows, "session")
        return fragments

    # Shapes

    def _shape_code(self, key: tuple[Any, ...], **values: Any) -> int:  # noqa: ANN401
        """The code of a shape.

        Raises:
            IllegalEventError: no event with it is legal.
        """
        if key not in self._shape_codes:
            shape = event_shape(**values, version=self._translator.version)
            self._shape_codes[key] = len(self._shapes)
            self._shapes.append(shape)
        return self._shape_codes[key]

    def _primary_shapes(self, type_codes: Codes, type_names: list[str]) -> Codes:
        """Codes of the shapes of the rows' own events; a row whose event cannot be legal fails."""
        by_site = self._actors.actor == APPLICATION
        keys = (self._recipe * len(type_names) + type_codes) * 2 + by_site
        rows = np.flatnonzero(self._renderer.failures == 0)
        firsts, inverse = first_of_each(keys[rows], 2 * len(self._recipes) * len(type_names))
        shape_codes = np.zeros(len(firsts), dtype=np.int64)
        for number, row in enumerate(rows[firsts].tolist()):
            recipe = self._recipes[self._recipe[row]]
            try:
                shape_codes[number] = self._shape_code(
                    ("primary", int(keys[row])),
                    event_type=recipe.event_type,
                    action=recipe.action,
                    object_type=type_names[type_codes[row]],
                    by_site=bool(by_site[row]),
                    action_1_1=recipe.action_1_1,
                )
            except IllegalEventError as error:
                self._renderer.fail(rows[inverse == number], "event", str(error))
        codes: Codes = np.zeros(self._rows.number, dtype=np.int64)
        codes[rows] = shape_codes[inverse]
        return codes

    def _check_times(self) -> None:
        times = self._rows.integers("timecreated")
        out_of_range = np.flatnonzero((times < _FIRST_TIME) | (times > _LAST_TIME))
        if len(out_of_range):
            self._renderer.fail(out_of_range, "eventTime", _NO_TIME)

    # Derived events

    def _derived(self) -> _Derived:
        """The derived events of the rows that do not fail; an invalid one fails its row."""
        rendered: list[tuple[int, _RenderedEvent | _FailedEvent]] = []
        for name in dict.fromkeys(name for recipe in self._recipes for name in recipe.derived):
            declared = np.array([name in recipe.derived for recipe in self._recipes])[self._recipe]
            rows = np.flatnonzero(declared & (self._renderer.failures == 0))
            anonymous = self._anonymous[rows]
            rendered.extend(self._derived_by(name, rows[~anonymous]))
            rendered.extend(self._derived_by(name, rows[anonymous], anonymous_event))
        shape_codes = [self._derived_shape(row, event) for row, event in rendered]
        derived = _Derived()
        for (row, event), code in zip(rendered, shape_codes, strict=True):
            if isinstance(event, _RenderedEvent) and not self._renderer.failures[row]:
                self._add(derived, row, event, code)
        return derived

    def _derived_by(
        self,
        name: str,
        rows: Indices,
        then: Callable[[DerivedEvent], DerivedEvent] = lambda event: event,
    ) -> Iterator[tuple[int, _RenderedEvent | _FailedEvent]]:
        """The events that a function derives from some rows, each with its row."""
        made = DERIVED_EVENTS[name]
        results, inverse = self._renderer.evaluate(made.function, made.columns, rows, "derived")
        events = [[then(event) for event in result or ()] for result in results]
        rendered = iter(self._render_derived([event for group in events for event in group]))
        groups = [[next(rendered) for _ in group] for group in events]
        for row, number in zip(rows.tolist(), inverse.tolist(), strict=True):
            for event in groups[number]:
                yield row, event

    def _render_derived(
        self, events: Sequence[DerivedEvent]
    ) -> list[_RenderedEvent | _FailedEvent]:
        """The events with their entities as JSON; the error in the place of one that has none."""
        return [
            _FailedEvent(f"derived {event.child.partition(':')[0]}", made)
            if isinstance(made, Exception)
            else made
            for event, made in zip(events, in_bulk(self._with_entities, events), strict=True)
        ]

    def _with_entities(self, events: Sequence[DerivedEvent]) -> list[_RenderedEvent]:
        objects = self._renderer.to_json([event.object for event in events])
        targets = [
            event.target if self._keeps_target(event.event_type) else None for event in events
        ]
        slots = (
            objects.json,
            self._optional_json("generated", [event.generated for event in events]),
            self._optional_json("target", targets),
            self._optional_json("federatedSession", [event.federated_session for event in events]),
        )
        for event in events:
            _check_time(event.time or 0)
        return [
            _RenderedEvent(event, object_type, iri, dict(zip(_ENTITY_SLOTS, texts, strict=True)))
            for event, object_type, iri, texts in zip(
                events, objects.types, objects.iris, zip(*slots, strict=True), strict=True
            )
        ]

    def _optional_json(self, slot: str, entities: Sequence[Entity | None]) -> list[bytes | None]:
        made = iter(self._renderer.slot_json(slot, [one for one in entities if one is not None]))
        return [None if one is None else next(made) for one in entities]

    def _derived_shape(self, row: int, rendered: _RenderedEvent | _FailedEvent) -> int:
        """The code of the shape; the row fails if there is none, or if the event is invalid."""
        if isinstance(rendered, _FailedEvent):
            self._renderer.fail_with(np.array([row]), rendered.slot, rendered.error)
            return 0
        event = rendered.event
        by_site = bool(event.by_site or self._actors.actor[row] == APPLICATION)
        try:
            return self._shape_code(
                ("derived", event.event_type, event.action, rendered.object_type, by_site),
                event_type=event.event_type,
                action=event.action,
                object_type=rendered.object_type,
                by_site=by_site,
            )
        except IllegalEventError as error:
            self._renderer.fail(np.array([row]), "event", str(error))
            return 0

    def _add(self, derived: _Derived, row: int, rendered: _RenderedEvent, shape_code: int) -> None:
        derived.rows.append(row)
        derived.shapes.append(shape_code)
        derived.times.append(int(rendered.event.time or self._rows.integers("timecreated")[row]))
        derived.children.append(rendered.event.child)
        derived.by_site.append(rendered.event.by_site)
        for slot, text in rendered.entities.items():
            derived.entities[slot].append(text)
        derived.object_types.append(rendered.object_type)
        derived.object_ids.append(rendered.object_id.encode())
        derived.scores.append(_scores(rendered.event.generated))

    # Assembly

    def table(self) -> pa.Table:
        """Make the table."""
        objects, object_ids, type_codes, type_names = self._objects()
        generated, scores = self._generated()
        slots = {
            "object": objects,
            "generated": generated,
            "target": self._slot("target"),
            "group": self._group(),
            "membership": self._membership(),
            "session": self._session(),
            "actor": self._actor(),
            "edApp": self._site(),
            "federatedSession": self._fragments("federatedSession"),
        }
        extensions = EventExtensions(
            self._renderer,
            self._recipes,
            self._recipe,
            self._actors,
            profile=self._profile,
            ip_addresses=self._translator.ip_addresses,
        )
        own_rows = np.arange(self._rows.number)
        self._pools = [Pool(slot, texts, own_rows) for slot, texts in extensions.searched]
        shapes = self._primary_shapes(type_codes, type_names)
        self._check_times()
        derived = self._derived()
        order = _Order.of(self._rows.number, derived)
        failed = self._renderer.failures[order.rows] != 0
        ids = self._ids(order, derived)
        codes = order.with_derived(shapes[order.rows], derived.shapes)
        seconds = order.with_derived(self._rows.integers("timecreated")[order.rows], derived.times)
        seconds = seconds - seconds % SECONDS_OF[self._translator.time_precision]
        parts = [
            f'{{"@context":"{self._translator.version.context}","id":"',
            PooledColumn.of_each(ids),
            *self._slots_and_shapes(order, derived, slots, codes, np.where(failed, 0, seconds)),
            *extensions.columns(
                order.rows, self._tells_grading(codes), self._derived_from(order, ids)
            ),
            "}",
        ]
        # All JSON is made: the records, of which it was made, need not be in memory beside it.
        self._rows.forget_records()
        json = join_columns(parts, len(order.rows))
        columns = self._columns(order, derived, object_ids, type_codes, type_names, scores)
        return self._with_outcomes(order, codes, failed, ids, json, columns)

    def pools(self) -> list[Pool]:
        """What the events of :meth:`table` are joined from, without that of rows that failed."""
        failures = self._renderer.failures != 0
        if not failures.any():
            return self._pools
        return [
            pool._replace(fragments=pool.fragments.without(failures[pool.rows]))
            for pool in self._pools
        ]

    def paths(self) -> Iterator[str]:
        """The paths of the recipes of these rows."""
        for recipe in self._recipes:
            for slot in ("object", "generated", "target"):
                source: EntitySource | None = getattr(recipe, slot)
                if isinstance(source, PathEntity):
                    yield source.path

    def _columns(
        self,
        order: _Order,
        derived: _Derived,
        object_ids: Fragments,
        type_codes: Codes,
        type_names: list[str],
        scores: npt.NDArray[np.float64],
    ) -> dict[str, pa.Array]:
        """The columns that save readers to parse the events."""
        places, numbers = order.derived_positions, order.derived_numbers
        iris = object_ids.take(order.rows, self._rows.integers("id")[order.rows])
        iris.fill(places, derived.object_ids, numbers)
        names = dict.fromkeys([*type_names, *derived.object_types])
        code_of = {name: code for code, name in enumerate(names)}
        types = order.with_derived(
            type_codes[order.rows], [code_of[name] for name in derived.object_types]
        )
        actors = self._actors.actor[order.rows]
        actors[places[np.array(derived.by_site, dtype=bool)[numbers]]] = APPLICATION
        courses = self._rows.integers("courseid")[order.rows]
        scores = scores[order.rows]
        scores[places] = np.array(derived.scores).reshape(-1, 2)[numbers]
        iri = self._translator.iris
        return {
            "actor_id": _of_each(actors, self._actor_id),
            "object_type": repeated(list(names), types),
            "object_id": iris.all(),
            "group_id": _of_each(
                courses, lambda id_: iri.course(id_ or 0) if is_course(id_) else None
            ),
            **{
                name: pa.array(values, from_pandas=True)
                for name, values in zip(_SCORE_COLUMNS, scores.T, strict=True)
            },
        }

    def _actor_id(self, actor: int | None) -> str | None:
        if actor is None:
            return ANONYMOUS_PERSON.id
        iri = self._translator.iris.agent(actor)
        form = self._translator.form
        return iri if form is None or not iri or not actor else form.entity(Person(id=iri)).id

    def _ids(self, order: _Order, derived: _Derived) -> pa.StringArray:
        children = [derived.children[number] for number in order.derived_numbers]
        return self._translator.iris.events(
            self._rows.integers("id")[order.rows],
            self._rows.integers("timecreated")[order.rows],
            zip(order.derived_positions.tolist(), children, strict=True),
        )

    def _tells_grading(self, shapes: Codes) -> Flags:
        """The events that give or remove a grade."""
        flags: Flags = np.array([shape.action in _GRADING for shape in self._shapes])[shapes]
        return flags

    def _derived_from(self, order: _Order, ids: pa.StringArray) -> Fragments:
        fragments = Fragments.empty(len(order.rows), b',"derivedFrom":')
        origins = ids.take(
            pa.array(order.primary_positions[order.rows[order.derived_positions]])
        ).to_pylist()
        texts = [dump(origin) for origin in origins]
        fragments.fill(order.derived_positions, texts, np.arange(len(texts)))
        return fragments

    def _slots_and_shapes(
        self,
        order: _Order,
        derived: _Derived,
        slots: Mapping[str, Fragments],
        shapes: Codes,
        seconds: Codes,
    ) -> list[TextColumn]:
        """The columns of an event between its id and its extensions."""
        logs = self._rows.integers("id")[order.rows]
        columns = {slot: fragments.take(order.rows, logs) for slot, fragments in slots.items()}
        for slot, texts in derived.entities.items():
            columns[slot].fill(order.derived_positions, texts, order.derived_numbers)
        by_site = order.derived_positions[
            np.array(derived.by_site, dtype=bool)[order.derived_numbers]
        ]
        if len(by_site):
            rows = order.rows[by_site]
            texts, inverse = self._renderer.texts(people.site, ("site",), rows, "actor")
            columns["actor"].fill(by_site, texts, inverse)
            for slot in ("membership", "session"):
                columns[slot].codes[by_site] = 0
        self._pools += [Pool(slot, column, order.rows) for slot, column in columns.items()]
        return [
            PooledColumn(shapes, pa.array([shape.json_prefix for shape in self._shapes])),
            columns["actor"],
            PooledColumn(shapes, pa.array([shape.json_infix for shape in self._shapes])),
            columns["object"],
            *time_columns(seconds, ',"eventTime":"'),
            '"',
            *(columns[slot] for slot in _OPTIONAL_SLOTS),
        ]

    def _with_outcomes(
        self,
        order: _Order,
        shapes: Codes,
        failed: Flags,
        ids: pa.StringArray,
        json: pa.ChunkedArray,
        properties: Mapping[str, pa.Array],
    ) -> pa.Table:
        """``CALIPER_EVENTS``: the events with their outcomes and properties, and the reasons."""
        outcomes = np.zeros(len(order.rows), dtype=np.int64)
        outcomes[order.derived_positions] = _OUTCOMES.index("derived")
        outcomes[failed] = _OUTCOMES.index("failed")
        recipes = self._recipe[order.rows]
        where = pa.array(order.rows)
        if failed.any():
            sent = pa.array(~failed)
            ids, json = (pc.if_else(sent, texts, None) for texts in (ids, json))
            properties = {name: _only(sent, values) for name, values in properties.items()}
        columns = {
            "log_id": self._expanded["id"].take(where),
            "timecreated": self._expanded["timecreated"].take(where),
            "event_name": self._expanded["eventname"].combine_chunks().take(where),
            "outcome": repeated(_OUTCOMES, outcomes),
            "reason": repeated(
                self._renderer.reasons, self._renderer.failures[order.rows], ~failed
            ),
            "recipe": repeated([recipe.pattern for recipe in self._recipes], recipes),
            "resolution": repeated([recipe.resolution for recipe in self._recipes], recipes),
            "event_id": ids,
            "event_type": repeated([shape.event_type for shape in self._shapes], shapes, failed),
            "action": repeated([shape.action for shape in self._shapes], shapes, failed),
            "profile": repeated([shape.profile for shape in self._shapes], shapes, failed),
            "caliper_version": repeated([self._translator.version.name], shapes * 0, failed),
            **properties,
            "json": json,
        }
        return CALIPER_EVENTS.conform(pa.table(columns))


def _keep_names_of_code(rows: Rows) -> None:
    """Make the columns null in which a row holds something else than a name of Moodle's code."""
    for name, form in _NAMES_OF_CODE.items():
        codes, values = rows.column(name)
        kept = [value if value is None or form.fullmatch(value) else None for value in values]
        if kept != values:
            rows.add(name, codes, kept)


def _owned(rows: Rows, anonymous: Flags) -> Flags:
    """The anonymous rows whose object may belong to a person."""
    found = np.zeros(rows.number, dtype=np.bool_)
    positions = np.flatnonzero(anonymous)
    if len(positions):
        pairs, codes = rows.distinct(("objecttable", "component"), positions)
        tables, components = (pa.array(column, pa.string()) for column in zip(*pairs, strict=True))
        of_nobody = belong_to_no_person(tables, components).to_numpy(zero_copy_only=False)
        found[positions] = ~of_nobody[codes]
    return found


def _scores(entity: Entity | None) -> _Scores:
    """The score that an entity gives, and the highest possible one; NaN where there is none."""
    if not isinstance(entity, Score):
        return _NO_SCORES
    given, highest = entity.scoreGiven, entity.maxScore
    return np.nan if given is None else float(given), np.nan if highest is None else float(highest)


def _of_each(keys: Codes, text_of: Callable[[int | None], str | None]) -> pa.DictionaryArray:
    """The text of each key, or null; it is made once for each distinct key."""
    codes, distinct = encoded(keys)
    texts = [text_of(key) for key in distinct]
    absent = np.array([text is None for text in texts])[codes]
    return repeated([text or "" for text in texts], codes, absent)


def _only(chosen: pa.Array, values: pa.Array) -> pa.Array:
    if isinstance(values, pa.DictionaryArray):
        indices = pc.if_else(chosen, values.indices, None)
        return pa.DictionaryArray.from_arrays(indices, values.dictionary)
    return pc.if_else(chosen, values, None)


def _check_time(seconds: int) -> None:
    if not _FIRST_TIME <= seconds <= _LAST_TIME:
        raise InvalidEntityError(_NO_TIME)


def _by_path(render: Render, path: Callable[..., Entity], *values: object) -> Entity:
    return path(render, *values)
