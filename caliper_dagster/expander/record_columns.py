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
import pyarrow.compute as pc

from caliper_dagster.core.arrow_memory import string_array

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NO_ID = np.int64(-(2**63))
"""Null in integer arrays of ids; Moodle has no such id."""

_PLACES = 2**40
"""More than any Unix time."""


def integers(column: pa.ChunkedArray) -> Integers:
    """An integer column as numpy, null as :data:`NO_ID`."""
    values: Integers = column.fill_null(int(NO_ID)).to_numpy()
    return values


def preserialized(record: Any) -> orjson.Fragment:  # noqa: ANN401 - any JSON value
    """The JSON of a record that is part of several other records, serialized once for all."""
    return orjson.Fragment(orjson.dumps(record))


class RecordColumn:
    """A record column under construction: each call fills some of its rows.

    Args:
        rows: length of the column. All rows are null at first.
    """

    def __init__(self, rows: int) -> None:
        self._codes = np.full(rows, -1, dtype=np.int32)
        self._texts: list[bytes] = []
        self._code_of: dict[bytes, int] = {}

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
        record_keys = sorted(records)
        positions = np.flatnonzero(rows)
        found = pc.index_in(pa.array(keys[positions]), pa.array(record_keys, pa.int64()))
        codes = found.fill_null(-1).to_numpy()
        filled = codes >= 0
        self._codes[positions[filled]] = codes[filled] + len(self._texts)
        self._texts.extend([orjson.dumps(records[key]) for key in record_keys])
        missing = np.zeros(len(rows), dtype=np.bool_)
        missing[positions[~filled]] = True
        return missing

    def add(self, record: Any) -> int:  # noqa: ANN401 - any JSON value
        """Add a record to the dictionary and return its code; equal records have one code."""
        text = orjson.dumps(record)
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
        text, added = self._texts[code] if code >= 0 else b"{}", orjson.dumps(members)
        self._codes[row] = len(self._texts)
        self._texts.append(added if text == b"{}" else text[:-1] + b"," + added[1:])

    def array(self) -> pa.DictionaryArray:
        """The column. Its dictionary may hold values that no row uses."""
        return pa.DictionaryArray.from_arrays(
            # Arrow looks up the codes under nulls, too, when it joins dictionaries.
            pa.array(self._codes.clip(min=0), pa.int32(), mask=self._codes < 0),
            string_array(self._texts),
        )


def distinct(keys: Integers, rows: Flags) -> list[int]:
    """The distinct keys of the given rows, without nulls."""
    values = pa.array(keys[rows]).unique()
    return sorted(key for key in values.to_pylist() if key != NO_ID)


def distinct_codes(values: Integers) -> tuple[Integers, Integers]:
    """The distinct values in their order, and for each value its index among them.

    As ``numpy.unique``, which sorts all values: here only the distinct ones are sorted.
    """
    encoded = pa.array(values).dictionary_encode()
    found = encoded.dictionary.to_numpy()
    order = np.argsort(found)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return found[order], ranks[encoded.indices.to_numpy()]


def distinct_pairs(ones: Integers, others: Integers) -> tuple[list[tuple[int, int]], Integers]:
    """The distinct pairs of keys, in order, and for each row the index of its pair."""
    (first, firsts), (second, seconds) = distinct_codes(ones), distinct_codes(others)
    codes, indices = distinct_codes(firsts * max(len(second), 1) + seconds)
    one, other = np.divmod(codes, max(len(second), 1))
    pairs = list(zip(first[one].tolist(), second[other].tolist(), strict=True))
    return pairs, indices


def last_before(
    keys: Integers, places: Integers, wanted_keys: Integers, wanted_places: Integers
) -> Integers:
    """An as-of join: of each wanted key the last entry at a place in an order, or before it.

    Args:
        keys: the key of each entry.
        places: the place of each entry, such as a Unix time, from 0 to below 2^40; the later of two
            entries of one key at one place is the last.
        wanted_keys: keys.
        wanted_places: a place for each of them.

    Returns:
        The index of the entry; -1 where there is none.
    """
    distinct_keys, codes = distinct_codes(keys)
    if not len(keys):
        return np.full(len(wanted_keys), -1, dtype=np.int64)
    order = np.lexsort((places, codes))
    known = codes[order] * _PLACES + places[order].clip(0, _PLACES - 1)
    wanted = np.searchsorted(distinct_keys, wanted_keys).clip(max=len(distinct_keys) - 1)
    last = wanted * _PLACES + wanted_places.clip(0, _PLACES - 1)
    index = np.searchsorted(known, last, side="right") - 1
    found = (distinct_keys[wanted] == wanted_keys) & (index >= 0)
    found &= known[index] >= wanted * _PLACES
    entries: Integers = np.where(found, order[index], -1)
    return entries


def group_by(records: list[dict[str, Any]], column: str) -> dict[int, list[dict[str, Any]]]:
    """Records grouped by one of their columns; each group keeps their order."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(record[column], []).append(record)
    return groups
