"""Rights of persons in Dagster: runs under way during an erasure, the job for Moodle's requests.

``delivery.persons`` does the work. A run that was under way when a person was erased may still
write hours that it has read before; so whoever erases waits for such runs, and searches again.
https://docs.dagster.io/guides/automate/sensors

(This module has no ``from __future__ import annotations``: Dagster reads the op's annotations.)
"""

import time
from collections.abc import Callable, Collection
from typing import TypeVar

import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.instance.run_files import UNFINISHED
from caliper_dagster.dagster.jobs import site_tags
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs
from caliper_dagster.dagster.resources import as_dagster_failure

PERSONS_JOB = "rights_of_persons"
_INTERVAL = 900
_POLL = 2
_LONGEST_WAIT = 3_600

Result = TypeVar("Result")


class RunsUnderWayError(Exception):
    """Runs that began before an erasure do not end."""


def after_runs_under_way(
    instance: dg.DagsterInstance,
    work: Callable[[], Result],
    tell: Callable[[str], None],
    *,
    but: str | None = None,
    longest_wait: float = _LONGEST_WAIT,
) -> Result:
    """Do something that searches stored hours, and again when the runs of that time have ended.

    Args:
        instance: has the runs.
        work: what is done; the second time it finds what such runs have written meanwhile.
        tell: told what is waited for.
        but: id of the run that does it.
        longest_wait: seconds.

    Returns:
        What the first call returned.

    Raises:
        RunsUnderWayError: a run did not end in time.
    """
    fail_orphaned_runs(instance)
    before = _under_way(instance, but)
    result = work()
    waiting, deadline = before & _under_way(instance, but), time.monotonic() + longest_wait
    if waiting:
        tell(f"Waiting for {plural(len(waiting), 'run')} that began before.")
    while waiting:
        if time.monotonic() > deadline:
            raise RunsUnderWayError
        time.sleep(_POLL)
        fail_orphaned_runs(instance)
        waiting &= _under_way(instance, but)
    if before:
        work()
    return result


def _under_way(instance: dg.DagsterInstance, but: str | None) -> set[str]:
    started = [status for status in UNFINISHED if status not in _NOT_STARTED]
    return set(instance.get_run_ids(dg.RunsFilter(statuses=started))) - {but or ""}


_NOT_STARTED: Collection[dg.DagsterRunStatus] = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
)


def persons_definitions(settings: Settings) -> dg.Definitions:
    """The job and the sensor of a site; nothing where no setting asks for them."""
    if not settings.erase_deleted_users:
        return dg.Definitions()
    job = _job(settings)
    return dg.Definitions(jobs=[job], sensors=[_sensor(job, settings)])


def _job(settings: Settings) -> dg.JobDefinition:
    @dg.op(
        name=settings.site_name("answer_requests_of_persons"),
        description="Erases whom Moodle has deleted, and exports what Moodle's data requests ask "
        "for.",
        config_schema={},
    )
    def answer_requests(context: dg.OpExecutionContext) -> None:
        from caliper_dagster.delivery.persons.requests import answer, pending

        with as_dagster_failure():
            wanted = pending(settings)
            try:
                sentences = after_runs_under_way(
                    context.instance,
                    lambda: answer(settings, wanted),
                    context.log.info,
                    but=context.run_id,
                )
            except RunsUnderWayError:
                raise dg.Failure(
                    "Runs that began before the erasure do not end: end them in the web UI. The "
                    "erasure is tried again.",
                    allow_retries=False,
                ) from None
        for sentence in sentences:
            context.log.info(sentence)
        context.add_output_metadata({"done": "\n".join(sentences) or "Nothing was asked for."})

    @dg.job(
        name=settings.site_name(PERSONS_JOB),
        description="Erases persons whom Moodle has deleted, and exports what Moodle's data "
        "requests ask for. Each request is answered once.",
        tags=site_tags(settings),
        executor_def=dg.in_process_executor,
    )
    def rights_of_persons() -> None:
        answer_requests()

    return rights_of_persons


def _sensor(job: dg.JobDefinition, settings: Settings) -> dg.SensorDefinition:
    @dg.sensor(
        name=settings.site_name(f"{PERSONS_JOB}_sensor"),
        job=job,
        minimum_interval_seconds=_INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests a run when Moodle has deleted a user or approved a data request "
        "(CALIPER_ERASE_DELETED_USERS).",
    )
    def look_for_requests(
        context: dg.SensorEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        from caliper_dagster.delivery.persons.requests import pending

        fail_orphaned_runs(context.instance)
        filters = dg.RunsFilter(job_name=job.name, statuses=UNFINISHED)
        if context.instance.get_run_ids(filters, limit=1):
            return dg.SkipReason("A run answers them now.")
        wanted = pending(settings)
        if not wanted:
            return dg.SkipReason("Moodle asks for nothing that has not been done.")
        return dg.RunRequest()

    return look_for_requests
