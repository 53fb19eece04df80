"""Destinations whose requests never return: the run ends without them, and so does its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.emitter import Ledger
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    OK,
    SITE,
    HostileStore,
    events_table,
)

NINE = [f"silent{number}" for number in range(9)]
EVENTS = 20

RUN = """
import sys, threading
from caliper_dagster.config.event_stores import EventStoreDefinition
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery import fan_out
from caliper_dagster.emitter import HttpDestination, Ledger, Send
from caliper_dagster_tests.harness.hostile_store import HOUR, SENSOR, SITE

folder, url = sys.argv[1:]
fan_out.GRACE, fan_out.RETURN_SECONDS = 0.5, 0.5


class Silent(HttpDestination):
    def limits(self):
        return None

    def send(self, request):
        threading.Event().wait()


class SilentStore(EventStoreDefinition):
    def open(self):
        return Silent(url, None, name=self.name)


class FineStore(EventStoreDefinition):
    def open(self):
        return HttpDestination(url, None, name=self.name)


times = {"timeout": 0.3, "connect_timeout": 0.2}
stores = [SilentStore(name=f"silent{number}", url=url, **times) for number in range(9)]
stores.insert(4, FineStore(name="fine", url=url))
request = fan_out.DeliveryRequest(
    events=lambda _: CALIPER_EVENTS,
    storage=PartitionStore(folder),
    hours=(HOUR, HOUR + 1),
    site=SITE,
    sensor=SENSOR,
    open_ledger=lambda: Ledger(f"sqlite:///{folder}/ledger.sqlite"),
    send=Send.UNACKNOWLEDGED,
    left={},
    withhold=False,
)
for store, message in fan_out.fan_out(request, stores):
    if isinstance(message, fan_out.Ended):
        print(store.name, *map(str, message.left), message.error or "no error", sep="|", flush=True)
"""


def backlog(folder: Path) -> dict[str, list[Hour]]:
    with Ledger(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
        return {name: [*hours] for name, hours in ledger.backlog(SITE).all().items()}


def test_nine_of_ten_hold_up_neither_the_tenth_nor_the_end_of_the_process(tmp_path: Path) -> None:
    storage = PartitionStore(str(tmp_path))
    for hour in (HOUR, HOUR + 1):
        storage.write(CALIPER_EVENTS, hour, events_table(hour, EVENTS))
    with HostileStore(OK) as store:
        run = subprocess.run(
            [sys.executable, "-c", RUN, str(tmp_path), store.url],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (run.returncode, run.stderr) == (0, "")
        assert len(store.bodies) == 2
    first, *others = (line.split("|") for line in run.stdout.splitlines())
    assert first == ["fine", "no error"]
    hours = [str(HOUR), str(HOUR + 1)]
    assert sorted(name for name, *_ in others) == NINE
    for name, *left, error in others:
        assert left == hours
        assert error.startswith(f"Sending to the event store {name} was told to stop and did not")
    assert backlog(tmp_path) == {name: [HOUR, HOUR + 1] for name in NINE}
