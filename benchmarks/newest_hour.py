"""How long does the schedule's hour take, from its tick to the event store's answer?

Run ``python -m benchmarks.newest_hour --url mysql+pymysql://…/synthetic --postgres postgresql://…``
on a site that `benchmarks.site` has written. Rows of the site are added to its log in the hour that
has just ended, and are taken away again; the schedule, in a daemon as in production, takes it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from benchmarks.dagster_services import dagster_services, settings
from benchmarks.orchestration import database
from caliper_dagster.core.frames import EMISSION_RESULTS
from caliper_dagster.core.hours import Hour, last_complete_hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.embedded.event_store import running

_KEY = "key-of-the-benchmark"
_LOG = "mdl_logstore_standard_log"
_PATIENCE = 1800


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What became of the hour.

    Attributes:
        seconds: from the schedule's tick to the last answer.
    """

    events: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"the schedule's hour, {self.events:,} events: acknowledged {self.seconds:.1f} s after "
            "its tick"
        )


@dataclass(frozen=True, slots=True)
class NewestHour:
    """The hour that has just ended, which the schedule takes at this minute of the next one."""

    hour: Hour
    minute: int

    def acknowledged(self, kept: PartitionStore) -> Acknowledged:
        """Wait until the schedule has taken it."""
        tick, deadline = nearest(self.minute), time.monotonic() + _PATIENCE
        while not kept.exists(EMISSION_RESULTS, self.hour):
            if time.monotonic() > deadline:
                raise SystemExit("The schedule did not take the hour.")
            time.sleep(0.1)
        answers = kept.read(EMISSION_RESULTS, [self.hour], ["answered_at"])["answered_at"]
        sent = DeliveryCounts.from_footer_stats(kept.footer_stats(EMISSION_RESULTS, self.hour)).sent
        return Acknowledged(sent, (max(answers.to_pylist()) - tick).total_seconds())


@contextmanager
def newest_hour(url: str, minute: int, rows: int = 2000) -> Iterator[NewestHour]:
    """The hour that has just ended, with rows of the log, which are taken away again."""
    newest = NewestHour(last_complete_hour(nearest(minute)), minute)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        last = connection.execute(sa.text(f"SELECT max(id) FROM {_LOG}")).scalar_one()
        found = sa.inspect(connection).get_columns(_LOG)
        names = [column["name"] for column in found if column["name"] != "id"]
        times = [n if n != "timecreated" else f"{newest.hour.start} + id % 3600" for n in names]
        connection.execute(
            sa.text(
                f"INSERT INTO {_LOG} ({', '.join(names)}) SELECT {', '.join(times)} "
                f"FROM {_LOG} WHERE id > {last - rows} AND id <= {last} ORDER BY id"
            )
        )
    try:
        yield newest
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"DELETE FROM {_LOG} WHERE id > {last}"))


def nearest(minute: int) -> datetime:
    """The time nearest to now at this minute of an hour."""
    now = datetime.now(UTC)
    hours = (Hour.of(now.timestamp()) + by for by in (-1, 0, 1))
    return min(
        (hour.datetime.replace(minute=minute) for hour in hours),
        key=lambda moment: abs((moment - now).total_seconds()),
    )


def minute_from_now(minutes: int) -> int:
    """The minute of the hour that begins after so many whole ones."""
    return (datetime.now(UTC).minute + 1 + minutes) % 60


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", required=True, help="SQLAlchemy URL of the synthetic site")
    parser.add_argument("--postgres", required=True, help="URL of an account that makes databases")
    parser.add_argument("--rows", type=int, default=2000)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        event_store = stack.enter_context(running(folder / "events.sqlite", _KEY))
        postgres = stack.enter_context(database(given.postgres))
        newest = stack.enter_context(newest_hour(given.url, minute_from_now(1), given.rows))
        more = {
            "CALIPER_START": str((newest.hour + -24).datetime.strftime("%Y-%m-%dT%H")),
            "CALIPER_SCHEDULE_LAG": str(newest.minute),
        }
        site = stack.enter_context(
            dagster_services(
                folder / "home", settings(given.url, event_store, _KEY, postgres, **more)
            )
        )
        site.start_schedule()
        print(newest.acknowledged(PartitionStore(str(folder / "home" / "data"))))


if __name__ == "__main__":
    main()
