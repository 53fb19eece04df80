"""One total time limit for work on sockets, however often the peer sends a byte.

A socket's own time-out counts from the last byte, so a peer that trickles beats it. Here a timer
shuts the sockets down at the deadline, and whatever waits on them returns at once. What it returns
may look complete: ask `Deadline.passed` before believing it.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from types import TracebackType


class Deadline:
    """Shuts the sockets that it watches down when its time is over; a context manager.

    Args:
        seconds: from entering to the shutdown.
    """

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._passed = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    @property
    def passed(self) -> bool:
        """Whether the sockets were shut down: what was read from them is then no answer."""
        return self._passed

    def watch(self, connection: socket.socket) -> None:
        """Shut this connection down, too; the caller still closes its own socket.

        A duplicate of the descriptor is kept: TLS takes the descriptor away from a socket, and a
        closed descriptor's number may already belong to another connection.
        """
        with self._lock:
            # Not dup() of the socket: one of TLS has none.
            self._sockets.append(socket.socket(fileno=os.dup(connection.fileno())))
            if self._passed:
                self._shut()

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for kept in self._sockets:
                kept.close()
            self._sockets.clear()

    def _end(self) -> None:
        with self._lock:
            self._passed = True
            self._shut()

    def _shut(self) -> None:
        for kept in self._sockets:
            with suppress(OSError):
                kept.shutdown(socket.SHUT_RDWR)
