"""Columns of text that are joined row by row."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.translator.fragments import (
    Fragments,
    TextColumn,
    integer_columns,
    join_columns,
    time_columns,
)
from caliper_dagster.translator.rows import LOG_MARK

EVERYTHING = slice(0, 4)
MARK = LOG_MARK.encode()


def fragments(*texts: bytes | None, before: bytes = b"") -> Fragments:
    column = Fragments.empty(len(texts), before)
    column.fill(np.arange(len(texts)), texts, np.arange(len(texts)))
    return column


def numbers(rows: int) -> list[TextColumn | str]:
    return integer_columns(np.arange(rows), "", np.full(rows, True))


def test_fragments_that_are_absent_are_empty_text():
    column = Fragments.empty(4, b',"x":')
    column.fill(np.array([0, 2]), [b"a", None], np.array([0, 1]))
    column.fill(np.array([3]), [b"b"], np.array([0]))
    assert column.array(EVERYTHING).to_pylist() == [',"x":a', "", "", ',"x":b']


def test_a_text_that_all_rows_share_is_said_once():
    assert fragments("é".encode(), "é".encode()).take(np.array([1, 1])).array(EVERYTHING) == "é"


def test_marks_become_the_id_of_each_row():
    column = fragments(b"#" + MARK, None, b"plain", MARK + b"-" + MARK + b".")
    rows = np.array([0, 3, 0, 1, 2, 3])
    logs = np.array([11, 12, 13, 14, 15, 16])
    found = column.take(rows, logs).array(slice(1, 6)).to_pylist()
    assert found == ["12-12.", "#13", "", "plain", "16-16."]


@given(st.lists(st.tuples(*[st.sampled_from([None, b"a", b"bc"])] * 3), min_size=1, max_size=9))
def test_merged_columns_are_the_same_as_columns_side_by_side(rows):
    columns = [fragments(*texts, before=b",") for texts in zip(*rows, strict=True)]
    merged = Fragments.merge(columns)
    found = join_columns(["<", merged, *numbers(len(rows))], len(rows)).to_pylist()
    assert found == [
        "<" + "".join("," + text.decode() for text in row if text) + str(number)
        for number, row in enumerate(rows)
    ]


def test_integers_that_must_not_be_shown_are_no_text():
    columns = integer_columns(np.array([5, 6, -7]), ',"n":', np.array([True, False, True]))
    assert join_columns(columns, 3).to_pylist() == [',"n":5', "", ',"n":-7']


@given(st.lists(st.integers(0, 253_402_300_799), min_size=1, max_size=9))
def test_times_are_written_in_utc_with_milliseconds(seconds):
    found = join_columns([*time_columns(np.array(seconds), "at ")], len(seconds)).to_pylist()
    expected = [datetime.fromtimestamp(second, UTC) for second in seconds]
    assert found == [f"at {moment:%Y-%m-%dT%H:%M:%S.000Z}" for moment in expected]


def test_a_long_table_is_joined_in_parts_without_a_seam():
    number = 50_000
    found = join_columns(["n", *numbers(number), "."], number).to_pylist()
    assert found == [f"n{row}." for row in range(number)]
