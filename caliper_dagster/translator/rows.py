"""Rows of a frame as columns of codes, and functions called once per distinct combination.

Thousands of rows share few persons, courses and activities: what is the same is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

Codes = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

NOTHING = np.int64(-(2**63))
"""Stands for null in integer arrays of ids, which no id of Moodle ever is."""


class Rows:
    """The columns of an ``EXPANDED_LOG`` table, each as codes into its distinct values.

    Values of record columns are decoded JSON; null is None.
    """

    def __init__(self, table: pa.Table, records: frozenset[str]) -> None:
        self._table = table
        self._records = records
        self._columns: dict[str, tuple[Codes, Sequence[Any]]] = {}
        self._integers: dict[str, Codes] = {}
        self.number = table.num_rows

    def integers(self, name: str) -> Codes:
        """An integer column as an array, null as :data:`NOTHING`."""
        if name not in self._integers:
            self._integers[name] = self._table[name].fill_null(int(NOTHING)).to_numpy()
        return self._integers[name]

    def derive(self, name: str, values: Codes) -> None:
        """Add or replace an integer column; :data:`NOTHING` is null."""
        distinct, codes = np.unique(values, return_inverse=True)
        self._columns[name] = (
            codes.astype(np.int64),
            [None if value == NOTHING else int(value) for value in distinct],
        )

    def hide(self, names: Sequence[str], rows: Flags) -> None:
        """Make columns null in some rows."""
        for name in names:
            codes, values = self.column(name)
            self._columns[name] = (np.where(rows, len(values), codes), [*values, None])

    def column(self, name: str) -> tuple[Codes, Sequence[Any]]:
        """Codes of the rows, and the value of each code."""
        if name not in self._columns:
            column = self._table[name]
            if pa.types.is_dictionary(column.type):
                self._columns[name] = self._texts(name, column)
            elif pa.types.is_integer(column.type):
                self.derive(name, self.integers(name))
            else:
                self._columns[name] = self._texts(name, column.combine_chunks().dictionary_encode())
        return self._columns[name]

    def _texts(self, name: str, column: pa.ChunkedArray | pa.Array) -> tuple[Codes, Sequence[Any]]:
        array = column
        if isinstance(array, pa.ChunkedArray):
            array = array.unify_dictionaries().combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # older and empty columns stay chunked
            array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
        values = array.dictionary.to_pylist()
        if name in self._records:
            values = [orjson.loads(value) for value in values]
        codes = array.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
        return codes.astype(np.int64), [*values, None]

    def holding(self, name: str, wanted: str) -> Flags:
        """The rows in which a column has a value."""
        codes, values = self.column(name)
        flags: Flags = np.array([value == wanted for value in values])[codes]
        return flags

    def having(self, name: str, rows: Indices) -> Indices:
        """Those of some rows in which a column is not null."""
        codes, values = self.column(name)
        present = np.array([value is not None for value in values])
        chosen: Indices = rows[present[codes[rows]]]
        return chosen

    def distinct(self, names: Sequence[str], rows: Indices) -> tuple[list[list[Any]], Indices]:
        """The distinct combinations of some columns in some rows.

        Returns:
            The values of each combination, in the order of the names, and for each row which
            combination it has.
        """
        keys = np.zeros(len(rows), dtype=np.int64)
        columns = [self.column(name) for name in names]
        size = 1
        for codes, values in columns:
            if size * len(values) >= 2**62:
                keys = np.unique(keys, return_inverse=True)[1]
                size = int(keys.max(initial=0)) + 1
            keys = keys * len(values) + codes[rows]
            size *= len(values)
        _, firsts, inverse = np.unique(keys, return_index=True, return_inverse=True)
        firsts = rows[firsts]
        return (
            [[values[codes[row]] for codes, values in columns] for row in firsts],
            inverse,
        )


def repeated(values: Sequence[str], codes: Codes) -> pa.DictionaryArray:
    """A dictionary column from codes into values, of which several may be equal."""
    distinct = list(dict.fromkeys(values))
    merged = np.array([distinct.index(value) for value in values], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(
        pa.array(merged[codes], pa.int32()), pa.array(distinct, pa.string())
    )


class Fragments:
    """A column of JSON fragments that is filled in parts; rows without one have none."""

    def __init__(self, rows: int) -> None:
        self.codes = np.zeros(rows, dtype=np.int64)
        self._texts = [""]

    def place(self, rows: Indices, texts: Sequence[str | None], inverse: Indices) -> None:
        """Give rows their texts: row ``i`` of ``rows`` gets ``texts[inverse[i]]``."""
        codes = np.array(
            [0 if text is None else number for number, text in enumerate(texts, len(self._texts))],
            dtype=np.int64,
        )
        if len(codes):
            self.codes[rows] = codes[inverse]
        self._texts.extend(text or "" for text in texts)

    def array(self, rows: Indices, before: str = "") -> pa.Array:
        """The fragments of some rows as text, each after ``before``; absent ones are empty text."""
        texts = [before + text if text else "" for text in self._texts]
        return pa.array(texts, pa.string()).take(pa.array(self.codes[rows]))


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a function's parameters."""
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def dump(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON text."""
    return orjson.dumps(value).decode()


def without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without properties that are null or empty, at any depth (1.2, Entity)."""
    kept = {}
    for key, item in value.items():
        found = without_empty(item) if isinstance(item, dict) else item
        if isinstance(found, list):
            found = [without_empty(part) if isinstance(part, dict) else part for part in found]
        if found is not None and found not in ("", [], {}):
            kept[key] = found
    return kept
