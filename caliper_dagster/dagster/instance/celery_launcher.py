"""Dagster's run launcher for Celery, with detection of killed workers.

A killed worker leaves its task as ``STARTED`` in the result backend for ever, and Dagster 1.13
takes the run for running. This launcher also asks the worker, so that run monitoring fails such a
run and run retries start it again on another worker. It uses an undocumented interface of Dagster,
like ``storage``.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery import launcher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

_ATTEMPTS = 3
_TIMEOUT = 5.0
"""Seconds per attempt. A busy worker answers within a second, on a busy machine later."""


class CeleryRunLauncher(launcher.CeleryRunLauncher):
    """The class that ``run_launcher`` in ``deploy/celery/dagster.yaml`` names."""

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """The health of a run, by the result backend and by the worker of its task."""
        health = super().check_run_worker_health(run)
        if health.status is not WorkerStatus.RUNNING:
            return health
        task = run.tags[DAGSTER_CELERY_TASK_ID_TAG]
        worker = (self.celery.AsyncResult(task).info or {}).get("hostname")
        for _ in range(_ATTEMPTS):
            answers = self.celery.control.inspect([worker], timeout=_TIMEOUT).query_task(task)
            if answers is not None:
                break
        else:
            return CheckRunHealthResult(
                WorkerStatus.FAILED, f"The worker {worker} does not answer."
            )
        if task in answers.get(worker, {}):
            return health
        # The task has ended since, or the worker was restarted and does not know the task.
        health = super().check_run_worker_health(run)
        if health.status is not WorkerStatus.RUNNING:
            return health
        return CheckRunHealthResult(WorkerStatus.FAILED, f"The worker {worker} was restarted.")
