"""How long does a backfill take that somebody launches in the web UI?

Run ``python -m benchmarks.backfill_from_web_ui --url mysql+pymysql://…/synthetic --postgres
postgresql://… --from T --to T`` on a site that `benchmarks.site` has written. Web server and daemon
run as in production, on PostgreSQL; the backfill is launched over the web UI's own GraphQL. Hours
without a log row show what orchestration and files cost.

``--kill runs`` kills the processes of its runs with -9 in the middle, ``--kill everything`` also
web server and daemon, and starts these again. ``--schedule`` adds rows to the newest hour, has the
schedule take it in the middle, and tells how long it took. Exits with 1 when an event is missing,
or came twice without a kill.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.dagster_services import DagsterServices, dagster_services, settings
from benchmarks.end_to_end import row_count
from benchmarks.newest_hour import minute_from_now, newest_hour
from benchmarks.orchestration import database
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS
from caliper_dagster.core.hours import Hour, HourRange, parse_hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.embedded.arrivals import arrivals
from caliper_dagster.embedded.event_store import running

_KEY = "key-of-the-benchmark"
_DONE = ("COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED")


@dataclass(frozen=True, slots=True)
class Course:
    """A backfill while it goes on."""

    hours: HourRange
    kept: PartitionStore
    _left: deque[Hour] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._left.extend(self.hours)

    def is_in_the_middle(self) -> bool:
        """Whether half of the hours are sent, or the middle one is."""
        middle = list(self.hours)[len(self.hours) // 2]
        return self.kept.exists(EMISSION_RESULTS, middle)

    def is_done(self) -> bool:
        """Whether all hours are sent."""
        while self._left and self.kept.exists(EMISSION_RESULTS, self._left[0]):
            self._left.popleft()
        return not self._left


def wait(condition: Callable[[], bool], minutes: float) -> None:
    """Until it holds."""
    deadline = time.monotonic() + 60 * minutes
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"It is not done after {minutes:.0f} minutes.")
        time.sleep(0.5)


def interrupt(site: DagsterServices, what: str) -> None:
    """Kill, and start again what does not start again by itself."""
    killed = site.kill_runs()
    print(f"  in the middle: {killed} processes of runs killed", flush=True)
    if what == "everything":
        site.kill_all()
        site.start()
        print("  web server and daemon killed, and started again", flush=True)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--url", required=True, help="SQLAlchemy URL of the synthetic site")
    parser.add_argument("--postgres", required=True, help="URL of an account that makes databases")
    parser.add_argument("--from", dest="start", required=True, help="first hour")
    parser.add_argument("--to", required=True, help="first hour that is left out")
    parser.add_argument("--kill", choices=("runs", "everything"))
    parser.add_argument("--schedule", action="store_true", help="start it in the middle")
    parser.add_argument("--minutes", type=float, default=60, help="patience")
    parser.add_argument("--hours-per-run", help="instead of the default")
    given = parser.parse_args()
    hours = HourRange(parse_hour(given.start, "--from"), parse_hour(given.to, "--to"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        event_store = stack.enter_context(running(folder / "events.sqlite", _KEY))
        postgres = stack.enter_context(database(given.postgres))
        lag = minute_from_now(3 if given.schedule else 30)
        more = {
            "CALIPER_START": str(hours.start),
            "CALIPER_SCHEDULE_LAG": str(lag),
        }
        if given.hours_per_run:
            more["CALIPER_HOURS_PER_RUN"] = given.hours_per_run
        site = stack.enter_context(
            dagster_services(
                folder / "home", settings(given.url, event_store, _KEY, postgres, **more)
            )
        )
        course = Course(hours, PartitionStore(str(folder / "home" / "data")))
        began, worked = time.monotonic(), site.processor_seconds()
        backfill = site.launch(hours)
        if given.schedule:
            with newest_hour(given.url, lag) as newest:
                site.start_schedule()
                print(f"  {newest.acknowledged(course.kept)}", flush=True)
        if given.kill:
            wait(course.is_in_the_middle, given.minutes)
            interrupt(site, given.kill)
        wait(course.is_done, given.minutes)
        sent = time.monotonic() - began
        wait(lambda: site.status(backfill) in _DONE, given.minutes)
        seconds = time.monotonic() - began
        show(course, seconds, sent, site.status(backfill))
        if given.kill != "everything":
            work = 1000 * (site.processor_seconds() - worked) / len(hours)
            print(f"  processor time without the databases: {work:.1f} ms/hour")
        arrived = arrivals(folder / "events.sqlite")
        rows = row_count(given.url, hours)
        events = course.kept.read(CALIPER_EVENTS, hours, ["event_id"])["event_id"].drop_null()
        twice = arrived.received - arrived.events
        print(
            f"  {rows:,} rows, {len(events):,} events, {arrived.events:,} at the event store, "
            f"{twice:,} of them more than once"
        )
        sys.exit(len(events) > arrived.events or (twice > 0 and not given.kill))


def show(course: Course, seconds: float, sent: float, status: str) -> None:
    """Print the times of a backfill."""
    print(
        f"{len(course.hours):,} hours, {status}: all sent after {sent / 60:.2f} minutes, the "
        f"backfill's end after {seconds / 60:.2f}; {1000 * sent / len(course.hours):.1f} ms/hour"
    )


if __name__ == "__main__":
    main()
