"""Where persons are in the stored partitions of a site: which rows, and which events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.caliper.shapes import Rendering
from caliper_dagster.config.event_stores import events_frame, renderings
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.translator import HoursToTranslate, translators
from caliper_dagster.core.errors import ConfigurationError, StorageError
from caliper_dagster.core.frames import (
    CALIPER_EVENTS,
    EMISSION_RESULTS,
    EXPANDED_LOG,
    MOODLE_LOG,
    WITH_EVENT,
    Frame,
)
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_file import CHUNK_ROWS
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.parts import in_parts
from caliper_dagster.core.persons import Persons, UserAccount
from caliper_dagster.expander.erasure import own_rows, without_persons
from caliper_dagster.expander.event_data import decode
from caliper_dagster.translator import Translator
from caliper_dagster.translator.identity import KeyedIris

_USER_RECORDS = ("user", "realuser", "relateduser")

_HOURS_PER_READ = 168
"""Hours whose answers are read from the ledger at once."""


@dataclass(frozen=True, slots=True)
class SiteFrames:
    """The tables of a site of which hours are stored.

    Attributes:
        logs: ``moodle_log`` and ``expanded_log``, as far as they are stored.
        events: tables of events; with the rendering of those that are still made.
        results: tables of emission results.
        hours: the stored hours of each.
    """

    logs: tuple[Frame, ...]
    events: Mapping[Frame, Rendering | None]
    results: tuple[Frame, ...]
    hours: Mapping[Frame, frozenset[Hour]]

    @classmethod
    def of(cls, settings: Settings, store: PartitionStore) -> SiteFrames:
        """Look into a storage; tables of event stores that the settings no longer name count, too.

        Raises:
            ConfigurationError: the storage cannot be read.
        """
        wanted = {
            events_frame(settings, rendering).name: rendering for rendering in renderings(settings)
        }
        frames = store.frames()
        logs = tuple(frame for frame in (MOODLE_LOG, EXPANDED_LOG) if frame in frames)
        events = {
            frame: wanted.get(frame.name)
            for frame in frames
            if frame.columns == CALIPER_EVENTS.columns
        }
        results = tuple(frame for frame in frames if frame.columns == EMISSION_RESULTS.columns)
        hours = {frame: frozenset(store.hour_sizes(frame)) for frame in (*logs, *events, *results)}
        return cls(logs, events, results, hours)

    def hours_in_parts(self) -> Iterator[Sequence[Hour]]:
        """The hours of which anything is stored, in order, a few of them at a time."""
        return in_parts(sorted(frozenset().union(*self.hours.values())), _HOURS_PER_READ)


class EventTables:
    """The tables of events of a site: by which translator, and whom they name how.

    Args:
        settings: of the site.
        frames: its tables.
    """

    def __init__(self, settings: Settings, frames: SiteFrames) -> None:
        self._settings, self._frames = settings, frames
        self._spans: dict[Frame, list[HoursToTranslate]] = {}
        self._persons: dict[tuple[Persons, Translator], Persons] = {}

    def translator(self, frame: Frame, hour: Hour) -> Translator | None:
        """The translator of an hour of events; None where the settings no longer make them.

        Raises:
            ConfigurationError: the key that its privacy profile needs is not set or wrong.
            RecipeError: a recipe of the site is wrong.
        """
        rendering = self._frames.events[frame]
        if rendering is None:
            return None
        if frame not in self._spans:
            hours = HourRange.covering(self._frames.hours[frame])
            self._spans[frame] = list(translators(self._settings, rendering, hours))
        spans = self._spans[frame]
        return next((span.translator for span in spans if hour in span.hours), None)

    def named_in(self, frame: Frame, hour: Hour, persons: Persons) -> Persons:
        """The persons, with their pseudonyms in an hour of events, if its key is known."""
        try:
            translator = self.translator(frame, hour)
        except ConfigurationError:
            return persons
        iris = translator.iris if translator else None
        if translator is None or not isinstance(iris, KeyedIris):
            return persons
        key = persons, translator
        if key not in self._persons:
            pseudonyms = frozenset(iris.pseudonym(iris.user(user)) for user in persons.ids)
            self._persons[key] = replace(persons, pseudonyms=pseudonyms)
        return self._persons[key]


def tables(
    store: PartitionStore, frame: Frame, hour: Hour, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of an hour in tables of a bounded size.

    Raises:
        StorageError: the hour is damaged, or a later release wrote it.
    """
    with closing(store.open(frame, hour)) as stored:
        stored.require_known()
        yield from stored.parts(CHUNK_ROWS, columns)


def mentions(log: pa.Table, persons: Persons) -> tuple[pa.Array, pa.Array, pa.Table]:
    """The rows of a log that tell of persons.

    Args:
        log: a ``MOODLE_LOG`` or ``EXPANDED_LOG`` table.
        persons: who is looked for.

    Returns:
        A mask of the rows that name them in a column of ids, one of the rows of others that mention
        them elsewhere, and the rows without them.
    """
    own = _combined(own_rows(log, persons))
    cleaned = without_persons(log, persons)
    changed = np.zeros(log.num_rows, np.bool_)
    for name in log.column_names:
        if not log[name].equals(cleaned[name]):
            changed |= ~_equal(log[name], cleaned[name])
    others = pc.and_(pa.array(changed), pc.invert(own))
    return own, others, cleaned


def event_rows(events: pa.Table, log_ids: Collection[int], persons: Persons) -> pa.Array:
    """Which rows of a ``CALIPER_EVENTS`` table come from log rows, or mention persons."""
    wanted = pa.array(sorted(log_ids), pa.int64())
    from_rows = _combined(pc.is_in(events["log_id"], value_set=wanted))
    return pc.or_(from_rows, mentioned_in_events(events, persons))


def mentioned_in_events(events: pa.Table, persons: Persons) -> pa.Array:
    """Which rows of a ``CALIPER_EVENTS`` table mention persons."""
    return persons.in_events(_combined(events["json"]))


def event_ids(events: pa.Table, rows: pa.Array) -> list[str]:
    """The ids of the events among some rows."""
    has_event = pc.is_in(events["outcome"].cast(pa.string()), pa.array(WITH_EVENT))
    ids: list[str] = events["event_id"].filter(pc.and_(rows, _combined(has_event))).to_pylist()
    return ids


def accounts_of_hours(
    store: PartitionStore, frames: SiteFrames, persons: Persons
) -> frozenset[UserAccount]:
    """What identified persons at the times of the stored rows: names, user names, addresses.

    Hours that cannot be read are passed over; whoever searches them comes upon that again.
    """
    found: set[UserAccount] = set()
    for frame in frames.logs:
        for hour in sorted(frames.hours[frame]):
            try:
                for log in _account_columns(store, frame, hour):
                    found.update(_accounts(log, persons))
            except StorageError:
                continue
    return frozenset(found)


def _account_columns(store: PartitionStore, frame: Frame, hour: Hour) -> Iterator[pa.Table]:
    if frame.name == EXPANDED_LOG.name:
        return tables(store, frame, hour, _USER_RECORDS)
    return tables(store, frame, hour, ("objecttable", "objectid", "other"))


def _accounts(log: pa.Table, persons: Persons) -> Iterator[UserAccount]:
    if "other" not in log.column_names:
        for name in _USER_RECORDS:
            # Dictionaries hold each record once; a part of an hour may hold those of others, too.
            for record in map(
                orjson.loads, pc.unique(log[name].cast(pa.string())).drop_null().to_pylist()
            ):
                if isinstance(record, dict) and record.get("id") in persons.ids:
                    yield UserAccount.of(record)
        return
    of_user = pc.fill_null(pc.equal(log["objecttable"].cast(pa.string()), "user"), False)
    rows = log.filter(pc.and_(of_user, persons.has_id(log["objectid"])))
    for text in pc.unique(rows["other"]).drop_null().to_pylist():
        value = decode(text)
        if isinstance(value, dict):
            yield UserAccount.of(value)


def _combined(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    if pa.types.is_dictionary(one.type):
        one, other = one.cast(pa.string()), other.cast(pa.string())
    same = pc.fill_null(pc.equal(one, other), False)
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    result: npt.NDArray[np.bool_] = np.asarray(pc.or_(same, both_null))
    return result


def in_hours(frames: SiteFrames, some: Iterable[Frame], hour: Hour) -> list[Frame]:
    """Those of some tables that have an hour."""
    return [frame for frame in some if hour in frames.hours[frame]]
