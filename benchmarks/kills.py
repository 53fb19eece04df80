"""Is anything lost, or much repeated, when a backfill is killed again and again?

Run ``python -m benchmarks.kills``. ``caliper-dagster backfill`` over a day of the real site is
killed with SIGKILL at a random moment and started again. When it comes to its end it is begun anew
in another folder, until it has been killed so often. Then every event must be at the event store,
in the ledger once, and the store may have received again at most the envelopes that were in flight
at the kills. Exits with 1 if that does not hold.

``--site mysql+pymysql://…/synthetic --from T --to T`` takes years of a site that `benchmarks.site`
has written, in runs and envelopes of the usual size.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.databases import dump_database
from caliper_dagster.core.hours import Hour, HourRange, parse_hour
from caliper_dagster_tests.harness.installation import (
    Installation,
    dump_installation,
    installation,
)
from caliper_dagster_tests.harness.kills import IN_FLIGHT, SETTINGS, SLOW, Round, backfill_killed

HOURS = HourRange(Hour.from_key("2026-03-28-00:00"), Hour.from_key("2026-03-29-02:00"))
"""26 hours, 16 of them with rows: 3,258."""


@contextmanager
def _sites(
    given: argparse.Namespace,
) -> Iterator[tuple[Callable[[Path], AbstractContextManager[Installation]], HourRange]]:
    """What makes an installation in a folder, and its hours."""
    if given.site:
        hours = HourRange(parse_hour(given.start, "--from"), parse_hour(given.end, "--to"))
        settings = {"CALIPER_START": str(hours.start)}
        wwwroot = "https://moodle.example.org"
        yield lambda folder: installation(folder, given.site, wwwroot, **settings), hours
    else:
        with dump_database(given.database) as url:
            yield lambda folder: dump_installation(folder, url, SLOW, **SETTINGS), HOURS


def main() -> None:
    """Kill, and print a row of figures for each round and for all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--database", help="SQLAlchemy URL of the real site, when it is loaded")
    parser.add_argument("--site", help="SQLAlchemy URL of a synthetic site, instead")
    parser.add_argument("--from", dest="start", help="its first hour")
    parser.add_argument("--to", dest="end", help="its first hour that is left out")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--mean", type=float, default=5, help="seconds until a kill, in the mean")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance = random.Random(given.seed)  # noqa: S311 - no secret
    rounds, began = list[Round](), time.monotonic()
    with _sites(given) as (site_in, hours):
        while (left := given.kills - sum(one.kills for one in rounds)) > 0:
            with tempfile.TemporaryDirectory() as folder, site_in(Path(folder)) as site:
                rounds.append(backfill_killed(site, hours, chance, left, given.mean))
            print(rounds[-1], flush=True)
    kills, repeated, twice = (
        sum(getattr(one, name) for one in rounds) for name in ("kills", "repeated", "twice")
    )
    sending = sum(one.while_sending for one in rounds)
    print(
        f"{kills} kills ({sending} of them while sending) in {time.monotonic() - began:.0f} s: "
        f"{repeated} envelopes of at most {kills * IN_FLIGHT} came twice ({twice} events)"
    )
    well = all(one.complete and one.unexplained == 0 for one in rounds)
    sys.exit(not (well and repeated <= kills * IN_FLIGHT))


if __name__ == "__main__":
    main()
