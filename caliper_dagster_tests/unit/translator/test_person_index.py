# ruff: noqa: RUF001 - digits of other scripts on purpose
"""The index of persons passes over no text in which a value of a person stands."""

from __future__ import annotations

import random
import re

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caliper_dagster.translator.personal_values import (
    KINDS,
    ForbiddenValues,
    PersonalValues,
    PersonIndex,
    PersonValues,
    TextLetters,
    forms,
    words,
)


def is_suspected(index: PersonIndex, text: str, seen_before: str) -> bool:
    """Whether a text is looked at, if one that differs in digits stands for both.

    Args:
        index: of persons.
        text: the text.
        seen_before: the text from which its letters are known.
    """
    letters = TextLetters.of([seen_before])
    return (
        not letters.is_certain
        or index.may_hold(letters)
        or (
            index.may_hold_numbers(letters) and index.has_numbers_of(orjson.dumps(text), letters)
        )
    )  # fmt: skip


def assert_found(persons: PersonalValues, text: str, seen_before: str) -> None:
    index = PersonIndex(persons, KINDS)
    assert ForbiddenValues(persons, KINDS).kinds_in(text)
    assert index.near([text])
    assert ForbiddenValues(index.near([text]), KINDS).kinds_in(text)
    assert is_suspected(index, text, seen_before)


def person(**values: str) -> PersonalValues:
    return PersonalValues(people=frozenset({PersonValues(**values)}))


def address(text: str) -> PersonalValues:
    return PersonalValues(addresses=frozenset({text}))


@pytest.mark.parametrize(
    ("persons", "text"),
    [
        (person(firstname="Ada", lastname="Lovelace"), "by AdaLovelace 3"),
        (person(firstname="S", lastname="Li"), "Li S 7"),
        (person(firstname="김", lastname="철수"), "철수김의 글 2"),
        (person(firstname="1", lastname="2"), "a 1 2 b"),
        (person(firstname="1", lastname="田"), "田1A"),
        (person(firstname="🦉", lastname="7"), "🦉 7"),
        (person(username="1 -"), "1 -"),
        (person(idnumber="1111-"), "1111--"),
        (person(idnumber="1111-"), "no. 1111, 2"),
        (person(firstname="A&amp;B", lastname="C"), "a&b"),
        (person(username="student17"), "from Student17!"),
        (person(username="s1234567"), "S1234567, 1"),
        (person(email="17@uni.example"), "to 17@UNI.example"),
        (person(email="ada.l@uni.example"), "ada.l@uni.example"),
        (person(idnumber="4711123"), "no. 4711123"),
        (person(idnumber="４７１１１２３"), "no. 4711123"),
        (person(idnumber="12-345-678"), "no. 12/345/678"),
        (person(idnumber="12 345"), "12 345"),
        (person(idnumber="(4711123)"), "(4711123)"),
        (person(idnumber="4711123/a"), "no. 4711123-A"),
        (person(idnumber="12-345-678"), 'no. 12"345\\678'),
        (person(idnumber="12-345-678"), "no. 12\t345\n678"),
        (person(idnumber="S-1815-12"), "S-1815-12"),
        (address("192.0.2.17"), "host-192-0-2-17.example"),
        (address("2001:db8::17:3"), "[2001:DB8::17:3]"),
        (address("::ffff:192.0.2.17"), "192.0.2.17"),
        (address("::1"), "::1"),
    ],
)
def test_a_value_is_found_whatever_numbers_the_text_before_had(
    persons: PersonalValues, text: str
) -> None:
    for seen_before in (text, re.sub("[0-9]", "", text), re.sub("[0-9]", "90", text)):
        assert_found(persons, text, seen_before)


@pytest.mark.parametrize(
    "text",
    [
        "４７１１１２３", "47\u00ad11123", "47&#49;1123", "47&#x31;1123", "%34711123",
        r"\u0034711123", "\x074711123", "&nbsp4711123", "47111&sup2;3", "4711123&Tab;",
    ],
)  # fmt: skip
def test_numbers_in_other_digits_and_escapes_are_found(text: str) -> None:
    assert_found(person(idnumber="4711123"), text, text)


def test_only_persons_of_whom_a_word_stands_there_are_near() -> None:
    lovelace = PersonValues("Ada", "Lovelace", "al", "al@uni.example", "S-12345")
    others = [PersonValues("Bob", f"Name{number}", f"b{number}") for number in range(20)]
    index = PersonIndex(PersonalValues(frozenset({lovelace, *others})), KINDS)
    assert index.near(["a page of Lovelace"]).people == {lovelace}
    assert not index.near(["a page of nobody"])
    assert not is_suspected(index, "page 12346 of nobody", "page 1 of nobody")
    assert is_suspected(index, "page 12345 of nobody", "page 1 of nobody")


@pytest.mark.parametrize(
    "text", ["R & D 7", "a&b=2", "Slides &2 handouts", "x&", r"mod\quiz\7", '7 "quoted" &', "&&"]
)
def test_marks_that_begin_no_escape_whatever_the_numbers_need_no_search(text: str) -> None:
    assert TextLetters.of([text]).is_certain


_MARKED = st.text(alphabet='&#;x1amptsu2% \\/"', max_size=12)


@settings(max_examples=400, deadline=None)
@given(_MARKED, _MARKED, _MARKED)
def test_what_has_no_escape_has_none_with_other_numbers(one: str, two: str, three: str) -> None:
    text = f"{one}&{two}\\{three}"
    letters = TextLetters.of([re.sub("[0-9]", "", text)])
    if letters.is_certain:
        assert {*words(re.sub("[0-9]", "", text))} == letters.words
        assert {tuple(words(form)) for form in forms(text)} == {tuple(words(text))}


_NUMBERED = st.text(alphabet="1234a -(", max_size=9)


@settings(max_examples=200, deadline=None)
@given(_NUMBERED, _NUMBERED, _NUMBERED)
def test_numbers_are_found_whatever_stands_around_them(value: str, one: str, two: str) -> None:
    persons = person(idnumber=value)
    for text in (value, f"{one} {value}", f"{value}-{two}", f"({one}{value}{two}"):
        if ForbiddenValues(persons, KINDS).kinds_in(text):
            assert_found(persons, text, re.sub("[0-9]", "", text))
            assert_found(persons, text, re.sub("[0-9]", "7", text))


_TEXTS = st.text(alphabet='abA12 9-._@:éß김田ﬁ²٣🦉&#;%\\"\t\x07', max_size=7)


@settings(max_examples=400, deadline=None)
@given(st.tuples(_TEXTS, _TEXTS, _TEXTS, _TEXTS, _TEXTS), _TEXTS, _TEXTS, st.integers())
def test_what_is_found_is_looked_at(
    values: tuple[str, str, str, str, str], before: str, after: str, seed: int
) -> None:
    """Whoever the person is and whatever stands around the value."""
    persons = PersonalValues(people=frozenset({PersonValues(*values)}))
    chosen = random.Random(seed)
    first, last, *_ = values
    for value in (*values, f"{first} {last}", f"{last}{first}"):
        text = f"{before}{value}{after}"
        if ForbiddenValues(persons, KINDS).kinds_in(text):
            assert_found(persons, text, re.sub("[0-9]", lambda _: chosen.choice(("", "8")), text))
