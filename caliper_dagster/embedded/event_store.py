"""A Caliper endpoint for one machine: receives envelopes over HTTP and stores them in SQLite.

The demo, the tests and a first look at the events use it. It answers as the specification requires
(Caliper 1.2 "HTTP Responses", "Configuration Information"), but it is not an analytics store, and
it knows the key of one sender only. `event_store_page` makes its page for browsers.

==================================  ================================================================
``POST /caliper``                   one envelope; also at ``/message`` and ``/caliper/message``
``GET /caliper``, and the others    the endpoint configuration
``GET /``                           the page for a browser, the configuration for other clients
==================================  ================================================================

Bodies may be compressed with gzip. With `faults` it simulates failures.

Tables of the SQLite file: ``envelopes`` (each as received), ``received_events`` (each event's
envelope and its position there) and the view ``events`` (one row per id: how often the event was
received, and its last version). An envelope is on disk before it is answered. Rows are only
appended and have no index: ids are random, so an index would change pages all over the file for
every envelope. Readers count the events instead.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from caliper_dagster.caliper.versions import VERSIONS
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.embedded.arrivals import arrivals, last_events
from caliper_dagster.embedded.event_store_page import CONTENT_SECURITY_POLICY, page
from caliper_dagster.embedded.faults import DROP, DROP_LATE, LOSE, RESTART, SLOW, Faults

ENDPOINT = "/caliper"
CONTEXTS = tuple(version.context for version in reversed(VERSIONS))
MAXIMUM_PAYLOAD_KILOBYTES = 10_000

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")
_MAX_DISCARDED = 8
"""A body that is too large is read up to this multiple of the limit and discarded, so that the
client receives the answer. The connection of a client that sends more is closed."""
_PROCESS_TIMEOUT = 30
"""Seconds within which a started event store must answer, and a stopped one must end."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS envelopes (
    id INTEGER PRIMARY KEY,
    received_at TEXT NOT NULL,
    sensor TEXT NOT NULL,
    send_time TEXT NOT NULL,
    data_version TEXT NOT NULL,
    events INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS received_events (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    action TEXT,
    event_time TEXT,
    envelope INTEGER NOT NULL REFERENCES envelopes (id),
    place INTEGER NOT NULL
);
CREATE VIEW IF NOT EXISTS events AS
    SELECT
        max(number) AS number, id, type, action, event_time, count(*) AS received, envelope, place
    FROM received_events GROUP BY id;
"""
# The other columns are those of the row with the max(): SQLite, "Bare columns in an aggregate
# query".

_ADD_ENVELOPE = """
INSERT INTO envelopes (received_at, sensor, send_time, data_version, events, bytes, body)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""

_ADD_EVENT = """
INSERT INTO received_events (id, type, action, event_time, place, envelope)
VALUES (?, ?, ?, ?, ?, ?)
"""


_NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


class _Document(msgspec.Struct, gc=False):
    """The properties of an event or entity that are stored or checked; others are skipped."""

    id: _NonEmpty
    type: _NonEmpty
    context: Any = msgspec.field(name="@context")
    action: Any = None
    event_time: Any = msgspec.field(name="eventTime", default=None)


class _Envelope(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """An envelope: exactly these properties (Caliper 1.2, Envelope)."""

    sensor: _NonEmpty
    send_time: str
    data_version: Any
    data: Annotated[list[_Document], msgspec.Meta(min_length=1)]


_ENVELOPES = msgspec.json.Decoder(_Envelope)


class _RefusedError(Exception):
    """A request that is refused with a status from the specification's table."""

    def __init__(
        self, status: int, title: str, detail: str, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.retry_after = retry_after


@dataclass(slots=True)
class _PendingEnvelope:
    """A checked envelope that is to be written to the file."""

    envelope: tuple[object, ...]
    events: list[tuple[object, ...]]
    stored: bool = False


class _Store:
    """The SQLite file, written by one thread at a time."""

    def __init__(self, path: Path, faults: Faults) -> None:
        self._faults = faults
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()
        self._pending: deque[_PendingEnvelope] = deque()
        self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
        self._connection.execute("PRAGMA page_size=16384")
        self._connection.execute("PRAGMA journal_mode=WAL")
        # An event that was answered with 200 must survive a power failure: nobody sends it again.
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)

    def store(self, body: bytes) -> None:
        """Check one envelope and store it with its events; they are on disk when this returns.

        Envelopes that arrive while others are written are written together after that: one wait
        for the disk, and one copy of a changed page, for all of them.

        Raises:
            _RefusedError: the specification does not allow the envelope; nothing was stored.
        """
        pending = self._check(body)
        self._pending.append(pending)
        with self._lock:
            if not pending.stored:
                self._write([self._pending.popleft() for _ in range(len(self._pending))])
        if not pending.stored:
            raise sqlite3.OperationalError("The transaction that held the envelope failed.")

    def _check(self, body: bytes) -> _PendingEnvelope:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise _malformed("The body is not UTF-8.") from None
        envelope = _parse(text)
        for event in envelope.data:
            status = self._faults.refusal(event.id, event.type)
            if status is not None:
                # The answer does not say which event it is: a real event store need not either.
                raise _RefusedError(status, "Refused", f"A {event.type} is not accepted here.")
        row = (
            datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            envelope.sensor,
            envelope.send_time,
            envelope.data_version,
            len(envelope.data),
            len(body),
            text,
        )
        events: list[tuple[object, ...]] = [
            (event.id, event.type, _text(event.action), _text(event.event_time), index)
            for index, event in enumerate(envelope.data)
        ]
        return _PendingEnvelope(row, events)

    def _write(self, envelopes: list[_PendingEnvelope]) -> None:
        """Store envelopes, in one transaction."""
        with self._connection:
            for pending in envelopes:
                number = self._connection.execute(_ADD_ENVELOPE, pending.envelope).lastrowid
                rows = ((*event, number) for event in pending.events)
                self._connection.executemany(_ADD_EVENT, rows)
        for pending in envelopes:
            pending.stored = True

    def close(self) -> None:
        with self._lock:
            self._connection.close()


@dataclass(slots=True)
class _Connections:
    """The open connections of a server, which faults may close."""

    restart: Callable[[], None] = lambda: None
    by_client: dict[tuple[str, int], asyncio.Transport] = field(default_factory=dict)

    def protocol(self) -> type[asyncio.Protocol]:
        """The server's HTTP protocol, extended to register its connections here."""
        by_client = self.by_client

        class Protocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                by_client[transport.get_extra_info("peername")[:2]] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                by_client.pop(self.transport.get_extra_info("peername")[:2], None)
                super().connection_lost(exc)

        return Protocol

    def cut(self, request: Request) -> None:
        """Close the connection of a request immediately; the client receives no answer."""
        client = request.client
        transport = self.by_client.get((client.host, client.port)) if client else None
        if transport is not None:
            transport.abort()

    def cut_all(self) -> None:
        for transport in list(self.by_client.values()):
            transport.abort()


class _Endpoint:
    """Answers requests as the specification requires."""

    def __init__(
        self,
        store: _Store,
        api_key: str,
        maximum_kilobytes: int,
        faults: Faults,
        connections: _Connections,
    ) -> None:
        self._store = store
        self._key = api_key.encode()
        self._maximum_kilobytes = maximum_kilobytes
        self._faults = faults
        self._connections = connections

    async def envelope(self, request: Request) -> Response:
        """``POST``: store one envelope; 200 with an empty body."""
        fault = self._faults.next_fault()
        try:
            self._authorize(request)
            _check_media_type(request)
            body = await self._body(request)
            await self._simulate(fault, request)
            if fault != LOSE:
                await run_in_threadpool(self._store.store, body)
        except _RefusedError as refused:
            return _problem(refused)
        except ClientDisconnect:
            return Response(status_code=400)
        if fault == DROP_LATE:
            self._connections.cut(request)
        return Response(status_code=200)

    async def _simulate(self, fault: str | None, request: Request) -> None:
        """Simulate a fault that happens before the envelope is stored.

        Raises:
            _RefusedError: the envelope is not stored.
        """
        if fault is None:
            return
        if fault == SLOW:
            await asyncio.sleep(self._faults.seconds)
        elif fault == DROP:
            self._connections.cut(request)
            raise _RefusedError(503, "Dropped", "The connection is closed.")
        elif fault == RESTART:
            self._connections.restart()
            raise _RefusedError(503, "Restarting", "The event store restarts.")
        elif fault.isdigit():
            raise _RefusedError(
                int(fault),
                "Not now",
                "The event store simulates this fault.",
                self._faults.retry_after,
            )

    async def configuration(self, request: Request) -> Response:
        """``GET`` on the endpoint: what it accepts (Caliper 1.2 "Configuration Information")."""
        try:
            self._authorize(request)
        except _RefusedError as refused:
            return _problem(refused)
        configuration = {
            "caliperMaximumPayloadSize": self._maximum_kilobytes,
            "caliperSupportedVersions": list(CONTEXTS),
            "caliperSupportedExtensions": {},
        }
        return Response(msgspec.json.encode(configuration), media_type="application/json")

    async def front(self, request: Request) -> Response:
        """``GET /``: the page for browsers, which need a key unless they are on this machine.

        Other clients get the configuration.
        """
        if "text/html" not in request.headers.get("accept", ""):
            return await self.configuration(request)
        if not _is_local(request):
            try:
                self._authorize(request)
            except _RefusedError as refused:
                return _problem(refused)
        path = self._store.path
        text = await run_in_threadpool(lambda: page(arrivals(path), last_events(path, 50)))
        return HTMLResponse(text, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    def _authorize(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        is_key = hmac.compare_digest(token.strip().encode(), self._key)
        if scheme.lower() != "bearer" or not is_key:
            raise _RefusedError(401, "Not authorized", "The bearer token is missing or wrong.")

    async def _body(self, request: Request) -> bytes:
        limit = min(self._maximum_kilobytes * 1000, self._faults.max_bytes or sys.maxsize)
        body = bytearray()
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                body += chunk
            elif size > limit * _MAX_DISCARDED:
                break
        if size > limit:
            raise _too_large(limit)
        if request.headers.get("content-encoding", "identity").lower() == "gzip":
            return _unpacked(bytes(body), limit)
        return bytes(body)


def create_app(
    db_path: str | Path,
    api_key: str,
    *,
    maximum_payload_kilobytes: int = MAXIMUM_PAYLOAD_KILOBYTES,
    faults: Faults | None = None,
    connections: _Connections | None = None,
) -> Starlette:
    """The event store as an ASGI application.

    Args:
        db_path: SQLite file; it and its folder are created where they are missing.
        api_key: the bearer token that senders must present.
        maximum_payload_kilobytes: larger envelopes are refused with 413.
        faults: the faults to simulate.
        connections: connections of the server that runs it; faults cannot close any without them.

    Raises:
        ConfigurationError: the key is empty, or the file cannot be opened.
    """
    if not api_key:
        raise ConfigurationError("CALIPER_API_KEY is empty: the event store needs a key to check.")
    try:
        store = _Store(Path(db_path), faults or Faults())
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(
            f"The event store cannot keep its data in {db_path}: {error}."
        ) from None
    endpoint = _Endpoint(
        store,
        api_key,
        maximum_payload_kilobytes,
        faults or Faults(),
        connections or _Connections(),
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        store.close()

    routes = [Route("/", endpoint.front, methods=["GET"])]
    for path in (ENDPOINT, "/message", f"{ENDPOINT}/message"):
        routes += [
            Route(path, endpoint.envelope, methods=["POST"]),
            Route(path, endpoint.configuration, methods=["GET"]),
        ]
    return Starlette(routes=routes, lifespan=lifespan)


def serve(
    port: int,
    db_path: str | Path,
    api_key: str,
    host: str = "127.0.0.1",
    faults: Faults | None = None,
) -> None:
    """Run the event store until it is interrupted; print its addresses.

    Args:
        port: 0 takes a free one.
        db_path: SQLite file.
        api_key: the bearer token that senders must present.
        host: address to listen on. The page needs no key on a loopback address only.
        faults: the faults to simulate.

    Raises:
        ConfigurationError: the port is taken, the key is empty, or the file cannot be opened.
    """
    server = _RestartingServer(db_path, api_key, faults)
    listener = _listener(host, port)
    address = _address(listener)
    sys.stdout.write(
        f"Send envelopes to {address}{ENDPOINT}; see the received events at {address}/\n"
    )
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        server.run(listener)


@contextmanager
def running(db_path: str | Path, api_key: str, port: int = 0, hostile: str = "") -> Iterator[str]:
    """Run an event store in a process of its own on the loopback interface.

    The process receives the key through its standard input, so that neither the process list nor
    the environment shows it. It also ends when this process dies.

    Args:
        db_path: SQLite file.
        api_key: the bearer token that senders must present.
        port: 0 takes a free one.
        hostile: the faults to simulate, as `Faults.parse` reads them.

    Yields:
        The URL for ``CALIPER_EVENT_STORE_URL``, once the event store answers.

    Raises:
        ConfigurationError: it cannot start; the message says why.
    """
    package_folder = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, (package_folder, os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(  # noqa: S603 - this interpreter, fixed arguments
        [sys.executable, "-c", f"from {__name__} import serve_parent; serve_parent()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": search_path},
        start_new_session=True,
    ) as process:
        try:
            options = {"port": port, "db_path": str(db_path), "api_key": api_key}
            options["hostile"] = hostile
            yield _start(process, options)
        finally:
            process.terminate()
            try:
                process.wait(_PROCESS_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


def serve_parent() -> None:
    """Serve in the process that `running` starts, with options from standard input.

    It writes its URL, or why it cannot start, as one line of JSON to standard output. It ends on
    SIGTERM, and when standard input closes because its parent has died.
    """
    options = json.loads(sys.stdin.buffer.readline())
    try:
        faults = Faults.parse(options["hostile"])
        server = _RestartingServer(options["db_path"], options["api_key"], faults)
        listener = _listener("127.0.0.1", options["port"])
    except ConfigurationError as error:
        _write_line({"error": str(error)})
        return

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        server.end()

    threading.Thread(target=end_with_parent, daemon=True).start()
    _write_line({"url": _address(listener) + ENDPOINT})
    server.run(listener)


class _RestartingServer:
    """The event store's server, which a fault may restart; the new one continues with the file."""

    def __init__(self, db_path: str | Path, api_key: str, faults: Faults | None) -> None:
        self._store_arguments = db_path, api_key
        self._faults = faults or Faults()
        self._connections = _Connections(restart=self._restart)
        self._restarting = True
        self._server = self._new_server()

    def run(self, listener: socket.socket) -> None:
        """Serve until the end; during a restart, connections wait in the listener's queue."""
        while self._restarting:
            self._restarting = False
            self._server.run(sockets=[listener.dup()])
            if self._restarting:
                self._server = self._new_server()

    def end(self) -> None:
        self._restarting = False
        self._server.should_exit = True

    def _restart(self) -> None:
        self._restarting = True
        self._server.should_exit = True
        self._connections.cut_all()

    def _new_server(self) -> uvicorn.Server:
        app = create_app(*self._store_arguments, faults=self._faults, connections=self._connections)
        return _server(app, self._connections)


def _write_line(message: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _start(process: subprocess.Popen[bytes], options: dict[str, Any]) -> str:
    """Send the process its options, and return its URL once it answers."""
    if process.stdin is None or process.stdout is None:
        raise ConfigurationError("The embedded event store was started without pipes.")
    process.stdin.write(json.dumps(options).encode() + b"\n")
    process.stdin.flush()
    line = process.stdout.readline()
    message = json.loads(line) if line else {"error": "The embedded event store did not start."}
    if "error" in message:
        raise ConfigurationError(message["error"])
    url: str = message["url"]
    parts = urlsplit(url)
    # The socket is already open: the request waits in its queue until the server accepts it.
    with closing(HTTPConnection(parts.netloc, timeout=_PROCESS_TIMEOUT)) as connection:
        connection.request("GET", parts.path)
        connection.getresponse().read()
    return url


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigurationError(
            f"The event store cannot listen on {host} port {port}: {error.strerror}."
        ) from None


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(app: Starlette, connections: _Connections) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=connections.protocol(),
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=3,
        )
    )


def _problem(refused: _RefusedError) -> Response:
    """A problem document (RFC 7807), which Caliper 1.2 suggests for details."""
    document = {"title": refused.title, "status": refused.status, "detail": refused.detail}
    headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
    if refused.retry_after is not None and refused.status in {429, 503}:
        headers["Retry-After"] = str(refused.retry_after)
    return Response(
        msgspec.json.encode(document),
        refused.status,
        headers,
        media_type="application/problem+json",
    )


def _is_local(request: Request) -> bool:
    """Whether a request comes from this machine and names this machine.

    The second protects against DNS rebinding, by which another site's name leads here.
    """
    client = request.client.host if request.client else ""
    host = request.url.hostname or ""
    return _is_loopback(client) and (host == "localhost" or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise _RefusedError(415, "Unsupported media type", "Content-Type must be application/json.")
    if request.headers.get("content-encoding", "identity").lower() not in {"identity", "gzip"}:
        raise _RefusedError(415, "Unsupported media type", "Content-Encoding is not supported.")


def _unpacked(body: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise _malformed("The body is not gzip, as Content-Encoding says.") from None
    if len(unpacked) > limit:
        raise _too_large(limit)
    if not unpacker.eof:
        raise _malformed("The body is truncated.")
    return unpacked


def _too_large(limit: int) -> _RefusedError:
    return _RefusedError(413, "Too large", f"An envelope may have at most {limit:,} bytes.")


def _parse(text: str) -> _Envelope:
    """Parse an envelope.

    Raises:
        _RefusedError: the specification does not allow it.
    """
    try:
        envelope = _ENVELOPES.decode(text)
    except msgspec.ValidationError as error:
        raise _malformed(f"{error}.") from None
    except (msgspec.DecodeError, RecursionError):
        raise _malformed("The body is not JSON.") from None
    if not _TIME.fullmatch(envelope.send_time):
        raise _malformed("sendTime must have the form 2026-01-31T14:00:00.000Z.")
    version = envelope.data_version
    if version not in CONTEXTS:
        raise _RefusedError(
            422, "Unsupported version", f"dataVersion must be {' or '.join(CONTEXTS)}."
        )
    for index, item in enumerate(envelope.data):
        context = item.context
        if (context[-1:] if isinstance(context, list) else [context]) != [version]:
            raise _malformed(f"data[{index}] must have the @context that dataVersion names.")
    return envelope


def _malformed(detail: str) -> _RefusedError:
    return _RefusedError(400, "Malformed envelope", detail)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
