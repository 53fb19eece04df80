"""Fixtures for all tests: database servers, the real Moodle site's database, a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from selenium.webdriver import Chrome
from xdist.workermanage import WorkerController

from caliper_dagster_tests import moodle_dump, servers, services
from caliper_dagster_tests.browser import open_browser

# A slow machine is no failure.
hypothesis.settings.register_profile("caliper", deadline=None)
hypothesis.settings.load_profile("caliper")

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
    return object_store.create_bucket()


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


@pytest.fixture(scope="session")
def moodle_dump_mariadb(servers_folder: Path, request: pytest.FixtureRequest) -> str:
    """The real Moodle site's database in MariaDB: the SQLAlchemy URL of a read-only account."""
    if not moodle_dump.DUMP.exists():
        pytest.skip(f"the dump of the real Moodle site is not there: {moodle_dump.DUMP}")
    server = request.getfixturevalue("mariadb_server")
    return _once(servers_folder, "moodle_dump_mariadb", server, moodle_dump.load_dump)


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


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A headless Chromium with an empty profile."""
    driver = open_browser(tmp_path / "browser-profile")
    yield driver
    driver.quit()
