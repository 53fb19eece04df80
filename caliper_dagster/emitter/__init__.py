"""Caliper events to an event store.

Knows envelopes, HTTP and what each event store has acknowledged. Knows nothing of Moodle, of how
events are made, or of Dagster. One hour's events walk through it once: ``fingerprints`` tell which
are new, ``envelopes`` puts those into envelopes, ``event_store`` posts each (again and again, if
``retries`` says so), ``delivery`` makes of the answer what ``ledger`` records; ``emission`` is the
loop around them.
"""

from caliper_dagster.emitter.delivery import StoppedError
from caliper_dagster.emitter.emission import EmissionCounts, Send, emit
from caliper_dagster.emitter.http_destination import EventStore
from caliper_dagster.emitter.ledger import Ledger
from caliper_dagster.emitter.retries import Patience

__all__ = ["EmissionCounts", "EventStore", "Ledger", "Patience", "Send", "StoppedError", "emit"]
