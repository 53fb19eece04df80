"""From MariaDB to acknowledged, through all four assets: speed, and where the time goes.

Run ``python -m benchmarks.end_to_end --url mysql+pymysql://…/synthetic --from T --to T`` on a site
that `benchmarks.site` has written. ``caliper-dagster backfill`` sends the hours to an event store
of this machine: ``sink`` only reads and answers, ``embedded`` keeps everything. Several ``--to``
(or ``--rows``) make several backfills, each in a folder of its own, and the cost of a row is
compared with the first one's: it should stay the same, as should the memory. Several ``--url``
compare sites: with sites of one hour (``benchmarks.site --hours 1 --rows N``) that shows the memory
against the rows of an hour.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from benchmarks import sink
from benchmarks.dagster_services import process_facts
from caliper_dagster.core.frames import EMISSION_RESULTS, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange, parse_hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.embedded import event_store

STAGES = ("moodle_log", "expanded_log", "caliper_events", "emission_results")
_KEY = "key-of-the-benchmark"


@dataclass(frozen=True, slots=True)
class Measured:
    """One backfill.

    Attributes:
        rows: log rows.
        most: log rows of the hour that has the most.
        delivery: what became of their events.
        seconds: from the start of the command to its end.
        stages: seconds of each asset's step, over all runs.
        statements: what the Moodle database was asked.
        megabytes: the most memory that a process of the command has had.
        processors: processor seconds of the command, and of MariaDB where it runs on this machine.
    """

    hours: HourRange
    rows: int
    most: int
    delivery: DeliveryCounts
    seconds: float
    stages: Mapping[str, float]
    statements: int
    megabytes: float
    processors: Mapping[str, float]


def measure(
    url: str, hours: HourRange, event_store_url: str, processes: int = 1, **settings: str
) -> Measured:
    """Backfill the hours in an empty folder."""
    with tempfile.TemporaryDirectory() as home:
        given = {
            "MOODLE_DB_URL": url,
            "MOODLE_WWWROOT": "https://moodle.example.org",
            "CALIPER_EVENT_STORE_URL": event_store_url,
            "CALIPER_API_KEY": _KEY,
            "CALIPER_START": str(hours.start),
            "DAGSTER_HOME": home,
        }
        before, worked, began = _statements(url), server_seconds(url), time.perf_counter()
        environment = {**os.environ, **given, **settings}
        used = _backfill(hours, environment, Path(home), processes)
        seconds, statements = time.perf_counter() - began, _statements(url) - before
        processors = {
            "backfill": used.ru_utime + used.ru_stime,
            "MariaDB": server_seconds(url) - worked,
        }
        kept = PartitionStore(f"{home}/data")
        facts = (
            DeliveryCounts.from_footer_stats(kept.footer_stats(EMISSION_RESULTS, hour))
            for hour in hours
        )
        delivery = sum(facts, DeliveryCounts())
        counted = (kept.footer_stats(MOODLE_LOG, hour)["counted"] for hour in hours)
        os.environ["DAGSTER_HOME"] = home
        return Measured(
            hours,
            row_count(url, hours),
            max(int(str(number)) for number in counted),
            delivery,
            seconds,
            _stages(),
            statements,
            used.ru_maxrss / 1024,
            processors,
        )


def _backfill(
    hours: HourRange, environment: Mapping[str, str], folder: Path, processes: int
) -> resource.struct_rusage:
    """What the command, and the processes that it has started, have used."""
    command = ["backfill", "--from", str(hours.start), "--to", str(hours.end)]
    command += ["--processes", str(processes)]
    with (folder / "backfill.log").open("w+") as log:
        process = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-m", "caliper_dagster.cli", *command],
            env=environment,
            stdout=log,
            stderr=log,
        )
        _, status, used = os.wait4(process.pid, 0)
        if status:
            log.seek(0)
            sys.exit(f"The backfill failed: {log.read()[-2000:]}")
    return used


def _stages() -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    with dg.DagsterInstance.get() as instance:
        for run in instance.get_runs():
            for step in instance.get_run_step_stats(run.run_id):
                if step.start_time and step.end_time:
                    seconds[step.step_key] += step.end_time - step.start_time
    return dict(seconds)


def _statements(url: str) -> int:
    """Statements of all connections until now; nobody else should use the server."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        row = connection.exec_driver_sql("SHOW GLOBAL STATUS LIKE 'Questions'").one()
        return int(row[1])


def server_seconds(url: str) -> float:
    """Processor time of the database server until now; 0 when it is not on this machine."""
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        file = Path(connection.exec_driver_sql("SELECT @@pid_file").scalar_one())
    with suppress(OSError):
        user, system = process_facts(int(file.read_text()))[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def hours_of_rows(url: str, start: Hour, rows: int) -> HourRange:
    """The hours from the first one on that hold so many rows."""
    last = sa.text(
        "SELECT timecreated FROM mdl_logstore_standard_log WHERE timecreated >= :start "
        "ORDER BY timecreated LIMIT 1 OFFSET :rows"
    )
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        found = connection.execute(last, {"start": start.start, "rows": rows - 1}).scalar_one()
    return HourRange(start, Hour.of(found) + 1)


def row_count(url: str, hours: HourRange) -> int:
    """Log rows of the hours, as the database counts them."""
    count = sa.text(
        "SELECT count(*) FROM mdl_logstore_standard_log WHERE timecreated BETWEEN :first AND :last"
    )
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        found = connection.execute(count, {"first": hours.start.start, "last": hours.end.start - 1})
        return int(found.scalar_one())


@contextmanager
def _event_store(kind: str) -> Iterator[str]:
    if kind == "sink":
        with sink.running() as url:
            yield url
    else:
        with (
            tempfile.TemporaryDirectory() as folder,
            event_store.running(Path(folder) / "events.sqlite", _KEY) as url,
        ):
            yield url


def show(found: Measured, first: Measured) -> None:
    """Print a line for the whole, one for the processors, and one for each stage."""
    rows, sent = max(1, found.rows), max(1, found.delivery.sent)
    cost = (found.seconds / rows) / (first.seconds / max(1, first.rows))
    print(
        f"{len(found.hours):,} hours, {found.rows:,} rows, {sent:,} events of "
        f"{found.delivery.bytes / sent:,.0f} bytes in {found.seconds:.1f} s: "
        f"{sent / found.seconds:,.0f} events/s, {found.megabytes:,.0f} MB for hours of up to "
        f"{found.most:,} rows, "
        f"{1000 * found.statements / rows:.1f} statements per 1,000 rows, "
        f"cost of a row {cost:.2f} of the first"
    )
    worked = ", ".join(
        f"{name} {1e6 * seconds / sent:.1f}" for name, seconds in found.processors.items()
    )
    print(f"  processor time for an event, in µs: {worked}")
    for stage in STAGES:
        seconds = found.stages.get(stage, 0.0)
        print(f"  {stage:<16} {seconds:8.1f} s  {rows / max(seconds, 1e-9):>10,.0f} rows/s")
    rest = found.seconds - sum(found.stages.values())
    print(f"  {'the rest':<16} {rest:8.1f} s  {1000 * rest / len(found.hours):>10.1f} ms/hour")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--url", action="append", required=True, help="SQLAlchemy URL of the synthetic site"
    )
    parser.add_argument("--from", dest="start", required=True, help="first hour")
    ends = parser.add_mutually_exclusive_group(required=True)
    ends.add_argument("--to", action="append", default=[], help="first hour that is left out")
    ends.add_argument(
        "--rows",
        type=int,
        action="append",
        default=[],
        help="instead: so many rows, or an hour's more",
    )
    parser.add_argument("--processes", type=int, default=1, help="runs side by side")
    parser.add_argument("--event-store", choices=("sink", "embedded"), default="sink")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a further setting"
    )
    given = parser.parse_args()
    start = parse_hour(given.start, "--from")
    settings = dict(text.split("=", 1) for text in given.set)
    first = None
    ranges = [
        (url, HourRange(start, parse_hour(end, "--to"))) for url in given.url for end in given.to
    ]
    ranges += [(url, hours_of_rows(url, start, rows)) for url in given.url for rows in given.rows]
    for url, hours in ranges:
        before = _children()
        with _event_store(given.event_store) as event_store_url:
            found = measure(url, hours, event_store_url, given.processes, **settings)
        others = _children() - before - found.processors["backfill"]
        found = replace(found, processors={**found.processors, given.event_store: others})
        first = first or found
        show(found, first)


def _children() -> float:
    """Processor time of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
