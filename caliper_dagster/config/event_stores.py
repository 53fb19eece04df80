"""The event stores: which there are, and what is said of each.

Here belongs the file that ``CALIPER_EVENT_STORES`` names, and the one event store that the settings
describe without it: both become definitions, and nothing else in the project asks which it was.
Nothing is opened before a definition is; nothing here knows Dagster.

A definition holds no secret, only the names of the variables that do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from caliper_dagster.config.settings import CaliperVersion, Settings, not_set
from caliper_dagster.config.yaml_file import SettingsFile, Variable, first_mistake
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS, WITH_EVENT, Frame

if TYPE_CHECKING:
    from caliper_dagster.emitter import EventStore

FILE = "CALIPER_EVENT_STORES"
URL = "CALIPER_EVENT_STORE_URL"
API_KEY = "CALIPER_API_KEY"

_KEYS = {
    URL: "url",
    API_KEY: "api_key",
    "CALIPER_AUTH_SCHEME": "auth_scheme",
    "CALIPER_VERSION": "caliper_version",
    "CALIPER_BATCH_SIZE": "batch_size",
    "CALIPER_BATCH_BYTES": "batch_bytes",
    "CALIPER_GZIP": "gzip",
    "CALIPER_CA_FILE": "ca_file",
    "CALIPER_EVENT_STORE_TIMEOUT": "timeout",
    "CALIPER_CONNECT_TIMEOUT": "connect_timeout",
    "CALIPER_ENVELOPES_IN_FLIGHT": "envelopes_in_flight",
    "CALIPER_ATTEMPTS": "attempts",
}
"""What is a setting for a single event store is a key of the file for each of several."""

_SETTING = re.compile(r"(?<![$\w])CALIPER_[A-Z_]+")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Patterns(_Model):
    """What is let through: all, or what matches ``include``; without what matches ``exclude``.

    Patterns are those of file names (``*``, ``?``, ``[…]``), with upper and lower case.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def rule(self, word: str) -> str | None:
        """The rule that keeps the word back; None when it is let through."""
        for pattern in self.exclude:
            if _matches(word, pattern):
                return f"exclude {pattern}"
        if self.include and not any(_matches(word, pattern) for pattern in self.include):
            return "include"
        return None


class EventFilter(_Model):
    """Which events an event store is sent: by Moodle event, and by Caliper type."""

    moodle_events: Patterns = Patterns()
    caliper_types: Patterns = Patterns()

    @field_validator("caliper_types")
    @classmethod
    def _are_types(cls, patterns: Patterns) -> Patterns:
        from caliper_dagster.caliper.vocabulary import EVENT_TYPES

        for pattern in (*patterns.include, *patterns.exclude):
            if not any(fnmatchcase(known, pattern) for known in EVENT_TYPES):
                raise ValueError(f"{pattern!r} is the type of no Caliper event")
        return patterns

    def apply(self, events: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The rows that are let through, and how many events each rule keeps back.

        Args:
            events: ``CALIPER_EVENTS`` rows; those that are no event stay.
        """
        if self == EventFilter():
            return events, {}
        rules = [
            _rules(events[column], patterns, name)
            for column, patterns, name in (
                ("event_name", self.moodle_events, "moodle_events"),
                ("event_type", self.caliper_types, "caliper_types"),
            )
        ]
        is_event = pc.is_in(events["outcome"].cast(pa.string()), pa.array(WITH_EVENT))
        rule = pc.if_else(is_event, pc.coalesce(*rules), pa.scalar(None, pa.string()))
        counts = pc.value_counts(rule.drop_null()).to_pylist()
        kept_back = {str(entry["values"]): int(entry["counts"]) for entry in counts}
        return events.filter(pc.is_null(rule)), kept_back


class EventStoreDefinition(_Model):
    """One event store, as a file or the settings describe it.

    Attributes:
        name: what the ledger and the assets call it; None for the one of the settings, which the
            ledger knows by its address.
        url: where envelopes go.
        filter: which events it is sent.
    """

    name: str | None = None
    url: str | Variable
    api_key: Variable | None = None
    auth_scheme: str = Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    caliper_version: CaliperVersion
    batch_size: int = Field(gt=0)
    batch_bytes: int = Field(gt=1000)
    gzip: bool
    ca_file: str | None = None
    timeout: float = Field(gt=0)
    connect_timeout: float = Field(gt=0)
    envelopes_in_flight: int = Field(gt=0, le=32)
    attempts: int = Field(gt=0)
    filter: EventFilter = EventFilter()

    @field_validator("url", mode="before")
    @classmethod
    def _holds_no_secret(cls, value: object) -> object:
        return value if isinstance(value, dict | Variable) else without_secret(value)

    @field_validator("api_key", mode="before")
    @classmethod
    def _stands_elsewhere(cls, value: object) -> object:
        if value is not None and not isinstance(value, dict | Variable):
            raise ValueError("must be {env: NAME}: no key stands in this file")
        return value

    @property
    def results(self) -> Frame:
        """Its table of results, which is an asset."""
        suffix = f"_{self.name}" if self.name else ""
        return replace(EMISSION_RESULTS, name=f"{EMISSION_RESULTS.name}{suffix}")

    def open(self) -> EventStore:
        """Its endpoint; a context manager.

        Raises:
            ConfigurationError: a variable is not set, or holds what cannot be used.
        """
        from caliper_dagster.emitter import EventStore

        return EventStore(
            self._url(),
            self._value(self.api_key),
            auth_scheme=self.auth_scheme,
            timeout=self.timeout,
            connect_timeout=self.connect_timeout,
            ca_file=self.ca_file,
            compressed=self.gzip,
            name=self.name,
        )

    def ledger_name(self) -> str:
        """What the ledger calls it.

        Raises:
            ConfigurationError: the ledger knows it by its URL, and that is not set or wrong.
        """
        from caliper_dagster.emitter import EventStore

        return self.name or EventStore(self._url(), None).name

    def has_key(self) -> bool:
        """Whether a key is sent."""
        return self._value(self.api_key) is not None

    def sentence(self, error: CaliperDagsterError) -> str:
        """What went wrong with it; of several, it names this one, and the keys of the file."""
        if not self.name:
            return str(error)
        told = _SETTING.sub(lambda found: _KEYS.get(found[0], found[0]), str(error))
        first = told[:1].lower() if told[1:2].islower() else told[:1]
        return f"Event store {self.name}: {first}{told[1:]}"

    def _url(self) -> str:
        if isinstance(self.url, str):
            return self.url
        return self._value(self.url) or ""

    def _value(self, variable: Variable | None) -> str | None:
        if variable is None:
            return None
        value = os.environ.get(variable.env)
        if value or (variable.env == API_KEY and not self.name):
            return value or None
        if not self.name:
            raise not_set(URL if variable is self.url else API_KEY, variable.env)
        key = "url" if variable is self.url else "api_key"
        raise ConfigurationError(f"The variable ${variable.env} of {key} is not set.")


def without_secret(value: object) -> str:
    """The address of an event store as it may stand in a file.

    Raises:
        ValueError: it is none, or holds what may be secret.
    """
    parts = urlsplit(value) if isinstance(value, str) else urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https URL, or {env: NAME}")
    if "@" in parts.netloc or parts.query:
        raise ValueError(
            "holds a user, a password or a query, which may be secret: write {env: NAME}"
        )
    return str(value)


def event_stores(settings: Settings) -> tuple[EventStoreDefinition, ...]:
    """All event stores, in the order of the file.

    Raises:
        ConfigurationError: the file cannot be read or says something wrong; one sentence, which
            names file, event store and key, and repeats no value.
    """
    if settings.event_stores is None:
        single = {
            _KEYS[secret]: settings.secrets.get(secret, Variable(env=secret))
            for secret in (URL, API_KEY)
        }
        return (EventStoreDefinition.model_validate(_defaults(settings) | single),)
    if settings.event_store_url is not None:
        raise ConfigurationError(
            f"{URL} and {FILE} are both set: the file {settings.event_stores} names all event "
            f"stores, so take {URL} away."
        )
    file = SettingsFile(FILE, settings.event_stores, thing="event store", example="url")
    return tuple(
        _definition(file, name, said, _defaults(settings)) for name, said in file.read().items()
    )


def require_event_stores(settings: Settings) -> tuple[EventStoreDefinition, ...]:
    """The same, for who is about to send.

    Raises:
        ConfigurationError: there is none.
    """
    if settings.event_stores is None:
        settings.require("event_store_url")
    return event_stores(settings)


def event_store_named(stores: Sequence[EventStoreDefinition], name: str) -> EventStoreDefinition:
    """The event store of that name.

    Raises:
        ConfigurationError: there is none.
    """
    for store in stores:
        if store.name == name:
            return store
    names = ", ".join(store.name for store in stores if store.name)
    raise ConfigurationError(
        f"--event-store {name} is none of {names}."
        if names
        else f"--event-store {name} is not known: {FILE} names no event stores."
    )


def caliper_versions(settings: Settings) -> tuple[CaliperVersion, ...]:
    """The Caliper versions that the event stores want; that of the settings first, if any does."""
    wanted = {store.caliper_version for store in event_stores(settings)}
    first = settings.caliper_version
    return tuple(sorted(wanted, key=lambda version: (version != first, version)))


def events_frame(settings: Settings, version: CaliperVersion) -> Frame:
    """The table of the events of a version: ``caliper_events``, a further one by its version."""
    if version == caliper_versions(settings)[0]:
        return CALIPER_EVENTS
    return replace(CALIPER_EVENTS, name=f"{CALIPER_EVENTS.name}_{version}")


def _defaults(settings: Settings) -> dict[str, Any]:
    """What a definition does not say is as the settings say."""
    fields = type(settings).model_fields
    return {
        _KEYS[field.alias]: getattr(settings, name)
        for name, field in fields.items()
        if field.alias in _KEYS and field.alias not in {URL, API_KEY}
    }


def _matches(word: str, pattern: str) -> bool:
    return fnmatchcase(word.lstrip("\\"), pattern.lstrip("\\"))


def _rules(column: pa.ChunkedArray, patterns: Patterns, name: str) -> pa.ChunkedArray:
    """For each row the rule that keeps it back, or null; each distinct word is asked once."""
    words = column.cast(pa.string())
    distinct = [word for word in words.unique().to_pylist() if word is not None]
    rules = [patterns.rule(word) for word in distinct]
    named = [rule and f"{name}: {rule}" for rule in rules]
    places = pc.index_in(words, pa.array(distinct, pa.string()))
    return pa.chunked_array([pa.array(named, pa.string()).take(places.combine_chunks())])


def _definition(
    file: SettingsFile, name: str, said: Mapping[str, object], defaults: Mapping[str, Any]
) -> EventStoreDefinition:
    for key in said:
        if key not in _KEYS.values() and key != "filter":
            known = ", ".join((*_KEYS.values(), "filter"))
            raise file.wrong(f"event store {name} has a key that is none of {known}")
    try:
        return EventStoreDefinition.model_validate({**defaults, **said, "name": name})
    except ValidationError as error:
        place, what = first_mistake(error)
        raise file.wrong(f"event store {name}: {place}: {what}") from None
