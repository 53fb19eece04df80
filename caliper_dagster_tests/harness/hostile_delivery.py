"""Deliveries to a hostile event store, and what must be true when they have come to their end.

The tests use it with a few thousand events, ``benchmarks.faults`` with all of the real site.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.core.hours import Hour
from caliper_dagster.embedded.arrivals import arrivals, last_events
from caliper_dagster.embedded.event_store import running
from caliper_dagster.embedded.faults import Faults
from caliper_dagster.emitter import EmissionCounts, HttpDestination, Ledger, RetryPolicy, emit
from caliper_dagster.emitter.envelopes import context_iri, envelope_overhead
from caliper_dagster.emitter.ledger import ACKNOWLEDGED, REJECTED
from caliper_dagster_tests.harness.hostile_store import KEY, SENSOR, SITE, as_hours

Hours = Sequence[tuple[Hour, pa.Table]]

QUICK = RetryPolicy(attempts=8, first_wait=0.01, longest_wait=0.05)
MOST_RUNS = 200

SLOW = "slow=0.2,seconds=0.7"
FAULTS = {
    "400": "400=0.01",
    "401": "401=0.1",
    "403": "403=0.1",
    "404": "404=0.1",
    "408": "408=0.3",
    "413": "413=12000",
    "422": "422=0.02",
    "425": "425=0.3",
    "429": "429=0.3,retry-after=0",
    "500": "500=0.3",
    "503": "503=0.3",
    "slow beyond the time-out": SLOW,
    "dropped before storing": "drop=0.3",
    "dropped after storing": "drop-late=0.3",
    "restarted": "restart=0.1",
    "all at once": "400=0.005,422=0.005,413=20000,401=0.02,408=0.05,429=0.05,500=0.1,503=0.05,"
    "slow=0.02,seconds=0.7,drop=0.1,drop-late=0.1,restart=0.03",
}
UNHEARD = ("slow", "drop-late", "restart")
"""Faults after which an envelope may be stored without being known to be."""


def mixture(seed: int) -> str:
    """A random mixture of all faults: each there or not, and each with a share of its own."""
    chance = random.Random(seed)
    kinds = ["401", "403", "404", "408", "425", "429", "500", "502", "503", "504"]
    kinds += ["drop", "drop-late", "restart", "slow"]
    chosen = chance.sample(kinds, chance.randint(3, len(kinds)))
    parts = [f"{kind}={chance.uniform(0.01, 0.6 / len(chosen)):.3f}" for kind in chosen]
    parts += [f"{kind}={chance.uniform(0, 0.01):.4f}" for kind in ("400", "422")]
    parts += ["seconds=0.7", "retry-after=0"]
    if chance.random() < 0.5:
        parts.append(f"413={chance.randint(8_000, 60_000)}")
    return ",".join(parts)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a delivery has come to.

    Attributes:
        runs: until one came to its end, and the one after it.
        events: events that were to be sent.
        refused: of these, refused for their content or size.
        stored: events at the event store, each counted once.
        again: times that an event came to be stored again.
        complete: every event but the refused ones is stored.
        acknowledged_once: exactly these are acknowledged in the ledger, each once.
        rejected_alone: exactly the refused ones are rejected, each once, with the store's words.
        explained: for every hour, events = acknowledged + rejected.
        last_sent: events that the last run, after the end of the faults, still had to send.
    """

    runs: int
    events: int
    refused: int
    stored: int
    again: int
    complete: bool
    acknowledged_once: bool
    rejected_alone: bool
    explained: bool
    last_sent: int

    @property
    def holds(self) -> bool:
        return self.complete and self.acknowledged_once and self.rejected_alone and self.explained


def deliver(hours: Hours, hostile: str, folder: Path, *, in_flight: int, batch_size: int) -> Proof:
    """Run again and again until a run comes to its end, then once more."""
    kept = folder / "store.sqlite"
    # Only where slowness is the fault may a busy machine be taken for it.
    timeout = 0.5 if "slow=" in hostile else 60
    runs = 0
    with (
        running(kept, KEY, hostile=hostile) as url,
        Ledger(f"sqlite:///{folder}/ledger.sqlite") as ledger,
    ):
        ended = None
        while ended is None and runs < MOST_RUNS:
            runs += 1
            ended = _run(url, ledger, hours, timeout, in_flight, batch_size)
        assert ended is not None, "the faults have not ended"
        last = _run(url, ledger, hours, 60, in_flight, batch_size)
        assert last is not None, "the run after the faults failed"
        stored, arrived = {event.id for event in last_events(kept, 10**9)}, arrivals(kept)
    expected = _refused(hours, Faults.parse(hostile))
    every = {id_ for _, table in hours for id_ in _ids(table)}
    found: dict[str, Counter[str]] = {ACKNOWLEDGED: Counter(), REJECTED: Counter()}
    reasons = True
    for table, _ in last.values():
        for row in table.to_pylist():
            found[row["outcome"]].update(row["event_ids"])
            reasons &= (row["outcome"] == REJECTED) == bool(row["error"])
    counts = [counts for _, counts in last.values()]
    return Proof(
        runs=runs + 1,
        events=len(every),
        refused=len(expected),
        stored=arrived.events,
        again=arrived.received - arrived.events,
        complete=stored == every - expected,
        acknowledged_once=found[ACKNOWLEDGED] == Counter(every - expected),
        rejected_alone=found[REJECTED] == Counter(expected) and reasons,
        explained=all(
            one.events == one.already_acknowledged + one.sent + one.rejected for one in counts
        ),
        last_sent=sum(one.sent for one in counts),
    )


def _run(
    url: str, ledger: Ledger, hours: Hours, timeout: float, in_flight: int, batch_size: int
) -> dict[Hour, tuple[pa.Table, EmissionCounts]] | None:
    """One run; None if it failed."""
    with HttpDestination(url, KEY, timeout=timeout) as event_store:
        emitted = emit(
            as_hours(hours),
            event_store,
            ledger,
            sensor=SENSOR,
            site=SITE,
            batch_size=batch_size,
            in_flight=in_flight,
            retry_policy=QUICK,
        )
        try:
            return {hour: (table, counts) for hour, table, counts in emitted}
        except DeliveryError:
            return None


def _ids(table: pa.Table) -> list[str]:
    found: list[str] = table.column("event_id").drop_null().to_pylist()
    return found


def _refused(hours: Hours, faults: Faults) -> set[str]:
    """The events that the event store never takes."""
    room = (faults.max_bytes or 10**9) - envelope_overhead(SENSOR, context_iri("v1p2"))
    return {
        row["event_id"]
        for _, table in hours
        for row in table.select(["event_id", "event_type", "json"]).to_pylist()
        if row["json"] is not None
        and (faults.refusal(row["event_id"], row["event_type"]) or len(row["json"].encode()) > room)
    }
