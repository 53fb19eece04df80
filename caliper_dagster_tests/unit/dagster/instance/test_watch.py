"""A run's page in the web UI follows the run while it goes on."""

import threading
from pathlib import Path

import dagster as dg
from dagster import EventLogEntry
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster_tests.harness.environment import environment

SECONDS = 30


@dg.op
def step() -> None:
    """Does nothing."""


@dg.job(executor_def=dg.in_process_executor)
def job() -> None:
    """One step."""
    step()


def test_events_are_told_while_the_writer_keeps_its_files_open(tmp_path: Path) -> None:
    told: list[str] = []
    ended = threading.Event()

    def tell(event: EventLogEntry, _cursor: str) -> None:
        told.append(event.dagster_event.event_type_value if event.dagster_event else "")
        if told[-1] == "PIPELINE_SUCCESS":
            ended.set()

    with (
        environment({"DAGSTER_HOME": str(tmp_path)}),
        open_instance() as reader,
        open_instance() as writer,
    ):
        run = writer.create_run_for_job(job)
        # Whoever looks at the page has the file open as well.
        reader.all_logs(run.run_id)
        reader.watch_event_logs(run.run_id, None, tell)
        execute_run(InMemoryJob(job), run, writer)
        assert ended.wait(SECONDS), told
    assert {"STEP_START", "STEP_SUCCESS"} <= set(told)
