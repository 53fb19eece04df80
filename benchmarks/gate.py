"""What does the gate of each hour cost the chain?

Run ``python -m benchmarks.gate``. The hours of a sample site go through the whole chain, in turn
with the gate and without it (``CALIPER_WITHHOLD_INVALID``); each time storage and ledger are new.
The verdict that the translation stores is made either way, so its own time is measured apart and
taken off the chain without the gate. The ratio of the medians should be 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from caliper_dagster.config.event_stores import EventStoreDefinition, event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hour_verdict import mark_invalid
from caliper_dagster.core.hours import HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.delivery.fan_out import DeliveryRequest, fan_out
from caliper_dagster.delivery.materialize import write_events, write_expanded, write_log
from caliper_dagster.embedded.event_store import running
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter import Ledger, Send
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster.translator import Translator
from caliper_dagster.translator.sampling import EventFaults, SampleReport

_SITE = "https://moodle.example.org"


def main() -> None:
    """Measure, and print seconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=1000)
    parser.add_argument("--hours", type=int, default=12)
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    verdicts = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = write_sample(folder / "moodle.sqlite", students=given.students, hours=given.hours)
        for turn in range(given.runs + 1):
            for withhold in seconds:
                of_turn = folder / f"{turn}-{withhold}"
                with running(folder / f"{of_turn.name}.sqlite", "key") as url:
                    os.environ |= {"CALIPER_EVENT_STORE_URL": url, "CALIPER_API_KEY": "key"}
                    (store,) = event_stores(Settings.from_environment())
                    began = time.perf_counter()
                    _chain(of_turn, site.path, site.hours, store, withhold=withhold)
                    seconds[withhold].append(time.perf_counter() - began)
                verdicts.append(_verdicts(of_turn, site.hours))
    verdict = statistics.median(verdicts)
    with_gate, without = (statistics.median(seconds[withhold][1:]) for withhold in seconds)
    print(f"   with the gate: {with_gate:6.2f} s")
    print(f"without the gate: {without - verdict:6.2f} s, and {1000 * verdict:.1f} ms for verdicts")
    print(f"with it, compared: {with_gate / (without - verdict):.3f}")


def _chain(
    folder: Path,
    database_path: Path,
    hours: HourRange,
    store: EventStoreDefinition,
    *,
    withhold: bool,
) -> None:
    storage = PartitionStore(str(folder / "data"))
    with MoodleDatabase.open(f"sqlite:///{database_path}") as database:
        write_log(database, storage, hours)
        write_expanded(database, storage, hours, fresh=False)
    write_events(Translator(_SITE), storage, CALIPER_EVENTS, hours)
    request = DeliveryRequest(
        events=lambda _: CALIPER_EVENTS,
        storage=storage,
        hours=tuple(hours),
        site=_SITE,
        sensor=f"{_SITE}#caliper-dagster",
        open_ledger=lambda: Ledger(f"sqlite:///{folder}/ledger.sqlite"),
        send=Send.UNACKNOWLEDGED,
        left={},
        withhold=withhold,
    )
    with closing(fan_out(request, [store])) as messages:
        for _ in messages:
            pass


def _verdicts(folder: Path, hours: HourRange) -> float:
    """Seconds that the verdicts of all hours take, beyond the check of their sample."""
    storage = PartitionStore(str(folder / "data"))
    tables = [storage.read(CALIPER_EVENTS, [hour]) for hour in hours]
    report = SampleReport(0, 0, 0, ())
    began = time.perf_counter()
    for table in tables:
        faults = EventFaults()
        faults.add(mark_invalid(table, report.invalid_rows), report)
        faults.verdict(Account()).as_footer_stats()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
