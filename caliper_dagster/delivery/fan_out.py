"""Dispatch: one run's events to several event stores at once.

Here belongs that none of them waits for another: each has a thread, connections and a ledger handle
of its own, and what it has done is told as it happens. Whoever asked for it hears all in one
thread. What is sent, and what an answer means, is the business of ``emitter``; nothing here knows
Dagster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING

import pyarrow as pa

from caliper_dagster.config.event_stores import EventStoreDefinition
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import DeliveryCounts, outstanding

if TYPE_CHECKING:
    from caliper_dagster.emitter import EmissionCounts, Ledger, Send

GRACE = 20
"""Seconds for which an event store may go on, at least, when another has got everything."""

_SLOWER = 4
"""One that takes so many times fewer events per second than the others is not waited for."""

_SLOW = 50
"""Nor one that takes fewer events per second than this."""

_LOOK = 0.5

_NEEDED = ("event_id", "json", "caliper_version", "outcome", "event_name", "event_type")
"""Columns of the events that are asked for: what is sent, and what filters look at."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An event store has got an hour.

    Attributes:
        rows: rows of its table of results.
        seconds: from the first look at the hour to the last answer.
    """

    hour: Hour
    rows: int
    delivery: DeliveryCounts
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """An event store's part of the run has ended.

    Attributes:
        error: why it did not get all; None when it did, or was passed over.
        left: hours that it is still to get, in runs of its own.
    """

    error: Exception | None
    left: tuple[Hour, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether it has got all hours."""
        return self.error is None and not self.left


StoreProgress = tuple[EventStoreDefinition, Sent | Ended]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRequest:
    """What the event stores of a run are sent.

    Attributes:
        events: table of the events, by event store.
        hours: in order.
        site: address of the site whose events they are.
        open_ledger: a handle of its own for each thread.
        send: which events.
        left: marks of the hours that were left over before, by event store (see `Backlog`).
    """

    events: Callable[[EventStoreDefinition], Frame]
    storage: PartitionStore
    hours: Sequence[Hour]
    site: str
    open_ledger: Callable[[], Ledger]
    send: Send
    left: Mapping[str, Mapping[Hour, int]]

    def deliver(self, store: EventStoreDefinition, stopped: Callable[[], bool]) -> Iterator[Sent]:
        """One event store's part; hours that were left over before are so no more."""
        from caliper_dagster.emitter import Patience, emit

        kept, events = self.storage, self.events(store)
        looked: dict[Hour, tuple[pa.ChunkedArray, Mapping[str, int]]] = {}

        def each() -> Iterator[tuple[Hour, pa.Table]]:
            for hour, table in kept.each(events, self.hours, _NEEDED):
                wanted, filtered = store.filter.apply(table)
                looked[hour] = wanted["event_id"], filtered
                yield hour, wanted

        with store.open() as target, self.open_ledger() as known:
            for hour, results, counts in emit(
                each(),
                target,
                known,
                sensor=f"{self.site}#caliper-dagster",
                site=self.site,
                batch_size=store.batch_size,
                batch_bytes=store.batch_bytes,
                in_flight=store.envelopes_in_flight,
                send=self.send,
                patience=Patience(attempts=store.attempts),
                stopped=stopped,
            ):
                delivery = _delivery(counts, results, *looked.pop(hour))
                kept.write(store.results, hour, results, delivery.as_footer_stats())
                mark = self.left.get(target.name, {}).get(hour)
                if mark is not None and not delivery.outstanding:
                    known.backlog(self.site).settle(target.name, {hour: mark})
                yield Sent(hour, results.num_rows, delivery, counts.seconds)

    @property
    def is_by_name(self) -> bool:
        """Whether more, or less, is asked for than what whoever catches up sends."""
        return self.send in ("all", "rejected")

    def leave(self, store: EventStoreDefinition, hours: Collection[Hour]) -> None:
        """Leave hours to runs of the event store's own."""
        with self.open_ledger() as known:
            known.backlog(self.site).add(store.ledger_name(), hours)

    def not_sent(
        self, store: EventStoreDefinition, hours: Iterable[Hour], alone: bool, patient: bool
    ) -> tuple[Hour, ...]:
        """What becomes of the hours that a store has not got in this run: those left over.

        In a run of its own the first one goes behind all others, so that it does not hold them up.
        """
        missing = tuple(hours)
        known = tuple(hour for hour in missing if hour in self.left.get(store.name or "", {}))
        if not patient:
            self.leave(store, missing)
            return missing
        if alone and known:
            self.leave(store, known[:1])
        return known


def _delivery(
    counts: EmissionCounts,
    results: pa.Table,
    event_ids: pa.ChunkedArray,
    filtered: Mapping[str, int],
) -> DeliveryCounts:
    return DeliveryCounts(
        events=counts.events + sum(filtered.values()),
        already_acknowledged=counts.already_acknowledged,
        sent=counts.sent,
        rejected=counts.rejected,
        filtered=filtered,
        outstanding=outstanding(event_ids, results),
        envelopes=counts.envelopes,
        bytes=counts.bytes,
    )


@dataclass(slots=True)
class _Part:
    """One event store's part while it goes on."""

    store: EventStoreDefinition
    stop: Event = field(default_factory=Event)
    sent: int = 0

    def perform(self, request: DeliveryRequest, told: SimpleQueue[StoreProgress]) -> None:
        try:
            for sent in request.deliver(self.store, self.stop.is_set):
                told.put((self.store, sent))
        except Exception as error:
            told.put((self.store, Ended(error)))
        else:
            told.put((self.store, Ended(None)))


def fan_out(
    request: DeliveryRequest,
    stores: Collection[EventStoreDefinition],
    *,
    limit: float | None = None,
) -> Generator[StoreProgress]:
    """Send to all the event stores at once, and tell of each hour and each end as it comes.

    When one has got everything, the others may go on for as long again (at least `GRACE` seconds);
    then those that are much slower stop at their next envelope. What an event store does not get is
    left over, to runs of its own; one that has hours left over is passed over until it has got
    them. A single event store is waited for, and so are all when somebody asked by name for what
    is to be sent.

    Args:
        request: what is sent.
        stores: to whom.
        limit: seconds after which all stop at their next envelope; None never.
    """
    alone = len(stores) == 1
    patient = alone or request.is_by_name
    going = []
    for store in stores:
        if patient or store.name not in request.left:
            going.append(store)
        else:
            request.leave(store, request.hours)
            yield store, Ended(None, tuple(request.hours))
    missing = {store: dict.fromkeys(request.hours) for store in going}
    with closing(_at_once(request, going, patient=patient, limit=limit)) as told:
        for store, message in told:
            if isinstance(message, Sent):
                del missing[store][message.hour]
            elif message.error is not None:
                message = Ended(
                    message.error, request.not_sent(store, missing[store], alone, patient)
                )
            yield store, message


def _at_once(
    request: DeliveryRequest,
    stores: Collection[EventStoreDefinition],
    *,
    patient: bool,
    limit: float | None,
) -> Generator[StoreProgress]:
    told: SimpleQueue[StoreProgress] = SimpleQueue()
    parts = {store: _Part(store) for store in stores}
    threads = [
        Thread(target=part.perform, args=(request, told), name=f"caliper-{store.name}")
        for store, part in parts.items()
    ]
    watch = SlowStorePolicy(limit, patient)
    try:
        for thread in threads:
            thread.start()
        while parts:
            with suppress(Empty):
                store, message = told.get(timeout=_LOOK)
                if isinstance(message, Sent):
                    parts[store].sent += message.delivery.sent
                else:
                    watch.ended(parts.pop(store), message)
                yield store, message
            watch.look(parts.values())
    finally:
        for part in parts.values():
            part.stop.set()
        for thread in threads:
            thread.join()


class SlowStorePolicy:
    """Who is not waited for."""

    def __init__(self, limit: float | None, patient: bool) -> None:
        self._limit = limit
        self._patient = patient
        self._began = time.monotonic()
        self._first: float | None = None
        self._pace = 0.0

    def ended(self, part: _Part, end: Ended) -> None:
        """Take note of an event store whose part has ended."""
        if end.error is None:
            seconds = time.monotonic() - self._began
            self._first = seconds if self._first is None else self._first
            self._pace = max(self._pace, part.sent / seconds)

    def look(self, going: Collection[_Part]) -> None:
        """Stop the event stores that are not waited for."""
        seconds = time.monotonic() - self._began
        for part in going:
            late = self._limit is not None and seconds > self._limit
            if late or (not self._patient and self._holds_up(part, seconds)):
                part.stop.set()

    def _holds_up(self, part: _Part, seconds: float) -> bool:
        if self._first is None or seconds < self._first + max(GRACE, self._first):
            return False
        return part.sent / seconds < max(self._pace / _SLOWER, _SLOW)
