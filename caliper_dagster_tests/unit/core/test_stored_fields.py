"""What a stored hour has, what somebody needs, and what its footer says."""

import pytest

from caliper_dagster.core.stored_fields import (
    NOTHING,
    WHOLE,
    StoredFields,
    stored_fields_of,
    with_fields,
)

SOME = StoredFields("truncated", names=False, texts=False, keys=frozenset({"colour", "room"}))


@pytest.mark.parametrize("fields", [WHOLE, NOTHING, SOME])
def test_a_footer_tells_what_was_stored(fields: StoredFields) -> None:
    stats = {"counted": 4, **fields.as_footer_stats()}
    assert stored_fields_of(stats) == fields
    assert with_fields(stats, WHOLE) == {"counted": 4}
    assert stored_fields_of(with_fields({"counted": 4}, fields)) == fields


def test_an_hour_of_an_earlier_release_has_everything() -> None:
    assert stored_fields_of({"counted": 4}) == WHOLE


def test_what_a_later_release_says_in_other_words_is_not_there() -> None:
    said = {"stored_fields": {"addresses": "hashed", "names": "initials", "texts": True}}
    assert stored_fields_of(said) == StoredFields("none", names=False)


def test_what_is_missing_is_said_in_words() -> None:
    assert NOTHING.missing(WHOLE) == ["IP addresses", "names of persons", "texts of persons"]
    assert SOME.missing(StoredFields(names=False, texts=False)) == ["whole IP addresses"]
    assert SOME.missing(StoredFields("truncated", False, False, frozenset({"room", "size"}))) == [
        "event data under size"
    ]
    assert WHOLE.missing(SOME) == SOME.missing(NOTHING) == []


def test_what_two_have_in_common() -> None:
    assert WHOLE.common(SOME) == SOME.common(WHOLE) == SOME
    assert SOME.common(NOTHING) == NOTHING
    assert StoredFields(names=False).common(StoredFields("truncated")) == StoredFields(
        "truncated", names=False
    )
