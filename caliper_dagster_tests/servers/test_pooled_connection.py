"""A connection that a pooler shares is left as it was found, and ours is right all the same.

The pooler is a real PgBouncer in transaction mode with one connection to the server: Moodle and
this project take turns on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster_tests.harness.installation import between, installation
from caliper_dagster_tests.harness.sample_installation import END, HOURS, copy_site
from caliper_dagster_tests.harness.services import pgbouncer
from caliper_dagster_tests.unit.expander.test_connection import fill

SETTINGS = ("default_transaction_isolation", "default_transaction_read_only", "statement_timeout")
OF_TRANSACTION = ("transaction_isolation", "transaction_read_only", "statement_timeout")


@pytest.fixture
def pooled_url(servers_folder: Path, postgres_url: str) -> Iterator[str]:
    """An empty database behind PgBouncer."""
    folder = servers_folder / f"pgbouncer-{sa.make_url(postgres_url).database}"
    folder.mkdir()
    folder.chmod(0o711)
    with pgbouncer(folder, postgres_url) as url:
        yield url


class Moodle:
    """Moodle itself, which reads and writes through the same pool."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)

    def execute(self, *statements: str) -> None:
        with self._engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def session(self) -> list[str]:
        """The settings that the shared connection has now."""
        with self._engine.connect() as connection:
            return [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in SETTINGS]


def settings_of(database: MoodleDatabase) -> list[str]:
    return [str(database.execute(sa.text(f"SHOW {name}"))[0][0]) for name in OF_TRANSACTION]


def test_our_transaction_is_a_snapshot_also_after_others_and_leaves_nothing(pooled_url):
    moodle = Moodle(pooled_url)
    fill(pooled_url)
    before = moodle.session()
    for _ in range(2):
        with MoodleDatabase.open(pooled_url, timeout=7) as database:
            assert settings_of(database) == ["repeatable read", "on", "7s"]
        assert moodle.session() == before
        moodle.execute("INSERT INTO mdl_user (id) VALUES (9)", "DELETE FROM mdl_user WHERE id = 9")
        # What another client leaves on the connection does not become ours.
        moodle.execute("SET SESSION statement_timeout = 0", "SET SESSION lock_timeout = 100")
        before = moodle.session()


def test_moodle_writes_after_each_command(tmp_path, pooled_url):
    sample = tmp_path / "moodle.sqlite"
    site = write_sample(sample, students=5, hours=len(HOURS), seed=7, end=END)
    copy_site(f"sqlite:///{sample}", pooled_url)
    moodle = Moodle(pooled_url)
    before = moodle.session()
    with installation(tmp_path, pooled_url, site.wwwroot, CALIPER_START="2026-03-01") as installed:
        for command in (
            ("translate", *between(HOURS), "--out", "events.ndjson"),
            ("backfill", *between(HOURS)),
            ("doctor",),
        ):
            result = installed.run(*command)
            assert "Moodle's database" not in result.err
            moodle.execute("UPDATE mdl_user SET firstname = firstname")
            assert moodle.session() == before
        assert "postgresql answers" in result.out
        assert (tmp_path / "events.ndjson").stat().st_size
        assert installed.acknowledged(HOURS)
