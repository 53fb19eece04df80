"""The loop: from hours of events to acknowledged requests.

This module decides which events are sent, and that no other run sends them at the same time.
``delivery`` sends them and acts on the answers.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import WITH_EVENT
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.emitter.delivery import (
    Batch,
    EnvelopeDelivery,
    EnvelopeLimits,
    HourProgress,
)
from caliper_dagster.emitter.destination import Destination
from caliper_dagster.emitter.ledger import BatchRecord, Ledger, results_table
from caliper_dagster.emitter.ledger.fingerprints import (
    FINGERPRINT,
    Fingerprints,
    check_distinct,
    fingerprints,
    text_slices,
)
from caliper_dagster.emitter.ledger.records import LedgerState, Mask, rejected_ids
from caliper_dagster.emitter.retries import RetryPolicy

_GROUP_HOURS = 168
_GROUP_BYTES = 64_000_000
_DEFAULT_POLICY = RetryPolicy()


class HourOfEvents(NamedTuple):
    """The events of one hour, to be sent.

    Attributes:
        events: its ``CALIPER_EVENTS`` table. An hour of many events has instead what reads them: it
            returns the same tables, in order, each time it is called. Memory then holds two of them
            at a time, and 24 bytes for each event.
        mapping_revision: revision under which they were made (``core.revisions``).
        reload: reads the hour again, as it is stored now; returns None when nothing of it may be
            sent any more. Without it, the hour cannot have changed.
    """

    hour: Hour
    events: pa.Table | Callable[[], Iterator[pa.Table]]
    mapping_revision: int = MAPPING_REVISION
    reload: Callable[[], HourOfEvents | None] | None = None


class EmittedHour(NamedTuple):
    """One hour that has all its answers.

    Attributes:
        results: its ``EMISSION_RESULTS`` table: all batches ever answered for the hour.
        counts: what this run did.
    """

    hour: Hour
    results: pa.Table
    counts: EmissionCounts


class Send(StrEnum):
    """Which events of an hour are sent.

    ``unacknowledged``: new events, changed ones, rejected ones, and those without an answer. An
    event that was acknowledged under another mapping revision has not changed. ``changed``: the
    same, and also events whose content differs from that acknowledged under another mapping
    revision. ``new``: like ``unacknowledged``, without events that were rejected with their present
    content. ``rejected``: only events that were rejected, whatever their content is now. ``all``:
    every event.
    """

    UNACKNOWLEDGED = "unacknowledged"
    CHANGED = "changed"
    NEW = "new"
    REJECTED = "rejected"
    ALL = "all"

    def choose(self, state: LedgerState) -> Mask:
        """Which events of an hour are sent, as a mask over them."""
        if self is Send.ALL:
            return np.ones_like(state.rejected)
        if self is Send.REJECTED:
            return state.rejected
        if self is Send.CHANGED:
            return ~state.acknowledged | state.changed
        if self is Send.NEW:
            return ~state.acknowledged & ~state.rejected_as_is
        return ~state.acknowledged


@dataclass(frozen=True, slots=True)
class EmissionCounts:
    """What one hour's emission did.

    Attributes:
        events: events of the hour.
        already_acknowledged: of these, not sent because they were acknowledged before.
        changed: of the latter, those whose present content the destination does not have: it was
            sent the content that another mapping revision made.
        sent: of the events, acknowledged now.
        rejected: of the events, refused for their content: their last answer, now or earlier.
        envelopes: accepted requests.
        bytes: size of these requests.
        seconds: from the first look at the hour to the last answer.
    """

    events: int
    already_acknowledged: int
    changed: int
    sent: int
    rejected: int
    envelopes: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Events:
    """The sendable events of one hour, or of a part of it, as columns of the same length.

    Attributes:
        texts: the JSON in UTF-8.
    """

    texts: Sequence[memoryview]
    versions: pa.StringArray
    fingerprints: Fingerprints

    def __len__(self) -> int:
        return len(self.texts)

    def parts(self) -> Iterator[_Events]:
        """The events in parts that fit into memory."""
        yield self

    def select(self, mask: Mask) -> _Events:
        if mask.all():
            return self
        return _Events(
            list(compress(self.texts, mask.tolist())),
            self.versions.filter(pa.array(mask)),
            self.fingerprints[mask],
        )


@dataclass(frozen=True, slots=True)
class _EventsInParts:
    """The sendable events of an hour that has too many for memory: all columns but the texts.

    Attributes:
        text_bytes: size of all texts.
    """

    read: Callable[[], Iterator[pa.Table]]
    versions: pa.StringArray
    fingerprints: Fingerprints
    text_bytes: int

    @classmethod
    def of(
        cls, read: Callable[[], Iterator[pa.Table]], renew_lease: Callable[[], None]
    ) -> _EventsInParts:
        versions, found, size = [pa.array([], pa.string())], [np.empty(0, FINGERPRINT)], 0
        for table in read():
            part = _sendable(table)
            size += sum(map(len, part.texts))
            versions.append(part.versions)
            found.append(part.fingerprints)
            renew_lease()
        joined = np.concatenate(found)
        check_distinct(joined)
        return cls(read, pa.concat_arrays(versions), joined, size)

    def __len__(self) -> int:
        return len(self.fingerprints)

    @property
    def texts(self) -> Sequence[memoryview]:
        """The JSON in UTF-8, which is read each time it is iterated."""
        return _TextsInParts(self)

    def parts(self) -> Iterator[_Events]:
        """The events in parts that fit into memory."""
        return map(_sendable, self.read())


@dataclass(frozen=True, slots=True)
class _TextsInParts(Sequence[memoryview]):
    """The texts of an hour in parts: one part at a time is in memory."""

    events: _EventsInParts

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[memoryview]:
        for part in self.events.parts():
            yield from part.texts

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - a number or a slice
        return list(self)[index]


@dataclass(slots=True)
class _StartedHour:
    """One hour whose events are being sent."""

    events: _Events | _EventsInParts
    state: LedgerState
    to_send: Mask
    progress: HourProgress
    started: float = field(default_factory=time.perf_counter)

    @property
    def hour(self) -> Hour:
        return self.progress.hour

    def counts(self, rejected: int) -> EmissionCounts:
        return EmissionCounts(
            events=len(self.events),
            already_acknowledged=int((self.state.acknowledged & ~self.to_send).sum()),
            changed=int((self.state.changed & ~self.to_send).sum()),
            sent=self.progress.sent,
            rejected=rejected,
            envelopes=self.progress.envelopes,
            bytes=self.progress.bytes,
            seconds=time.perf_counter() - self.started,
        )


@dataclass(slots=True)
class _Emitter:
    """One run."""

    delivery: EnvelopeDelivery
    destination: Destination
    ledger: Ledger
    site: str
    send: Send
    in_flight: int
    _batches: dict[Hour, list[BatchRecord]] = field(default_factory=dict)
    _started: deque[_StartedHour] = field(default_factory=deque)

    def emit(self, group: deque[HourOfEvents]) -> Iterator[EmittedHour]:
        """Send some hours, under a lease if there is anything to send."""
        self.delivery.renew_lease = lambda: None  # that of the hours before has been released
        self._batches = self._read_batches(item.hour for item in group)
        with ExitStack() as stack:
            leased = False
            while group:
                item = group.popleft()
                if any(started.hour == item.hour for started in self._started):
                    yield from self._completed(0)
                started = self._start(item, self._events(item))
                if started.to_send.any() and not leased:
                    leased = True
                    hours = [item.hour, *(later.hour for later in group)]
                    lease = self.ledger.lease(
                        self.destination.name,
                        hours,
                        site=self.site,
                        waiting=self.delivery.raise_if_stopped,
                    )
                    self.delivery.renew_lease = stack.enter_context(lease).renew
                    stack.callback(self.delivery.drain)
                    # Another run may have sent some of the events before it released its lease.
                    self._batches |= self._read_batches(hours)
                    started = self._start(item, started.events)
                if self.destination.takes_whole_hours and started.to_send.any() and item.reload:
                    # The hour may have been written anew since it was read, without a lease.
                    current = item.reload()
                    if current is None:
                        continue
                    started = self._start(current, self._events(current))
                self._submit(started)
                self._started.append(started)
                yield from self._completed(self.in_flight)
            yield from self._completed(0)

    def _events(self, item: HourOfEvents) -> _Events | _EventsInParts:
        if isinstance(item.events, pa.Table):
            return _sendable(item.events)
        return _EventsInParts.of(item.events, self.delivery.renew_lease)

    def _start(self, item: HourOfEvents, events: _Events | _EventsInParts) -> _StartedHour:
        batches = self._batches[item.hour]
        state = LedgerState.of(events.fingerprints, item.mapping_revision, batches)
        to_send = self.send.choose(state)
        if self.destination.takes_whole_hours and to_send.any():
            to_send = np.ones_like(to_send)
        rejected = frozenset(rejected_ids(batches).tolist())
        progress = HourProgress(item.hour, item.mapping_revision, list(batches), rejected)
        return _StartedHour(events, state, to_send, progress)

    def _submit(self, started: _StartedHour) -> None:
        """Submit an hour's events; those that were rejected as they are go last, apart."""
        if self.destination.takes_whole_hours:
            if started.to_send.any():
                self.delivery.submit(_whole_hour(started))
            return
        suspected = started.to_send & started.state.rejected_as_is
        for mask, suspect in ((started.to_send & ~suspected, False), (suspected, True)):
            if not mask.any():
                continue
            for version in started.events.versions.filter(pa.array(mask)).unique():
                of_version = mask & np.asarray(pc.equal(started.events.versions, version))
                parts = _batches(started, of_version, suspect=suspect)
                for batch in self.delivery.split_all(parts):
                    self.delivery.submit(batch)

    def _completed(self, waiting: int) -> Iterator[EmittedHour]:
        """The hours that have all their answers, in order; waits until few enough have not."""
        queue = self._started
        while queue:
            while queue[0].progress.unanswered and len(queue) > waiting:
                self.delivery.wait_for_answer()
            if queue[0].progress.unanswered:
                return
            done = queue.popleft()
            batches = self._batches[done.hour] = done.progress.batches
            rejections = rejected_ids(batches)
            rejected = 0
            if len(rejections):
                rejected = int(np.isin(done.events.fingerprints["id"], rejections).sum())
            yield EmittedHour(
                done.hour,
                results_table(self.destination.name, batches),
                done.counts(rejected),
            )

    def _read_batches(self, hours: Iterable[Hour]) -> dict[Hour, list[BatchRecord]]:
        return self.ledger.batches(self.destination.name, list(hours), site=self.site)


def emit(
    hours: Iterable[HourOfEvents],
    destination: Destination,
    ledger: Ledger,
    *,
    sensor: str,
    site: str,
    batch_size: int = 500,
    batch_bytes: int = 1_000_000,
    in_flight: int = 1,
    send: Send = Send.UNACKNOWLEDGED,
    retry_policy: RetryPolicy = _DEFAULT_POLICY,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[EmittedHour]:
    """Send what the destination has not acknowledged, hour by hour.

    A request holds events of one hour and one Caliper version; of a destination that takes whole
    hours, all of them, as they are stored once the hour is leased. An answer is committed to the
    ledger before another request takes its place, so a crash repeats at most the requests under
    way. Runs that send the same hours at the same time wait for each other.

    An event that the destination refuses for its content is *rejected*: the ledger records it with
    the destination's words, and all other events are sent.

    Args:
        hours: the hours with their events; read lazily, a week or about 64 MB ahead, so that one
            query to the ledger serves many hours. Rows whose outcome is neither ``event`` nor
            ``derived`` are skipped.
        destination: where they are sent; the ledger knows it by its name.
        ledger: what it has acknowledged so far, and from now on.
        sensor: id of the sensor, an IRI; goes into every envelope.
        site: id of the site whose events they are; the ledger keeps sites apart.
        batch_size: events per envelope, at most.
        batch_bytes: bytes per envelope, at most; a single larger event goes alone.
        in_flight: requests that wait for their answer at the same time, at most. With more than
            one their order is not promised.
        send: which events.
        retry_policy: how long a failing destination is tried.
        stopped: whether to send nothing more.

    Yields:
        each hour when it has all its answers.

    Raises:
        DeliveryError: the destination refuses more than single events, or stays down. Nothing more
            is sent; what was acknowledged is in the ledger.
        StoppedError: ``stopped`` returned True; the same holds.
        StorageError: the events break the contract of ``CALIPER_EVENTS``, or the ledger failed.
    """
    limits = EnvelopeLimits(batch_size, batch_bytes)
    delivery = EnvelopeDelivery(
        destination, ledger, sensor, site, limits, in_flight, retry_policy, stopped=stopped
    )
    emitter = _Emitter(delivery, destination, ledger, site, send, in_flight)
    try:
        for group in _groups(hours):
            yield from emitter.emit(group)
    finally:
        delivery.close()


def is_sent(
    events: pa.Table, mapping_revision: int, batches: Sequence[BatchRecord], send: Send
) -> bool:
    """Whether a run would send none of these events, because all are acknowledged.

    Args:
        events: some ``CALIPER_EVENTS`` rows of an hour.
        mapping_revision: revision under which they were made.
        batches: all batches of the hour from the destination, oldest first.
        send: which events the run sends.
    """
    packed = _sendable(events).fingerprints
    return not send.choose(LedgerState.of(packed, mapping_revision, batches)).any()


def _groups(hours: Iterable[HourOfEvents]) -> Iterator[deque[HourOfEvents]]:
    group: deque[HourOfEvents] = deque()
    size = 0
    for item in hours:
        group.append(item)
        if isinstance(item.events, pa.Table):
            # `nbytes` takes ten times as long, which counts where hours are small.
            size += item.events.get_total_buffer_size()
        else:
            size += _GROUP_BYTES
        if len(group) == _GROUP_HOURS or size >= _GROUP_BYTES:
            yield group
            group, size = deque(), 0
    if group:
        yield group


def _batches(started: _StartedHour, chosen: Mask, *, suspect: bool) -> Iterator[Batch]:
    """The chosen events of an hour, a batch for each part that has some of them."""
    begin = 0
    for part in started.events.parts():
        events = part.select(chosen[begin : begin + len(part)])
        begin += len(part)
        if len(events):
            yield _batch(started, events, suspect=suspect)


def _batch(
    started: _StartedHour, events: _Events | _EventsInParts, *, suspect: bool = False
) -> Batch:
    version = events.versions[0].as_py()
    return Batch(started.progress, version, events.texts, events.fingerprints, suspect)


def _whole_hour(started: _StartedHour) -> Batch:
    """All events of an hour as one batch."""
    events = started.events
    batch = _batch(started, events)
    if isinstance(events, _EventsInParts):
        batch.text_bytes = events.text_bytes
    return batch


def _sendable(table: pa.Table) -> _Events:
    columns = table.select(["event_id", "json", "caliper_version"])
    has_event = pc.is_in(table.column("outcome").cast(pa.string()), value_set=pa.array(WITH_EVENT))
    if not pc.all(has_event, min_count=0).as_py():
        columns = columns.filter(has_event)
    texts = _combined(columns.column("json"), pa.large_string())
    ids = _combined(columns.column("event_id"), pa.large_string())
    versions = _combined(columns.column("caliper_version"), pa.string())
    if versions.null_count:
        raise StorageError("caliper_events holds an event without caliper_version.")
    slices = text_slices(texts)
    return _Events(slices, versions, fingerprints(ids, slices))


def _combined(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    return column.cast(kind).combine_chunks()
