"""One total time limit for work on sockets, however often the peer sends a byte.

A socket's own time-out counts from the last byte, so a peer that trickles beats it; libpq has none
at all, and does not return to Python when a signal arrives. Here a thread shuts the sockets down at
the deadline, or soon after SIGINT or SIGTERM, and whatever waits on them returns at once. What it
returns may look complete: ask `Deadline.passed` before believing it.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

SIGNAL_GRACE = 3.0
"""Seconds that work in the main thread may still take after SIGINT or SIGTERM."""

_LOOK_AGAIN = 0
"""What the thread is sent when a deadline is earlier than it knows; no signal has this number."""


class HasDescriptor(Protocol):
    """A socket, or a connection that has one."""

    def fileno(self) -> int:
        """The descriptor."""


class Deadline:
    """Shuts the sockets that it watches down when its time is over; a context manager.

    In the main thread a signal does so too, `SIGNAL_GRACE` seconds after it arrived: Python's own
    handler runs there only after the driver has returned.

    Args:
        seconds: from entering to the shutdown.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._finders: list[Callable[[], HasDescriptor | None]] = []
        self._passed = False

    @property
    def passed(self) -> bool:
        """Whether the sockets were shut down: what was read from them is then no answer."""
        return self._passed

    def watch(self, connection: HasDescriptor) -> None:
        """Shut this connection down, too; the caller still closes its own socket.

        A duplicate of the descriptor is kept: TLS takes the descriptor away from a socket, and a
        closed descriptor's number may already belong to another connection.
        """
        with self._lock:
            self._keep(connection)
            if self._passed:
                self._shut()

    def watch_later(self, find: Callable[[], HasDescriptor | None]) -> None:
        """Shut down, too, what this returns at the deadline: a connection that is being made."""
        with self._lock:
            self._finders.append(find)

    def end(self) -> None:
        """Shut the sockets down now."""
        with self._lock:
            self._passed = True
            self._shut()

    def __enter__(self) -> Deadline:
        _WATCHDOG.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _WATCHDOG.remove(self)
        with self._lock:
            for kept in self._sockets:
                kept.close()
            self._sockets.clear()
            self._finders.clear()

    def _keep(self, connection: HasDescriptor) -> None:
        # Not dup() of the socket: one of TLS has none.
        self._sockets.append(socket.socket(fileno=os.dup(connection.fileno())))

    def _shut(self) -> None:
        for find in self._finders:
            connection = find()
            if connection is not None:
                # The connection may be closed by now.
                with suppress(OSError, ValueError):
                    self._keep(connection)
        for kept in self._sockets:
            with suppress(OSError):
                kept.shutdown(socket.SHUT_RDWR)


def end_all() -> None:
    """Shut the sockets of all deadlines of this process down: nobody waits for the answers."""
    _WATCHDOG.end_all()


class _Watchdog:
    """The thread of a process that ends deadlines; it starts with the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[Deadline, float] = {}
        self._of_main_thread: set[Deadline] = set()
        self._thread: threading.Thread | None = None
        self._next_look = float("inf")
        self._noted, self._notes = socket.socketpair()
        # Python writes the numbers of signals to it, and must not wait for that.
        self._notes.setblocking(False)
        self._former_wakeup = -1

    def add(self, deadline: Deadline) -> None:
        if threading.current_thread() is threading.main_thread():
            self._note_signals(deadline)
        with self._lock:
            self._until[deadline] = until = time.monotonic() + deadline.seconds
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="caliper-deadlines", daemon=True
                )
                self._thread.start()
            if until < self._next_look:
                self._next_look = until
                with suppress(BlockingIOError):  # It is about to look anyway.
                    self._notes.send(bytes([_LOOK_AGAIN]))

    def remove(self, deadline: Deadline) -> None:
        with self._lock:
            self._until.pop(deadline, None)
            is_last = self._of_main_thread == {deadline}
            self._of_main_thread.discard(deadline)
        if is_last:
            signal.set_wakeup_fd(self._former_wakeup, warn_on_full_buffer=False)

    def end_all(self) -> None:
        with self._lock:
            live = tuple(self._until)
        for deadline in live:
            deadline.end()

    def _note_signals(self, deadline: Deadline) -> None:
        """Learn of signals while the deadline lasts.

        Handlers are no use: Python calls them after the driver has returned. But it writes their
        numbers to a descriptor at once. A process has one of these; its former user is told too.
        """
        with self._lock:
            is_first = not self._of_main_thread
            self._of_main_thread.add(deadline)
        if is_first:
            self._former_wakeup = signal.set_wakeup_fd(
                self._notes.fileno(), warn_on_full_buffer=False
            )

    def _watch(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                over = [deadline for deadline, until in self._until.items() if until <= now]
                for deadline in over:
                    del self._until[deadline]
                self._next_look = min(self._until.values(), default=float("inf"))
                wait = self._next_look - now
            for deadline in over:
                deadline.end()
            if not over:
                self._listen(wait)

    def _listen(self, seconds: float) -> None:
        """Wait until the next deadline, until there is an earlier one, or for a signal."""
        self._noted.settimeout(None if seconds == float("inf") else max(seconds, 0.001))
        try:
            notes = self._noted.recv(64)
        except TimeoutError:
            return
        signals = bytes(note for note in notes if note != _LOOK_AGAIN)
        if signals and self._former_wakeup >= 0:
            with suppress(OSError):
                os.write(self._former_wakeup, signals)
        if {signal.SIGINT, signal.SIGTERM} & set(signals):
            with self._lock:
                latest = time.monotonic() + SIGNAL_GRACE
                for deadline in self._of_main_thread & self._until.keys():
                    self._until[deadline] = min(self._until[deadline], latest)


_WATCHDOG = _Watchdog()


def _start_anew() -> None:
    """A forked process has none of the threads and works on none of the sockets."""
    global _WATCHDOG
    _WATCHDOG = _Watchdog()


os.register_at_fork(after_in_child=_start_anew)
