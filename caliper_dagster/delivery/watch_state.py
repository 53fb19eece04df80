"""The state of the log watch, and the hours and runs it speaks of.

These are plain values: the sensors import them when Dagster loads the definitions, and must not
import ``expander`` with them. The decisions are in ``delivery.log_watch``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import NamedTuple

from pydantic import BaseModel

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour, HourRange, last_complete_hour

_SCHEDULE_GRACE = timedelta(minutes=10)
"""How long after its due time an hour is left to the schedule."""


class Status(Enum):
    """The status of the last step of an hour."""

    DONE = "done"
    BUSY = "busy"
    FAILED = "failed"
    MISSING = "missing"


class Reason(StrEnum):
    """Why a sensor requests a run: the value of a tag on the run, so the texts never change."""

    LATE_ROWS = "late rows"
    NEW_ROWS = "new rows"
    UNFINISHED = "unfinished"
    BACKLOG = "left over"


class RunWanted(NamedTuple):
    """A run to request.

    Attributes:
        key: Dagster creates one run per key; two requests for the same rows have the same key.
    """

    hours: HourRange
    reason: Reason
    key: str


class HourWindow(NamedTuple):
    """Boundaries between hours at the time of a look.

    Attributes:
        start: the first hour that is a partition.
        due: the first hour that the schedule has not yet had to take.
        end: the first hour that is not to be taken: ``due``, or the hour after the one in progress.
        overdue: the first hour that the schedule may still be about to take; a missing hour before
            it was forgotten.
    """

    start: Hour
    due: Hour
    end: Hour
    overdue: Hour

    @classmethod
    def at(cls, now: float, settings: Settings) -> HourWindow:
        """The window of a site at a Unix time in seconds."""
        moment = datetime.fromtimestamp(now, UTC)
        lag = timedelta(minutes=settings.schedule_lag)
        due = last_complete_hour(moment, lag) + 1
        return cls(
            start=settings.start,
            due=due,
            end=Hour.of(now) + 1 if settings.send_immediately else due,
            overdue=last_complete_hour(moment, lag + _SCHEDULE_GRACE) + 1,
        )

    def without_hour_in_progress(self) -> HourWindow:
        """The window of the complete hours."""
        return self._replace(end=self.due)

    def only_hour_in_progress(self) -> HourWindow:
        """The window of the hours that are not yet due; none of them can be overdue."""
        return self._replace(start=max(self.start, self.due), overdue=self.start)


class WatchCursor(BaseModel):
    """What the watch remembers from one look to the next; Dagster keeps it as the sensor's cursor.

    The field names are stored and never change.

    Attributes:
        low: log rows with ids up to this one are not looked at any more.
        high: the highest id at ``high_since``. It becomes ``low`` a margin later, so that ids which
            become visible out of order are found.
        high_since: Unix time in seconds.
        seen: number of the hour, to the number and the sum of the ids above ``low`` that need no
            run any more.
        frontier: number of an hour. Every hour from this one on must be finished; before it, only
            the reopened ones.
        reopened: numbers of hours that were requested because they had grown, until the partitions
            hold what the log holds.
        tried: the last range that was retried: number of its first hour, and of the hour after its
            last.
        place: number of the hour at which the search for the next retry begins.
        size: the largest number of hours of the next retry.
        wait: seconds between two retries; 0 after a successful one.
        after: Unix time in seconds, before which there is no retry.
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

    def unfinished_candidates(self, end: Hour) -> set[Hour]:
        """The hours whose status matters: from the frontier to ``end``, and the reopened ones."""
        numbers = {*range(self.frontier, end.number), *self.reopened}
        return {Hour(number) for number in numbers}
