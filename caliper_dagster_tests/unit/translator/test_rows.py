"""What is the same is computed once, and every row gets what is its own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.translator.rows import NOTHING, Rows, first_of_each, grouped, without_empty
from caliper_dagster_tests.unit.translator.support import RECORDS, expanded

NAMES = ("component", "objectid", "ip", "other")
some = st.fixed_dictionaries(
    {
        "component": st.sampled_from(["core", "mod_quiz", None]),
        "objectid": st.sampled_from([1, -(2**60), 2**60, None]),
        "ip": st.sampled_from(["::1", "", None]),
        "other": st.sampled_from([{"a": 1}, [], 0, None]),
    }
)


@given(st.lists(some, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_distinct_combinations_are_those_of_the_rows(values, random):
    rows = Rows(expanded(*values), frozenset(RECORDS))
    chosen = np.array(
        sorted(random.sample(range(len(values)), random.randint(0, len(values)))), int
    )
    combinations, inverse = rows.distinct(NAMES, chosen)
    expected = [tuple(values[row][name] for name in NAMES) for row in chosen]
    assert [combinations[number] for number in inverse] == expected
    assert len(combinations) == len({repr(found) for found in expected})


def test_more_combinations_than_an_integer_can_number_are_told_apart():
    values = [{"objectid": number, "id": number} for number in range(3_000)]
    rows = Rows(expanded(*values), frozenset(RECORDS))
    names = ["objectid", "id"] * 3
    combinations, inverse = rows.distinct(names, np.arange(len(values)))
    assert len(combinations) == len(values)
    assert combinations[inverse[2_999]] == (2_999,) * 6


def test_a_hidden_value_is_null_in_its_rows_only():
    rows = Rows(expanded({"userid": 3}, {"userid": 3}, {"userid": 4}), frozenset(RECORDS))
    rows.hide(["userid"], np.array([False, True, False]))
    codes, values = rows.column("userid")
    assert [values[code] for code in codes] == [3, None, 4]


def test_a_derived_column_has_nulls_where_there_is_nothing():
    rows = Rows(expanded({}, {}), frozenset(RECORDS))
    rows.derive("actor", np.array([NOTHING, 7]))
    codes, values = rows.column("actor")
    assert [values[code] for code in codes] == [None, 7]


def test_a_slice_has_only_records_of_its_own():
    table = expanded(*({"userid": user, "user": {"id": user}} for user in range(3, 9)))
    rows = Rows(table.slice(2, 2), frozenset(RECORDS))
    assert rows.column("user")[1] == [{"id": 5}, {"id": 6}]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.sampled_from([41, 2**62]))
def test_what_is_distinct_is_numbered_and_found_where_it_is_first(keys, size):
    array = np.array(keys * 20 if size == 41 else keys)
    firsts, inverse = first_of_each(array, size)
    assert [array[first] for first in firsts[inverse]] == list(array)
    assert sorted(firsts) == sorted({list(array).index(key) for key in keys})


@given(st.lists(st.integers(-1, 5), max_size=20))
def test_rows_are_grouped_by_code_in_their_order(codes):
    expected = {code: [row for row, one in enumerate(codes) if one == code] for code in range(6)}
    found = {code: list(rows) for code, rows in grouped(np.array(codes, int), 6)}
    assert found == {code: rows for code, rows in expected.items() if rows}


def test_emptiness_is_removed_at_any_depth():
    value = {"a": {"b": {"c": None}}, "d": [{"e": "", "g": 1}], "f": 0}
    assert without_empty(value) == {"d": [{"g": 1}], "f": 0}
