"""Runs in several processes at the same time.

Each process runs ranges of hours with ``runner.JobRunner``, one after the other; the calling
process hands out the ranges. The worker processes end with the calling process, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import TYPE_CHECKING

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.arrow_without_pandas import keep_pandas_out
from caliper_dagster.core.errors import RunError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.gc_tuning import raise_gc_threshold
from caliper_dagster.core.hours import Hour, HourRange

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

    from caliper_dagster.operations.run_outcome import RunOutcome

    WrittenQueue = SimpleQueue[tuple[str, int]]
    """Asset name and hour number of every partition that a worker writes."""

_POLL_SECONDS = 0.2

_run_in_worker: Callable[[HourRange, Mapping[str, str]], RunOutcome]
"""In a worker process: makes a run."""

_worker_resources = ExitStack()
"""In a worker process: resources that stay open until it ends."""


def run_in_processes(
    settings: Settings,
    job: str,
    ranges: Sequence[HourRange],
    tags: Mapping[str, str],
    *,
    on_written: Callable[[str, Hour], None],
    processes: int,
) -> Iterator[RunOutcome]:
    """Run a job for every range, several at the same time, started in this order.

    Args:
        settings: of the site.
        job: the name of the job, without the name of the site.
        ranges: the hours of each run.
        tags: further tags of the runs.
        on_written: called with asset name and hour of every partition that is written.
        processes: the number of runs at the same time.

    Yields:
        The outcome of each run, in the order in which the runs end.

    Raises:
        RunError: a run failed, or its process was killed. The other runs complete first.
        KeyboardInterrupt: a run was interrupted.
    """
    context = multiprocessing.get_context("spawn")
    queue: WrittenQueue = context.SimpleQueue()
    waiting = iter(ranges)
    arguments = (settings, job, queue, os.getpid())
    with ProcessPoolExecutor(processes, context, _start_worker, arguments) as pool:
        running: set[Future[RunOutcome]] = set()
        while True:
            while len(running) < processes and (hours := next(waiting, None)) is not None:
                running.add(pool.submit(_run_range, hours, tags))
            if not running:
                return
            ended, running = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
            while not queue.empty():
                name, hour = queue.get()
                on_written(name, Hour(hour))
            for future in ended:
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    raise RunError(
                        "A process of the backfill was killed: run the same command again to "
                        "continue."
                    ) from None
                yield outcome


def _start_worker(settings: Settings, job: str, queue: WrittenQueue, parent: int) -> None:
    """Prepare a worker process for runs."""
    global _run_in_worker
    raise_gc_threshold()
    keep_pandas_out()
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.operations.runner import JobRunner, RunContext

    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()

    def on_written(frame: Frame, hour: Hour) -> None:
        queue.put((frame.name, hour.number))

    instance = _worker_resources.enter_context(open_instance())
    _run_in_worker = JobRunner(RunContext(instance, settings, on_written), job).run


def _run_range(hours: HourRange, tags: Mapping[str, str]) -> RunOutcome:
    return _run_in_worker(hours, tags)


def _exit_with_parent(parent: int) -> None:
    """End this process when the calling process has ended: nobody would read its outcomes."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)
