"""The events of an asset have timestamps by which the web UI can tell them apart.

The web UI takes two materializations of a run for the same one if their timestamps are in the same
millisecond, and it asks for older ones by the timestamp of the oldest one that it shows.
"""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData
from dagster._core.storage.event_log.base import EventLogStorage

from caliper_dagster.core.hours import Hour
from caliper_dagster.dagster.instance.bulk_sqlite import SqliteStorage

NOON = 1_772_452_800.125
RUN = str(uuid4())


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[EventLogStorage]:
    opened = SqliteStorage(str(tmp_path))
    yield opened.event_log_storage
    opened.dispose()


def done(
    hour: int, at: float = NOON, *, asset: str = "caliper_events", run: str = RUN
) -> dg.EventLogEntry:
    """A materialization of an hour."""
    key = (Hour.from_key("2026-03-02-08:00") + hour).key
    what = dg.AssetMaterialization(asset, partition=key)
    event = dg.DagsterEvent(
        dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        "job",
        step_key=asset,
        event_specific_data=StepMaterializationData(what),
    )
    return dg.EventLogEntry(None, "debug", "", run, at, asset, "job", event)


def newest_first(
    storage: EventLogStorage, asset: str = "caliper_events", before: float | None = None
) -> list[tuple[str, int]]:
    """Run and millisecond of the materializations, as the web UI asks for them and shows them."""
    wanted = dg.EventRecordsFilter(
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        asset_key=dg.AssetKey(asset),
        before_timestamp=before,
    )
    return [
        (record.event_log_entry.run_id, int(record.event_log_entry.timestamp * 1000))
        for record in storage.get_event_records(wanted)
    ]


def test_all_hours_of_a_run_are_told_apart(storage: EventLogStorage) -> None:
    storage.store_event_batch([done(hour) for hour in range(24)])
    # The deliveries of an event store that failed are stored one by one.
    for hour in range(24, 48):
        storage.store_event(done(hour))
    shown = newest_first(storage)
    assert len(set(shown)) == 48
    assert shown == sorted(shown, reverse=True)
    assert shown[-1] == (RUN, round(NOON * 1000))
    assert shown[0][1] - shown[-1][1] == 47


def test_the_next_page_begins_where_the_last_one_ended(storage: EventLogStorage) -> None:
    storage.store_event_batch([done(hour) for hour in range(300)])
    everything, read = newest_first(storage), list[tuple[str, int]]()
    while page := newest_first(storage, before=read[-1][1] / 1000 if read else None)[:100]:
        read += page
    assert read == everything
    assert len(set(read)) == 300


def test_events_that_are_apart_keep_their_times(storage: EventLogStorage) -> None:
    other = str(uuid4())
    given = [done(hour, NOON + hour / 1000) for hour in range(3)]
    storage.store_event_batch(given)
    storage.store_event_batch([done(hour, asset="moodle_log") for hour in range(2)])
    storage.store_event(done(0, NOON - 60, run=other))
    stored = storage.get_logs_for_run(RUN)
    assert [event.timestamp for event in stored[:3]] == [event.timestamp for event in given]
    assert stored[3].timestamp == NOON
    assert storage.get_logs_for_run(other)[0].timestamp == NOON - 60
