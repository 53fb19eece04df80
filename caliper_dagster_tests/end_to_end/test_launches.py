"""Launches by GraphQL that carry a config: none changes a resource, or shows a variable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from caliper_dagster.core.frames import FRAMES, MOODLE_LOG
from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster_tests.harness.commands import command_line
from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.hostile_store import HostileStore
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
    sample_installation,
)

PLANTED = "planted-in-a-variable"
SELECTOR = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "caliper_dagster.definitions",
}
LAUNCH = """
mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } } } }
"""
BACKFILL = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { __typename
    ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
"""
STATUS = """
query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status error { message stack } } } }
"""
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleInstallation]:
    with sample_installation(tmp_path_factory.mktemp("launches"), students=3) as found:
        yield found


@pytest.fixture(scope="module")
def ask(site: SampleInstallation) -> Iterator[Ask]:
    """A request to the web server of the installation; the answer as data."""
    port = free_port()
    process = subprocess.Popen(
        command_line("dev", "--port", str(port)),
        cwd=site.folder,
        env=clean_environment(dict(os.environ)) | dict(site.environment) | {"PLANTED": PLANTED},
    )

    def post(query: str, **variables: object) -> Any:
        for _ in range(900):
            assert process.poll() is None
            try:
                answer = requests.post(
                    f"http://127.0.0.1:{port}/graphql",
                    json={"query": query, "variables": variables},
                    timeout=60,
                )
            except requests.ConnectionError:
                time.sleep(0.2)
                continue
            assert PLANTED not in answer.text
            return answer.json()["data"]
        raise AssertionError("the web server does not answer")

    try:
        yield post
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def hostile(url: str, folder: Path) -> list[dict[str, object]]:
    """Run configs that would send or write elsewhere, or read a variable."""
    values: list[object] = [{"env": "PLANTED"}, url, str(folder), {"url": {"env": "PLANTED"}}]
    resources: dict[str, object] = {
        "caliper_moodle": {"url": f"sqlite:///{folder}/moodle.sqlite"},
        "caliper_event_stores": {"url": url},
        "caliper_storage": {"url": str(folder)},
        "caliper_ledger": {"url": f"sqlite:///{folder}/ledger.sqlite"},
        "io_manager": {"base_dir": {"env": "PLANTED"}},
    }
    return [
        *({"resources": {name: {"config": config}}} for name, config in resources.items()),
        *({"resources": {"caliper_event_stores": {"config": value}}} for value in values),
        {"ops": {"emission_results": {"config": {"resend_all": {"env": "PLANTED"}}}}},
        {"ops": {"emission_results": {"config": {"url": url}}}},
        {"loggers": {"console": {"config": {"name": {"env": "PLANTED"}}}}},
        {"execution": {"config": {"marker_to_close": {"env": "PLANTED"}}}},
    ]


def test_no_launch_changes_where_a_run_reads_writes_or_sends(
    site: SampleInstallation, ask: Ask, tmp_path: Path
) -> None:
    with HostileStore() as elsewhere:
        for config in hostile(elsewhere.url, tmp_path):
            for job in (CHAIN_JOB, RESEND_JOB):
                tags = [{"key": "dagster/partition", "value": HOURS.start.key}]
                params = {
                    "selector": {**SELECTOR, "jobName": job},
                    "runConfigData": json.dumps(config),
                    "executionMetadata": {"tags": tags},
                }
                answer = ask(LAUNCH, params=params)["launchRun"]
                assert answer["__typename"] == "RunConfigValidationInvalid", (config, answer)
        assert elsewhere.bodies == []
    assert list(tmp_path.iterdir()) == []
    assert site.arrived().envelopes == 0
    assert ask("{ runsOrError { ... on Runs { count } } }")["runsOrError"]["count"] == 0


def test_no_backfill_changes_it_either(site: SampleInstallation, ask: Ask, tmp_path: Path) -> None:
    """Dagster reads a backfill's config when it starts the runs, and then refuses it."""
    with HostileStore() as elsewhere:
        ids = []
        for config in hostile(elsewhere.url, tmp_path)[:3]:
            params = {
                "assetSelection": [{"path": [frame.name]} for frame in FRAMES],
                "partitionNames": [HOURS.start.key],
                "runConfigData": json.dumps(config),
            }
            answer = ask(BACKFILL, params=params)["launchPartitionBackfill"]
            assert answer["__typename"] == "LaunchBackfillSuccess", answer
            ids.append(answer["backfillId"])
        for backfill in ids:
            while (found := ask(STATUS, id=backfill)["partitionBackfillOrError"])["status"] in (
                "REQUESTED",
                "FAILING",
            ):
                time.sleep(1)
            assert found["status"] == "FAILED", found
        assert elsewhere.bodies == []
    assert list(tmp_path.iterdir()) == []
    assert not site.storage.exists(MOODLE_LOG, HOURS.start)
