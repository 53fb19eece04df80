"""Plans: how much a backfill is, and how long it may take, without doing it.

Rows are those that the database counts. What they become and how fast is measured: a few thousand
rows from all over the range are read, expanded and translated as a run would do it. The event
store's own time is not in it, for nothing is sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.translator import build_translator
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.delivery.revisions import older_events
from caliper_dagster.expander import LogLifecycle, MoodleDatabase, count_rows, expand, read_log

_PLACES = 3
_ROWS = 5_000
_SECONDS_PER_HOUR = 0.03
"""What Dagster and the files of an hour take (docs/performance.md)."""
_SECONDS_PER_RUN = 1.0
_EVENTS_PER_SECOND = 80_000
"""What the sender takes for itself, at an event store that answers at once."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a backfill has before it.

    Attributes:
        hours: all hours.
        busy: those with log rows.
        runs: runs of Dagster.
        rows: log rows.
        events: events, by the share of the sample.
        batches: envelopes for all event stores, at most.
        bytes: JSON of the events, by the sample.
        older_events: events that event stores have acknowledged as an older mapping revision made
            them: they are not sent again unless CALIPER_RESEND_CHANGED is set.
        seconds: how long it may take, without the event store's own time.
    """

    hours: int
    busy: int
    runs: int
    rows: int
    events: int
    batches: int
    bytes: int
    older_events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Sample:
    rows: int
    events: int
    bytes: int
    seconds: float


def estimate(settings: Settings, hours: HourRange) -> Estimate:
    """Count the rows of the hours, and measure a sample of them.

    Raises:
        ConfigurationError: a setting is missing or wrong.
        SourceError: the database did not answer.
    """
    with open_moodle(settings) as database:
        counted = count_rows(database, hours)
        samples = list(_samples(database, settings, counted))
    rows, runs = sum(counted.values()), ceil(len(hours) / settings.hours_per_run)
    seen = max(1, sum(sample.rows for sample in samples))
    per_row = sum(sample.events for sample in samples) / seen
    stores = event_stores(settings)
    # The first sample also pays for what is only done once.
    timed = samples[1:] or samples
    seconds = sum(sample.seconds for sample in timed) / max(1, sum(part.rows for part in timed))
    return Estimate(
        hours=len(hours),
        busy=sum(1 for number in counted.values() if number),
        runs=runs,
        rows=rows,
        events=round(rows * per_row),
        batches=sum(
            ceil(number * per_row / store.batch_size)
            for store in stores
            for number in counted.values()
        ),
        bytes=round(rows * sum(sample.bytes for sample in samples) / seen),
        older_events=sum(older_events(settings, store, hours).total for store in stores),
        seconds=rows * (seconds + per_row * len(stores) / _EVENTS_PER_SECOND)
        + len(hours) * _SECONDS_PER_HOUR
        + runs * _SECONDS_PER_RUN,
    )


def _samples(
    database: MoodleDatabase, settings: Settings, counted: Mapping[Hour, int]
) -> Iterator[_Sample]:
    translate, lifecycle = build_translator(settings).translate, LogLifecycle(database)
    for hours in _places(counted):
        began = time.perf_counter()
        log = pa.concat_tables(rows for _, rows in read_log(database, hours)).unify_dictionaries()
        texts = translate(expand(database, log, lifecycle))["json"].drop_null()
        seconds = time.perf_counter() - began
        size = pc.sum(pc.binary_length(texts), min_count=0).as_py()
        yield _Sample(log.num_rows, len(texts), size, seconds)


def _places(counted: Mapping[Hour, int]) -> Iterator[HourRange]:
    """Ranges of hours from the beginning, the middle and the end, each with some thousand rows."""
    hours, rows = list(counted), list(counted.values())
    total, next_, seen = sum(rows), 0, 0
    for place in range(_PLACES):
        wanted = place * total // _PLACES
        while next_ < len(hours) and seen + rows[next_] <= wanted:
            seen += rows[next_]
            next_ += 1
        first, found = next_, 0
        while next_ < len(hours) and found < _ROWS:
            found += rows[next_]
            next_ += 1
        seen += found
        if found:
            yield HourRange(hours[first], hours[next_ - 1] + 1)
