"""Rejected events: what the event store refused, and which log rows it came from.

The ledger knows the event ids and the store's words, the stored ``caliper_events`` know the log
rows. Nothing is sent and nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.emitter import EventStore, Ledger
from caliper_dagster.errors import StorageError
from caliper_dagster.frames import CALIPER_EVENTS
from caliper_dagster.hours import Hour, HourRange
from caliper_dagster.settings import Settings
from caliper_dagster.storage import PartitionStorage

_UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """One event whose last answer is a rejection.

    Attributes:
        log_id: id of Moodle's log row; None when ``caliper_events`` has the event no more.
        event_name: class name of the Moodle event; None in the same case.
        status: the answer's HTTP status.
        words: what the event store said.
    """

    hour: Hour
    event_id: str
    log_id: int | None
    event_name: str | None
    status: int | None
    words: str | None

    def columns(self) -> tuple[str, ...]:
        """The event as texts, in the order of the attributes."""
        values = (self.log_id, self.event_name, self.status, self.words)
        known = (_UNKNOWN if value is None else str(value) for value in values)
        return (str(self.hour), self.event_id, *known)


def rejected_events(settings: Settings, hours: HourRange) -> Iterator[RejectedEvent]:
    """The rejected events of the hours, by hour and log row.

    Raises:
        ConfigurationError: a setting that is needed is missing or wrong.
        StorageError: the ledger could not be read.
    """
    url, site = settings.require("event_store_url"), settings.require("moodle_wwwroot")
    name = EventStore(url, None).name
    kept = PartitionStorage(settings.storage_url())
    with Ledger(settings.ledger()) as ledger:
        found = ledger.rejected(name, hours, site=site)
    for hour, batches in groupby(found, lambda batch: batch.hour):
        refused = {event_id: batch for batch in batches for event_id in batch.event_ids()}
        origins = _origins(kept, hour, list(refused))
        listed = [
            RejectedEvent(
                hour,
                event_id,
                *origins.get(event_id, (None, None)),
                status=batch.http_status,
                words=batch.error,
            )
            for event_id, batch in refused.items()
        ]
        yield from sorted(listed, key=lambda event: (event.log_id or 0, event.event_id))


def _origins(
    kept: PartitionStorage, hour: Hour, ids: list[str]
) -> dict[str, tuple[int | None, str | None]]:
    """Log id and event name of each event that the stored hour still has."""
    try:
        events = kept.read(CALIPER_EVENTS, [hour], ["event_id", "log_id", "event_name"])
    except StorageError:
        return {}
    wanted = events.filter(pc.is_in(events["event_id"], pa.array(ids, pa.string())))
    return {row["event_id"]: (row["log_id"], row["event_name"]) for row in wanted.to_pylist()}
