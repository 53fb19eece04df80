"""What a ledger says of all hours together."""

from dataclasses import replace

from caliper_dagster.emitter import Ledger
from caliper_dagster.emitter.ledger import REJECTED
from caliper_dagster.emitter.ledger.totals import StoreTotals
from caliper_dagster_tests.harness.hostile_store import HOUR, SITE
from caliper_dagster_tests.unit.emitter.test_ledger import STORE, batch


def test_totals_are_those_of_each_event_store_of_the_site(ledger: Ledger) -> None:
    assert ledger.totals(SITE).by_store() == {}
    empty = ledger.totals(SITE).size()
    assert empty > 0

    ledger.record(STORE, replace(batch(), answered_at=5_000), site=SITE)
    ledger.record(STORE, replace(batch(HOUR + 1), answered_at=3_500), site=SITE)
    refused = replace(batch(HOUR + 2, ids=batch().event_ids()[:1]), outcome=REJECTED)
    ledger.record(STORE, replace(refused, answered_at=9_000), site=SITE)
    ledger.record("other", replace(refused, batch_id="urn:uuid:2"), site=SITE)
    ledger.record(STORE, replace(refused, batch_id="urn:uuid:3"), site="elsewhere")

    totals = ledger.totals(SITE)
    assert totals.by_store() == {STORE: StoreTotals(1, 5.0), "other": StoreTotals(1, None)}
    assert totals.size() >= empty
