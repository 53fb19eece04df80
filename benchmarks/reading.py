"""How fast log rows come from a database into a frame, compared with pandas over the same driver.

Run ``python -m benchmarks.reading --url mysql+pymysql://reader:…@host/database`` on any Moodle
database, such as one made by ``benchmarks.site``. All read the same rows in turn; the ratio is
that of the best runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import pandas as pd
import sqlalchemy as sa

from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.expander import MoodleDatabase, read_log


def main() -> None:
    """Measure, and print rows per second and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="SQLAlchemy URL of a Moodle database")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    engine = sa.create_engine(given.url)
    with MoodleDatabase.open(given.url) as database:
        log = database.quoted("logstore_standard_log")
        bounds = f"SELECT MIN(timecreated), MAX(timecreated) FROM (SELECT timecreated FROM {log} "
        ((first, last),) = database.execute(
            sa.text(bounds + f"ORDER BY timecreated LIMIT {given.rows}) AS rows_")
        )
    hours = HourRange(Hour.of(first), Hour.of(last))
    select = (
        f"SELECT {', '.join(MOODLE_LOG.schema.names)} FROM {log} WHERE timecreated >= "
        f"{hours.start.start} AND timecreated < {hours.end.start} ORDER BY timecreated, id"
    )

    def ours(*, fast: bool) -> int:
        with MoodleDatabase.open(given.url) as database:
            return sum(table.num_rows for _, table in read_log(database, hours, fast=fast))

    readers: dict[str, Callable[[], int]] = {
        "pandas": lambda: len(pd.read_sql(select, engine)),
        "driver": lambda: ours(fast=False),
        "columns": lambda: ours(fast=True),
    }
    best = dict.fromkeys(readers, float("inf"))
    rows = 0
    for _ in range(given.runs):
        for name, read in readers.items():
            began = time.perf_counter()
            rows = read()
            best[name] = min(best[name], time.perf_counter() - began)
    for name, seconds in best.items():
        ratio = best["pandas"] / seconds
        print(f"{name:>8}: {rows / seconds:>10,.0f} rows/s, {ratio:.1f} x pandas")


if __name__ == "__main__":
    main()
