"""An event store that only reads and answers: what remains is the sender's own speed.

Run ``python -m benchmarks.sink --port N``, or use `running`.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
_TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_NO_CONFIGURATION = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"


class _Sink(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = bytearray(1 << 20)
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type
        self._transport = transport

    def get_buffer(self, _sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._left:
            self._read(nbytes)
            return
        self._head += self._buffer[:nbytes]
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        self._head = b""
        if head.startswith(b"GET"):
            self._transport.write(_NO_CONFIGURATION)
            return
        found = _LENGTH.search(head)
        self._left = int(found[1]) if found else 0
        self._read(len(rest))

    def _read(self, nbytes: int) -> None:
        self._left -= nbytes
        if self._left <= 0:
            self._transport.write(_TAKEN)


@contextmanager
def running() -> Iterator[str]:
    """A sink in a process of its own, on loopback; its URL."""
    with subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - for the type
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Sink, "127.0.0.1", port)
    host, number = server.sockets[0].getsockname()
    print(f"http://{host}:{number}/caliper", flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until terminated; the first line says where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
