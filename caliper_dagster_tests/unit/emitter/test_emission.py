import json

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from caliper_dagster.core.errors import DeliveryError, StorageError
from caliper_dagster.core.frames import EMISSION_RESULTS
from caliper_dagster.embedded.arrivals import arrivals
from caliper_dagster.embedded.event_store import running
from caliper_dagster.emitter import HttpDestination, Ledger, RetryPolicy, Send, emit
from caliper_dagster_tests.harness.examples import examples
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    KEY,
    OK,
    SENSOR,
    SITE,
    HostileStore,
    answer,
    as_hours,
    break_off,
    drop,
    event_id,
    events_table,
    send,
)


def kept_by(ledger, store, hours=(HOUR,)):
    """Ids of the events that the ledger calls acknowledged."""
    with HttpDestination(store.url, KEY) as event_store:
        found = ledger.batches(event_store.name, list(hours), site=SITE)
    batches = [batch for of_hour in found.values() for batch in of_hour]
    assert all(batch.outcome == "acknowledged" for batch in batches)
    return {bytes(found) for batch in batches for found in batch.fingerprints["id"]}


def test_everything_is_sent_once_and_shown(ledger):
    with HostileStore() as store:
        done = send([(HOUR, events_table(count=12))], store, ledger, batch_size=5)
    table, counts = done[HOUR]
    assert store.event_ids() == [event_id(HOUR, n) for n in range(12)]
    assert table.schema == EMISSION_RESULTS.schema
    assert table.column("events").to_pylist() == [5, 5, 2]
    assert table.column("event_ids").combine_chunks().flatten().to_pylist() == store.event_ids()
    assert table.column("bytes").to_pylist() == [len(body) for body in store.bodies]
    assert set(table.column("http_status").to_pylist()) == {200}
    assert len(set(table.column("batch_id").to_pylist())) == 3
    assert (counts.events, counts.already_acknowledged, counts.sent) == (12, 0, 12)
    assert (counts.envelopes, counts.bytes) == (3, sum(map(len, store.bodies)))


def test_envelopes_are_the_events_as_they_are():
    with HostileStore() as store, Ledger("sqlite://") as ledger:
        events = events_table(count=2, text='"Ünïcode" \U0001f600 \u2028')
        send([(HOUR, events)], store, ledger)
    sent = json.loads(store.bodies[0])
    assert list(sent) == ["sensor", "sendTime", "dataVersion", "data"]
    assert sent["sensor"] == SENSOR
    joined = ",".join(events.column("json").to_pylist()).encode()
    assert store.bodies[0].endswith(b'"data":[' + joined + b"]}")


def test_again_sends_nothing_and_still_shows_everything(ledger):
    with HostileStore() as store:
        first = send([(HOUR, events_table(count=12))], store, ledger, batch_size=5)
        again = send([(HOUR, events_table(count=12))], store, ledger, batch_size=5)
    assert len(store.bodies) == 3
    assert again[HOUR][0].equals(first[HOUR][0])
    counts = again[HOUR][1]
    assert (counts.already_acknowledged, counts.sent, counts.envelopes) == (12, 0, 0)


def test_only_new_and_changed_events_are_sent(ledger):
    with HostileStore() as store:
        send([(HOUR, events_table(count=10))], store, ledger)
        changed = events_table(count=12, text=lambda n: "new" if n == 4 else "")
        done = send([(HOUR, changed)], store, ledger)
        send([(HOUR, changed)], store, ledger)
        reverted = events_table(count=12)
        send([(HOUR, reverted)], store, ledger)
    sent = [[e["id"] for e in json.loads(body)["data"]] for body in store.bodies]
    assert sent[1:] == [[event_id(HOUR, n) for n in (4, 10, 11)], [event_id(HOUR, 4)]]
    assert done[HOUR][0].num_rows == 2
    assert done[HOUR][1].already_acknowledged == 9


def test_vanished_events_change_nothing(ledger):
    with HostileStore() as store:
        send([(HOUR, events_table(count=10))], store, ledger)
        done = send([(HOUR, events_table(count=3))], store, ledger)
    assert len(store.bodies) == 1
    assert done[HOUR][0].column("events").to_pylist() == [10]


def test_resend_all_sends_all_again_with_the_same_ids(ledger):
    with HostileStore() as store:
        send([(HOUR, events_table(count=7))], store, ledger)
        done = send([(HOUR, events_table(count=7))], store, ledger, send=Send.ALL)
    ids = [event_id(HOUR, n) for n in range(7)]
    assert store.event_ids() == ids + ids
    assert done[HOUR][1].sent == 7
    assert done[HOUR][0].num_rows == 2


def test_rows_without_an_event_are_skipped(ledger):
    outcomes = ["event", "filtered", "derived", "failed", "event"]
    with HostileStore() as store:
        done = send([(HOUR, events_table(count=5, outcomes=outcomes))], store, ledger)
    assert store.event_ids() == [event_id(HOUR, n) for n in (0, 2, 4)]
    assert done[HOUR][1].events == 3


@pytest.mark.parametrize("outcomes", [[], ["filtered", "failed"]])
def test_an_hour_without_events_posts_nothing(ledger, outcomes):
    events = events_table(count=len(outcomes), outcomes=outcomes)
    with HostileStore() as store:
        table, counts = send([(HOUR, events)], store, ledger)[HOUR]
    assert store.bodies == []
    assert table.equals(EMISSION_RESULTS.empty())
    assert (counts.events, counts.sent) == (0, 0)


def test_an_envelope_holds_one_hour_and_one_version(ledger):
    mixed = events_table(count=4, version=lambda n: "v1p1" if n % 2 else "v1p2")
    with HostileStore() as store:
        send([(HOUR, mixed), (HOUR + 1, events_table(HOUR + 1, 1))], store, ledger)
    bodies = [json.loads(body) for body in store.bodies]
    assert [len(body["data"]) for body in bodies] == [2, 2, 1]
    for body in bodies:
        assert {event["@context"] for event in body["data"]} == {body["dataVersion"]}


def test_event_stores_do_not_share_what_they_acknowledged(ledger):
    with HostileStore() as one, HostileStore() as other:
        send([(HOUR, events_table())], one, ledger)
        send([(HOUR, events_table())], other, ledger)
        send([(HOUR, events_table())], one, ledger, site="https://second.example.org")
    assert len(one.bodies) == 2
    assert len(other.bodies) == 1


def test_hours_are_sent_in_the_order_given_and_the_same_hour_once(ledger):
    hours = [(HOUR + n, events_table(HOUR + n, 3)) for n in (2, 0, 1, 0)]
    with HostileStore() as store:
        send(hours, store, ledger)
    assert store.event_ids() == [event_id(HOUR + n, m) for n in (2, 0, 1) for m in range(3)]


def test_the_ledger_is_asked_once_for_many_hours(ledger):
    statements = []
    sa.event.listen(
        ledger._engine, "before_cursor_execute", lambda *given: statements.append(given[2])
    )
    hours = [(HOUR + n, events_table(HOUR + n, 1)) for n in range(100)]
    with HostileStore() as store:
        send(hours, store, ledger)
        statements.clear()
        send(hours, store, ledger)
    assert len(statements) == 1


def test_statements_and_requests_follow_the_envelopes_not_the_events(ledger):
    counted = {}
    for count in (100, 10_000):
        statements = []
        listener = lambda *given, seen=statements: seen.append(given[2])  # noqa: E731
        sa.event.listen(ledger._engine, "before_cursor_execute", listener)
        hour = HOUR + count
        with HostileStore() as store:
            send([(hour, events_table(hour, count))], store, ledger, batch_size=10_000,
                 batch_bytes=10_000_000)  # fmt: skip
        sa.event.remove(ledger._engine, "before_cursor_execute", listener)
        counted[count] = (len(statements), len(store.bodies))
    assert counted[100] == counted[10_000]


@pytest.mark.parametrize(
    "fault", [answer(500), answer(401), answer(302, Location="/"), answer(418), drop]
)
def test_what_was_not_acknowledged_is_never_recorded_and_goes_next_time(ledger, fault):
    with HostileStore(OK, OK, fault) as store:
        once = RetryPolicy(attempts=1)
        with pytest.raises(DeliveryError):
            send([(HOUR, events_table(count=12))], store, ledger, batch_size=3, retry_policy=once)
        assert len(store.bodies) == 3
        assert len(kept_by(ledger, store)) == 6
        store.behaviours = [OK]
        done = send([(HOUR, events_table(count=12))], store, ledger, batch_size=3)
        assert len(kept_by(ledger, store)) == 12
    assert done[HOUR][1].sent == 6
    assert store.event_ids()[-6:] == [event_id(HOUR, n) for n in range(6, 12)]


def test_a_200_whose_body_breaks_off_is_acknowledged(ledger):
    with HostileStore(break_off) as store:
        send([(HOUR, events_table(count=2))], store, ledger, batch_size=1)
        assert len(kept_by(ledger, store)) == 2
    assert len(store.bodies) == 2


def test_events_that_break_the_contract_are_not_sent(ledger):
    events = events_table(count=3)
    place = events.column_names.index("caliper_version")
    broken = events.set_column(place, "caliper_version", events.column("profile"))
    with HostileStore() as store, pytest.raises(StorageError, match="caliper_version"):
        send([(HOUR, broken)], store, ledger)
    assert store.bodies == []


def test_the_embedded_event_store_holds_each_event_once(tmp_path, ledger_url):
    hours = [(HOUR + n, events_table(HOUR + n, 25, text="é" * 100)) for n in range(3)]
    kept = tmp_path / "store.sqlite"
    with (
        running(kept, KEY) as url,
        HttpDestination(url, KEY) as event_store,
        Ledger(ledger_url) as ledger,
    ):
        for _ in range(2):
            list(
                emit(
                    as_hours(hours), event_store, ledger, sensor=SENSOR, site=SITE, batch_bytes=2000
                )
            )
        assert arrivals(kept).events == arrivals(kept).received == 75
        list(emit(as_hours(hours), event_store, ledger, sensor=SENSOR, site=SITE, send=Send.ALL))
        assert (arrivals(kept).events, arrivals(kept).received) == (75, 150)
        # A wrong key is refused, and nothing of it reaches the ledger.
        new = [(HOUR + 9, events_table(HOUR + 9, 1))]
        with (
            HttpDestination(url, "wrong") as stranger,
            pytest.raises(DeliveryError, match="API_KEY"),
        ):
            list(emit(as_hours(new), stranger, ledger, sensor=SENSOR, site=SITE))
        assert ledger.batches(event_store.name, [HOUR + 9], site=SITE) == {HOUR + 9: []}


@settings(max_examples=examples(15))
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=20),
    st.integers(1, 7),
    st.integers(1, 2000),
)
def test_any_text_arrives_once_in_order_and_within_the_limits(names, batch_size, batch_bytes):
    events = events_table(count=len(names), text=names.__getitem__)
    with HostileStore() as store, Ledger("sqlite://") as ledger:
        send([(HOUR, events)], store, ledger, batch_size=batch_size, batch_bytes=batch_bytes)
    sent = [event for body in store.bodies for event in json.loads(body)["data"]]
    assert [event["object"]["name"] for event in sent] == names
    for body in store.bodies:
        count = len(json.loads(body)["data"])
        assert count <= batch_size
        assert len(body) <= batch_bytes or count == 1
