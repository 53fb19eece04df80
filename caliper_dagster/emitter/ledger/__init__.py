"""The ledger: the durable record of what each destination has acknowledged, in SQL.

``ledger`` reads and writes it, ``tables`` creates and migrates it, ``records`` compares what it
holds with the events of an hour by ``fingerprints``. Tables beside the batches hold the ``leases``
of runs that are sending, the ``backlog`` of destinations, and the ``tombstones`` of persons.
"""

from caliper_dagster.emitter.ledger.ledger import Ledger
from caliper_dagster.emitter.ledger.records import (
    ACKNOWLEDGED,
    REJECTED,
    BatchRecord,
    results_table,
)

__all__ = ["ACKNOWLEDGED", "REJECTED", "BatchRecord", "Ledger", "results_table"]
