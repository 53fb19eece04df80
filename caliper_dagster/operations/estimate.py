"""Estimates of a backfill: its size, and how long it may take.

The database counts the rows. A sample of a few thousand rows from the beginning, the middle and the
end of the range is read, expanded and translated as in a run, which gives the number of events per
row and the time per row. Nothing is sent, so the time of the event store is not included.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import ceil

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.translator import build_translator
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.delivery.renderings import events_of_other_ids
from caliper_dagster.delivery.revisions import older_events
from caliper_dagster.delivery.row_filter import RowRules
from caliper_dagster.expander import LogLifecycle, MoodleDatabase, count_rows, expand, read_log

_SAMPLES = 3
_ROWS_PER_SAMPLE = 5_000

_SECONDS_PER_HOUR = 0.03
"""Time of Dagster and of the files per hour (docs/performance.md)."""

_SECONDS_PER_RUN = 1.0

_EVENTS_PER_SECOND = 80_000
"""Speed of the sender with an event store that answers immediately."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated size and time of a backfill.

    Attributes:
        hours: number of all hours.
        busy: number of hours with log rows.
        runs: number of Dagster runs.
        rows: number of log rows, as the database counts them.
        events: number of events, extrapolated from the sample.
        batches: largest number of envelopes and files, for all event stores together.
        bytes: size of the events as JSON, extrapolated from the sample.
        older_events: number of events that event stores have acknowledged as an older mapping
            revision made them. They are not sent again unless CALIPER_RESEND_CHANGED is set.
        under_other_ids: number of events, about, that event stores have under other ids: those of
            another key, or of a profile with or without keys. They are sent again.
        seconds: time without the time of the event stores.
        filtered: number of log rows that the rules of an event store filter, by its name and the
            rule; extrapolated from the sample. Events are counted as if there were no rules.
    """

    hours: int
    busy: int
    runs: int
    rows: int
    events: int
    batches: int
    bytes: int
    older_events: int
    under_other_ids: int
    seconds: float
    filtered: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Sample:
    rows: int
    events: int
    bytes: int
    seconds: float
    filtered: Mapping[str, Counter[str]]


def estimate(settings: Settings, hours: HourRange) -> Estimate:
    """Count the rows of the hours, and measure a sample of them.

    Raises:
        ConfigurationError: a setting is missing or wrong.
        SourceError: the database cannot be read.
    """
    with open_moodle(settings) as database:
        counted = count_rows(database, hours)
        rules = {
            store.name or "": rules
            for store in event_stores(settings)
            if (rules := RowRules.read(store, lambda: nullcontext(database)))
        }
        samples = list(_samples(database, settings, counted, rules))
    rows, runs = sum(counted.values()), ceil(len(hours) / settings.hours_per_run)
    sampled = max(1, sum(sample.rows for sample in samples))
    events_per_row = sum(sample.events for sample in samples) / sampled
    stores = event_stores(settings)
    # The first sample includes the time of caches that are filled only once.
    timed = samples[1:] or samples
    seconds = sum(sample.seconds for sample in timed) / max(1, sum(it.rows for it in timed))
    return Estimate(
        hours=len(hours),
        busy=sum(1 for number in counted.values() if number),
        runs=runs,
        rows=rows,
        events=round(rows * events_per_row),
        batches=sum(
            bool(number) if store.is_folder else ceil(number * events_per_row / store.batch_size)
            for store in stores
            for number in counted.values()
        ),
        bytes=round(rows * sum(sample.bytes for sample in samples) / sampled),
        older_events=sum(older_events(settings, store, hours).total for store in stores),
        under_other_ids=sum(events_of_other_ids(settings, store, hours) for store in stores),
        seconds=rows * (seconds + events_per_row * len(stores) / _EVENTS_PER_SECOND)
        + len(hours) * _SECONDS_PER_HOUR
        + runs * _SECONDS_PER_RUN,
        filtered={
            name: {
                rule: round(rows * number / sampled)
                for rule, number in sum(
                    (sample.filtered[name] for sample in samples), Counter[str]()
                ).items()
            }
            for name in rules
        },
    )


def _samples(
    database: MoodleDatabase,
    settings: Settings,
    counted: Mapping[Hour, int],
    rules: Mapping[str, RowRules],
) -> Iterator[_Sample]:
    translate, lifecycle = build_translator(settings).translate, LogLifecycle(database)
    for hours in _sample_ranges(counted):
        began = time.perf_counter()
        log = pa.concat_tables(rows for _, rows in read_log(database, hours)).unify_dictionaries()
        expanded = expand(database, log, lifecycle)
        texts = translate(expanded)["json"].drop_null()
        seconds = time.perf_counter() - began
        size = pc.sum(pc.binary_length(texts), min_count=0).as_py()
        filtered = {
            name: Counter(of_store.apply(expanded).drop_null().to_pylist())
            for name, of_store in rules.items()
        }
        yield _Sample(log.num_rows, len(texts), size, seconds, filtered)


def _sample_ranges(counted: Mapping[Hour, int]) -> Iterator[HourRange]:
    """Ranges from the beginning, the middle and the end, each of about 5,000 rows."""
    hours, rows = list(counted), list(counted.values())
    total, index, passed = sum(rows), 0, 0
    for sample in range(_SAMPLES):
        start = sample * total // _SAMPLES
        while index < len(hours) and passed + rows[index] <= start:
            passed += rows[index]
            index += 1
        first, sampled = index, 0
        while index < len(hours) and sampled < _ROWS_PER_SAMPLE:
            sampled += rows[index]
            index += 1
        passed += sampled
        if sampled:
            yield HourRange(hours[first], hours[index - 1] + 1)
