"""The log watch: which hours have rows that are not stored, and which hours are not finished.

The decisions are made from the log, the stored hours, the status of each hour in Dagster and the
cursor of the previous look. ``dagster.sensors.late_rows`` and ``operations.follow`` request the
runs; nothing here imports Dagster.

The stored hours are authoritative, not the cursor: an hour has grown when the log has an id in it
that its stored ``moodle_log`` lacks. A lost cursor costs only a longer look back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange, groups
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery.watch_state import (
    HourWindow,
    Reason,
    RunWanted,
    Status,
    WatchCursor,
)
from caliper_dagster.expander import (
    IdStats,
    MoodleDatabase,
    first_waiting_id,
    hour_that_waits,
    id_before,
    id_stats_above,
    id_sum,
    ids_above,
)

MAX_RUNS_PER_LOOK = 100
"""The largest number of runs for grown hours that one look requests; later looks request the
rest."""

_DAY = 86_400
_FIRST_WAIT = 60
_LONGEST_WAIT = 900
_READERS = 8
_ROWS_OF_A_SEQUENCE = 1000


def first_cursor(
    database: MoodleDatabase, newest: Hour | None, window: HourWindow, now: float, *, since: int
) -> WatchCursor:
    """The cursor of a first look.

    Args:
        database: an open Moodle database.
        newest: the newest hour that was ever taken. The hours after it are to be taken, and the
            look covers rows logged from the day before it on.
        window: the hours that matter now.
        now: Unix time in seconds.
        since: Unix time in seconds; the look covers rows logged from then on.
    """
    frontier = window.due
    if newest is not None:
        frontier, since = min(newest + 1, window.due), min(newest.start - _DAY, since)
    low = id_before(database, since, now)
    return WatchCursor(low=low, high=low, high_since=now, frontier=frontier.number)


class LogWatch:
    """One look at the log.

    Args:
        database: an open Moodle database.
        store: the stored hours.
        cursor: the cursor of the previous look; the look updates it for the next one.
        window: the hours that matter now.
        now: Unix time in seconds.
        max_hours: the largest number of hours of one run.
    """

    def __init__(
        self,
        database: MoodleDatabase,
        store: PartitionStore,
        cursor: WatchCursor,
        window: HourWindow,
        *,
        now: float,
        max_hours: int,
    ) -> None:
        self._database, self._store, self._cursor = database, store, cursor
        self._window, self._now, self._max_hours = window, now, max_hours

    def look(
        self, statuses_of: Callable[[set[Hour]], Mapping[Hour, Status]], margin: float
    ) -> list[RunWanted]:
        """Decide which hours to take now, and update the cursor.

        Args:
            statuses_of: returns the status of each given hour in Dagster.
            margin: seconds for which rows are looked at again after a later id has been seen.
        """
        log_rows = id_stats_above(self._database, self._cursor.low)
        grown, unstored = self._grown_hours(log_rows)
        candidates = self._cursor.unfinished_candidates(self._window.end)
        statuses = statuses_of({*grown, *unstored, *candidates})
        grown = sorted({*grown, *self._pruned(unstored, log_rows, statuses)})
        incomplete = self._advance_frontier(statuses)
        requests, some_wait = self._request_grown(grown, log_rows, statuses)
        requested = {hour for request in requests for hour in request.hours}
        unfinished = self._unfinished(statuses) | incomplete
        retries = self._retry_unfinished(statuses, unfinished - requested)
        if not some_wait:
            self._advance_watermark(log_rows, margin)
        return [*requests, *retries]

    def _grown_hours(self, log_rows: Mapping[Hour, IdStats]) -> tuple[list[Hour], list[Hour]]:
        """The hours with rows that are not stored. Marks stored hours that need no run as seen.

        Returns:
            The hours that have grown, and complete hours of which nothing is stored.
        """
        # A complete hour whose last rows wait for a replica is taken once none of them does.
        waits = hour_that_waits(self._database)
        unseen = [
            hour
            for hour, rows in log_rows.items()
            if self._window.start <= hour < self._window.end
            and self._cursor.seen.get(hour.number) != (rows.number, rows.total)
            and not (hour == waits and hour < self._window.due)
        ]
        with ThreadPoolExecutor(_READERS) as readers:
            results = readers.map(lambda hour: self._stored_ids(hour, self._cursor.low), unseen)
            stored = dict(zip(unseen, results, strict=True))
        grown, unstored = [], []
        for hour in unseen:
            if self._has_grown(hour, log_rows[hour], stored[hour]):
                grown.append(hour)
            elif stored[hour] is None:
                unstored.append(hour)
            else:
                self._mark_seen(hour, log_rows[hour])
        return grown, unstored

    def _pruned(
        self,
        unstored: Iterable[Hour],
        log_rows: Mapping[Hour, IdStats],
        statuses: Mapping[Hour, Status],
    ) -> set[Hour]:
        """Of the complete hours of which nothing is stored, those that were taken once.

        Their stored rows were deleted after their time, so their new rows are late ones. An hour
        that was never taken belongs to the schedule, or to nobody; before the frontier it is seen.
        """
        pruned = {hour for hour in unstored if statuses[hour] is Status.DONE}
        for hour in unstored:
            if hour not in pruned and hour.number < self._cursor.frontier:
                self._mark_seen(hour, log_rows[hour])
        return pruned

    def _stored_ids(self, hour: Hour, low: int) -> frozenset[int] | None:
        """The ids above ``low`` in the stored hour; None when the hour is not stored.

        A file that cannot be read counts as stored without rows.
        """
        try:
            ids = self._store.read(MOODLE_LOG, [hour], ["id"])["id"].to_numpy()
        except StorageError:
            return frozenset() if self._store.exists(MOODLE_LOG, hour) else None
        return frozenset(ids[ids > low].tolist())

    def _has_grown(self, hour: Hour, rows: IdStats, stored: frozenset[int] | None) -> bool:
        if stored is None:
            # Whether a complete hour was ever taken, its status tells: see `_pruned`.
            return hour >= self._window.due
        if (rows.number, rows.total) == (len(stored), id_sum(stored)):
            return False
        if rows.number > len(stored):
            return True
        # Moodle has deleted rows, which alone is no reason for a run; it may have added others.
        return not ids_above(self._database, self._cursor.low, hour) <= stored

    def _mark_seen(self, hour: Hour, rows: IdStats) -> None:
        self._cursor.seen[hour.number] = (rows.number, rows.total)

    def _request_grown(
        self,
        grown: Iterable[Hour],
        log_rows: Mapping[Hour, IdStats],
        statuses: Mapping[Hour, Status],
    ) -> tuple[list[RunWanted], bool]:
        """Request runs for the hours that have grown.

        An hour that a run is taking now is looked at again afterwards. A failed hour is retried
        together with the other failed hours.

        Returns:
            The runs, and whether some of the hours must wait for a later look.
        """
        for hour in grown:
            if statuses[hour] is Status.FAILED:
                self._reopen(hour, log_rows[hour])
        free = [hour for hour in grown if statuses[hour] in (Status.DONE, Status.MISSING)]
        ranges = groups(free, self._max_hours)
        requests = []
        for hours in ranges[:MAX_RUNS_PER_LOOK]:
            for hour in hours:
                self._reopen(hour, log_rows[hour])
            requests.append(self._request(hours, log_rows))
        busy = any(statuses[hour] is Status.BUSY for hour in grown)
        return requests, busy or len(ranges) > MAX_RUNS_PER_LOOK

    def _request(self, hours: HourRange, log_rows: Mapping[Hour, IdStats]) -> RunWanted:
        reason = Reason.NEW_ROWS if hours.start >= self._window.due else Reason.LATE_ROWS
        number = sum(log_rows[hour].number for hour in hours)
        total = sum(log_rows[hour].total for hour in hours)
        watermark = f"{self._cursor.low} {self._cursor.high_since:.0f}"
        key = f"{hours.start.key}+{len(hours)} {watermark} {number} {total}"
        return RunWanted(hours, reason, key)

    def _reopen(self, hour: Hour, rows: IdStats) -> None:
        self._mark_seen(hour, rows)
        self._cursor.reopened.add(hour.number)

    def _retry_unfinished(
        self, statuses: Mapping[Hour, Status], unfinished: set[Hour]
    ) -> list[RunWanted]:
        """Request one range of hours that failed, are incomplete or were forgotten.

        After a failed retry the wait doubles, and the next retry takes the first half of the same
        hours, down to a single hour, which is then skipped. So an unreachable event store gets few
        requests, and one hour that always fails does not block the others.
        """
        cursor = self._cursor
        if not self._learn_from_retry(statuses, unfinished):
            return []
        if not unfinished:
            cursor.wait, cursor.size = 0, self._max_hours
            return []
        # A later time than any wait reaches was written before the clock was set back.
        if self._now < cursor.after <= self._now + _LONGEST_WAIT:
            return []
        ahead = [hour for hour in unfinished if hour.number >= cursor.place]
        hours = groups(ahead or unfinished, min(cursor.size, self._max_hours))[0]
        cursor.tried = (hours.start.number, hours.end.number)
        key = f"unfinished {hours.start.key} {int(self._now)}"
        return [RunWanted(hours, Reason.UNFINISHED, key)]

    def _learn_from_retry(self, statuses: Mapping[Hour, Status], unfinished: set[Hour]) -> bool:
        """Adapt wait and size to the result of the last retry; False while it is still running."""
        cursor = self._cursor
        if cursor.tried is None:
            return True
        tried = HourRange(Hour(cursor.tried[0]), Hour(cursor.tried[1]))
        if any(statuses.get(hour) is Status.BUSY for hour in tried):
            return False
        if any(hour in unfinished for hour in tried):
            cursor.wait = min(max(2 * cursor.wait, _FIRST_WAIT), _LONGEST_WAIT)
            cursor.size = max(1, len(tried) // 2)
            cursor.place = (tried.start if len(tried) > 1 else tried.end).number
        else:
            cursor.wait, cursor.size = 0, min(2 * cursor.size, self._max_hours)
            cursor.place = tried.end.number
        cursor.tried = None
        cursor.after = self._now + cursor.wait
        return True

    def _unfinished(self, statuses: Mapping[Hour, Status]) -> set[Hour]:
        """The failed hours, and the hours that the schedule has forgotten."""
        candidates = self._cursor.unfinished_candidates(self._window.end)
        failed = {hour for hour in candidates if statuses[hour] is Status.FAILED}
        forgotten = {
            Hour(number)
            for number in range(self._cursor.frontier, self._window.overdue.number)
            if statuses[Hour(number)] is Status.MISSING
        }
        return failed | forgotten

    def _advance_frontier(self, statuses: Mapping[Hour, Status]) -> set[Hour]:
        """Move the frontier past finished hours, and close reopened hours that are complete.

        The end of a run does not prove that it stored the rows: if it was cancelled or deleted,
        Dagster shows the status of the run before it.

        Returns:
            The reopened hours that no run is taking and that still lack rows of the log.
        """
        cursor = self._cursor
        while cursor.frontier < self._window.due.number:
            if statuses[Hour(cursor.frontier)] is not Status.DONE:
                break
            cursor.frontier += 1
        ended = [
            hour
            for hour in map(Hour, sorted(cursor.reopened))
            if hour < self._window.due and statuses[hour] in (Status.DONE, Status.MISSING)
        ]
        incomplete = {hour for hour in ended if not self._is_complete(hour)}
        cursor.reopened -= {hour.number for hour in ended if hour not in incomplete}
        return incomplete

    def _is_complete(self, hour: Hour) -> bool:
        return ids_above(self._database, -1, hour) <= (self._stored_ids(hour, -1) or frozenset())

    def _advance_watermark(self, log_rows: Mapping[Hour, IdStats], margin: float) -> None:
        """Stop looking at rows up to ``high`` once the margin has passed."""
        cursor = self._cursor
        cursor.high_since = min(cursor.high_since, self._now)  # the clock may have been set back
        if self._now - cursor.high_since < margin:
            return
        near = [rows.last for rows in log_rows.values() if rows.last is not None]
        last = max(near) if near else self._end_of_gap(log_rows)
        due, low = self._window.due, cursor.high
        waiting = first_waiting_id(self._database, cursor.low, self._now, before=due)
        if waiting is not None:
            # Rows that wait for a replica are to be found later, whatever the order of their ids.
            low, last = min(low, waiting - 1), min(last, waiting - 1)
        cursor.low, cursor.high, cursor.high_since = low, max(last, cursor.high), self._now
        cursor.seen = {}

    def _end_of_gap(self, log_rows: Mapping[Hour, IdStats]) -> int:
        """The id from which the sequence of ids goes on after a gap; ``high`` while it does not.

        A few rows beyond a gap were inserted by hand, and ids below them will still come. Many new
        ones, and no others, mean that the database now continues there.
        """
        beyond = [
            rows
            for hour, rows in log_rows.items()
            if rows.far and abs(hour.start - self._now) <= _DAY
        ]
        if sum(rows.far for rows in beyond) < _ROWS_OF_A_SEQUENCE:
            return self._cursor.high
        return min(rows.first_far for rows in beyond if rows.first_far is not None) - 1
