"""Runs side by side: ranges of hours on several processors.

Each process makes runs as ``runs.Runner`` does, one after the other; which range it takes next is
decided here. The processes end with the one that asked for them, however that ends.
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
from caliper_dagster.core.errors import RunError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.gc_tuning import raise_gc_threshold
from caliper_dagster.core.hours import Hour, HourRange

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

    from caliper_dagster.operations.run_outcome import RunOutcome

    Told = SimpleQueue[tuple[str, int]]

_BEAT = 0.2
_run: Callable[[HourRange, Mapping[str, str]], RunOutcome]
"""In a process of its own: makes a run."""

_lasting = ExitStack()
"""In a process of its own: what is open as long as it."""


def run_in_processes(
    settings: Settings,
    job: str,
    ranges: Sequence[HourRange],
    asked: Mapping[str, str],
    *,
    written: Callable[[str, Hour], None],
    processes: int,
) -> Iterator[RunOutcome]:
    """Make a run of each range, some at a time, and begin them in this order.

    Args:
        settings: what the assets are built for.
        job: the name of the job.
        ranges: the hours of each run.
        asked: further tags of the runs.
        written: called with the asset's name and hour of every partition that is written.
        processes: how many at a time.

    Yields:
        What each run has done, in the order in which they end.

    Raises:
        RunError: a run failed, or its process was killed. The others come to their end first.
        KeyboardInterrupt: a run was interrupted.
    """
    context = multiprocessing.get_context("spawn")
    told: Told = context.SimpleQueue()
    waiting = iter(ranges)
    given = (settings, job, told, os.getpid())
    with ProcessPoolExecutor(processes, context, _begin, given) as pool:
        running: set[Future[RunOutcome]] = set()
        while True:
            while len(running) < processes and (hours := next(waiting, None)) is not None:
                running.add(pool.submit(_take, hours, asked))
            if not running:
                return
            ended, running = wait(running, _BEAT, FIRST_COMPLETED)
            while not told.empty():
                name, hour = told.get()
                written(name, Hour(hour))
            for future in ended:
                try:
                    done = future.result()
                except BrokenProcessPool:
                    raise RunError(
                        "A process of the backfill was killed: start it again, it goes on there."
                    ) from None
                yield done


def _begin(settings: Settings, job: str, told: Told, parent: int) -> None:
    """Make a process ready for runs."""
    global _run
    raise_gc_threshold()
    from caliper_dagster.dagster.instance.open import open_instance
    from caliper_dagster.operations.runner import Runner

    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()

    def written(frame: Frame, hour: Hour) -> None:
        told.put((frame.name, hour.number))

    instance = _lasting.enter_context(open_instance())
    _run = Runner(instance, settings, job, written=written).run


def _take(hours: HourRange, asked: Mapping[str, str]) -> RunOutcome:
    return _run(hours, asked)


def _end_with(parent: int) -> None:
    """End this process when the one that asked for it is gone: nobody would hear of its runs."""
    while os.getppid() == parent:
        time.sleep(_BEAT)
    os._exit(1)
