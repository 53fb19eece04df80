"""The contract of ``docs/reliability.md``: whatever goes wrong, one more run brings all there.

The events are a few of each hour of the real site; ``benchmarks.faults`` takes all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from caliper_dagster.embedded.arrivals import arrivals
from caliper_dagster.embedded.event_store import running
from caliper_dagster.emitter import HttpDestination, Ledger, Send, emit
from caliper_dagster_tests.harness.hostile_delivery import FAULTS, UNHEARD, Hours, deliver, mixture
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    KEY,
    SENSOR,
    SITE,
    as_hours,
    events_table,
)
from caliper_dagster_tests.harness.moodle_dump import dump_events

BATCH = 10
PER_HOUR = 15


@pytest.fixture(scope="module")
def hours(moodle_dump_mariadb: str) -> Hours:
    """More than a thousand events in many hours."""
    return [(hour, table.slice(0, PER_HOUR)) for hour, table in dump_events(moodle_dump_mariadb)]


CASES = FAULTS | {f"mixture {seed}": mixture(seed) for seed in range(1, 4)}


@pytest.mark.parametrize("fault", CASES)
def test_after_the_faults_one_more_run_brings_everything_there(
    tmp_path: Path, hours: Hours, fault: str
) -> None:
    hostile = f"{CASES[fault]},until=60,seed=7"
    proof = deliver(hours, hostile, tmp_path, in_flight=1 + len(fault) % 3, batch_size=BATCH)
    assert proof.holds, proof
    assert proof.events > 1000
    # Twice comes only what was stored and not heard to be.
    assert proof.again == 0 or any(name in hostile for name in UNHEARD)


def test_what_is_refused_is_some_and_not_all(tmp_path: Path, hours: Hours) -> None:
    """The faults above do what they are for."""
    proof = deliver(hours, "400=0.01,422=0.01", tmp_path, in_flight=2, batch_size=BATCH)
    assert proof.holds, proof
    assert 0 < proof.refused < proof.stored


def test_a_loss_that_the_store_calls_success_is_mended_by_sending_all_again(
    tmp_path: Path,
) -> None:
    hours = [(HOUR, events_table(count=100))]
    kept = tmp_path / "store.sqlite"
    with running(kept, KEY, hostile="lose=1,until=2") as url:
        with Ledger("sqlite://") as ledger, HttpDestination(url, KEY) as event_store:
            given = (as_hours(hours), event_store, ledger)
            list(emit(*given, sensor=SENSOR, site=SITE, batch_size=25))
            assert 0 < arrivals(kept).events < 100
            list(emit(*given, sensor=SENSOR, site=SITE, batch_size=25))
            assert arrivals(kept).events < 100
            list(emit(*given, sensor=SENSOR, site=SITE, send=Send.ALL))
        assert arrivals(kept).events == 100
