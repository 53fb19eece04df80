"""Following the log: the hour in progress, taken every few seconds in a process that stays.

A run that the daemon starts costs seconds before its first step: a process, and imports. This one
makes the same runs of the same job one after the other in one process. It takes only what the
schedule has not had to take yet; late rows of other hours, and what failed, stay with the sensor,
which in turn leaves the hour in progress to the follower as long as there is one.
"""

from __future__ import annotations

import time

import dagster as dg

from caliper_dagster.config.connections import open_moodle, open_store
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError, RunError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.dagster.assets import emission
from caliper_dagster.dagster.jobs import CHAIN_JOB, SCHEDULE_PRIORITY, priority
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs
from caliper_dagster.dagster.resources import LedgerResource
from caliper_dagster.dagster.run_status import Statuses
from caliper_dagster.dagster.sensors.late_rows import (
    bounds_at,
    delete_superseded_runs,
    note_follower,
)
from caliper_dagster.dagster.tags import REASON_TAG
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.delivery.log_watch import LogWatch, WatchCursor, first_cursor
from caliper_dagster.operations.run_outcome import RunOutcome
from caliper_dagster.operations.runner import Runner


class Follower:
    """Takes the hour in progress.

    Args:
        instance: where the runs are recorded.
        settings: what the assets are built for.
        verbose: let Dagster's own messages through to standard error.

    Raises:
        ConfigurationError: a setting is missing, or says that nothing is sent immediately.
    """

    def __init__(
        self, instance: dg.DagsterInstance, settings: Settings, *, verbose: bool = False
    ) -> None:
        if not settings.send_immediately:
            raise ConfigurationError(
                "CALIPER_SEND_IMMEDIATELY is not true: only then is the hour in progress sent."
            )
        fail_orphaned_runs(instance)
        self._instance, self._settings = instance, settings
        settings.require("moodle_db_url")
        self._storage = open_store(settings)
        self._ledger = settings.ledger()
        self._runner = Runner(instance, settings, CHAIN_JOB, written=_ignore, verbose=verbose)
        self._results = emission(self._runner.definitions.assets or [])
        self._memory: WatchCursor | None = None

    def look(self) -> list[RunOutcome]:
        """Look for new rows once, and take the hours that hold some.

        Returns:
            What was done, run by run.

        Raises:
            CaliperDagsterError: the log cannot be read, or a run failed; the others were made all
                the same. The hours of a failed run are taken again by later looks, at growing
                intervals.
        """
        settings, now = self._settings, time.time()
        note_follower(self._instance, settings, now)
        bounds = bounds_at(now, settings)
        bounds = bounds._replace(start=max(bounds.start, bounds.due), overdue=bounds.start)
        with open_moodle(settings) as database:
            if self._memory is None:
                self._memory = first_cursor(database, None, bounds, now, since=bounds.due.start)
            self._memory.frontier = bounds.due.number
            watch = LogWatch(
                database,
                self._storage,
                self._memory,
                bounds,
                now=now,
                most=settings.hours_per_run,
            )
            wanted = watch.look(self._statuses(), 60 * settings.late_margin)
        done, failures = [], []
        for asked in wanted:
            try:
                tags = {**priority(SCHEDULE_PRIORITY), REASON_TAG: asked.reason}
                done.append(self._runner.run(asked.hours, tags))
            except RunError as error:
                failures.append(error)
        if done:
            delete_superseded_runs(self._instance, settings)
        if failures:
            raise failures[0]
        return done

    def _statuses(self) -> Statuses:
        ledger = LedgerResource(url=self._ledger)
        return Statuses(self._instance, self._results, deferred_hours(self._settings, ledger.open))


def _ignore(_frame: Frame, _hour: Hour) -> None:
    """Nobody watches single partitions here."""
