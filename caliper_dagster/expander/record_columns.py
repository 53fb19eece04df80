"""Record columns: one JSON text per distinct record, shared by all rows that refer to it.

Also here: log columns as numpy arrays, and the distinct keys of their rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NO_ID = np.int64(-(2**63))
"""Null in integer arrays of ids; Moodle has no such id."""


def integers(column: pa.ChunkedArray) -> Integers:
    """An integer column as numpy, null as :data:`NO_ID`."""
    values: Integers = column.fill_null(int(NO_ID)).to_numpy()
    return values


def preserialized(record: Any) -> orjson.Fragment:  # noqa: ANN401 - any JSON value
    """The JSON of a record that is part of several other records, serialized once for all."""
    return orjson.Fragment(orjson.dumps(record))


def to_json(record: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON text of a record, the same for equal records."""
    return orjson.dumps(record).decode()


class RecordColumn:
    """A record column under construction: each call fills some of its rows.

    Args:
        rows: length of the column. All rows are null at first.
    """

    def __init__(self, rows: int) -> None:
        self._codes = np.full(rows, -1, dtype=np.int32)
        self._texts: list[str] = []
        self._code_of: dict[str, int] = {}

    def assign(self, rows: Flags, keys: Integers, records: Mapping[int, Any]) -> Flags:
        """Assign records to rows by key.

        Args:
            rows: the rows to fill.
            keys: key of each row, as long as the column.
            records: record of each key; a row whose key has no record stays null.

        Returns:
            The rows of ``rows`` whose key has no record.
        """
        if not records:
            return rows.copy()
        record_keys = np.fromiter(sorted(records), np.int64, len(records))
        index = np.searchsorted(record_keys, keys).clip(max=len(record_keys) - 1)
        filled = rows & (record_keys[index] == keys)
        self._codes[filled] = index[filled] + len(self._texts)
        self._texts.extend(to_json(records[int(key)]) for key in record_keys)
        missing: Flags = rows & ~filled
        return missing

    def add(self, record: Any) -> int:  # noqa: ANN401 - any JSON value
        """Add a record to the dictionary and return its code; equal records have one code."""
        text = to_json(record)
        code = self._code_of.setdefault(text, len(self._texts))
        if code == len(self._texts):
            self._texts.append(text)
        return code

    def assign_codes(self, rows: Sequence[int] | Integers, codes: Sequence[int] | Integers) -> None:
        """Assign records to rows by their codes; rows with a negative code stay null."""
        self._codes[np.array(rows, dtype=np.int64)] = codes

    def add_members(self, row: int, members: Mapping[str, Any]) -> None:
        """Add members to the record of one row; without a record they become its record."""
        code = int(self._codes[row])
        text, added = self._texts[code] if code >= 0 else "{}", to_json(members)
        self._codes[row] = len(self._texts)
        self._texts.append(added if text == "{}" else f"{text[:-1]},{added[1:]}")

    def array(self) -> pa.DictionaryArray:
        """The column. Its dictionary may hold values that no row uses."""
        return pa.DictionaryArray.from_arrays(
            pa.array(self._codes, pa.int32(), mask=self._codes < 0),
            pa.array(self._texts, pa.string()),
        )


def distinct(keys: Integers, rows: Flags) -> list[int]:
    """The distinct keys of the given rows, without nulls."""
    return [int(key) for key in np.unique(keys[rows]) if key != NO_ID]


def distinct_pairs(ones: Integers, others: Integers) -> tuple[list[tuple[int, int]], Integers]:
    """The distinct pairs of keys, in order, and for each row the index of its pair."""
    (first, firsts), (second, seconds) = (
        np.unique(keys, return_inverse=True) for keys in (ones, others)
    )
    codes, indices = np.unique(firsts * max(len(second), 1) + seconds, return_inverse=True)
    one, other = np.divmod(codes, max(len(second), 1))
    pairs = list(zip(first[one].tolist(), second[other].tolist(), strict=True))
    return pairs, indices.astype(np.int64)


def group_by(records: list[dict[str, Any]], column: str) -> dict[int, list[dict[str, Any]]]:
    """Records grouped by one of their columns; each group keeps their order."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(record[column], []).append(record)
    return groups
