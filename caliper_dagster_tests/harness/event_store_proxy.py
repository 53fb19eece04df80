"""A proxy before an event store: tests interfere there with envelopes and answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import requests

from caliper_dagster_tests.harness.hostile_store import (
    Behaviour,
    HostileStore,
    answer,
    body_of,
    drop,
    sent_in,
)


class EventStoreProxy:
    """Forwards envelopes to an event store, and from a certain one on does something else.

    Attributes:
        envelopes: how many have come.
        held: how many of them wait to be forwarded.
        acknowledged: ids in the envelopes that the event store has answered with 2xx, where the
            answer has been handed back.
    """

    def __init__(self, event_store: str) -> None:
        self._event_store = event_store
        self._server = HostileStore(self._handle)
        self._first = 0
        self._otherwise: Behaviour | None = None
        self._gate = threading.Event()
        self._gate.set()
        self._lock = threading.Lock()
        self.url = self._server.url
        self.envelopes = 0
        self.held = 0
        self.acknowledged: list[str] = []

    def __enter__(self) -> EventStoreProxy:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.__exit__()

    def after(self, envelopes: int, otherwise: Behaviour) -> None:
        """Forward so many more envelopes; do this with all that follow."""
        self._first, self._otherwise = self.envelopes + envelopes, otherwise

    def open(self) -> None:
        """Forward everything again."""
        self._otherwise = None

    def hold(self) -> None:
        """Let every envelope wait until `release`; its sender must not time out before."""
        self._gate.clear()

    def release(self) -> None:
        """Forward what waits, and everything that follows."""
        self._gate.set()

    def forward(self, handler: BaseHTTPRequestHandler) -> None:
        """Ask the event store, and hand back its answer."""
        status, body = self.ask(handler)
        if 200 <= status < 300:
            self.acknowledged += sent_in(handler)
        answer(status, body)(handler)

    def ask(self, handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        """Ask the event store, and keep its answer back."""
        headers = {name: handler.headers[name] for name in ("Authorization", "Content-Type")}
        response = requests.post(self._event_store, body_of(handler), headers=headers, timeout=60)
        return response.status_code, response.content

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.envelopes += 1
            self.held += 1
        self._gate.wait()
        with self._lock:
            self.held -= 1
        if self._otherwise is not None and self.envelopes > self._first:
            self._otherwise(handler)
        else:
            self.forward(handler)


def killing(kill: Callable[[], None], proxy: EventStoreProxy, moment: str) -> Behaviour:
    """Kill the sender when an envelope comes: before, between or after arrival and answer."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        if moment == "before it arrives":
            kill()
            drop(handler)
        elif moment == "before its answer":
            proxy.ask(handler)
            kill()
            drop(handler)
        else:
            proxy.forward(handler)
            kill()

    return behave
