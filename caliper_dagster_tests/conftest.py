"""What every test run has: the folder that its processes share, in which servers are started."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from xdist.workermanage import WorkerController

from caliper_dagster_tests.harness import servers

# A slow machine is no failure. `make unit` takes the profile `quick`, all other runs take `full`.
# A test that wants another number of examples says so with `harness/examples.py`.
hypothesis.settings.register_profile("full", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
hypothesis.settings.load_profile("full")

_run_key = pytest.StashKey[servers.Run]()
_folder_key = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        config.stash[_folder_key] = Path(worker_input["servers_folder"])
        return
    run = servers.begin_run()
    config.stash[_run_key] = run
    config.stash[_folder_key] = run.folder


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    node.workerinput["servers_folder"] = str(node.config.stash[_folder_key])


def pytest_unconfigure(config: pytest.Config) -> None:
    run = config.stash.get(_run_key, None)
    if run is not None:
        run.end()


@pytest.fixture(scope="session")
def servers_folder(pytestconfig: pytest.Config) -> Path:
    """The folder that all processes of this test run share."""
    return pytestconfig.stash[_folder_key]
