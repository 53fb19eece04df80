"""Ports of the loopback interface for servers that tests start, stop and start again."""

from __future__ import annotations

import secrets
import socket

# Below those that Linux and macOS give to connections and to servers without a port of their own:
# such a port may be taken by any client of this machine before the test's server listens on it.
_PORTS = range(20_000, 32_768)


def free_port() -> int:
    """A port that nobody listens on, and that nobody is given who does not ask for it."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
