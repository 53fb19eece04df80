"""Read, expand and translate hours into the partition store.

Each function takes a range of hours, calls one part (``expander`` or ``translator``), writes one
partition per hour and returns the numbers of each partition. The loops over chunks are here: memory
holds one chunk at a time, about 60,000 rows of whole hours, or of one hour that has more. What is
written does not depend on the size of the chunks. Dagster's assets call these functions and attach
the numbers to their materializations; nothing here imports Dagster.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.errors import SourceError, StorageError
from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG, Frame
from caliper_dagster.core.hour_verdict import HourVerdict, mark_invalid
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_file import (
    CHUNK_ROWS,
    FooterStats,
    PartitionWriter,
    StoredHour,
)
from caliper_dagster.core.partition_store import PartitionStore, split_by_hour
from caliper_dagster.core.revisions import MAPPING_REVISION, expansion_stats, mapping_stats
from caliper_dagster.core.row_accounting import Account, OutcomeTally, outcomes_by_hour
from caliper_dagster.core.stored_fields import NOTHING, StoredFields, stored_fields_of
from caliper_dagster.delivery.row_filter import RowRules, searched
from caliper_dagster.delivery.rows_to_search import OpenMoodle, RowsToSearch
from caliper_dagster.expander import (
    LIFECYCLE,
    EarlierParts,
    LogLifecycle,
    MoodleDatabase,
    count_rows,
    count_waiting_rows,
    expand_new,
    expanded_as_stored,
    log_as_stored,
    read_log_in_parts,
    waiting_after,
    with_addresses,
)
from caliper_dagster.translator import Translator
from caliper_dagster.translator.personal_values import PERSON_COLUMNS, PersonalValues, persons_of
from caliper_dagster.translator.sampling import EventFaults, SampleReport, sample_problems

_COUNTED = "counted"
"""Footer key of ``moodle_log``: the rows of the hour as the database itself counts them."""

_WAITING = "waiting"
"""Footer key of ``moodle_log``: rows of the hour that wait for a replica; absent without any."""

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
        waiting: rows that are not counted, because they wait for a replica that lags.
    """

    counted: int
    waiting: int


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
        verdict: what of the hour must not be sent.
    """

    account: Account
    verdict: HourVerdict


def write_log(
    database: MoodleDatabase, store: PartitionStore, hours: HourRange
) -> list[WrittenLogHour]:
    """Read the log rows of the hours and write ``moodle_log``, with the fields of the store.

    Raises:
        SourceError: the database cannot be read, or is a replica that is older than the one with
            which an hour was read before: rows that are stored would be taken out.
        ConfigurationError: the store cannot be written to.
    """
    written, stopwatch = [], _Stopwatch()
    counts, waiting = count_rows(database, hours), count_waiting_rows(database, hours)
    for hour in waiting:
        _require_as_new(waiting_after(database), _stored_times(store, hour))
    with _Partitions(store, MOODLE_LOG) as partitions:
        for part in read_log_in_parts(database, hours):
            partitions.write(part.hour, log_as_stored(part.rows, store.fields))
            if part.ends:
                late = {_WAITING: waiting[part.hour]} if part.hour in waiting else {}
                stats = {_COUNTED: counts[part.hour], **late, **store.fields.as_footer_stats()}
                rows, size = partitions.finish(stats)
                written.append(
                    WrittenLogHour(
                        hour=part.hour,
                        rows=rows,
                        bytes=size,
                        seconds=stopwatch.lap(),
                        counted=counts[part.hour],
                        waiting=waiting.get(part.hour, 0),
                    )
                )
    return written


def _stored_times(store: PartitionStore, hour: Hour) -> pa.ChunkedArray:
    """``timecreated`` of the stored rows of an hour; none if there is no file that can be read."""
    with suppress(StorageError):
        return store.read(MOODLE_LOG, [hour], ["timecreated"])["timecreated"]
    return pa.chunked_array([], pa.int64())


def _require_as_new(until: int | None, times: pa.ChunkedArray) -> None:
    """Require that no row waits for the replica that was taken from another, newer one."""
    newest = pc.max(times).as_py()
    if until is not None and newest is not None and newest > until:
        raise SourceError(
            "The database of MOODLE_DB_URL is older than the one with which the log of "
            f"{Hour.of(newest)} was read: it must be one and the same replica. The hour is tried "
            "again."
        )


def write_expanded(
    database: MoodleDatabase,
    store: PartitionStore,
    hours: HourRange,
    *,
    fresh: bool,
    events: Sequence[Frame] = (),
    chunk_rows: int = CHUNK_ROWS,
) -> list[WrittenExpandedHour]:
    """Expand ``moodle_log`` of the hours and write ``expanded_log``, with the fields of the store.

    Addresses decide to which session a row belongs. If they are not stored whole, those of the log
    are read again.

    Args:
        database: an open Moodle database.
        store: holds ``moodle_log`` of all hours.
        hours: the hours.
        fresh: expand every row; otherwise rows that ``expanded_log`` already holds are copied.
        events: the tables of events. An hour in which the leak check found values of persons in one
            of them is expanded afresh, for the texts may have been corrected in Moodle.
        chunk_rows: rows that are expanded together, about.

    Raises:
        SourceError: the database cannot be read, or is a replica that is older than the one with
            which the log rows were read: what they refer to may not be there yet.
        StorageError: an hour of ``moodle_log`` is missing.
        ConfigurationError: the store cannot be written to.
    """
    written, stopwatch = [], _Stopwatch()
    until = waiting_after(database)
    lifecycle = LogLifecycle(database, store.id_range_tables(LIFECYCLE))
    earlier: EarlierParts | None = None
    expanded_now, unresolved, seconds = 0, 0, 0.0
    fields: dict[Hour, StoredFields] = {}

    def note(log_hour: StoredHour) -> None:
        fields[log_hour.hour] = stored_fields_of(log_hour.stats())

    with (
        closing(_ExpandedBefore(store, events, fresh=fresh)) as before,
        _Partitions(store, EXPANDED_LOG) as partitions,
    ):
        for chunk in store.chunks(MOODLE_LOG, hours, chunk_rows, opened=note):
            chunk_hours, log, begins, ends = chunk
            if begins:
                earlier = EarlierParts() if chunk.is_divided else None
            del chunk
            existing, footers = before.rows_of(chunk_hours, log, begins=begins, ends=ends)
            if any(fields[hour].addresses != "whole" for hour in chunk_hours):
                log = with_addresses(database, log)
            expanded, is_new = expand_new(database, log, existing, lifecycle, earlier)
            if until is not None:
                _require_as_new(until, expanded["timecreated"].filter(is_new))
            expanded = expanded_as_stored(expanded, store.fields)
            expanded = expanded.append_column(_EXPANDED_NOW, is_new)
            del log, existing
            seconds_per_row = stopwatch.lap() / max(1, expanded.num_rows)
            for hour, rows in split_by_hour(expanded, chunk_hours):
                expanded_now += int(pc.sum(rows[_EXPANDED_NOW], min_count=0).as_py())
                unresolved += rows.num_rows - rows["unresolved"].null_count
                partitions.write(hour, rows.drop_columns(_EXPANDED_NOW))
                seconds += seconds_per_row * rows.num_rows + stopwatch.lap()
                if not ends:
                    continue
                stats = expansion_stats(
                    footers.get(hour), kept=partitions.rows - expanded_now, expanded=expanded_now
                )
                stored = store.fields.common(fields.pop(hour)).as_footer_stats()
                number, size = partitions.finish(stats | stored)
                written.append(
                    WrittenExpandedHour(
                        hour=hour,
                        rows=number,
                        bytes=size,
                        seconds=seconds,
                        expanded_now=expanded_now,
                        unresolved=unresolved,
                    )
                )
                expanded_now, unresolved, seconds = 0, 0, 0.0
            # Without this, these names would hold the chunk while the next one is read.
            del expanded, rows
    return written


def write_events(
    translator: Translator,
    store: PartitionStore,
    frame: Frame,
    hours: HourRange,
    revision: int = MAPPING_REVISION,
    *,
    stats: FooterStats = MappingProxyType({}),
    rules: RowRules | None = None,
    chunk_rows: int = CHUNK_ROWS,
    needed: StoredFields = NOTHING,
    open_moodle: OpenMoodle | None = None,
) -> tuple[list[WrittenEventsHour], list[SampleReport]]:
    """Translate ``expanded_log`` of the hours and write their events.

    Args:
        translator: for the Caliper version of the frame.
        store: holds ``moodle_log`` and ``expanded_log`` of all hours.
        frame: the table of the events of this version.
        hours: the hours.
        revision: the mapping revision of the site.
        stats: what else the footer of each hour records.
        rules: those that decide which rows have no event; None without any.
        chunk_rows: rows that are translated together, about.
        needed: the personal fields that the events are to tell.
        open_moodle: opens the database; called only if an hour was stored without what the leak
            check looks for.

    Returns:
        The partitions that were written, and the validity of a sample of each chunk.

    Raises:
        StorageError: an hour of ``moodle_log`` or ``expanded_log`` is missing, or was stored
            without a field that is needed.
        ConfigurationError: the store cannot be written to, or the database cannot be opened.
        SourceError: the database did not answer.
    """
    written, samples, stopwatch = [], [], _Stopwatch()
    tally, found, seconds = OutcomeTally(), EventFaults(), 0.0
    made_under = rules.filter.footer_stats() if rules else {}
    persons: PersonalValues | None = None
    complete = RowsToSearch(translator.looked_for, open_moodle)

    def opened(expanded: StoredHour) -> None:
        require_fields(needed, expanded)
        complete.note(expanded)

    with _Partitions(store, frame) as partitions:
        for chunk_hours, expanded, begins, ends in store.chunks(
            EXPANDED_LOG, hours, chunk_rows, opened=opened
        ):
            if begins:
                persons = None if ends else _persons_of(store, chunk_hours[0], chunk_rows, complete)
            around = complete(chunk_hours, expanded) if persons is None else None
            events, leaks, pools = searched(translator, rules, expanded, persons, around)
            seconds_per_event = stopwatch.lap() / max(1, events.num_rows)
            del expanded, around
            report = sample_problems(events, pools)
            del pools
            events = mark_invalid(events, report.invalid_rows)
            samples.append(report)
            outcomes = outcomes_by_hour(events, chunk_hours)
            for hour, rows in split_by_hour(events, chunk_hours):
                tally.add_counted(outcomes[hour])
                found.add(rows, report)
                found.add_leaks(leak for leak in leaks if leak.hour == hour.number)
                partitions.write(hour, rows)
                seconds += seconds_per_event * rows.num_rows + stopwatch.lap()
                if not ends:
                    continue
                account = _account(store, hour, tally)
                verdict = found.verdict(account)
                number, size = partitions.finish(
                    account.as_footer_stats()
                    | verdict.as_footer_stats()
                    | mapping_stats(revision)
                    | made_under
                    | dict(stats)
                )
                written.append(
                    WrittenEventsHour(
                        hour=hour,
                        rows=number,
                        bytes=size,
                        seconds=seconds,
                        account=account,
                        verdict=verdict,
                    )
                )
                tally, found, seconds = OutcomeTally(), EventFaults(), 0.0
            # Without this, these names would hold the chunk while the next one is read.
            del events, rows
    return written, samples


def _persons_of(
    store: PartitionStore, hour: Hour, chunk_rows: int, complete: RowsToSearch
) -> PersonalValues:
    """The persons of an hour that is translated in parts."""
    with closing(store.open(EXPANDED_LOG, hour)) as stored:
        persons = PersonalValues()
        for rows in stored.parts(chunk_rows, ("id", "timecreated", *PERSON_COLUMNS)):
            persons = persons.joined(persons_of(complete([hour], rows)))
        return persons


def require_fields(needed: StoredFields, expanded: StoredHour) -> None:
    """Require that an hour was stored with what its events are to tell.

    Raises:
        StorageError: it was stored without.
    """
    missing = stored_fields_of(expanded.stats()).missing(needed)
    if missing:
        raise StorageError(
            f"{EXPANDED_LOG.name} of {expanded.hour} was stored without {' and '.join(missing)}, "
            f"which events are to tell now: materialize {MOODLE_LOG.name} and {EXPANDED_LOG.name} "
            "for that hour again."
        )


def _account(store: PartitionStore, hour: Hour, tally: OutcomeTally) -> Account:
    with closing(store.open(MOODLE_LOG, hour)) as log:
        stats, log_ids = log.stats(), log.read(["id"])["id"]
    account = tally.account(int(str(stats[_COUNTED])), log_ids)
    return replace(account, waiting=int(str(stats.get(_WAITING, 0))))


class _Partitions(ExitStack):
    """Writes partitions one after another, each in one table or in several.

    Attributes:
        rows: rows of the present partition so far.
    """

    def __init__(self, store: PartitionStore, frame: Frame) -> None:
        super().__init__()
        self._store, self._frame = store, frame
        self._writer: PartitionWriter | None = None
        self.rows = 0

    def write(self, hour: Hour, table: pa.Table) -> None:
        """Write rows of an hour, cut by `own_dictionaries.cut`; the hour before it is finished."""
        if self._writer is None:
            self._writer = self.enter_context(self._store.writer(self._frame, hour))
            self.rows = 0
        self._writer.write(table, has_own_dictionaries=True)
        self.rows += table.num_rows

    def finish(self, stats: FooterStats) -> tuple[int, int]:
        """Put the hour into its place; returns its rows, and the size of its file in bytes."""
        writer, self._writer = self._writer, None
        if writer is None:
            return 0, 0
        writer.stats = stats
        self.close()
        return self.rows, writer.size


class _ExpandedBefore:
    """The rows of ``expanded_log`` that the rows of a chunk may have already."""

    def __init__(self, store: PartitionStore, events: Sequence[Frame], *, fresh: bool) -> None:
        self._store, self._events, self._fresh = store, events, fresh
        self._hour: StoredHour | None = None

    def rows_of(
        self, hours: list[Hour], log: pa.Table, *, begins: bool, ends: bool
    ) -> tuple[pa.Table, dict[Hour, FooterStats]]:
        """The existing rows and the footer stats for a chunk of ``moodle_log``.

        An hour that is damaged, of another version, lacks fields that are stored now, or has events
        with values of persons that must not leave counts as not expanded.
        """
        if self._fresh or (begins and ends):
            return self._store.existing(EXPANDED_LOG, [] if self._fresh else hours, self._is_kept)
        if begins:
            self.close()
            self._hour = self._store.open_existing(EXPANDED_LOG, hours[0], self._is_kept)
        if self._hour is not None:
            with suppress(StorageError):
                limits = pc.min_max(log["timecreated"]).as_py()
                rows = self._hour.between(limits["min"], limits["max"])
                return rows, {self._hour.hour: self._hour.stats()}
        return EXPANDED_LOG.empty(), {}

    def _is_kept(self, stored: StoredHour) -> bool:
        if stored_fields_of(stored.stats()).missing(self._store.fields):
            return False
        return not any(self._has_personal_data(frame, stored.hour) for frame in self._events)

    def _has_personal_data(self, frame: Frame, hour: Hour) -> bool:
        with suppress(StorageError):
            verdict = HourVerdict.from_footer_stats(self._store.footer_stats(frame, hour))
            return verdict is not None and bool(verdict.fields)
        return False

    def close(self) -> None:
        """Close the hour that is open."""
        if self._hour is not None:
            self._hour.close()


class _Stopwatch:
    """Measures laps in seconds."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap, or since the start."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before
