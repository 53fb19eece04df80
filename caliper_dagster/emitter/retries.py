"""Retries: an envelope is posted until the answer says something of the envelope itself.

Here belongs what to do when the event store has no time, is restarted or does not answer: how long
to wait, how often to try, and when to give up for the whole run. What an answer means for the
events is decided by ``delivery``.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.emitter.http_destination import EventStore, RefusalError


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a run bears with an event store that cannot take envelopes now.

    Attributes:
        attempts: how often one envelope is posted, at most; and how often in a row the event store
            may fail, over all envelopes, before the run gives up.
        first_wait: the first wait is a random part of so many seconds, each further one of twice
            as many ("full jitter").
        longest_wait: seconds that such a wait may have.
        longest_retry_after: seconds; when the event store wants to be left alone for longer, the
            run gives up. It is never asked earlier than it wants.
        sleep: waits so many seconds; None waits in a way that the end of the run cuts short.
        clock: seconds that only grow.
        chance: a random number from 0 to 1.
    """

    attempts: int = 6
    first_wait: float = 1
    longest_wait: float = 60
    longest_retry_after: float = 300
    sleep: Callable[[float], None] | None = None
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of one envelope.

    Attributes:
        refusal: None when it was acknowledged.
        status: the answer's status.
        bytes: size of the envelope.
        attempts: how often it was posted.
        sent_at: when it was posted last.
        answered_at: when the last answer came.
    """

    refusal: RefusalError | None
    status: int | None
    bytes: int
    attempts: int
    sent_at: datetime
    answered_at: datetime


class GivenUpError(Exception):
    """The run has ended meanwhile; this envelope was not posted again."""


class Courier:
    """Posts envelopes, from several threads, to one event store that may fail for a while.

    All threads share what is known of the event store: while it fails, all wait; when it has
    failed too often in a row, none posts again (a circuit breaker that lasts for the run).
    """

    def __init__(self, event_store: EventStore, patience: Patience) -> None:
        self._event_store = event_store
        self._patience = patience
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._failures = 0
        self._trouble: RefusalError | None = None
        self._not_before = patience.clock()

    def end(self) -> None:
        """Post nothing more, and end all waits."""
        self._ended.set()

    def trouble(self) -> RefusalError | None:
        """What the event store failed with last, while it fails."""
        with self._lock:
            return self._trouble

    def post(self, envelope: Callable[[datetime], bytes]) -> Posted:
        """Post an envelope until it is acknowledged or refused for what it is.

        Args:
            envelope: makes the body for the time at which it is posted.

        Raises:
            DeliveryError: the event store kept failing; transient.
            GivenUpError: `end` was called, or another envelope found the event store to be down.
        """
        began = self._patience.clock()
        attempt = 0
        while True:
            attempt += 1
            failures = self._wait()
            refusal, status = None, None
            sent_at = datetime.now(UTC)
            body = envelope(sent_at)
            try:
                status = self._event_store.post(body)
            except RefusalError as error:
                refusal, status = error, error.status
            if refusal is None or not refusal.transient:
                with self._lock:
                    self._failures, self._trouble = 0, None
                return Posted(refusal, status, len(body), attempt, sent_at, datetime.now(UTC))
            self._failed(refusal, failures, attempt, began)

    def _wait(self) -> int:
        """Wait until something may be posted; how often in a row it has failed until then."""
        while not self._ended.is_set():
            with self._lock:
                seconds = self._not_before - self._patience.clock()
                if seconds <= 0:
                    return self._failures
            (self._patience.sleep or self._ended.wait)(seconds)
        raise GivenUpError

    def _failed(self, refusal: RefusalError, failures: int, attempt: int, began: float) -> None:
        """Have all threads wait, or give up."""
        patience = self._patience
        with self._lock:
            # Envelopes that were in flight together have met one and the same failure.
            self._failures, self._trouble = max(self._failures, failures + 1), refusal
            tried = max(self._failures, attempt)
            asked = refusal.retry_after or 0.0
            if tried >= patience.attempts or asked > patience.longest_retry_after:
                self._ended.set()
                raise self._despair(refusal, tried, patience.clock() - began)
            longest = min(patience.longest_wait, patience.first_wait * 2.0 ** (tried - 1))
            wait = asked + patience.chance() * longest
            self._not_before = max(self._not_before, patience.clock() + wait)

    def _despair(self, refusal: RefusalError, tried: int, seconds: float) -> DeliveryError:
        if refusal.retry_after and refusal.retry_after > self._patience.longest_retry_after:
            end = f"It wants to be asked again in {refusal.retry_after:,.0f} seconds"
        else:
            end = f"It was asked {tried} time(s) in {seconds:.0f} seconds"
        return DeliveryError(
            f"{str(refusal).rstrip('.')}. {end}; what was acknowledged stays so, and the next run "
            "goes on there.",
            transient=True,
        )
