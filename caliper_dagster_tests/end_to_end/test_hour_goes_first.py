"""The hour of the schedule in the middle of a backfill, with Dagster's own daemon and processes."""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus as Status

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.dagster.instance.open import DEFAULT_DAGSTER_YAML, open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.operations.run_outcome import read_outcome
from caliper_dagster_tests.harness import services
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.installation import Installation, installation
from caliper_dagster_tests.harness.servers import Server
from caliper_dagster_tests.harness.several_machines import (
    DAEMON,
    Machine,
    dagster,
    launch_backfill,
    machine,
    process,
    shared,
    wait_until,
    worker,
)

BACKFILL_HOURS = 60
SCHEDULE = f"{CHAIN_JOB}_schedule"
PATIENCE = 300
RECEIVED = re.compile(r"execute_job\[\S+\] received")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    """A site whose log ends now."""
    end = Hour.of(time.time()) + 1
    sample = write_sample(tmp_path / "moodle.sqlite", students=3, hours=BACKFILL_HOURS + 2, end=end)
    settings = {"CALIPER_START": str(sample.hours.start), "CALIPER_HOURS_PER_RUN": "1"}
    url = f"sqlite:///{sample.path}"
    with installation(tmp_path, url, sample.wwwroot, **settings) as found:
        yield found


def backfilled() -> HourRange:
    """All hours of the site but the last ones."""
    start = Hour.of(time.time()) + -BACKFILL_HOURS
    return HourRange(start, start + BACKFILL_HOURS + -2)


def runs(settings: Mapping[str, str], tag: str, status: Status) -> list[dg.DagsterRun]:
    with environment(settings), open_instance() as instance:
        found = instance.get_runs(dg.RunsFilter(statuses=[status]))
    return [run for run in found if tag in run.tags]


def lag(seconds: float) -> tuple[Hour, dict[str, str]]:
    """The hour that the schedule makes then or up to a minute earlier, and how it is told to."""
    tick = datetime.fromtimestamp(time.time() + seconds, UTC).replace(second=0)
    return Hour.of(tick.timestamp()) + -1, {"CALIPER_SCHEDULE_LAG": str(tick.minute)}


def wait_for_the_hour(settings: Mapping[str, str], machines: Sequence[Machine]) -> None:
    """Wait until the schedule's run is done; most of the backfill has to be waiting then."""

    def seen(tag: str, status: Status) -> Callable[[], bool]:
        return lambda: bool(runs(settings, tag, status))

    wait_until(seen("dagster/backfill", Status.STARTED), machines, PATIENCE)
    wait_until(seen("dagster/schedule_name", Status.SUCCESS), machines, PATIENCE)
    assert len(runs(settings, "dagster/backfill", Status.QUEUED)) > 10


def assert_acknowledged(kept: PartitionStore, hour: Hour) -> None:
    delivery = read_outcome(kept, HourRange(hour, hour + 1)).delivery
    assert delivery.acknowledged == delivery.events > 0


def test_the_schedule_has_its_hour_acknowledged_while_a_backfill_goes_on(
    site: Installation,
) -> None:
    (site.home / "work").mkdir(parents=True)
    shutil.copy(DEFAULT_DAGSTER_YAML, site.home)
    launch_backfill(backfilled(), site.settings, site.folder)
    hour, asked = lag(80)
    settings = {**site.settings, **asked}
    dagster(["dagster", "schedule", "start", SCHEDULE], settings, site.folder)
    with process(site.home, DAEMON, settings) as daemon:
        wait_for_the_hour(settings, [daemon])
    assert_acknowledged(site.storage, hour)


def test_a_celery_worker_of_the_queue_of_hours_is_not_held_up_by_a_backfill(
    site: Installation,
    tmp_path: Path,
    postgres_server: Server,
    object_store: services.ObjectStore,
    bucket: str,
) -> None:
    with shared(site, backfilled(), postgres_server, object_store, bucket) as machines:
        hour, asked = lag(150)  # The machines start before it.
        settings = {**machines.settings, **asked}
        with (
            machine(tmp_path, "patient", worker("patient", "backfill"), settings) as patient,
            machine(tmp_path, "punctual", worker("punctual", "hour"), settings) as punctual,
            machine(tmp_path, "daemon", DAEMON, settings) as daemon,
        ):
            machines.launch()
            dagster(["dagster", "schedule", "start", SCHEDULE], settings, site.folder)
            wait_for_the_hour(settings, [patient, punctual, daemon])
            taken = [len(RECEIVED.findall(one.log())) for one in (punctual, patient)]
            assert taken[0] == 1 <= taken[1]
        assert_acknowledged(machines.storage, hour)
