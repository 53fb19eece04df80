import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import requests

from caliper_dagster.cli.main import main
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.embedded.arrivals import arrivals
from caliper_dagster.operations.demo import Demo
from caliper_dagster_tests.harness.commands import command_line
from caliper_dagster_tests.harness.environment import clean_environment, environment
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port


@pytest.mark.usefixtures("hour_in_progress")
def test_the_demo_accounts_for_a_day_and_can_be_repeated_and_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = Demo(tmp_path / "demo")
    run = ["demo", "--folder", str(demo.folder), "--students", "20"]
    others = {"MOODLE_DB_URL": "mysql+pymysql://the:users@own/moodle", "CALIPER_BATCH_SIZE": "1"}
    with environment(others):
        assert main(run) == 0
    told = capsys.readouterr().out
    numbers = [line.split() for line in told.splitlines()]
    assert ["Hours", "24"] in numbers
    assert ["Unexplained", "rows", "0"] in numbers
    assert "make dev" in told
    arrived = arrivals(demo.arrived)
    assert arrived.events == arrived.received > 100

    with environment({}):
        assert main(run) == 0
    # Past the hour the demo begins anew; within it, it has nothing left to send.
    if "Kept the sample" in capsys.readouterr().out:
        assert arrivals(demo.arrived) == arrived

    looks_at(demo)


def looks_at(demo: Demo) -> None:
    """`dev` without settings of one's own serves the demo's hours, and ends with all it started."""
    port = free_port()
    process = subprocess.Popen(
        command_line("dev", "--folder", str(demo.folder), "--port", str(port)),
        cwd=ROOT,
        env=clean_environment(dict(os.environ)),
    )
    try:
        shown = materialized(port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert shown == {frame.name: 24 for frame in FRAMES}
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/server_info", timeout=5)
    with pytest.raises(requests.ConnectionError):
        requests.get(demo.settings()["CALIPER_EVENT_STORE_URL"], timeout=5)


def materialized(port: int, process: subprocess.Popen[bytes]) -> dict[str, int]:
    """Hours of each asset that the web UI shows as materialized."""
    query = "{assetNodes{assetKey{path} partitionStats{numMaterialized}}}"
    while process.poll() is None:
        try:
            answer = requests.post(
                f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=30
            )
            nodes = answer.json()["data"]["assetNodes"]
        except requests.ConnectionError:
            time.sleep(0.2)
            continue
        return {
            node["assetKey"]["path"][0]: node["partitionStats"]["numMaterialized"]
            for node in nodes
            if node["partitionStats"]  # Tables of Moodle and event stores have none.
        }
    raise AssertionError("it ended before it served anything")


@pytest.mark.usefixtures("hour_in_progress")
def test_a_demo_of_an_earlier_hour_begins_anew_unless_it_is_in_use(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    assert demo.prepare(students=5)
    assert not demo.prepare(students=5)
    with demo.event_store():
        first = demo.settings()
        os.utime(demo.sample, (0, 0))
        with pytest.raises(ConfigurationError, match="from an earlier hour and still running"):
            demo.prepare(students=5)
    assert demo.prepare(students=5)
    assert demo.settings()["CALIPER_API_KEY"] != first["CALIPER_API_KEY"]
    assert not demo.arrived.exists()


def test_the_event_store_of_the_demo_keeps_its_address(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    demo.prepare(students=5)
    addresses = set()
    for _ in range(2):
        with demo.event_store():
            addresses.add(demo.settings()["CALIPER_EVENT_STORE_URL"])
            with demo.event_store():
                addresses.add(demo.settings()["CALIPER_EVENT_STORE_URL"])
    assert len(addresses) == 1


def test_the_settings_of_the_demo_are_for_its_owner_only(tmp_path: Path) -> None:
    Demo(tmp_path).prepare(students=5)
    assert (tmp_path / "demo.env").stat().st_mode & 0o077 == 0


def test_without_a_demo_there_is_nothing_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment({}):
        assert main(["dev", "--folder", str(tmp_path), "--port", str(free_port())]) == 2
    assert "caliper-dagster demo" in capsys.readouterr().err
