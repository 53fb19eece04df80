"""Is a fine event store slower with a slow and a down one beside it than alone?

Run ``python -m benchmarks.event_stores``. The events of a sample site are sent, in turn, to a fine
event store alone, and to the same with two neighbours: one that takes seconds for each envelope,
and one that nobody answers for. Each time the ledger is new. What is compared is the time until
the fine one has acknowledged everything; the ratio of the medians should be 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from caliper_dagster.config.event_stores import EventStoreDefinition, event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hour_verdict import HourVerdict
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore, split_by_hour
from caliper_dagster.delivery.fan_out import DeliveryRequest, Ended, fan_out
from caliper_dagster.embedded.event_store import running
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter import Ledger, Send
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster.translator import Translator

_FILE = """
fine: {{url: "{fine}", api_key: {{env: KEY_OF_THE_BENCHMARK}}}}
slow: {{url: "{slow}", api_key: {{env: KEY_OF_THE_BENCHMARK}}}}
down: {{url: "http://127.0.0.1:9/caliper"}}
"""


def main() -> None:
    """Measure, and print seconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=1000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    os.environ["KEY_OF_THE_BENCHMARK"] = "key"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        storage = PartitionStore(str(folder / "data"))
        hours, events = _prepare(folder, storage, given.students, given.hours)
        with (
            running(folder / "fine.sqlite", "key") as fine,
            running(folder / "slow.sqlite", "key", hostile="slow=1,seconds=3") as slow,
        ):
            (folder / "stores.yaml").write_text(_FILE.format(fine=fine, slow=slow))
            settings = {"CALIPER_EVENT_STORES": str(folder / "stores.yaml")}
            stores = event_stores(Settings.from_environment(settings))
            seconds: dict[str, list[float]] = {"alone": [], "with neighbours": []}
            for turn in range(given.runs + 1):
                for how, asked in zip(seconds, (stores[:1], stores), strict=True):
                    ledger = f"sqlite:///{folder}/{turn}-{len(asked)}.sqlite"
                    seconds[how].append(_until_the_fine_one_has_all(storage, hours, asked, ledger))
    medians = {how: statistics.median(times[1:]) for how, times in seconds.items()}
    for how, median in medians.items():
        print(f"{how:>16}: {median:6.2f} s, {events / median:>8,.0f} events/s")
    print(f"with neighbours, compared: {medians['with neighbours'] / medians['alone']:.2f}")


def _prepare(
    folder: Path, storage: PartitionStore, students: int, hours: int
) -> tuple[tuple[Hour, ...], int]:
    """Keep the events of a sample site; its hours, and the number of events."""
    site = write_sample(folder / "moodle.sqlite", students=students, hours=hours)
    with MoodleDatabase.open(f"sqlite:///{site.path}") as database:
        log = pa.concat_tables(rows for _, rows in read_log(database, site.hours))
        events = Translator(site.wwwroot).translate(expand(database, log.unify_dictionaries()))
    for hour, rows in split_by_hour(events, site.hours):
        storage.write(CALIPER_EVENTS, hour, rows, HourVerdict().as_footer_stats())
    return tuple(site.hours), events.num_rows


def _until_the_fine_one_has_all(
    storage: PartitionStore,
    hours: tuple[Hour, ...],
    stores: Sequence[EventStoreDefinition],
    ledger: str,
) -> float:
    task = DeliveryRequest(
        events=lambda _: CALIPER_EVENTS,
        storage=storage,
        hours=hours,
        site="https://moodle.example.org",
        sensor="https://moodle.example.org#caliper-dagster",
        open_ledger=lambda: Ledger(ledger),
        send=Send.UNACKNOWLEDGED,
        left={},
    )
    began = time.perf_counter()
    with closing(fan_out(task, stores)) as told:
        for store, message in told:
            if store.name == "fine" and message == Ended(None):
                return time.perf_counter() - began
    raise AssertionError("The fine event store has not got everything.")


if __name__ == "__main__":
    main()
