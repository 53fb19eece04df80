"""The watch over the log: which hours hold rows that are not kept, and which are not finished.

Here belongs the decision which hours to take, from what the log, the stored hours and Dagster say
of them, and what is remembered from one look to the next. Who looks, and how runs are asked for, is
the business of ``sensors``; nothing here knows Dagster.

The truth is in the stored hours, not in the memory: an hour has grown when the log has an id in it
that its stored ``moodle_log`` has not. A memory that is lost costs a look back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import NamedTuple

from pydantic import BaseModel

from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange, groups
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.expander import IdStats, MoodleDatabase, id_before, id_stats_above, ids_above

MOST_RUNS = 100
"""Runs that one look asks for, at most; the next one asks for the rest."""

_DAY = 86_400
_FIRST_WAIT = 60
_LONGEST_WAIT = 900
_READERS = 8


class Status(Enum):
    """What Dagster says of the last step of an hour."""

    DONE = "done"
    BUSY = "busy"
    FAILED = "failed"
    MISSING = "missing"


class RunWanted(NamedTuple):
    """Hours to take, for a reason; the key is the same when they are asked for twice."""

    hours: HourRange
    reason: str
    key: str


class HourWindow(NamedTuple):
    """The hours that matter at a look.

    Attributes:
        start: the first hour of the partitions.
        due: the first hour that is not yet due, which the schedule has not had to take.
        end: after the last hour to take: ``due``, or the hour in progress included.
        overdue: the first hour that the schedule may still be about to take.
    """

    start: Hour
    due: Hour
    end: Hour
    overdue: Hour


class WatchCursor(BaseModel):
    """What is remembered from one look to the next.

    Attributes:
        low: rows with ids up to here are not looked at any more.
        high: the highest id there was at ``high_since``; becomes ``low`` a margin later, so that
            ids which become visible out of order are seen.
        high_since: Unix time.
        seen: by hour, number and sum of the ids above ``low`` that need nothing any more.
        frontier: from this hour on every hour is to be finished; before it only what was reopened.
        reopened: hours that were asked for because they had grown, until they are seen to hold what
            the log holds.
        tried: the hours that were last tried again: the first, and the one after the last.
        place: where the next try begins to look for hours.
        size: how many hours the next try takes at most.
        wait: seconds between two tries; 0 when the last one went well.
        after: Unix time of the next try.
    """

    low: int
    high: int
    high_since: float
    seen: dict[int, tuple[int, int]] = {}
    frontier: int
    reopened: set[int] = set()
    tried: tuple[int, int] | None = None
    place: int = 0
    size: int = 1_000_000
    wait: float = 0
    after: float = 0

    def own(self, bounds: HourWindow) -> set[Hour]:
        """The hours whose status matters: those to be finished, and those that were reopened."""
        numbers = {*range(self.frontier, bounds.end.number), *self.reopened}
        return {Hour(number) for number in numbers}


def first_cursor(
    database: MoodleDatabase, newest: Hour | None, bounds: HourWindow, now: float, *, since: int
) -> WatchCursor:
    """The memory of a first look.

    Args:
        database: the log.
        newest: the newest hour that was ever taken; what comes after it is to be taken, and rows
            that were given an id in the day before it, or later, are looked at.
        bounds: the hours that matter now.
        now: Unix time.
        since: Unix time; rows that were given an id since then are looked at.
    """
    frontier = bounds.due
    if newest is not None:
        frontier, since = min(newest + 1, bounds.due), min(newest.start - _DAY, since)
    low = id_before(database, since)
    return WatchCursor(low=low, high=low, high_since=now, frontier=frontier.number)


class LogWatch:
    """One look at the log.

    Args:
        database: an open Moodle database.
        storage: the stored hours.
        memory: what was remembered; changed by the look, and to be remembered for the next.
        bounds: the hours that matter now.
        now: Unix time.
        most: hours in one run, at most.
    """

    def __init__(
        self,
        database: MoodleDatabase,
        storage: PartitionStore,
        memory: WatchCursor,
        bounds: HourWindow,
        *,
        now: float,
        most: int,
    ) -> None:
        self._database, self._storage, self._memory = database, storage, memory
        self._bounds, self._now, self._most = bounds, now, most

    def look(
        self, statuses: Callable[[set[Hour]], Mapping[Hour, Status]], margin: float
    ) -> list[RunWanted]:
        """Decide which hours to take now.

        Args:
            statuses: what Dagster says of some hours.
            margin: seconds for which ids that were passed are looked at again.
        """
        found = id_stats_above(self._database, self._memory.low)
        grown = self._grown(found)
        known = statuses({*grown, *self._memory.own(self._bounds)})
        short = self._advance_frontier(known)
        wanted, left = self._request_grown(grown, found, known)
        asked = {hour for ask in wanted for hour in ask.hours}
        again = self._retry_unfinished(known, (self._unfinished(known) | short) - asked)
        self._advance_watermark(found, margin, left)
        return [*wanted, *again]

    def _grown(self, found: Mapping[Hour, IdStats]) -> list[Hour]:
        """The hours with rows that are not kept. What needs nothing is remembered as seen."""
        looked = [
            hour
            for hour, rows in found.items()
            if self._bounds.start <= hour < self._bounds.end
            and self._memory.seen.get(hour.number) != (rows.number, rows.total)
        ]
        with ThreadPoolExecutor(_READERS) as readers:
            stored = readers.map(lambda hour: self._kept(hour, self._memory.low), looked)
            kept = dict(zip(looked, stored, strict=True))
        grown = []
        for hour in looked:
            if self._has_grown(hour, found[hour], kept[hour]):
                grown.append(hour)
            elif kept[hour] is not None or hour.number < self._memory.frontier:
                self._remember(hour, found[hour])
        return sorted(grown)

    def _kept(self, hour: Hour, low: int) -> frozenset[int] | None:
        """The ids above ``low`` that are stored of the hour; None when it is not stored.

        Of a file that cannot be read nothing is known to be stored.
        """
        try:
            ids = self._storage.read(MOODLE_LOG, [hour], ["id"])["id"].to_numpy()
        except StorageError:
            return frozenset() if self._storage.exists(MOODLE_LOG, hour) else None
        return frozenset(ids[ids > low].tolist())

    def _has_grown(self, hour: Hour, rows: IdStats, kept: frozenset[int] | None) -> bool:
        if kept is None:
            # A complete hour that was never taken is the schedule's, or nobody's.
            return hour >= self._bounds.due
        if (rows.number, rows.total) == (len(kept), sum(kept)):
            return False
        if rows.number > len(kept):
            return True
        # Some were deleted. That alone changes nothing; others may have come.
        return not ids_above(self._database, self._memory.low, hour) <= kept

    def _remember(self, hour: Hour, rows: IdStats) -> None:
        self._memory.seen[hour.number] = (rows.number, rows.total)

    def _request_grown(
        self,
        grown: Iterable[Hour],
        found: Mapping[Hour, IdStats],
        known: Mapping[Hour, Status],
    ) -> tuple[list[RunWanted], bool]:
        """Ask for the hours that have grown; and whether some must be asked for later.

        An hour that is being taken is looked at again afterwards; one that failed is tried again
        with the others that failed.
        """
        for hour in grown:
            if known[hour] is Status.FAILED:
                self._open(hour, found[hour])
        free = [hour for hour in grown if known[hour] in (Status.DONE, Status.MISSING)]
        ranges = groups(free, self._most)
        wanted = []
        for hours in ranges[:MOST_RUNS]:
            for hour in hours:
                self._open(hour, found[hour])
            reason = "new rows" if hours.start >= self._bounds.due else "late rows"
            number = sum(found[hour].number for hour in hours)
            total = sum(found[hour].total for hour in hours)
            since = f"{self._memory.low} {self._memory.high_since:.0f}"
            key = f"{hours.start.key}+{len(hours)} {since} {number} {total}"
            wanted.append(RunWanted(hours, reason, key))
        busy = any(known[hour] is Status.BUSY for hour in grown)
        return wanted, busy or len(ranges) > MOST_RUNS

    def _open(self, hour: Hour, rows: IdStats) -> None:
        self._remember(hour, rows)
        self._memory.reopened.add(hour.number)

    def _retry_unfinished(
        self, known: Mapping[Hour, Status], unfinished: set[Hour]
    ) -> list[RunWanted]:
        """Ask again for hours that failed, fell short or that nobody took: one range at a time.

        While it fails, the next try waits twice as long, and takes the first half of the same hours
        until one of them stands alone, which is then passed over: an event store that is down is
        not stormed, and one bad hour holds up no other.
        """
        memory = self._memory
        if not self._learn_from_retry(known, unfinished):
            return []
        if not unfinished:
            memory.wait, memory.size = 0, self._most
            return []
        if self._now < memory.after:
            return []
        ahead = [hour for hour in unfinished if hour.number >= memory.place]
        hours = groups(ahead or unfinished, min(memory.size, self._most))[0]
        memory.tried = (hours.start.number, hours.end.number)
        return [RunWanted(hours, "unfinished", f"unfinished {hours.start.key} {int(self._now)}")]

    def _learn_from_retry(self, known: Mapping[Hour, Status], unfinished: set[Hour]) -> bool:
        """Learn from the last try; False while it goes on."""
        memory = self._memory
        if memory.tried is None:
            return True
        tried = HourRange(Hour(memory.tried[0]), Hour(memory.tried[1]))
        if any(known.get(hour) is Status.BUSY for hour in tried):
            return False
        if any(hour in unfinished for hour in tried):
            memory.wait = min(max(2 * memory.wait, _FIRST_WAIT), _LONGEST_WAIT)
            memory.size = max(1, len(tried) // 2)
            memory.place = (tried.start if len(tried) > 1 else tried.end).number
        else:
            memory.wait, memory.size = 0, min(2 * memory.size, self._most)
            memory.place = tried.end.number
        memory.tried = None
        memory.after = self._now + memory.wait
        return True

    def _unfinished(self, known: Mapping[Hour, Status]) -> set[Hour]:
        failed = {hour for hour in self._memory.own(self._bounds) if known[hour] is Status.FAILED}
        forgotten = {
            Hour(number)
            for number in range(self._memory.frontier, self._bounds.overdue.number)
            if known[Hour(number)] is Status.MISSING
        }
        return failed | forgotten

    def _advance_frontier(self, known: Mapping[Hour, Status]) -> set[Hour]:
        """Move the frontier over hours that are done, and forget reopened ones that are.

        That a run is over does not say that it brought the rows: it may have been cancelled, or
        deleted, and then Dagster shows the hour as it was before.

        Returns:
            The hours that were reopened, are not being taken, and still lack rows of the log.
        """
        memory = self._memory
        while memory.frontier < self._bounds.due.number:
            if known[Hour(memory.frontier)] is not Status.DONE:
                break
            memory.frontier += 1
        over = [
            hour
            for hour in map(Hour, sorted(memory.reopened))
            if hour < self._bounds.due and known[hour] in (Status.DONE, Status.MISSING)
        ]
        short = {hour for hour in over if not self._is_kept(hour)}
        memory.reopened -= {hour.number for hour in over if hour not in short}
        return short

    def _is_kept(self, hour: Hour) -> bool:
        return ids_above(self._database, -1, hour) <= (self._kept(hour, -1) or frozenset())

    def _advance_watermark(self, found: Mapping[Hour, IdStats], margin: float, left: bool) -> None:
        memory = self._memory
        last = max((rows.last for rows in found.values()), default=memory.high)
        if left or self._now - memory.high_since < margin:
            return
        memory.low, memory.high, memory.high_since = memory.high, max(last, memory.high), self._now
        memory.seen = {}
