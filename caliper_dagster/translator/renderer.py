"""Functions called once per distinct combination of columns; what they raise fails their rows.

A row must never stop the hour: an exception in rendering becomes the reason why the row failed, and
the reason names the slot and the kind of mistake, never a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from caliper_dagster.translator.entities.registry import Render
from caliper_dagster.translator.rendering import InvalidEntityError, finish
from caliper_dagster.translator.rows import Codes, Fragments, Indices, Rows, dump
from caliper_dagster.translator.vocabulary import Version


class Renderer:
    """Renders what is distinct in some rows, and remembers which rows failed and why.

    Attributes:
        rows: the rows.
        failures: for each row a code into ``reasons``; 0 for none.
        reasons: why rows failed; the first stands for none.
    """

    def __init__(self, rows: Rows, render: Render, version: Version) -> None:
        self.rows = rows
        self.render = render
        self.version = version
        self.failures: Codes = np.zeros(rows.number, dtype=np.int64)
        self.reasons = [""]

    def fail(self, rows: Indices, slot: str, what: str) -> None:
        """Remember that rows cannot become events."""
        reason = f"{slot}: {what}"
        if reason not in self.reasons:
            self.reasons.append(reason)
        self.failures[rows] = self.reasons.index(reason)

    def blame(self, rows: Indices, slot: str, error: Exception) -> None:
        """Remember that rows cannot become events because of an error, without its values."""
        told = isinstance(error, InvalidEntityError)
        self.fail(rows, slot, str(error) if told else type(error).__name__)

    def evaluate(
        self, function: Callable[..., Any], names: Sequence[str], rows: Indices, slot: str
    ) -> tuple[list[Any], Indices]:
        """Call a function with the values of some columns, once per distinct combination.

        Args:
            function: gets :class:`Render` and the values.
            names: columns.
            rows: which rows.
            slot: part of the event that it is for; named when it fails.

        Returns:
            The results, and for each row which one it has.
        """
        combinations, inverse = self.rows.distinct(names, rows)
        results = []
        for number, values in enumerate(combinations):
            try:
                results.append(function(self.render, *values))
            except Exception as error:
                results.append(None)
                self.blame(rows[inverse == number], slot, error)
        return results, inverse

    def entities(
        self, function: Callable[..., Any], names: Sequence[str], rows: Indices, slot: str
    ) -> tuple[list[tuple[str, str] | None], Indices]:
        """Like :meth:`evaluate`, for entity functions: JSON and type of each distinct entity."""

        def finished(render: Render, *values: object) -> tuple[str, str] | None:
            entity = function(render, *values)
            return None if entity is None else self.finished(entity)

        return self.evaluate(finished, names, rows, slot)

    def finished(self, entity: dict[str, Any]) -> tuple[str, str]:
        """JSON and type of an entity, checked, in the wanted version."""
        final = finish(entity, self.version)
        return dump(final), final["type"]

    def place(
        self,
        fragments: Fragments,
        function: Callable[..., Any],
        names: Sequence[str],
        rows: Indices,
        slot: str,
    ) -> None:
        """Put the entities of some rows into a column."""
        if len(rows):
            results, inverse = self.entities(function, names, rows, slot)
            fragments.place(rows, [result[0] if result else None for result in results], inverse)

    def place_values(
        self,
        fragments: Fragments,
        function: Callable[..., Any],
        names: Sequence[str],
        rows: Indices,
        slot: str,
    ) -> None:
        """Like :meth:`place`, for JSON that is no entity of its own."""

        def dumped(render: Render, *values: object) -> str | None:
            result = function(render, *values)
            return None if result is None else dump(result)

        if len(rows):
            texts, inverse = self.evaluate(dumped, names, rows, slot)
            fragments.place(rows, texts, inverse)
