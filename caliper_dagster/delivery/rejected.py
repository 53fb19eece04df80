"""Rejected events: which events a store rejected, and which log rows they were made from.

The ledger holds the ids of the events and the store's words, the stored ``caliper_events`` the log
rows. Nothing is sent or changed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.config.connections import open_ledger, open_store
from caliper_dagster.config.event_stores import EventStoreDefinition, events_frame
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore

_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """One event whose last answer is a rejection.

    Attributes:
        event_store: name of the event store that rejected it; None for a single one.
        log_id: id of Moodle's log row; None when ``caliper_events`` no longer has the event.
        event_name: class name of the Moodle event; None in the same case.
        status: the answer's HTTP status.
        words: the event store's reason.
    """

    event_store: str | None
    hour: Hour
    event_id: str
    log_id: int | None
    event_name: str | None
    status: int | None
    words: str | None

    def columns(self) -> tuple[str, ...]:
        """The event as texts, in the order of the attributes; a single event store is not named."""
        values = (self.log_id, self.event_name, self.status, self.words)
        texts = (_UNKNOWN if value is None else str(value) for value in values)
        store = (self.event_store,) if self.event_store else ()
        return (*store, str(self.hour), self.event_id, *texts)


def rejected_events(
    settings: Settings, stores: Iterable[EventStoreDefinition], hours: HourRange
) -> Iterator[RejectedEvent]:
    """The rejected events of the hours, by event store, hour and log row.

    Raises:
        ConfigurationError: a setting that is needed is missing or wrong.
        StorageError: the ledger could not be read.
    """
    for store in stores:
        yield from _rejected(settings, store, hours)


def _rejected(
    settings: Settings, store: EventStoreDefinition, hours: HourRange
) -> Iterator[RejectedEvent]:
    site, storage = settings.identity().site_id, open_store(settings)
    frame = events_frame(settings, store.rendering)
    with open_ledger(settings) as ledger:
        rejected = ledger.rejected(store.ledger_name(), hours, site=site)
    for hour, batches in groupby(rejected, lambda batch: batch.hour):
        batch_of = {event_id: batch for batch in batches for event_id in batch.event_ids()}
        origins = _origins(storage, frame, hour, list(batch_of))
        events = [
            RejectedEvent(
                store.name,
                hour,
                event_id,
                *origins.get(event_id, (None, None)),
                status=batch.http_status,
                words=batch.error,
            )
            for event_id, batch in batch_of.items()
        ]
        yield from sorted(events, key=lambda event: (event.log_id or 0, event.event_id))


def _origins(
    storage: PartitionStore, frame: Frame, hour: Hour, ids: list[str]
) -> dict[str, tuple[int | None, str | None]]:
    """Log id and event name of each event that the stored hour still has."""
    try:
        events = storage.read(frame, [hour], ["event_id", "log_id", "event_name"])
    except StorageError:
        return {}
    requested = events.filter(pc.is_in(events["event_id"], pa.array(ids, pa.string())))
    return {row["event_id"]: (row["log_id"], row["event_name"]) for row in requested.to_pylist()}
