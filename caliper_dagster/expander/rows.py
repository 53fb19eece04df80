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
    _others: list[Any]
    _other_codes: Integers
    found_modules: dict[int, Record] = field(default_factory=dict)
    missing: dict[int, list[str]] = field(default_factory=dict)

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
            [orjson.loads(text) for text in other.dictionary.to_pylist()],
            other.indices.fill_null(-1).to_numpy().astype(np.int64),
        )

    def other(self, row: int) -> dict[str, Any]:
        """Event data of a row; empty where there are none, or are no map."""
        code = self._other_codes[row]
        value = self._others[code] if code >= 0 else None
        return value if isinstance(value, dict) else {}

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
        for row in np.flatnonzero(rows):
            self.note_reference(int(row), reference if ids is None else f"{reference}:{ids[row]}")

    def note_reference(self, row: int, reference: str) -> None:
        """Remember one reference of one row that leads nowhere."""
        names = self.missing.setdefault(row, [])
        if reference not in names:
            names.append(reference)

    def unresolved(self) -> pa.DictionaryArray:
        """The column ``unresolved``."""
        column = RecordColumn(len(self.ids))
        for row, names in self.missing.items():
            column.put(row, names)
        return column.array()
