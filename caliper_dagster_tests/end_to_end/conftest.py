"""Fixtures of the end-to-end tests: servers, the two sites, a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from caliper_dagster.core.hours import Hour
from caliper_dagster_tests.end_to_end.browser import open_browser
from caliper_dagster_tests.sample_fixtures import as_a_process, shared_site, site
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
    "as_a_process",
    "bucket",
    "mariadb_server",
    "mariadb_url",
    "moodle_dump_mariadb",
    "moodle_dump_postgres",
    "object_store",
    "postgres_server",
    "postgres_url",
    "shared_site",
    "site",
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A headless Chromium with an empty profile."""
    driver = open_browser(tmp_path / "browser-profile")
    yield driver
    driver.quit()


@pytest.fixture
def hour_in_progress() -> Hour:
    """The hour in progress, which does not end within a minute: a demo is made anew in each."""
    left = Hour.of(time.time()).end - time.time()
    if left < 60:
        time.sleep(left + 1)
    return Hour.of(time.time())
