"""The loop: from hours of events to acknowledged envelopes.

What is decided here is which events to send and when to write an answer down; how an envelope
looks, how it is posted and how it is kept is the business of the modules beside this one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.emitter.envelopes import batches, context_iri, envelope, envelope_overhead
from caliper_dagster.emitter.event_store import EventStore
from caliper_dagster.emitter.fingerprints import (
    Fingerprints,
    fingerprints,
    text_slices,
    unacknowledged,
)
from caliper_dagster.emitter.ledger import (
    ACKNOWLEDGED,
    Batch,
    Ledger,
    acknowledged_fingerprints,
    results_table,
)
from caliper_dagster.errors import StorageError
from caliper_dagster.hours import Hour

HoursAndEvents = Iterable[tuple[Hour, pa.Table]]

_SENDABLE = pa.array(["event", "derived"])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GROUP_HOURS = 168
_GROUP_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class EmissionCounts:
    """What one hour's emission did.

    Attributes:
        events: events of the hour.
        already_acknowledged: of these, not sent because the event store has them with this content.
        sent: of these, acknowledged now.
        envelopes: envelopes they went in.
        bytes: size of these envelopes.
        seconds: from the first look at the hour to the last answer.
    """

    events: int
    already_acknowledged: int
    sent: int
    envelopes: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Events:
    """The sendable events of one hour, as columns of the same length."""

    texts: pa.LargeStringArray
    versions: pa.StringArray
    fingerprints: Fingerprints

    def __len__(self) -> int:
        return len(self.texts)

    def chosen(self, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> _Events:
        if mask.all():
            return self
        wanted = pa.array(mask)
        return _Events(
            self.texts.filter(wanted), self.versions.filter(wanted), self.fingerprints[mask]
        )


@dataclass(frozen=True, slots=True)
class _Emitter:
    """Where to, and within which limits."""

    event_store: EventStore
    ledger: Ledger
    sensor: str
    site: str
    batch_size: int
    batch_bytes: int

    def send(self, hour: Hour, events: _Events) -> tuple[int, int]:
        """Post the events; each envelope is in the ledger before the next one leaves.

        Returns:
            the number of envelopes and their bytes.
        """
        envelopes = size = 0
        for version in events.versions.unique().to_pylist():
            data_version = context_iri(version)
            of_version = events.chosen(np.asarray(pc.equal(events.versions, version)))
            data, places = text_slices(of_version.texts)
            capacity = self.batch_bytes - envelope_overhead(self.sensor, data_version)
            for start, end in batches(np.diff(places), self.batch_size, capacity):
                ends = places[start : end + 1].tolist()
                texts = [data[a:b] for a, b in pairwise(ends)]
                size += self._post(hour, data_version, texts, of_version.fingerprints[start:end])
                envelopes += 1
        return envelopes, size

    def _post(
        self, hour: Hour, data_version: str, texts: list[memoryview], found: Fingerprints
    ) -> int:
        sent_at = datetime.now(UTC)
        body = envelope(self.sensor, sent_at, data_version, texts)
        status = self.event_store.post(body)
        batch = Batch(
            hour=hour,
            batch_id=f"urn:uuid:{uuid4()}",
            outcome=ACKNOWLEDGED,
            bytes=len(body),
            attempts=1,
            http_status=status,
            sent_at=_milliseconds(sent_at),
            answered_at=_milliseconds(datetime.now(UTC)),
            error=None,
            fingerprints=found,
        )
        self.ledger.record(self.event_store.name, batch, site=self.site)
        return len(body)

    def known(self, hours: list[Hour]) -> dict[Hour, list[Batch]]:
        """What the ledger holds of the hours."""
        return self.ledger.batches(self.event_store.name, hours, site=self.site)


def emit(
    hours_and_events: HoursAndEvents,
    event_store: EventStore,
    ledger: Ledger,
    *,
    sensor: str,
    site: str,
    batch_size: int = 500,
    batch_bytes: int = 1_000_000,
    resend_all: bool = False,
) -> Iterator[tuple[Hour, pa.Table, EmissionCounts]]:
    """Send what the event store has not acknowledged with its present content, hour by hour.

    An envelope holds events of one hour and one Caliper version, in the order of the table. An
    acknowledged envelope is committed to the ledger before the next one is posted, so a crash
    repeats at most the envelope in flight.

    Args:
        hours_and_events: each hour with its ``CALIPER_EVENTS`` table; read lazily, a week or about
            64 MB ahead, so that one query to the ledger serves many hours. Rows whose outcome is
            neither ``event`` nor ``derived`` are skipped.
        event_store: where they go; its name is what the ledger keeps it by.
        ledger: what it has acknowledged so far, and from now on.
        sensor: id of the sensor, an IRI; goes into every envelope.
        site: address of the site whose events they are; the ledger keeps sites apart.
        batch_size: events per envelope, at most.
        batch_bytes: bytes per envelope, at most; a single larger event goes alone.
        resend_all: send all events again, acknowledged or not.

    Yields:
        the hour, its ``EMISSION_RESULTS`` table (all batches ever answered for the hour, not only
        those of this call), and what was done.

    Raises:
        DeliveryError: the event store did not acknowledge an envelope. Nothing more is sent; what
            was acknowledged is in the ledger.
        StorageError: the events are not what the contract says, or the ledger failed.
    """
    emitter = _Emitter(event_store, ledger, sensor, site, batch_size, batch_bytes)
    for group in _groups(hours_and_events):
        known = emitter.known([hour for hour, _ in group])
        while group:
            hour, table = group.popleft()
            started = time.perf_counter()
            events = _sendable(table)
            mask = (
                np.ones(len(events), np.bool_)
                if resend_all
                else unacknowledged(events.fingerprints, acknowledged_fingerprints(known[hour]))
            )
            sent = int(mask.sum())
            envelopes, size = emitter.send(hour, events.chosen(mask))
            if envelopes:
                known |= emitter.known([hour])
            counts = EmissionCounts(
                events=len(events),
                already_acknowledged=len(events) - sent,
                sent=sent,
                envelopes=envelopes,
                bytes=size,
                seconds=time.perf_counter() - started,
            )
            yield hour, results_table(event_store.name, known[hour]), counts


def _groups(hours_and_events: HoursAndEvents) -> Iterator[deque[tuple[Hour, pa.Table]]]:
    group: deque[tuple[Hour, pa.Table]] = deque()
    size = 0
    for hour, table in hours_and_events:
        group.append((hour, table))
        size += table.nbytes
        if len(group) == _GROUP_HOURS or size >= _GROUP_BYTES:
            yield group
            group, size = deque(), 0
    if group:
        yield group


def _sendable(table: pa.Table) -> _Events:
    columns = table.select(["event_id", "json", "caliper_version"])
    wanted = pc.is_in(table.column("outcome").cast(pa.string()), value_set=_SENDABLE)
    if not pc.all(wanted, min_count=0).as_py():
        columns = columns.filter(wanted)
    texts = _combined(columns.column("json"), pa.large_string())
    ids = _combined(columns.column("event_id"), pa.large_string())
    versions = _combined(columns.column("caliper_version"), pa.string())
    if versions.null_count:
        raise StorageError("caliper_events holds an event without caliper_version.")
    return _Events(texts, versions, fingerprints(ids, texts))


def _combined(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.Array:
    return column.cast(wanted).combine_chunks()


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
