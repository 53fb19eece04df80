"""The project of a host in ``examples/host_project``, as its engineer works with it.

Dagster's storage is the stock one, in SQLite. The commands are `dg` and `caliper-dagster`; one
process of `dg dev` takes a backfill and makes the daily table when the hours of a day are there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from caliper_dagster import load_hours
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.embedded.arrivals import Arrivals, arrivals
from caliper_dagster.embedded.event_store import running
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster_tests.harness.commands import command_line
from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port

KEY = "key-of-the-school"
BACKFILL = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { __typename
    ... on PythonError { message } } }
"""
RUNS = """
{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }
"""
_PATIENCE = 420
"""Seconds after which what Dagster's services do is taken to hang."""


@dataclass(frozen=True)
class School:
    """The project, with a Moodle site of 48 hours for each of its two components.

    Attributes:
        folder: the copy of the project.
        data: the folder of the data team.
        day: the last complete day.
        settings: the variables that the project's files refer to.
    """

    folder: Path
    data: Path
    day: datetime
    settings: dict[str, str]

    @property
    def hours(self) -> HourRange:
        first = Hour.of(self.day.timestamp())
        return HourRange(first, first + 24)

    def environment(self) -> dict[str, str]:
        return clean_environment(dict(os.environ)) | self.settings

    def run(self, program: str, *arguments: str) -> str:
        """What a command prints, which must succeed."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name(program)), *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def arrived(self) -> Arrivals:
        return arrivals(self.data / "event_store.sqlite")

    def events(self, site: str, hours: HourRange) -> int:
        """The number of events that a site has stored."""
        store = PartitionStore(str(self.data / "moodle" / site))
        table = store.read(CALIPER_EVENTS, list(hours))
        return table.num_rows - table["event_id"].null_count


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    work = tmp_path_factory.mktemp("school")
    folder, data, home = work / "host_project", work / "data", work / "dagster"
    shutil.copytree(ROOT / "examples" / "host_project", folder)
    data.mkdir()
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    now = datetime.now(UTC)
    for seed, site in enumerate(("north", "south"), 1):
        end = Hour.of(now.timestamp())
        write_sample(work / f"{site}.sqlite", students=15, hours=48, seed=seed, end=end)
    with running(data / "event_store.sqlite", KEY) as url:
        settings = {
            "DAGSTER_HOME": str(home),
            "PYTHONPATH": str(folder / "src"),
            "SCHOOL_DATA": str(data),
            "NORTH_MOODLE_DB_URL": f"sqlite:///{work}/north.sqlite",
            "SOUTH_MOODLE_DB_URL": f"sqlite:///{work}/south.sqlite",
            "EVENT_STORE_URL": url,
            "EVENT_STORE_KEY": KEY,
        }
        yesterday = (now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        yield School(folder, data, yesterday, settings)


def test_two_components_that_are_the_same_site_are_refused(school: School, tmp_path: Path) -> None:
    """Whoever copies a ``defs.yaml`` changes the prefix first."""
    copied = shutil.copytree(school.folder, tmp_path / "copied")
    defs = copied / "src/school_analytics/defs"
    text = (defs / "north/defs.yaml").read_text(encoding="utf-8")
    (defs / "south/defs.yaml").write_text(
        text.replace("asset_key_prefix: north", "asset_key_prefix: south"), encoding="utf-8"
    )
    done = subprocess.run(
        command_line("--defs", str(copied), "doctor"),
        env=school.environment() | {"PYTHONPATH": f"{copied / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    assert done.returncode == 2
    assert "sites north and south have the same MOODLE_WWWROOT" in done.stderr


def test_dagsters_own_commands_accept_and_list_the_project(school: School) -> None:
    assert "loaded successfully" in school.run("dg", "check", "defs")
    assert "validated successfully" in school.run("dg", "check", "yaml")
    components = json.loads(school.run("dg", "list", "components", "--json"))["items"]
    (component,) = (it for it in components if it["key"] == "caliper_dagster.MoodleSite")
    assert component["summary"].startswith("Moodle's log as 1EdTech Caliper events")

    listed = json.loads(school.run("dg", "list", "defs", "--json"))
    assets = {asset["asset_key"]: asset for asset in listed["assets"]}
    assert {"north/caliper_events", "south/caliper_events", "north/daily_activity"} <= set(assets)
    assert assets["north/caliper_events"]["group_name"] == "north_caliper"
    assert assets["south/caliper_events"]["group_name"] == "south_campus"
    assert assets["south/caliper_events"]["owners"] == [
        {"team": "learning-platform"},
        {"email": "moodle@example.org"},
    ]
    assert "campus" in str(assets["south/caliper_events"]["tags"])
    resources = {resource["name"] for resource in listed["resources"]}
    assert {"storage", "north_caliper_storage", "south_caliper_storage"} <= resources


def test_a_further_site_is_scaffolded(school: School, tmp_path: Path) -> None:
    file = school.folder / "src" / "school_analytics" / "defs" / "east" / "defs.yaml"
    try:
        school.run("dg", "scaffold", "defs", "caliper_dagster.MoodleSite", "east")
        assert "asset_key_prefix: east" in file.read_text()
        assert "validated successfully" in school.run("dg", "check", "yaml")
    finally:
        shutil.rmtree(file.parent, ignore_errors=True)


def test_one_hour_is_launched(school: School) -> None:
    hour = school.hours.start + 9
    before = school.arrived().events
    job = "north_caliper_events_of_the_hour"
    school.run("dg", "launch", "--job", job, "--partition", hour.key)
    made = school.events("north", HourRange(hour, hour + 1))
    assert school.arrived().events - before == made > 0


def test_caliper_dagster_finds_the_settings_of_the_components(school: School) -> None:
    found = school.run("caliper-dagster", "--defs", ".", "doctor")
    for site in ("north", "south"):
        assert f"ok      {site}  Moodle database" in found
        assert f"ok      {site}  Event store" in found
    assert "BROKEN" not in found

    hours = HourRange(school.hours.start + 10, school.hours.start + 14)
    file = "src/school_analytics/defs/south/defs.yaml"
    given = ("--from", str(hours.start), "--to", str(hours.end))
    before = school.arrived().events
    done = school.run("caliper-dagster", "--defs", file, "backfill", *given)
    made = school.events("south", hours)
    assert school.arrived().events - before == made > 0
    assert "acknowledged" in done.lower()


@pytest.fixture
def ask(school: School) -> Iterator[Callable[..., Any]]:
    """A request to the web server of `dg dev`; the answer as data."""
    port = free_port()
    with ExitStack() as stack:
        log = stack.enter_context((school.data / "dev.log").open("w"))
        process = stack.enter_context(
            subprocess.Popen(
                [str(Path(sys.executable).with_name("dg")), "dev", "--port", str(port)],
                cwd=school.folder,
                env=school.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        )
        stack.callback(process.send_signal, signal.SIGTERM)

        def post(query: str, **variables: object) -> Any:
            until = time.monotonic() + _PATIENCE
            while time.monotonic() < until:
                assert process.poll() is None, (school.data / "dev.log").read_text()
                try:
                    answer = requests.post(
                        f"http://127.0.0.1:{port}/graphql",
                        json={"query": query, "variables": variables},
                        timeout=60,
                    )
                except requests.ConnectionError:
                    time.sleep(0.5)
                    continue
                return answer.json()["data"]
            raise AssertionError("the web server does not answer")

        yield post


def test_a_backfill_of_a_day_makes_the_daily_table_by_automation(
    school: School, ask: Callable[..., Any]
) -> None:
    assets = ("moodle_log", "expanded_log", "caliper_events", "emission_results")
    params = {
        "assetSelection": [{"path": ["north", asset]} for asset in assets],
        "partitionNames": [hour.key for hour in school.hours],
    }
    launched = ask(BACKFILL, params=params)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    day = f"{school.day:%Y-%m-%d}"
    until = time.monotonic() + _PATIENCE
    while "SUCCESS" not in (statuses := _runs_of(ask, day)):
        assert "FAILURE" not in statuses
        assert time.monotonic() < until, "the daily table is not made"
        time.sleep(1)

    with duckdb.connect(str(school.data / "north.duckdb"), read_only=True) as connection:
        row = connection.execute(
            "SELECT sum(events), count(DISTINCT course) FROM daily_activity WHERE day = ?", [day]
        ).fetchone()
    assert row is not None
    assert row[0] == school.events("north", school.hours)
    assert row[1] > 1

    frame = load_hours(
        "caliper_events",
        str(school.hours.start),
        str(school.hours.end),
        columns=["event_id", "group_id"],
        storage=str(school.data / "moodle" / "north"),
    )
    assert frame["event_id"].notna().sum() == row[0]


def _runs_of(ask: Callable[..., Any], partition: str) -> list[str]:
    """The statuses of the runs of a partition."""
    runs = ask(RUNS)["runsOrError"]["results"]
    wanted = {"key": "dagster/partition", "value": partition}
    return [run["status"] for run in runs if wanted in run["tags"]]
