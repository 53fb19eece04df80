import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from caliper_dagster.core.arrow_memory import string_array


@given(st.lists(st.text(max_size=20)))
def test_texts_become_the_array_that_arrow_makes_of_them(texts: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    expected = pa.array(texts, pa.string())
    assert string_array(encoded).equals(expected)
    assert string_array(encoded, b"".join(encoded)).equals(expected)
    string_array(encoded).validate(full=True)
