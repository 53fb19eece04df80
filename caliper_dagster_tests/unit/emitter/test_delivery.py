"""Every answer of an event store, and what the emitter makes of it."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import log2

import pytest

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.core.hours import HourRange
from caliper_dagster.emitter import HttpDestination, Ledger, RetryPolicy, Send, emit
from caliper_dagster.emitter.ledger import REJECTED
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    KEY,
    OK,
    SENSOR,
    SITE,
    Clock,
    HostileStore,
    answer,
    as_hours,
    drop,
    event_id,
    events_table,
    limited,
    refusing,
    send,
    sent_in,
)

BAD = answer(400, b'{"detail": "objects of this kind are not known here"}')
V1P2 = "http://purl.imsglobal.org/ctx/caliper/v1p2"


def ids(*numbers, hour=HOUR):
    return [event_id(hour, number) for number in numbers]


def rejected(table):
    """Event id and words of the rejected rows."""
    return {
        row["event_ids"][0]: row["error"] for row in table.to_pylist() if row["outcome"] == REJECTED
    }


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_only_the_offending_events_are_rejected_with_the_words_of_the_store(
    ledger, status, in_flight
):
    bad = ids(0, 17, 18, 99)
    no = answer(status, b'{"detail": "not like this"}')
    with HostileStore(refusing(bad, no)) as store:
        done = send(
            [(HOUR, events_table(count=100))], store, ledger, batch_size=30, in_flight=in_flight
        )
    table, counts = done[HOUR]
    assert set(rejected(table)) == set(bad)
    assert all("not like this" in words for words in rejected(table).values())
    assert (counts.sent, counts.rejected, counts.already_acknowledged) == (96, 4, 0)
    taken = [row["event_ids"] for row in table.to_pylist() if row["outcome"] != REJECTED]
    assert sorted(id_ for batch in taken for id_ in batch) == sorted(
        set(ids(*range(100))) - set(bad)
    )


@pytest.mark.parametrize("count", [2, 3, 7, 64, 100, 500])
def test_one_offender_costs_few_requests_wherever_it_is(count):
    for place in {0, 1, count // 3, count // 2, count - 2, count - 1}:
        with HostileStore(refusing(ids(place), BAD)) as store, Ledger("sqlite://") as ledger:
            done = send([(HOUR, events_table(count=count))], store, ledger)
        assert set(rejected(done[HOUR][0])) == set(ids(place))
        assert len(store.bodies) - 1 <= 2 * log2(count)


def test_a_refusal_delays_nothing_else(ledger):
    """The other envelopes go their way while the offender is looked for."""
    order = []

    def behave(handler):
        bad = ids(3)[0] in sent_in(handler)
        order.append(bad)
        if bad:
            time.sleep(0.05)
        (BAD if bad else OK)(handler)

    with HostileStore(behave) as store:
        done = send(
            [(HOUR + n, events_table(HOUR + n, 40)) for n in (0, 1)],
            store, ledger, batch_size=10, in_flight=2,
        )  # fmt: skip
    assert done[HOUR][1].rejected == 1
    assert False in order[: len(order) - order[::-1].index(True)]


def test_a_rejected_event_goes_again_with_the_next_run_and_costs_one_request(ledger):
    events = [(HOUR, events_table(count=50))]
    with HostileStore(refusing(ids(7), BAD)) as store:
        send(events, store, ledger)
        before = len(store.bodies)
        for _ in range(3):
            done = send(events, store, ledger)
        assert [json.loads(body)["data"][0]["id"] for body in store.bodies[before:]] == ids(7, 7, 7)
        assert list(rejected(done[HOUR][0])) == ids(7)
        send(events, store, ledger, send=Send.NEW)
        assert len(store.bodies) == before + 3
        store.behaviours = [OK]
        table, counts = send(events, store, ledger)[HOUR]
    assert (counts.sent, counts.rejected, counts.already_acknowledged) == (1, 0, 49)
    assert rejected(table) == {}


def test_several_that_were_refused_go_in_one_envelope_when_the_store_is_mended(ledger):
    events = [(HOUR, events_table(count=20))]
    with HostileStore(refusing(ids(1, 5, 9), BAD)) as store:
        send(events, store, ledger)
        refused_again = len(store.bodies)
        send(events, store, ledger)
        refused_again = len(store.bodies) - refused_again
        store.behaviours, before = [OK], len(store.bodies)
        send(events, store, ledger)
    assert refused_again == 1 + 3
    assert len(store.bodies) == before + 1


def test_only_rejected_events_are_sent_when_that_is_asked_for(ledger):
    with HostileStore(refusing(ids(2), BAD)) as store:
        send([(HOUR, events_table(count=5))], store, ledger)
        store.behaviours = [OK]
        mended = events_table(count=8, text=lambda n: "mended" if n == 2 else "")
        _, counts = send([(HOUR, mended)], store, ledger, send=Send.REJECTED)[HOUR]
        assert store.event_ids()[-1:] == ids(2)
        assert (counts.sent, counts.rejected) == (1, 0)
        _, counts = send([(HOUR, mended)], store, ledger)[HOUR]
    assert (counts.sent, counts.already_acknowledged) == (3, 5)


def test_a_change_that_is_refused_is_rejected_though_the_store_has_the_event(ledger):
    with HostileStore() as store:
        send([(HOUR, events_table(count=3))], store, ledger)
        changed = [(HOUR, events_table(count=3, text=lambda n: "x" if n == 1 else ""))]
        store.behaviours = [refusing(ids(1), BAD)]
        _, counts = send(changed, store, ledger)[HOUR]
        assert (counts.rejected, counts.already_acknowledged) == (1, 2)
        assert send(changed, store, ledger, send=Send.NEW)[HOUR][1].rejected == 1


def test_the_ledger_lists_what_is_rejected_now(ledger_url):
    with HostileStore(refusing(ids(2, 4), BAD)) as store, Ledger(ledger_url) as ledger:
        hours = [(HOUR, events_table(count=6)), (HOUR + 1, events_table(HOUR + 1, 2))]
        send(hours, store, ledger)
        name = HttpDestination(store.url, KEY).name
        span = HourRange(HOUR, HOUR + 2)
        listed = ledger.rejected(name, span, site=SITE)
        assert [(batch.hour, batch.http_status) for batch in listed] == [(HOUR, 400)] * 2
        assert ledger.rejected(name, HourRange(HOUR + 1, HOUR + 2), site=SITE) == []
        store.behaviours = [refusing(ids(4), BAD)]
        send(hours, store, ledger)
        (left,) = ledger.rejected(name, span, site=SITE)
        assert "not known here" in left.error


def test_words_that_are_long_or_secret_are_not_kept(ledger):
    no = answer(400, f"key {KEY} is ".encode() + b"long " * 1000)
    with HostileStore(refusing(ids(0), no)) as store:
        done = send([(HOUR, events_table(count=2))], store, ledger)
    (words,) = rejected(done[HOUR][0]).values()
    assert KEY not in words
    assert len(words) <= 200


def test_a_store_that_takes_nothing_at_all_ends_the_run(ledger):
    with HostileStore(BAD) as store, pytest.raises(DeliveryError, match="CALIPER_VERSION") as error:
        send([(HOUR, events_table(count=1000))], store, ledger)
    assert not error.value.transient
    assert len(store.bodies) < 200


def test_too_large_envelopes_shrink_and_the_limit_is_remembered(ledger):
    hours = [(HOUR + n, events_table(HOUR + n, 200)) for n in range(3)]
    with HostileStore(limited(6000)) as store:
        send(hours, store, ledger)
    sizes = [len(body) for body in store.bodies]
    refused = [size for size in sizes if size > 6000]
    assert len(refused) <= 5
    assert refused == sizes[: len(refused)]
    assert sorted({*store.event_ids()}) == sorted(
        event_id(hour, n) for hour, _ in hours for n in range(200)
    )


def test_one_event_that_is_too_large_is_rejected_and_does_not_shrink_the_rest(ledger):
    events = events_table(count=100, text=lambda n: "x" * 9000 if n == 50 else "")
    with HostileStore(limited(8000)) as store:
        done = send([(HOUR, events)], store, ledger, batch_bytes=8000)
    assert rejected(done[HOUR][0]) == {ids(50)[0]: "too large"}
    assert done[HOUR][1].sent == 99
    assert len(store.bodies) == 1 + done[HOUR][1].envelopes


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_store_that_recovers_is_asked_again_after_growing_waits(ledger, status):
    clock = Clock()
    with HostileStore(answer(status), drop, answer(status), OK) as store:
        done = send(
            [(HOUR, events_table(count=4))],
            store,
            ledger,
            batch_size=2,
            retry_policy=clock.retry_policy(),
        )
    assert clock.slept == [1, 2, 4]
    assert done[HOUR][0].column("attempts").to_pylist() == [4, 1]
    assert json.loads(store.bodies[0])["data"] == json.loads(store.bodies[3])["data"]


def test_waits_are_random_and_bounded():
    clock, chances = Clock(), iter([0.5, 0.25, 0.0, 1.0])
    with HostileStore(*[answer(500)] * 4, OK) as store, Ledger("sqlite://") as ledger:
        policy = clock.retry_policy(chance=lambda: next(chances), longest_wait=3)
        send([(HOUR, events_table(count=1))], store, ledger, retry_policy=policy)
    assert clock.slept == [0.5, 0.5, 3.0]


def in_seconds(_now):
    return {"Retry_After": "20"}


def as_a_date(now):
    return {"Retry_After": format_datetime(now + timedelta(seconds=20), usegmt=True)}


def as_a_date_of_a_clock_that_is_wrong(now):
    wrong = now - timedelta(days=3)
    later = wrong + timedelta(seconds=20)
    return {
        "Date": format_datetime(wrong, usegmt=True),
        "Retry_After": format_datetime(later, usegmt=True),
    }


@pytest.mark.parametrize("told", [in_seconds, as_a_date])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(ledger, told, status):
    clock = Clock()
    busy = answer(status, **told(datetime.now(UTC).replace(microsecond=0)))
    with HostileStore(busy, OK) as store:
        send(
            [(HOUR, events_table(count=1))],
            store, ledger, retry_policy=clock.retry_policy(chance=lambda: 0.0),
        )  # fmt: skip
    assert clock.slept == [pytest.approx(20, abs=2)]


def test_a_wait_that_is_too_long_ends_the_run_with_what_it_wants(ledger):
    clock = Clock()
    with (
        HostileStore(answer(429, Retry_After="7200")) as store,
        pytest.raises(DeliveryError, match="for 7,200 seconds") as error,
    ):
        send([(HOUR, events_table(count=1))], store, ledger, retry_policy=clock.retry_policy())
    assert error.value.transient
    assert (len(store.bodies), clock.slept) == (1, [])


@pytest.mark.parametrize("words", ["soon", "", "-3", "Thu, 99 Foo"])
def test_a_retry_after_that_means_nothing_is_left_out(ledger, words):
    clock = Clock()
    with HostileStore(answer(503, Retry_After=words), OK) as store:
        send([(HOUR, events_table(count=1))], store, ledger, retry_policy=clock.retry_policy())
    assert clock.slept == [1]


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_store_that_stays_down_ends_the_run_after_a_few_attempts(ledger, in_flight):
    hours = [(HOUR + n, events_table(HOUR + n, 20)) for n in range(10)]
    with HostileStore(answer(503)) as store:
        words = r"503.*gave up after \d attempts.*sends the rest"
        with pytest.raises(DeliveryError, match=words) as error:
            send(
                hours, store, ledger, batch_size=5, in_flight=in_flight,
                retry_policy=RetryPolicy(attempts=4, first_wait=0.01),
            )  # fmt: skip
        assert len(store.bodies) <= 4 * in_flight
    assert error.value.transient
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_ends_the_run_at_once_and_marks_nothing(ledger, status):
    with HostileStore(answer(status)) as store:
        with pytest.raises(DeliveryError) as error:
            send([(HOUR, events_table(count=100))], store, ledger, batch_size=10)
        assert not error.value.transient
        assert len(store.bodies) == 1
        name = HttpDestination(store.url, KEY).name
    assert ledger.batches(name, [HOUR], site=SITE) == {HOUR: []}


def test_what_is_answered_while_another_fails_is_recorded(ledger):
    """Of two envelopes in flight one is refused for good: the other's answer still counts."""
    both_came, refused = threading.Event(), threading.Event()

    def behave(handler):
        if ids(0)[0] in sent_in(handler):
            both_came.wait(10)
            answer(403)(handler)
            refused.set()
        else:
            both_came.set()
            refused.wait(10)
            time.sleep(0.1)
            OK(handler)

    with HostileStore(behave) as store:
        with pytest.raises(DeliveryError):
            send([(HOUR, events_table(count=20))], store, ledger, batch_size=5, in_flight=2)
        taken = [found for body in store.bodies[:2] for found in json.loads(body)["data"]]
        store.behaviours = [OK]
        done = send([(HOUR, events_table(count=20))], store, ledger, batch_size=5)
    assert len(taken) == 10
    assert done[HOUR][1].already_acknowledged == 5


def test_at_most_so_many_envelopes_are_in_flight(ledger):
    lock, now, most = threading.Lock(), [0], [0]

    def behave(handler):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        OK(handler)

    hours = [(HOUR + n, events_table(HOUR + n, 7)) for n in range(12)]
    with HostileStore(behave) as store:
        done = send(hours, store, ledger, batch_size=4, in_flight=3)
    assert most == [3]
    assert store.connections == 3 + 1
    assert list(done) == [hour for hour, _ in hours]
    assert sorted(store.event_ids()) == sorted(event_id(h, n) for h, _ in hours for n in range(7))


def test_leaving_early_records_what_is_in_flight(ledger):
    hours = [(HOUR + n, events_table(HOUR + n, 4)) for n in range(6)]
    with HostileStore() as store, HttpDestination(store.url, KEY) as event_store:
        emitted = emit(as_hours(hours), event_store, ledger, sensor=SENSOR, site=SITE, in_flight=2)
        next(emitted)
        emitted.close()
        arrived = len(store.bodies)
        rest = send(hours, store, ledger)
    assert sum(counts.sent for _, counts in rest.values()) == 4 * (6 - arrived)
    assert len(set(store.event_ids())) == len(store.event_ids()) == 24


def tells(**offered):
    return answer(200, json.dumps(offered).encode())


def test_the_endpoints_own_limit_is_kept(ledger):
    offers = tells(caliperMaximumPayloadSize=3, caliperSupportedVersions=[V1P2])
    with HostileStore(configuration=offers) as store:
        send([(HOUR + n, events_table(HOUR + n, 50)) for n in (0, 1)], store, ledger)
    assert max(map(len, store.bodies)) <= 3000
    assert len(store.gets) == 1


def test_a_version_that_the_endpoint_does_not_take_is_one_sentence(ledger):
    offers = tells(caliperSupportedVersions=[V1P2.replace("http:", "https:")])
    with HostileStore(configuration=offers) as store:
        send([(HOUR, events_table(count=1))], store, ledger)
        with pytest.raises(DeliveryError, match=r"accepts .*v1p2, not .*v1p1.*CALIPER_VERSION"):
            send([(HOUR + 1, events_table(HOUR + 1, 1, version="v1p1"))], store, ledger)
    assert len(store.bodies) == 1


@pytest.mark.parametrize(
    "offers", [answer(401), answer(404), answer(500), drop, answer(200, b"<html>"), tells(a=1)]
)
def test_an_endpoint_that_does_not_say_is_sent_to_all_the_same(ledger, offers):
    with HostileStore(configuration=offers) as store:
        done = send([(HOUR, events_table(count=3))], store, ledger)
    assert done[HOUR][1].sent == 3


def test_nothing_to_send_asks_nothing(ledger):
    with HostileStore() as store:
        send([(HOUR, events_table(count=3))], store, ledger)
        send([(HOUR, events_table(count=3))], store, ledger)
    assert len(store.gets) == 1
