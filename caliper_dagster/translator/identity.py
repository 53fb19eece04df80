"""Ids: of events and sessions (UUID version 5 of the site and the log row) and of entities.

One IRI names one entity of one type everywhere. Ids of entities are Moodle's own addresses, so that
users with access can open them. If Moodle has no separate page for an entity, a fragment
distinguishes it.

Under a keyed privacy profile (:class:`KeyedIris`), ids of persons, of their records and of events
are made with the key of the event store. Nobody without the key can compute them or find from them
what they stand for.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.caliper.entities import Person
from caliper_dagster.caliper.vocabulary import TERM
from caliper_dagster.translator.rows import Codes

ANONYMOUS_PERSON = Person(id=f"{TERM}Person")

OF_PERSON = "\0"
"""Stands at the end of an IRI that leads to a person by a value in it (:meth:`Iris.of_person`)."""

_LOG = "logstore_standard_log"
"""Begins the names of which ids of events are made."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

_USER_KEYS = frozenset(
    {"authorid", "markerid", "overrideby", "submitterid", "user", "useridfrom", "useridto"}
)


def is_user_key(name: str) -> bool:
    """Whether a column, or a key of ``other``, holds the id of a user."""
    return name.endswith("userid") or name in _USER_KEYS


class Iris:
    """IRIs of one site.

    Every IRI, fragment or identifier that holds the id of a user is made by :meth:`of_user`. An
    override of it decides how ids of users are sent.

    Args:
        wwwroot: the site's address as configured; a trailing slash is dropped.
        site_id: what ids of events and sessions are made of; the address when not given.
    """

    def __init__(self, wwwroot: str, site_id: str | None = None) -> None:
        self.site = wwwroot.rstrip("/")
        self._namespace = uuid.uuid5(uuid.NAMESPACE_URL, site_id or self.site)

    @property
    def organization(self) -> str:
        """The institution of the site, distinct from the site and its front page."""
        return f"{self.site}/#organization"

    def of_user(self, user: object, before: str = "", after: str = "") -> str:
        """The identifier of a person, or of an entity that belongs to a person.

        Args:
            user: the user's id; text if Moodle stores it as text.
            before: the IRI up to the id; if empty, the identifier is the id only.
            after: the IRI after the id.
        """
        return f"{before}{user}{after}"

    def user(self, user: int) -> str:
        """A person, by the profile page."""
        return self.of_user(user, f"{self.site}/user/profile.php?id=")

    def of_person(self, iri: str) -> str:
        """An IRI that leads to a person by a value in it, whatever page it seems to be.

        Args:
            iri: an address below the site.
        """
        return iri

    def membership(self, user: int, course: int) -> str:
        """A person in a course: the course's page about the user."""
        return self.of_user(user, f"{self.site}/user/view.php?id=", f"&course={course}")

    def course(self, course: int) -> str:
        """A course, as a CourseSection."""
        return f"{self.site}/course/view.php?id={course}"

    def course_page(self, course: int) -> str:
        """The page of a course, distinct from the course."""
        return f"{self.course(course)}#page"

    def course_section(self, course: int, number: int) -> str:
        """One section of a course's page."""
        return f"{self.course(course)}&section={number}"

    def group(self, course: int, group: int | str) -> str:
        """A group of learners."""
        return f"{self.site}/group/index.php?id={course}&group={group}"

    def activity(self, modname: str, module: int) -> str:
        """An activity, by course module id and never by instance."""
        return f"{self.site}/mod/{self.quoted(modname)}/view.php?id={module}"

    def competency(self, competency: int | str) -> str:
        """A competency, by the page on which it is edited."""
        return f"{self.site}/admin/tool/lp/editcompetency.php?id={competency}"

    def category(self, category: int) -> str:
        """A course category."""
        return f"{self.site}/course/index.php?categoryid={category}"

    def agent(self, actor: int | None) -> str | None:
        """The actor: a person by id, the site for 0, None for an anonymous person."""
        if actor is None:
            return None
        return self.user(actor) if actor else self.site

    @staticmethod
    def placeholders(template: str) -> list[str]:
        """The values that a template names."""
        return _PLACEHOLDER.findall(template)

    @staticmethod
    def filled(template: str, value: str) -> str:
        """A template with the same value for all that it names."""
        return _PLACEHOLDER.sub(value, template)

    def path(self, template: str, values: Mapping[str, object]) -> tuple[str, list[str]]:
        """An address below the site from a template such as ``mod/forum/user.php?id={objectid}``.

        Parameters and fragments without a value are omitted.

        Returns:
            The address, and the names that have no value.
        """
        whole = _parse(template)
        texts = tuple([_text(values.get(name)) for name in whole.names])
        if whole.users or None in texts:
            return self._assemble(whole, dict(zip(whole.names, texts, strict=True)))
        return f"{self.site}/{whole.form % texts}", []

    def _assemble(
        self, template: _Template, texts: Mapping[str, str | None]
    ) -> tuple[str, list[str]]:
        """An address from its parts; :meth:`of_user` inserts ids of users last."""
        values = {
            name: text if text is None or name not in template.users else f"\0{name}\0"
            for name, text in texts.items()
        }
        query = "&".join(filter(None, (part.fill(values) for part in template.parameters)))
        fragment = template.fragment.fill(values)
        address = (
            f"{self.site}/{template.base.fill(values) or ''}"
            + (f"?{query}" if query else "")
            + (f"#{fragment}" if fragment else "")
        )
        for name in template.users:
            mark = f"\0{name}\0"
            while mark in address:
                before, _, after = address.partition(mark)
                address = self.of_user(texts[name], before, after)
        return address, [name for name in template.names if texts[name] is None]

    def quoted(self, text: str) -> str:
        """Text as part of an address."""
        return _quoted(text)

    def uuid(self, name: str) -> str:
        """A ``urn:uuid:`` of version 5 in the namespace of the site's id."""
        name_in_namespace = self._namespace.bytes + name.encode()
        digits = hashlib.sha1(name_in_namespace, usedforsecurity=False).hexdigest()
        return (
            f"urn:uuid:{digits[:8]}-{digits[8:12]}-5{digits[13:16]}"
            f"-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"
        )

    def events(
        self, logs: Codes, times: Codes, children: Iterable[tuple[int, str]] = ()
    ) -> pa.StringArray:
        """Ids of events, from the log id and the time of their rows.

        The time guards against a log that was truncated.

        Args:
            logs: log ids.
            times: Unix times.
            children: position of each derived event in these arrays, and its name among the events
                of its row, such as ``item:3``.
        """
        rows = [pa.array(numbers).cast(pa.string()) for numbers in (logs, times)]
        names = pc.binary_join_element_wise(*rows, ":").cast(pa.binary()).to_pylist()
        for number, child in children:
            names[number] += f":{child}".encode()
        start = self._namespace.bytes + f"{_LOG}:".encode()
        return _urns(_digests(start, names))

    def event(self, log: int, time: int, child: str = "") -> str:
        """The id of one event; see :meth:`events`."""
        return self.uuid(f"{_LOG}:{log}:{time}" + (f":{child}" if child else ""))

    def session(self, login: int) -> str:
        """The session that a log-in began, by the log id of the log-in."""
        return self.uuid(f"session:{login}")


class KeyedIris(Iris):
    """IRIs of a site whose events have keyed ids.

    Ids of events and sessions are of version 5, in a namespace that only the key can make. IRIs of
    entities are Moodle's own here; :meth:`pseudonym` gives what stands for one that leads to a
    person.

    Args:
        wwwroot: the site's address.
        site_id: what ids are made of; the address when not given.
        key: of the event store.
        base: an IRI to put pseudonyms of persons below; ``urn:uuid:`` when not given.
    """

    def __init__(self, wwwroot: str, site_id: str | None, key: bytes, base: str | None) -> None:
        super().__init__(wwwroot, site_id)
        self._key = key
        self._base = base
        self._site_id = site_id or self.site
        self._namespace = uuid.UUID(keyed_uuid(key, self._site_id, "namespace", ""))
        self._person = re.compile(re.escape(f"{self.site}/user/profile.php?id=") + "([0-9]{1,18})")

    def of_person(self, iri: str) -> str:
        """The IRI with a mark, by which the form of entities knows it; it is not sent."""
        return iri + OF_PERSON

    def pseudonym(self, iri: str) -> str:
        """The keyed id of a person, or of a thing that leads to one.

        A thing has it from its whole IRI below the site, so it is the same wherever it occurs.
        """
        iri = iri.removesuffix(OF_PERSON)
        person = self._person.fullmatch(iri)
        if person:
            return keyed_person(self._key, self._site_id, int(person[1]), self._base)
        name = iri.removeprefix(self.site)
        return f"urn:uuid:{keyed_uuid(self._key, self._site_id, 'iri', name)}"


def keyed_uuid(key: bytes, site_id: str, kind: str, name: str) -> str:
    """A UUID that only the key can make: HMAC-SHA-256 of site, kind and name.

    It is of version 8 (RFC 9562, 5.8), which is free for such use; version 5 would say that it is
    a SHA-1 digest. 122 of the 256 bits remain.

    Args:
        key: of the event store.
        site_id: tells sites apart that share a key.
        kind: tells apart things of different kinds that have the same name.
        name: what the UUID is made of.
    """
    digits = hmac.digest(key, f"{site_id}\0{kind}\0{name}".encode(), "sha256").hex()
    variant = _VARIANT[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


def keyed_person(key: bytes, site_id: str, user: int, base: str | None) -> str:
    """The pseudonym of a person: the same for every address of the site and in every event.

    Args:
        key: of the event store.
        site_id: what ids of events of the site are made of (`SiteIdentity.site_id`).
        user: the user's id in Moodle.
        base: an IRI to put the pseudonym below; a ``urn:uuid:`` when not given.
    """
    pseudonym = keyed_uuid(key, site_id, "user", str(user))
    return f"{base.rstrip('/')}/{pseudonym}" if base else f"urn:uuid:{pseudonym}"


_FORM = b"urn:uuid:00000000-0000-0000-0000-000000000000"
_FIELDS = ((9, 0, 4), (18, 4, 6), (23, 6, 8), (28, 8, 10), (33, 10, 16))
"""For each field of a UUID: its position in the form, and its first and last byte."""

_VARIANT = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}
"""For each hexadecimal digit the one that has the variant of RFC 9562 (4.1)."""

_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)


def _digests(start: bytes, names: Iterable[bytes]) -> npt.NDArray[np.uint8]:
    """The SHA-1 digest of each name after a common start, each a row of 20 bytes."""
    begin = hashlib.sha1(start, usedforsecurity=False).copy
    digests = bytearray()
    for name in names:
        digest = begin()
        digest.update(name)
        digests += digest.digest()
    return np.frombuffer(digests, np.uint8).reshape(-1, 20)


def _urns(digests: npt.NDArray[np.uint8]) -> pa.StringArray:
    """UUIDs of version 5 (RFC 9562, 5.5) from SHA-1 digests."""
    octets = digests[:, :16].copy()
    octets[:, 6] = octets[:, 6] & 0x0F | 0x50
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    digits = _HEX[octets].view(np.uint8)
    texts = np.empty((len(digests), len(_FORM)), np.uint8)
    texts[:] = np.frombuffer(_FORM, np.uint8)
    for position, first, last in _FIELDS:
        texts[:, position : position + 2 * (last - first)] = digits[:, 2 * first : 2 * last]
    ends = np.arange(len(digests) + 1, dtype=np.int32) * len(_FORM)
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(ends), pa.py_buffer(texts))


@lru_cache(maxsize=10_000)
def _quoted(text: str) -> str:
    return quote(text, safe="")


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a template: its text, with ``%s`` for each named value."""

    form: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> _Part:
        """Parse a part of a template."""
        names = _PLACEHOLDER.findall(text)
        return cls(_PLACEHOLDER.sub("%s", text.replace("%", "%%")), tuple(names))

    def fill(self, values: Mapping[str, str | None]) -> str | None:
        """The text; None if a value is missing."""
        texts = tuple([values[name] for name in self.names])
        return None if None in texts else self.form % texts


@dataclass(frozen=True, slots=True)
class _Template:
    """A template of an address, and its parts.

    Attributes:
        names: the values that it names.
        users: those of them that are ids of users.
        form: the whole template with ``%s`` for each value.
        base: the part before the query.
        parameters: the parts of the query.
        fragment: the part after ``#``.
    """

    names: list[str]
    users: tuple[str, ...]
    form: str
    base: _Part
    parameters: list[_Part]
    fragment: _Part


@cache
def _parse(template: str) -> _Template:
    address, _, fragment = template.partition("#")
    base, _, query = address.partition("?")
    parameters = [part for part in query.split("&") if part]
    tidy = (
        base
        + ("?" if parameters else "")
        + "&".join(parameters)
        + ("#" if fragment else "")
        + fragment
    )
    names = Iris.placeholders(template)
    return _Template(
        names,
        tuple(name for name in dict.fromkeys(names) if is_user_key(name.rpartition(".")[2])),
        _Part.of(tidy).form,
        _Part.of(base),
        [_Part.of(part) for part in parameters],
        _Part.of(fragment),
    )


def _text(value: object) -> str | None:
    """A value as part of an address; None if it is null or empty."""
    if value is None or value == "":
        return None
    return str(value) if type(value) is int else _quoted(str(value))
