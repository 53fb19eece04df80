"""Persons who are looked for in stored data, by their ids and by what identifies them in texts.

A search has two steps. A regular expression finds the distinct texts of a column that may hold
something, in Arrow. Only these are decoded, and their values looked at one by one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.parts import in_parts
from caliper_dagster.core.user_keys import USER_ID_KEYS

ERASED = "[erased]"
"""Stands in a text where a name stood."""

_MIN_LENGTH = 4
"""Characters that a text in Latin letters must have to be looked for within other texts."""

_PER_EXPRESSION = 100
"""Alternatives of one regular expression: many more would need much memory."""

_USER_KEY = re.compile(USER_ID_KEYS, re.ASCII)
_OWNER_KEYS = ("userid", "authorid")
"""Keys that say whose record it is."""

_OF_ACCOUNT = (
    '"identifierType":"(?:SystemId|LtiUserId|AccountUserName|SisSourcedId|LisSourcedId'
    '|EmailAddress)","identifier":'
)
"""What stands before an identifier of a person in events; courses have identifiers, too."""

_PAGE = r"user/(?:profile|view|edit|editadvanced)\.php\?id="
"""Pages of Moodle about one person; ``user/index.php`` is about a course."""

_PERSON_KEY = re.compile(r"[a-z]*(?:user|author|member|learner|person)s?")
"""Keys of a record of a person, or of a list of ids of persons."""

_ACCOUNT_KEY = re.compile(r"[a-z]*(?:username|idnumber|email)")
"""Keys of texts that identify an account; only there an identifier that is a word is found."""


@dataclass(frozen=True, slots=True)
class UserAccount:
    """What identifies a person, as one record of the person's account says it.

    Attributes:
        firstname: first names.
        lastname: last names.
        identifiers: user name, e-mail address, id number.
    """

    firstname: str = ""
    lastname: str = ""
    identifiers: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> UserAccount:
        """From a record of Moodle's table ``user``, or from event data with the same keys."""
        first, last, *others = (
            str(record.get(key) or "").strip()
            for key in ("firstname", "lastname", "username", "email", "idnumber")
        )
        return cls(first, last, tuple(text for text in others if text))

    def names(self) -> Iterator[str]:
        """The full names, in both orders; none that is too short to be told from other words."""
        for parts in ((self.firstname, self.lastname), (self.lastname, self.firstname)):
            name = " ".join(part for part in parts if _letters(part))
            if _is_distinct(name):
                yield name


@dataclass(frozen=True)
class Persons:
    """Persons who are looked for.

    Attributes:
        ids: their user ids.
        accounts: what identifies them in texts.
        pseudonyms: their ids in the events of an event store with a key.
    """

    ids: frozenset[int]
    accounts: frozenset[UserAccount] = frozenset()
    pseudonyms: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.ids)

    def with_accounts(self, accounts: Iterable[UserAccount]) -> Persons:
        """The same persons, with more that identifies them."""
        return replace(self, accounts=self.accounts | frozenset(accounts))

    # In columns

    def has_id(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Which values of a column of ids are theirs, as a mask without nulls."""
        return pc.is_in(column, value_set=pa.array(sorted(self.ids), pa.int64()))

    def may_hold(self, texts: pa.Array) -> pa.Array:
        """Which texts may mention them, as a mask; JSON, PHP, or any other text."""
        found = pa.array([False] * len(texts), pa.bool_())
        for expression in self._expressions:
            matches = pc.match_substring_regex(texts, expression, ignore_case=True)
            found = pc.or_(found, pc.fill_null(matches, False))
        return found

    def in_events(self, events: pa.Array) -> pa.Array:
        """Which Caliper events mention them, as a mask without nulls; JSON texts."""
        found = pa.array([False] * len(events), pa.bool_())
        for expression in self._event_expressions:
            matches = pc.match_substring_regex(events, expression, ignore_case=True)
            found = pc.or_(found, pc.fill_null(matches, False))
        return found

    @cached_property
    def _event_expressions(self) -> list[str]:
        """Ids where events hold those of users; elsewhere the same number is something else."""
        expressions = []
        for some in in_parts([str(id_) for id_ in sorted(self.ids)], _PER_EXPRESSION):
            number = f"(?:{'|'.join(some)})"
            expressions.append(
                rf'"(?:{USER_ID_KEYS})":"?{number}"?[,}}]|{_OF_ACCOUNT}"{number}"|"user:{number}"'
                rf"|(?:userid=|{_PAGE}|[#-]user-|[#-]member-|-of-){number}\b"
            )
        accounts = [f'{_OF_ACCOUNT}"{_re2(text)}"' for text in sorted(self._all_identifiers)]
        pseudonyms = [f'"{_re2(text)}"' for text in sorted(self.pseudonyms)]
        parts = in_parts([*self._name_expressions, *accounts, *pseudonyms], _PER_EXPRESSION)
        return [*expressions, *("|".join(some) for some in parts)]

    @cached_property
    def _expressions(self) -> list[str]:
        ids = [str(id_) for id_ in sorted(self.ids)]
        expressions = []
        for some in in_parts(ids, _PER_EXPRESSION):
            number = f"(?:{'|'.join(some)})"
            # Values in JSON and in PHP, and paths of Moodle that hold a user's id.
            expressions.append(
                rf'[:\[,] ?"?{number}"?[,;}}\]]|\buser:{number}\b'
                rf"|(?:userid=|{_PAGE}|[#-]user-|[#-]member-|-of-){number}\b"
            )
        accounts = [f'"{_re2(text)}"' for text in sorted(self._all_identifiers)]
        parts = in_parts([*self._name_expressions, *accounts], _PER_EXPRESSION)
        return [*expressions, *("|".join(some) for some in parts)]

    @cached_property
    def _name_expressions(self) -> list[str]:
        names = [_re2(form) for text in self._texts for form in _forms(text)]
        escaped = {json.dumps(text)[1:-1] for text in self._texts if not text.isascii()}
        return [*names, *(_re2(text) for text in sorted(escaped))]

    # In values

    def without(self, value: Any, *, drop_owned: bool) -> Any:  # noqa: ANN401 - any JSON value
        """A JSON value without what tells of these persons; None where nothing is left.

        Args:
            value: the value.
            drop_owned: whether a map that belongs to one of them goes as a whole.
        """
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return self._map(value, drop_owned)
        if isinstance(value, list):
            items = (self.without(item, drop_owned=drop_owned) for item in value)
            pairs = zip(items, value, strict=True)
            return [new for new, old in pairs if new is not None or old is None]
        return value

    def _map(self, record: dict[str, Any], drop_owned: bool) -> dict[str, Any] | None:
        if drop_owned and any(self._is_theirs(record.get(key)) for key in _OWNER_KEYS):
            return None
        kept = {}
        is_tagged = record.get("itemtype") == "user"
        for key, value in record.items():
            if is_tagged and key == "itemid" and self._is_theirs(value):
                continue
            new = self._member(key, value, drop_owned)
            if new is not None or value is None:
                kept[key] = new
        return kept

    def _member(self, key: str, value: Any, drop_owned: bool) -> Any:  # noqa: ANN401
        if _USER_KEY.fullmatch(key) and self._is_theirs(value):
            return None
        if isinstance(value, str) and _ACCOUNT_KEY.fullmatch(key) and self._is_identifier(value):
            return None
        if _PERSON_KEY.fullmatch(key):
            if isinstance(value, dict) and self._is_theirs(value.get("id")):
                return None
            if isinstance(value, list):
                value = [item for item in value if not self._is_person(item)]
        return self.without(value, drop_owned=drop_owned)

    def _is_person(self, item: object) -> bool:
        return self._is_theirs(item.get("id") if isinstance(item, dict) else item)

    def _is_theirs(self, value: object) -> bool:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        return type(value) is int and value in self.ids

    def _is_identifier(self, text: str) -> bool:
        return text.strip().casefold() in self._identifiers

    def _text(self, text: str) -> str | None:
        table, _, id_ = text.partition(":")
        if table == "user" and self._is_theirs(id_):
            return None
        for expression in self._names:
            text = expression.sub(ERASED, text)
        return text

    @cached_property
    def _names(self) -> list[re.Pattern[str]]:
        """What is replaced in texts: names, identifiers, and addresses of their pages."""
        texts = [_python(form) for text in self._texts for form in _forms(text)]
        texts += [
            rf"(?:userid=|{_PAGE})(?:{'|'.join(map(str, some))})(?!\d)"
            for some in in_parts(sorted(self.ids), _PER_EXPRESSION)
        ]
        return [
            re.compile("|".join(some), re.IGNORECASE) for some in in_parts(texts, _PER_EXPRESSION)
        ]

    @cached_property
    def _texts(self) -> list[str]:
        """Full names and identifiers that are looked for within texts, the longest first."""
        names = {name for account in self.accounts for name in account.names()}
        names |= {text for text in self._all_identifiers if _is_distinct(text) and _is_code(text)}
        return sorted(names, key=lambda text: (-len(text), text))

    @cached_property
    def _all_identifiers(self) -> set[str]:
        return {text for account in self.accounts for text in account.identifiers}

    @cached_property
    def _identifiers(self) -> set[str]:
        return {text.casefold() for text in self._all_identifiers}


def cleaned(column: pa.ChunkedArray, persons: Persons, *, drop_owned: bool) -> pa.ChunkedArray:
    """A column of JSON texts without what tells of some persons; the same column if nothing does.

    Args:
        column: dictionary-encoded JSON texts.
        persons: who is looked for.
        drop_owned: see `Persons.without`.
    """
    array = column.unify_dictionaries().combine_chunks() if column.num_chunks else column
    if isinstance(array, pa.ChunkedArray):
        if not len(array):
            return column
        array = array.chunk(0)
    texts = array.dictionary
    suspected = pc.indices_nonzero(persons.may_hold(texts)).to_pylist()
    changed = False
    values: list[str | None] | None = None
    for position in suspected:
        text = texts[position].as_py()
        new = clean_text(text, persons, drop_owned=drop_owned)
        if new != text:
            values = texts.to_pylist() if values is None else values
            values[position], changed = new, True
    if not changed or values is None:
        return column
    renewed = pa.array(values, pa.string()).dictionary_encode()
    indices = renewed.indices.take(array.indices)
    return pa.chunked_array(
        [pa.DictionaryArray.from_arrays(indices.cast(pa.int32()), renewed.dictionary)]
    )


def clean_text(text: str, persons: Persons, *, drop_owned: bool) -> str | None:
    """A JSON text without what tells of some persons; None where nothing is left."""
    value = orjson.loads(text)
    new = persons.without(value, drop_owned=drop_owned)
    if new == value:
        return text
    return None if new is None else orjson.dumps(new).decode()


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


def _is_distinct(text: str) -> bool:
    """Whether a text is long enough to be looked for within others; a name in Chinese is."""
    letters = _letters(text)
    return len(letters) >= _MIN_LENGTH or (len(letters) > 1 and not letters.isascii())


def _is_code(text: str) -> bool:
    """Whether an identifier is no word of a language, which others may use: ``quiz``, ``admin``."""
    return any(not character.isalpha() for character in text) or not text.isascii()


def _forms(text: str) -> list[str]:
    """A text in the Unicode forms in which it may stand somewhere."""
    return sorted({unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC")})


def _re2(text: str) -> str:
    """A regular expression of Arrow for a text; between its words any of some characters."""
    return r"(?:[\s_.,+-]|%20)+".join(_quoted(word) for word in text.split())


def _quoted(word: str) -> str:
    return "".join(c if c.isalnum() or c == "_" or not c.isascii() else f"\\{c}" for c in word)


def _python(text: str) -> str:
    """The same for Python, where whole words are told from parts of words."""
    expression = r"(?:[\s_.,+-]|%20)+".join(re.escape(word) for word in text.split())
    # Languages without spaces between words have no boundaries either.
    is_spaced = all(ord(character) < 0x2E80 for character in text)
    return rf"(?<!\w){expression}(?!\w)" if is_spaced else expression
