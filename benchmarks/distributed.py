"""What does it cost to work on several machines, and what does a second worker bring?

Run ``python -m benchmarks.distributed``. It needs PostgreSQL and redis-server on this machine, and
starts them, an S3-compatible store, Dagster's daemon and Celery workers as ``deploy/celery`` has
them. All figures are of this machine, so compare them with each other only.

1. An hour of all four assets written and read: in the object store against a folder.
2. A batch in the ledger: PostgreSQL, as transactions a second over one connection.
3. A backfill of a sample site by one worker and by two: log rows a second, from the start of the
   first run to the end of the last.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np
from upath import UPath

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.core.hours import HourRange, last_complete_hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter import Ledger
from caliper_dagster.emitter.ledger import ACKNOWLEDGED, BatchRecord
from caliper_dagster.emitter.ledger.fingerprints import FINGERPRINT
from caliper_dagster.operations.backfill import backfill
from caliper_dagster.operations.runner import RunContext
from caliper_dagster_tests.harness import servers, services
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.installation import Installation, installation
from caliper_dagster_tests.harness.several_machines import (
    DAEMON,
    machine,
    shared,
    wait_until,
    worker,
)

PATIENCE = 3600


def main() -> None:
    """Measure, and print figures and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--students", type=int, default=300)
    parser.add_argument("--hours", type=int, default=192)
    parser.add_argument("--hours-per-run", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    run = servers.begin_run()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            objects = stack.enter_context(services.object_store(folder))
            os.environ.update(objects.environment)
            postgres = servers.connect("postgres", run.folder)
            sample = write_sample(
                folder / "moodle.sqlite",
                students=given.students,
                hours=given.hours,
                end=last_complete_hour(datetime.now(UTC)) + 1,  # an hour that goes on has no run
            )
            url, rows = f"sqlite:///{sample.path}", sum(sample.rows.values())
            print(f"{rows:,} log rows in {len(sample.hours)} hours")
            per_run = {
                "CALIPER_START": str(sample.hours.start),
                "CALIPER_HOURS_PER_RUN": str(given.hours_per_run),
            }
            (folder / "alone").mkdir()
            alone = stack.enter_context(
                installation(folder / "alone", url, sample.wwwroot, **per_run)
            )
            _storage(alone, sample.hours, objects.create_bucket(), given.repeats)
            _ledger(postgres, sample.hours)
            rates = {}
            for workers in (1, 2):
                home = folder / f"{workers} workers"
                home.mkdir()
                with (
                    installation(home, url, sample.wwwroot, **per_run) as site,
                    shared(site, sample.hours, postgres, objects, objects.create_bucket()) as found,
                    ExitStack() as running,
                ):
                    names = [f"worker-{number}" for number in range(workers)]
                    machines = [
                        running.enter_context(machine(home, name, worker(name), found.settings))
                        for name in names
                    ]
                    daemon = machine(home, "daemon", DAEMON, found.settings)
                    machines.append(running.enter_context(daemon))
                    found.launch()
                    wait_until(found.every_hour_is_sent, machines, PATIENCE)
                    with environment(found.settings), open_instance() as instance:
                        seconds = _seconds(instance)
                    rates[workers] = rows / seconds
                    print(f"{workers} worker(s): {rates[workers]:,.0f} log rows/s, {seconds:.0f} s")
            print(f"two workers against one: {rates[2] / rates[1]:.2f}")
    finally:
        run.end()


def _storage(alone: Installation, hours: HourRange, bucket: str, repeats: int) -> None:
    """Fill a folder by the chain itself; then move the same hours through both storages."""
    with environment(alone.settings), open_instance() as instance:
        began = time.perf_counter()
        for _ in backfill(RunContext(instance, Settings.from_environment()), hours):
            pass
        seconds = time.perf_counter() - began
    print(f"one process, everything on this machine ({CHAIN_JOB}): {seconds:.0f} s")
    again = PartitionStore(str(UPath(alone.folder) / "again"))
    found = {"folder": again, "object store": PartitionStore(bucket)}
    some = list(hours)[: 2 * 24]
    costs: dict[str, list[float]] = {name: [] for name in found}
    tables = {(f.name, h): alone.storage.read(f, [h]) for f in FRAMES for h in some}

    def move(storage: PartitionStore) -> None:
        for frame in FRAMES:
            for hour in some:
                storage.write(frame, hour, tables[frame.name, hour])
            for _ in storage.each(frame, some):
                pass

    for _ in range(repeats):
        for name, storage in found.items():
            costs[name].append(_timed(lambda kept=storage: move(kept)) / len(some))  # type: ignore[misc]
    best = {name: min(seconds) for name, seconds in costs.items()}
    for name, cost in best.items():
        print(f"{name:>14}: {1000 * cost:.1f} ms for an hour of four assets, written and read")
    print(f"object store against folder: {best['object store'] / best['folder']:.1f}")


def _ledger(postgres: servers.Server, hours: HourRange) -> None:
    url = postgres.create_database()
    fingerprints = np.zeros(500, FINGERPRINT)
    with Ledger(url) as ledger:
        seconds = []
        for number in range(200):
            now = int(time.time() * 1000)
            batch = BatchRecord(
                hour=hours.start,
                batch_id=f"urn:{number}",
                outcome=ACKNOWLEDGED,
                bytes=1,
                attempts=1,
                http_status=200,
                sent_at=now,
                answered_at=now,
                error=None,
                mapping_revision=MAPPING_REVISION,
                fingerprints=fingerprints,
            )
            seconds.append(
                _timed(lambda it=batch: ledger.record("store", it, site="site"))  # type: ignore[misc]
            )
    postgres.drop_database(url)
    print(f"ledger on PostgreSQL: {1 / statistics.median(seconds):,.0f} batches/s, one connection")


def _timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _seconds(instance: dg.DagsterInstance) -> float:
    records = instance.get_run_records()
    return max(r.end_time or 0 for r in records) - min(r.start_time or 0 for r in records)


if __name__ == "__main__":
    main()
