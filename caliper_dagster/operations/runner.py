"""Runs of one job in this process, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import dagster as dg

from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    event_stores,
    events_frame,
    first_events_frame,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import RunError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hours import Hour, HourRange, groups
from caliper_dagster.core.process_identity import process_name
from caliper_dagster.dagster.assets import WITHHELD_HOURS, asset_key, emission_step_name
from caliper_dagster.dagster.build import build_definitions, project_definitions
from caliper_dagster.dagster.instance.run_in_process import RunResult, run_in_process
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.dagster.resources import StorageResource
from caliper_dagster.dagster.tags import HOURS_TAG, PROCESS_TAG, RESEND_ALL_TAG, SEND_TAG
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.operations.run_outcome import (
    OnWritten,
    RunOutcome,
    WatchedStorageResource,
    read_outcome,
)

# No other process may retry such a run: this process reports the failure and ends.
_NO_RETRY_TAG = {"dagster/max_retries": "0"}
_SILENT_RUN_CONFIG = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_INTERRUPTED = "DagsterExecutionInterruptedError"


def _ignore(_frame: Frame, _hour: Hour) -> None:
    """The default of ``RunContext.on_written``."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all runs of one command share.

    Attributes:
        instance: records the runs.
        settings: of the site.
        on_written: called after every partition that a run writes.
        verbose: print Dagster's messages to standard error; only those of this process.
    """

    instance: dg.DagsterInstance
    settings: Settings
    on_written: OnWritten = _ignore
    verbose: bool = False


class JobRunner:
    """Runs one job in this process, any number of times; only the first run pays for the start.

    Args:
        context: of the command.
        job: the name of the job, without the name of the site.
        only: send to this event store, and materialize nothing else.
        translate: materialize only the events and their delivery, from rows that are expanded.
    """

    def __init__(
        self,
        context: RunContext,
        job: str,
        *,
        only: EventStoreDefinition | None = None,
        translate: bool = False,
    ) -> None:
        self._settings = settings = context.settings
        self._stores = (only,) if only else event_stores(settings)
        self._storage = WatchedStorageResource(StorageResource(settings), context.on_written)
        # With several sites, Dagster loads all of them, and a job lists the resources of all.
        resources = {settings.site_name("storage"): self._storage}
        if settings.host is not None:
            definitions = build_definitions(settings, resources=resources)
        else:
            only_site = None if settings.site else settings
            definitions = project_definitions(only_site, resources=resources)
        self._job = definitions.resolve_job_def(settings.site_name(job))
        self._instance = context.instance
        self._run_config = {} if context.verbose else _SILENT_RUN_CONFIG
        self._assets = self._selection(translate) if only or translate else None

    def _selection(self, translate: bool) -> list[dg.AssetKey]:
        frames = [store.results for store in self._stores]
        if translate:
            frames += {events_frame(self._settings, store.rendering) for store in self._stores}
        return [asset_key(self._settings, frame) for frame in frames]

    def run(self, hours: HourRange, tags: Mapping[str, str]) -> RunOutcome:
        """Run the job once.

        Args:
            hours: the hours, at most ``settings.hours_per_run``.
            tags: further tags of the run.

        Returns:
            The outcome. Of a run that failed only because hours are withheld, or because event
            stores did not receive hours that are deferred now, it has the sentence.

        Raises:
            RunError: the run failed. What it completed before stays completed.
            KeyboardInterrupt: the run was interrupted.
        """
        own_tags = {HOURS_TAG: str(hours), PROCESS_TAG: process_name(), **_NO_RETRY_TAG}
        self._storage.forget()
        try:
            result = run_in_process(
                self._job,
                self._instance,
                self._settings.code_location,
                run_config=self._run_config,
                tags={**tags, **range_tags(hours), **own_tags},
                assets=self._assets,
            )
        except dg.DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None
        if result.success:
            return self.read_outcome(hours)
        failure = _failure(result)
        if isinstance(failure, RunError) and self._only_sending_failed(result):
            sends_new_events = tags.get(RESEND_ALL_TAG) != "true" and SEND_TAG not in tags
            only_withheld = _is_only_withheld(result)
            if only_withheld or (len(self._stores) > 1 and sends_new_events):
                outcome = self.read_outcome(hours)
                if outcome.deferred or only_withheld:
                    return replace(outcome, failure=str(failure))
        raise failure

    def read_outcome(self, hours: HourRange) -> RunOutcome:
        """The outcome of the hours in the last run, or else as the store has it."""
        results = {store.name or "": store.results for store in self._stores}
        deferred, events = deferred_hours(self._settings), first_events_frame(self._settings)
        return read_outcome(self._storage, hours, results, deferred, events=events)

    def still_stored(self, ranges: Sequence[HourRange]) -> list[HourRange]:
        """The hours of the ranges whose outcome can be read: others were pruned meanwhile."""
        if not ranges:
            return []
        store, deferred = self._storage.open(), deferred_hours(self._settings)
        hours = set(store.hour_sizes(first_events_frame(self._settings)))
        for destination in self._stores:
            of_store = {*store.hour_sizes(destination.results)}
            hours &= of_store.union(deferred.get(destination.name or "", ()))
        return groups(
            [hour for part in ranges for hour in part if hour in hours],
            self._settings.hours_per_run,
        )

    def _only_sending_failed(self, result: RunResult) -> bool:
        failed = {event.step_key for event in result.all_events if event.is_step_failure}
        return failed == {emission_step_name(self._settings)}


def _is_only_withheld(result: RunResult) -> bool:
    """Whether a run failed for nothing else than hours that are withheld."""
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return any(
        failed.user_failure_data is not None and WITHHELD_HOURS in failed.user_failure_data.metadata
        for failed in failures
    )


def _failure(result: RunResult) -> BaseException:
    """The sentence of the first failed step; for errors that are not ours, where to look."""
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
