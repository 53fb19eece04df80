"""A backfill on two Celery workers that share nothing but servers, one of which is killed.

The real site's database gets further hours of a few rows before its own: one day before two.
``CALIPER_TEST_YEAR=1`` makes that a year, before all there are.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from dagster import DagsterRunStatus as Status
from fsspec.core import url_to_fs

from caliper_dagster.core.frames import CALIPER_EVENTS, FRAMES
from caliper_dagster.core.hours import HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster_tests.harness import commands, moodle_dump, services
from caliper_dagster_tests.harness.event_store_proxy import EventStoreProxy
from caliper_dagster_tests.harness.installation import Installation, between, installation
from caliper_dagster_tests.harness.moodle_dump import DUMP_HOURS, DUMP_SITE
from caliper_dagster_tests.harness.servers import Server
from caliper_dagster_tests.harness.several_machines import (
    DAEMON,
    Shared,
    machine,
    shared,
    wait_until,
    worker,
)

YEAR = bool(os.environ.get("CALIPER_TEST_YEAR"))
FURTHER_HOURS = 8760 if YEAR else 24
OWN_HOURS = len(DUMP_HOURS) if YEAR else 48
HOURS_PER_RUN = 168 if YEAR else 12
PATIENCE = 7200 if YEAR else 900
BATCH_SIZE, IN_FLIGHT = 200, 2


@pytest.fixture
def moodle(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, HourRange]:
    """Moodle's database, its address, and its hours."""
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
    return url, DUMP_SITE, HourRange(first, DUMP_HOURS.start + OWN_HOURS)


def behind(site: Installation, proxy: EventStoreProxy) -> Installation:
    """The same installation, whose envelopes go through the proxy."""
    return replace(site, settings={**site.settings, "CALIPER_EVENT_STORE_URL": proxy.url})


@pytest.fixture
def installed(
    tmp_path: Path,
    moodle: tuple[str, str, HourRange],
    postgres_server: Server,
    object_store: services.ObjectStore,
    bucket: str,
) -> Iterator[tuple[Shared, EventStoreProxy]]:
    url, wwwroot, hours = moodle
    common = {
        "CALIPER_START": str(hours.start),
        "CALIPER_HOURS_PER_RUN": str(HOURS_PER_RUN),
        "CALIPER_BATCH_SIZE": str(BATCH_SIZE),
        "CALIPER_ENVELOPES_IN_FLIGHT": str(IN_FLIGHT),
        # No envelope that the proxy holds is given up.
        "CALIPER_EVENT_STORE_TIMEOUT": str(PATIENCE),
    }
    (tmp_path / "shared").mkdir()
    with (
        installation(tmp_path / "shared", url, wwwroot, **common) as site,
        EventStoreProxy(site.settings["CALIPER_EVENT_STORE_URL"]) as proxy,
        shared(behind(site, proxy), hours, postgres_server, object_store, bucket) as found,
    ):
        yield found, proxy


def test_two_workers_share_a_backfill_and_one_makes_good_what_the_other_leaves(
    installed: tuple[Shared, EventStoreProxy], tmp_path: Path
) -> None:
    machines, proxy = installed
    proxy.hold()
    with (
        machine(tmp_path, "one", worker("one"), machines.settings) as one,
        machine(tmp_path, "two", worker("two"), machines.settings) as two,
        machine(tmp_path, "daemon", DAEMON, machines.settings) as daemon,
    ):
        machines.launch()

        def both_are_sending() -> bool:
            return proxy.held == 2 * IN_FLIGHT

        # A worker takes one run at a time, and no run ends while its envelopes are held.
        wait_until(both_are_sending, [one, two, daemon], PATIENCE)
        one.kill()
        proxy.release()

        def all_is_made_good() -> bool:
            succeeded = {run.root_run_id for run in machines.runs(Status.SUCCESS)}
            failed = {run.root_run_id or run.run_id for run in machines.runs(Status.FAILURE)}
            return failed <= succeeded and machines.every_hour_is_sent()

        wait_until(all_is_made_good, [two, daemon], PATIENCE)

        assert "execute_job" in one.log()
        assert "execute_job" in two.log()
        for each in (one, two):
            assert list(each.folder.rglob("*.parquet")) == []
            assert list((each.folder / "work").iterdir()) == []

    failed = machines.runs(Status.FAILURE)
    assert failed

    events = machines.storage.read(CALIPER_EVENTS, machines.hours, ["event_id"])["event_id"]
    ids = sorted(events.drop_null().to_pylist())
    assert len(ids) == len(set(ids)) > 1000
    assert sorted(machines.acknowledged()) == ids
    received = machines.site.received()
    assert sorted(received) == ids
    assert sum(received.values()) - len(received) <= len(failed) * IN_FLIGHT * BATCH_SIZE

    alone = tmp_path / "alone"
    alone.mkdir()
    settings = {**machines.site.settings, "DAGSTER_HOME": str(alone / "dagster")}
    done = commands.run(["backfill", *between(machines.hours)], settings, alone)
    assert done.status == 0, done.err
    folder = PartitionStore(str(alone / "dagster" / "data"))
    files, _ = url_to_fs(machines.settings["CALIPER_STORAGE"])
    for frame in FRAMES[:3]:
        for hour in machines.hours:
            content = Path(folder.path(frame, hour)).read_bytes()
            assert files.cat_file(machines.storage.path(frame, hour)) == content, (frame.name, hour)
