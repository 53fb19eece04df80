"""Following the log: a long-running process takes the hour in progress every few seconds.

A run that Dagster's daemon starts needs seconds for its process and its imports. The follower makes
the same runs of the same job in one process. It takes only hours that are not yet due for the
schedule. The sensor takes late rows of other hours and retries failures; it leaves the hour in
progress to the follower as long as there is one.
"""

from __future__ import annotations

import time
from functools import partial

from caliper_dagster.config.connections import open_ledger, open_moodle, open_store
from caliper_dagster.core.errors import ConfigurationError, RunError
from caliper_dagster.dagster.assets import build_assets, emission_assets
from caliper_dagster.dagster.follower import record_heartbeat
from caliper_dagster.dagster.jobs import CHAIN_JOB, SCHEDULE_PRIORITY, priority
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs
from caliper_dagster.dagster.run_status import HourStatuses
from caliper_dagster.dagster.superseded_runs import delete_superseded_runs
from caliper_dagster.dagster.tags import COMMAND_TAG, REASON_TAG
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.delivery.log_watch import LogWatch, first_cursor
from caliper_dagster.delivery.watch_state import HourWindow, RunWanted, WatchCursor
from caliper_dagster.operations.run_outcome import RunOutcome
from caliper_dagster.operations.runner import JobRunner, RunContext


class Follower:
    """Takes the hour in progress of one site.

    Args:
        context: of the command.

    Raises:
        ConfigurationError: a setting is missing, or ``CALIPER_SEND_IMMEDIATELY`` is not true.
    """

    def __init__(self, context: RunContext) -> None:
        settings = context.settings
        if not settings.send_immediately:
            raise ConfigurationError(
                "CALIPER_SEND_IMMEDIATELY is not true: only then is the hour in progress sent."
            )
        fail_orphaned_runs(context.instance)
        self._instance, self._settings = context.instance, settings
        settings.require("moodle_db_url")
        self._store = open_store(settings)
        self._runner = JobRunner(context, CHAIN_JOB)
        self._results = emission_assets(build_assets(settings))
        self._cursor: WatchCursor | None = None

    def look(self) -> list[RunOutcome]:
        """Look for new rows once, and run the hours that have some.

        Returns:
            The outcome of each run.

        Raises:
            CaliperDagsterError: the log cannot be read, or a run failed. The other runs are made
                all the same. Later looks retry the hours of a failed run at growing intervals.
        """
        record_heartbeat(self._instance, self._settings, time.time())
        outcomes, failures = [], []
        for run in self._runs_wanted():
            try:
                tags = {COMMAND_TAG: "follow", REASON_TAG: run.reason.value}
                tags |= priority(SCHEDULE_PRIORITY)
                outcomes.append(self._runner.run(run.hours, tags))
            except RunError as error:
                failures.append(error)
        if outcomes:
            delete_superseded_runs(self._instance, self._settings)
        if failures:
            raise failures[0]
        return outcomes

    def _runs_wanted(self) -> list[RunWanted]:
        settings, now = self._settings, time.time()
        window = HourWindow.at(now, settings).only_hour_in_progress()
        with open_moodle(settings) as database:
            if self._cursor is None:
                self._cursor = first_cursor(database, None, window, now, since=window.due.start)
            self._cursor.frontier = window.due.number
            watch = LogWatch(
                database,
                self._store,
                self._cursor,
                window,
                now=now,
                max_hours=settings.hours_per_run,
            )
            return watch.look(self._statuses(), 60 * settings.late_margin)

    def _statuses(self) -> HourStatuses:
        deferred = deferred_hours(self._settings, partial(open_ledger, self._settings))
        return HourStatuses(self._instance, self._results, deferred)
