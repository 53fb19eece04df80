"""Does everything arrive, whatever goes wrong at the event store?

Run ``python -m benchmarks.faults``. All events of the real site's log are delivered to the embedded
event store, once for each kind of fault and for random mixtures of all of them; after the faults
have ended, one more run must leave every event there, in the ledger once, and nothing unexplained.
Exits with 1 if that does not hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.databases import dump_database
from caliper_dagster_tests.harness.hostile_delivery import FAULTS, deliver, mixture
from caliper_dagster_tests.harness.moodle_dump import dump_events


def main() -> None:
    """Deliver with each fault, and print a row of figures for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="SQLAlchemy URL of the real site, when it is loaded")
    parser.add_argument("--until", type=int, default=300, help="number of POSTs that meet faults")
    parser.add_argument("--mixtures", type=int, default=10, help="number of random mixtures")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--only", help="only the fault of this name")
    given = parser.parse_args()
    cases = dict(FAULTS)
    cases |= {f"mixture {n}": mixture(n) for n in range(given.seed, given.seed + given.mixtures)}
    with dump_database(given.database) as url:
        hours = dump_events(url)
    print("| Fault | Runs | Events | Refused | Stored | Stored again | Seconds | Holds |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    failed = 0
    for number, (name, fault) in enumerate(cases.items()):
        if given.only not in (None, name):
            continue
        hostile = f"{fault},until={given.until},seed={given.seed}"
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            proof = deliver(
                hours,
                hostile,
                Path(folder),
                in_flight=1 + number % 4,
                batch_size=given.batch_size,
            )
        failed += not proof.holds
        figures = (proof.runs, proof.events, proof.refused, proof.stored, proof.again)
        seconds = time.perf_counter() - began
        told = " | ".join(f"{figure:,}" for figure in figures)
        print(
            f"| {name} | {told} | {seconds:.0f} | {'yes' if proof.holds else proof} |", flush=True
        )
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
