"""Events of any kind, and a real HTTP server that behaves as badly as it is told."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa

from caliper_dagster.caliper.versions import VersionName
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hours import Hour
from caliper_dagster.emitter import (
    EmissionCounts,
    HourOfEvents,
    HttpDestination,
    Ledger,
    RetryPolicy,
    emit,
)
from caliper_dagster.emitter.envelopes import context_iri

KEY = "key-of-the-store"
SENSOR = "https://moodle.example.org/#caliper"
SITE = "https://moodle.example.org"
HOUR = Hour.from_key("2026-01-31-14:00")

Behaviour = Callable[[BaseHTTPRequestHandler], None]


def event_id(hour: Hour, number: int) -> str:
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{hour}/{number}')}"


def event(hour: Hour, number: int, text: str = "", version: VersionName = "v1p2") -> dict[str, Any]:
    return {
        "@context": context_iri(version),
        "id": event_id(hour, number),
        "type": "ViewEvent",
        "action": "Viewed",
        "object": {"id": "urn:x", "type": "Page", "name": text},
    }


def events_table(
    hour: Hour = HOUR,
    count: int = 10,
    *,
    text: str | Callable[[int], str] = "",
    outcomes: Sequence[str] | None = None,
    version: VersionName | Callable[[int], VersionName] = "v1p2",
) -> pa.Table:
    """A ``CALIPER_EVENTS`` table; rows whose outcome is no event have neither id nor JSON."""
    rows = []
    for number in range(count):
        outcome = outcomes[number] if outcomes else "event"
        sent = outcome in {"event", "derived"}
        of_version = version(number) if callable(version) else version
        name = text(number) if callable(text) else text
        made = event(hour, number, name, of_version)
        rows.append(
            {
                "log_id": number,
                "timecreated": hour.start,
                "event_name": r"\core\event\course_viewed",
                "outcome": outcome,
                "reason": None if sent else "no recipe",
                "recipe": "core.course_viewed" if sent else None,
                "event_id": made["id"] if sent else None,
                "event_type": made["type"] if sent else None,
                "action": made["action"] if sent else None,
                "profile": None,
                "caliper_version": of_version,
                "json": json.dumps(made, ensure_ascii=False) if sent else None,
            }
        )
    return pa.Table.from_pylist(rows, CALIPER_EVENTS.schema)


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def drop(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word, after the request was read."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def break_off(handler: BaseHTTPRequestHandler) -> None:
    """Say 200, promise a body, and close the connection instead."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.close_connection = True


def body_of(handler: BaseHTTPRequestHandler) -> bytes:
    """The envelope that a behaviour is to answer; others may come at the same time."""
    body: bytes = handler.body  # type: ignore[attr-defined]  # HostileStore sets it
    return body


def sent_in(handler: BaseHTTPRequestHandler) -> list[str]:
    """Ids of the events in the envelope that a behaviour is to answer."""
    return [event["id"] for event in json.loads(body_of(handler))["data"]]


def refusing(ids: Collection[str], refusal: Behaviour) -> Behaviour:
    """Refuse envelopes with one of these events, and take all others."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        (OK if set(ids).isdisjoint(sent_in(handler)) else refusal)(handler)

    return behave


def limited(size: int) -> Behaviour:
    """Refuse envelopes of more bytes with 413."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        (OK if len(body_of(handler)) <= size else answer(413, b"too large"))(handler)

    return behave


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def retry_policy(self, **options: Any) -> RetryPolicy:
        given = {"clock": lambda: self.now, "sleep": self.sleep, "chance": lambda: 1.0}
        return RetryPolicy(**(given | options))


OK = answer(200)
NO_GET = answer(405)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Connections that are cut off are what this server is for."""


class HostileStore:
    """An HTTP server on loopback; the n-th POST gets the n-th behaviour, later ones the last.

    A GET always gets ``configuration``.
    """

    def __init__(
        self,
        *behaviours: Behaviour,
        configuration: Behaviour = NO_GET,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.behaviours = list(behaviours) or [OK]
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.requests: list[str] = []
        self.gets: list[str] = []
        self.headers_of_gets: list[dict[str, str]] = []
        self.connections = 0
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Header and body are two packets: with Nagle the second waits 40 ms for an answer.
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                store.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                store.requests.append(f"{self.command} {self.path}")
                store.headers.append(dict(self.headers.items()))
                store.bodies.append(body)
                self.body = body
                place = min(len(store.bodies), len(store.behaviours)) - 1
                store.behaviours[place](self)

            def do_GET(self) -> None:
                store.gets.append(self.path)
                store.headers_of_gets.append(dict(self.headers.items()))
                configuration(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.netloc = f"127.0.0.1:{self._server.server_port}"
        self.url = f"{'https' if tls else 'http'}://{self.netloc}/caliper"

    def __enter__(self) -> HostileStore:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def event_ids(self) -> list[str]:
        return [event["id"] for body in self.bodies for event in json.loads(body)["data"]]


def as_hours(hours: Iterable[tuple[Any, ...]]) -> list[HourOfEvents]:
    """Pairs of hour and table, with a mapping revision where it is not the present one."""
    return [HourOfEvents(*hour) for hour in hours]


def send(
    hours: Iterable[tuple[Any, ...]], store: HostileStore, ledger: Ledger, **options: Any
) -> dict[Hour, tuple[pa.Table, EmissionCounts]]:
    """Emit to the end; what it yielded, by hour."""
    with HttpDestination(store.url, KEY) as event_store:
        options = {"sensor": SENSOR, "site": SITE} | options
        emitted = emit(as_hours(hours), event_store, ledger, **options)
        return {hour: (table, counts) for hour, table, counts in emitted}
