"""Delivery: envelopes on their way, a few at a time, and what an answer means for the events.

Here belongs the table of answers: what was acknowledged or refused for its content is written to
the ledger, a refused envelope is divided until the offending events stand alone, one that is too
large is cut smaller, and anything else ends the run. Which events go is decided by ``emission``,
how long a failing event store is borne by ``retries``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.core.hours import Hour
from caliper_dagster.emitter.envelopes import batches, context_iri, envelope, envelope_overhead
from caliper_dagster.emitter.fingerprints import Fingerprints
from caliper_dagster.emitter.http_destination import EndpointConfiguration, EventStore, RefusalError
from caliper_dagster.emitter.ledger import ACKNOWLEDGED, REJECTED, Batch, Ledger
from caliper_dagster.emitter.retries import Courier, GivenUpError, Patience, Posted

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTENT = frozenset({400, 422})
_TOO_LARGE = 413
_NO_WORDS = "refused without a word"

_HOPELESS = 50
"""Events refused one by one, and none taken in the run: then it is not the events."""


class StoppedError(DeliveryError):
    """The run was asked to stop; nothing is wrong with the event store."""


@dataclass(slots=True)
class Errand:
    """The events of one hour that are to be sent, and what became of them so far.

    Attributes:
        refused_before: packed ids of events of the hour whose last answer is a rejection.
        unsettled: events that have been given out and have no answer yet.
        sent: events acknowledged.
        envelopes: acknowledged envelopes.
        bytes: their size.
        recorded: whether the ledger now holds more of the hour than before.
    """

    hour: Hour
    refused_before: frozenset[bytes] = frozenset()
    unsettled: int = 0
    sent: int = 0
    envelopes: int = 0
    bytes: int = 0
    recorded: bool = False


@dataclass(slots=True)
class Parcel:
    """Events that go together in one envelope.

    Attributes:
        errand: of which they are a part.
        version: Caliper version of all of them.
        texts: JSON of each event.
        suspect: all were refused before: when they are again, each is asked for by itself.
        sibling: the other half of a refused parcel. If this half is taken, it is the other one
            that was refused, and need not be posted whole.
    """

    errand: Errand
    version: str
    texts: Sequence[memoryview]
    fingerprints: Fingerprints
    suspect: bool = False
    sibling: Parcel | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def size(self) -> int:
        """Bytes of the events, with the commas between them."""
        return sum(map(len, self.texts)) + len(self.texts) - 1

    def part(self, start: int, end: int) -> Parcel:
        """Some of the events, as a parcel of their own."""
        return Parcel(
            self.errand,
            self.version,
            self.texts[start:end],
            self.fingerprints[start:end],
            self.suspect,
        )


@dataclass(slots=True)
class Limits:
    """What one envelope may hold.

    Attributes:
        events: number of events, at most.
        bytes: size, at most; shrinks when the event store says 413. A larger event goes alone.
        versions: contexts that the event store takes, without scheme; empty when it does not say.
    """

    events: int
    bytes: int
    versions: frozenset[str] = frozenset()


@dataclass(slots=True)
class Delivery:
    """One run's envelopes on their way; used by one thread, which alone writes the ledger.

    At most ``in_flight`` envelopes have been posted and are not in the ledger. Their order is not
    promised.
    """

    event_store: EventStore
    ledger: Ledger
    sensor: str
    site: str
    limits: Limits
    in_flight: int
    patience: Patience
    keep: Callable[[], None] = lambda: None
    """Called before anything is posted, and at least every ``beat`` seconds while waiting."""
    beat: float = 5
    stopped: Callable[[], bool] = lambda: False
    """Whether nothing more is to be posted; asked before, and every ``beat`` seconds while waiting.
    """

    _asked: bool = field(init=False, default=False)
    _courier: Courier = field(init=False)
    _threads: ThreadPoolExecutor = field(init=False)
    _flying: dict[Future[Posted], Parcel] = field(init=False, default_factory=dict)
    _next: deque[Parcel] = field(init=False, default_factory=deque)
    _taken: bool = field(init=False, default=False)
    _shrunk: bool = field(init=False, default=False)
    _refused: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._courier = Courier(self.event_store, self.patience)
        self._threads = ThreadPoolExecutor(self.in_flight, "caliper-envelope")

    def capacity(self, version: str) -> int:
        """Bytes of joined events that fit into an envelope now.

        The first time, the event store is asked what it takes. One that does not say, or not now,
        is no fault: the answers to envelopes count.

        Raises:
            DeliveryError: it says that it does not take this version.
        """
        data_version = context_iri(version)
        if not self._asked:
            self._asked = True
            with suppress(DeliveryError):
                self._heed(self.event_store.configuration())
        versions = self.limits.versions
        if versions and _plain(data_version) not in versions:
            raise DeliveryError(
                f"The event store at {self.event_store.address} takes "
                f"{', '.join(sorted(versions))}, "
                f"not {_plain(data_version)}: check CALIPER_VERSION.",
                transient=False,
            )
        return self.limits.bytes - envelope_overhead(self.sensor, data_version)

    def check(self) -> None:
        """Go no further when it is to stop.

        Raises:
            StoppedError: it is; what is on its way is still recorded.
            RefusalError: it is, and the event store has been failing.
        """
        if self.stopped():
            raise self._courier.trouble() or StoppedError(
                f"The event store at {self.event_store.address} was left for later.",
                transient=True,
            )

    def _heed(self, offered: EndpointConfiguration | None) -> None:
        if offered is None:
            return
        if offered.maximum_payload is not None:
            self.limits.bytes = min(self.limits.bytes, offered.maximum_payload)
        self.limits.versions = frozenset(_plain(version) for version in offered.versions)

    def give(self, parcel: Parcel) -> None:
        """Send a parcel; returns when it, and all that had to go before it, is on its way."""
        parcel.errand.unsettled += len(parcel)
        self._next.append(parcel)
        self._launch()
        while self._next:
            self.settle()

    def settle(self) -> None:
        """Wait for an answer and do what it asks for. There must be something on its way."""
        done: set[Future[Posted]] = set()
        while not done:
            done, _ = wait(self._flying, self.beat, FIRST_COMPLETED)
            self.keep()
            if not done:
                self.check()
        for future in done:
            parcel = self._flying.pop(future)
            # The envelope that found the event store to be down comes too, and says so.
            with suppress(GivenUpError):
                self._answered(parcel, future.result())
        self._launch()

    def land(self) -> None:
        """Wait for what is still on its way, begin nothing more, record what was acknowledged.

        Nothing is on its way unless the run has failed, or was left before its end.
        """
        self._next.clear()
        if not self._flying:
            return
        self._courier.end()
        while self._flying:
            future, parcel = self._flying.popitem()
            if future.exception() is None and future.result().refusal is None:
                self._acknowledge(parcel, future.result())

    def end(self) -> None:
        """No more envelopes; ends the threads."""
        self.land()
        self._threads.shutdown()

    def _launch(self) -> None:
        while self._next and len(self._flying) < self.in_flight:
            self.keep()
            self.check()
            parcel = self._next.popleft()
            if self._shrunk and len(parcel) > 1 and parcel.size() > self.capacity(parcel.version):
                self._put_first([*self.cut(parcel), *_rest(parcel)])
                continue
            self._flying[self._threads.submit(self._post, parcel)] = parcel

    def _post(self, parcel: Parcel) -> Posted:
        version = context_iri(parcel.version)
        return self._courier.post(
            lambda moment: envelope(self.sensor, moment, version, parcel.texts)
        )

    def _answered(self, parcel: Parcel, posted: Posted) -> None:
        refusal = posted.refusal
        if refusal is None:
            self._acknowledge(parcel, posted)
            if parcel.sibling is not None:
                self._put_first(_divided(parcel.sibling))
            return
        pieces = _rest(parcel)
        if refusal.status not in _CONTENT | {_TOO_LARGE}:
            raise refusal
        if len(parcel) == 1:
            self._reject(parcel, posted, refusal)
        elif refusal.status == _TOO_LARGE:
            self._shrunk = True
            self.limits.bytes = min(self.limits.bytes, posted.bytes // 2)
            pieces = [*self.cut(parcel), *pieces]
        else:
            pieces = [*_divided(parcel), *pieces]
        self._put_first(pieces)

    def _put_first(self, parcels: list[Parcel]) -> None:
        self._next.extendleft(reversed(parcels))

    def cut(self, parcel: Parcel) -> Iterator[Parcel]:
        """The events in parcels of the size that is allowed now."""
        sizes = np.array([len(text) for text in parcel.texts])
        limits = self.limits.events, lambda: self.capacity(parcel.version)
        return (parcel.part(start, end) for start, end in batches(sizes, *limits))

    def _acknowledge(self, parcel: Parcel, posted: Posted) -> None:
        self._taken = True
        self._record(parcel, posted, ACKNOWLEDGED, None)
        errand = parcel.errand
        errand.sent += len(parcel)
        errand.envelopes += 1
        errand.bytes += posted.bytes

    def _reject(self, parcel: Parcel, posted: Posted, refusal: RefusalError) -> None:
        self._record(parcel, posted, REJECTED, refusal.words or _NO_WORDS)
        self._refused += not (parcel.suspect or refusal.status == _TOO_LARGE)
        if self._refused == _HOPELESS and not self._taken:
            raise DeliveryError(
                f"The event store at {self.event_store.address} refused {_HOPELESS} events one by "
                f"one and took none, the last with {refusal.status} ({refusal.words}): check "
                "CALIPER_VERSION and CALIPER_EVENT_STORE_URL.",
                transient=False,
            )

    def _record(self, parcel: Parcel, posted: Posted, outcome: str, error: str | None) -> None:
        errand = parcel.errand
        batch = Batch(
            hour=errand.hour,
            batch_id=f"urn:uuid:{uuid4()}",
            outcome=outcome,
            bytes=posted.bytes,
            attempts=posted.attempts,
            http_status=posted.status,
            sent_at=_milliseconds(posted.sent_at),
            answered_at=_milliseconds(posted.answered_at),
            error=error,
            fingerprints=parcel.fingerprints,
        )
        superseded = errand.refused_before and errand.refused_before.intersection(
            parcel.fingerprints["id"].tolist()
        )
        self.ledger.record(self.event_store.name, batch, site=self.site, superseded=superseded)
        errand.unsettled -= len(parcel)
        errand.recorded = True


def _rest(parcel: Parcel) -> list[Parcel]:
    """The other half, of which nothing is known."""
    return [] if parcel.sibling is None else [parcel.sibling]


def _divided(parcel: Parcel) -> list[Parcel]:
    """What to post next when the event store refuses something in a parcel.

    Of two halves only the first: if it is taken, the other is at fault, and is divided in turn.
    One event among n is found with at most 2 log2(n) requests.
    """
    if len(parcel) == 1 or parcel.suspect:
        return [parcel.part(place, place + 1) for place in range(len(parcel))]
    half = len(parcel) // 2
    first = parcel.part(0, half)
    first.sibling = parcel.part(half, len(parcel))
    return [first]


def _plain(context: str) -> str:
    """A context IRI without its scheme: the published material has both of them."""
    return context.partition("://")[2].rstrip("/") or context


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
