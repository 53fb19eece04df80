"""Columns of records: each distinct record once, and a code for each row."""

from __future__ import annotations

import numpy as np

from caliper_dagster.expander.record_columns import RecordColumn


def test_codes_under_nulls_are_those_of_a_record() -> None:
    """Arrow looks them up, too, when it joins columns with different dictionaries."""
    column = RecordColumn(4)
    column.assign_codes([1, 3], [column.add({"id": 7}), column.add({"id": 8})])
    array = column.array()
    assert array.to_pylist() == [None, '{"id":7}', None, '{"id":8}']
    assert np.frombuffer(array.indices.buffers()[1], np.int32).tolist() == [0, 0, 0, 1]
