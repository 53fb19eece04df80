"""Record columns: one JSON text per distinct record, shared by all rows that refer to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NOTHING = np.int64(-(2**63))
"""Stands for null in integer arrays of ids, which no id of Moodle ever is."""


def integers(column: pa.ChunkedArray) -> Integers:
    """An integer column as numpy, null as :data:`NOTHING`."""
    values: Integers = column.fill_null(int(NOTHING)).to_numpy()
    return values


def once(record: Any) -> orjson.Fragment:  # noqa: ANN401 - any JSON value
    """A record that is part of several others: its JSON, made once."""
    return orjson.Fragment(orjson.dumps(record))


def dump(record: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON text of a record, the same for equal records."""
    return orjson.dumps(record).decode()


class RecordColumn:
    """A record column that is filled in parts, each part for some of the rows."""

    def __init__(self, rows: int) -> None:
        self._codes = np.full(rows, -1, dtype=np.int32)
        self._texts: list[str] = []
        self._same: dict[str, int] = {}

    def place(self, rows: Flags, keys: Integers, records: Mapping[int, Any]) -> Flags:
        """Put records into rows.

        Args:
            rows: which rows this part is for.
            keys: key of each row, as long as the column.
            records: record of each key; a row whose key is not among them stays null.

        Returns:
            The rows that were to get a record and found none.
        """
        if not records:
            return rows.copy()
        known = np.fromiter(sorted(records), np.int64, len(records))
        position = np.searchsorted(known, keys).clip(max=len(known) - 1)
        found = rows & (known[position] == keys)
        self._codes[found] = position[found] + len(self._texts)
        self._texts.extend(dump(records[int(key)]) for key in known)
        missing: Flags = rows & ~found
        return missing

    def add(self, record: Any) -> int:  # noqa: ANN401 - any JSON value
        """The code that stands for a record; equal records have the same one."""
        text = dump(record)
        code = self._same.setdefault(text, len(self._texts))
        if code == len(self._texts):
            self._texts.append(text)
        return code

    def put(self, rows: Sequence[int] | Integers, codes: Sequence[int] | Integers) -> None:
        """Put records, by their codes, into rows; those with a negative code stay null."""
        self._codes[np.array(rows, dtype=np.int64)] = codes

    def array(self) -> pa.DictionaryArray:
        """The column. Values that no row uses may be in its dictionary."""
        return pa.DictionaryArray.from_arrays(
            pa.array(self._codes, pa.int32(), mask=self._codes < 0),
            pa.array(self._texts, pa.string()),
        )


def distinct(keys: Integers, rows: Flags) -> list[int]:
    """The distinct keys of the chosen rows, without nulls."""
    found = np.unique(keys[rows])
    return [int(key) for key in found if key != NOTHING]


def distinct_pairs(ones: Integers, others: Integers) -> tuple[list[tuple[int, int]], Integers]:
    """The distinct pairs of keys, in order, and for each row the place of its pair among them."""
    (first, firsts), (second, seconds) = (
        np.unique(keys, return_inverse=True) for keys in (ones, others)
    )
    codes, places = np.unique(firsts * max(len(second), 1) + seconds, return_inverse=True)
    one, other = np.divmod(codes, max(len(second), 1))
    pairs = list(zip(first[one].tolist(), second[other].tolist(), strict=True))
    return pairs, places.astype(np.int64)


def group_by(records: list[dict[str, Any]], column: str) -> dict[int, list[dict[str, Any]]]:
    """Records by one of their columns, in their order."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(record[column], []).append(record)
    return groups
