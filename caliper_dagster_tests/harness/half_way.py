"""A way to a server that ends in the middle of a request."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class HalfWay:
    """A way to a server on which everything goes until one request has sent so many bytes.

    A context manager: it takes no further connections when it ends.
    """

    def __init__(self, endpoint: str, most: int) -> None:
        self._server = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self._most = most
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.stuck = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> HalfWay:
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone does not wake a thread that waits for a connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            back = threading.Thread(target=self._back, args=(client, server), daemon=True)
            back.start()
            with suppress(OSError):  # the writer is killed
                self._there(client, server)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            back.join()

    def _there(self, client: socket.socket, server: socket.socket) -> None:
        sent = 0
        while sent < self._most and (part := client.recv(4096)):
            server.sendall(part)
            sent += len(part)
        if sent >= self._most:
            self.stuck.set()
            while client.recv(65536):
                pass

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while part := server.recv(65536):
                client.sendall(part)
            client.shutdown(socket.SHUT_RDWR)
