"""Caliper events to an event store.

Knows envelopes, HTTP and what each event store has acknowledged. Knows nothing of Moodle, of how
events are made, or of Dagster. One hour's events walk through it once: ``fingerprints`` tell which
are new, ``envelopes`` puts those into envelopes, ``event_store`` posts each, ``ledger`` records
the answer; ``emission`` is the loop around them.
"""

from caliper_dagster.emitter.emission import EmissionCounts, emit
from caliper_dagster.emitter.event_store import EventStore
from caliper_dagster.emitter.ledger import Ledger

__all__ = ["EmissionCounts", "EventStore", "Ledger", "emit"]
