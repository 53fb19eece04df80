"""What the ``@context`` of a document makes available: types, properties and terms of a version.

The tables are in ``vocabulary``. A :class:`Ruleset` holds them in the form that checks need, once
for each version and set of contexts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, lru_cache
from math import isfinite
from typing import Any, NamedTuple

from caliper_dagster.caliper import jsonld, vocabulary
from caliper_dagster.caliper.entities import Entity
from caliper_dagster.caliper.problems import article
from caliper_dagster.caliper.versions import VERSIONS, Version
from caliper_dagster.caliper.vocabulary import SENT_ALTHOUGH_UNDEFINED

Holds = Callable[[Any], bool]

_MAX_ACTIONS_LISTED = 6


@dataclass(frozen=True, slots=True)
class Kind:
    """What a property may hold.

    Attributes:
        what: the words for it in a sentence.
        many: whether it is a list of such values.
        holds: the test of a plain value; None for objects.
        entity: types of the entity or reference, as ``A|B``.
        value: the type among ``VALUE_TYPES``.
        rule: the rule that a wrong value breaks.
        plain: the same as ``holds`` if a value that is not empty needs no other check.
    """

    what: str
    many: bool = False
    holds: Holds | None = None
    entity: str = ""
    value: str = ""
    rule: str = "value"
    plain: Holds | None = None


Kinds = Mapping[str, Kind]


class FieldTest(NamedTuple):
    """The fast test of a property; null is not tested.

    Attributes:
        one: whether a value is certainly valid.
        all: whether all of some values are.
        optional: whether null is valid.
    """

    one: Holds
    all: Callable[[Sequence[Any]], bool]
    optional: bool


@dataclass(frozen=True, slots=True, eq=False)
class Ruleset:
    """The rules of one version of Caliper for a document; made by :func:`ruleset`.

    Attributes:
        version: the version.
        terms: what the Caliper contexts define.
        foreign: whether other contexts define further types and properties.
        strict: whether what the standard only advises against is a problem: null or empty values,
            terms that the context does not define, blank nodes, events without profile.
        tests: by class, the tests of its fields (:func:`entity_rules.is_certainly_valid`).
    """

    version: Version
    terms: frozenset[str]
    foreign: bool = False
    strict: bool = False
    tests: dict[type[Entity], Sequence[FieldTest]] = field(default_factory=dict)
    _entities: dict[str, Kinds | None] = field(default_factory=dict)
    _values: dict[str, Kinds] = field(default_factory=dict)
    _events: dict[tuple[str, str], Kinds] = field(default_factory=dict)

    def has(self, name: str, since: str | None = None) -> bool:
        """Whether a name from the tables of the standard exists in this version.

        A name of a later version exists if an extension context defines it. With ``strict``, only
        names that the context defines exist, because a JSON-LD consumer drops all others.
        """
        if name in self.terms:
            return True
        if since is not None and not self.version.has(since):
            return False
        return not self.strict or name in SENT_ALTHOUGH_UNDEFINED

    def has_event_type(self, name: object) -> bool:
        """Whether this is an event type."""
        event_type = vocabulary.EVENT_TYPES.get(name) if isinstance(name, str) else None
        return event_type is not None and self.has(str(name), event_type.since)

    def actions(self, event_type: str) -> frozenset[str]:
        """The actions of an event type."""
        actions = vocabulary.event_actions(event_type, self.version, strict=self.strict)
        return frozenset(action for action in actions if self.has_action(action))

    def has_action(self, name: object) -> bool:
        """Whether this is an action of any event."""
        if not isinstance(name, str) or name not in vocabulary.ACTIONS:
            return False
        return self.has(name, vocabulary.ACTIONS[name])

    def entity(self, name: object) -> Kinds | None:
        """The properties of an entity type; None if this version does not have it."""
        if not isinstance(name, str):
            return None
        if name not in self._entities:
            if name not in vocabulary.ENTITY_TYPES:
                return None
            since = vocabulary.ENTITY_TYPES[name].since
            self._entities[name] = (
                self._kinds(vocabulary.properties(name)) if self.has(name, since) else None
            )
        return self._entities[name]

    def value_type(self, name: str) -> Kinds:
        """The properties of an object that is no entity."""
        if name not in self._values:
            self._values[name] = self._kinds(vocabulary.VALUE_TYPES[name])
        return self._values[name]

    def event(self, event_type: str, action: object) -> Kinds:
        """The properties of an event of this type with this action."""
        key = (event_type, str(action) if self.has_action(action) else "")
        if key not in self._events:
            self._events[key] = self._event(*key)
        return self._events[key]

    def _event(self, event_type: str, action: str) -> Kinds:
        slots = {
            name: "@" + vocabulary.slot(event_type, action, name, self.version)
            for name in ("actor", "object", "generated", "target", "referrer")
        }
        kinds = {
            key: kind
            for key, kind in self._kinds(vocabulary.EVENT_PROPERTIES | slots).items()
            if vocabulary.has_event_property(key, self.version)
        }
        for name in slots:
            kinds[name] = replace(kinds[name], rule="slot")
        kinds["id"] = replace(kinds["id"], rule="id")
        actions = self.actions(event_type)
        kinds["action"] = Kind(
            self._describe_actions(event_type, actions),
            holds=lambda value: isinstance(value, str) and value in actions,
            rule="action",
        )
        return kinds

    def _describe_actions(self, event_type: str, actions: frozenset[str]) -> str:
        if len(actions) > _MAX_ACTIONS_LISTED:
            return f"one of the {len(actions)} actions of {event_type} in {self.version}"
        return " or ".join(sorted(actions))

    def _kinds(self, properties: Mapping[str, str]) -> Kinds:
        kinds = {}
        for name, text in properties.items():
            if not vocabulary.has_property(name, self.version):
                continue
            if not self.strict or name in self.terms:
                kinds[name] = self._kind(text)
        return kinds

    def _kind(self, text: str) -> Kind:
        many = text.startswith("[")
        text = text.strip("[]")
        if text.startswith("@"):
            what = f"{article(text[1:])} or an IRI"
            return Kind(what, many, entity=text[1:])
        if text.startswith("="):
            return Kind(article(text[1:]), many, value=text[1:])
        if text in vocabulary.TERMS:
            allowed = frozenset(filter(self.has, vocabulary.TERMS[text]))
            what = f"{article(_TERMS[text])} of the vocabulary"
            return Kind(what, many, lambda value: isinstance(value, str) and value in allowed)
        what, holds = PLAIN_KINDS[text]
        return Kind(what, many, holds, plain=None if many or text == "map" else holds)


@cache
def ruleset(
    version: Version,
    extensions: frozenset[str] = frozenset(),
    *,
    foreign: bool = False,
    strict: bool = False,
) -> Ruleset:
    """The ruleset of a version, the same object every time.

    Args:
        version: Caliper version.
        extensions: IRIs of extension contexts.
        foreign: whether other contexts define further types and properties.
        strict: see :class:`Ruleset`.
    """
    terms = frozenset().union(*map(jsonld.terms, {version.context, *extensions}))
    return Ruleset(version, terms, foreign, strict)


_VERSIONS = {
    context: version
    for version in VERSIONS
    for context in (version.context, *version.extension_contexts.values())
}


def ruleset_of_context(context: object, *, strict: bool) -> Ruleset | str:
    """The ruleset that the ``@context`` of a document selects.

    Args:
        context: value of ``@context``.
        strict: see :class:`Ruleset`; then only the plain IRI of a context is valid.

    Returns:
        The ruleset, or a sentence that describes the problem.
    """
    parts = context if isinstance(context, list) else [context]
    if isinstance(context, dict):
        return "@context must be the IRI of Caliper's context, not a context in line"
    last = parts[-1] if parts else None
    if not isinstance(last, str) or last not in _VERSIONS:
        verb = "end with" if isinstance(context, list) else "be"
        return f"@context must {verb} the IRI of a Caliper context"
    if strict and isinstance(context, list):
        return "@context must be the IRI of Caliper's context alone"
    if not all(isinstance(part, str | dict) for part in parts):
        return "@context must be a list of IRIs and contexts"
    caliper_contexts = [part for part in parts if isinstance(part, str) and part in _VERSIONS]
    return ruleset(
        _VERSIONS[last],
        frozenset(caliper_contexts) - {version.context for version in VERSIONS},
        foreign=len(caliper_contexts) < len(parts),
        strict=strict,
    )


# Plain values

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_DURATION = re.compile(
    r"P(?=[0-9T])([0-9]+W|([0-9]+Y)?([0-9]+M)?([0-9]+D)?"
    r"(T(?=[0-9])([0-9]+H)?([0-9]+M)?([0-9]+(\.[0-9]+)?S)?)?)"
)
EVENT_ID = "urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
"""Pattern of an event's id, in either case: a UUID of any version of RFC 9562 (1.2 Event)."""

_EVENT_ID = re.compile(EVENT_ID, re.IGNORECASE | re.ASCII)
WEB_ADDRESS = r"https?://[!$-.0-;=@-\[\]_a-z~][!#-;=?-\[\]_a-z~]*"
"""Pattern of most IRIs: addresses in ASCII."""

_WEB = re.compile(WEB_ADDRESS)
_IRI = re.compile(r"(?!https?:(?!//[^/?#]))[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x20\x7f<>\"{}|\\^`]+")
_BLANK_NODE = re.compile(r"_:[^\s:/]+")


def _is_time(value: object) -> bool:
    """An existing time in UTC, with exactly three digits after the seconds."""
    return isinstance(value, str) and _is_existing_time(value)


@lru_cache(maxsize=20_000)
def _is_existing_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_duration(value: object) -> bool:
    return isinstance(value, str) and _DURATION.fullmatch(value) is not None


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_event_id(value: object) -> bool:
    return isinstance(value, str) and _EVENT_ID.fullmatch(value) is not None


def is_iri(value: object) -> bool:
    """Whether this is an absolute IRI; one with ``http`` or ``https`` must have a host."""
    return isinstance(value, str) and _is_iri(value)


@lru_cache(maxsize=50_000)
def _is_iri(text: str) -> bool:
    """Many entities share an IRI."""
    # Most are addresses in ASCII: the same rule, but faster.
    return _WEB.fullmatch(text) is not None or _IRI.fullmatch(text) is not None


def is_blank_node(value: object) -> bool:
    """Whether this is the identifier of a blank node, such as ``_:b0``."""
    return isinstance(value, str) and _BLANK_NODE.fullmatch(value) is not None


PLAIN_KINDS: dict[str, tuple[str, Holds]] = {
    "str": ("text", lambda value: isinstance(value, str)),
    "dec": (
        "a number with a fraction, such as 10.0",
        lambda value: isinstance(value, float) and isfinite(value),
    ),
    "int": ("an integer", _is_integer),
    "nonneg": ("an integer from 0", lambda value: _is_integer(value) and value >= 0),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "dt": ("a time in UTC with milliseconds, such as 2026-01-31T14:05:00.000Z", _is_time),
    "dur": ("an ISO 8601 duration, such as PT30M54S", _is_duration),
    "eventid": ("urn:uuid: and a UUID", _is_event_id),
    "map": ("a map", lambda value: isinstance(value, dict)),
}
"""The words for each kind in a sentence, and its test. JSON's 10.0 is a float, 10 an int; Caliper
distinguishes them, too (1.2, Score: "a number with a fractional part")."""

_TERMS = {name: name for name in vocabulary.TERMS} | {
    "messagetype": "message type",
    "identifiertype": "identifier type",
}
