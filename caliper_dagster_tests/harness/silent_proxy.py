"""A proxy before a database that stops forwarding and keeps its connections open."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import sqlalchemy as sa


class SilentProxy:
    """Forwards between clients and a database until it is told to fall silent.

    Args:
        url: SQLAlchemy URL of the database.

    Attributes:
        url: the same database through the proxy.
    """

    def __init__(self, url: str) -> None:
        target = sa.make_url(url)
        self._target = str(target.host), int(target.port or 0)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._server]
        self._at: bytes | None = None
        self.silent = threading.Event()
        self.url = target.set(
            host="127.0.0.1", port=self._server.getsockname()[1]
        ).render_as_string(hide_password=False)

    def __enter__(self) -> SilentProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def silence_at(self, words: bytes) -> None:
        """Fall silent when a client sends these words, in any case; do not forward them."""
        self._at = words.lower()

    def forward_again(self) -> None:
        """Forward what comes over new connections; what was swallowed stays so."""
        self._at = None
        self.silent.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self._at is not None and self._at in data.lower():
                    self.silent.set()
                if not self.silent.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)
