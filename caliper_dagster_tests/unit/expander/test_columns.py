"""Columns of numbers and texts: as-of joins, and Python values of Arrow's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from caliper_dagster.expander.bulk_read import plain_values, records_of
from caliper_dagster.expander.record_columns import last_before


@pytest.mark.parametrize(
    ("key", "place", "index"),
    [
        pytest.param(7, 19, -1, id="before the first entry of the key"),
        pytest.param(7, 20, 0, id="at an entry"),
        pytest.param(7, 29, 0, id="between two entries"),
        pytest.param(7, 30, 3, id="of two entries at one place, the later"),
        pytest.param(7, 2**62, 3, id="a place beyond all times"),
        pytest.param(9, 5, 1, id="another key"),
        pytest.param(9, 4, -1, id="not the last entry of the key before it"),
        pytest.param(8, 100, -1, id="a key between the keys of the entries"),
        pytest.param(10, 100, -1, id="a key after all keys"),
    ],
)
def test_the_last_entry_of_a_key_at_a_place(key: int, place: int, index: int) -> None:
    keys, places = np.array([7, 9, 7, 7]), np.array([20, 5, 30, 30])

    assert last_before(keys, places, np.array([key]), np.array([place])).tolist() == [index]


def test_without_entries_there_is_no_last_one() -> None:
    nothing = np.zeros(0, dtype=np.int64)

    assert last_before(nothing, nothing, np.array([1, 2]), np.array([3, 4])).tolist() == [-1, -1]


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(pa.array([1, None, -(2**63), 2**63 - 1]), id="integers"),
        pytest.param(pa.array([1, 2]), id="integers without null"),
        pytest.param(pa.array([0.1, None, 1e300]), id="decimals"),
        pytest.param(pa.array(["é", None, ""]), id="texts"),
        pytest.param(pa.array([None, None], pa.string()), id="texts that are all null"),
        pytest.param(pa.array([], pa.int64()), id="nothing"),
        pytest.param(pa.chunked_array([[1, None], [3]]), id="several chunks"),
        pytest.param(pa.chunked_array([], pa.string()), id="no chunk"),
    ],
)
def test_values_are_those_that_arrow_gives(array: pa.Array | pa.ChunkedArray) -> None:
    values = plain_values(array)

    assert values == array.to_pylist()
    assert list(map(type, values)) == list(map(type, array.to_pylist()))


def test_records_are_the_rows_of_a_table() -> None:
    table = pa.table({"id": [1, 2], "name": ["a", None]})

    assert records_of(table) == [{"id": 1, "name": "a"}, {"id": 2, "name": None}]
    assert records_of(table.slice(0, 0)) == []
