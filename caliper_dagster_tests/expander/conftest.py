from __future__ import annotations

from pathlib import Path

import pytest

from caliper_dagster_tests.expander.support import Site


@pytest.fixture(params=["mariadb", "postgresql", "sqlite"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind: the SQLAlchemy URL of its owner."""
    if request.param == "sqlite":
        path = tmp_path / "moodle.sqlite"
        path.touch()
        return f"sqlite:///{path}"
    return request.getfixturevalue(
        {"mariadb": "mariadb_url", "postgresql": "postgres_url"}[request.param]
    )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "moodle.sqlite")
