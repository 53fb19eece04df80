"""The hour of the schedule in the middle of a backfill, with Dagster's own daemon and processes."""

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus as Status

from caliper_dagster.automation import CHAIN_JOB
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.hours import Hour, HourRange
from caliper_dagster.runs import STANDING_CONFIGURATION, done, open_instance
from caliper_dagster_tests.installation import Installation, installation
from caliper_dagster_tests.several_machines import (
    DAEMON,
    dagster,
    launch_backfill,
    process,
    wait_until,
)
from caliper_dagster_tests.standing import environment

BACKFILL_HOURS = 60
SCHEDULE = f"{CHAIN_JOB}_schedule"
PATIENCE = 300


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    """A site whose log ends now, and the project's own configuration of Dagster."""
    end = Hour.of(time.time()) + 1
    sample = write_sample(tmp_path / "moodle.sqlite", students=3, hours=BACKFILL_HOURS + 2, end=end)
    settings = {"CALIPER_START": str(sample.hours.start), "CALIPER_HOURS_PER_RUN": "1"}
    url = f"sqlite:///{sample.path}"
    with installation(tmp_path, url, sample.wwwroot, **settings) as found:
        (found.home / "work").mkdir(parents=True)
        shutil.copy(STANDING_CONFIGURATION, found.home)
        yield found


def test_the_schedule_has_its_hour_acknowledged_while_a_backfill_goes_on(
    site: Installation,
) -> None:
    start = Hour.of(time.time()) + -BACKFILL_HOURS
    launch_backfill(HourRange(start, start + BACKFILL_HOURS + -2), site.settings, site.folder)
    tick = datetime.fromtimestamp(time.time() + 80, UTC).replace(second=0)
    settings = {**site.settings, "CALIPER_SCHEDULE_LAG": str(tick.minute)}
    dagster(["dagster", "schedule", "start", SCHEDULE], settings, site.folder)

    def runs(tag: str, status: Status) -> list[dg.DagsterRun]:
        with environment(settings), open_instance() as instance:
            found = instance.get_runs(dg.RunsFilter(statuses=[status]))
        return [run for run in found if tag in run.tags]

    with process(site.home, DAEMON, settings) as daemon:
        wait_until(lambda: bool(runs("dagster/backfill", Status.STARTED)), [daemon], PATIENCE)
        wait_until(lambda: bool(runs("dagster/schedule_name", Status.SUCCESS)), [daemon], PATIENCE)
        waiting = runs("dagster/backfill", Status.QUEUED)

    assert len(waiting) > 10
    hour = Hour.of(tick.timestamp()) + -1
    delivery = done(site.storage, HourRange(hour, hour + 1)).delivery
    assert delivery.acknowledged == delivery.events > 0
