"""Runs that a command executes in its own process, recorded as those that Dagster launches.

Dagster's ``execute_in_process`` is made for tests. Its runs name no code location, and the snapshot
of their job is that of a variant with another executor. The web UI lists such runs under no job,
leaves them out of its overview, and warns before it executes one again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from inspect import signature
from typing import Any, Protocol

import dagster as dg

_REPOSITORY = "__repository__"
"""The name that Dagster gives to the repository of a ``Definitions`` object."""


class RunResult(Protocol):
    """What is read of a run after its end."""

    @property
    def run_id(self) -> str:
        """The id of the run."""

    @property
    def success(self) -> bool:
        """Whether the run succeeded."""

    @property
    def all_events(self) -> Collection[dg.DagsterEvent]:
        """The events of the run, in their order."""


def run_in_process(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    code_location: str,
    *,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
    assets: Collection[dg.AssetKey] | None = None,
) -> RunResult:
    """Run a job in this process, and record the run as one of the code location.

    Where the installed Dagster does not have the undocumented functions that this needs, the run is
    recorded without its code location.

    Args:
        job: has ``in_process_executor``, and the same snapshot as the job that the code location
            has by this name.
        instance: records the run.
        code_location: the name of the code location in Dagster's workspace.
        run_config: of the run.
        tags: of the run, beside those of the job.
        assets: materialize only these assets of the job; all of them if omitted.

    Returns:
        The run after its end, also if it failed.

    Raises:
        DagsterExecutionInterruptedError: the run was interrupted.
    """
    try:
        execute = _with_origin(job, instance, code_location, run_config, tags, assets)
    except (ImportError, AttributeError, TypeError):
        selection = None if assets is None else list(assets)
        execute = partial(
            job.execute_in_process,
            instance=instance,
            run_config=run_config,
            tags=dict(tags),
            asset_selection=selection,
            raise_on_error=False,
        )
    return execute()


def _with_origin(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    code_location: str,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
    assets: Collection[dg.AssetKey] | None,
) -> Callable[[], RunResult]:
    """What creates and executes the run; nothing of it has begun."""
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import execute_run
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin

    location = RegisteredCodeLocationOrigin(code_location)
    create = partial(
        instance.create_run_for_job,
        job_def=job,
        run_config=run_config,
        tags={**job.run_tags, **tags},
        asset_selection=None if assets is None else frozenset(assets),
        remote_job_origin=RemoteRepositoryOrigin(location, _REPOSITORY).get_job_origin(job.name),
    )
    signature(create.func).bind(**create.keywords)
    signature(execute_run).bind(InMemoryJob(job), None, instance, raise_on_error=False)

    def execute() -> RunResult:
        return execute_run(InMemoryJob(job), create(), instance, raise_on_error=False)

    return execute
