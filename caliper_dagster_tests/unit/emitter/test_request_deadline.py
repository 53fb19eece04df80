import socket
import threading
from contextlib import contextmanager, suppress

import pytest

from caliper_dagster.emitter import HttpDestination
from caliper_dagster.emitter.destination import Meaning

TRICKLED_HEADER = b"HTTP/1.1 200 OK\r\n", b"X-Slow: "
TRICKLED_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"{"


@contextmanager
def trickling(start, then):
    """A store that sends the start of an answer at once, and one byte every 0.1 s after it."""
    stop = threading.Event()

    def serve():
        with suppress(OSError):
            peer, _ = server.accept()
            with peer:
                peer.recv(65_536)
                peer.sendall(start + then)
                while not stop.wait(0.1):
                    peer.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/caliper"
        stop.set()
    thread.join(5)


@pytest.mark.parametrize("answer", [TRICKLED_HEADER, TRICKLED_BODY], ids=["header", "body"])
def test_a_store_that_trickles_its_answer_has_given_none(answer):
    with (
        trickling(*answer) as url,
        HttpDestination(url, None, timeout=0.6, connect_timeout=0.4) as store,
    ):
        given = store.post(b"{}")
    assert given.meaning is Meaning.RETRY_LATER
    assert given.status is None
    assert "within 1 second" in str(given.sentence)
    assert "CALIPER_EVENT_STORE_TIMEOUT" in str(given.sentence)
