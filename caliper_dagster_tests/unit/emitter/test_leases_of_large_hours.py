"""Large hours one after another: each has a lease of its own, taken after it has been read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from caliper_dagster.core.hours import Hour
from caliper_dagster.emitter import FileDestination, HourOfEvents, Ledger, emit
from caliper_dagster.emitter.ledger.leases import Lease
from caliper_dagster_tests.harness.hostile_store import HOUR, SENSOR, SITE, events_table

LEASE_SECONDS = 0.4


class ShortLeases(Ledger):
    """A ledger whose leases must be renewed ten times a second."""

    def lease(self, event_store: str, hours: Any, **options: Any) -> Lease:
        given = super().lease(event_store, hours, **options)
        given._seconds = LEASE_SECONDS
        return given


def read_slowly(hour: Hour) -> HourOfEvents:
    def parts() -> Iterator[pa.Table]:
        for part in range(3):
            time.sleep(LEASE_SECONDS / 3)
            yield events_table(hour, 30).slice(10 * part, 10)

    return HourOfEvents(hour, parts)


def test_an_hour_that_is_read_for_long_is_sent_after_another_one(tmp_path: Path) -> None:
    hours = [HOUR, HOUR + 1, HOUR + 2]
    with (
        ShortLeases(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger,
        FileDestination(str(tmp_path)) as folder,
    ):
        emitted = list(
            emit(map(read_slowly, hours), folder, ledger, sensor=SENSOR, site=SITE),
        )
    assert [(hour.hour, hour.counts.sent) for hour in emitted] == [(hour, 30) for hour in hours]
