"""Processes that are killed while they send: what they leave, and what the next run makes of it."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from caliper_dagster.emitter import FileDestination, Ledger
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    OK,
    SITE,
    HostileStore,
    event_id,
    events_table,
    send,
)
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.unit.emitter.test_emission import kept_by
from caliper_dagster_tests.unit.emitter.test_file_destination import (
    FILE,
    all_ids,
    an_hour,
    folder,
    ids,
    write,
)

__all__ = ["folder"]

SENDS_OVER_HTTP = """
import sys
from caliper_dagster.emitter import HttpDestination, Ledger, emit
from caliper_dagster_tests.harness.hostile_store import HOUR, SENSOR, SITE, events_table, as_hours
hours = [(HOUR + n, events_table(HOUR + n, 10)) for n in range(4)]
with HttpDestination(sys.argv[1], "key-of-the-store") as event_store, Ledger(sys.argv[2]) as ledger:
    list(emit(as_hours(hours), event_store, ledger, sensor=SENSOR, site=SITE, batch_size=4))
"""


def kill_while(url, ledger_url, reached):
    """Emit 4 hours of 10 events in envelopes of 4, in a process that is killed at a point."""
    child = subprocess.Popen([sys.executable, "-c", SENDS_OVER_HTTP, url, ledger_url], cwd=ROOT)
    try:
        assert reached.wait(60)
    finally:
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["before the answer", "between answer and ledger"])
def test_kill_9_repeats_at_most_the_envelope_in_flight(tmp_path, moment):
    path = tmp_path / "ledger.sqlite"
    ledger_url = f"sqlite:///{path}"
    reached, release = threading.Event(), threading.Event()

    def hold(handler):
        reached.set()
        release.wait(60)

    def acknowledge_while_the_ledger_is_locked(handler):
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        OK(handler)
        reached.set()
        release.wait(60)
        lock.close()

    fatal = hold if moment == "before the answer" else acknowledge_while_the_ledger_is_locked
    hours = [(HOUR + n, events_table(HOUR + n, 10)) for n in range(4)]
    with HostileStore(OK, OK, OK, OK, fatal, OK) as store:
        kill_while(store.url, ledger_url, reached)
        release.set()
        in_flight = json.loads(store.bodies[4])["data"]
        with Ledger(ledger_url) as ledger:
            assert len(kept_by(ledger, store, [hour for hour, _ in hours])) == 4 + 4 + 2 + 4
            send(hours, store, ledger, batch_size=4)
            assert len(kept_by(ledger, store, [hour for hour, _ in hours])) == 40
    received = store.event_ids()
    assert set(received) == {event_id(hour, n) for hour, _ in hours for n in range(10)}
    repeated = {found for found in received if received.count(found) > 1}
    assert repeated == {event["id"] for event in in_flight}


WRITES_A_FILE = """
import sys
from caliper_dagster.emitter import FileDestination, HourOfEvents, Ledger, emit
from caliper_dagster_tests.harness.hostile_store import HOUR, SENSOR, SITE, events_table
table, reads = events_table(count=2000), []
def parts():
    reads.append(1)
    yield table
    if len(reads) == 2:
        print("writing", flush=True)
        sys.stdin.readline()
with FileDestination(sys.argv[1]) as folder, Ledger(sys.argv[2]) as ledger:
    list(emit([HourOfEvents(HOUR, parts)], folder, ledger, sensor=SENSOR, site=SITE))
"""


@pytest.mark.parametrize("moment", ["while it writes", "between rename and ledger"])
def test_kill_9_leaves_the_file_as_it_was_or_complete_and_the_next_run_repairs_it(
    folder: Path, tmp_path: Path, moment: str
) -> None:
    path = tmp_path / "ledger.sqlite"
    url = f"sqlite:///{path}"
    with Ledger(url) as ledger:
        write(an_hour(3), FileDestination(str(folder)), ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as lock:
        kill_when(moment, folder, url, lock)
    left = sorted(found.name for found in (folder / FILE).parent.iterdir())
    if moment == "while it writes":
        assert ids((folder / FILE).read_bytes()) == all_ids(3)
        assert len(left) == 2
    else:
        assert ids((folder / FILE).read_bytes()) == all_ids(2_000)
        assert len(left) == 1
    before = (folder / FILE).read_bytes()
    with Ledger(url) as ledger:
        (batch,) = ledger.batches(str(folder), [HOUR], site=SITE)[HOUR]
        assert len(batch.fingerprints) == 3
        write(an_hour(2_000), FileDestination(str(folder)), ledger)
        (batch,) = ledger.batches(str(folder), [HOUR], site=SITE)[HOUR]
    assert batch.event_ids() == ids((folder / FILE).read_bytes()) == all_ids(2_000)
    assert [found.name for found in (folder / FILE).parent.iterdir()] == [Path(FILE).name]
    if moment == "between rename and ledger":
        assert (folder / FILE).read_bytes() == before


def kill_when(moment: str, folder: Path, url: str, lock: sqlite3.Connection) -> None:
    """Write the hour in a process that is killed at a moment."""
    old = (folder / FILE).read_bytes()
    command = [sys.executable, "-c", WRITES_A_FILE, str(folder), url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as child:
        assert child.stdin
        assert child.stdout
        try:
            assert child.stdout.readline() == b"writing\n"
            if moment == "between rename and ledger":
                lock.execute("BEGIN IMMEDIATE")
                child.stdin.write(b"go on\n")
                child.stdin.flush()
                until = time.monotonic() + 60
                while (folder / FILE).read_bytes() == old and time.monotonic() < until:
                    time.sleep(0.02)
        finally:
            child.kill()
        assert child.wait() == -signal.SIGKILL
