"""Dictionary columns of tables that are cut into hours: each hour has the values that it uses.

A slice keeps the dictionary of the table it was cut from, and Parquet would write all of it into
the file of every hour. For a value that a dictionary holds twice pyarrow (26) reserves space in the
file, and fills it with whatever is in the memory of the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_Positions = npt.NDArray[np.int64]
_INDEX_BITS = 32
"""An index of a dictionary has as many bits: above them is room for the number of a cut."""


def with_own_dictionaries(table: pa.Table) -> pa.Table:
    """The same rows; each dictionary holds only the values that they use, each once.

    Values are in the order in which the rows first use them.
    """
    columns = [
        _compact(column.combine_chunks()) if pa.types.is_dictionary(column.type) else column
        for column in table.itercolumns()
    ]
    return pa.Table.from_arrays(columns, schema=table.schema)


def _compact(array: pa.DictionaryArray) -> pa.DictionaryArray:
    used = array.indices.dictionary_encode()
    taken = array.dictionary.take(used.dictionary)
    values = taken.dictionary_encode()
    if len(values.dictionary) == len(taken):
        return pa.DictionaryArray.from_arrays(used.indices, taken)
    return pa.DictionaryArray.from_arrays(values.indices.take(used.indices), values.dictionary)


def cut(table: pa.Table, bounds: _Positions) -> Iterator[pa.Table]:
    """Parts of a table, one after another, each as `with_own_dictionaries` makes it.

    What can be done for all parts at once is done once: a part costs a few calls for each column,
    however many rows the others have.

    Args:
        table: any table.
        bounds: where each part begins, in order, and where the last one ends.
    """
    columns = [
        _DictionaryCut.of(column.combine_chunks(), bounds)
        if pa.types.is_dictionary(column.type)
        else _Slices(column, bounds.tolist())
        for column in table.itercolumns()
    ]
    empty = table.schema.empty_table()
    for number, rows in enumerate(np.diff(bounds).tolist()):
        if not rows:
            yield empty
            continue
        yield pa.Table.from_arrays([column.part(number) for column in columns], schema=table.schema)


@dataclass(frozen=True, slots=True)
class _Slices:
    """A column without a dictionary."""

    column: pa.ChunkedArray
    bounds: Sequence[int]

    def part(self, number: int) -> pa.ChunkedArray:
        begin = self.bounds[number]
        return self.column.slice(begin, self.bounds[number + 1] - begin)


@dataclass(frozen=True, slots=True)
class _DictionaryCut:
    """A dictionary column.

    Attributes:
        type: that of the column.
        indices: buffers of the indices of the rows, each into the values of its part.
        values: those that the parts use, part by part.
        starts: where the values of each part begin, and where the last ones end.
    """

    type: pa.DictionaryType
    bounds: Sequence[int]
    indices: Sequence[pa.Buffer | None]
    values: pa.Array
    starts: Sequence[int]

    @classmethod
    def of(cls, array: pa.DictionaryArray, bounds: _Positions) -> Self:
        array = _with_distinct_values(array)
        numbers = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        keys = pc.add(array.indices.cast(pa.int64()), pa.array(numbers << _INDEX_BITS))
        # Rows are in the order of the parts, and so are the distinct keys.
        encoded = keys.dictionary_encode()
        distinct = encoded.dictionary.to_numpy()
        starts = np.searchsorted(distinct >> _INDEX_BITS, np.arange(len(bounds)))
        first = pa.array(starts[numbers].astype(np.int32))
        # Where a row is null the index is 0: Arrow looks up these indices, too, when it joins
        # arrays with other dictionaries, and a negative one is before its memory.
        indices = pc.subtract(pc.coalesce(encoded.indices, first), first)
        _, data = indices.cast(array.type.index_type).buffers()
        return cls(
            array.type,
            bounds.tolist(),
            [encoded.indices.buffers()[0], data],
            array.dictionary.take(pa.array(distinct & ((1 << _INDEX_BITS) - 1))),
            starts.tolist(),
        )

    def part(self, number: int) -> pa.DictionaryArray:
        begin, start = self.bounds[number], self.starts[number]
        # A slice of the indices would cost as much again.
        return pa.DictionaryArray.from_buffers(
            self.type,
            self.bounds[number + 1] - begin,
            self.indices,
            self.values.slice(start, self.starts[number + 1] - start),
            offset=begin,
        )


def _with_distinct_values(array: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same values, none of which is in the dictionary twice, and none of which is null."""
    values = array.dictionary.dictionary_encode()
    if len(values.dictionary) == len(array.dictionary):
        return array
    return pa.DictionaryArray.from_arrays(values.indices.take(array.indices), values.dictionary)
