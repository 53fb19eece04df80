"""How large is the ledger?

Run ``python -m benchmarks.ledger``, with ``--url`` for an empty database in PostgreSQL instead of
an SQLite file. A million events, 2,000 an hour, are recorded in envelopes of 500 as delivery does
it; what 100 million would take follows from the size of the database.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import numpy as np
import sqlalchemy as sa

from caliper_dagster.core.hours import Hour
from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.emitter import Ledger
from caliper_dagster.emitter.ledger import ACKNOWLEDGED, BatchRecord
from caliper_dagster.emitter.ledger.fingerprints import FINGERPRINT

STORE, SITE = "https://store.example.org/caliper", "https://moodle.example.org"
PER_HOUR = 2_000


def main() -> None:
    """Record, and print the size of the database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="SQLAlchemy URL of an empty database")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--batch-size", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        url = given.url or f"sqlite:///{path}"
        began = time.perf_counter()
        _record(url, given.events, given.batch_size)
        seconds = time.perf_counter() - began
        size = (
            _size(url) if given.url else sum(file.stat().st_size for file in path.parent.iterdir())
        )
    print(
        f"{given.events:,} events in envelopes of {given.batch_size}: {size / given.events:.1f} "
        f"bytes each, {size / given.events / 10:.2f} GB for 100 million; "
        f"{given.events / given.batch_size / seconds:,.0f} envelopes recorded in a second"
    )


def _record(url: str, events: int, batch_size: int) -> None:
    chance, moment = np.random.default_rng(1), 1_700_000_000_000
    with Ledger(url) as ledger:
        for number in range(0, events, batch_size):
            found = np.frombuffer(chance.bytes(batch_size * FINGERPRINT.itemsize), FINGERPRINT)
            batch = BatchRecord(
                hour=Hour(480_000 + number // PER_HOUR),
                batch_id=f"urn:uuid:{uuid4()}",
                outcome=ACKNOWLEDGED,
                bytes=800_000,
                attempts=1,
                http_status=200,
                sent_at=moment + number,
                answered_at=moment + number + 50,
                error=None,
                mapping_revision=MAPPING_REVISION,
                fingerprints=found,
            )
            ledger.record(STORE, batch, site=SITE)


def _size(url: str) -> int:
    """Bytes of the ledger's tables in PostgreSQL, with their indexes."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        size = connection.scalar(sa.text("SELECT pg_total_relation_size('caliper_batch')"))
    engine.dispose()
    return int(size or 0)


if __name__ == "__main__":
    main()
