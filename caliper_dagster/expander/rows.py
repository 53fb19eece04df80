"""The rows that are expanded: the columns that joins go by, and what the joins did not find."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from caliper_dagster.expander.columns import NOTHING, Flags, Integers, RecordColumn, integers
from caliper_dagster.expander.database import Record

MODULE_LEVEL = 70
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
        modules: course module ids, where the row's context is one (more are found later).
        named: rows that are not anonymous.
        found_modules: records of the column ``module``, once it is there.
        missing: references of each row that lead nowhere.
    """

    log: pa.Table
    ids: Integers
    times: Integers
    users: dict[str, Integers]
    courses: Integers
    modules: Integers
    named: Flags
    _others: list[dict[str, Any]]
    _other_codes: Integers
    found_modules: dict[int, Record] = field(default_factory=dict)
    missing: dict[int, tuple[str, ...]] = field(default_factory=dict)

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
        encoded = self.log[column].combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        values = [value or "" for value in encoded.dictionary.to_pylist()]
        codes = encoded.indices.fill_null(len(values)).to_numpy().astype(np.int64)
        return [*values, ""], codes

    def note_unresolved(self, reference: str, rows: Flags, ids: Integers | None = None) -> None:
        """Remember a reference that leads nowhere, as ``table:id``."""
        positions = np.flatnonzero(rows)
        if ids is None:
            codes, names = np.zeros(len(positions), dtype=np.int64), [reference]
        else:
            found, codes = np.unique(ids[positions], return_inverse=True)
            names = [f"{reference}:{id_}" for id_ in found.tolist()]
        for row, code in zip(positions.tolist(), codes.tolist(), strict=True):
            self.note_reference(row, names[code])

    def note_reference(self, row: int, reference: str) -> None:
        """Remember one reference of one row that leads nowhere."""
        names = self.missing.get(row, ())
        if reference not in names:
            self.missing[row] = (*names, reference)

    def unresolved(self) -> pa.DictionaryArray:
        """The column ``unresolved``."""
        column = RecordColumn(len(self.ids))
        codes = {names: column.add(names) for names in dict.fromkeys(self.missing.values())}
        column.put(list(self.missing), [codes[names] for names in self.missing.values()])
        return column.array()
