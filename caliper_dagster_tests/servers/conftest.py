"""Database servers and an object store, also in place of what the unit tier has instead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from caliper_dagster.emitter import Ledger
from caliper_dagster_tests.sample_fixtures import site
from caliper_dagster_tests.server_fixtures import (
    bucket,
    mariadb_server,
    mariadb_url,
    moodle_dump_mariadb,
    moodle_dump_postgres,
    object_store,
    postgres_server,
    postgres_url,
)

__all__ = [
    "bucket",
    "mariadb_server",
    "mariadb_url",
    "moodle_dump_mariadb",
    "moodle_dump_postgres",
    "object_store",
    "postgres_server",
    "postgres_url",
    "site",
]


@pytest.fixture(params=["mariadb_url", "postgres_url"], ids=["mariadb", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """An empty database on each server: the SQLAlchemy URL of its owner."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def ledger_url(postgres_url: str) -> str:
    """URL of a ledger that does not exist yet."""
    return postgres_url


@pytest.fixture
def storage_url(bucket: str) -> str:
    """An empty place for partitions: its ``CALIPER_STORAGE``."""
    return bucket


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An open ledger."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened
