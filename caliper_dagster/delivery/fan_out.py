"""Fan-out: one run's events to several event stores at once.

No event store waits for another: each has a thread, connections and a ledger handle of its own.
Progress is reported as it happens, to the one thread that asked for the delivery. ``emitter``
decides what is sent and what an answer means; nothing here knows Dagster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING

import pyarrow as pa

from caliper_dagster.config.event_stores import EventStoreDefinition
from caliper_dagster.core import deadlines
from caliper_dagster.core.errors import DeliveryError, Sentence, SettingName, StorageError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_file import CHUNK_ROWS, StoredHour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.revisions import mapping_revision
from caliper_dagster.core.row_accounting import DeliveryCounts, outstanding
from caliper_dagster.core.wording import plural
from caliper_dagster.delivery.gate import OutgoingHour

if TYPE_CHECKING:
    from caliper_dagster.emitter import EmissionCounts, HourOfEvents, Ledger, Send

GRACE = 20
"""Seconds for which an event store may go on, at least, when another one has received all hours."""

_SLOWDOWN = 4
"""An event store that accepts so many times fewer events per second than the others is slow."""

_MIN_PACE = 50
"""An event store that accepts fewer events per second is slow, whatever the others do."""

_POLL_SECONDS = 0.5

RETURN_SECONDS = 10
"""Seconds beyond the time for a request after which a run no longer waits for an event store that
it has told to stop."""

INTERRUPTED_SECONDS = (4, 2)
"""When a run is interrupted: seconds for the answers to what was sent, and to end without them."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An event store has received an hour, or the hour is withheld (``delivery.is_withheld``).

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
    """The part of the run that sends to one event store has ended.

    Attributes:
        error: why it did not receive all hours; None when it did, or was skipped.
        left: hours that are in its backlog now.
    """

    error: Exception | None
    left: tuple[Hour, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether it has received all hours."""
        return self.error is None and not self.left


StoreProgress = tuple[EventStoreDefinition, Sent | Ended]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRequest:
    """What is sent to the event stores of a run.

    Attributes:
        events: table of the events, by event store.
        hours: in order.
        site: id of the site whose events they are; the ledger keeps sites apart.
        sensor: id of the sensor, an IRI; goes into every envelope.
        open_ledger: opens a handle for each thread.
        send: which events.
        left: marks of the hours that were in a backlog before, by event store (see `Backlog`).
        resend_changed: whether a run that sends what is not acknowledged also sends events whose
            content another mapping revision has changed (``CALIPER_RESEND_CHANGED``).
        withhold: whether hours and events with a fault are withheld (``CALIPER_WITHHOLD_INVALID``).
        allowed_fields: those of ``CALIPER_ALLOWED_FIELDS``.
        chunk_rows: rows of an hour that are in memory at the same time; an hour of more is read in
            parts.
    """

    events: Callable[[EventStoreDefinition], Frame]
    storage: PartitionStore
    hours: Sequence[Hour]
    site: str
    sensor: str
    open_ledger: Callable[[], Ledger]
    send: Send
    left: Mapping[str, Mapping[Hour, int]]
    resend_changed: bool = False
    withhold: bool = True
    allowed_fields: Collection[str] = ()
    chunk_rows: int = CHUNK_ROWS

    def deliver(self, store: EventStoreDefinition, stopped: Callable[[], bool]) -> Iterator[Sent]:
        """Send to one event store; hours that it has received leave its backlog.

        An hour that is withheld leaves it, too: it would be withheld again.
        """
        from caliper_dagster.emitter import HourOfEvents, RetryPolicy, emit

        frame, privacy = self.events(store), store.effective_privacy
        outgoing: dict[Hour, OutgoingHour] = {}
        withheld: list[OutgoingHour] = []

        def begin(stored: StoredHour) -> HourOfEvents | None:
            """The events of an hour; None when it is withheld. It replaces the hour as it was."""
            hour = OutgoingHour(
                stored,
                store.filter,
                self.chunk_rows,
                withhold=self.withhold,
                as_settings_say=privacy.has_made(stored.stats(), keys.at(stored.hour)),
                allowed_fields=self.allowed_fields,
            )
            if hour.hour in outgoing:
                outgoing.pop(hour.hour).close()
            if hour.is_withheld:
                withheld.append(hour.hold())
                return None
            outgoing[hour.hour] = hour
            reload = partial(reopen, hour.hour)
            revision = mapping_revision(stored.stats())
            return HourOfEvents(hour.hour, hour.source(), revision, reload)

        def reopen(hour: Hour) -> HourOfEvents | None:
            return begin(self.storage.open(frame, hour))

        def hours_of_events() -> Iterator[HourOfEvents]:
            begun = map(begin, self.storage.each_opened(frame, self.hours))
            return (hour for hour in begun if hour is not None)

        def close_hours() -> None:
            for hour in outgoing.values():
                hour.close()

        with ExitStack() as stack, store.open() as destination, self.open_ledger() as ledger:
            stack.callback(close_hours)
            self._require_answers(store, ledger)
            keys = ledger.pseudonym_keys(self.site).recorded(destination.name)
            record = partial(self._record, store, destination.name, ledger)
            for hour, results, counts in emit(
                hours_of_events(),
                destination,
                ledger,
                sensor=self.sensor,
                site=self.site,
                batch_size=store.batch_size,
                batch_bytes=store.batch_bytes,
                in_flight=store.envelopes_in_flight,
                send=self._effective_send,
                retry_policy=RetryPolicy(attempts=store.attempts),
                stopped=stopped,
            ):
                with closing(outgoing.pop(hour)) as sent:
                    delivery = _delivery_counts(counts, results, sent)
                yield record(hour, results, delivery, counts.seconds)
                yield from self._withheld(withheld, destination.name, ledger, record)
            yield from self._withheld(withheld, destination.name, ledger, record)

    def _withheld(
        self,
        hours: list[OutgoingHour],
        destination: str,
        ledger: Ledger,
        record: Callable[[Hour, pa.Table, DeliveryCounts, float], Sent],
    ) -> Iterator[Sent]:
        """Record the hours of which nothing is sent; the list is empty afterwards."""
        from caliper_dagster.emitter.ledger import results_table

        while hours:
            withheld = hours.pop(0)
            batches = ledger.batches(destination, [withheld.hour], site=self.site)[withheld.hour]
            results = results_table(destination, batches)
            yield record(withheld.hour, results, withheld.counts_of_withheld(results), 0.0)

    def _record(
        self,
        store: EventStoreDefinition,
        destination: str,
        ledger: Ledger,
        hour: Hour,
        results: pa.Table,
        delivery: DeliveryCounts,
        seconds: float,
    ) -> Sent:
        """Store what became of an hour, which leaves the backlog if nothing of it can be sent."""
        self.storage.write(store.results, hour, results, delivery.as_footer_stats())
        mark = self.left.get(destination, {}).get(hour)
        if mark is not None and not delivery.outstanding:
            ledger.backlog(self.site).remove(destination, {hour: mark})
        return Sent(hour, results.num_rows, delivery, seconds)

    def _require_answers(self, store: EventStoreDefinition, ledger: Ledger) -> None:
        """Make sure that the ledger knows the hours whose stored results say acknowledged.

        Raises:
            DeliveryError: it does not, because it was lost or replaced, and nobody asked for all
                events: they would be sent again.
        """
        if self.send == "all":
            return
        answered = ledger.answered_hours(self.hours, site=self.site)
        lost = [
            hour
            for hour in self.hours
            if hour not in answered and self._was_acknowledged(store, hour)
        ]
        if lost:
            raise DeliveryError(
                Sentence(
                    f"The ledger has no answers for {plural(len(lost), 'hour')} ({lost[0]}…) whose "
                    "stored results say that events were acknowledged: restore the ledger of ",
                    SettingName("CALIPER_LEDGER_URL"),
                    " from a backup, or send all their events again with `caliper-dagster resend "
                    "--all`.",
                ),
                transient=False,
            )

    def _was_acknowledged(self, store: EventStoreDefinition, hour: Hour) -> bool:
        with suppress(StorageError):
            if self.storage.exists(store.results, hour):
                stored = self.storage.footer_stats(store.results, hour)
                return DeliveryCounts.from_footer_stats(stored).acknowledged > 0
        return False

    @property
    def _effective_send(self) -> Send:
        from caliper_dagster.emitter import Send

        if self.resend_changed and self.send is Send.UNACKNOWLEDGED:
            return Send.CHANGED
        return self.send

    @property
    def is_by_name(self) -> bool:
        """Whether somebody asked for other events than the runs that send a backlog."""
        return self.send in ("all", "rejected", "changed")

    def leave(self, store: EventStoreDefinition, hours: Collection[Hour]) -> None:
        """Add hours to the backlog of an event store."""
        with self.open_ledger() as ledger:
            ledger.backlog(self.site).add(store.ledger_name(), hours)

    def not_sent(
        self, store: EventStoreDefinition, hours: Iterable[Hour], alone: bool, patient: bool
    ) -> tuple[Hour, ...]:
        """Put the hours that an event store did not receive in this run into its backlog.

        In a run for one event store alone the first of them goes behind all others in the backlog,
        so that it does not hold them up.

        Returns:
            those that are in its backlog now.
        """
        missing = tuple(hours)
        queued = tuple(hour for hour in missing if hour in self.left.get(store.name or "", {}))
        if not patient:
            self.leave(store, missing)
            return missing
        if alone and queued:
            self.leave(store, queued[:1])
        return queued


def _delivery_counts(
    counts: EmissionCounts, results: pa.Table, hour: OutgoingHour
) -> DeliveryCounts:
    return DeliveryCounts(
        events=counts.events + sum(hour.filtered.values()) + sum(hour.withheld.values()),
        already_acknowledged=counts.already_acknowledged,
        changed=counts.changed,
        sent=counts.sent,
        rejected=counts.rejected,
        filtered=hour.filtered,
        withheld=hour.withheld,
        filtered_rows=hour.filtered_rows,
        outstanding=outstanding(hour.ids(), results),
        envelopes=counts.envelopes,
        bytes=counts.bytes,
    )


@dataclass(slots=True)
class _StoreThread:
    """The part of a run that sends to one event store, while it goes on."""

    store: EventStoreDefinition
    stop: Event = field(default_factory=Event)
    stopped_at: float = inf
    sent: int = 0

    def tell_to_stop(self) -> None:
        """Let it stop before its next envelope."""
        if not self.stop.is_set():
            self.stopped_at = time.monotonic()
            self.stop.set()

    def is_lost(self) -> bool:
        """Whether it should have stopped by now: something in it does not return."""
        request = self.store.connect_timeout + self.store.timeout
        return time.monotonic() > self.stopped_at + request + RETURN_SECONDS

    def run(self, request: DeliveryRequest, messages: SimpleQueue[StoreProgress]) -> None:
        try:
            for sent in request.deliver(self.store, self.stop.is_set):
                messages.put((self.store, sent))
        except Exception as error:
            messages.put((self.store, Ended(error)))
        else:
            messages.put((self.store, Ended(None)))


def fan_out(
    request: DeliveryRequest,
    stores: Collection[EventStoreDefinition],
    *,
    limit: float | None = None,
) -> Generator[StoreProgress]:
    """Send to all the event stores at once, and report each hour and each end as it comes.

    When one event store has received all hours, the others may go on for as long again, and at
    least for `GRACE` seconds; then those that are much slower stop before their next envelope. The
    hours that an event store did not receive are added to its backlog, which runs of its own send.
    An event store that has a backlog is skipped until it has received it. A single event store is
    waited for, and so are all when somebody asked by name for what is to be sent.

    An event store that does not stop when it is told to, although its time for a request is over,
    has ended for the run; its thread ends with the process, and its lease lapses.

    Args:
        request: what is sent.
        stores: to whom.
        limit: seconds after which all stop before their next envelope; None never.
    """
    alone = len(stores) == 1
    patient = alone or request.is_by_name
    active = []
    for store in stores:
        if patient or store.name not in request.left:
            active.append(store)
        else:
            request.leave(store, request.hours)
            yield store, Ended(None, tuple(request.hours))
    missing = {store: dict.fromkeys(request.hours) for store in active}
    with closing(_send_at_once(request, active, patient=patient, limit=limit)) as messages:
        for store, message in messages:
            if isinstance(message, Sent):
                del missing[store][message.hour]
            elif message.error is not None:
                message = Ended(
                    message.error, request.not_sent(store, missing[store], alone, patient)
                )
            yield store, message


def _send_at_once(
    request: DeliveryRequest,
    stores: Collection[EventStoreDefinition],
    *,
    patient: bool,
    limit: float | None,
) -> Generator[StoreProgress]:
    messages: SimpleQueue[StoreProgress] = SimpleQueue()
    running = {store: _StoreThread(store) for store in stores}
    threads = {
        store: Thread(
            target=part.run, args=(request, messages), name=f"caliper-{store.name}", daemon=True
        )
        for store, part in running.items()
    }
    policy = SlowStorePolicy(limit, patient)
    try:
        for thread in threads.values():
            thread.start()
        while running:
            with suppress(Empty):
                store, message = messages.get(timeout=_POLL_SECONDS)
                if store not in running:
                    continue  # the run has reported that it does not wait for it
                if isinstance(message, Sent):
                    running[store].sent += message.delivery.sent
                else:
                    policy.note_end(running.pop(store), message)
                yield store, message
            policy.stop_slow(running.values())
            for store in [store for store, part in running.items() if part.is_lost()]:
                del running[store], threads[store]
                yield store, Ended(_not_returned(store))
    finally:
        for part in running.values():
            part.tell_to_stop()
        if running:
            _abandon(threads.values())
        else:
            for thread in threads.values():
                thread.join()


def _not_returned(store: EventStoreDefinition) -> DeliveryError:
    return DeliveryError(
        Sentence(
            f"Sending to the event store {store.name} was told to stop and did not return: the run "
            "does not wait for it, and its events are queued and sent later."
        ),
        transient=True,
    )


def _abandon(threads: Collection[Thread]) -> None:
    """Wait for threads whose reports nobody reads any more, but not for silent peers.

    A thread that goes on after that ends with the process, as by a crash.
    """
    for seconds in INTERRUPTED_SECONDS:
        until = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0, until - time.monotonic()))
        if not any(thread.is_alive() for thread in threads):
            return
        deadlines.end_all()


class SlowStorePolicy:
    """Decides which event stores a run does not wait for.

    Args:
        limit: seconds after which it waits for none; None without a limit.
        patient: whether it waits for slow event stores.
    """

    def __init__(self, limit: float | None, patient: bool) -> None:
        self._limit = limit
        self._patient = patient
        self._began = time.monotonic()
        self._first_end: float | None = None
        self._best_pace = 0.0

    def note_end(self, part: _StoreThread, end: Ended) -> None:
        """Learn from an event store that has received all hours how fast one can be."""
        if end.error is None:
            seconds = time.monotonic() - self._began
            self._first_end = seconds if self._first_end is None else self._first_end
            self._best_pace = max(self._best_pace, part.sent / seconds)

    def stop_slow(self, running: Collection[_StoreThread]) -> None:
        """Stop those event stores that the run does not wait for any longer."""
        seconds = time.monotonic() - self._began
        for part in running:
            late = self._limit is not None and seconds > self._limit
            if late or (not self._patient and self._is_slow(part, seconds)):
                part.tell_to_stop()

    def _is_slow(self, part: _StoreThread, seconds: float) -> bool:
        if self._first_end is None or seconds < self._first_end + max(GRACE, self._first_end):
            return False
        return part.sent / seconds < max(self._best_pace / _SLOWDOWN, _MIN_PACE)
