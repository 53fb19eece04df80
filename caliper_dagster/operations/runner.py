"""Runs of one job in this process, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import dagster as dg

from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    event_stores,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import RunError
from caliper_dagster.core.hours import HourRange
from caliper_dagster.core.process_identity import process_name
from caliper_dagster.dagster.assets import asset_key, emission_step
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.orphaned_runs import PROCESS_TAG
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.dagster.resources import storage_resource
from caliper_dagster.dagster.tags import RESEND_ALL_TAG, SEND_TAG
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.operations.run_outcome import (
    RunOutcome,
    WatchedStorageResource,
    Written,
    read_outcome,
)

# What the web UI puts on the runs that it starts itself, to find them under their job.
_LOCATION_TAG = {".dagster/repository": "__repository__@caliper_dagster.definitions"}


# Nobody else may start such a run again: this process tells what happened, and ends.
_NO_RETRY_TAG = {"dagster/max_retries": "0"}


_SILENCE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


_INTERRUPTED = "DagsterExecutionInterruptedError"


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
        self._storage = WatchedStorageResource(storage_resource(settings), written)
        self.definitions = build_definitions(settings, resources={"storage": self._storage})
        self._execute = partial(
            self.definitions.resolve_job_def(settings.site_name(job)).execute_in_process,
            instance=instance,
            run_config={} if verbose else _SILENCE,
            raise_on_error=False,
            asset_selection=[asset_key(settings, only.results)] if only else None,
        )

    def run(self, hours: HourRange, asked: Mapping[str, str]) -> RunOutcome:
        """One run over the hours.

        Args:
            hours: as many as one run may take.
            asked: further tags of the run.

        Raises:
            RunError: it failed; what was done before stays done.
            KeyboardInterrupt: it was interrupted.
        """
        own = {PROCESS_TAG: process_name(), **_LOCATION_TAG, **_NO_RETRY_TAG}
        self._storage.forget()
        try:
            result = self._execute(tags={**asked, **range_tags(hours), **own})
        except dg.DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None
        if result.success:
            return self.read_outcome(hours)
        failure = _failure(result)
        by_name = asked.get(RESEND_ALL_TAG) == "true" or SEND_TAG in asked
        several = len(self._stores) > 1 and not by_name
        only_sending = _only_sending_failed(result, self._settings)
        if several and isinstance(failure, RunError) and only_sending:
            done = self.read_outcome(hours)
            if done.left:
                return replace(done, failure=str(failure))
        raise failure

    def read_outcome(self, hours: HourRange) -> RunOutcome:
        """What was done about the hours: by the last run, else as it stands in the storage."""
        results = {store.name or "": store.results for store in self._stores}
        left = deferred_hours(self._settings)
        return read_outcome(self._storage, hours, results, left)


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
