"""When sockets are shut down: at the deadline, by a signal, and by nobody else."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from caliper_dagster.core import deadlines
from caliper_dagster.core.deadlines import Deadline


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A connection whose peer says nothing."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        yield ours


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The signals that Python's own handler has seen."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_an_earlier_deadline_is_kept_beside_a_later_one(silent):
    with Deadline(60) as later:
        with Deadline(0.1) as earlier:
            earlier.watch(silent)
            assert silent.recv(1) == b""
        assert earlier.passed
        assert not later.passed


def test_what_ends_before_the_deadline_is_left_alone(silent):
    with Deadline(0.1) as deadline:
        deadline.watch(silent)
    silent.settimeout(0.3)
    with pytest.raises(TimeoutError):
        silent.recv(1)
    assert not deadline.passed


def test_a_connection_that_is_made_inside_is_found_at_the_deadline(silent):
    made = []
    with Deadline(0.2) as deadline:
        deadline.watch_later(lambda: made[0] if made else None)
        made.append(silent)
        assert silent.recv(1) == b""
    assert deadline.passed


def test_sigterm_ends_what_the_main_thread_waits_for(silent, handled, monkeypatch):
    monkeypatch.setattr(deadlines, "SIGNAL_GRACE", 0.1)
    with Deadline(60) as deadline:
        deadline.watch(silent)
        os.kill(os.getpid(), signal.SIGTERM)
        # Python goes on reading after a handler that does not raise.
        assert silent.recv(1) == b""
    assert deadline.passed
    assert handled == [signal.SIGTERM]


def test_who_listened_for_signals_before_still_learns_of_them(handled):
    noted, notes = socket.socketpair()
    with noted, notes:
        notes.setblocking(False)
        noted.settimeout(20)
        before = signal.set_wakeup_fd(notes.fileno())
        try:
            with Deadline(60):
                os.kill(os.getpid(), signal.SIGTERM)
                assert noted.recv(1) == bytes([signal.SIGTERM])
            os.kill(os.getpid(), signal.SIGTERM)
            assert noted.recv(1) == bytes([signal.SIGTERM])
        finally:
            signal.set_wakeup_fd(before)


def test_all_of_them_end_when_nobody_waits_any_more(silent):
    with Deadline(60) as deadline:
        deadline.watch(silent)
        deadlines.end_all()
        assert silent.recv(1) == b""
    assert deadline.passed
