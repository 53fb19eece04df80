"""The loop: from hours of events to acknowledged envelopes.

What is decided here is which events to send, and that no other run sends them at the same time;
how they get there is the business of ``delivery``, which knows what each answer means.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import compress

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import WITH_EVENT
from caliper_dagster.core.hours import Hour
from caliper_dagster.emitter.delivery import Delivery, Errand, Limits, Parcel
from caliper_dagster.emitter.fingerprints import (
    Fingerprints,
    fingerprints,
    text_slices,
    unacknowledged,
)
from caliper_dagster.emitter.http_destination import EventStore
from caliper_dagster.emitter.ledger import (
    Batch,
    Ledger,
    acknowledged_fingerprints,
    rejected_fingerprints,
    results_table,
)
from caliper_dagster.emitter.retries import Patience

HoursAndEvents = Iterable[tuple[Hour, pa.Table]]
Emitted = tuple[Hour, pa.Table, "EmissionCounts"]
_Mask = npt.NDArray[np.bool_]

_GROUP_HOURS = 168
_GROUP_BYTES = 64_000_000
_PATIENCE = Patience()


class Send(StrEnum):
    """Which events of an hour are sent.

    ``unacknowledged``: what is new, what has changed, what was refused, and what was left over.
    ``new``: the same without what was refused with its present content. ``rejected``: only what
    was refused, whatever its content is now. ``all``: everything.
    """

    UNACKNOWLEDGED = "unacknowledged"
    NEW = "new"
    REJECTED = "rejected"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class EmissionCounts:
    """What one hour's emission did.

    Attributes:
        events: events of the hour.
        already_acknowledged: of these, not sent because the event store has them with this content.
        sent: of these, acknowledged now.
        rejected: of these, refused for what they are: their last answer, now or earlier.
        envelopes: acknowledged envelopes.
        bytes: size of these envelopes.
        seconds: from the first look at the hour to the last answer.
    """

    events: int
    already_acknowledged: int
    sent: int
    rejected: int
    envelopes: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Events:
    """The sendable events of one hour, as columns of the same length; the texts in UTF-8."""

    texts: Sequence[memoryview]
    versions: pa.StringArray
    fingerprints: Fingerprints

    def __len__(self) -> int:
        return len(self.texts)

    def chosen(self, mask: _Mask) -> _Events:
        if mask.all():
            return self
        return _Events(
            list(compress(self.texts, mask.tolist())),
            self.versions.filter(pa.array(mask)),
            self.fingerprints[mask],
        )


@dataclass(frozen=True, slots=True)
class _Standing:
    """Which of an hour's events the ledger knows, as masks over them."""

    acknowledged: _Mask
    rejected: _Mask
    """Whatever the content was."""
    rejected_as_is: _Mask

    @classmethod
    def of(cls, found: Fingerprints, batches: list[Batch]) -> _Standing:
        refused = rejected_fingerprints(batches)
        rejected = np.isin(found["id"], refused["id"])
        return cls(
            acknowledged=~unacknowledged(found, acknowledged_fingerprints(batches)) & ~rejected,
            rejected=rejected,
            rejected_as_is=rejected & ~unacknowledged(found, refused),
        )

    def to_send(self, send: Send) -> _Mask:
        if send is Send.ALL:
            return np.ones_like(self.rejected)
        if send is Send.REJECTED:
            return self.rejected
        open_ = ~self.acknowledged
        return open_ & ~self.rejected_as_is if send is Send.NEW else open_


@dataclass(slots=True)
class _Hour:
    """One hour on its way."""

    hour: Hour
    events: _Events
    standing: _Standing
    to_send: _Mask
    errand: Errand
    started: float = field(default_factory=time.perf_counter)

    def counts(self, rejected: int) -> EmissionCounts:
        return EmissionCounts(
            events=len(self.events),
            already_acknowledged=int((self.standing.acknowledged & ~self.to_send).sum()),
            sent=self.errand.sent,
            rejected=rejected,
            envelopes=self.errand.envelopes,
            bytes=self.errand.bytes,
            seconds=time.perf_counter() - self.started,
        )


@dataclass(slots=True)
class _Emitter:
    """One run."""

    delivery: Delivery
    ledger: Ledger
    event_store: str
    site: str
    send: Send
    in_flight: int
    _known: dict[Hour, list[Batch]] = field(default_factory=dict)
    _on_their_way: deque[_Hour] = field(default_factory=deque)

    def emit(self, group: deque[tuple[Hour, pa.Table]]) -> Iterator[Emitted]:
        """Send some hours, which nobody else may send meanwhile if there is anything to send."""
        self._known = self._read(hour for hour, _ in group)
        with ExitStack() as stack:
            leased = False
            while group:
                hour, table = group.popleft()
                if any(begun.hour == hour for begun in self._on_their_way):
                    yield from self._finished(0)
                begun = self._begun(hour, _sendable(table))
                if begun.to_send.any() and not leased:
                    leased = True
                    hours = [hour, *(later for later, _ in group)]
                    lease = self.ledger.lease(
                        self.event_store, hours, site=self.site, waiting=self.delivery.check
                    )
                    self.delivery.keep = stack.enter_context(lease).keep
                    stack.callback(self.delivery.land)
                    # What another run has sent until now is known only now.
                    self._known |= self._read(hours)
                    begun = self._begun(hour, begun.events)
                self._dispatch(begun)
                self._on_their_way.append(begun)
                yield from self._finished(self.in_flight)
            yield from self._finished(0)

    def _begun(self, hour: Hour, events: _Events) -> _Hour:
        standing = _Standing.of(events.fingerprints, self._known[hour])
        refused = rejected_fingerprints(self._known[hour])["id"]
        errand = Errand(hour, frozenset(refused.tolist()))
        return _Hour(hour, events, standing, standing.to_send(self.send), errand)

    def _dispatch(self, begun: _Hour) -> None:
        """Give out an hour's parcels; what was refused as it is goes last, and by itself."""
        fresh = begun.to_send & ~begun.standing.rejected_as_is
        suspect = begun.to_send & begun.standing.rejected_as_is
        for mask, suspected in ((fresh, False), (suspect, True)):
            events = begun.events.chosen(mask)
            for version in events.versions.unique().to_pylist():
                of_version = events.chosen(np.asarray(pc.equal(events.versions, version)))
                whole = Parcel(
                    begun.errand, version, of_version.texts, of_version.fingerprints, suspected
                )
                for parcel in self.delivery.cut(whole):
                    self.delivery.give(parcel)

    def _finished(self, waiting: int) -> Iterator[Emitted]:
        """The hours that have all their answers, in order; waits until few enough are waiting."""
        begun = self._on_their_way
        while begun:
            while begun[0].errand.unsettled and len(begun) > waiting:
                self.delivery.settle()
            if begun[0].errand.unsettled:
                return
            done = begun.popleft()
            if done.errand.recorded:
                self._known |= self._read([done.hour])
            batches = self._known[done.hour]
            refused = rejected_fingerprints(batches)
            rejected = np.isin(done.events.fingerprints["id"], refused["id"])
            counts = done.counts(int(rejected.sum()))
            yield done.hour, results_table(self.event_store, batches), counts

    def _read(self, hours: Iterable[Hour]) -> dict[Hour, list[Batch]]:
        return self.ledger.batches(self.event_store, list(hours), site=self.site)


def emit(
    hours_and_events: HoursAndEvents,
    event_store: EventStore,
    ledger: Ledger,
    *,
    sensor: str,
    site: str,
    batch_size: int = 500,
    batch_bytes: int = 1_000_000,
    in_flight: int = 1,
    send: Send = Send.UNACKNOWLEDGED,
    patience: Patience = _PATIENCE,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Emitted]:
    """Send what the event store has not acknowledged with its present content, hour by hour.

    An envelope holds events of one hour and one Caliper version. An answer is committed to the
    ledger before another envelope takes its place, so a crash repeats at most the envelopes in
    flight. Runs that send the same hours at the same time wait for each other.

    An event that the event store refuses for its content is *rejected*: kept in the ledger with
    the store's words, while everything else goes its way.

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
        in_flight: envelopes that wait for their answer at the same time, at most. With more than
            one their order is not promised.
        send: which events.
        patience: how long an event store that fails is borne.
        stopped: whether to post nothing more.

    Yields:
        the hour, its ``EMISSION_RESULTS`` table (all batches ever answered for the hour, not only
        those of this call), and what was done.

    Raises:
        DeliveryError: the event store refuses more than single events, or stays down. Nothing more
            is sent; what was acknowledged is in the ledger.
        StoppedError: ``stopped`` said so; the same holds.
        StorageError: the events are not what the contract says, or the ledger failed.
    """
    limits = Limits(batch_size, batch_bytes)
    delivery = Delivery(
        event_store, ledger, sensor, site, limits, in_flight, patience, stopped=stopped
    )
    emitter = _Emitter(delivery, ledger, event_store.name, site, send, in_flight)
    try:
        for group in _groups(hours_and_events):
            yield from emitter.emit(group)
    finally:
        delivery.end()


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
    wanted = pc.is_in(table.column("outcome").cast(pa.string()), value_set=pa.array(WITH_EVENT))
    if not pc.all(wanted, min_count=0).as_py():
        columns = columns.filter(wanted)
    texts = _combined(columns.column("json"), pa.large_string())
    ids = _combined(columns.column("event_id"), pa.large_string())
    versions = _combined(columns.column("caliper_version"), pa.string())
    if versions.null_count:
        raise StorageError("caliper_events holds an event without caliper_version.")
    slices = text_slices(texts)
    return _Events(slices, versions, fingerprints(ids, slices))


def _combined(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.Array:
    return column.cast(wanted).combine_chunks()
