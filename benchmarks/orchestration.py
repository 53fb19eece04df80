"""What does Dagster itself cost, with its own storage and with ours?

Run ``python -m benchmarks.orchestration``; with ``--postgres postgresql://…`` (an account that may
create databases) PostgreSQL too. The chain takes hours without a log row, so what is measured is
Dagster's records and the files of the hours. Both storages take the same hours in turn, each into a
new instance; the best of the rounds counts.
"""

from __future__ import annotations

import argparse
import os
import secrets
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import dagster as dg
import sqlalchemy as sa

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.instance import capability, storage
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.embedded.event_store import running
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.operations.runner import JobRunner, RunContext

END = Hour.from_key("2026-01-01-00:00")
_REQUIRE = capability.require


def main() -> None:
    """Measure, and print milliseconds per hour and how often Dagster's are ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", metavar="URL", help="also measure PostgreSQL")
    parser.add_argument("--hours", type=int, nargs="+", default=[24, 168], help="hours of a run")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"Dagster {dg.__version__}")
    print(f"{'storage':12}{'hours':>6}{'Dagster':>10}{'ours':>8}  ms per hour{'CPU':>15}")
    with tempfile.TemporaryDirectory() as folder, site(Path(folder)):
        for storage in ("PostgreSQL", "SQLite") if given.postgres else ("SQLite",):
            url = given.postgres if storage == "PostgreSQL" else None
            for hours in given.hours:
                found = {
                    ours: min(_measure(hours, ours, url) for _ in range(given.rounds))
                    for ours in (False, True)
                }
                (stock, stock_cpu), (bulk, bulk_cpu) = found.values()
                print(
                    f"{storage:12}{hours:6}{stock:10.1f}{bulk:8.1f}  ratio {stock / bulk:.1f}"
                    f"{stock_cpu:12.1f}{bulk_cpu:8.1f}",
                    flush=True,
                )


@contextmanager
def site(folder: Path) -> Iterator[None]:
    """A small site and an event store, by the settings in the environment."""
    sample = write_sample(folder / "moodle.sqlite", students=5, hours=4, end=END + 100)
    with running(folder / "event_store.sqlite", "key") as event_store:
        os.environ |= {
            "MOODLE_DB_URL": f"sqlite:///{sample.path}",
            "MOODLE_WWWROOT": sample.wwwroot,
            "CALIPER_EVENT_STORE_URL": event_store,
            "CALIPER_API_KEY": "key",
            "CALIPER_START": "2025-01-01",
            "CALIPER_HOURS_PER_RUN": "1000",
        }
        yield


def _refuse(*_: object) -> None:
    """In place of the comparison with the installed Dagster, so that its own storage is used."""
    raise capability.UnsuitedError("the benchmark compares it")


def _measure(hours: int, ours: bool, postgres: str | None) -> tuple[float, float]:
    """Milliseconds per hour that pass, and of this process's own work, of the second run."""
    capability.require = _REQUIRE if ours else cast("Callable[..., None]", _refuse)
    with tempfile.TemporaryDirectory() as home, database(postgres) as url:
        os.environ |= {"DAGSTER_HOME": home, storage.POSTGRES_URL: url}
        # What the stock storage does without us; and what DagsterStorageFromEnv sets.
        os.environ[storage.BATCH_SIZE] = "2000" if ours else "0"
        settings = Settings.from_environment()
        with open_instance() as instance:
            runner = JobRunner(RunContext(instance, settings), CHAIN_JOB)
            runner.run(HourRange(END, END + 1), {})
            began, worked = time.perf_counter(), time.process_time()
            runner.run(HourRange(END + -hours, END), {})
            passed = time.perf_counter() - began
            return passed * 1000 / hours, (time.process_time() - worked) * 1000 / hours


@contextmanager
def database(server: str | None) -> Iterator[str]:
    """The URL of a new database, empty without a server; dropped in the end."""
    if server is None:
        yield ""
        return
    address = sa.make_url(server).set(drivername="postgresql+psycopg2")
    name = f"caliper_benchmark_{secrets.token_hex(4)}"
    engine = sa.create_engine(address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield address.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


if __name__ == "__main__":
    main()
