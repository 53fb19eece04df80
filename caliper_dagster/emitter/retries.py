"""Retries: a request is sent until the answer says something about the request itself.

This module decides what happens when a destination is overloaded, restarts or does not answer: how
long to wait, how often to try, and when to give up for the whole run. What an answer means for the
events is decided by ``delivery``.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from caliper_dagster.core.errors import DeliveryError, Sentence
from caliper_dagster.emitter.destination import Answer, Destination, Meaning, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a run keeps trying a destination that cannot accept requests now.

    Attributes:
        attempts: how often one request is sent, at most; and how often in a row the destination may
            fail, over all requests, before the run gives up.
        first_wait: the first wait is a random part of so many seconds, each further one of twice
            as many ("full jitter").
        longest_wait: upper limit of such a wait, in seconds.
        longest_retry_after: seconds; when the destination asks to be left alone for longer, the run
            gives up. A request is never sent earlier than the destination asks.
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
class SendResult:
    """The last answer to a request, and what it took to get it.

    Attributes:
        answer: anything but `Meaning.RETRY_LATER`.
        attempts: how often the request was sent.
        sent_at: when it was sent last.
        answered_at: when the last answer came.
    """

    answer: Answer
    attempts: int
    sent_at: datetime
    answered_at: datetime


class SenderClosedError(Exception):
    """The run has ended in the meantime; this request was not sent again."""


class RetryingSender:
    """Sends requests, from several threads, to one destination that may fail for a while.

    All threads share what is known of the destination: while it fails, all wait; when it has failed
    too often in a row, none sends again (a circuit breaker that lasts for the run).
    """

    def __init__(self, destination: Destination, policy: RetryPolicy) -> None:
        self._destination = destination
        self._policy = policy
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._failures = 0
        self._last_failure: Answer | None = None
        self._not_before = policy.clock()

    def close(self) -> None:
        """Send nothing more, and end all waits."""
        self._closed.set()

    def last_failure(self) -> Answer | None:
        """The last answer of a destination that is failing; None when it is not."""
        with self._lock:
            return self._last_failure

    def send(self, request_at: Callable[[datetime], Request]) -> SendResult:
        """Send a request until the answer is about the request itself.

        Args:
            request_at: makes the request for the time at which it is sent.

        Raises:
            DeliveryError: the destination kept failing; transient.
            SenderClosedError: `close` was called, or another request found the destination down.
        """
        began = self._policy.clock()
        attempt = 0
        while True:
            attempt += 1
            failures = self._wait()
            sent_at = datetime.now(UTC)
            answer = self._destination.send(request_at(sent_at))
            if answer.meaning is not Meaning.RETRY_LATER:
                with self._lock:
                    self._failures, self._last_failure = 0, None
                return SendResult(answer, attempt, sent_at, datetime.now(UTC))
            self._note_failure(answer, failures, attempt, began)

    def _wait(self) -> int:
        """Wait until something may be sent; return how often in a row it has failed until then."""
        while not self._closed.is_set():
            with self._lock:
                seconds = self._not_before - self._policy.clock()
                if seconds <= 0:
                    return self._failures
            (self._policy.sleep or self._closed.wait)(seconds)
        raise SenderClosedError

    def _note_failure(self, answer: Answer, failures: int, attempt: int, began: float) -> None:
        """Make all threads wait, or give up."""
        policy = self._policy
        with self._lock:
            # Requests that were under way together have met one and the same failure.
            self._failures, self._last_failure = max(self._failures, failures + 1), answer
            tried = max(self._failures, attempt)
            requested_wait = answer.retry_after or 0.0
            if tried >= policy.attempts or requested_wait > policy.longest_retry_after:
                self._closed.set()
                raise self._give_up(answer, tried, policy.clock() - began)
            longest = min(policy.longest_wait, policy.first_wait * 2.0 ** (tried - 1))
            wait = requested_wait + policy.chance() * longest
            self._not_before = max(self._not_before, policy.clock() + wait)

    def _give_up(self, answer: Answer, tried: int, seconds: float) -> DeliveryError:
        if answer.retry_after and answer.retry_after > self._policy.longest_retry_after:
            reason = f"It asks to be left alone for {answer.retry_after:,.0f} seconds"
        else:
            attempts = "1 attempt" if tried == 1 else f"{tried} attempts"
            reason = f"The run gave up after {attempts} in {seconds:.0f} seconds"
        return DeliveryError(
            Sentence(
                answer.sentence,
                f" {reason}; acknowledged events stay acknowledged, and the next run sends the "
                "rest.",
            ),
            transient=True,
        )
