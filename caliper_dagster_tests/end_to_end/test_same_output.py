"""The stored hours are the same bytes, however they came about.

Celery's workers are compared in `test_several_machines`, the real site's rows in `real_site`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.core import url_to_fs

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster_tests.harness import commands
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.installation import between
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
    copy_site,
    sample_installation,
)

BACKFILL = ("backfill", *between(HOURS))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleInstallation]:
    """An installation that has taken its hours: from SQLite, together, into a folder."""
    with sample_installation(tmp_path_factory.mktemp("first")) as site:
        done = commands.run(BACKFILL, site.environment, site.folder)
        assert done.status == 0, done.err
        yield site


def contents(settings: dict[str, str]) -> dict[tuple[str, str], bytes]:
    """The files of log rows, expanded rows and events, by asset and hour."""
    with environment(settings):
        storage = PartitionStore(Settings.from_environment().storage_url())
        found = {}
        for frame in FRAMES[:3]:
            for hour in HOURS:
                files, path = url_to_fs(storage.path(frame, hour))
                found[frame.name, hour.key] = files.cat_file(path)
        return found


@pytest.mark.parametrize(
    "way", ["an hour in each run", "two processes", "MariaDB", "PostgreSQL", "object store"]
)
def test_the_stored_hours_are_the_same_bytes(
    first: SampleInstallation, tmp_path: Path, request: pytest.FixtureRequest, way: str
) -> None:
    settings = {**first.environment, "DAGSTER_HOME": str(tmp_path / "dagster")}
    options: tuple[str, ...] = ()
    if way == "an hour in each run":
        settings["CALIPER_HOURS_PER_RUN"] = "1"
    elif way == "two processes":
        settings["CALIPER_HOURS_PER_RUN"], options = "2", ("--processes", "2")
    elif way == "object store":
        settings["CALIPER_STORAGE"] = request.getfixturevalue("bucket")
        settings |= request.getfixturevalue("object_store").environment
        settings["CALIPER_LEDGER_URL"] = request.getfixturevalue("postgres_url")
    else:
        url = request.getfixturevalue("mariadb_url" if way == "MariaDB" else "postgres_url")
        copy_site(first.environment["MOODLE_DB_URL"], url)
        settings["MOODLE_DB_URL"] = url

    done = commands.run((*BACKFILL, *options), settings, tmp_path)

    assert done.status == 0, done.err
    assert done.number("Log rows") > 100
    assert contents(settings) == contents(dict(first.environment))
