"""Threads for requests that may never return: they do not keep the process alive."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

Result = TypeVar("Result")


class DaemonThreads(Generic[Result]):
    """A fixed number of daemon threads.

    The interpreter waits at its end for every thread of ``concurrent.futures.ThreadPoolExecutor``,
    also for one that sends to a peer that never answers.

    Args:
        number: of threads, which start as they are needed.
        name: what their names begin with.
    """

    def __init__(self, number: int, name: str) -> None:
        self._number = number
        self._name = name
        self._tasks: SimpleQueue[tuple[Future[Result], Callable[[], Result]] | None] = SimpleQueue()
        self._threads: list[Thread] = []

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Let one of the threads call a function."""
        future: Future[Result] = Future()
        self._tasks.put((future, work))
        if len(self._threads) < self._number:
            name = f"{self._name}-{len(self._threads)}"
            self._threads.append(Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()
        return future

    def close(self) -> None:
        """Wait for what was submitted, and end the threads."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, work = task
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
            # Without this, these names would hold the last envelope while there is no other one.
            del task, future, work
