"""How long does a log row take until it is acknowledged, when events are sent immediately?

Run ``python -m benchmarks.immediately --minutes 5``, with ``--by daemon`` for the sensor in
Dagster's daemon instead of ``caliper-dagster follow``. A writer adds 20 rows a second to the log of
a sample site in MariaDB; the time of each row is that from its insert to its answer in the ledger.
Exits with 1 if a row is missing or came twice, or if the times are beyond 10 s (median) and 20 s
(95 %).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from benchmarks.databases import mariadb
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.instance.open import DEFAULT_DAGSTER_YAML
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster.emitter.ledger import ACKNOWLEDGED
from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.installation import Installation, installation
from caliper_dagster_tests.harness.moodle_dump import LOG_TABLE
from caliper_dagster_tests.harness.sample_installation import copy_site

ROOT = Path(__file__).resolve().parents[1]
WAYS = {
    "follow": [sys.executable, "-m", "caliper_dagster.cli", "follow"],
    "daemon": [
        str(Path(sys.executable).with_name("dagster-daemon")),
        *("run", "--module-name", "caliper_dagster.definitions"),
    ],
}
_PATIENCE = 120
"""Seconds for the first row to arrive, and for the last one."""


@dataclass(frozen=True, slots=True)
class Times:
    """What came of the rows.

    Attributes:
        rows: rows that were added.
        missing: of these, without an acknowledged event.
        twice: events that the event store has received more than once.
        seconds: from insert to acknowledged, of each row, ascending.
    """

    rows: int
    missing: int
    twice: int
    seconds: list[float]

    def percentile(self, share: float) -> float:
        """The time within which so many per cent of the rows were acknowledged."""
        return float(np.percentile(self.seconds, share))


def measure(site: Installation, way: str, seconds: float, per_second: int) -> Times:
    """Start the sender, add rows for so long, and wait until all are acknowledged."""
    engine = sa.create_engine(site.settings["MOODLE_DB_URL"])
    rows = _patterns(engine)
    with _sender(site, way):
        row, moment = _add(engine, rows)
        _wait_for(site, row, moment)
        inserted: dict[int, float] = {}
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            time.sleep(max(0.0, began + len(inserted) / per_second - time.monotonic()))
            row, moment = _add(engine, rows)
            inserted[row] = moment
        _wait_for(site, row, moment)
    engine.dispose()
    answered = _answered(site, min(inserted.values()))
    took = sorted(answered[row] - moment for row, moment in inserted.items() if row in answered)
    arrived = site.arrived()
    return Times(
        rows=len(inserted),
        missing=len(inserted) - len(took),
        twice=arrived.received - arrived.events,
        seconds=took,
    )


@contextmanager
def sample_on_mariadb(url: str, folder: Path) -> Iterator[Installation]:
    """A sample site that slept for two hours, in an empty MariaDB database, sent immediately."""
    now = Hour.of(time.time())
    site = write_sample(folder / "moodle.sqlite", students=200, hours=4, end=now + -2)
    copy_site(f"sqlite:///{site.path}", url)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for columns in ("timecreated", "userid, contextlevel", "courseid, timecreated"):
            connection.execute(sa.text(f"ALTER TABLE {LOG_TABLE} ADD INDEX ({columns})"))
    settings = {
        "CALIPER_SEND_IMMEDIATELY": "true",
        "CALIPER_START": f"{(now + -24).datetime:%Y-%m-%dT%H}",
    }
    with installation(folder, url, site.wwwroot, **settings) as found:
        yield found


def _patterns(engine: sa.Engine) -> list[dict[str, object]]:
    """Rows that the log has, to be added again with the time of the moment."""
    with engine.connect() as connection:
        found = connection.execute(sa.text(f"SELECT * FROM {LOG_TABLE} LIMIT 2000")).mappings()
        return [{name: row[name] for name in row if name != "id"} for row in found]


def _add(engine: sa.Engine, rows: list[dict[str, object]]) -> tuple[int, float]:
    """Insert a row as a web request would, in a transaction of its own; its id, and when."""
    row = random.choice(rows) | {"timecreated": int(time.time())}  # noqa: S311 - no secret
    marks = ", ".join(f":{name}" for name in row)
    insert = sa.text(f"INSERT INTO {LOG_TABLE} ({', '.join(row)}) VALUES ({marks})")
    with engine.begin() as connection:
        moment = time.time()
        return int(connection.execute(insert, row).lastrowid), moment


@contextmanager
def _sender(site: Installation, way: str) -> Iterator[None]:
    environment = clean_environment(dict(os.environ)) | {"PYTHONPATH": str(ROOT)}
    site.home.mkdir()
    shutil.copy(DEFAULT_DAGSTER_YAML, site.home)
    with (site.folder / "sender.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, fixed arguments
            WAYS[way],
            cwd=site.folder,
            env=environment | dict(site.settings),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_PATIENCE)


def _wait_for(site: Installation, row: int, since: float) -> None:
    """Until the event of a log row is acknowledged, if that comes."""
    deadline = time.monotonic() + _PATIENCE
    while row not in _answered(site, since) and time.monotonic() < deadline:
        time.sleep(1)


def _answered(site: Installation, since: float) -> dict[int, float]:
    """By log row, when the event store's answer to its event was in the ledger."""
    hours = HourRange(Hour.of(since), Hour.of(time.time()) + 1)
    storage, found = site.storage, site.batches(hours)
    answers = {
        event: row["answered_at"]
        for row in found.select(["event_ids", "answered_at", "outcome"]).to_pylist()
        if row["outcome"] == ACKNOWLEDGED
        for event in row["event_ids"]
    }
    taken = [hour for hour in hours if storage.exists(CALIPER_EVENTS, hour)]
    events = storage.read(CALIPER_EVENTS, taken, ["log_id", "event_id", "outcome"]).to_pylist()
    return {
        row["log_id"]: answers[row["event_id"]].timestamp()
        for row in events
        if row["outcome"] == "event" and row["event_id"] in answers
    }


def main() -> None:
    """Measure, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--per-second", type=int, default=20, help="rows that are added")
    parser.add_argument("--by", choices=list(WAYS), default="follow")
    parser.add_argument("--server", help="SQLAlchemy URL of a MariaDB administrator")
    given = parser.parse_args()
    with (
        mariadb(given.server) as url,
        tempfile.TemporaryDirectory() as folder,
        sample_on_mariadb(url, Path(folder)) as site,
    ):
        times = measure(site, given.by, 60 * given.minutes, given.per_second)
    median, most = times.percentile(50), times.percentile(95)
    print(
        f"{given.by}: {times.rows:,} rows, {times.missing} missing, {times.twice} twice; median "
        f"{median:.1f} s, 95 % {most:.1f} s, longest {times.percentile(100):.1f} s"
    )
    sys.exit(bool(times.missing or times.twice) or median >= 10 or most >= 20)


if __name__ == "__main__":
    main()
