"""Functions called once per distinct combination of columns; an exception fails their rows.

A row must never stop the hour. An exception in rendering becomes the reason why the row failed; the
reason names the slot and the type of the error, never a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from caliper_dagster.caliper.entities import Entity
from caliper_dagster.caliper.versions import Version
from caliper_dagster.translator.entities.registry import Render
from caliper_dagster.translator.entity_output import EntityOutput, InvalidEntityError, dump, to_json
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
        then: Callable[[Any], Any] | None = None,
    ) -> tuple[list[Any], Indices]:
        """Call a function with the values of some columns, once per distinct combination.

        Args:
            function: takes :class:`Render` and the values.
            names: columns.
            rows: which rows.
            slot: part of the event; the reason of a failure names it.
            then: applied to each result that is not None.

        Returns:
            The results, and for each row the number of its result.
        """
        combinations, inverse = self.rows.distinct(names, rows)
        results = []
        failed: Codes = np.zeros(len(combinations), dtype=np.int64)
        render = self.render
        for number, values in enumerate(combinations):
            try:
                result = function(render, *values)
                results.append(then(result) if then is not None and result is not None else result)
            except Exception as error:
                results.append(None)
                failed[number] = self._code(slot, _reason(error))
        if failed.any():
            codes = failed[inverse]
            self.failures[rows[codes > 0]] = codes[codes > 0]
        return results, inverse

    def entities(
        self, function: Callable[..., Any], names: Sequence[str], rows: Indices, slot: str
    ) -> tuple[list[EntityOutput | None], Indices]:
        """Like :meth:`evaluate`, for entity functions: the output of each distinct entity."""
        return self.evaluate(function, names, rows, slot, self.to_json)

    def texts(
        self, function: Callable[..., Any], names: Sequence[str], rows: Indices, slot: str
    ) -> tuple[list[bytes | None], Indices]:
        """Like :meth:`entities`, only the JSON, as the value of the slot."""
        return self.evaluate(function, names, rows, slot, partial(self.slot_json, slot))

    def to_json(self, entity: Entity) -> EntityOutput:
        """An entity, checked, in the version, shape and privacy profile of the translator."""
        if self._form is not None:
            entity = self._form.entity(entity)
        return to_json(entity, self.version, self._shape)

    def slot_json(self, slot: str, entity: Entity) -> bytes:
        """An entity as the value of a property of the event."""
        output = self.to_json(entity)
        return dump(output.iri) if slot in self._shape.slots_by_iri else output.json

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
            then = dump if self._form is None else self._private_value
            texts, inverse = self.evaluate(function, names, rows, slot, then)
            fragments.fill(rows, texts, inverse)

    def _private_value(self, value: object) -> bytes | None:
        value = self._form.value(value) if self._form is not None else value
        return None if value is None else dump(value)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, InvalidEntityError) else type(error).__name__
