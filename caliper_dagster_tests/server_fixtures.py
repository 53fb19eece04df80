"""Fixtures of the tiers that need servers; each ``conftest.py`` takes those that its tier uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from caliper_dagster_tests.harness import moodle_dump, servers, services


@pytest.fixture(scope="session")
def mariadb_server(servers_folder: Path) -> servers.Server:
    """The test run's MariaDB, as its administrator."""
    return servers.connect("mariadb", servers_folder)


@pytest.fixture(scope="session")
def postgres_server(servers_folder: Path) -> servers.Server:
    """The test run's PostgreSQL, as its administrator."""
    return servers.connect("postgres", servers_folder)


@pytest.fixture
def mariadb_url(mariadb_server: servers.Server) -> Iterator[str]:
    """A fresh, empty MariaDB database: the SQLAlchemy URL of its owner."""
    url = mariadb_server.create_database()
    yield url
    mariadb_server.drop_database(url)


@pytest.fixture
def postgres_url(postgres_server: servers.Server) -> Iterator[str]:
    """A fresh, empty PostgreSQL database: the SQLAlchemy URL of its owner."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.ObjectStore]:
    """An S3-compatible store."""
    with services.object_store(tmp_path_factory.mktemp("object_store")) as store:
        yield store


@pytest.fixture
def bucket(object_store: services.ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh, empty bucket, to which this process has the keys: its ``CALIPER_STORAGE``."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    # A file system that an earlier test made would still go to that test's server.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    return object_store.create_bucket()


@pytest.fixture(scope="session")
def moodle_dump_mariadb(servers_folder: Path, mariadb_server: servers.Server) -> str:
    """The real Moodle site's database in MariaDB: the SQLAlchemy URL of a read-only account."""
    return _once(servers_folder, "moodle_dump_mariadb", mariadb_server, moodle_dump.load_dump)


@pytest.fixture(scope="session")
def moodle_dump_postgres(
    servers_folder: Path, moodle_dump_mariadb: str, postgres_server: servers.Server
) -> str:
    """The same database in PostgreSQL: the SQLAlchemy URL of a read-only account."""

    def copy(url: str) -> None:
        moodle_dump.copy_to_postgres(moodle_dump_mariadb, url)

    return _once(servers_folder, "moodle_dump_postgres", postgres_server, copy)


def _once(folder: Path, name: str, server: servers.Server, fill: Callable[[str], None]) -> str:
    """A database that the first process of the test run fills and all others read."""
    address = folder / f"{name}.url"
    with servers.exclusive(folder, name):
        if not address.exists():
            url = server.create_database()
            fill(url)
            address.touch(0o600)
            address.write_text(server.create_reader(url))
        return address.read_text()
