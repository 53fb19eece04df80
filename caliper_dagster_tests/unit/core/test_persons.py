"""Persons in texts: what is taken out, and what is left as it is."""

from __future__ import annotations

import json
import unicodedata

import pyarrow as pa
import pytest

from caliper_dagster.core.persons import Persons, UserAccount, clean_text

ANA = Persons(
    frozenset({5}),
    frozenset({UserAccount("Ana", "Müller", ("ana5", "ana@example.org", "2023-17"))}),
)


def cleaned(value: object, persons: Persons = ANA, *, drop_owned: bool = False) -> object:
    """What is left of a value; a value that changes must have been suspected."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    new = clean_text(text, persons, drop_owned=drop_owned)
    suspected = persons.may_hold(pa.array([text]))[0].as_py()
    assert new == text or suspected
    return None if new is None else json.loads(new)


@pytest.mark.parametrize(
    "text",
    [
        "Re: Dear ana MÜLLER,",
        "Müller, Ana",
        "Ana_Müller.pdf",
        unicodedata.normalize("NFD", "Ana Müller"),
        "write to ana@example.org!",
        "ana5",
    ],
)
def test_names_in_texts_are_replaced(text: str) -> None:
    new = cleaned({"name": text})
    assert isinstance(new, dict)
    assert "[erased]" in new["name"]
    kept = unicodedata.normalize("NFC", new["name"]).casefold()
    assert "müller" not in kept
    assert "ana" not in kept


@pytest.mark.parametrize("text", ["Anatomy", "Banana Müllers", "Mana5", "Müller", "ana"])
def test_other_words_stay(text: str) -> None:
    assert cleaned({"name": text}) == {"name": text}


def test_a_word_as_user_name_is_found_in_accounts_only() -> None:
    quiz = Persons(frozenset({5}), frozenset({UserAccount("", "", ("quiz",))}))
    value = {"username": "quiz", "modulename": "quiz", "name": "Week 3 quiz"}
    assert cleaned(value, quiz) == {"modulename": "quiz", "name": "Week 3 quiz"}


def test_ids_go_where_ids_of_users_stand() -> None:
    value = {"userid": 5, "relateduserid": "5", "grader": 5, "slot": 5, "usercompetencyid": 5}
    assert cleaned(value) == {"slot": 5, "usercompetencyid": 5}
    written = {"user": 5, "creatorid": 5, "old_userid": 5, "overriddenby": "5", "id": 5}
    assert cleaned(written) == {"id": 5}
    tagged = {"itemtype": "user", "itemid": 5}
    assert cleaned([tagged, {**tagged, "itemtype": "course"}]) == [
        {"itemtype": "user"}, {"itemtype": "course", "itemid": 5}
    ]  # fmt: skip
    assert cleaned({"userid": 55, "authors": [5, 6]}) == {"userid": 55, "authors": [6]}
    assert cleaned(["user:5", "user:55", "quiz:5"]) == ["user:55", "quiz:5"]


def test_a_record_of_the_person_goes_as_a_whole() -> None:
    value = {"id": 1, "items": [{"userid": 5, "answer": "mine"}, {"userid": 6, "answer": "x"}]}
    assert cleaned(value, drop_owned=True) == {"id": 1, "items": [{"userid": 6, "answer": "x"}]}
    assert cleaned({"userid": 5, "answer": "mine"}, drop_owned=True) is None
    assert cleaned({"author": {"id": 5, "firstname": "Ana"}, "id": 2}) == {"id": 2}


def test_names_without_spaces_between_words_are_found_in_sentences() -> None:
    kim = Persons(frozenset({5}), frozenset({UserAccount("민수", "김", ())}))
    assert cleaned({"name": "김 민수는 여기"}, kim) == {"name": "[erased]는 여기"}


def test_events_name_a_person_by_ids_in_addresses() -> None:
    site = "https://m.example.org"
    events = [
        f'{{"actor":{{"id":"{site}/user/profile.php?id=5"}}}}',
        f'{{"id":"{site}/grade/report/user/index.php?id=2&userid=5#grade-1"}}',
        f'{{"id":"{site}/mod/lesson/view.php?id=3#user-5"}}',
        '{"type":"SystemIdentifier","identifierType":"SystemId","identifier":"5"}',
        '{"name":"Ana Müller"}',
        f'{{"actor":{{"id":"{site}/user/profile.php?id=55"}}}}',
        '{"scoreGiven":5,"value":"5"}',
        '{"type":"SystemIdentifier","identifierType":"LtiContextId","identifier":"5"}',
    ]
    assert ANA.in_events(pa.array(events)).to_pylist() == [True] * 5 + [False] * 3


def test_many_persons_are_found() -> None:
    many = Persons(frozenset(range(1, 2_000, 2)))
    texts = pa.array([f'{{"userid":{number}}}' for number in (1, 2, 1_999, 2_001)])
    assert many.may_hold(texts).to_pylist() == [True, False, True, False]
