"""The leak check: values of persons that must not leave, in events before they are sent.

The texts of an event are joined from *fragments*: an actor, an object, a group. Each is made once
for all rows that share it, and searched once. What is searched is every place where a text of a
person can stand; that is every place that is not known to hold something else. Known are ids and
times, words of Caliper's and Moodle's vocabularies, the site's address with the paths of its
scripts, and texts that are names of the institution's own things.

Most fragments differ from others in numbers only. Of those of a form, which is their JSON without
digits, one is parsed. It tells whether they have such places, and which words stand there: where no
person has a value with such a word, none of them is looked at (`PersonIndex`). Numbers of persons
are looked for in all fragments that have places, at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple
from urllib.parse import unquote_plus, urlsplit

import numpy as np
import orjson
import pyarrow as pa

from caliper_dagster.caliper import vocabulary
from caliper_dagster.core.hours import SECONDS
from caliper_dagster.core.stored_fields import Addresses, StoredFields
from caliper_dagster.translator import identity
from caliper_dagster.translator.entities import (
    activities,
    assign,
    communication,
    generic,
    grades,
    lesson,
    organisation,
    people,
    quiz,
    surveys,
    tools,
)
from caliper_dagster.translator.entities.classification import class_of_name
from caliper_dagster.translator.entities.registry import name_of, plain
from caliper_dagster.translator.event_data_filter import VOCABULARIES
from caliper_dagster.translator.fragments import Fragments
from caliper_dagster.translator.personal_values import (
    PERSON_COLUMNS,
    ForbiddenKinds,
    ForbiddenValues,
    Kind,
    PersonalValues,
    PersonIndex,
    TextLetters,
    distinct,
    normalized,
    persons_of,
    words,
)
from caliper_dagster.translator.rows import LOG_MARK, Indices, first_of_each, grouped

_MARK = LOG_MARK.encode()
_DIGITS = b"0123456789"
_LINE_BREAK = ord("\n")
_NO_DIGITS = dict.fromkeys(_DIGITS)
_MOST_FORMS = 10_000

_TEXT_KINDS = frozenset({"str", "[str]"})
_URN = "urn:uuid:"
_TERMS = "http://purl.imsglobal.org/"
_SYSTEM_IDENTIFIER = "SystemIdentifier"
_IDENTIFIER_KINDS: Mapping[str, Kind | None] = {
    "SystemId": None,
    "LtiUserId": None,
    "AccountUserName": "username",
    "EmailAddress": "email",
    "SisSourcedId": "idnumber",
    "LisSourcedId": "idnumber",
}
"""Types of a person's identifiers, and what they are of a person; None: Moodle's id."""

_CLOSED_EXTENSIONS = frozenset(
    {"asOf", "change", "completionState", "dueDate", "enrolmentMethod", "itemType", "newStatus"}
)
"""Extensions that hold words of closed vocabularies, or times."""

_UNRESOLVED = re.compile(r"[a-z0-9_]+:-?[0-9]*")
_LETTERS_AND_NUMBER = re.compile(r"[a-z]{1,2}[0-9]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z")
_ESCAPE = re.compile(r"[%+\\]")
_PLAIN = re.compile("[A-Za-z0-9]+")
_ADDRESS_PARTS = re.compile(r"[/?&=#]")
_WORDS_OF_AN_ADDRESS = re.compile(r"[#/?=]|^-|-$")


class Leak(NamedTuple):
    """Values of persons in one field of the events of an hour.

    Attributes:
        hour: number of the hour: its start in hours since 1970.
        field: path of the property, such as ``object.name``.
        kind: what they are of a person.
        events: log rows whose events hold them.
    """

    hour: int
    field: str
    kind: Kind
    events: int


class Pool(NamedTuple):
    """Fragments of one property of some events.

    Attributes:
        slot: path of the property in the event.
        fragments: its JSON texts.
        rows: log row of each event.
    """

    slot: str
    fragments: Fragments
    rows: Indices


class _Place(NamedTuple):
    """A place of a fragment where a text of a person can stand.

    Attributes:
        path: of the property.
        value: the text, or the number.
        is_address: whether it is an address, of which known words are no text of a person.
        is_property: whether it is a text that is the value of a property of a Caliper entity.
    """

    path: str
    value: str | int | float
    is_address: bool = False
    is_property: bool = False


@dataclass(slots=True)
class _Hit:
    """A text with a value of a person of the table.

    Attributes:
        place: where it stands.
        persons: who may be meant.
        rows: log rows whose events have it.
    """

    place: _Place
    persons: PersonalValues
    rows: Indices


class _Form(NamedTuple):
    """What fragments have in common that differ in numbers only.

    Attributes:
        addresses: addresses in them.
        letters: of their other places; None if there are none.
        texts: finds the texts of these, if all of them are properties of Caliper entities.
    """

    addresses: tuple[_Place, ...] = ()
    letters: TextLetters | None = None
    texts: _JsonTexts | None = None

    @classmethod
    def of(cls, places: Sequence[_Place]) -> _Form:
        """The form of a fragment with these places."""
        if not places:
            return _WITHOUT_PLACES
        others = [place for place in places if not place.is_address]
        names = frozenset(place.path.rpartition(".")[2] for place in others)
        return cls(
            tuple(place for place in places if place.is_address),
            TextLetters.of(str(place.value) for place in others) if others else None,
            _json_texts(names) if all(place.is_property for place in others) else None,
        )


_WITHOUT_PLACES = _Form()


class _Task(NamedTuple):
    """How the fragments of a form are searched for the values of some persons.

    Attributes:
        is_whole: whether each of them is searched, and not only those with numbers of persons.
        numbers: the letters of what may hold a value that is found by its numbers, or None.
        texts: finds all texts in which something is looked for, or None.
    """

    is_whole: bool = False
    numbers: TextLetters | None = None
    texts: _JsonTexts | None = None

    @classmethod
    def of(cls, form: _Form, reader: _PlaceReader, index: PersonIndex) -> _Task:
        """The task for a form."""
        addresses = [place for place in form.addresses if not reader.is_known(place)]
        letters = [*map(_letters_of, addresses), *([form.letters] if form.letters else [])]
        if not letters:
            return cls()
        return cls(
            any(not it.is_certain or index.may_hold(it) for it in letters),
            max(
                (it for it in letters if index.may_hold_numbers(it)),
                key=lambda it: it.separators,
                default=None,
            ),
            None if addresses else form.texts,
        )

    def has_numbers(self, fragments: bytes, index: PersonIndex) -> bool:
        """Whether fragments of the form may hold a value that is found by its numbers."""
        if self.numbers is None:
            return False
        texts = b"\n".join(self.texts.within(fragments)) if self.texts else fragments
        return index.has_numbers_of(texts, self.numbers)


def _letters_of(address: _Place) -> TextLetters:
    text = str(address.value)
    letters = TextLetters.of(_parts(text))
    return letters._replace(is_certain=False) if _ESCAPE.search(text) else letters


class _JsonTexts:
    """Finds the texts of some properties in JSON: one after another, which is faster than at once.

    Args:
        names: of the properties.
    """

    def __init__(self, names: Collection[str]) -> None:
        text = rb'"(?:[^"\\]|\\.)*"'
        self._patterns = [
            re.compile(rb'"%b":(%b|\[(?:%b,?)*\])' % (name.encode(), text, text))
            for name in sorted(names)
        ]

    def within(self, json: bytes) -> set[bytes]:
        """The distinct texts."""
        return {text for pattern in self._patterns for text in pattern.findall(json)}


_json_texts = cache(_JsonTexts)


@cache
def _known_forms(
    site: str, made_up: tuple[str, ...], kinds: frozenset[Kind]
) -> dict[tuple[str, bytes], _Form]:
    """Forms by property and text, which all searches of this kind share."""
    return {}


class LeakSearch:
    """Searches events of one site and rendering; see `find`.

    Args:
        site: the site's address.
        forbidden: which values of persons must not leave.
        allowed: paths of properties that are not searched.
        pseudonyms: IRI below which pseudonyms are, if they are no ``urn:uuid:``.
    """

    def __init__(
        self,
        site: str,
        forbidden: ForbiddenKinds,
        allowed: Collection[str] = (),
        pseudonyms: str | None = None,
    ) -> None:
        self._site = site
        self._made_up = (_URN, _TERMS, *([f"{pseudonyms.rstrip('/')}/"] if pseudonyms else ()))
        self._uuids = re.compile(
            b'(?:%b)[0-9a-f-]{36}"'
            % b"|".join(re.escape(start.encode()) for start in self._made_up if start != _TERMS)
        )
        self._host = urlsplit(site).hostname or ""
        self._kinds = forbidden.kinds
        self._allowed = frozenset(allowed)
        self._forms = _known_forms(site, self._made_up, forbidden.kinds)
        # An address with numbers is not told from another one by its letters.
        self._numbered = site.encode() if any(map(str.isdigit, site)) else b""

    @property
    def is_needed(self) -> bool:
        """Whether anything must not leave."""
        return bool(self._kinds)

    @property
    def looked_for(self) -> StoredFields:
        """The personal fields of rows that it looks for."""
        addresses: Addresses = "whole" if "ip" in self._kinds else "none"
        return StoredFields(addresses, names=bool(self._kinds - {"ip"}), texts=False)

    def find(
        self,
        expanded: pa.Table,
        pools: Iterable[Pool],
        paths: Iterable[str],
        persons: PersonalValues,
        *,
        around: pa.Table | None,
    ) -> list[Leak]:
        """The values of persons of an hour in the events of that hour.

        Args:
            expanded: the log rows.
            pools: what their events are joined from.
            paths: paths of the recipes that made them; their words are known.
            persons: those of the rows.
            around: all rows of their hours, which name the persons of each; None if the rows are a
                part of one hour, and the persons those of all of it.
        """
        index = PersonIndex(persons, self._kinds, self._host)
        if not index:
            return []
        reader = _PlaceReader(self._site, self._made_up, self._kinds, known_words(expanded, paths))
        near = _Near(reader, index, partial(ForbiddenValues, kinds=self._kinds, host=self._host))
        hits = [
            hit
            for pool in pools
            if pool.slot not in self._allowed and pool.fragments.texts != [b""]
            for hit in self._hits(pool, reader, near)
        ]
        hits = _without_institutional(expanded, hits, is_thorough=False)
        hits = [hit for hit in hits if not _is_of_own_object(expanded, hit)]
        hits = _without_institutional(expanded, hits, is_thorough=True)
        return list(self._by_hour(expanded, hits, reader, persons, around)) if hits else []

    def _hits(self, pool: Pool, reader: _PlaceReader, near: _Near) -> Iterator[_Hit]:
        codes, texts = pool.fragments.codes, pool.fragments.texts
        numbers = np.flatnonzero(np.bincount(codes, minlength=1))
        if len(numbers) < len(texts):
            texts = [texts[number] for number in numbers.tolist()]
        found: dict[_Place, tuple[PersonalValues, list[int]]] = {}
        for position, hit in self._search(pool, texts, reader, near):
            for place, persons in hit.items():
                found.setdefault(place, (persons, []))[1].append(position)
        for place, (persons, positions) in found.items():
            yield _Hit(place, persons, pool.rows[np.isin(codes, numbers[positions])])

    def _search(
        self, pool: Pool, texts: list[bytes], reader: _PlaceReader, near: _Near
    ) -> Iterator[tuple[int, dict[_Place, PersonalValues]]]:
        """The positions of the fragments with values of persons.

        With each the places that have one, and the persons whose values were looked for there.
        """
        clear: set[bytes] = set()
        for position, of_json in self._suspected(pool, texts, reader, near.index):
            said = of_json.within(texts[position]) if of_json else None
            if said is not None and clear.issuperset(said):
                continue
            places = reader.places(pool.slot, _parsed(texts[position], pool.fragments.before))
            found = {
                place: persons
                for place in places
                if place.path not in self._allowed and (persons := near.at(place))
            }
            if found:
                yield position, found
            elif said is not None:
                clear.update(said)

    def _suspected(
        self, pool: Pool, texts: list[bytes], reader: _PlaceReader, index: PersonIndex
    ) -> Iterator[tuple[int, _JsonTexts | None]]:
        """The positions of fragments that may hold a value of a person.

        With each goes what finds all texts in which it may stand, or None.
        """
        codes, forms = self._forms_of(texts)
        tasks = [
            _Task.of(self._form(pool, form, texts[first], reader), reader, index)
            for form, first in zip(forms, first_of_each(codes, len(forms))[0].tolist(), strict=True)
        ]
        is_searched = np.array([task.is_whole or task.numbers is not None for task in tasks])
        for code, found in grouped(np.where(is_searched[codes], codes, -1), len(forms)):
            task, positions = tasks[code], found.tolist()
            if task.is_whole:
                yield from ((position, task.texts) for position in positions)
            elif task.has_numbers(b"\n".join([texts[it] for it in positions]), index):
                for position in positions:
                    if task.has_numbers(texts[position], index):
                        yield position, task.texts

    def _form(self, pool: Pool, form: bytes, text: bytes, reader: _PlaceReader) -> _Form:
        """The form of a fragment."""
        known = self._forms.get((pool.slot, form))
        if known is None:
            if len(self._forms) > _MOST_FORMS:
                self._forms.clear()
            known = _Form.of(reader.places(pool.slot, _parsed(text, pool.fragments.before)))
            self._forms[pool.slot, form] = known
        return known

    def _by_hour(
        self,
        expanded: pa.Table,
        hits: Sequence[_Hit],
        reader: _PlaceReader,
        persons: PersonalValues,
        around: pa.Table | None,
    ) -> Iterator[Leak]:
        """The leaks of each hour: of a text only what is a value of a person of its own hour."""
        hours = expanded["timecreated"].to_numpy() // SECONDS
        rows_of: dict[tuple[int, str, Kind], list[Indices]] = {}
        for hour in np.unique(np.concatenate([hours[hit.rows] for hit in hits])):
            own = persons
            if around is not None:
                is_of_hour = pa.array(around["timecreated"].to_numpy() // SECONDS == hour)
                own = persons_of(around.select(PERSON_COLUMNS).filter(is_of_hour))
            for hit in hits:
                rows = hit.rows[hours[hit.rows] == hour]
                if len(rows):
                    values = ForbiddenValues(hit.persons.common(own), self._kinds, self._host)
                    for kind in reader.kinds(hit.place, values):
                        rows_of.setdefault((int(hour), hit.place.path, kind), []).append(rows)
        for (hour_number, path, kind), found in sorted(rows_of.items()):
            yield Leak(hour_number, path, kind, len(np.unique(np.concatenate(found))))

    def _forms_of(self, texts: list[bytes]) -> tuple[Indices, list[bytes]]:
        """The forms of fragments: for each the number of its form, and the forms.

        A form is the text without digits and UUIDs. Those that differ in ids have the same one.
        """
        whole = b"\n".join([*texts, b""])  # JSON holds no line break
        if self._numbered:
            whole = whole.replace(self._numbered, b"\0")
        whole = self._uuids.sub(b"", whole).translate(None, _DIGITS)
        ends = np.flatnonzero(np.frombuffer(whole, np.uint8) == _LINE_BREAK) + 1
        buffers = [None, pa.py_buffer(np.concatenate([[0], ends])), pa.py_buffer(whole)]
        lines = pa.Array.from_buffers(pa.large_binary(), len(texts), buffers).dictionary_encode()
        return lines.indices.to_numpy(), lines.dictionary.to_pylist()


def _parsed(text: bytes, before: bytes) -> object:
    json = text[len(before) :].replace(_MARK, b"")
    return orjson.loads(json) if json else None


class _PlaceReader:
    """Lists the places of a fragment, and tells what stands there.

    Args:
        site: the site's address.
        made_up: how identifiers begin that hold no text.
        kinds: which values of persons must not leave.
        known: words that addresses hold for themselves.
    """

    def __init__(
        self,
        site: str,
        made_up: tuple[str, ...],
        kinds: Collection[Kind],
        known: Collection[str],
    ) -> None:
        self._site = site
        self._made_up = made_up
        self._kinds = kinds
        self._known = known
        self._known_forms: dict[str, bool] = {}

    def places(self, slot: str, value: object) -> list[_Place]:
        """The places of a fragment where a text of a person can stand."""
        key = slot.rpartition(".")[2]
        if key in _CLOSED_EXTENSIONS:
            return []
        return [place for place in self._walk(slot, value, key) if place.value != ""]

    def is_known(self, place: _Place) -> bool:
        """Whether a place of this form never holds a text of a person, whatever its numbers."""
        if not place.is_address:
            return False
        address = str(place.value)
        form = address.translate(_NO_DIGITS)
        known = self._known_forms.get(form)
        if known is None:
            known = all(self._is_known(part) for part in _parts(address))
            self._known_forms[form] = known
        return known

    def texts(self, place: _Place) -> list[str]:
        """The texts at a place in which a value of a person can stand."""
        value = str(place.value)
        if not place.is_address:
            return [value.replace(self._site, "")]
        if self.is_known(place):
            return []
        return [part for part in _parts(value) if not self._is_known(part)]

    def kinds(self, place: _Place, values: ForbiddenValues) -> frozenset[Kind]:
        """What of persons stands at a place."""
        if not isinstance(place.value, str):
            kind = values.number_kind(str(place.value))
            return frozenset({kind} if kind else ())
        known = self._known if place.is_address else frozenset()
        return frozenset(
            kind for text in self.texts(place) for kind in values.kinds_in(text, known)
        )

    def _is_known(self, part: str) -> bool:
        return all(
            word in self._known or word.isdigit() or _LETTERS_AND_NUMBER.fullmatch(word)
            for word in words(normalized(part))
        )

    def _walk(self, path: str, value: object, key: str) -> Iterator[_Place]:
        """The places of a value of which nothing is known: one of ``extensions``, or a slot."""
        if isinstance(value, dict):
            if "type" in value and value["type"] in vocabulary.ENTITY_TYPES:
                yield from self._of_entity(path, value)
            elif value.get("type") == _SYSTEM_IDENTIFIER:
                yield from self._of_identifier(path, value)
            else:
                for name, part in value.items():
                    if name not in _CLOSED_EXTENSIONS:
                        yield from self._walk(f"{path}.{name}", part, name)
        elif isinstance(value, list):
            for part in value:
                yield from self._walk(path, part, key)
        elif isinstance(value, str):
            yield from self._of_text(path, value, key)
        elif type(value) in (int, float) and not key.lower().endswith("id"):
            yield _Place(path, value)  # type: ignore[arg-type]

    def _of_text(self, path: str, value: str, key: str) -> Iterator[_Place]:
        if value.startswith((self._site, *self._made_up)):
            yield from self._of_iri(path, value)
        elif value[:1] in "{[" and _is_json(value):
            yield from self._walk(path, orjson.loads(value), key)
        elif not self._is_closed(value, key):
            yield _Place(path, value)

    @staticmethod
    def _is_closed(value: str, key: str) -> bool:
        """Whether a text is an id, a time, or a word of a closed vocabulary."""
        if key == "unresolved":
            return bool(_UNRESOLVED.fullmatch(value))
        if key in VOCABULARIES:
            return bool(VOCABULARIES[key].fullmatch(value))
        if key.lower().endswith("id") and value.lstrip("-").isdigit():
            return True
        return bool(_TIME.fullmatch(value))

    def _of_entity(self, path: str, entity: Mapping[str, Any]) -> Iterator[_Place]:
        properties = vocabulary.properties(entity["type"])
        for name, value in entity.items():
            kind = properties.get(name)
            where = f"{path}.{name}"
            if name == "id" or (kind and "@" in kind and isinstance(value, str)):
                yield from self._of_iri(where, value)
            elif kind is None or kind == "map" or "@" in kind or "=" in kind:
                if name != "type":
                    yield from self._walk(where, value, name)
            elif kind in _TEXT_KINDS and not self._is_permitted(entity["type"], name):
                for text in value if isinstance(value, list) else [value]:
                    yield _Place(where, text, is_property=True)

    def _of_iri(self, path: str, value: str) -> Iterator[_Place]:
        if not value.startswith(self._made_up):
            yield _Place(path, value.removeprefix(self._site), is_address=True)

    def _is_permitted(self, entity_type: str, name: str) -> bool:
        """Whether the text is one that a setting allows: the full name of a person."""
        return entity_type == "Person" and name == "name" and "name" not in self._kinds

    def _of_identifier(self, path: str, value: Mapping[str, Any]) -> Iterator[_Place]:
        kind = _IDENTIFIER_KINDS.get(value.get("identifierType", ""), "idnumber")
        if kind is not None and kind in self._kinds:
            text = str(value.get("identifier", ""))
            yield _Place(f"{path}.identifier", text, is_property=True)


class _Near:
    """Finds the persons of whom a value stands at a place, once for equal texts.

    Args:
        reader: of the places.
        index: of the persons.
        values: what to look for of some of them.
    """

    def __init__(
        self,
        reader: _PlaceReader,
        index: PersonIndex,
        values: Callable[[PersonalValues], ForbiddenValues],
    ) -> None:
        self._reader, self.index, self._values = reader, index, values
        self._found: dict[tuple[object, bool], PersonalValues] = {}
        self._prepared: dict[PersonalValues, ForbiddenValues] = {}

    def at(self, place: _Place) -> PersonalValues:
        """The persons who may be meant: those of whom a word stands there, if a value does."""
        key = place.value, place.is_address
        found = self._found.get(key)
        if found is None:
            found = self.index.near(self._reader.texts(place))
            if found:
                values = self._prepared.get(found) or self._values(found)
                self._prepared[found] = values
                if not self._reader.kinds(place, values):
                    found = PersonalValues()
            self._found[key] = found
        return found


def _parts(address: str) -> list[str]:
    """The segments, parameters and fragment of an address, decoded."""
    return [unquote_plus(part) for part in _ADDRESS_PARTS.split(address) if part]


def _is_json(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict | list)
    except orjson.JSONDecodeError:
        return False


# What the institution itself says


_INSTITUTIONAL_COLUMNS = ("site", "course", "module")
"""Columns whose records are the institution's."""


def _without_institutional(
    expanded: pa.Table, hits: Sequence[_Hit], *, is_thorough: bool
) -> list[_Hit]:
    """The hits whose texts are no names of courses and activities of the rows.

    Args:
        expanded: ``EXPANDED_LOG`` rows.
        hits: what was found.
        is_thorough: whether all records are read, and not only those that have the longest word of
            a text as it stands. Others may have it between tags or as character references.
    """
    texts = {hit.place.value for hit in hits if isinstance(hit.place.value, str)}
    parts = {max(_PLAIN.findall(text), key=len, default="") for text in texts}
    suspected = re.compile("" if is_thorough else "|".join(map(re.escape, sorted(parts))))
    names = {
        text
        for name in _INSTITUTIONAL_COLUMNS
        for record in (distinct(expanded[name]) if texts else ())
        if record and suspected.search(record)
        for text in _texts_in(orjson.loads(record))
    }
    return [hit for hit in hits if hit.place.value not in names]


def _is_of_own_object(expanded: pa.Table, hit: _Hit) -> bool:
    """Whether a text is the institution's in the object of each of its rows."""
    if not isinstance(hit.place.value, str) or hit.place.is_address:
        return False
    rows = expanded.select(["objecttable", "object", "other"]).take(pa.array(hit.rows))
    return all(hit.place.value in _texts_of_object(**row) for row in rows.to_pylist())


def _texts_of_object(
    objecttable: str | None, object: str | None, other: str | None
) -> Iterator[str]:
    """The institution's texts in the object of a row: all of its own things.

    Of what is gone, ``other`` tells the name. Of a person's thing, they are those that it is about.
    """
    record = orjson.loads(object) if object else None
    table = record if isinstance(record, dict) else {"table": objecttable}
    if class_of_name(table) == "institutional":
        yield from _texts_in(record)
        yield from _texts_in(orjson.loads(other) if other else None)
        return
    for key in ("item", "items", "question", "competency", "scale"):
        parts = table.get(key)
        for part in parts if isinstance(parts, list) else [parts]:
            if isinstance(part, dict):
                name = name_of(part)
                if name:
                    yield name


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for part in value.values():
            yield from _texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts_in(part)
    elif isinstance(value, str) and value:
        yield value
        text = plain(value)
        if text and text != value:
            yield text


_CLOSED_COLUMNS = ("eventname", "component", "target", "objecttable", "action")


def known_words(expanded: pa.Table, paths: Iterable[str]) -> frozenset[str]:
    """Words that addresses of entities hold for themselves, and not from a text of a person.

    Args:
        expanded: log rows; the names of their plugins and tables are words.
        paths: paths of recipes.
    """
    found = set(_words_of_code())
    for path in paths:
        found.update(words(normalized(re.sub(r"\{[^{}]*\}", " ", path))))
    for column in _CLOSED_COLUMNS:
        for text in distinct(expanded[column]):
            found.update(words(normalized(text or "")))
    return frozenset(found)


@cache
def _words_of_code() -> frozenset[str]:
    """Words of the addresses that entity functions put together, from their own constants."""
    modules = (
        activities, assign, communication, generic, grades, identity, lesson, organisation, people,
        quiz, surveys, tools,
    )  # fmt: skip
    return frozenset(
        word
        for module in modules
        for text in _constants(module)
        if " " not in text and _WORDS_OF_AN_ADDRESS.search(text)
        for word in words(normalized(text))
    )


def _constants(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        if name.startswith("__"):
            continue
        if isinstance(value, FunctionType):
            yield from _strings(value.__code__)
        elif isinstance(value, type):
            for method in vars(value).values():
                function = getattr(method, "fget", method)
                if isinstance(function, FunctionType):
                    yield from _strings(function.__code__)
        elif isinstance(value, str):
            yield value


def _strings(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _strings(constant)
