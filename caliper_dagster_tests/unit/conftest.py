"""The sample site, and fixtures that ``servers/conftest.py`` gives again with servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from caliper_dagster_tests.sample_fixtures import as_a_process, shared_site, site

__all__ = ["as_a_process", "shared_site", "site"]


@pytest.fixture(scope="session", autouse=True)
def scripts_of_alembic() -> Iterator[None]:
    """Dagster's migrations, read once.

    Alembic would import all of them again for each storage of each instance that is opened.
    """
    read, found = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in found:
            found[place] = read(config)
        return found[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


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
