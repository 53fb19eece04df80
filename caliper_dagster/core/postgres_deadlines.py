"""A PostgreSQL connection on which every wait for the server ends.

libpq waits without a limit. Keepalive finds a peer that is dead, and a statement timeout ends what
a server is working on; neither helps with a live peer that says nothing: a proxy or a pooler that
has lost its server, a failover, a server that hangs.

psycopg2's own way, a wait callback, forbids COPY.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg2
import psycopg2.extensions

from caliper_dagster.core.deadlines import Deadline

CONNECT_SECONDS = 10
"""Seconds for opening a connection at one address, log-in included."""


class NoAnswer(psycopg2.OperationalError):  # type: ignore[misc]  # no types
    """The server did not answer in time; the connection is closed."""


def connect_arguments(seconds: float, silence: str = "no answer in time") -> dict[str, Any]:
    """Arguments of ``psycopg2.connect`` for a connection on which a wait ends.

    Args:
        seconds: from the sending of a statement (also COMMIT) to the end of its answer. Opening the
            connection takes no longer either, nor `CONNECT_SECONDS`; libpq waits for at least two.
        silence: text of the error about a server that did not answer.
    """
    return {
        "connect_timeout": max(2, min(CONNECT_SECONDS, round(seconds))),
        "connection_factory": partial(_Connection, seconds=seconds, silence=silence),
    }


def is_silence(error: BaseException | None) -> bool:
    """Whether an error of psycopg2 says that the server did not answer in time."""
    # The second is libpq's, about ``connect_timeout``.
    return isinstance(error, NoAnswer) or "timeout expired" in str(error)


class _Connection(psycopg2.extensions.connection):  # type: ignore[misc]  # no types
    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - as of psycopg2
        seconds: float,
        silence: str,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*arguments, **options)
        self._seconds, self._silence = seconds, silence
        self.cursor_factory = _Cursor

    @contextmanager
    def deadline(self) -> Iterator[None]:
        """Inside it the server answers in time, or `NoAnswer` is raised."""
        with Deadline(self._seconds) as deadline:
            if not self.closed:
                deadline.watch(self)
            try:
                yield
            except psycopg2.Error:
                if not deadline.passed:
                    raise
        if deadline.passed:
            self.close()
            raise NoAnswer(self._silence)

    def commit(self) -> None:
        with self.deadline():
            super().commit()

    def rollback(self) -> None:
        with self.deadline():
            super().rollback()


class _Cursor(psycopg2.extensions.cursor):  # type: ignore[misc]  # no types
    def _call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        with self.connection.deadline():
            return method(*arguments, **options)

    def execute(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        self._call(super().execute, *arguments, **options)

    def executemany(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        self._call(super().executemany, *arguments, **options)

    def copy_expert(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        self._call(super().copy_expert, *arguments, **options)

    # A cursor without a name has its rows already.

    def fetchone(self) -> Any:  # noqa: ANN401
        return self._call(super().fetchone) if self.name else super().fetchone()

    def fetchmany(self, *arguments: Any) -> Any:  # noqa: ANN401
        if self.name:
            return self._call(super().fetchmany, *arguments)
        return super().fetchmany(*arguments)

    def fetchall(self) -> Any:  # noqa: ANN401
        return self._call(super().fetchall) if self.name else super().fetchall()

    def close(self) -> None:
        self._call(super().close) if self.name else super().close()
