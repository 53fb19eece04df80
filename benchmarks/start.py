"""How long a start takes: from a command, or the launch of a scheduled run, to the first log row.

Run ``python -m benchmarks.start --url mysql+pymysql://…/synthetic --from T`` on a site that
`benchmarks.site` has written. One hour is backfilled in a new Dagster instance and again in the
same one; then Dagster's code server, as the daemon uses it, starts a run of another hour. The
processes talk to MariaDB through a proxy of this process, which notes when the server answers the
statement that reads the log rows. ``--against`` names another checkout with a ``.venv`` of its own:
the two take turns.

Python's bytecode is cached, as it is where packages are installed. Processor time is that of the
process that reads the row, until it has it.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import ExecuteExternalJobArgs

from benchmarks import sink
from benchmarks.dagster_services import process_facts
from caliper_dagster.core.hours import Hour, HourRange, parse_hour
from caliper_dagster.dagster.build import project_definitions
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.ports import free_port

ROOT = Path(__file__).parents[1]

_LOG = b"logstore_standard_log"
_STATEMENT_OF_ROWS = b"ORDER BY timecreated, id"
_ADDRESS = "127.0.0.1"
_BUFFER = 1 << 16
_READY_SECONDS = 60

_RUN = b"spawn_main"
"""In the command line of a process that the code server has started for a run."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start.

    Attributes:
        seconds: until the first log row.
        processor_seconds: of the process that reads it, until then.
    """

    seconds: float
    processor_seconds: float


class Proxy:
    """Passes connections on to a database server, and notes when log rows are answered."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listening = socket.create_server((_ADDRESS, 0))
        self.port: int = self._listening.getsockname()[1]
        self.answered = threading.Event()
        self.answered_at = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
                asked = threading.Event()
                for source, target, is_client in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._pass_on, args=(source, target, asked, is_client), daemon=True
                    ).start()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, asked: threading.Event, is_client: bool
    ) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(_BUFFER):
                if is_client and _LOG in data and _STATEMENT_OF_ROWS in data:
                    asked.set()
                elif not is_client and asked.is_set() and not self.answered.is_set():
                    self.answered_at = time.perf_counter()
                    self.answered.set()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def starts(url: str, hour: Hour, checkout: Path) -> dict[str, Start]:
    """A backfill of an hour in a new instance and in the same one, and a run of the code server."""
    address = sa.make_url(url)
    found: dict[str, Start] = {}
    with tempfile.TemporaryDirectory() as home, sink.running() as event_store:
        settings = {
            "MOODLE_WWWROOT": "https://moodle.example.org",
            "CALIPER_EVENT_STORE_URL": event_store,
            "CALIPER_API_KEY": "key-of-the-benchmark",
            "CALIPER_START": str(hour),
            "DAGSTER_HOME": home,
        }
        for number, name in enumerate(("backfill, new instance", "backfill, same instance")):
            with _proxy(address) as (proxy, through):
                given = {**settings, "MOODLE_DB_URL": through}
                found[name] = _backfill(checkout, hour + number, given, proxy)
        with _proxy(address) as (proxy, through):
            given = {**settings, "MOODLE_DB_URL": through}
            with environment(given), _code_server(checkout, given) as (server, port):
                found["run of the code server"] = _run(server, port, hour + 2, proxy)
    return found


@contextmanager
def _proxy(address: sa.URL) -> Iterator[tuple[Proxy, str]]:
    """A proxy to the database, and the URL through it."""
    proxy = Proxy(address.host or _ADDRESS, address.port or 3306)
    try:
        through = address.set(host=_ADDRESS, port=proxy.port)
        yield proxy, through.render_as_string(hide_password=False)
    finally:
        proxy.close()


def _python(checkout: Path, arguments: list[str], given: dict[str, str]) -> subprocess.Popen[bytes]:
    """A Python process of a checkout."""
    inherited = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    return subprocess.Popen(  # noqa: S603 - an interpreter of ours
        [str(checkout / ".venv/bin/python"), "-m", *arguments],
        cwd=checkout,
        env={**inherited, **given},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _backfill(checkout: Path, hour: Hour, given: dict[str, str], proxy: Proxy) -> Start:
    command = ["caliper_dagster.cli", "backfill", "--from", str(hour), "--to", str(hour + 1)]
    began = time.perf_counter()
    process = _python(checkout, command, given)
    start = _start(began, process.pid, proxy)
    if process.wait():
        sys.exit(f"The backfill of {hour} in {checkout} failed.")
    return start


@contextmanager
def _code_server(
    checkout: Path, given: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Dagster's code server with our definitions, when it answers, and its port."""
    port = free_port()
    module = ["--module-name", "caliper_dagster.definitions"]
    process = _python(checkout, ["dagster", "api", "grpc", *module, "--port", str(port)], given)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            with suppress(Exception):  # gRPC's own, until it listens
                DagsterGrpcClient(port=port).ping("")
                break
            time.sleep(0.1)
        yield process, port
    finally:
        process.terminate()
        process.wait()


def _run(server: subprocess.Popen[bytes], port: int, hour: Hour, proxy: Proxy) -> Start:
    job = project_definitions().resolve_job_def(CHAIN_JOB)
    location = RegisteredCodeLocationOrigin("caliper_dagster.definitions")
    origin = RemoteRepositoryOrigin(location, "__repository__").get_job_origin(job.name)
    with dg.DagsterInstance.get() as instance:
        tags = range_tags(HourRange(hour, hour + 1))
        run = instance.create_run_for_job(job_def=job, tags=tags, remote_job_origin=origin)
        arguments = ExecuteExternalJobArgs(
            job_origin=origin, run_id=run.run_id, instance_ref=instance.get_ref()
        )
        began = time.perf_counter()
        # It returns when the process of the run has started.
        launch = threading.Thread(target=DagsterGrpcClient(port=port).start_run, args=(arguments,))
        launch.start()
        while not (processes := _runs_of(server.pid)):
            time.sleep(0.01)
        start = _start(began, processes[0], proxy)
        launch.join()
        while not _ended(instance, run.run_id):
            time.sleep(0.2)
    return start


def _ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished


def _runs_of(server: int) -> list[int]:
    """The processes that a code server has started for runs."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(entry.name)
            if int(process_facts(pid)[1]) == server and _RUN in (entry / "cmdline").read_bytes():
                found.append(pid)
    return found


def _start(began: float, process: int, proxy: Proxy) -> Start:
    if not proxy.answered.wait(_READY_SECONDS):
        sys.exit("No log row was read.")
    user, system = process_facts(process)[11:13]
    ticks = os.sysconf("SC_CLK_TCK")
    return Start(proxy.answered_at - began, (int(user) + int(system)) / ticks)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="SQLAlchemy URL of the synthetic site")
    parser.add_argument("--from", dest="start", required=True, help="first of three busy hours")
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    hour = parse_hour(given.start, "--from")
    checkouts = [given.against.absolute(), ROOT] if given.against else [ROOT]
    found: dict[tuple[str, Path], list[Start]] = {}
    for _ in range(1 + given.repeats):  # the first one writes bytecode, and is left out
        for checkout in checkouts:
            for name, start in starts(given.url, hour, checkout).items():
                found.setdefault((name, checkout), []).append(start)
    for (name, checkout), all_starts in found.items():
        seconds = min(start.seconds for start in all_starts[1:])
        worked = min(start.processor_seconds for start in all_starts[1:])
        print(f"{name:<24} {seconds:6.2f} s, {worked:5.2f} s of processor time  {checkout}")


if __name__ == "__main__":
    main()
