"""Fixtures of an installation on the sample site, for the ``conftest.py`` of those that need it.

They import Dagster when they are used: the process that distributes the tests loads this module,
too, and the others wait for it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from caliper_dagster_tests.harness.sample_installation import SampleInstallation


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SampleInstallation]:
    """An installation of the test's own."""
    from caliper_dagster_tests.harness.sample_installation import sample_installation

    with sample_installation(tmp_path) as installation:
        yield installation


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleInstallation]:
    """One installation for all tests of a module, none of which changes it."""
    from caliper_dagster_tests.harness.sample_installation import sample_installation

    with sample_installation(tmp_path_factory.mktemp("shared")) as installation:
        yield installation


@pytest.fixture
def as_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests that call a command: a folder without `.env`, and signals as before afterwards."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])
