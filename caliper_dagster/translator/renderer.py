"""Functions called once per distinct combination of columns; an exception fails their rows.

A row must never stop the hour. An exception in rendering becomes the reason why the row failed; the
reason names the slot and the type of the error, never a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caliper_dagster.caliper.entities import Entity
from caliper_dagster.caliper.versions import Version
from caliper_dagster.translator.entities.registry import Render
from caliper_dagster.translator.entity_output import (
    EntityOutputs,
    InvalidEntityError,
    all_to_json,
    dump,
    dump_all,
)
from caliper_dagster.translator.fragments import Fragments
from caliper_dagster.translator.privacy_forms import PrivateForm
from caliper_dagster.translator.rows import Codes, Indices, Rows


class Renderer:
    """Renders distinct combinations of values, and records which rows failed and why.

    Everything that holds ids of entities passes :meth:`to_json` or :meth:`fill_values`, which apply
    the form of the privacy profile.

    Attributes:
        rows: the rows.
        failures: for each row a code into ``reasons``; 0 for none.
        reasons: why rows failed; the first one is empty and means no failure.
    """

    def __init__(
        self, rows: Rows, render: Render, version: Version, form: PrivateForm | None = None
    ) -> None:
        self.rows = rows
        self.render = render
        self.version = version
        self._form = form
        self._shape = render.shape
        self.failures: Codes = np.zeros(rows.number, dtype=np.int64)
        self.reasons = [""]

    def fail(self, rows: Indices, slot: str, what: str) -> None:
        """Record that rows cannot become events."""
        self.failures[rows] = self._code(slot, what)

    def fail_with(self, rows: Indices, slot: str, error: Exception) -> None:
        """Record that rows cannot become events because of an error, without its values."""
        self.failures[rows] = self._code(slot, _reason(error))

    def _code(self, slot: str, what: str) -> int:
        reason = f"{slot}: {what}"
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason)

    def evaluate(
        self,
        function: Callable[..., Any],
        names: Sequence[str],
        rows: Indices,
        slot: str,
        then: Callable[[Sequence[Any]], Sequence[Any]] | None = None,
    ) -> tuple[list[Any], Indices]:
        """Call a function with the values of some columns, once per distinct combination.

        Args:
            function: takes :class:`Render` and the values.
            names: columns.
            rows: which rows.
            slot: part of the event; the reason of a failure names it.
            then: applied to all results together that are not None.

        Returns:
            The results, and for each row the number of its result.
        """
        combinations, inverse = self.rows.distinct(names, rows)
        results: list[Any] = []
        render = self.render
        for values in combinations:
            try:
                results.append(function(render, *values))
            except Exception as error:
                results.append(error)
        if then is not None:
            results = _applied(then, results)
        if any(issubclass(kind, Exception) for kind in set(map(type, results))):
            failed: Codes = np.array(
                [self._code(slot, _reason(one)) if _is_error(one) else 0 for one in results]
            )
            codes = failed[inverse]
            self.failures[rows[codes > 0]] = codes[codes > 0]
            results = [None if _is_error(one) else one for one in results]
        return results, inverse

    def texts(
        self, function: Callable[..., Any], names: Sequence[str], rows: Indices, slot: str
    ) -> tuple[list[bytes | None], Indices]:
        """Like :meth:`evaluate`, for entity functions: the JSON, as the value of the slot."""

        def values(entities: Sequence[Entity]) -> Sequence[bytes]:
            return self.slot_json(slot, entities)

        return self.evaluate(function, names, rows, slot, values)

    def to_json(self, entities: Sequence[Entity]) -> EntityOutputs:
        """Entities, checked, in the version, shape and privacy profile of the translator."""
        if self._form is not None:
            entities = [*map(self._form.entity, entities)]
        return all_to_json(entities, self.version, self._shape)

    def slot_json(self, slot: str, entities: Sequence[Entity]) -> list[bytes]:
        """Entities as values of a property of the event."""
        outputs = self.to_json(entities)
        return dump_all(outputs.iris) if slot in self._shape.slots_by_iri else outputs.json

    def fill(
        self,
        fragments: Fragments,
        function: Callable[..., Any],
        names: Sequence[str],
        rows: Indices,
        slot: str,
    ) -> None:
        """Fill a column with the entities of some rows."""
        if len(rows):
            texts, inverse = self.texts(function, names, rows, slot)
            fragments.fill(rows, texts, inverse)

    def fill_values(
        self,
        fragments: Fragments,
        function: Callable[..., Any],
        names: Sequence[str],
        rows: Indices,
        slot: str,
    ) -> None:
        """Like :meth:`fill`, for JSON that is not an entity."""
        if len(rows):
            then = dump_all if self._form is None else self._private_values
            texts, inverse = self.evaluate(function, names, rows, slot, then)
            fragments.fill(rows, texts, inverse)

    def _private_values(self, values: Sequence[object]) -> list[bytes | None]:
        form = self._form
        sent = values if form is None else [*map(form.value, values)]
        return [None if value is None else dump(value) for value in sent]


def _is_error(result: object) -> bool:
    return isinstance(result, Exception)


def _applied(then: Callable[[Sequence[Any]], Sequence[Any]], results: list[Any]) -> list[Any]:
    """What is made of results together; None and errors stay as they are."""
    given = [one for one in results if one is not None and not isinstance(one, Exception)]
    made = in_bulk(then, given)
    if len(given) == len(results):
        return [*made]
    rest = iter(made)
    return [one if one is None or _is_error(one) else next(rest) for one in results]


def in_bulk(make: Callable[[Sequence[Any]], Sequence[Any]], values: Sequence[Any]) -> Sequence[Any]:
    """What is made of some values together; errors in the place of those that raise one."""
    try:
        return make(values)
    except Exception as error:
        if len(values) < 2:
            return [error] * len(values)
        middle = len(values) // 2
        return [*in_bulk(make, values[:middle]), *in_bulk(make, values[middle:])]


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, InvalidEntityError) else type(error).__name__
