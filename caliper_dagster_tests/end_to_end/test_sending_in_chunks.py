"""An hour that is sent in parts: the same envelopes, whatever the size of the parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from caliper_dagster.caliper.versions import VersionName
from caliper_dagster.config.event_stores import require_event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.delivery.fan_out import DeliveryRequest
from caliper_dagster.emitter import Ledger, Send
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    OK,
    SENSOR,
    SITE,
    Behaviour,
    HostileStore,
    answer,
    event_id,
    events_table,
    limited,
    refusing,
)

EVENTS = 70
SIZES = (3, 16, 1_000)
OUTCOMES = ["filtered" if number % 9 == 4 else "event" for number in range(EVENTS)]


def versions(number: int) -> VersionName:
    return "v1p1" if number % 4 == 1 else "v1p2"


def text(number: int) -> str:
    return "ä" * (number * 37 % 150)


def deliver(
    folder: Path,
    store: HostileStore,
    rows: int,
    send: Send = Send.UNACKNOWLEDGED,
    hours: Sequence[Hour] = (HOUR, HOUR + 1),
) -> tuple[list[str], DeliveryCounts]:
    """Send the stored hours; the envelopes without their times, and the counts of the hour."""
    storage, before = PartitionStore(str(folder)), len(store.bodies)
    settings = {
        "CALIPER_EVENT_STORE_URL": store.url,
        "CALIPER_BATCH_SIZE": "8",
        "CALIPER_ENVELOPES_IN_FLIGHT": "1",
    }
    with environment(settings):
        (event_store,) = require_event_stores(Settings.from_environment())
        request = DeliveryRequest(
            events=lambda _: CALIPER_EVENTS,
            storage=storage,
            hours=hours,
            site=SITE,
            sensor=SENSOR,
            open_ledger=lambda: Ledger(f"sqlite:///{folder / 'ledger.sqlite'}"),
            send=send,
            left={},
            withhold=False,  # the events are of the right size, not valid Caliper
            chunk_rows=rows,
        )
        sent = list(request.deliver(event_store, lambda: False))
    assert [part.hour for part in sent] == list(hours)
    stored = storage.footer_stats(EMISSION_RESULTS, hours[0])
    assert DeliveryCounts.from_footer_stats(stored) == sent[0].delivery
    bodies = [re.sub(r'"sendTime":"[^"]*"', "", body.decode()) for body in store.bodies[before:]]
    return bodies, sent[0].delivery


def write(folder: Path, version: VersionName | Callable[[int], VersionName] = versions) -> None:
    storage = PartitionStore(str(folder))
    table = events_table(HOUR, EVENTS, outcomes=OUTCOMES, text=text, version=version)
    storage.write(CALIPER_EVENTS, HOUR, table)
    storage.write(CALIPER_EVENTS, HOUR + 1, events_table(HOUR + 1, 2))


REFUSED = [event_id(HOUR, number) for number in (2, 3, 30, 69)]


@pytest.mark.parametrize(
    "behaviour",
    [OK, refusing(REFUSED, answer(400, b"no")), limited(1_500)],
    ids=["accepts", "rejects some", "too large"],
)
def test_the_envelopes_are_the_same(behaviour: Behaviour, tmp_path: Path) -> None:
    found = []
    for rows in SIZES:
        folder = tmp_path / str(rows)
        write(folder)
        with HostileStore(behaviour) as store:
            first = deliver(folder, store, rows)
            store.behaviours = [OK]
            found.append((first, deliver(folder, store, rows), deliver(folder, store, rows)))
    for runs in found:
        assert runs == found[0]
    (bodies, counts), (_, again), (nothing, _) = found[0]
    assert len(bodies) > EVENTS // 8
    assert counts.events == OUTCOMES.count("event")
    assert (again.outstanding, again.rejected, nothing) == (0, 0, [])


def test_everything_is_sent_again_in_the_same_envelopes(tmp_path: Path) -> None:
    found = []
    for rows in SIZES:
        write(tmp_path / str(rows))
        with HostileStore() as store:
            deliver(tmp_path / str(rows), store, rows)
            found.append(deliver(tmp_path / str(rows), store, rows, Send.ALL))
    assert found == [found[0]] * len(SIZES)
    assert found[0][1].sent == OUTCOMES.count("event")


def test_two_events_with_one_id_are_found_also_in_different_parts(tmp_path: Path) -> None:
    table = events_table(HOUR, EVENTS)
    ids = table["event_id"].to_pylist()
    ids[-1] = ids[0]
    position = table.schema.get_field_index("event_id")
    storage = PartitionStore(str(tmp_path))
    storage.write(CALIPER_EVENTS, HOUR, table.set_column(position, "event_id", [ids]))
    storage.write(CALIPER_EVENTS, HOUR + 1, events_table(HOUR + 1, 0))
    with HostileStore() as store:
        with pytest.raises(StorageError, match="two events with the same id"):
            deliver(tmp_path, store, 10)
        assert store.bodies == []
