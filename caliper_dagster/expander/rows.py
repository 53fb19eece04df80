"""The rows that are expanded: the columns that joins go by, and what the joins did not find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from caliper_dagster.expander.columns import NOTHING, Flags, Integers, RecordColumn, integers
from caliper_dagster.expander.connection import Record

MODULE_LEVEL = 70
_NO_ROWS = np.zeros(0, dtype=np.int64)
_USER_COLUMNS = ("user", "realuser", "relateduser")


@dataclass(slots=True)
class LogRows:
    """Log rows as arrays.

    Attributes:
        log: the rows as they are.
        ids: log ids.
        times: Unix times.
        users: ids of users, by the name of their record column.
        courses: course ids.
        objects: ids that rows have as ``objectid``; 0 where it names nothing.
        modules: course module ids, where the row's context is one (more are found later).
        named: rows that are not anonymous.
        found_modules: records of the column ``module``, once it is there.
    """

    log: pa.Table
    ids: Integers
    times: Integers
    users: dict[str, Integers]
    courses: Integers
    objects: Integers
    modules: Integers
    named: Flags
    _others: list[dict[str, Any]]
    _other_codes: Integers
    found_modules: dict[int, Record] = field(default_factory=dict)
    _missing: list[tuple[Integers, Integers]] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)
    _texts: dict[str, tuple[list[str], Integers]] = field(default_factory=dict)

    @classmethod
    def of(cls, log: pa.Table, other: pa.DictionaryArray) -> LogRows:
        """Rows of a ``MOODLE_LOG`` table and its decoded column ``other``."""
        modules = integers(log["contextinstanceid"]).copy()
        modules[integers(log["contextlevel"]) != MODULE_LEVEL] = NOTHING
        return cls(
            log,
            integers(log["id"]),
            integers(log["timecreated"]),
            {name: integers(log[f"{name}id"]) for name in _USER_COLUMNS},
            integers(log["courseid"]),
            integers(log["objectid"]).clip(min=0),
            modules,
            integers(log["anonymous"]) != 1,
            # The last one is that of rows without, whose code is -1.
            [
                value if isinstance(value, dict) else {}
                for value in (*map(orjson.loads, other.dictionary.to_pylist()), None)
            ],
            other.indices.fill_null(-1).to_numpy().astype(np.int64),
        )

    def other(self, row: int) -> dict[str, Any]:
        """Event data of a row; empty where there are none, or are no map."""
        return self._others[int(self._other_codes[row])]

    def others(self, rows: Integers) -> list[dict[str, Any]]:
        """Event data of some rows, as ``other`` gives them."""
        values = self._others
        return [values[code] for code in self._other_codes[rows].tolist()]

    def texts(self, column: str) -> tuple[list[str], Integers]:
        """A text column as its distinct values and the code of each row; null is empty text."""
        if column not in self._texts:
            encoded = self.log[column].combine_chunks()
            if isinstance(encoded, pa.ChunkedArray):
                encoded = encoded.combine_chunks()
            values = [value or "" for value in encoded.dictionary.to_pylist()]
            codes = encoded.indices.fill_null(len(values)).to_numpy().astype(np.int64)
            self._texts[column] = [*values, ""], codes
        return self._texts[column]

    def note_unresolved(
        self, reference: str, positions: Integers, ids: Integers | None = None
    ) -> None:
        """Remember a reference of some rows that leads nowhere.

        Args:
            reference: what was not found; with ids the table, and ``table:id`` is remembered.
            positions: which rows.
            ids: of each of these rows.
        """
        if ids is None:
            codes = np.full(len(positions), self._name(reference))
        else:
            found, places = np.unique(ids, return_inverse=True)
            names = [self._name(f"{reference}:{id_}") for id_ in found.tolist()]
            codes = np.array(names, dtype=np.int64)[places]
        self._missing.append((positions, codes))

    def note_references(self, references: Sequence[tuple[int, str]]) -> None:
        """Remember references that lead nowhere, each of one row."""
        positions = np.array([row for row, _ in references], dtype=np.int64)
        codes = np.array([self._name(name) for _, name in references], dtype=np.int64)
        self._missing.append((positions, codes))

    def _name(self, reference: str) -> int:
        return self._names.setdefault(reference, len(self._names))

    def unresolved(self) -> pa.DictionaryArray:
        """The column ``unresolved``: the references of each row in the order of the looking up."""
        column, names = RecordColumn(len(self.ids)), list(self._names)
        positions = np.concatenate([_NO_ROWS, *(rows for rows, _ in self._missing)])
        codes = np.concatenate([_NO_ROWS, *(codes for _, codes in self._missing)])
        order = np.argsort(positions, kind="stable")
        positions, codes = positions[order], codes[order]
        rows, firsts, counts = np.unique(positions, return_index=True, return_counts=True)
        alone, several = np.flatnonzero(counts == 1), np.flatnonzero(counts > 1)
        used, places = np.unique(codes[firsts[alone]], return_inverse=True)
        texts = np.array([column.add([names[code]]) for code in used.tolist()], dtype=np.int64)
        column.put(rows[alone], texts[places])
        for row in several.tolist():
            found = codes[firsts[row] : firsts[row] + counts[row]].tolist()
            column.put([rows[row]], [column.add([names[code] for code in dict.fromkeys(found)])])
        return column.array()
