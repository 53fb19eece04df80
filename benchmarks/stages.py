"""What does an event cost, from Moodle's database to its acknowledgement, stage by stage?

Run ``python -m benchmarks.stages --url mysql+pymysql://…/synthetic --from T --to T`` on a site that
`benchmarks.site` has written. The hours walk the same parts as in the assets, in one process and
without Dagster, to a `sink`. What counts is this process's own processor time, all threads
together: it stays what it is when others keep the machine busy.

The chain is walked several times, and the fastest of each stage counts. Every chunk is translated
with the leak check and without it, by a translator each and in turns; the check costs what lies
between. For hours that are one chunk, ``--repeats`` must be even, or the check alone pays for what
is made once. Without ``--url`` it is a sample site in SQLite, of ``--students`` and ``--hours``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from benchmarks import sink
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange, parse_hour
from caliper_dagster.core.partition_file import CHUNK_ROWS
from caliper_dagster.core.partition_store import PartitionStore, split_by_hour
from caliper_dagster.core.recent_hours import RecentHours
from caliper_dagster.core.row_accounting import OutcomeTally, outcomes_by_hour, outstanding
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter import HourOfEvents, HttpDestination, Ledger, emit
from caliper_dagster.expander import LogLifecycle, MoodleDatabase, count_rows, expand_new, read_log
from caliper_dagster.translator import Translator
from caliper_dagster.translator.sampling import sample_problems
from caliper_dagster.translator.translate import Searched

_SITE = "https://moodle.example.org"
_LEAK_CHECK = "leak check"


class Stages:
    """Processor time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = time.process_time()

    def lap(self, stage: str) -> None:
        """What was worked since the last lap was this stage's."""
        before, self._last = self._last, time.process_time()
        self.seconds[stage] += self._last - before


def walk(
    url: str, hours: HourRange, folder: str, event_store: str, chunk_rows: int, turn: int
) -> tuple[Stages, int]:
    """Take the hours through the chain; the stages, and how many events were acknowledged."""
    kept, stages = PartitionStore(f"{folder}/data", recent=RecentHours()), Stages()
    with MoodleDatabase.open(url) as database:
        lifecycle = LogLifecycle(database, kept.id_range_tables("lifecycle"))
        counted = count_rows(database, hours)
        for hour, rows in read_log(database, hours):
            stages.lap("read from Moodle")
            stats = {"counted": counted[hour]}
            kept.write(MOODLE_LOG, hour, rows, stats, has_own_dictionaries=True)
            stages.lap("write moodle_log")
        for group, log, _, _ in kept.chunks(MOODLE_LOG, hours, chunk_rows):
            stages.lap("read moodle_log")
            existing, _ = kept.existing(EXPANDED_LOG, group)
            expanded, _ = expand_new(database, log, existing, lifecycle)
            stages.lap("expand")
            for hour, rows in split_by_hour(expanded, group):
                kept.write(EXPANDED_LOG, hour, rows, has_own_dictionaries=True)
            stages.lap("write expanded_log")
    translators = Translator(_SITE), Translator(_SITE)
    chunks = kept.chunks(EXPANDED_LOG, hours, chunk_rows)
    for number, (group, expanded, _, _) in enumerate(chunks, turn):
        stages.lap("read expanded_log")
        searched = _translate(*translators, expanded, stages, is_searched_first=number % 2 == 0)
        events = searched.events
        sample_problems(events, searched.pools)
        del searched
        stages.lap("check samples and ids")
        outcomes = outcomes_by_hour(events, group)
        stages.lap("account")
        for hour, rows in split_by_hour(events, group):
            stages.lap("write caliper_events")
            tally = OutcomeTally()
            tally.add_counted(outcomes[hour])
            ids = kept.read(MOODLE_LOG, [hour], ["id"])["id"]
            stats = tally.account(counted[hour], ids).as_footer_stats()
            stages.lap("account")
            kept.write(CALIPER_EVENTS, hour, rows, stats, has_own_dictionaries=True)
            stages.lap("write caliper_events")
    return stages, _send(kept, hours, folder, event_store, stages)


def _translate(
    searching: Translator,
    plain: Translator,
    expanded: pa.Table,
    stages: Stages,
    *,
    is_searched_first: bool,
) -> Searched:
    """The events; what was first pays for caches, so both ways of translating take turns at it."""
    for is_searched in (is_searched_first, not is_searched_first):
        if is_searched:
            searched = searching.translate_and_search(expanded)
            stages.lap(_LEAK_CHECK)
        else:
            plain.translate(expanded)
            stages.lap("translate")
    return searched


def _send(
    kept: PartitionStore, hours: HourRange, folder: str, event_store: str, stages: Stages
) -> int:
    looked: dict[Hour, pa.ChunkedArray] = {}

    def each() -> Iterator[HourOfEvents]:
        stages.lap("fingerprints, envelopes, posts, ledger")
        for hour, table in kept.each(CALIPER_EVENTS, hours):
            stages.lap("read caliper_events")
            looked[hour] = table["event_id"]
            yield HourOfEvents(hour, table)
            stages.lap("fingerprints, envelopes, posts, ledger")

    sent = 0
    with (
        HttpDestination(event_store, None) as target,
        Ledger(f"sqlite:///{folder}/ledger") as known,
    ):
        for hour, results, counts in emit(
            each(), target, known, sensor=_SITE, site=_SITE, in_flight=2
        ):
            stages.lap("fingerprints, envelopes, posts, ledger")
            outstanding(looked.pop(hour), results)
            kept.write(EMISSION_RESULTS, hour, results, has_own_dictionaries=True)
            stages.lap("write emission_results, with its account")
            sent += counts.sent
    return sent


def best(walks: list[Stages]) -> dict[str, float]:
    """The fastest of each stage; of the leak check what it adds to the translation."""
    seconds = {name: min(one.seconds[name] for one in walks) for name in walks[0].seconds}
    seconds[_LEAK_CHECK] -= seconds["translate"]
    return seconds


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="SQLAlchemy URL of the synthetic site")
    parser.add_argument("--from", dest="start", help="first hour")
    parser.add_argument("--to", help="first hour that is left out")
    parser.add_argument("--students", type=int, default=200, help="of the sample site")
    parser.add_argument("--hours", type=int, default=48, help="of the sample site")
    parser.add_argument("--repeats", type=int, default=1, help="walks through the chain")
    parser.add_argument("--chunk-rows", type=int, default=CHUNK_ROWS, help="rows of a chunk")
    given = parser.parse_args()
    walks = []
    with ExitStack() as stack:
        if given.url:
            url = given.url
            hours = HourRange(parse_hour(given.start, "--from"), parse_hour(given.to, "--to"))
        else:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "moodle.sqlite"
            url = f"sqlite:///{path}"
            hours = write_sample(path, students=given.students, hours=given.hours).hours
        event_store = stack.enter_context(sink.running())
        for turn in range(given.repeats):
            with tempfile.TemporaryDirectory() as folder:
                stages, sent = walk(url, hours, folder, event_store, given.chunk_rows, turn)
            walks.append(stages)
    seconds = best(walks)
    total = sum(seconds.values())
    print(f"{sent:,} events in {len(hours):,} hours, {1e6 * total / sent:.1f} µs for each")
    for stage, spent in seconds.items():
        print(f"  {stage:<42} {1e6 * spent / sent:6.2f} µs {100 * spent / total:5.1f} %")
    ratio = total / (total - seconds[_LEAK_CHECK])
    print(f"the chain with the leak check / without: {ratio:.3f}")


if __name__ == "__main__":
    main()
