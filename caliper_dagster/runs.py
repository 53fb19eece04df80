"""Runs that the command line makes: ranges of hours, one after the other, in this process.

They are runs of the same jobs in the same Dagster instance as those of the schedule, so the web UI
shows them and their hours. Here belongs how a range becomes runs and what a failed one says; which
ranges, and how the numbers look, is the business of ``cli``.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster as dg
import pyarrow as pa

from caliper_dagster.accounting import Account, Delivery
from caliper_dagster.assets import FRESH_TAG, RESEND_ALL_TAG, SEND_TAG
from caliper_dagster.automation import CHAIN_JOB, RESEND_JOB
from caliper_dagster.definitions import build_definitions
from caliper_dagster.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.frames import CALIPER_EVENTS, EMISSION_RESULTS, Frame
from caliper_dagster.hours import Hour, HourRange
from caliper_dagster.partitions import range_tags
from caliper_dagster.resources import StorageResource
from caliper_dagster.resume import Task
from caliper_dagster.settings import Settings
from caliper_dagster.storage import Facts, PartitionStorage

HOME = "DAGSTER_HOME"
STANDING_CONFIGURATION = Path(__file__).with_name("dagster.yaml")

Written = Callable[[Frame, Hour], None]

_PROCESS_TAG = "caliper_dagster/process"
# What the web UI puts on the runs that it starts itself, to find them under their job.
_LOCATION_TAG = {".dagster/repository": "__repository__@caliper_dagster.definitions"}
# Nobody else may start such a run again: this process tells what happened, and ends.
_NO_RETRY_TAG = {"dagster/max_retries": "0"}
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_SILENCE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_INTERRUPTED = "DagsterExecutionInterruptedError"


class RunError(CaliperDagsterError):
    """A run failed. The sentence is that of the step that failed first."""


@dataclass(frozen=True, slots=True)
class Done:
    """What one run has done."""

    hours: HourRange
    account: Account
    delivery: Delivery

    def __add__(self, other: Done) -> Done:
        return Done(
            HourRange.covering([*self.hours, *other.hours]),
            self.account + other.account,
            self.delivery + other.delivery,
        )


def dagster_home() -> Path:
    """``DAGSTER_HOME`` as a folder that is there, with the project's ``dagster.yaml`` in it.

    A ``dagster.yaml`` that is there already stays as it is.

    Raises:
        ConfigurationError: it is not set, or cannot be written to.
    """
    given = os.environ.get(HOME)
    if not given:
        raise ConfigurationError(
            f"{HOME} is not set: the folder in which Dagster keeps its runs and events."
        )
    home = Path(given).expanduser().absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / STANDING_CONFIGURATION.name).exists():
            shutil.copy(STANDING_CONFIGURATION, home)
    except OSError as error:
        raise ConfigurationError(
            f"{HOME} cannot be written to: {home} ({error.strerror})."
        ) from None
    os.environ[HOME] = str(home)
    return home


@contextmanager
def _no_warnings_logged() -> Iterator[None]:
    """Dagster tells of each of its attempts to reach its PostgreSQL; ours is one sentence."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of ``DAGSTER_HOME``.

    Raises:
        ConfigurationError: it cannot be opened.
    """
    home = dagster_home()
    try:
        with _no_warnings_logged():
            instance = dg.DagsterInstance.get()
    except CaliperDagsterError:
        raise
    except Exception as error:
        # Drivers and Dagster repeat addresses and passwords in their words.
        raise ConfigurationError(
            f"Dagster's own storage cannot be opened ({type(error).__name__}): check "
            f"DAGSTER_POSTGRES_URL and {home / STANDING_CONFIGURATION.name}."
        ) from None
    with instance:
        yield instance


def backfill(
    instance: dg.DagsterInstance,
    settings: Settings,
    hours: HourRange,
    *,
    written: Written,
    task: Task | None = None,
    fresh: bool = False,
    verbose: bool = False,
) -> Iterator[Done]:
    """Materialize all four assets for the hours, ``settings.hours_per_run`` hours in each run.

    Args:
        instance: where the runs are recorded.
        settings: what the assets are built for.
        hours: complete hours, not before ``settings.start``.
        written: called with every partition that is written, while a run goes on.
        task: what of the hours is to be done, and in which order; all without it.
        fresh: expand anew also the rows that were expanded before.
        verbose: let Dagster's own messages through to standard error.

    Yields:
        What each run has done, after it; first what was done before an interruption.

    Raises:
        RunError: a run failed; what was done before stays done.
        KeyboardInterrupt: a run was interrupted.
    """
    asked = {FRESH_TAG: "true"} if fresh else {}
    task = task or Task(tuple(pieces(hours, settings.hours_per_run)))
    return _runs(instance, settings, CHAIN_JOB, task, asked, written, verbose)


def resend(
    instance: dg.DagsterInstance,
    settings: Settings,
    hours: HourRange,
    *,
    everything: bool,
    written: Written,
    rejected: bool = False,
    verbose: bool = False,
) -> Iterator[Done]:
    """Send the events of the hours again: those that are not acknowledged, or all.

    Takes, yields and raises what ``backfill`` does; ``everything`` means all, ``rejected`` only
    those that the event store has refused.
    """
    asked = {RESEND_ALL_TAG: str(everything).lower()}
    if rejected:
        asked[SEND_TAG] = "rejected"
    task = Task(tuple(pieces(hours, settings.hours_per_run)))
    return _runs(instance, settings, RESEND_JOB, task, asked, written, verbose)


def bury_dead_runs(instance: dg.DagsterInstance) -> int:
    """Report runs as failed whose process on this machine is gone, and free what they hold.

    A process that was killed cannot say so: its run would look as if it went on for ever, and keep
    its place in the pools, for which the next run would wait.

    Returns:
        How many there were.
    """
    here, dead = f"{socket.gethostname()}/", 0
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        process = run.tags.get(_PROCESS_TAG, "")
        if process.startswith(here) and process != _process(int(process.split("/")[-2])):
            instance.report_run_failed(run, "The process of this run is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead += 1
    return dead


def pieces(hours: HourRange, size: int) -> Iterator[HourRange]:
    """The range in pieces of at most ``size`` hours."""
    for first in range(hours.start.number, hours.end.number, size):
        yield HourRange(Hour(first), min(Hour(first + size), hours.end))


def done(kept: PartitionStorage, hours: HourRange) -> Done:
    """What stands in the storage about the hours."""
    accounts = (Account.from_facts(kept.facts(CALIPER_EVENTS, hour)) for hour in hours)
    sent = (Delivery.from_facts(kept.facts(EMISSION_RESULTS, hour)) for hour in hours)
    return Done(hours, sum(accounts, Account()), sum(sent, Delivery()))


class Runner:
    """Makes runs of one job in this process, one after the other; only the first costs a start.

    Args:
        instance: where the runs are recorded.
        settings: what the assets are built for.
        job: the name of the job.
        written: called with every partition that is written, while a run goes on.
        verbose: let Dagster's own messages through to standard error.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        settings: Settings,
        job: str,
        *,
        written: Written,
        verbose: bool = False,
    ) -> None:
        self._storage = StorageResource(url=settings.storage)
        self.definitions = build_definitions(
            settings, resources={"storage": _Watched(self._storage, written)}
        )
        self._execute = partial(
            self.definitions.resolve_job_def(job).execute_in_process,
            instance=instance,
            run_config={} if verbose else _SILENCE,
            raise_on_error=False,
        )

    def run(self, hours: HourRange, asked: Mapping[str, str]) -> Done:
        """One run over the hours.

        Args:
            hours: as many as one run may take.
            asked: further tags of the run.

        Raises:
            RunError: it failed; what was done before stays done.
            KeyboardInterrupt: it was interrupted.
        """
        own = {_PROCESS_TAG: _process(os.getpid()), **_LOCATION_TAG, **_NO_RETRY_TAG}
        try:
            result = self._execute(tags={**asked, **range_tags(hours), **own})
        except dg.DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None
        if not result.success:
            raise _failure(result)
        return self.done(hours)

    def done(self, hours: HourRange) -> Done:
        """What was done about the hours, by whichever run."""
        return done(self._storage.open(), hours)


def _runs(
    instance: dg.DagsterInstance,
    settings: Settings,
    job: str,
    task: Task,
    asked: Mapping[str, str],
    written: Written,
    verbose: bool,
) -> Iterator[Done]:
    bury_dead_runs(instance)
    runner = Runner(instance, settings, job, written=written, verbose=verbose)
    for piece in task.before:
        yield runner.done(piece)
    for piece in task.left:
        yield runner.run(piece, {**asked, **task.tags})


class _Watched:
    """The storage resource, telling of every partition that is written."""

    def __init__(self, given: StorageResource, written: Written) -> None:
        self._given, self._written = given, written

    def open(self) -> PartitionStorage:
        return _WatchedStorage(self._given.location(), self._written)


class _WatchedStorage(PartitionStorage):
    def __init__(self, url: str, written: Written) -> None:
        super().__init__(url)
        self._written = written

    def write(self, frame: Frame, hour: Hour, table: pa.Table, facts: Facts | None = None) -> int:
        size = super().write(frame, hour, table, facts)
        self._written(frame, hour)
        return size


def _failure(result: dg.ExecuteInProcessResult) -> BaseException:
    """The first failed step's own sentence; for what is not ours, where to look."""
    for event in result.all_events:
        if event.is_step_failure:
            failed = event.step_failure_data
            if failed.error is not None and failed.error.cls_name == _INTERRUPTED:
                return KeyboardInterrupt()
            if failed.user_failure_data is not None and failed.user_failure_data.description:
                return RunError(failed.user_failure_data.description)
            kind = failed.error.cls_name if failed.error is not None else "no reason given"
            return RunError(
                f"The step {event.step_key} failed ({kind}): see run {result.run_id} in the web "
                "UI, or use --verbose."
            )
    return RunError(f"The run {result.run_id} failed: see it in the web UI, or use --verbose.")


def _process(number: int) -> str:
    """A process on this machine: host, number, and when it began, for numbers are used again."""
    try:
        began = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        began = "" if _is_alive(number) else "gone"
    return f"{socket.gethostname()}/{number}/{began}"


def _is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
