"""The sample site, and fixtures that ``servers/conftest.py`` gives again with servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from caliper_dagster_tests.sample_fixtures import as_a_process, shared_site, site

__all__ = ["as_a_process", "shared_site", "site"]


@pytest.fixture
def empty_url(tmp_path: Path) -> str:
    """An empty database: its SQLAlchemy URL."""
    path = tmp_path / "moodle.sqlite"
    path.touch()
    return f"sqlite:///{path}"


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """URL of a ledger that does not exist yet."""
    return f"sqlite:///{tmp_path / 'new' / 'ledger.sqlite'}"


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    """An empty place for partitions: its ``CALIPER_STORAGE``."""
    return str(tmp_path)
