"""The contract of ``docs/reliability.md``: whatever goes wrong, one more run brings all there."""

from collections import Counter

import pytest

from caliper_dagster.embedded.event_store import arrivals, last_events, running
from caliper_dagster.embedded.faults import Faults
from caliper_dagster.emitter import EventStore, Ledger, Patience, Send, emit
from caliper_dagster.emitter.ledger import ACKNOWLEDGED, REJECTED
from caliper_dagster.errors import DeliveryError
from caliper_dagster_tests.emitter.support import HOUR, KEY, SENSOR, SITE, events_table

HOURS = 8
PER_HOUR = 150
BATCH = 25
QUICK = Patience(attempts=8, first_wait=0.01, longest_wait=0.05)

FAULTS = {
    "400": "400=0.01",
    "422": "422=0.02",
    "413": "413=2500",
    "401": "401=0.1",
    "403": "403=0.1",
    "404": "404=0.1",
    "408": "408=0.3",
    "425": "425=0.3",
    "429": "429=0.3,retry-after=0",
    "500": "500=0.3",
    "503": "503=0.3",
    "slow": "slow=0.2,seconds=0.7",
    "dropped before storing": "drop=0.3",
    "dropped after storing": "drop-late=0.3",
    "restarted": "restart=0.1",
    "all at once": "400=0.005,422=0.005,413=4000,401=0.02,408=0.05,429=0.05,500=0.1,503=0.05,"
    "slow=0.02,seconds=0.7,drop=0.1,drop-late=0.1,restart=0.03",
}


def run(url, ledger, hours, in_flight):
    """One run; whether it came to its end."""
    with EventStore(url, KEY, timeout=0.5) as event_store:
        emitted = emit(
            hours, event_store, ledger, sensor=SENSOR, site=SITE, batch_size=BATCH,
            in_flight=in_flight, patience=QUICK,
        )  # fmt: skip
        try:
            return {hour: table for hour, table, _ in emitted}
        except DeliveryError:
            return None


def outcomes(results):
    """How often each event is in an envelope, by outcome."""
    found = {ACKNOWLEDGED: Counter(), REJECTED: Counter()}
    for table in results.values():
        for row in table.to_pylist():
            found[row["outcome"]].update(row["event_ids"])
            assert (row["outcome"] == REJECTED) == bool(row["error"])
    return found


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("fault", FAULTS)
def test_after_the_faults_one_more_run_brings_everything_there(tmp_path, fault, seed):
    hours = [(HOUR + n, events_table(HOUR + n, PER_HOUR)) for n in range(HOURS)]
    every = {id_ for _, table in hours for id_ in table.column("event_id").to_pylist()}
    hostile = f"{FAULTS[fault]},until=150,seed={seed}"
    kept = tmp_path / "store.sqlite"
    with running(kept, KEY, hostile=hostile) as url, Ledger(f"sqlite:///{tmp_path}/l") as ledger:
        results = None
        for _ in range(100):
            if results := run(url, ledger, hours, in_flight=1 + seed):
                break
        assert results, "the faults have not ended"
        found = outcomes(run(url, ledger, hours, in_flight=1))
        stored, arrived = {event.id for event in last_events(kept, 10_000)}, arrivals(kept)
    refusal = Faults.parse(hostile).refusal
    refused = {id_ for id_ in every if refusal(id_, "ViewEvent")}
    assert stored == every - refused
    assert found[ACKNOWLEDGED] == Counter(every - refused)
    assert found[REJECTED] == Counter(refused)
    # Twice comes only what was stored and not heard to be.
    if fault not in {"dropped after storing", "slow", "restarted", "all at once"}:
        assert arrived.received == arrived.events


def test_a_loss_that_the_store_calls_success_is_mended_by_sending_all_again(tmp_path):
    hours = [(HOUR, events_table(count=100))]
    kept = tmp_path / "store.sqlite"
    with running(kept, KEY, hostile="lose=1,until=2") as url:
        with Ledger("sqlite://") as ledger, EventStore(url, KEY) as event_store:
            given = (hours, event_store, ledger)
            list(emit(*given, sensor=SENSOR, site=SITE, batch_size=BATCH))
            assert 0 < arrivals(kept).events < 100
            list(emit(*given, sensor=SENSOR, site=SITE, batch_size=BATCH))
            assert arrivals(kept).events < 100
            list(emit(*given, sensor=SENSOR, site=SITE, send=Send.ALL))
        assert arrivals(kept).events == 100
