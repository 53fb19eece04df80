"""The ``extensions`` of events: raw facts of their rows (rule R6), and what fits nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.translator import extensions
from caliper_dagster.translator.actors import USER_LEVEL, Actors
from caliper_dagster.translator.entities.people import person_reference
from caliper_dagster.translator.entities.registry import Render
from caliper_dagster.translator.recipes import Recipe
from caliper_dagster.translator.renderer import Renderer
from caliper_dagster.translator.rows import (
    NOTHING,
    Codes,
    Flags,
    Fragments,
    Indices,
    dump,
    parameters,
)

_SLOT = "extensions"

_FACTS = {
    "eventName": "eventname", "component": "component", "crud": "crud", "eduLevel": "edulevel",
    "contextLevel": "contextlevel", "origin": "origin", "objectTable": "objecttable",
}  # fmt: skip

_ASSIGNED = frozenset(
    """
    quiz_attempt quiz_attempt_of quiz_result submission submission_of_plugin graded_submission
    assign_result graded_item lesson_answer question_attempt scorm_attempt h5p_attempt
    workshop_submission workshop_assessments_of completion_attempt part_attempt enrolment_membership
    role_membership group_membership cohort_membership related_person note
    """.split()
)
"""Entities that name the related user."""

_GRADES = frozenset(
    """
    quiz_result quiz_score question_score assign_score assign_result workshop_score grade_score
    """.split()
)
"""Entities that tell a grade, which may be another today than it was then."""


class RawFacts:
    """Renders the extensions of all rows once; see :meth:`array`.

    Args:
        renderer: renders, and knows the rows.
        recipes: the recipes in use.
        recipe: code of each row's recipe.
        actors: who acted.
        ip_addresses: whether the address of a row may be sent.
    """

    def __init__(
        self,
        renderer: Renderer,
        recipes: Sequence[Recipe],
        recipe: Codes,
        actors: Actors,
        *,
        ip_addresses: bool,
    ) -> None:
        self._renderer = renderer
        self._rows = renderer.rows
        self._recipes = recipes
        self._recipe = recipe
        self._named: Flags = self._rows.integers("anonymous") != 1
        self._named_context = self._named | (self._rows.integers("contextlevel") != USER_LEVEL)
        everything = np.arange(self._rows.number)
        self._facts = self._plain(_plain_facts, tuple(_FACTS.values()), everything)
        self._other = self._allowed_other()
        shown = np.flatnonzero(self._named) if ip_addresses else everything[:0]
        self._ip = self._values(lambda _, ip: ip or None, ("ip",), shown)
        self._extras = self._all_extras(actors, everything)

    def array(self, rows: Indices, of: pa.Array | None) -> pa.Array:
        """The ``extensions`` of events, with their key before them.

        Args:
            rows: row of each event.
            of: for derived events the id of their row's own event.
        """
        parts: list[pa.Array | str] = [
            self._facts.array(rows, ',"extensions":{"moodle":{'),
            self._integers("logId", "id", rows, self._named),
            self._integers("contextId", "contextid", rows),
            self._integers("contextInstanceId", "contextinstanceid", rows, self._named_context),
            self._integers("objectId", "objectid", rows, self._named),
            self._other.array(rows, ',"other":'),
            self._ip.array(rows, ',"ip":'),
            "}",
        ]
        parts.extend(column.array(rows, f',"{key}":') for key, column in self._extras)
        if of is not None:
            parts.append(pc.binary_join_element_wise(',"derivedFrom":"', of, '"', ""))
        return pc.binary_join_element_wise(*parts, "}", "")

    def _values(
        self, function: Callable[..., Any], names: Sequence[str], rows: Indices
    ) -> Fragments:
        fragments = Fragments(self._rows.number)
        self._renderer.place_values(fragments, function, names, rows, _SLOT)
        return fragments

    def _plain(
        self, function: Callable[..., str], names: Sequence[str], rows: Indices
    ) -> Fragments:
        fragments = Fragments(self._rows.number)
        results, inverse = self._renderer.evaluate(function, names, rows, _SLOT)
        fragments.place(rows, results, inverse)
        return fragments

    def _integers(
        self, key: str, column: str, rows: Indices, shown: Flags | None = None
    ) -> pa.Array:
        values = self._rows.integers(column)[rows]
        missing = values == NOTHING
        if shown is not None:
            missing |= ~shown[rows]
        texts = pa.array(values, mask=missing).cast(pa.string())
        return pc.binary_join_element_wise(f',"{key}":', texts, "").fill_null("")

    def _of_recipes(self, holds: Sequence[bool]) -> Indices:
        return np.flatnonzero(np.array(holds, dtype=bool)[self._recipe])

    def _allowed_other(self) -> Fragments:
        fragments = Fragments(self._rows.number)
        for allowed in {recipe.other for recipe in self._recipes}:

            def kept(_: Render, other: object, allowed: frozenset[str] = allowed) -> object:
                return extensions.filtered_other(other, allowed)

            rows = self._of_recipes([recipe.other == allowed for recipe in self._recipes])
            self._renderer.place_values(fragments, kept, ("other",), rows, _SLOT)
        return fragments

    def _all_extras(self, actors: Actors, everything: Indices) -> list[tuple[str, Fragments]]:
        self._rows.derive("assignee", self._assignees())
        graded = self._of_recipes(
            [bool(_GRADES & {recipe.object, recipe.generated}) for recipe in self._recipes]
        )
        given = np.flatnonzero((actors.actor != actors.trigger) & (actors.actor > 0))
        wanted: list[tuple[str, Callable[..., Any], Sequence[str], Indices]] = [
            ("actingAs", _person, ("userid",), np.flatnonzero(actors.acting_as)),
            ("runAs", _person, ("userid",), np.flatnonzero(actors.run_as)),
            ("triggeredBy", extensions.triggered_by, ("trigger",), given),
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
            rows = self._of_recipes([name in recipe.extensions for recipe in self._recipes])
            wanted.append((key, function, parameters(function)[1:], rows))
        return [(key, self._values(function, names, rows)) for key, function, names, rows in wanted]

    def _assignees(self) -> Codes:
        """The user whom an entity of the event names, where the related user goes by it."""
        assigned = np.array(
            [
                bool(_ASSIGNED & {recipe.object, recipe.generated, recipe.target})
                for recipe in self._recipes
            ]
        )[self._recipe]
        codes, records = self._rows.column("object")
        owners = np.array([_owner(record) for record in records], dtype=np.int64)
        related = np.where(self._named, self._rows.integers("relateduserid"), NOTHING)
        owner = owners[codes]
        return np.where(assigned, np.where(owner == NOTHING, related, owner), NOTHING)


def _owner(record: Any) -> int:  # noqa: ANN401 - a record or None
    """The learner whom an attempt or submission belongs to."""
    owner = record.get("userid") if isinstance(record, dict) else None
    return owner if isinstance(owner, int) and abs(owner) < 2**63 else int(NOTHING)


def _plain_facts(_: Render, *values: object) -> str:
    known = {
        key: value
        for key, value in zip(_FACTS, values, strict=True)
        if value is not None and value != ""
    }
    return dump(known)[1:-1]


def _person(render: Render, user: int | None) -> object:
    return person_reference(render, user) if user else None
