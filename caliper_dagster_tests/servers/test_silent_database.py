"""A database that accepts connections and says nothing: every wait for it ends, with a sentence.

Between us and a real server stands a proxy that stops forwarding, as a proxy does that has lost its
server, or a pooler during a failover.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
import sqlalchemy as sa

from caliper_dagster.core.errors import ConfigurationError, SourceError, StorageError
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter import Ledger
from caliper_dagster.expander import MoodleDatabase, engines
from caliper_dagster_tests.harness.hostile_store import HOUR
from caliper_dagster_tests.harness.installation import between, installation
from caliper_dagster_tests.harness.sample_installation import END, HOURS, copy_site
from caliper_dagster_tests.harness.silent_proxy import SilentProxy
from caliper_dagster_tests.unit.expander.test_connection import fill

LIMIT = 1
"""Seconds, as the settings say; within ten more the wait has ended."""

ID = pa.schema([("id", pa.int64())])
WAYS: dict[str, Callable[[MoodleDatabase], object]] = {
    "statement": lambda database: database.execute(sa.text("SELECT id FROM mdl_user")),
    "records": lambda database: database.records("user", ["id"], {"id": [1]}),
    "bulk": lambda database: database.table(ID, "FROM mdl_user"),
    "driver": lambda database: database.table(ID, "FROM mdl_user", fast=False),
}


@pytest.fixture
def proxy(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentProxy]:
    """Before a Moodle database on each server."""
    monkeypatch.setattr(engines, "REPORT_SECONDS", 0)
    fill(empty_url)
    with SilentProxy(empty_url) as found:
        yield found


def in_time(wait: Callable[[], object]) -> None:
    """Wait in a thread of its own, so that a wait without an end fails the test."""
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(wait).result(LIMIT + 10)
    finally:
        pool.shutdown(wait=False)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_statement_without_an_answer_is_one_sentence_that_names_the_setting(proxy, way):
    def ask() -> None:
        with MoodleDatabase.open(proxy.url, timeout=LIMIT) as database:
            proxy.silent.set()
            with pytest.raises(SourceError, match=r"did not answer in time.*MOODLE_DB_TIMEOUT"):
                way(database)

    in_time(ask)


@pytest.mark.parametrize("when", [b"version()", None], ids=["logged in", "connected"])
def test_a_database_that_falls_silent_once_it_is_connected_does_not_answer(proxy, when):
    if when:
        proxy.silence_at(when)
    else:
        proxy.silent.set()

    def connect() -> None:
        with pytest.raises(ConfigurationError, match=r"MOODLE_DB_URL.*answer") as failure:
            MoodleDatabase.open(proxy.url, timeout=LIMIT)
        assert str(sa.make_url(proxy.url).password) not in str(failure.value)

    in_time(connect)


def test_a_ledger_that_falls_silent_fails_and_is_used_again_when_it_answers(postgres_url):
    with SilentProxy(postgres_url) as proxy, Ledger(proxy.url, timeout=LIMIT) as ledger:
        ledger.backlog("site").add("store", [HOUR])
        proxy.silent.set()

        def read() -> None:
            with pytest.raises(StorageError, match="CALIPER_LEDGER_TIMEOUT"):
                ledger.backlog("site").all()

        in_time(read)
        proxy.forward_again()
        assert list(ledger.backlog("site").all()["store"]) == [HOUR]


def test_a_ledger_that_is_silent_from_the_beginning_cannot_be_opened(postgres_url):
    with SilentProxy(postgres_url) as proxy:
        proxy.silence_at(b"pg_catalog.version()")

        def enter() -> None:
            with pytest.raises(ConfigurationError, match="CALIPER_LEDGER_URL"):
                Ledger(proxy.url, timeout=LIMIT).__enter__()

        in_time(enter)


def test_sigterm_ends_a_command_that_waits_for_moodles_database(tmp_path, empty_url):
    sample = tmp_path / "moodle.sqlite"
    site = write_sample(sample, students=5, hours=len(HOURS), seed=7, end=END)
    copy_site(f"sqlite:///{sample}", empty_url)
    with (
        SilentProxy(empty_url) as proxy,
        installation(tmp_path, proxy.url, site.wwwroot, CALIPER_START="2026-03-01") as installed,
    ):
        for command in (
            ("translate", *between(HOURS), "--out", "-"),
            ("backfill", *between(HOURS)),
        ):
            proxy.forward_again()
            proxy.silence_at(b"mdl_role_assignments")
            running = installed.start(*command)
            running.wait_until(proxy.silent.is_set)
            assert not running.ends_within(1)
            running.terminate()
            assert running.ends_within(10), command
            assert running.finish().status == 130


def test_sigterm_ends_a_run_that_waits_for_the_ledger(tmp_path, postgres_url):
    sample = tmp_path / "moodle.sqlite"
    site = write_sample(sample, students=5, hours=len(HOURS), seed=7, end=END)
    with (
        SilentProxy(postgres_url) as proxy,
        installation(
            tmp_path,
            f"sqlite:///{sample}",
            site.wwwroot,
            CALIPER_START="2026-03-01",
            CALIPER_LEDGER_URL=proxy.url,
        ) as installed,
    ):
        proxy.silence_at(b"insert into caliper_batch")
        running = installed.start("backfill", *between(HOURS))
        running.wait_until(proxy.silent.is_set)
        assert not running.ends_within(1)
        running.terminate()
        assert running.ends_within(10)
        assert running.finish().status == 130
