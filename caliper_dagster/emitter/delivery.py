"""Delivery: requests under way to a destination, and what follows from each answer.

An accepted or rejected batch is written to the ledger. A batch that is rejected as a whole is
divided until the offending events stand alone, one that is too large is cut into smaller ones, and
any other refusal ends the run. ``emission`` decides which events are sent, ``retries`` for how long
a failing destination is tried.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import numpy as np

from caliper_dagster.core.errors import DeliveryError, Sentence, SettingName
from caliper_dagster.core.hours import Hour
from caliper_dagster.emitter.daemon_threads import DaemonThreads
from caliper_dagster.emitter.destination import (
    Answer,
    Destination,
    DestinationLimits,
    Meaning,
    Request,
)
from caliper_dagster.emitter.envelopes import batches, context_iri, envelope_overhead
from caliper_dagster.emitter.ledger import ACKNOWLEDGED, REJECTED, BatchRecord, Ledger
from caliper_dagster.emitter.ledger.fingerprints import Fingerprints
from caliper_dagster.emitter.retries import (
    RetryingSender,
    RetryPolicy,
    SenderClosedError,
    SendResult,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_WORDS = "refused without a reason"

_MAX_REJECTIONS = 50
"""When so many single events were rejected and none was accepted, the events are not the cause."""


class StoppedError(DeliveryError):
    """The run was asked to stop; nothing is wrong with the destination."""


@dataclass(slots=True)
class HourProgress:
    """How far the events of one hour have come that are to be sent.

    Attributes:
        mapping_revision: revision under which the events were made.
        batches: what the ledger holds of the hour, oldest first.
        rejected_before: packed ids of the hour's events whose last answer was a rejection before.
        unanswered: number of events that were submitted and have no answer yet.
        sent: number of events acknowledged.
        envelopes: number of accepted requests.
        bytes: size of their events, and of what is around them.
    """

    hour: Hour
    mapping_revision: int
    batches: list[BatchRecord] = field(default_factory=list)
    rejected_before: frozenset[bytes] = frozenset()
    unanswered: int = 0
    sent: int = 0
    envelopes: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Batch:
    """Events that go into one request.

    Attributes:
        progress: that of their hour.
        version: Caliper version of all of them.
        texts: JSON of each event. Those of a whole hour may be read while they are iterated.
        suspect: all were rejected before. When they are again, each is sent by itself.
        sibling: the other half of a rejected batch. If this half is accepted, the other one holds
            the offending event and need not be sent whole.
        text_bytes: size of all texts, if it is known.
    """

    progress: HourProgress
    version: str
    texts: Sequence[memoryview]
    fingerprints: Fingerprints
    suspect: bool = False
    sibling: Batch | None = None
    text_bytes: int | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def size(self) -> int:
        """Bytes of the events, with the commas between them."""
        size = sum(map(len, self.texts)) if self.text_bytes is None else self.text_bytes
        return size + len(self.texts) - 1

    def joined(self, other: Batch) -> Batch:
        """These events and then the other ones, of the same hour and version."""
        return Batch(
            self.progress,
            self.version,
            [*self.texts, *other.texts],
            np.concatenate([self.fingerprints, other.fingerprints]),
            self.suspect,
        )

    def slice(self, start: int, end: int) -> Batch:
        """Some of the events, as a batch of their own."""
        return Batch(
            self.progress,
            self.version,
            self.texts[start:end],
            self.fingerprints[start:end],
            self.suspect,
        )


@dataclass(slots=True)
class EnvelopeLimits:
    """What one request may hold.

    Attributes:
        events: number of events, at most.
        bytes: size of an envelope, at most; shrinks when the destination says that one is too
            large. A larger event goes alone.
        versions: contexts that the destination accepts, without scheme; empty when it does not say.
    """

    events: int
    bytes: int
    versions: frozenset[str] = frozenset()


@dataclass(slots=True)
class EnvelopeDelivery:
    """One run's requests to one destination; used by one thread, which alone writes the ledger.

    At most ``in_flight`` requests have been sent and are not in the ledger. Their order is not
    promised.

    Attributes:
        renew_lease: called before anything is sent, and at least every ``poll_seconds`` while
            waiting for an answer.
        stopped: whether nothing more is to be sent; called as often.
    """

    destination: Destination
    ledger: Ledger
    sensor: str
    site: str
    limits: EnvelopeLimits
    in_flight: int
    retry_policy: RetryPolicy
    renew_lease: Callable[[], None] = lambda: None
    poll_seconds: float = 5
    stopped: Callable[[], bool] = lambda: False

    _limits_requested: bool = field(init=False, default=False)
    _sender: RetryingSender = field(init=False)
    _threads: DaemonThreads[SendResult] = field(init=False)
    _under_way: dict[Future[SendResult], Batch] = field(init=False, default_factory=dict)
    _queue: deque[Batch] = field(init=False, default_factory=deque)
    _any_accepted: bool = field(init=False, default=False)
    _shrunk: bool = field(init=False, default=False)
    _rejections: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._sender = RetryingSender(self.destination, self.retry_policy)
        self._threads = DaemonThreads(self.in_flight, "caliper-envelope")

    def capacity(self, version: str) -> int:
        """Bytes of joined events that fit into an envelope now.

        The first call asks the destination what it accepts. One that does not say, or not now, is
        no error: the answers to the requests count.

        Raises:
            DeliveryError: it says that it does not accept this version.
        """
        data_version = context_iri(version)
        if not self._limits_requested:
            self._limits_requested = True
            with suppress(DeliveryError):
                self._apply_endpoint_limits(self.destination.limits())
        versions = self.limits.versions
        if versions and _without_scheme(data_version) not in versions:
            raise DeliveryError(
                Sentence(
                    f"The event store at {self.destination.address} accepts "
                    f"{', '.join(sorted(versions))}, not {_without_scheme(data_version)}: check ",
                    SettingName("CALIPER_VERSION"),
                    ".",
                ),
                transient=False,
            )
        return self.limits.bytes - envelope_overhead(self.sensor, data_version)

    def raise_if_stopped(self) -> None:
        """Send nothing more when the run was asked to stop.

        Raises:
            StoppedError: it was; the answers to requests under way are still recorded.
            DeliveryError: it was, and the destination has been failing.
        """
        if self.stopped():
            failure = self._sender.last_failure()
            if failure is not None:
                raise failure.error()
            raise StoppedError(
                f"The run stopped sending to the event store at {self.destination.address}; its "
                "events are queued and sent later.",
                transient=True,
            )

    def _apply_endpoint_limits(self, limits: DestinationLimits | None) -> None:
        if limits is None:
            return
        if limits.max_bytes is not None:
            self.limits.bytes = min(self.limits.bytes, limits.max_bytes)
        self.limits.versions = frozenset(map(_without_scheme, limits.versions))

    def submit(self, batch: Batch) -> None:
        """Send a batch; returns when it, and all that had to go before it, is under way."""
        batch.progress.unanswered += len(batch)
        self._queue.append(batch)
        self._start_requests()
        while self._queue:
            self.wait_for_answer()

    def wait_for_answer(self) -> None:
        """Wait for an answer and act on it. At least one request must be under way."""
        done: set[Future[SendResult]] = set()
        while not done:
            done, _ = wait(self._under_way, self.poll_seconds, FIRST_COMPLETED)
            self.renew_lease()
            if not done:
                self.raise_if_stopped()
        for future in done:
            batch = self._under_way.pop(future)
            # The request that found the destination to be down is among them, and raises.
            with suppress(SenderClosedError):
                self._act_on(batch, future.result())
        self._start_requests()

    def drain(self) -> None:
        """Wait for the requests under way, start none, and record what was accepted.

        None is under way unless the run has failed, or was left before its end.
        """
        self._queue.clear()
        if not self._under_way:
            return
        self._sender.close()
        while self._under_way:
            future, batch = self._under_way.popitem()
            if future.exception() is None:
                result = future.result()
                if result.answer.meaning is Meaning.ACCEPTED:
                    self._acknowledge(batch, result)

    def close(self) -> None:
        """Drain, and end the threads."""
        self.drain()
        self._threads.close()

    def split(self, batch: Batch) -> Iterator[Batch]:
        """The events in batches of the size that is allowed now."""
        sizes = np.array([len(text) for text in batch.texts])
        limits = self.limits.events, lambda: self.capacity(batch.version)
        return (batch.slice(start, end) for start, end in batches(sizes, *limits))

    def split_all(self, parts: Iterable[Batch]) -> Iterator[Batch]:
        """The events of several batches, one after another, as `split` divides them together."""
        rest: Batch | None = None
        for part in parts:
            batch = part if rest is None else rest.joined(part)
            left = len(batch)
            for divided in self.split(batch):
                left -= len(divided)
                if left:
                    yield divided
                else:
                    # The next part may fill it up.
                    rest = divided
        if rest is not None:
            yield rest

    def _start_requests(self) -> None:
        while self._queue and len(self._under_way) < self.in_flight:
            self.renew_lease()
            self.raise_if_stopped()
            batch = self._queue.popleft()
            if self._shrunk and len(batch) > 1 and batch.size() > self.capacity(batch.version):
                self._put_first([*self.split(batch), *_sibling(batch)])
                continue
            self._under_way[self._threads.submit(partial(self._send, batch))] = batch

    def _send(self, batch: Batch) -> SendResult:
        return self._sender.send(
            lambda send_time: Request(
                self.site, batch.progress.hour, self.sensor, batch.version, batch.texts, send_time
            )
        )

    def _act_on(self, batch: Batch, result: SendResult) -> None:
        meaning = result.answer.meaning
        if meaning is Meaning.ACCEPTED:
            self._acknowledge(batch, result)
            if batch.sibling is not None:
                self._put_first(_halves(batch.sibling))
            return
        if meaning not in {Meaning.REJECTED, Meaning.TOO_LARGE} or (
            self.destination.takes_whole_hours
        ):
            raise result.answer.error()
        following = _sibling(batch)
        if len(batch) == 1:
            self._reject(batch, result)
        elif meaning is Meaning.TOO_LARGE:
            self._shrunk = True
            self.limits.bytes = min(self.limits.bytes, self._size(batch) // 2)
            following = [*self.split(batch), *following]
        else:
            following = [*_halves(batch), *following]
        self._put_first(following)

    def _put_first(self, following: list[Batch]) -> None:
        self._queue.extendleft(reversed(following))

    def _acknowledge(self, batch: Batch, result: SendResult) -> None:
        self._any_accepted = True
        self._record(batch, result, ACKNOWLEDGED, None)
        progress = batch.progress
        progress.sent += len(batch)
        progress.envelopes += 1
        progress.bytes += self._size(batch)

    def _reject(self, batch: Batch, result: SendResult) -> None:
        answer = result.answer
        self._record(batch, result, REJECTED, answer.words or _NO_WORDS)
        self._rejections += not (batch.suspect or answer.meaning is Meaning.TOO_LARGE)
        if self._rejections == _MAX_REJECTIONS and not self._any_accepted:
            raise self._accepts_nothing(answer)

    def _accepts_nothing(self, answer: Answer) -> DeliveryError:
        return DeliveryError(
            Sentence(
                f"The event store at {self.destination.address} rejected {_MAX_REJECTIONS} single "
                f"events and accepted none, the last with {answer.status} ({answer.words}): check ",
                SettingName("CALIPER_VERSION"),
                " and ",
                SettingName("CALIPER_EVENT_STORE_URL"),
                ".",
            ),
            transient=False,
        )

    def _record(self, batch: Batch, result: SendResult, outcome: str, error: str | None) -> None:
        progress = batch.progress
        record = BatchRecord(
            hour=progress.hour,
            batch_id=f"urn:uuid:{uuid4()}",
            outcome=outcome,
            bytes=self._size(batch),
            attempts=result.attempts,
            http_status=result.answer.status,
            sent_at=_milliseconds(result.sent_at),
            answered_at=_milliseconds(result.answered_at),
            error=error,
            mapping_revision=progress.mapping_revision,
            fingerprints=batch.fingerprints,
        )
        superseded = progress.rejected_before and progress.rejected_before.intersection(
            batch.fingerprints["id"].tolist()
        )
        replaces_hour = self.destination.takes_whole_hours
        self.ledger.record(
            self.destination.name,
            record,
            site=self.site,
            superseded=superseded,
            replaces_hour=replaces_hour,
        )
        if replaces_hour:
            progress.batches.clear()
        elif superseded:
            progress.batches = _without_rejections(progress.batches, superseded)
        progress.batches.append(record)
        progress.unanswered -= len(batch)

    def _size(self, batch: Batch) -> int:
        """Bytes of the batch as an envelope, or as the lines of a whole hour."""
        if self.destination.takes_whole_hours:
            return batch.size() + 1
        return batch.size() + envelope_overhead(self.sensor, context_iri(batch.version))


def _sibling(batch: Batch) -> list[Batch]:
    """The other half of a divided batch, of which nothing is known yet."""
    return [] if batch.sibling is None else [batch.sibling]


def _halves(batch: Batch) -> list[Batch]:
    """What to send next when the destination rejects something in a batch.

    Of two halves only the first: if it is accepted, the other one holds the offending event and is
    divided in turn. One event among n is found with at most 2 log2(n) requests.
    """
    if len(batch) == 1 or batch.suspect:
        return [batch.slice(number, number + 1) for number in range(len(batch))]
    half = len(batch) // 2
    first = batch.slice(0, half)
    first.sibling = batch.slice(half, len(batch))
    return [first]


def _without_rejections(
    batches: list[BatchRecord], superseded: Collection[bytes]
) -> list[BatchRecord]:
    """The batches without rejections of these events, as `Ledger.record` leaves them."""
    return [
        batch
        for batch in batches
        if batch.outcome != REJECTED or batch.fingerprints["id"][0] not in superseded
    ]


def _without_scheme(context: str) -> str:
    """A context IRI without its scheme: the published material has ``http`` and ``https``."""
    return context.partition("://")[2].rstrip("/") or context


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
