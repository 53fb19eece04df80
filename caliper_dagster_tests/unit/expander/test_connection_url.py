"""Addresses of databases that work, and that cannot."""

from __future__ import annotations

import socket

import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster_tests.harness.handmade_site import (
    Site,
    whole_log,
)

SECRET = "s3cret-of-moodle"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "moodle",
        f"oracle://moodle:{SECRET}@localhost/moodle",
        f"mysql+asyncmy://moodle:{SECRET}@localhost/moodle",
        f"mysql://moodle:{SECRET}@localhost:port/moodle",
        f"mysql://moodle:{SECRET}@127.0.0.1:1/moodle?charset=klingon",
        "mysql+pymysql://127.0.0.1:1",
        "sqlite://",
        "sqlite:////no/such/file.sqlite",
    ],
)
def test_a_url_that_cannot_work_is_one_sentence_that_names_the_setting(url):
    with pytest.raises(ConfigurationError, match="MOODLE_DB_URL") as refusal:
        MoodleDatabase.open(url)
    assert SECRET not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_server_that_never_says_a_word_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql+pymysql://user:hush@127.0.0.1:{silent.getsockname()[1]}/moodle"
        with pytest.raises(ConfigurationError, match="MOODLE_DB_URL") as error:
            MoodleDatabase.open(url, timeout=1)
    assert "hush" not in str(error.value)


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path):
    path = tmp_path / "photo.sqlite"
    path.write_bytes(b"\x89PNG" * 1000)
    with pytest.raises(ConfigurationError, match=r"MOODLE_DB_URL.*photo\.sqlite"):
        MoodleDatabase.open(f"sqlite:///{path}")


def test_a_sqlite_file_with_an_odd_name_is_read(tmp_path):
    site = Site(tmp_path / "Moodle #1 100%.sqlite")
    site.log({})
    with site.open() as database:
        assert whole_log(database, site.hours()).num_rows == 1
