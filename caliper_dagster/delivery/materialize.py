"""Read, expand and translate hours into the partition store.

Each function takes a range of hours, calls one part (``expander`` or ``translator``), writes one
partition per hour and returns the numbers of each partition. The loops over chunks are here: memory
holds one chunk of whole hours at a time, about 60,000 rows. Dagster's assets call these functions
and attach the numbers to their materializations; nothing here imports Dagster.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG, Frame
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore, split_by_hour
from caliper_dagster.core.revisions import MAPPING_REVISION, expansion_stats, mapping_stats
from caliper_dagster.core.row_accounting import Account
from caliper_dagster.expander import LogLifecycle, MoodleDatabase, count_rows, expand_new, read_log
from caliper_dagster.translator import Translator
from caliper_dagster.translator.sampling import SampleReport, sample_problems

_COUNTED = "counted"
"""Footer key of ``moodle_log``: the rows of the hour as the database itself counts them."""

_EXPANDED_NOW = "expanded_now"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenHour:
    """One partition that was written.

    Attributes:
        rows: rows of the partition.
        bytes: size of its file.
        seconds: time that reading or computing and writing it took; the time of a chunk is divided
            among its hours by their rows.
    """

    hour: Hour
    rows: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLogHour(WrittenHour):
    """One partition of ``moodle_log``.

    Attributes:
        counted: rows of the hour as the database itself counts them.
    """

    counted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenExpandedHour(WrittenHour):
    """One partition of ``expanded_log``.

    Attributes:
        expanded_now: rows that this run expanded; the others were copied from the partition that
            it replaces.
        unresolved: rows with a reference that leads to no record of Moodle's database.
    """

    expanded_now: int
    unresolved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenEventsHour(WrittenHour):
    """One partition of ``caliper_events``.

    Attributes:
        account: the outcomes of the log rows of the hour.
    """

    account: Account


def write_log(
    database: MoodleDatabase, store: PartitionStore, hours: HourRange
) -> list[WrittenLogHour]:
    """Read the log rows of the hours and write ``moodle_log``.

    Raises:
        SourceError: the database cannot be read.
        ConfigurationError: the store cannot be written to.
    """
    written, stopwatch = [], _Stopwatch()
    counts = count_rows(database, hours)
    for hour, rows in read_log(database, hours):
        size = store.write(MOODLE_LOG, hour, rows, {_COUNTED: counts[hour]})
        written.append(
            WrittenLogHour(
                hour=hour,
                rows=rows.num_rows,
                bytes=size,
                seconds=stopwatch.lap(),
                counted=counts[hour],
            )
        )
    return written


def write_expanded(
    database: MoodleDatabase, store: PartitionStore, hours: HourRange, *, fresh: bool
) -> list[WrittenExpandedHour]:
    """Expand ``moodle_log`` of the hours and write ``expanded_log``.

    Args:
        database: an open Moodle database.
        store: holds ``moodle_log`` of all hours.
        hours: the hours.
        fresh: expand every row; otherwise rows that ``expanded_log`` already holds are copied.

    Raises:
        SourceError: the database cannot be read.
        StorageError: an hour of ``moodle_log`` is missing.
        ConfigurationError: the store cannot be written to.
    """
    written, stopwatch = [], _Stopwatch()
    lifecycle = LogLifecycle(database, store.id_range_tables("log_lifecycle"))
    for chunk_hours, log in store.chunks(MOODLE_LOG, hours):
        existing, footers = store.existing(EXPANDED_LOG, [] if fresh else chunk_hours)
        expanded, is_new = expand_new(database, log, existing, lifecycle)
        expanded = expanded.append_column(_EXPANDED_NOW, is_new)
        del log, existing
        seconds_per_row = stopwatch.lap() / max(1, expanded.num_rows)
        for hour, rows in split_by_hour(expanded, chunk_hours):
            expanded_now = int(pc.sum(rows[_EXPANDED_NOW], min_count=0).as_py())
            stats = expansion_stats(
                footers.get(hour), kept=rows.num_rows - expanded_now, expanded=expanded_now
            )
            size = store.write(EXPANDED_LOG, hour, rows, stats)
            written.append(
                WrittenExpandedHour(
                    hour=hour,
                    rows=rows.num_rows,
                    bytes=size,
                    seconds=seconds_per_row * rows.num_rows + stopwatch.lap(),
                    expanded_now=expanded_now,
                    unresolved=rows.num_rows - rows["unresolved"].null_count,
                )
            )
        # Without this, these names would hold the chunk while the next one is read.
        del expanded, rows
    return written


def write_events(
    translator: Translator,
    store: PartitionStore,
    frame: Frame,
    hours: HourRange,
    revision: int = MAPPING_REVISION,
) -> tuple[list[WrittenEventsHour], list[SampleReport]]:
    """Translate ``expanded_log`` of the hours and write their events.

    Args:
        translator: for the Caliper version of the frame.
        store: holds ``moodle_log`` and ``expanded_log`` of all hours.
        frame: the table of the events of this version.
        hours: the hours.
        revision: the mapping revision of the site.

    Returns:
        The partitions that were written, and the validity of a sample of each chunk.

    Raises:
        StorageError: an hour of ``moodle_log`` or ``expanded_log`` is missing.
        ConfigurationError: the store cannot be written to.
    """
    written, samples, stopwatch = [], [], _Stopwatch()
    for chunk_hours, expanded in store.chunks(EXPANDED_LOG, hours):
        events = translator.translate(expanded)
        seconds_per_row = stopwatch.lap() / max(1, expanded.num_rows)
        del expanded
        samples.append(sample_problems(events))
        for hour, rows in split_by_hour(events, chunk_hours):
            account = _account(store, hour, rows)
            stats = account.as_footer_stats() | mapping_stats(revision)
            size = store.write(frame, hour, rows, stats)
            written.append(
                WrittenEventsHour(
                    hour=hour,
                    rows=rows.num_rows,
                    bytes=size,
                    seconds=seconds_per_row * account.rows + stopwatch.lap(),
                    account=account,
                )
            )
        # Without this, these names would hold the chunk while the next one is read.
        del events, rows
    return written, samples


def _account(store: PartitionStore, hour: Hour, outcomes: pa.Table) -> Account:
    counted = store.footer_stats(MOODLE_LOG, hour)[_COUNTED]
    log_ids = store.read(MOODLE_LOG, [hour], ["id"])["id"]
    return Account.of(int(str(counted)), log_ids, outcomes)


class _Stopwatch:
    """Measures laps in seconds."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap, or since the start."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before
