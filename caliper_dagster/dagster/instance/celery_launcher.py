"""Dagster's launcher for Celery, which also sees that a worker is gone.

A worker that was killed leaves its task as ``STARTED`` in the result backend for ever, and Dagster
1.13 believes that: its run would look as if it went on. Here the worker is asked too, so that run
monitoring ends such a run, and run retries start it again on another worker. Like
``dagster_storage`` this uses an interface of Dagster that is not documented.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery import launcher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

_ASKED = 3
_SECONDS = 5.0
"""A worker that is busy answers within a second; a machine that is very busy gets longer."""


class CeleryRunLauncher(launcher.CeleryRunLauncher):
    """What ``run_launcher`` of ``deploy/celery/dagster.yaml`` names."""

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """What the result backend says of the run's task, and the worker that has it."""
        told = super().check_run_worker_health(run)
        if told.status is not WorkerStatus.RUNNING:
            return told
        task = run.tags[DAGSTER_CELERY_TASK_ID_TAG]
        worker = (self.celery.AsyncResult(task).info or {}).get("hostname")
        for _ in range(_ASKED):
            answers = self.celery.control.inspect([worker], timeout=_SECONDS).query_task(task)
            if answers is not None:
                break
        else:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"The worker {worker} is gone.")
        if task in answers.get(worker, {}):
            return told
        # It has ended meanwhile, or the worker has begun anew and knows nothing of it.
        told = super().check_run_worker_health(run)
        if told.status is not WorkerStatus.RUNNING:
            return told
        return CheckRunHealthResult(WorkerStatus.FAILED, f"The worker {worker} was started anew.")
