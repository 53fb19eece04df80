"""Several machines on this one: processes that share nothing but servers (``deploy/celery``)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow.compute as pc
from dagster import DagsterRunStatus as Status

from caliper_dagster.core.frames import EMISSION_RESULTS, FRAMES
from caliper_dagster.core.hours import HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.dagster.assets import EVENT_STORE_POOL, MOODLE_POOL
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.emitter import HttpDestination, Ledger
from caliper_dagster.emitter.ledger import results_table
from caliper_dagster_tests.harness import services
from caliper_dagster_tests.harness.environment import clean_environment, environment
from caliper_dagster_tests.harness.installation import Installation
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.servers import Server, die_with_parent

CELERY = ROOT / "deploy" / "celery"
PROGRAMS = Path(sys.executable).parent
DAEMON = ("dagster-daemon", "run", "-m", "caliper_dagster.definitions")

BACKFILL = """
mutation { launchPartitionBackfill(backfillParams: {assetSelection: ASSETS, partitionNames: HOURS})
  { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
"""


@dataclass(frozen=True)
class Machine:
    """A process with a home and a working folder of its own, and those it has started."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]

    def log(self) -> str:
        return (self.folder.parent / f"{self.name}.log").read_text(errors="replace")

    def kill(self) -> None:
        """As when its power is cut."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def machine(
    folder: Path, name: str, command: Sequence[str], settings: Mapping[str, str]
) -> Iterator[Machine]:
    """Start one, configured as ``deploy/celery`` says."""
    home = folder / name
    (home / "work").mkdir(parents=True)
    shutil.copy(CELERY / "dagster.yaml", home)
    with process(home, command, {**settings, "DAGSTER_HOME": str(home)}) as started:
        yield started


@contextmanager
def process(home: Path, command: Sequence[str], settings: Mapping[str, str]) -> Iterator[Machine]:
    """A program in the folder ``work`` of its home."""
    with (home.parent / f"{home.name}.log").open("wb") as log:
        started = subprocess.Popen(
            [str(PROGRAMS / command[0]), *command[1:]],
            env=clean_environment(dict(os.environ)) | dict(settings),
            cwd=home / "work",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    found = Machine(home.name, home, started)
    try:
        yield found
    finally:
        if started.poll() is None:
            found.kill()


def worker(name: str, queues: str = "hour,backfill") -> list[str]:
    """The command of a worker that takes one run at a time, of any of its queues."""
    options = ["-Q", queues, "--concurrency", "1", "--loglevel", "INFO"]
    return ["celery", "-A", "dagster_celery.app", "worker", *options, "-n", f"{name}@caliper"]


def backfill_of(hours: HourRange) -> str:
    """What the web UI asks for in GraphQL, for a backfill of all assets."""
    assets = ", ".join(f'{{path: ["{frame.name}"]}}' for frame in FRAMES)
    names = json.dumps([hour.key for hour in hours])
    return BACKFILL.replace("ASSETS", f"[{assets}]").replace("HOURS", names)


def launch_backfill(hours: HourRange, settings: Mapping[str, str], folder: Path) -> None:
    """Start a backfill of the hours, as the web UI does; the daemon makes its runs."""
    asked = folder / "backfill.graphql"  # a year is too long for an argument
    asked.write_text(backfill_of(hours))
    told = dagster(["dagster-graphql", "--file", str(asked)], settings, folder)
    assert "LaunchBackfillSuccess" in told, told


def dagster(command: Sequence[str], settings: Mapping[str, str], folder: Path) -> str:
    """What one of Dagster's programs says of the project."""
    done = subprocess.run(
        [str(PROGRAMS / command[0]), *command[1:], "-m", "caliper_dagster.definitions"],
        env=clean_environment(dict(os.environ)) | dict(settings),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@dataclass(frozen=True)
class Shared:
    """What the machines share."""

    site: Installation
    settings: Mapping[str, str]
    hours: HourRange

    @property
    def storage(self) -> PartitionStore:
        return PartitionStore(self.settings["CALIPER_STORAGE"])

    def runs(self, *statuses: Status) -> list[dg.DagsterRun]:
        with environment(self.settings), open_instance() as instance:
            return list(instance.get_runs(dg.RunsFilter(statuses=statuses or None)))

    def acknowledged(self) -> list[str]:
        """Ids in the ledger, as often as they were acknowledged."""
        name = HttpDestination(self.settings["CALIPER_EVENT_STORE_URL"], None).name
        with Ledger(self.settings["CALIPER_LEDGER_URL"]) as ledger:
            found = ledger.batches(name, list(self.hours), site=self.settings["MOODLE_WWWROOT"])
        batches = [batch for of_hour in found.values() for batch in of_hour]
        ids: list[str] = pc.list_flatten(results_table(name, batches)["event_ids"]).to_pylist()
        return ids

    def launch(self) -> None:
        """Start a backfill of all hours."""
        launch_backfill(self.hours, self.settings, self.site.folder)

    def every_hour_is_sent(self) -> bool:
        """Whether nothing is left to do."""
        unfinished = self.runs(*set(Status) - {Status.SUCCESS, Status.FAILURE})
        written = (self.storage.exists(EMISSION_RESULTS, hour) for hour in self.hours)
        return not unfinished and all(written)


def wait_until(condition: Callable[[], bool], machines: Sequence[Machine], patience: float) -> None:
    """Look again and again, while the machines run."""
    deadline = time.monotonic() + patience
    while not condition():
        for each in machines:
            assert each.process.poll() is None, f"{each.name} has ended:\n{each.log()[-3000:]}"
        logs = "\n".join(each.log()[-2000:] for each in machines)
        assert time.monotonic() < deadline, f"it takes too long:\n{logs}"
        time.sleep(0.5)


@contextmanager
def shared(
    site: Installation,
    hours: HourRange,
    postgres: Server,
    objects: services.ObjectStore,
    bucket: str,
) -> Iterator[Shared]:
    """Everything that the machines share: databases, Redis and a bucket, beside a Moodle site."""
    databases = [postgres.create_database() for _ in range(2)]
    with services.redis(site.folder) as redis:
        shutil.copytree(CELERY, site.home)
        settings = {
            **site.settings,
            **objects.environment,
            "CALIPER_STORAGE": bucket,
            "CALIPER_LEDGER_URL": databases[0],
            "DAGSTER_POSTGRES_URL": databases[1],
            "DAGSTER_EVENT_BATCH_SIZE": "1000",
            "CELERY_BROKER_URL": redis,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, CELERY))),
        }
        with environment(settings), open_instance() as instance:
            # Two workers that make the same pool at the same time would fail in Dagster 1.13.
            for pool in (MOODLE_POOL, EVENT_STORE_POOL):
                instance.event_log_storage.set_concurrency_slots(pool, 2)
        yield Shared(site, settings, hours)
    for database in databases:
        postgres.drop_database(database)
