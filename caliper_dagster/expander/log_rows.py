"""The log rows during their expansion: the columns that lookups use, and unresolved references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.event_data import DecodedColumn
from caliper_dagster.expander.record_columns import (
    NO_ID,
    Flags,
    Integers,
    RecordColumn,
    distinct_codes,
    integers,
)

MODULE_LEVEL = 70
_NO_ROWS = np.zeros(0, dtype=np.int64)
_USER_COLUMNS = ("user", "realuser", "relateduser")


@dataclass(slots=True)
class LogRows:
    """Log rows as arrays.

    Attributes:
        log: the rows as they were read.
        ids: log ids.
        times: Unix times.
        users: ids of users, by the name of their record column.
        courses: course ids.
        objects: ``objectid`` of each row; 0 where it names no object.
        modules: course module id of each row whose context is a course module;
            ``module_references.complete`` adds those that rows refer to in another way.
        identified: rows that are not anonymous.
        module_records: records of the column ``module``, once it has been filled.
    """

    log: pa.Table
    ids: Integers
    times: Integers
    users: dict[str, Integers]
    courses: Integers
    objects: Integers
    modules: Integers
    identified: Flags
    _others: list[dict[str, Any]]
    _other_codes: Integers
    module_records: dict[int, Record] = field(default_factory=dict)
    _unresolved: list[tuple[Integers, Integers]] = field(default_factory=list)
    _codes: dict[str, int] = field(default_factory=dict)
    _texts: dict[str, tuple[list[str], Integers]] = field(default_factory=dict)

    @classmethod
    def of(cls, log: pa.Table, other: DecodedColumn) -> LogRows:
        """Rows of a ``MOODLE_LOG`` table and its decoded column ``other``."""
        modules = integers(log["contextinstanceid"]).copy()
        modules[integers(log["contextlevel"]) != MODULE_LEVEL] = NO_ID
        return cls(
            log,
            integers(log["id"]),
            integers(log["timecreated"]),
            {name: integers(log[f"{name}id"]) for name in _USER_COLUMNS},
            integers(log["courseid"]),
            integers(log["objectid"]).clip(min=0),
            modules,
            integers(log["anonymous"]) != 1,
            # The last value is that of rows without event data, whose code is -1.
            [value if isinstance(value, dict) else {} for value in (*other.values, None)],
            other.texts.indices.fill_null(-1).to_numpy().astype(np.int64),
        )

    def other(self, row: int) -> dict[str, Any]:
        """Event data of a row; empty where there is none, or where it is not a map."""
        return self._others[int(self._other_codes[row])]

    def others(self, rows: Integers) -> list[dict[str, Any]]:
        """Event data of some rows, each as ``other`` returns it."""
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

    def add_unresolved(
        self, reference: str, positions: Integers, ids: Integers | None = None
    ) -> None:
        """Record that a reference of some rows was not resolved.

        Args:
            reference: the reference; with ``ids`` it is a table, and ``table:id`` is recorded.
            positions: positions of the rows.
            ids: the id of each of these rows.
        """
        if ids is None:
            codes = np.full(len(positions), self._code(reference))
        else:
            distinct, indices = distinct_codes(ids)
            names = [self._code(f"{reference}:{id_}") for id_ in distinct.tolist()]
            codes = np.array(names, dtype=np.int64)[indices]
        self._unresolved.append((positions, codes))

    def add_unresolved_references(self, references: Sequence[tuple[int, str]]) -> None:
        """Record unresolved references, each as the position of its row and ``table:id``."""
        positions = np.array([row for row, _ in references], dtype=np.int64)
        codes = np.array([self._code(name) for _, name in references], dtype=np.int64)
        self._unresolved.append((positions, codes))

    def _code(self, reference: str) -> int:
        return self._codes.setdefault(reference, len(self._codes))

    def unresolved(self) -> pa.DictionaryArray:
        """The column ``unresolved``: each row's references in the order of their recording."""
        column, names = RecordColumn(len(self.ids)), list(self._codes)
        positions = np.concatenate([_NO_ROWS, *(rows for rows, _ in self._unresolved)])
        codes = np.concatenate([_NO_ROWS, *(codes for _, codes in self._unresolved)])
        order = np.argsort(positions, kind="stable")
        positions, codes = positions[order], codes[order]
        rows, firsts, counts = np.unique(positions, return_index=True, return_counts=True)
        alone, several = np.flatnonzero(counts == 1), np.flatnonzero(counts > 1)
        used, indices = distinct_codes(codes[firsts[alone]])
        texts = np.array([column.add([names[code]]) for code in used.tolist()], dtype=np.int64)
        column.assign_codes(rows[alone], texts[indices])
        spans = zip(firsts[several].tolist(), counts[several].tolist(), strict=True)
        own_codes = (dict.fromkeys(codes[first : first + count].tolist()) for first, count in spans)
        texts_of_several = [column.add([names[code] for code in own]) for own in own_codes]
        column.assign_codes(rows[several], texts_of_several)
        return column.array()
