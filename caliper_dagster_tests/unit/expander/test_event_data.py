"""What becomes of the column ``other``, which PHP wrote in two formats."""

from __future__ import annotations

import json
import math

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.expander.event_data import UNDECODABLE, decode, decode_column

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-(2**63), 2**63 - 1)
scalars = (
    st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | texts
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        # PHP has one type for both: an empty map is an empty list.
        | st.dictionaries(texts, inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)


def php(value: object) -> str:
    """PHP's ``serialize``, written from its manual."""
    match value:
        case None:
            return "N;"
        case bool():
            return f"b:{int(value)};"
        case int():
            return f"i:{value};"
        case float():
            special = {math.inf: "INF", -math.inf: "-INF"}
            return f"d:{'NAN' if math.isnan(value) else special.get(value, repr(value))};"
        case str():
            return f's:{len(value.encode())}:"{value}";'
        case list():
            return php_array("a", list(enumerate(value)))
        case dict():
            return php_array("a", list(value.items()))
    raise TypeError(type(value))


def php_array(kind: str, items: list[tuple[int | str, object]]) -> str:
    return f"{kind}:{len(items)}:{{{''.join(php(key) + php(item) for key, item in items)}}}"


def php_object(name: str, properties: dict[str, object]) -> str:
    return php_array(f'O:{len(name)}:"{name}"', list(properties.items()))


def column(*stored: str | None) -> tuple[list[object], list[bool]]:
    """The decoded values (from their JSON text) and which could not be read."""
    texts, broken, _ = decode_column(pa.chunked_array([list(stored)], pa.string()))
    return [None if text is None else json.loads(text) for text in texts.to_pylist()], (
        broken.to_pylist()
    )


@pytest.mark.parametrize(
    ("serialized", "as_json"),
    [
        ('a:1:{s:6:"quizid";s:1:"5";}', '{"quizid":"5"}'),
        ('a:2:{s:4:"page";i:0;s:3:"own";b:1;}', '{"page":0,"own":true}'),
        ('a:2:{i:0;s:1:"a";i:1;s:1:"b";}', '["a","b"]'),
        ("a:0:{}", "[]"),
        ('a:2:{i:1;s:1:"a";i:2;s:1:"b";}', '{"1":"a","2":"b"}'),
        ('a:1:{s:5:"users";a:2:{i:0;i:3;i:1;i:4;}}', '{"users":[3,4]}'),
        ('s:9:"recording";', '"recording"'),
        ("i:-7;", "-7"),
        ("d:0.5;", "0.5"),
        ("b:0;", "false"),
        ('a:1:{s:4:"name";s:7:"Zoë ☃";}'.replace("s:7", "s:8"), '{"name":"Zo\\u00eb \\u2603"}'),
        ('a:1:{s:1:"x";N;}', '{"x":null}'),
    ],
)
def test_both_formats_give_the_same_value(serialized, as_json):
    assert decode(serialized) == decode(as_json) == json.loads(as_json)


def test_lengths_of_texts_count_bytes_and_not_characters():
    assert decode('a:1:{s:2:"é";s:4:"😀";}') == {"é": "😀"}
    assert decode('s:1:"é";') is UNDECODABLE


def test_a_text_may_hold_what_looks_like_the_end_of_it():
    assert decode('a:1:{s:1:"a";s:7:"";i:1;}";}') == {"a": '";i:1;}'}


def test_an_object_is_read_as_a_map_and_never_made():
    stored = php_object("ArrayObject", {"a": 1, "\0ArrayObject\0secret": 2, "\0*\0own": 3})
    assert decode(stored) == {"a": 1, "secret": 2, "own": 3}
    assert decode(php_array('O:8:"stdClass"', [(0, "a")])) == {"0": "a"}
    assert decode('O:8:"stdClass":0:{}') == {}


@pytest.mark.parametrize("stored", ["", "  ", "N;", "null", '"null"'])
def test_nothing_has_many_spellings(stored):
    assert decode(stored) is None
    assert column(stored) == ([None], [False])


@pytest.mark.parametrize(
    ("stored", "text"),
    [("d:INF;", "inf"), ("d:-INF;", "-inf"), ("d:NAN;", "nan"), ('{"x":NaN}', {"x": "nan"})],
)
def test_numbers_that_json_lacks_become_texts(stored, text):
    assert column(stored) == ([text], [False])


def test_integers_that_nobody_can_hold_become_texts():
    assert decode("i:99999999999999999999;") == "99999999999999999999"


def test_half_of_an_emoji_does_not_break_its_row():
    values, broken = column('{"name":"cut \\ud83d"}')
    assert values == [{"name": "cut ?"}]
    assert broken == [False]


@pytest.mark.parametrize(
    "stored",
    [
        "a:1:{s:6:",  # cut by the length of a column
        "a:2:{i:0;i:1;}",
        "a:1:{a:0:{}i:1;}",
        "i:1;i:2;",
        "r:1;",
        'C:3:"Foo":1:{x}',
        '{"a":',
        "just words",
        "a:-1:{}",
        's:-1:"";',
        "a:1:{i:0;" * 60 + "N;" + "}" * 60,
        "[" * 300 + "]" * 300,
        "[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_said_to_be_so(stored):
    assert column(stored) == ([None], [True])


@given(values)
def test_php_gives_back_what_was_serialized(value):
    assert decode(php(value)) == (None if value is None else value)


@given(values)
def test_json_gives_back_what_was_encoded(value):
    expected = None if value in (None, "null") else value
    assert decode(json.dumps(value)) == expected


mutilated = st.builds(
    lambda value, cut, noise: php(value)[:cut] + noise + php(value)[cut:],
    values,
    st.integers(0, 60),
    st.sampled_from(["", "x", ";", "}", "9", ":", '"', "a:1:{"]),
)


@given(texts | st.text('aOsibdN:;{}"0123456789[],nul.-eEINF', max_size=40) | mutilated)
def test_any_text_gives_a_value_that_can_be_stored_or_is_undecodable(stored):
    decoded = decode_column(pa.chunked_array([[stored]]))
    (text,), (broken,) = decoded.texts.to_pylist(), decoded.undecodable.to_pylist()
    assert text is None or not broken
    if text is not None:
        assert decoded.values == [orjson.loads(text)]


@given(st.binary(max_size=40).map(lambda data: data.decode("utf-8", "replace")))
def test_any_bytes_that_a_driver_let_through_do_no_harm(stored):
    decode_column(pa.chunked_array([[stored, f's:{len(stored)}:"{stored}";']]))


def test_rows_keep_their_place_and_nothing_stays_nothing():
    stored = [None, "i:1;", "{bad", None, "N;", '{"a":1}', "i:1;", 'a:1:{s:1:"a";i:1;}']
    assert column(*stored) == (
        [None, 1, None, None, None, {"a": 1}, 1, {"a": 1}],
        [False, False, True, False, False, False, False, False],
    )


@given(st.lists(st.none() | st.sampled_from(["i:1;", "2", "{bad", "N;", "a:0:{}"]), max_size=20))
def test_a_column_is_its_rows_decoded_one_by_one(stored):
    chunks = pa.chunked_array([stored[:7], stored[7:]], pa.string())
    decoded, broken, _ = decode_column(chunks)
    assert len(decoded) == len(broken) == len(stored)
    for index, text in enumerate(stored):
        single, single_broken = column(text)
        assert [decoded[index].as_py()] == [json.dumps(v) if v is not None else v for v in single]
        assert [broken[index].as_py()] == single_broken


def test_an_empty_column_is_decoded_to_an_empty_column():
    decoded, broken, _ = decode_column(pa.chunked_array([], pa.string()))
    assert (len(decoded), len(broken)) == (0, 0)
