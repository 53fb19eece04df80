"""How fast log rows are expanded, and with how many statements, by the length of the range.

Run ``python -m benchmarks.expansion --url mysql+pymysql://reader:…@host/database`` on a Moodle
database made by ``benchmarks.site``. What the whole log tells is read before, and told apart. All
ranges end with the same row and are expanded in turn; the ratio is that of the best runs to the
shortest range.
"""

from __future__ import annotations

import argparse
import time

import pyarrow as pa
import sqlalchemy as sa

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.expander import LogLifecycle, MoodleDatabase, expand, read_log


def main() -> None:
    """Measure, and print rows per second of CPU and of time, and statements per 1,000 rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="SQLAlchemy URL of a Moodle database")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with MoodleDatabase.open(given.url) as database:
        cpu, wall = time.process_time(), time.perf_counter()
        lifecycle = LogLifecycle(database)
        lifecycle.components({0})
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(f"what the whole log tells: {cpu:.2f} s of CPU, {wall:.2f} s")
        whole = _last_rows(database, max(given.rows))
        logs = [whole.slice(max(whole.num_rows - rows, 0)) for rows in sorted(given.rows)]
        best = [(float("inf"), float("inf"))] * len(logs)
        statements = [0] * len(logs)
        for _ in range(given.runs):
            for place, log in enumerate(logs):
                before = database.statements
                cpu, wall = time.process_time(), time.perf_counter()
                expand(database, log, lifecycle)
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                best[place] = min(best[place][0], cpu), min(best[place][1], wall)
                statements[place] = database.statements - before
    speeds = [log.num_rows / cpu for log, (cpu, _) in zip(logs, best, strict=True)]
    for log, speed, (_, wall), sent in zip(logs, speeds, best, statements, strict=True):
        rows = log.num_rows
        print(
            f"{rows:>8,} rows: {speed:>9,.0f} rows/s of CPU ({speed / speeds[0]:.1f} x), "
            f"{rows / wall:>9,.0f} rows/s, {1000 * sent / rows:>6.1f} statements per 1,000 rows"
        )


def _last_rows(database: MoodleDatabase, number: int) -> pa.Table:
    """The last rows of the log, of whole hours."""
    log = database.quoted("logstore_standard_log")
    newest = f"SELECT timecreated FROM {log} ORDER BY timecreated DESC LIMIT {number}"
    bounds = f"SELECT MIN(timecreated), MAX(timecreated) FROM ({newest}) AS rows_"
    ((first, last),) = database.execute(sa.text(bounds))
    hours = HourRange(Hour.of(first), Hour.of(last) + 1)
    tables = [table for _, table in read_log(database, hours)]
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


if __name__ == "__main__":
    main()
