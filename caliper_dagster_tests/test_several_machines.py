"""A backfill on two Celery workers that share nothing but servers, one of which is killed.

The real site's database (a sample site's when it is not there) gets further hours of a few rows
before its own. ``CALIPER_TEST_YEAR=1`` makes these a year; otherwise they are a few days.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa
from dagster import DagsterRunStatus as Status
from fsspec.core import url_to_fs

from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter import EventStore, Ledger
from caliper_dagster.emitter.ledger import results_table
from caliper_dagster.frames import CALIPER_EVENTS, EMISSION_RESULTS, FRAMES
from caliper_dagster.hours import Hour, HourRange
from caliper_dagster.runs import open_instance
from caliper_dagster.storage import PartitionStorage
from caliper_dagster_tests import commands, moodle_dump, services
from caliper_dagster_tests.installation import (
    DUMP_HOURS,
    DUMP_SITE,
    Installation,
    between,
    installation,
)
from caliper_dagster_tests.servers import ROOT, Server, die_with_parent
from caliper_dagster_tests.standing import clean_environment, environment

CELERY = ROOT / "deploy" / "celery"
YEAR = bool(os.environ.get("CALIPER_TEST_YEAR"))
FURTHER_HOURS = 8760 if YEAR else 72
HOURS_PER_RUN = 168 if YEAR else 24
PATIENCE = 7200 if YEAR else 600
BATCH_SIZE, IN_FLIGHT = 200, 2

BACKFILL = """
mutation($wanted: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $wanted) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
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
    folder: Path, name: str, command: list[str], settings: Mapping[str, str]
) -> Iterator[Machine]:
    home = folder / name
    (home / "work").mkdir(parents=True)
    shutil.copy(CELERY / "dagster.yaml", home)
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=clean_environment(dict(os.environ)) | dict(settings) | {"DAGSTER_HOME": str(home)},
            cwd=home / "work",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    found = Machine(name, home, process)
    try:
        yield found
    finally:
        if process.poll() is None:
            found.kill()


def worker(name: str) -> list[str]:
    queues = ["-Q", "hour,backfill", "--concurrency", "1", "-n", f"{name}@caliper"]
    return ["celery", "-A", "dagster_celery.app", "worker", *queues]


@dataclass(frozen=True)
class Shared:
    """What the machines share."""

    site: Installation
    settings: Mapping[str, str]
    hours: HourRange

    @property
    def storage(self) -> PartitionStorage:
        return PartitionStorage(self.settings["CALIPER_STORAGE"])

    def runs(self, *statuses: Status) -> list[dg.DagsterRun]:
        with environment(self.settings), open_instance() as instance:
            return list(instance.get_runs(dg.RunsFilter(statuses=statuses or None)))

    def acknowledged(self) -> list[str]:
        """Ids in the ledger, as often as they were acknowledged."""
        name = EventStore(self.settings["CALIPER_EVENT_STORE_URL"], None).name
        with Ledger(self.settings["CALIPER_LEDGER_URL"]) as ledger:
            found = ledger.batches(name, list(self.hours), site=self.settings["MOODLE_WWWROOT"])
        batches = [batch for of_hour in found.values() for batch in of_hour]
        return pc.list_flatten(results_table(name, batches)["event_ids"]).to_pylist()

    def launch(self) -> None:
        """Start a backfill of all hours, as the web UI does."""
        wanted = {
            "assetSelection": [{"path": [frame.name]} for frame in FRAMES],
            "partitionNames": [hour.key for hour in self.hours],
        }
        graphql = ["-m", "dagster_graphql", "-m", "caliper_dagster.definitions", "-t", BACKFILL]
        asked = subprocess.run(
            [sys.executable, *graphql, "-v", json.dumps({"wanted": wanted})],
            env=clean_environment(dict(os.environ)) | dict(self.settings),
            cwd=self.site.folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert "LaunchBackfillSuccess" in asked.stdout, asked.stdout + asked.stderr


def wait_until(condition: Callable[[], bool], machines: list[Machine]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        for each in machines:
            assert each.process.poll() is None, f"{each.name} has ended:\n{each.log()[-3000:]}"
        logs = "\n".join(each.log()[-2000:] for each in machines)
        assert time.monotonic() < deadline, f"it takes too long:\n{logs}"
        time.sleep(0.5)


@pytest.fixture
def moodle(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, HourRange]:
    """Moodle's database, its address, and its hours."""
    if not moodle_dump.DUMP.exists():
        end = Hour.from_key("2026-03-02-12:00")
        site = write_sample(tmp_path / "moodle.sqlite", students=40, hours=FURTHER_HOURS, end=end)
        return f"sqlite:///{site.path}", site.wwwroot, site.hours
    url = request.getfixturevalue("mariadb_url")
    moodle_dump.load_dump(url)
    first, log = DUMP_HOURS.start + -FURTHER_HOURS, moodle_dump.LOG_TABLE
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    names = [c["name"] for c in sa.inspect(engine).get_columns(log) if c["name"] != "id"]
    values = [f"{first.start} + seq * 1200" if n == "timecreated" else f"l.{n}" for n in names]
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {log} ({', '.join(names)}) SELECT {', '.join(values)} "
            f"FROM seq_0_to_{FURTHER_HOURS * 3 - 1} JOIN {log} l ON l.id = 1 + seq %% 20000"
        )
    return url, DUMP_SITE, HourRange(first, DUMP_HOURS.end)


@pytest.fixture
def shared(
    tmp_path: Path,
    moodle: tuple[str, str, HourRange],
    postgres_server: Server,
    object_store: services.ObjectStore,
    bucket: str,
) -> Iterator[Shared]:
    url, wwwroot, hours = moodle
    common = {
        "CALIPER_START": str(hours.start),
        "CALIPER_HOURS_PER_RUN": str(HOURS_PER_RUN),
        "CALIPER_BATCH_SIZE": str(BATCH_SIZE),
        "CALIPER_ENVELOPES_IN_FLIGHT": str(IN_FLIGHT),
    }
    ledger, dagster = postgres_server.create_database(), postgres_server.create_database()
    (tmp_path / "shared").mkdir()
    with (
        services.redis(tmp_path) as redis,
        installation(tmp_path / "shared", url, wwwroot, **common) as site,
    ):
        shutil.copytree(CELERY, site.home)
        settings = {
            **site.settings,
            **object_store.environment,
            "CALIPER_STORAGE": bucket,
            "CALIPER_LEDGER_URL": ledger,
            "DAGSTER_POSTGRES_URL": dagster,
            "DAGSTER_EVENT_BATCH_SIZE": "1000",
            "CELERY_BROKER_URL": redis,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, CELERY))),
        }
        yield Shared(site, settings, hours)
    for database in (ledger, dagster):
        postgres_server.drop_database(database)


def test_two_workers_share_a_backfill_and_one_makes_good_what_the_other_leaves(
    shared: Shared, tmp_path: Path
) -> None:
    daemon_command = ["dagster._daemon", "run", "-m", "caliper_dagster.definitions"]
    with (
        machine(tmp_path, "one", worker("one"), shared.settings) as one,
        machine(tmp_path, "two", worker("two"), shared.settings) as two,
        machine(tmp_path, "daemon", daemon_command, shared.settings) as daemon,
    ):
        shared.launch()

        def both_are_at_work() -> bool:
            return len(shared.runs(Status.STARTED)) >= 2 and shared.site.arrived().events > 0

        wait_until(both_are_at_work, [one, two, daemon])
        one.kill()

        def every_hour_is_sent() -> bool:
            unfinished = shared.runs(*set(Status) - {Status.SUCCESS, Status.FAILURE})
            written = (shared.storage.exists(EMISSION_RESULTS, hour) for hour in shared.hours)
            return not unfinished and all(written)

        wait_until(every_hour_is_sent, [two, daemon])

        assert "execute_job" in one.log()
        assert "execute_job" in two.log()
        for each in (one, two):
            assert list(each.folder.rglob("*.parquet")) == []
            assert list((each.folder / "work").iterdir()) == []

    failed = shared.runs(Status.FAILURE)
    assert failed
    retried = {run.parent_run_id for run in shared.runs(Status.SUCCESS)}
    assert {run.run_id for run in failed} <= retried

    events = shared.storage.read(CALIPER_EVENTS, shared.hours, ["event_id"])["event_id"]
    ids = sorted(events.drop_null().to_pylist())
    assert len(ids) == len(set(ids)) > 1000
    assert sorted(shared.acknowledged()) == ids
    received = shared.site.received()
    assert sorted(received) == ids
    assert sum(received.values()) - len(received) <= len(failed) * IN_FLIGHT * BATCH_SIZE

    alone = tmp_path / "alone"
    alone.mkdir()
    settings = {**shared.site.settings, "DAGSTER_HOME": str(alone / "dagster")}
    done = commands.run(["backfill", *between(shared.hours)], settings, alone)
    assert done.status == 0, done.err
    folder = PartitionStorage(str(alone / "dagster" / "data"))
    files, _ = url_to_fs(shared.settings["CALIPER_STORAGE"])
    for frame in FRAMES[:3]:
        for hour in shared.hours:
            content = Path(folder.path(frame, hour)).read_bytes()
            assert files.cat_file(shared.storage.path(frame, hour)) == content, (frame.name, hour)
