"""The real site's log, expanded once and translated once for each Caliper version."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.moodle_dump import expand_dump
from caliper_dagster_tests.real_site.memberships import Standing
from caliper_dagster_tests.real_site.prescription import Prescription
from caliper_dagster_tests.real_site.site import VERSIONS, WWWROOT, Event, Site, Translation
from caliper_dagster_tests.server_fixtures import (
    mariadb_server,
    moodle_dump_mariadb,
    moodle_dump_postgres,
    postgres_server,
)

__all__ = ["mariadb_server", "moodle_dump_mariadb", "moodle_dump_postgres", "postgres_server"]


@pytest.fixture(scope="session")
def site(moodle_dump_mariadb: str) -> Iterator[Site]:
    """The site's database, for questions in SQL."""
    site = Site(moodle_dump_mariadb)
    yield site
    site.close()


@pytest.fixture(scope="session")
def expanded(moodle_dump_mariadb: str) -> pa.Table:
    """All rows of the site's log, expanded together."""
    return expand_dump(moodle_dump_mariadb)


@pytest.fixture(scope="session")
def translations(expanded: pa.Table) -> dict[str, Translation]:
    """The events in each version."""
    return {
        version: Translation(version, Translator(WWWROOT, version=version).translate(expanded))
        for version in VERSIONS
    }


@pytest.fixture(params=VERSIONS)
def translation(
    request: pytest.FixtureRequest, translations: dict[str, Translation]
) -> Translation:
    """The events in one version; tests that ask for it run in each."""
    return translations[request.param]


@pytest.fixture
def events(translations: dict[str, Translation]) -> dict[int, Event]:
    """The events of version 1.2 by log id."""
    return translations["v1p2"].events


@pytest.fixture(scope="session")
def prescription(site: Site) -> Prescription:
    """What the specification says about each row."""
    return Prescription(site)


@pytest.fixture(scope="session")
def standing(site: Site) -> Standing:
    """What each person was in each course."""
    return Standing(site)
