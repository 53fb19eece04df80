"""An HTTP session whose connections a `Deadline` can shut down, in every phase of a request."""

from __future__ import annotations

import socket
import threading
from functools import cache
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from caliper_dagster.core.deadlines import Deadline

_CURRENT = threading.local()
"""The deadline of the request that this thread makes, as ``deadline``."""


def _watch(connection: socket.socket | None) -> None:
    deadline: Deadline | None = getattr(_CURRENT, "deadline", None)
    if deadline is not None and connection is not None:
        deadline.watch(connection)


class _WatchedConnection(urllib3.connection.HTTPConnection):
    def _new_conn(self) -> socket.socket:
        # Before the handshakes with a proxy and of TLS, which are part of the request's time.
        made = super()._new_conn()
        _watch(made)
        return made

    def request(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - urllib3's signature
        _watch(self.sock)  # Kept alive from an earlier request.
        super().request(*args, **options)


@cache
def _watched(pool: type[Any]) -> type[Any]:
    """The class of pools with watched connections: of HTTP, of HTTPS, or of either over SOCKS."""
    of_pool = pool.ConnectionCls
    if issubclass(of_pool, _WatchedConnection):
        return pool
    connection = type(f"Watched{of_pool.__name__}", (_WatchedConnection, of_pool), {})
    return type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": connection})


def _watch_pools(manager: urllib3.PoolManager) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _watched(pool) for scheme, pool in pools.items()}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as above
        super().init_poolmanager(*args, **options)
        _watch_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> urllib3.ProxyManager:  # noqa: ANN401
        manager: urllib3.ProxyManager = super().proxy_manager_for(*args, **options)
        _watch_pools(manager)
        return manager


class WatchedSession(requests.Session):
    """A session of one thread; see `RequestDeadline`."""

    def __init__(self) -> None:
        super().__init__()
        self.mount("http://", _Adapter())
        self.mount("https://", _Adapter())


class RequestDeadline(Deadline):
    """The deadline of all requests that this thread makes inside it."""

    def __enter__(self) -> Deadline:
        _CURRENT.deadline = self
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:  # noqa: ANN401 - as of Deadline
        _CURRENT.deadline = None
        super().__exit__(*raised)
