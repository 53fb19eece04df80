"""What a ledger need not keep, and that what is acknowledged stays known without it."""

from datetime import UTC, datetime

from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.emitter import Ledger, Send
from caliper_dagster.emitter.ledger import REJECTED
from caliper_dagster.emitter.ledger.records import LedgerState
from caliper_dagster_tests.harness.hostile_store import HOUR, SITE
from caliper_dagster_tests.unit.emitter.test_ledger import STORE, batch

AFTER = datetime(2026, 2, 1, tzinfo=UTC)
"""Later than the answers to all batches of these tests."""

BEFORE = datetime(2026, 1, 1, tzinfo=UTC)


def test_only_batches_whose_events_were_all_acknowledged_again_go(ledger: Ledger) -> None:
    first, second = batch(), batch()
    ids = [*first.event_ids(), second.event_ids()[0]]
    for record in (first, second, batch(ids=ids, content='{"a":1}'), batch(HOUR + 1)):
        ledger.record(STORE, record, site=SITE)
    elsewhere = batch(ids=first.event_ids())
    ledger.record("other", elsewhere, site=SITE)
    retention = ledger.retention(SITE)
    assert retention.superseded(STORE, BEFORE) == []
    superseded = retention.superseded(STORE, AFTER)
    assert [found.bytes for found in superseded] == [24 * 3]
    before = ledger.acknowledged(STORE, [HOUR], site=SITE)[HOUR]
    retention.delete(superseded)
    left = [found.batch_id for found in ledger.batches(STORE, [HOUR], site=SITE)[HOUR]]
    assert first.batch_id not in left
    assert second.batch_id in left
    assert len(left) == 2
    after = ledger.acknowledged(STORE, [HOUR], site=SITE)[HOUR]
    assert (before.fingerprints == after.fingerprints).all()
    assert retention.superseded(STORE, AFTER) == []
    (other,) = ledger.batches("other", [HOUR], site=SITE)[HOUR]
    assert other.batch_id == elsewhere.batch_id


def test_a_rejection_supersedes_nothing(ledger: Ledger) -> None:
    acknowledged = batch(events=1)
    ledger.record(STORE, acknowledged, site=SITE)
    rejected = batch(ids=acknowledged.event_ids(), outcome=REJECTED)
    ledger.record(STORE, rejected, site=SITE)
    assert ledger.retention(SITE).superseded(STORE, AFTER) == []


def test_a_pruned_hour_counts_as_acknowledged_with_whatever_content(ledger: Ledger) -> None:
    sent, of_another_hour = batch(), batch(HOUR + 1)
    for record in (sent, of_another_hour):
        ledger.record(STORE, record, site=SITE)
    ledger.retention(SITE).forget_contents([HOUR])
    for hour, ids, is_pruned in (
        (HOUR, sent.event_ids(), True),
        (HOUR + 1, of_another_hour.event_ids(), False),
    ):
        made_again = batch(hour, ids=ids, content='{"other":"names"}').fingerprints
        state = LedgerState.of(
            made_again, MAPPING_REVISION, ledger.batches(STORE, [hour], site=SITE)[hour]
        )
        for send in (Send.UNACKNOWLEDGED, Send.CHANGED, Send.NEW):
            assert send.choose(state).any() == (not is_pruned)
        assert Send.ALL.choose(state).all()
    # They are not of an older mapping, of which somebody could send the new content.
    for revision in (MAPPING_REVISION, MAPPING_REVISION + 1):
        counts = ledger.acknowledged_otherwise(STORE, revision, site=SITE)
        assert HOUR not in counts
    ledger.record(STORE, batch(), site=SITE)
    assert ledger.hours_of_several_revisions(STORE, site=SITE) == []


def test_an_hour_is_leased_only_while_it_is_sent(ledger: Ledger) -> None:
    retention = ledger.retention(SITE)
    with ledger.lease(STORE, [HOUR, HOUR + 1], site=SITE):
        assert retention.leased_hours() == {HOUR, HOUR + 1}
        assert ledger.retention("https://other.example.org").leased_hours() == set()
    assert retention.leased_hours() == set()
