"""Runs that the command line makes: ranges of hours, one after the other, in this process.

They are runs of the same jobs in the same Dagster instance as those of the schedule, so the web UI
shows them and their hours. Here belongs how a range becomes runs and what a failed one says; which
ranges, and how the numbers look, is the business of ``cli``.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import dagster as dg
import pyarrow as pa

from caliper_dagster.accounting import Account, Delivery
from caliper_dagster.assets import FRESH_TAG, RESEND_ALL_TAG, SEND_TAG, asset_key, emission_step
from caliper_dagster.automation import CHAIN_JOB, RESEND_JOB
from caliper_dagster.catch_up import CATCH_UP
from caliper_dagster.definitions import build_definitions
from caliper_dagster.emitter import Ledger
from caliper_dagster.errors import CaliperDagsterError, ConfigurationError, RunError
from caliper_dagster.event_stores import (
    EventStoreDefinition,
    caliper_versions,
    chosen,
    event_stores,
    events_frame,
)
from caliper_dagster.frames import (
    CALIPER_EVENTS,
    EMISSION_RESULTS,
    EXPANDED_LOG,
    MOODLE_LOG,
    Frame,
)
from caliper_dagster.hours import Hour, HourRange, groups
from caliper_dagster.parallel import side_by_side
from caliper_dagster.partitions import range_tags
from caliper_dagster.processes import is_gone, process_name
from caliper_dagster.resources import StorageResource, storage_resource
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


@dataclass(frozen=True, slots=True)
class Done:
    """What one run has done, or several.

    Attributes:
        deliveries: by event store, a single one without a name; of hours that it has got.
        left: which event stores are still to get which hours.
        settled: which have got hours that were left over before.
        failure: the sentence of a run that left hours over because an event store failed.
    """

    hours: HourRange
    account: Account
    deliveries: Mapping[str, Delivery]
    left: frozenset[tuple[str, Hour]] = frozenset()
    settled: frozenset[tuple[str, Hour]] = frozenset()
    failure: str | None = None

    @property
    def delivery(self) -> Delivery:
        """All event stores' together."""
        return sum(self.deliveries.values(), Delivery())

    def __add__(self, other: Done) -> Done:
        nothing, names = Delivery(), {**self.deliveries, **other.deliveries}
        return Done(
            HourRange.covering([*self.hours, *other.hours]),
            self.account + other.account,
            {
                name: self.deliveries.get(name, nothing) + other.deliveries.get(name, nothing)
                for name in names
            },
            (self.left | other.left) - other.settled,
            failure=other.failure or self.failure,
        )

    def complain(self, settings: Settings) -> None:
        """Say which hours event stores of this site are still to get, if there are any.

        Raises:
            RunError: there are.
        """
        stores = Counter(name for name, _ in self.left)
        if stores:
            told = ", ".join(f"{hours:,} hour(s) of {name}" for name, hours in stores.items())
            why = f"{self.failure} " if self.failure else ""
            sensor = settings.own_name(CATCH_UP)
            raise RunError(f"{why}Left over: {told}; the sensor {sensor} sends them, or `resend`.")


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
    processes: int = 1,
) -> Iterator[Done]:
    """Materialize all assets for the hours, ``settings.hours_per_run`` hours in each run.

    What event stores do not get in these they get in runs of their own in the end.

    Args:
        instance: where the runs are recorded.
        settings: what the assets are built for.
        hours: complete hours, not before ``settings.start``.
        written: called with every partition that is written, while a run goes on.
        task: what of the hours is to be done, and in which order; all without it.
        fresh: expand anew also the rows that were expanded before.
        verbose: let Dagster's own messages through to standard error; only of this process.
        processes: how many runs are made side by side, each in a process of its own.

    Yields:
        What each run has done, after it; first what was done before an interruption.

    Raises:
        RunError: a run failed; what was done before stays done.
        KeyboardInterrupt: a run was interrupted.
    """
    asked = {FRESH_TAG: "true"} if fresh else {}
    task = task or Task(tuple(pieces(hours, settings.hours_per_run)))
    left: set[tuple[str, Hour]] = set()
    runs = _runs(instance, settings, CHAIN_JOB, task, asked, written, verbose, None, processes)
    for done in runs:
        left |= done.left
        yield done
    yield from _catch_up(instance, settings, left, written, verbose)


def resend(
    instance: dg.DagsterInstance,
    settings: Settings,
    hours: HourRange,
    *,
    everything: bool,
    written: Written,
    rejected: bool = False,
    event_store: str | None = None,
    verbose: bool = False,
) -> Iterator[Done]:
    """Send the events of the hours again: those that are not acknowledged, or all.

    Takes, yields and raises what ``backfill`` does; ``everything`` means all, ``rejected`` only
    those that the event store has refused, ``event_store`` only those of this one.

    Raises:
        ConfigurationError: there is no such event store.
    """
    asked = {RESEND_ALL_TAG: str(everything).lower()}
    if rejected:
        asked[SEND_TAG] = "rejected"
    task = Task(tuple(pieces(hours, settings.hours_per_run)))
    stores = event_stores(settings)
    only = chosen(stores, event_store) if event_store else None
    left: set[tuple[str, Hour]] = set()
    for done in _runs(instance, settings, RESEND_JOB, task, asked, written, verbose, only):
        left |= done.left
        yield done
    if not (everything or rejected):
        yield from _catch_up(instance, settings, left, written, verbose)


def bury_dead_runs(instance: dg.DagsterInstance) -> int:
    """Report runs as failed whose process on this machine is gone, and free what they hold.

    A process that was killed cannot say so: its run would look as if it went on for ever, and keep
    its place in the pools, for which the next run would wait.

    Returns:
        How many there were.
    """
    dead = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if is_gone(run.tags.get(_PROCESS_TAG, "")):
            instance.report_run_failed(run, "The process of this run is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            dead += 1
    return dead


def pieces(hours: HourRange, size: int) -> Iterator[HourRange]:
    """The range in pieces of at most ``size`` hours."""
    for first in range(hours.start.number, hours.end.number, size):
        yield HourRange(Hour(first), min(Hour(first + size), hours.end))


def done(
    kept: PartitionStorage | _Watched,
    hours: HourRange,
    results: Mapping[str, Frame] = MappingProxyType({"": EMISSION_RESULTS}),
    left: Mapping[str, Container[Hour]] = MappingProxyType({}),
) -> Done:
    """What stands in the storage about the hours.

    Args:
        kept: the storage.
        hours: all of which have been taken.
        results: the tables of the event stores.
        left: the hours that they have not got.
    """
    accounts = (Account.from_facts(kept.facts(CALIPER_EVENTS, hour)) for hour in hours)
    missing = {name: [hour for hour in hours if hour in left.get(name, ())] for name in results}
    return Done(
        hours,
        sum(accounts, Account()),
        {
            name: _delivered(kept, frame, (hour for hour in hours if hour not in missing[name]))
            for name, frame in results.items()
        },
        frozenset((name, hour) for name, of_store in missing.items() for hour in of_store),
    )


def _delivered(
    kept: PartitionStorage | _Watched, results: Frame, hours: Iterable[Hour]
) -> Delivery:
    sent = (Delivery.from_facts(kept.facts(results, hour)) for hour in hours)
    return sum(sent, Delivery())


class Runner:
    """Makes runs of one job in this process, one after the other; only the first costs a start.

    Args:
        instance: where the runs are recorded.
        settings: what the assets are built for.
        job: the name of the job, without that of the site.
        written: called with every partition that is written, while a run goes on.
        verbose: let Dagster's own messages through to standard error.
        only: send to this event store, and do nothing else.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        settings: Settings,
        job: str,
        *,
        written: Written,
        verbose: bool = False,
        only: EventStoreDefinition | None = None,
    ) -> None:
        self._settings = settings
        self._stores = (only,) if only else event_stores(settings)
        self._storage = _Watched(storage_resource(settings), written)
        self.definitions = build_definitions(settings, resources={"storage": self._storage})
        self._execute = partial(
            self.definitions.resolve_job_def(settings.own_name(job)).execute_in_process,
            instance=instance,
            run_config={} if verbose else _SILENCE,
            raise_on_error=False,
            asset_selection=[asset_key(settings, only.results)] if only else None,
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
        own = {_PROCESS_TAG: process_name(), **_LOCATION_TAG, **_NO_RETRY_TAG}
        self._storage.forget()
        try:
            result = self._execute(tags={**asked, **range_tags(hours), **own})
        except dg.DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None
        if result.success:
            return self.done(hours)
        failure = _failure(result)
        by_name = asked.get(RESEND_ALL_TAG) == "true" or SEND_TAG in asked
        several = len(self._stores) > 1 and not by_name
        only_sending = _only_sending_failed(result, self._settings)
        if several and isinstance(failure, RunError) and only_sending:
            done = self.done(hours)
            if done.left:
                return replace(done, failure=str(failure))
        raise failure

    def done(self, hours: HourRange) -> Done:
        """What was done about the hours: by the last run, else as it stands in the storage."""
        results = {store.name or "": store.results for store in self._stores}
        left = left_over(self._settings) if len(results) > 1 else {}
        return done(self._storage, hours, results, left)


def left_over(settings: Settings) -> Mapping[str, Mapping[Hour, int]]:
    """The hours that event stores are still to get in runs of their own, by event store."""
    with Ledger(settings.ledger()) as ledger:
        return ledger.left_over(settings.require("moodle_wwwroot")).all()


def frames(settings: Settings) -> tuple[Frame, ...]:
    """The tables of all assets."""
    versions = caliper_versions(settings)
    return (
        MOODLE_LOG,
        EXPANDED_LOG,
        *(events_frame(settings, version) for version in versions),
        *(store.results for store in event_stores(settings)),
    )


def _runs(
    instance: dg.DagsterInstance,
    settings: Settings,
    job: str,
    task: Task,
    asked: Mapping[str, str],
    written: Written,
    verbose: bool,
    only: EventStoreDefinition | None = None,
    processes: int = 1,
) -> Iterator[Done]:
    bury_dead_runs(instance)
    runner = Runner(instance, settings, job, written=written, verbose=verbose, only=only)
    for piece in task.before:
        yield runner.done(piece)
    tags = {**asked, **task.tags}
    if processes > 1:
        by_name = {frame.name: frame for frame in frames(settings)}
        yield from side_by_side(
            settings,
            job,
            task.left,
            tags,
            written=lambda name, hour: written(by_name[name], hour),
            processes=processes,
        )
    else:
        for piece in task.left:
            yield runner.run(piece, tags)


def _catch_up(
    instance: dg.DagsterInstance,
    settings: Settings,
    left: Collection[tuple[str, Hour]],
    written: Written,
    verbose: bool,
) -> Iterator[Done]:
    """Send each event store the hours that were left over, in runs of its own."""
    for store in event_stores(settings):
        wanted = {hour for name, hour in left if name == store.name}
        if not wanted:
            continue
        runner = Runner(instance, settings, CHAIN_JOB, written=written, verbose=verbose, only=store)
        failure: str | None = None
        try:
            # Others may have sent some of them meanwhile.
            still = wanted & set(left_over(settings).get(store.ledger_name(), {}))
            for piece in groups(still, settings.hours_per_run):
                runner.run(piece, {})
        except RunError as error:
            failure = str(error)
        got = wanted - set(left_over(settings).get(store.ledger_name(), {}))
        delivery = _delivered(PartitionStorage(settings.storage_url()), store.results, got)
        yield Done(
            HourRange.covering(wanted),
            Account(),
            {store.ledger_name(): delivery},
            settled=frozenset((store.ledger_name(), hour) for hour in got),
            failure=failure,
        )


class _Watched:
    """The storage resource, telling of every partition that is written, and remembering its facts.

    Another run may write the same hours again before anybody has asked what became of this one's.
    """

    def __init__(self, given: StorageResource, written: Written) -> None:
        self._given, self._written = given, written
        self._facts: dict[tuple[str, Hour], Facts] = {}

    def open(self) -> PartitionStorage:
        return _WatchedStorage(self._given.location(), self._note)

    def facts(self, frame: Frame, hour: Hour) -> Facts:
        own = self._facts.get((frame.name, hour))
        return self._given.open().facts(frame, hour) if own is None else own

    def forget(self) -> None:
        self._facts = {}

    def _note(self, frame: Frame, hour: Hour, facts: Facts) -> None:
        self._facts[frame.name, hour] = facts
        self._written(frame, hour)


class _WatchedStorage(PartitionStorage):
    def __init__(self, url: str, note: Callable[[Frame, Hour, Facts], None]) -> None:
        super().__init__(url)
        self._note = note

    def write(self, frame: Frame, hour: Hour, table: pa.Table, facts: Facts | None = None) -> int:
        size = super().write(frame, hour, table, facts)
        self._note(frame, hour, facts or {})
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


def _only_sending_failed(result: dg.ExecuteInProcessResult, settings: Settings) -> bool:
    failed = {event.step_key for event in result.all_events if event.is_step_failure}
    return failed == {emission_step(settings)}
