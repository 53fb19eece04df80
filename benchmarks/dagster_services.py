"""Web server and daemon of an installation for benchmarks, on PostgreSQL, as in production.

What is asked of it goes over the web UI's own GraphQL. All processes are in sessions of their own,
so that they can be killed with everything that they have started, as by a power failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from caliper_dagster.core.hours import HourRange
from caliper_dagster.dagster.instance.open import DEFAULT_DAGSTER_YAML
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.servers import die_with_parent
from caliper_dagster_tests.harness.several_machines import backfill_of

_MODULE = "caliper_dagster.definitions"
_PATIENCE = 180
_RUN = b"spawn_main"
"""In the command line of a process that the code server has started for a run."""

_LOADED = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
_STATUS = """
query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status } ... on PythonError { message } } }
"""
_SCHEDULE = """
mutation($schedule: ScheduleSelector!) { startSchedule(scheduleSelector: $schedule) {
  __typename ... on PythonError { message } } }
"""


@dataclass
class DagsterServices:
    """The processes, and where they are asked."""

    home: Path
    settings: Mapping[str, str]
    port: int = field(default_factory=free_port)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start web server and daemon; returns when the web UI knows the project."""
        address = ("--host", "127.0.0.1", "--port", str(self.port))
        for command in (("dagster-webserver", *address), ("dagster-daemon", "run")):
            self._processes.append(self._started(*command))
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(requests.ConnectionError, KeyError):
                if self.ask(_LOADED)["repositoriesOrError"]["nodes"]:
                    return
            time.sleep(0.5)
        raise SystemExit(f"The web server does not answer: see {self.home}.")

    def kill_all(self) -> None:
        """As by a power failure: everything at once."""
        for process in self._processes:
            _kill_session(process.pid)
            process.wait()
        self._processes.clear()

    def kill_runs(self) -> int:
        """Kill the processes of the runs that go on; how many there were."""
        sessions = {process.pid for process in self._processes}
        found = [pid for pid in _of_sessions(sessions) if _RUN in _command(pid)]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def processor_seconds(self) -> float:
        """What all processes have worked, those of runs that have ended included."""
        ticks = 0
        for pid in _of_sessions({process.pid for process in self._processes}):
            with suppress(OSError):
                ticks += sum(int(part) for part in process_facts(pid)[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def launch(self, hours: HourRange) -> str:
        """Start a backfill of all assets, as the web UI does; its id."""
        found = self.ask(backfill_of(hours))["launchPartitionBackfill"]
        return str(found["backfillId"])

    def status(self, backfill: str) -> str:
        """What has become of a backfill."""
        return str(self.ask(_STATUS, id=backfill)["partitionBackfillOrError"]["status"])

    def start_schedule(self) -> None:
        """Switch the hourly schedule on, as the web UI does."""
        schedule = {
            "repositoryName": "__repository__",
            "repositoryLocationName": _MODULE,
            "scheduleName": f"{CHAIN_JOB}_schedule",
        }
        self.ask(_SCHEDULE, schedule=schedule)

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """A question in GraphQL."""
        asked = {"query": query, "variables": variables}
        answer = requests.post(f"http://127.0.0.1:{self.port}/graphql", json=asked, timeout=300)
        found: dict[str, Any] = answer.json()["data"]
        return found

    def _started(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{program}.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - a program of this environment
                [str(Path(sys.executable).with_name(program)), *options, "-m", _MODULE],
                cwd=self.home,
                env=clean_environment(dict(os.environ)) | dict(self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )


@contextmanager
def dagster_services(home: Path, settings: Mapping[str, str]) -> Iterator[DagsterServices]:
    """An installation that runs, with the project's own ``dagster.yaml``."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(DEFAULT_DAGSTER_YAML, home)
    found = DagsterServices(home, {**settings, "DAGSTER_HOME": str(home)})
    try:
        found.start()
        yield found
    finally:
        found.kill_all()


def settings(url: str, event_store: str, key: str, postgres: str, **more: str) -> dict[str, str]:
    """The settings of an installation at a Moodle database."""
    return {
        "MOODLE_DB_URL": url,
        "MOODLE_WWWROOT": "https://moodle.example.org",
        "CALIPER_EVENT_STORE_URL": event_store,
        "CALIPER_API_KEY": key,
        "DAGSTER_POSTGRES_URL": postgres,
    } | more


def _kill_session(leader: int) -> None:
    for pid in [*_of_sessions({leader}), leader]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _of_sessions(leaders: set[int]) -> list[int]:
    """Processes of these, and those that they have started in sessions of their own."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            fields = process_facts(int(entry.name))
            parents[int(entry.name)] = (int(fields[1]), int(fields[3]))
    found = set(leaders)
    size = 0
    while len(found) > size:
        size = len(found)
        found |= {pid for pid, above in parents.items() if found & set(above)}
    return sorted(found)


def process_facts(pid: int) -> list[str]:
    """What the kernel tells of a process, after its name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
