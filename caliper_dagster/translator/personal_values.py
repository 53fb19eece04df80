"""Values that identify persons, and where they stand in a text.

A name, user name, e-mail address, idnumber or IP address is looked for as a whole value and as
whole words of a text, in whatever case, Unicode normalization or escape. A name or number alone
counts among other words from four characters; a shorter one only where it is the whole value, or
where first and last name stand together.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from html.entities import html5
from itertools import chain
from typing import Literal, NamedTuple
from urllib.parse import unquote, unquote_plus

import orjson
import pyarrow as pa
import pyarrow.compute as pc

Kind = Literal["name", "username", "email", "idnumber", "ip"]
"""What a value is of a person."""

KINDS: tuple[Kind, ...] = ("name", "username", "email", "idnumber", "ip")

SHORTEST_WORD = 4
"""Characters from which a value counts alone among other words."""

SHORTEST_NUMBER = 5
"""Digits from which a number counts; shorter ones are ids, years, counts."""

_RECORDS = ("user", "realuser", "relateduser")
_USER_TABLE = "user"
_FULL_NAMES = ("loggedinasusername", "originalusername")
_TELLS_OF_USERS = re.compile(r'"(?:\w*username|email|idnumber)"')
PERSON_COLUMNS = (*_RECORDS, "objecttable", "object", "eventname", "other", "ip")
"""Columns of ``EXPANDED_LOG`` that hold values of persons."""

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(
    "[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Chinese, Japanese and Korean, where names stand beside other words without a space."""

_JSON_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\[/\"\\]")
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
_NO_DIGITS = dict.fromkeys(b"0123456789")
_REFERENCES = sorted({it.translate(_NO_DIGITS) for it in html5 if not it.endswith(";")})
"""Names of characters in HTML that need no semicolon, without their digits."""

_UNCERTAIN = re.compile(
    rf"%|\\[u/\"\\]|&(?:#|[A-Za-z]+;|{'|'.join(_REFERENCES)})"
    "|[\x00-\x1f\u00ad\u200b\u200c\u200d\u2060\ufeff]"
)
"""What may be an escape here or in JSON, or stand within a word, in a text without digits."""

_SEPARATORS = re.compile(r"[\W_]+")
_DIGIT = re.compile("[0-9]")
_NUMBERS = re.compile(rb"[0-9]+")
_LONG_NUMBERS = re.compile(rb"[0-9]{%d,}" % SHORTEST_NUMBER)
_LONG_NUMBER = re.compile(f"[0-9]{{{SHORTEST_NUMBER},}}")

_MAPPED_ADDRESS = re.compile(r"::ffff:([0-9.]+)", re.IGNORECASE)
_MOST_FORMS = 16


class PersonValues(NamedTuple):
    """The values of a person; empty where there is none."""

    firstname: str = ""
    lastname: str = ""
    username: str = ""
    email: str = ""
    idnumber: str = ""


class PersonalValues(NamedTuple):
    """The persons that some log rows name.

    Attributes:
        people: their values.
        addresses: IP addresses of the rows.
        full_names: names of which first and last name are not told apart.
    """

    people: frozenset[PersonValues] = frozenset()
    addresses: frozenset[str] = frozenset()
    full_names: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return any(map(bool, self))

    def joined(self, other: PersonalValues) -> PersonalValues:
        """The persons of both."""
        return PersonalValues(
            self.people | other.people,
            self.addresses | other.addresses,
            self.full_names | other.full_names,
        )

    def common(self, other: PersonalValues) -> PersonalValues:
        """The persons who are in both."""
        return PersonalValues(
            self.people & other.people,
            self.addresses & other.addresses,
            self.full_names & other.full_names,
        )


def persons_of(expanded: pa.Table) -> PersonalValues:
    """The persons whom the rows name: who acted, who is affected, and who stands in a record.

    Args:
        expanded: ``EXPANDED_LOG`` rows, with `PERSON_COLUMNS` at least.
    """
    texts: set[str | None] = set()
    for name in _RECORDS:
        texts.update(distinct(expanded[name]))
    texts.update(
        distinct(expanded["object"].filter(_is_any(expanded["objecttable"], _USER_TABLE.__eq__)))
    )
    people = {_person(text) for text in texts if text}
    about_users = _is_any(expanded["eventname"], _is_about_users)
    others = distinct(expanded["other"].filter(about_users))
    told = [_told(text) for text in others if text and _TELLS_OF_USERS.search(text)]
    people.update(person for person, _ in told)
    return PersonalValues(
        frozenset(people) - {PersonValues()},
        frozenset(address for address in distinct(expanded["ip"]) if address),
        frozenset(name for _, names in told for name in names),
    )


def distinct(column: pa.ChunkedArray) -> list[str | None]:
    """The distinct texts of a column."""
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    values = column.unique()
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary.take(values.indices)
    texts: list[str | None] = values.to_pylist()
    return texts


def _is_any(column: pa.ChunkedArray, is_chosen: Callable[[str], bool]) -> pa.ChunkedArray:
    """Whether the name in each row is chosen."""
    names = pa.array([name for name in distinct(column) if name and is_chosen(name)], pa.string())
    if not pa.types.is_dictionary(column.type):
        return pc.is_in(column, names)
    chunks = [pc.is_in(it.dictionary, names).take(it.indices) for it in column.chunks]
    return pa.chunked_array(chunks, pa.bool_()).fill_null(False)


def _is_about_users(event: str) -> bool:
    """Whether the ``other`` of an event can hold user names and addresses."""
    return "user" in event or "login" in event


@lru_cache(maxsize=100_000)
def _person(record: str) -> PersonValues:
    """The values of a user's record."""
    user = orjson.loads(record)
    if not isinstance(user, dict):
        return PersonValues()
    return PersonValues._make(map(_text, map(user.get, PersonValues._fields)))


@lru_cache(maxsize=100_000)
def _told(record: str) -> tuple[PersonValues, tuple[str, ...]]:
    """What the decoded ``other`` of an event about users tells: values, and full names."""
    other = orjson.loads(record)
    if not isinstance(other, dict):
        return PersonValues(), ()
    person = PersonValues("", "", *(_text(other.get(key)) for key in PersonValues._fields[2:]))
    return person, tuple(filter(None, (_text(other.get(key)) for key in _FULL_NAMES)))


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if type(value) is int else ""


class ForbiddenValues:
    """The values of some persons that must not leave, ready to be found in texts.

    Args:
        persons: whose values.
        kinds: which of their values must not leave; the others may, wherever they stand.
        host: host of the site, whose address is no person's.
    """

    def __init__(self, persons: PersonalValues, kinds: Collection[Kind], host: str = "") -> None:
        self._whole: dict[str, Kind] = {}
        self._sequences: dict[tuple[str, ...], Kind] = {}
        self._sequence_lengths: dict[str, set[int]] = {}  # by the first word
        self._unspaced: dict[str, Kind] = {}
        self._lengths: set[int] = set()
        allowed: frozenset[Kind] = frozenset(KINDS) - frozenset(kinds)
        for person in persons.people:
            values, unspaced = _values_of(person, allowed)
            for value in values:
                self._add(value)
            for name in unspaced:
                self._add_unspaced(name, "name")
        if "name" in kinds:
            for name in persons.full_names:
                full_name = _value(name, "name", alone=False)
                if full_name:
                    self._add(full_name)
        if "ip" in kinds:
            for address in persons.addresses - {host}:
                for value in _values_of_address(address):
                    self._add(value)

    def __bool__(self) -> bool:
        """Whether there is anything to find."""
        return bool(self._whole)

    def kinds_in(self, text: str, known: Collection[str] = frozenset()) -> frozenset[Kind]:
        """What of persons stands in a text, in any escape, normalization and case.

        Args:
            text: the text.
            known: words that are no value of a person here.
        """
        return frozenset(
            kind
            for form in forms(text)
            for tokens, kind in self._in(normalized(form))
            if not known or not all(token in known for token in tokens)
        )

    def number_kind(self, number: str) -> Kind | None:
        """What a number is of a person, if it is one's."""
        return self._whole.get(number) if len(number) >= SHORTEST_NUMBER else None

    def _in(self, text: str) -> Iterator[tuple[Sequence[str], Kind]]:
        """The values in a normalized text: their words, and what they are."""
        tokens = _WORD.findall(text)
        whole = self._whole.get(text.strip())
        if whole:
            yield tokens, whole
        for position, token in enumerate(tokens):
            for length in self._sequence_lengths.get(token, ()):
                sequence = tuple(tokens[position : position + length])
                kind = self._sequences.get(sequence)
                if kind:
                    yield sequence, kind
            if self._lengths and not token.isascii() and _UNSPACED.search(token):
                yield from self._in_unspaced(token)

    def _in_unspaced(self, token: str) -> Iterator[tuple[Sequence[str], Kind]]:
        for length in self._lengths:
            for start in range(len(token) - length + 1):
                kind = self._unspaced.get(token[start : start + length])
                if kind:
                    yield (token,), kind

    def _add(self, value: _Value) -> None:
        self._whole.setdefault(value.text, value.kind)
        if value.is_found_beside:
            self._sequences.setdefault(value.tokens, value.kind)
            self._sequence_lengths.setdefault(value.tokens[0], set()).add(len(value.tokens))

    def _add_unspaced(self, text: str, kind: Kind) -> None:
        self._unspaced.setdefault(text, kind)
        self._lengths.add(len(text))


class PersonIndex:
    """Which persons have a value that can stand in a text, by one word of each of their values.

    A value stands only where all its words do. So a text without that word need not be looked at,
    and the values of few persons have to be prepared (`ForbiddenValues`). Texts that differ in the
    digits 0 to 9 only have the same letters: `may_hold` is asked once for all of them. Values that
    are found by a number are not known by letters: `has_numbers_of` looks for them in the texts.

    Args:
        persons: whose values.
        kinds: which of their values must not leave.
        host: host of the site, whose address is no person's.
    """

    def __init__(self, persons: PersonalValues, kinds: Collection[Kind], host: str = "") -> None:
        self._people = [*persons.people]
        self._full_names = [*persons.full_names] if "name" in kinds else []
        self._addresses = [*(persons.addresses - {host})] if "ip" in kinds else []
        looked_for = frozenset(kinds)
        self._texts = [
            *(_texts_of_person(person, looked_for) for person in self._people),
            *((name,) for name in self._full_names),
            *map(_texts_of_address, self._addresses),
        ]
        self._near: dict[frozenset[str], PersonalValues] = {frozenset(): PersonalValues()}
        self._signs = signs = _signs_of({*chain.from_iterable(self._texts)})
        self._letters = {sign.letters for sign in signs.values()}
        self._letters.discard("")
        others = [sign for sign in signs.values() if not sign.letters]
        self._wholes = {sign.whole for sign in others if sign.whole is not None}
        self._numbers = {sign.number for sign in others if sign.number}
        self._sequences = {sign.sequence for sign in others if sign.sequence}
        self._sequence_lengths = sorted({len(sequence) for sequence in self._sequences})
        self._unspaced: dict[str, list[int]] = {}
        unspaced = {text for text, sign in signs.items() if sign.is_unspaced}
        for number, person in enumerate(self._people if unspaced and "name" in kinds else ()):
            if not unspaced.isdisjoint(self._texts[number]):
                for name in _unspaced_names(person):
                    self._unspaced.setdefault(name, []).append(number)
        self._unspaced_letters = {name.translate(_NO_DIGITS) for name in self._unspaced}
        self._lengths = {len(name) for name in (*self._unspaced, *self._unspaced_letters)}

    def __bool__(self) -> bool:
        """Whether there is anything to find."""
        return any(sign.word for sign in self._signs.values())

    def may_hold(self, letters: TextLetters) -> bool:
        """Whether a value that is found by its letters can stand in texts with these letters."""
        return (
            not self._letters.isdisjoint(letters.words)
            or not self._wholes.isdisjoint(letters.wholes)
            or any(
                part in self._unspaced_letters
                for word in letters.words
                for part in _unspaced_parts(word, self._lengths)
            )
        )

    def may_hold_numbers(self, letters: TextLetters) -> bool:
        """Whether one that is found by its numbers can stand in texts with these letters."""
        if self._numbers:
            return True
        return bool(self._sequences) and letters.separators >= self._sequence_lengths[0] - 1

    def has_numbers_of(self, texts: bytes, letters: TextLetters) -> bool:
        """Whether one that is found by its numbers can stand in texts.

        Args:
            texts: in UTF-8.
            letters: of all of them.
        """
        if not self._numbers.isdisjoint(_LONG_NUMBERS.findall(texts)):
            return True
        if not self._sequences or letters.separators < self._sequence_lengths[0] - 1:
            return False
        return any(
            tuple(numbers[start : start + length]) in self._sequences
            for numbers in map(
                _NUMBERS.findall, _numbers_in_a_row(self._sequence_lengths[0]).findall(texts)
            )
            for length in self._sequence_lengths
            for start in range(len(numbers) - length + 1)
        )

    def near(self, texts: Iterable[str]) -> PersonalValues:
        """The persons of whom a value can stand in some texts, in any escape."""
        found = frozenset(
            part
            for text in texts
            for form in forms(text)
            for word in words(normalized(form))
            for part in (word, *_unspaced_parts(word, self._lengths))
            if part in self._words or part in self._unspaced
        )
        if found not in self._near:
            self._near[found] = self._with(found)
        return self._near[found]

    def _with(self, found: Collection[str]) -> PersonalValues:
        """The persons with a value that is found by one of some words."""
        texts = {text for text, sign in self._signs.items() if sign.word in found}
        numbers = {it for it, own in enumerate(self._texts) if not texts.isdisjoint(own)}
        numbers.update(*(self._unspaced.get(word, ()) for word in found))
        names_from = len(self._people)
        addresses_from = names_from + len(self._full_names)
        return PersonalValues(
            frozenset(self._people[it] for it in numbers if it < names_from),
            frozenset(
                self._addresses[it - addresses_from] for it in numbers if it >= addresses_from
            ),
            frozenset(
                self._full_names[it - names_from]
                for it in numbers
                if names_from <= it < addresses_from
            ),
        )

    @cached_property
    def _words(self) -> set[str]:
        return {sign.word for sign in self._signs.values()} - {""}


class _Sign(NamedTuple):
    """What a value is found by in texts: by letters, or else by something of numbers.

    Attributes:
        word: one of its words; empty if the value is none.
        letters: those of the word, if it is found by them.
        number: the long number of the word.
        sequence: all its words, if each is a short number.
        whole: the value without digits, if its only word is a number of fewer digits than a word
            must have letters.
        is_unspaced: whether it begins in a script whose names stand within words.
    """

    word: str = ""
    letters: str = ""
    number: bytes = b""
    sequence: tuple[bytes, ...] = ()
    whole: str | None = None
    is_unspaced: bool = False

    @classmethod
    def of(cls, text: str) -> _Sign:
        """The sign of a normalized value."""
        if text.isascii():
            return cls(text, text) if text.isalpha() else cls._of(text)
        sign = cls(text, text) if text.isalpha() else cls._of(text)
        return sign._replace(is_unspaced=True) if _UNSPACED.match(text) else sign

    @classmethod
    def _of(cls, text: str) -> _Sign:
        letters = text.translate(_NO_DIGITS) if text.isascii() or _DIGIT.search(text) else text
        digits = len(text) - len(letters)
        if digits < SHORTEST_NUMBER and letters.isalpha():
            return cls(text, letters)
        found = words(text)
        if not digits:
            word = max(found, key=len, default="")
            return cls(word, word)
        number = _LONG_NUMBER.search(text) if digits >= SHORTEST_NUMBER else None
        if number:
            word = next(it for it in found if number[0] in it)
            return cls(word, number=number[0].encode())
        if words(letters):
            word = max(found, key=_distinctness)
            return cls(word, word.translate(_NO_DIGITS))
        if found[0] == text:  # a short number is no value
            return _NO_SIGN
        # A single one counts beside other words from as many digits as a word has letters.
        if len(found) > 1 or len(found[0]) >= SHORTEST_WORD:
            return cls(found[0], sequence=tuple(one.encode() for one in found))
        return cls(found[0], whole=letters.strip())  # such as ``::1``


_NO_SIGN = _Sign()
_SIGNS: dict[str, _Sign] = {}
"""Those of values that were looked for last: the same persons come again hour after hour."""

_MOST_SIGNS = 100_000


def _signs_of(texts: Collection[str]) -> dict[str, _Sign]:
    """The signs of distinct values."""
    known = {text: sign for text in texts if (sign := _SIGNS.get(text))}
    others = [text for text in texts if text not in known] if len(known) < len(texts) else []
    new = dict(zip(others, map(_Sign.of, _all_normalized(others)), strict=True))
    if len(_SIGNS) + len(new) > _MOST_SIGNS:
        _SIGNS.clear()
    _SIGNS.update(new)
    return known | new


class TextLetters(NamedTuple):
    """What texts have in common that differ only in the digits 0 to 9.

    Attributes:
        words: their words without these digits.
        wholes: the texts without these digits, normalized.
        separators: the longest sequence in them of what is neither letter nor digit.
        is_certain: whether nothing else can stand in escapes and other digits than these.
    """

    words: frozenset[str]
    wholes: frozenset[str]
    separators: int
    is_certain: bool

    @classmethod
    def of(cls, texts: Iterable[str]) -> TextLetters:
        """The letters of texts, and of all that differ from them in these digits only."""
        found: set[str] = set()
        wholes: set[str] = set()
        separators, is_certain = 0, True
        for text in texts:
            letters = text.translate(_NO_DIGITS)
            whole = normalized(letters)
            wholes.add(whole.strip())
            found.update(words(whole))
            separators = max(separators, *map(len, _SEPARATORS.findall(whole)), 0)
            is_certain &= not _UNCERTAIN.search(letters) and not _DIGIT.search(whole)
        return cls(frozenset(found), frozenset(wholes), separators, is_certain)


def _unspaced_parts(word: str, lengths: Collection[int]) -> Iterator[str]:
    """The parts of these lengths of a word in which names stand without a space."""
    if lengths and not word.isascii() and _UNSPACED.search(word):
        for length in lengths:
            for start in range(len(word) - length + 1):
                yield word[start : start + length]


@lru_cache(maxsize=100_000)
def _texts_of_person(person: PersonValues, kinds: frozenset[Kind]) -> tuple[str, ...]:
    """Texts of which one has the word by which each value of a person is found."""
    texts: list[str] = []
    if "name" in kinds:
        first, last = person.firstname.strip(), person.lastname.strip()
        texts += first, last
        if first and last:
            texts += f"{first}{last}", f"{last}{first}"
        # Where neither has letters, the value is found by both together.
        if not (first.isalpha() or last.isalpha()):
            texts.append(f"{first} {last}")
    if "username" in kinds:
        texts.append(person.username)
    if "email" in kinds:
        texts.append(_mailbox(person.email))
    if "idnumber" in kinds:
        texts.append(person.idnumber)
    return tuple(filter(None, texts))


def _mailbox(address: str) -> str:
    """The part of an e-mail address that is one person's, if it has letters."""
    mailbox = address.partition("@")[0]
    return mailbox if mailbox[:1].isalpha() or any(map(str.isalpha, mailbox)) else address


@lru_cache(maxsize=100_000)
def _unspaced_names(person: PersonValues) -> tuple[str, ...]:
    """The full names, in both orders, if they are looked for within words without spaces."""
    first, last = person.firstname.strip(), person.lastname.strip()
    if not first or not last or (first.isascii() and last.isascii()):
        return ()
    names = normalized(f"{first}{last}"), normalized(f"{last}{first}")
    return tuple(name for name in names if _UNSPACED.match(name) and " " not in name)


def _all_normalized(texts: Sequence[str]) -> list[str]:
    """The texts of values, normalized at once."""
    found = list(map(str.lower, texts))
    others = [number for number, text in enumerate(texts) if not text.isascii() or "&" in text]
    lines = [" ".join(html.unescape(texts[number]).splitlines()) for number in others]
    for number, text in zip(others, _normalized("\n".join(lines)).split("\n"), strict=bool(others)):
        found[number] = text
    return [text.strip() for text in found]


def _distinctness(word: str) -> tuple[bool, int]:
    """How seldom a word without a long number occurs, presumably."""
    return bool(word.translate(_NO_DIGITS)), len(word)


@cache
def _numbers_in_a_row(least: int) -> re.Pattern[bytes]:
    """Finds words that are numbers, this many or more one after another."""
    between = rb'[^0-9A-Za-z"\n]++(?:(?<=\\)"[^0-9A-Za-z"\n]*+)*+'  # also an escaped quotation mark
    return re.compile(rb"[0-9]++(?:%b[0-9]++(?![0-9A-Za-z])){%d,}+" % (between, least - 1))


class _Value(NamedTuple):
    """A value to look for.

    Attributes:
        text: the value, normalized.
        tokens: its words.
        kind: what it is.
        is_found_beside: whether it counts beside other words, and not as the whole text only.
    """

    text: str
    tokens: tuple[str, ...]
    kind: Kind
    is_found_beside: bool


@lru_cache(maxsize=100_000)
def _values_of(
    person: PersonValues, allowed: frozenset[Kind]
) -> tuple[tuple[_Value, ...], tuple[str, ...]]:
    """What to look for of a person, and names that are looked for within words without spaces."""
    first, last = person.firstname.strip(), person.lastname.strip()
    permitted = _permitted_words(person, allowed)
    found: list[_Value | None] = []
    unspaced: list[str] = []
    if "name" not in allowed:
        found += [_value(name, "name", permitted) for name in (first, last)]
        if first and last:
            for one, other in ((first, last), (last, first)):
                found.append(_value(f"{one} {other}", "name", permitted, alone=False))
                found.append(_value(f"{one}{other}", "name", permitted))
        unspaced += _unspaced_names(person)
    for kind in ("username", "email", "idnumber"):
        if kind not in allowed:
            found.append(_value(getattr(person, kind), kind, permitted))
    return tuple(value for value in found if value), tuple(unspaced)


def _value(
    value: str, kind: Kind, permitted: Collection[str] = frozenset(), *, alone: bool = True
) -> _Value | None:
    """What to look for; None for a value that is none, or may leave.

    Args:
        value: the value.
        kind: what it is.
        permitted: words of the person that may leave.
        alone: whether it counts among other words only if it is long enough.
    """
    text = normalized(html.unescape(value)).strip()
    tokens = tuple(_WORD.findall(text))
    if not tokens or text in permitted or (text.isdigit() and len(text) < SHORTEST_NUMBER):
        return None
    is_word = sum(map(len, tokens)) >= SHORTEST_WORD and not _has_symbols(text)
    return _Value(text, tokens, kind, is_word or (not alone and len(tokens) > 1))


def _values_of_address(address: str) -> Iterator[_Value]:
    for text in _texts_of_address(address):
        value = _value(text, "ip", alone=False)
        if value:
            yield value


@lru_cache(maxsize=100_000)
def _texts_of_address(address: str) -> tuple[str, ...]:
    mapped = _MAPPED_ADDRESS.fullmatch(address)
    return (address, mapped[1]) if mapped else (address,)


def _permitted_words(person: PersonValues, allowed: Collection[Kind]) -> frozenset[str]:
    """Values and words of a person that may leave: they are no leak where they stand."""
    values = [getattr(person, kind) for kind in allowed if kind in PersonValues._fields]
    if "name" in allowed:
        values += [person.firstname, person.lastname]
    texts = [normalized(value).strip() for value in values if value]
    return frozenset(texts) | {word for text in texts for word in _WORD.findall(text)}


def _has_symbols(text: str) -> bool:
    """Whether a text holds pictures such as emoji: alone, its words are no name."""
    return not text.isascii() and any(map(_is_symbol, text))


@lru_cache(maxsize=10_000)
def _is_symbol(character: str) -> bool:
    return unicodedata.category(character)[0] == "S"


def forms(text: str) -> list[str]:
    r"""A text, and what it becomes when its escapes are resolved, also twice.

    JSON's ``\u00e9``, percent-encoding with and without ``+``, and HTML's character references.
    """
    found = {text: None}
    waiting = [text]
    while waiting and len(found) < _MOST_FORMS:
        one = waiting.pop()
        for mark, decode in _DECODERS:
            if mark in one:
                resolved = decode(one)
                if resolved not in found:
                    found[resolved] = None
                    waiting.append(resolved)
    return list(found)


def _unescaped(text: str) -> str:
    return _JSON_ESCAPES.sub(_resolved, text)


def _resolved(found: re.Match[str]) -> str:
    escape = found[0]
    if escape[1] != "u":
        return escape[1]
    return bytes.fromhex(escape.replace("\\u", "")).decode("utf-16-be", "replace")


_DECODERS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("\\", _unescaped),
    ("&", html.unescape),
    ("%", unquote),
    ("+", unquote_plus),
)


@lru_cache(maxsize=50_000)
def normalized(text: str) -> str:
    """A text without differences of case, normalization and invisible characters."""
    return _normalized(text)


def _normalized(text: str) -> str:
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text.translate(_INVISIBLE)).casefold()
    return unicodedata.normalize("NFKC", folded).replace("i\u0307", "i").replace("\u0131", "i")


def words(text: str) -> list[str]:
    """The words of a normalized text."""
    return _WORD.findall(text)


@dataclass(frozen=True, slots=True)
class ForbiddenKinds:
    """Which values of persons must not leave, by what may be sent about them.

    Attributes:
        kinds: those that must not.
    """

    kinds: frozenset[Kind]

    @classmethod
    def of(cls, *, names: bool, identifiers: Collection[str], ip_addresses: bool) -> ForbiddenKinds:
        """What must not leave when these may.

        Args:
            names: full names.
            identifiers: types of ``otherIdentifiers``.
            ip_addresses: addresses of log rows.
        """
        sent: Mapping[Kind, bool] = {
            "name": names,
            "username": "AccountUserName" in identifiers,
            "email": "EmailAddress" in identifiers,
            "idnumber": not {"SisSourcedId", "LisSourcedId"}.isdisjoint(identifiers),
            "ip": ip_addresses,
        }
        return cls(frozenset(kind for kind, is_sent in sent.items() if not is_sent))
