"""The event stores of a site: which there are, and the settings of each.

The file that ``CALIPER_EVENT_STORES`` names has a name for each event store, and below it its
settings by their keys; the others are those of the environment. Without the file there is one event
store, which the environment describes. Both become definitions, and the rest of the project does
not ask which it was. This module opens nothing before a definition is opened, and does not import
Dagster.

A definition holds no secret, only references to them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator

from caliper_dagster.caliper.shapes import SHAPES, Rendering
from caliper_dagster.config.declaration import (
    Mistake,
    Model,
    check,
    declarations,
    nested,
    parse,
)
from caliper_dagster.config.event_store_settings import (
    CREDENTIALS,
    PSEUDONYM_KEY,
    EventStoreSettings,
)
from caliper_dagster.config.patterns import Patterns
from caliper_dagster.config.privacy import EffectivePrivacy
from caliper_dagster.config.pseudonym_keys import PseudonymKeys, no_key
from caliper_dagster.config.row_filter import RowFilter
from caliper_dagster.config.settings import Settings, declared
from caliper_dagster.config.store_access import (
    URL,
    StoreValues,
    credential,
    further_headers,
    is_authorized,
    refuse_credentials,
)
from caliper_dagster.config.yaml_file import SettingsFile
from caliper_dagster.core.errors import (
    CaliperDagsterError,
    ConfigurationError,
    Sentence,
    SettingName,
)
from caliper_dagster.core.folder_url import is_folder
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS, WITH_EVENT, Frame
from caliper_dagster.core.privacy import PROFILES
from caliper_dagster.core.revisions import revision_in

if TYPE_CHECKING:
    from caliper_dagster.emitter import FileDestination, HttpDestination

FILE = "CALIPER_EVENT_STORES"
FILTER_FILE = "CALIPER_EVENT_FILTER"
FILTER_KEY = declared()[FILTER_FILE].key
_NOT_INHERITED = [declared()[name].key for name in (*CREDENTIALS, PSEUDONYM_KEY)]
_PSEUDONYM_KEY = declared()[PSEUDONYM_KEY]

_KEYS = {setting.key: setting for setting in declarations(EventStoreSettings)}
_NAMES_IN_FILE = {setting.variable: key for key, setting in _KEYS.items()}


class EventFilter(Model):
    """Which events are sent to an event store: by Moodle event, by Caliper type, and by row.

    The rules of rows hold before events are made, and have no effect on events that are stored.
    """

    rows: RowFilter = RowFilter()
    moodle_events: Patterns = Patterns()
    caliper_types: Patterns = Patterns()

    @field_validator("caliper_types")
    @classmethod
    def _are_types(cls, patterns: Patterns) -> Patterns:
        from caliper_dagster.caliper.vocabulary import EVENT_TYPES

        for pattern in (*patterns.include, *patterns.exclude):
            if not any(fnmatchcase(event_type, pattern) for event_type in EVENT_TYPES):
                raise ValueError(f"{pattern!r} is the type of no Caliper event")
        return patterns

    def apply(self, events: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The rows that pass, and the number of events that each rule keeps back.

        Args:
            events: ``CALIPER_EVENTS`` rows; those without an event pass.
        """
        if self.moodle_events == self.caliper_types == Patterns():
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


class EventStoreDefinition(EventStoreSettings):
    """One event store, as the file or the environment describes it.

    Attributes:
        name: its name in the ledger and the assets; None for the one of the environment, which the
            ledger knows by its address.
        filter: which events it is sent.
        shares_events: whether another event store may be sent the same events.
    """

    name: str | None = None
    filter: EventFilter = EventFilter()
    shares_events: bool = True

    @property
    def label(self) -> str:
        """What sentences call it: ``event store``, with its name if it has one."""
        return f"event store {self.name}" if self.name else "event store"

    @property
    def results(self) -> Frame:
        """Its table of results, which is an asset."""
        suffix = f"_{self.name}" if self.name else ""
        return replace(EMISSION_RESULTS, name=f"{EMISSION_RESULTS.name}{suffix}")

    @property
    def rendering(self) -> Rendering:
        """What its events look like; with rules of rows it shares them with no other one."""
        is_shared = self.shares_events and self.filter.rows.digest is None
        own = None if is_shared else self.name
        return Rendering(self.caliper_version, self.shape, self.privacy, own)

    @property
    def effective_privacy(self) -> EffectivePrivacy:
        """What its events tell about persons."""
        return EffectivePrivacy.of(self)

    def pseudonym_keys(self) -> PseudonymKeys | None:
        """The keys that its pseudonyms are made with; None if its profile needs none.

        Raises:
            ConfigurationError: its profile needs one, and it is not set, wrong, or in a file that
                cannot be read.
        """
        if not PROFILES[self.privacy].keyed:
            return None
        values = self._values()
        if not values.is_set(_PSEUDONYM_KEY):
            raise no_key(self.privacy)
        return PseudonymKeys.parse(values.text(_PSEUDONYM_KEY))

    def open(self) -> HttpDestination | FileDestination:
        """Its endpoint or folder; a context manager.

        Raises:
            ConfigurationError: a variable is not set, a file cannot be read, a value cannot be
                used, or there are two credentials.
        """
        from caliper_dagster.emitter import FileDestination, HttpDestination

        values = self._values()
        url = values.text(URL)
        if is_folder(url):
            refuse_credentials(values)
            return FileDestination(url, compressed=self.gzip, name=self.name)
        return HttpDestination(
            url,
            credential(values),
            timeout=self.timeout,
            connect_timeout=self.connect_timeout,
            headers=further_headers(values),
            ca_file=self.ca_file,
            compressed=self.gzip,
            name=self.name,
        )

    def ledger_name(self) -> str:
        """Its name in the ledger.

        Raises:
            ConfigurationError: the ledger knows it by its URL, which is not set or malformed.
        """
        from caliper_dagster.emitter import FileDestination, HttpDestination

        if self.name:
            return self.name
        url = self._values().text(URL)
        return FileDestination(url).name if is_folder(url) else HttpDestination(url, None).name

    def has_key(self) -> bool:
        """Whether requests carry anything that authorizes them."""
        return is_authorized(self._values())

    def sentence(self, error: CaliperDagsterError) -> str:
        """What is wrong with it; one of several is named, with its settings as the file has them.

        Args:
            error: raised while it was used.
        """
        if not self.name:
            return str(error)
        text = error.sentence.with_names(_NAMES_IN_FILE)
        first = text[:1].lower() if text[1:2].islower() else text[:1]
        return f"Event store {self.name}: {first}{text[1:]}"

    def _values(self) -> StoreValues:
        return StoreValues(self, named=self.name is not None)


def event_stores(settings: Settings) -> tuple[EventStoreDefinition, ...]:
    """All event stores, in the order of the file.

    Raises:
        ConfigurationError: the file cannot be read or is wrong; one sentence with file, event store
            and key, which repeats no value.
    """
    single = settings.event_store
    if settings.event_stores is None:
        return (EventStoreDefinition(**dict(single), filter=_common_filter(single)),)
    if single.address():
        url, names = SettingName(URL.variable), f"the file {settings.event_stores} names all"
        both = Sentence(url, " and ", SettingName(FILE), " are both set: ")
        raise ConfigurationError(Sentence(both, f"{names} event stores, so remove ", url, "."))
    file = SettingsFile(FILE, settings.event_stores, subject="event store", example="url")
    return tuple(_definition(file, name, values, single) for name, values in file.read().items())


def require_event_stores(settings: Settings) -> tuple[EventStoreDefinition, ...]:
    """All event stores, for a caller that is about to send.

    Raises:
        ConfigurationError: there is none.
    """
    if settings.event_stores is None:
        settings.require("event_store.url")
    return event_stores(settings)


def event_store_named(stores: Sequence[EventStoreDefinition], name: str) -> EventStoreDefinition:
    """The event store that ``--destination`` names.

    Raises:
        ConfigurationError: there is none.
    """
    for store in stores:
        if store.name == name:
            return store
    names = ", ".join(store.name for store in stores if store.name)
    raise ConfigurationError(
        f"--destination {name} is none of {names}."
        if names
        else f"--destination {name} is unknown: {FILE} names no event stores."
    )


def named_destination(settings: Settings, name: str | None) -> EventStoreDefinition:
    """The event store that ``--destination`` names; without a name, the only one.

    Raises:
        ConfigurationError: there is none of that name, or there are several and no name is given.
    """
    stores = event_stores(settings)
    if name is not None:
        return event_store_named(stores, name)
    if len(stores) > 1:
        names = ", ".join(str(store.name) for store in stores)
        raise ConfigurationError(
            f"--destination is needed, for {FILE} names several event stores: {names}."
        )
    return stores[0]


def renderings(settings: Settings) -> tuple[Rendering, ...]:
    """The renderings that the event stores want; that of the settings first if it is one."""
    wanted = {store.rendering for store in event_stores(settings)}
    single = settings.event_store
    first = Rendering(single.caliper_version, single.shape, single.privacy)

    def order(rendering: Rendering) -> tuple[bool, bool, str]:
        return rendering != first, rendering.own is not None, str(rendering)

    return tuple(sorted(wanted, key=order))


def events_frame(settings: Settings, rendering: Rendering) -> Frame:
    """The table of the events of a rendering: ``caliper_events``, or one named after it.

    The events of one event store alone always have its name, so that its table is not another one's
    when an event store comes or goes.
    """
    if rendering.own is None and rendering == renderings(settings)[0]:
        return CALIPER_EVENTS
    return replace(CALIPER_EVENTS, name=f"{CALIPER_EVENTS.name}_{rendering}")


def first_events_frame(settings: Settings) -> Frame:
    """The table of the events of the first rendering: every log row has its outcome there, too."""
    return events_frame(settings, renderings(settings)[0])


def sent_as(settings: Settings, rendering: Rendering) -> EventStoreDefinition:
    """An event store that wants a rendering; all that do have the same privacy and the same key."""
    return next(store for store in event_stores(settings) if store.rendering == rendering)


def mapping_revision(settings: Settings, rendering: Rendering) -> int:
    """The mapping revision of the events that are made now in a rendering (``core.revisions``).

    Every shape has revisions of its own, and so have two profiles that make the same ids; an event
    that was acknowledged in one counts as acknowledged in the others. Versions share theirs.
    """
    shape, profile = SHAPES[rendering.shape], PROFILES[rendering.profile]
    return revision_in(settings.identity().mapping_revision, shape.number, profile.number)


def _rules(column: pa.ChunkedArray, patterns: Patterns, name: str) -> pa.ChunkedArray:
    """For each row the rule that keeps it back, or null; each distinct word is matched once."""
    words = column.cast(pa.string())
    distinct = [word for word in words.unique().to_pylist() if word is not None]
    rules = [patterns.rule(word) for word in distinct]
    named = [rule and f"{name}: {rule}" for rule in rules]
    places = pc.index_in(words, pa.array(distinct, pa.string()))
    return pa.chunked_array([pa.array(named, pa.string()).take(places.combine_chunks())])


def _definition(
    file: SettingsFile, name: str, values: Mapping[str, object], defaults: EventStoreSettings
) -> EventStoreDefinition:
    """The definition that the file has below a name; what it leaves out is as the defaults say."""
    inherited = dict(defaults) | dict.fromkeys((URL.key, *_NOT_INHERITED))
    settings = {key: value for key, value in values.items() if key != "filter"}
    try:
        own = nested(parse(settings, _KEYS, os.environ))
        _require_url(own)
        said = {**inherited, **own}
        filter_ = _filter_said(values, own) or _common_filter(check(EventStoreSettings, said))
        definition = check(EventStoreDefinition, {**said, "name": name, "filter": filter_})
        _require_key(definition)
    except Mistake as mistake:
        place = (".".join(mistake.path),) if mistake.path else ()
        raise file.error(mistake.problem, f"event store {name}", *place) from None
    return definition.model_copy(update={"shares_events": _may_share(definition, defaults)})


def _may_share(store: EventStoreDefinition, defaults: EventStoreSettings) -> bool:
    """Whether the events of an event store may be those of others of the same profile.

    That depends on no other event store, so that none gets another table when one comes or goes.
    """
    if PROFILES[store.privacy].keyed:
        return False
    usual = defaults.model_copy(update={"privacy": store.privacy})
    return store.effective_privacy == EffectivePrivacy.of(usual)


def _filter_said(values: Mapping[str, object], own: Mapping[str, object]) -> object:
    """The filter that the file has for an event store; None if it has none."""
    if "filter" in values and FILTER_KEY in own:
        raise Mistake((FILTER_KEY,), "and filter exclude each other")
    return values.get("filter")


def _common_filter(settings: EventStoreSettings) -> EventFilter:
    """The filter in the file that `FILTER_FILE` names; one that keeps nothing back without it.

    Raises:
        ConfigurationError: the file cannot be read or is wrong.
    """
    if settings.event_filter is None:
        return EventFilter()
    file = SettingsFile(FILTER_FILE, settings.event_filter, subject="filter", example="rows")
    try:
        return check(EventFilter, file.mapping())
    except Mistake as mistake:
        raise file.error(mistake.problem, ".".join(mistake.path)) from None


def _require_url(own: Mapping[str, object]) -> None:
    if not own.get(URL.key):
        raise Mistake((URL.key,), "is missing")


def _require_key(store: EventStoreDefinition) -> None:
    if PROFILES[store.privacy].keyed and store.pseudonym_key is None:
        problem = f"is missing, and the privacy profile {store.privacy} makes pseudonyms with it"
        raise Mistake((_PSEUDONYM_KEY.key,), problem)
