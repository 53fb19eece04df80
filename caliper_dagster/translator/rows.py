"""Rows of a frame as columns of codes, so that equal values are computed once.

Thousands of rows share few persons, courses and activities. A function of some columns is called
once for each distinct combination of their values.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

Codes = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
Column = tuple[Codes, Sequence[Any]]
"""For each row a code, and the value of each code. If all rows have the same value, it is the only
one."""

NOTHING = np.int64(-(2**63))
"""Null in integer arrays of ids; never an id of Moodle."""

LOG_MARK = f"log{secrets.token_hex(8)}"
"""Placeholder for the id of the log row in a text (:mod:`fragments`); it is random, so no text of a
site contains it."""

_Numbers = TypeVar("_Numbers", pa.ChunkedArray, pa.Array)

_LARGEST = 2**62
_SMALL_PART = 50
"""Integers of a smaller part of the rows than 1/50 are encoded separately."""

_SORT_BELOW = 500
"""For fewer keys, sorting is faster than a hash table."""


class Rows:
    """The columns of an ``EXPANDED_LOG`` table, each as codes into its distinct values.

    Values of record columns are decoded JSON; null is None. A column is read on first use.
    """

    def __init__(self, table: pa.Table, records: frozenset[str]) -> None:
        self._table = table
        self._records = records
        self._columns: dict[str, Column] = {}
        self._derived: dict[str, Codes] = {}
        self._integers: dict[str, Codes] = {}
        self._is_without_records = False
        self.number = table.num_rows

    def integers(self, name: str) -> Codes:
        """An integer column as an array, null as :data:`NOTHING`."""
        if name in self._derived:
            return self._derived[name]
        if name not in self._integers:
            self._integers[name] = _without_nulls(self._table[name], int(NOTHING)).to_numpy()
        return self._integers[name]

    def derive(self, name: str, values: Codes) -> None:
        """Add or replace an integer column; :data:`NOTHING` is null."""
        self._derived[name] = values
        self._columns.pop(name, None)

    def add(self, name: str, codes: Codes, values: Sequence[Any]) -> None:
        """Add or replace a column: for each row a code, and the value of each code."""
        if len(values) > 1 and all_equal(codes):
            codes, values = np.zeros_like(codes), [values[codes[0]]]
        self._columns[name] = (codes, values)

    def hide(self, names: Sequence[str], rows: Flags) -> None:
        """Make columns null in some rows."""
        if not rows.any():
            return
        for name in names:
            codes, values = self.column(name)
            self.add(name, np.where(rows, len(values), codes), [*values, None])

    def column(self, name: str) -> Column:
        """Codes of the rows, and the value of each code."""
        if name not in self._columns:
            self._columns[name] = self._read(name)
        return self._columns[name]

    def forget_records(self) -> None:
        """Release the decoded records. Their columns cannot be read any more.

        The table still has them, but with what was hidden since.
        """
        self._is_without_records = True
        for name in self._records & self._columns.keys():
            del self._columns[name]

    def _read(self, name: str) -> Column:
        if name in self._derived:
            return encoded(self._derived[name])
        if self._is_without_records and name in self._records:
            raise LookupError(f"The records of {name} were released.")
        column = self._table[name]
        if pa.types.is_integer(column.type):
            return encoded(self.integers(name))
        if pa.types.is_dictionary(column.type):
            return self._texts(name, column)
        return self._texts(name, column.combine_chunks().dictionary_encode())

    def _texts(self, name: str, column: pa.ChunkedArray | pa.Array) -> Column:
        array = column
        if isinstance(array, pa.ChunkedArray):
            # This unifies different dictionaries. `unify_dictionaries` hashes equal ones, too.
            array = array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # older and empty columns stay chunked
            array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
        dictionary, size = array.dictionary, len(array.dictionary)
        codes = _without_nulls(array.indices, size).to_numpy()
        occurs = np.bincount(codes, minlength=size + 1)[:size] > 0
        if not occurs.all():  # in a slice of a longer table
            dictionary = dictionary.filter(pa.array(occurs))
            number = np.full(size + 1, len(dictionary))
            number[:size][occurs] = np.arange(len(dictionary))
            codes = number[codes]
        values = _decoded(dictionary) if name in self._records else dictionary.to_pylist()
        return codes, [*values, None] if array.indices.null_count or not values else values

    def holding(self, name: str, expected: str) -> Flags:
        """The rows in which a column has a value."""
        codes, values = self.column(name)
        flags: Flags = np.array([value == expected for value in values])[codes]
        return flags

    def holding_any(self, name: str, wanted: Collection[str]) -> Flags:
        """The rows in which a column has one of some values."""
        codes, values = self.column(name)
        flags: Flags = np.array([value in wanted for value in values])[codes]
        return flags

    def having(self, name: str, rows: Indices) -> Indices:
        """Those of some rows in which a column is not null."""
        codes, values = self.column(name)
        present = np.array([value is not None for value in values])
        selected: Indices = rows[present[codes[rows]]]
        return selected

    def distinct(
        self, names: Sequence[str], rows: Indices
    ) -> tuple[list[tuple[Any, ...]], Indices]:
        """The distinct combinations of some columns in some rows.

        Returns:
            The values of each combination, in the order of the names, and for each row which
            combination it has.
        """
        columns = [self._column_of(name, rows) for name in names]
        firsts, inverse = combinations(
            [(codes, len(values)) for codes, values in columns], len(rows)
        )
        if not columns:
            return [()] * len(firsts), inverse
        picked = [
            [values[code] for code in codes[firsts].tolist()]
            if len(values) > 1
            else [*values] * len(firsts)
            for codes, values in columns
        ]
        return list(zip(*picked, strict=True)), inverse

    def _column_of(self, name: str, rows: Indices) -> Column:
        """A column of some rows; that of all rows if it has one value only."""
        if name not in self._columns and len(rows) < self.number // _SMALL_PART:
            # Such columns are used rarely, and encoding all their distinct numbers is expensive.
            if name in self._derived:
                return encoded(self._derived[name][rows])
            if pa.types.is_integer(self._table[name].type):
                return encoded(self.integers(name)[rows])
        codes, values = self.column(name)
        return codes if len(values) == 1 else codes[rows], values


def combinations(columns: Sequence[tuple[Codes, int]], number: int) -> tuple[Indices, Indices]:
    """Number the distinct combinations of codes.

    Args:
        columns: codes, and the number of codes that there are; where this is 1, the codes are not
            read.
        number: how many rows each of them has.

    Returns:
        The first row of each combination, and for each row the number of its combination.
    """
    keys = np.zeros(number, dtype=np.int64)
    size = 1
    for codes, values in columns:
        if values == 1:
            continue
        if size * values >= _LARGEST:
            firsts, numbers = first_of_each(keys, size)
            keys, size = numbers.astype(np.int64), len(firsts)
        if size > 1:
            keys *= values
        keys += codes
        size *= values
    return first_of_each(keys, size)


def _decoded(documents: pa.StringArray) -> list[Any]:
    """The values of JSON documents."""
    texts = documents.view(pa.binary()).to_pylist()
    values: list[Any] = orjson.loads(b"[%b]" % b",".join(texts))
    return values


def _without_nulls(numbers: _Numbers, instead: int) -> _Numbers:
    """Numbers with another in the place of nulls; most columns have none."""
    return numbers.fill_null(instead) if numbers.null_count else numbers


def all_equal(numbers: Codes) -> bool:
    """Whether some numbers are all the same; mostly, the first and the last one tell them apart."""
    return bool(len(numbers) and numbers[0] == numbers[-1] and (numbers == numbers[0]).all())


def encoded(numbers: Codes) -> Column:
    """Integers as a column, :data:`NOTHING` as null."""
    if all_equal(numbers):
        return np.zeros_like(numbers), [None if numbers[0] == NOTHING else int(numbers[0])]
    array = pa.array(numbers).dictionary_encode()
    values = array.dictionary.to_pylist()
    if int(NOTHING) in values:
        values[values.index(int(NOTHING))] = None
    return array.indices.to_numpy(), values


def first_of_each(keys: Codes, size: int) -> tuple[Indices, Indices]:
    """Number distinct keys.

    Args:
        keys: integers from 0.
        size: upper limit of the keys (exclusive).

    Returns:
        The first position of each distinct key, and for each key its number among these.
    """
    backwards = np.arange(len(keys) - 1, -1, -1)
    if size <= 2 * len(keys):  # a table with an entry for every possible key
        first = np.full(size, -1)
        first[keys[::-1]] = backwards
        occurring = np.flatnonzero(first >= 0)
        number = np.empty(size, dtype=np.intp)
        number[occurring] = np.arange(len(occurring))
        return first[occurring], number[keys]
    if len(keys) < _SORT_BELOW:
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        return first, inverse
    encoded = pa.array(keys).dictionary_encode()
    inverse = encoded.indices.to_numpy()
    first = np.empty(len(encoded.dictionary), dtype=np.intp)
    first[inverse[::-1]] = backwards
    return first, inverse


def grouped(codes: Codes, number: int) -> Iterator[tuple[int, Indices]]:
    """The rows of each code from 0 that occurs, in the order of the codes.

    Args:
        codes: for each row a code below ``number``; rows with a negative one are left out.
        number: how many codes there are.
    """
    small = codes.astype(np.int16) if number < 2**15 else codes  # which numpy sorts by radix
    order = np.argsort(small, kind="stable")
    ends = np.searchsorted(small[order], np.arange(-1, number, dtype=small.dtype), side="right")
    for code in np.flatnonzero(np.diff(ends)).tolist():
        yield code, order[ends[code] : ends[code + 1]]


def repeated(values: Sequence[str], codes: Codes, absent: Flags | None = None) -> pa.Array:
    """A dictionary column from codes into values, of which several may be equal."""
    distinct = {value: number for number, value in enumerate(dict.fromkeys(values))}
    merged = np.array([distinct[value] for value in values], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(
        pa.array(merged[codes], mask=absent), pa.array(list(distinct), pa.string())
    )


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a function's parameters."""
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without properties that are null or empty, at any depth (1.2, Entity)."""
    result: dict[str, Any] = {}
    for key, item in value.items():
        kind = type(item)
        if kind is dict:
            nested = without_empty(item)
            if nested:
                result[key] = nested
        elif kind is list:
            if item:
                result[key] = [without_empty(part) if type(part) is dict else part for part in item]
        elif item is not None and item != "":
            result[key] = item
    return result
