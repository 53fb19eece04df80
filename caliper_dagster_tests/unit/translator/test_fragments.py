"""Columns of text that are joined row by row."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.translator.fragments import (
    Fragments,
    PooledColumn,
    TextColumn,
    integer_columns,
    join_columns,
    time_columns,
)
from caliper_dagster.translator.rows import LOG_MARK

MARK = LOG_MARK.encode()


def fragments(*texts: bytes | None, before: bytes = b"") -> Fragments:
    column = Fragments.empty(len(texts), before)
    column.fill(np.arange(len(texts)), texts, np.arange(len(texts)))
    return column


def numbers(rows: int) -> list[TextColumn]:
    return integer_columns(np.arange(rows), "", np.full(rows, True))


def joined(*columns: TextColumn, rows: int) -> list[str]:
    return join_columns(columns, rows).to_pylist()


def test_fragments_that_are_absent_are_empty_text():
    column = Fragments.empty(4, b',"x":')
    column.fill(np.array([0, 2]), [b"a", None], np.array([0, 1]))
    column.fill(np.array([3]), [b"b"], np.array([0]))
    assert joined(column, rows=4) == [',"x":a', "", "", ',"x":b']


def test_texts_that_all_rows_share_are_joined_once():
    shared = fragments("é".encode(), "é".encode()).take(np.array([1, 1]))
    assert joined("<", shared, ">", *numbers(2), shared, rows=2) == ["<é>0é", "<é>1é"]
    assert joined("<", shared, rows=2) == ["<é", "<é"]


def test_of_no_rows_nothing_is_joined():
    assert joined("<", Fragments.empty(0), *numbers(0), rows=0) == []


def test_rows_without_a_text_are_joined_to_empty_texts():
    assert joined(Fragments.empty(2), rows=2) == ["", ""]


def test_marks_become_the_id_of_each_row():
    column = fragments(b"#" + MARK, None, b"plain", MARK + b"-" + MARK + b".")
    rows = np.array([0, 3, 0, 1, 2, 3])
    logs = np.array([11, 12, 13, 14, 15, 16])
    taken = column.take(rows, logs)
    assert joined(taken, rows=6) == ["#11", "12-12.", "#13", "", "plain", "16-16."]
    assert taken.all().to_pylist() == ["#11", "12-12.", "#13", None, "plain", "16-16."]
    assert sorted(taken.distinct().to_pylist()) == ["", "#11", "#13", "12-12.", "16-16.", "plain"]


@given(st.lists(st.tuples(*[st.sampled_from([None, b"a", b"bc"])] * 3), min_size=1, max_size=9))
def test_merged_columns_are_the_same_as_columns_side_by_side(rows):
    columns = [fragments(*texts, before=b",") for texts in zip(*rows, strict=True)]
    merged = Fragments.merge(columns)
    assert joined("<", merged, *numbers(len(rows)), rows=len(rows)) == [
        "<" + "".join("," + text.decode() for text in row if text) + str(number)
        for number, row in enumerate(rows)
    ]


def test_integers_that_must_not_be_shown_are_no_text():
    columns = integer_columns(np.array([5, 6, -7]), ',"n":', np.array([True, False, True]))
    assert joined(*columns, rows=3) == [',"n":5', "", ',"n":-7']


@given(st.lists(st.integers(0, 253_402_300_799), min_size=1, max_size=9))
def test_times_are_written_in_utc_with_milliseconds(seconds):
    found = joined(*time_columns(np.array(seconds), "at "), rows=len(seconds))
    expected = [datetime.fromtimestamp(second, UTC) for second in seconds]
    assert found == [f"at {moment:%Y-%m-%dT%H:%M:%S.000Z}" for moment in expected]


def test_a_long_table_is_joined_in_parts_without_a_seam():
    number = 50_000
    assert joined("n", *numbers(number), ".", rows=number) == [f"n{row}." for row in range(number)]


def test_one_long_text_does_not_make_the_memory_of_every_row_long():
    number, length = 10_000, 2_000_000
    codes = np.ones(number, dtype=np.int64)
    codes[:2] = 0, 2
    column = PooledColumn(codes, pa.array(["x" * length, "y", ""]))
    usual = pa.default_memory_pool()
    observed = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(observed)
    try:
        found = joined(column, ".", rows=number)
    finally:
        pa.set_memory_pool(usual)
    assert found == ["x" * length + ".", ".", *["y."] * (number - 2)]
    assert observed.max_memory() < 100 * length
