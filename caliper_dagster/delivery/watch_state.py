"""The state of the log watch, and the hours and runs it speaks of.

These are plain values: the sensors import them when Dagster loads the definitions, and must not
import ``expander`` with them. The decisions are in ``delivery.log_watch``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

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


def _read_hour(value: object) -> object:
    """The number of an hour that is written out; earlier releases wrote the number."""
    if value is None:
        return 0
    if isinstance(value, str) and not value.isdecimal():
        return Hour.of(datetime.fromisoformat(value).timestamp()).number
    return value


def _read_time(value: object) -> object:
    """The Unix time of a moment that is written out; earlier releases wrote the Unix time."""
    if value is None:
        return 0
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value


def _write_hour(number: int) -> str | None:
    """An hour, written out; 0 is no hour."""
    return str(Hour(number)) if number else None


def _write_time(value: float) -> str | None:
    """A Unix time, written out; 0 is no time."""
    return datetime.fromtimestamp(value, UTC).isoformat() if value else None


_HourNumber = Annotated[int, BeforeValidator(_read_hour), PlainSerializer(_write_hour)]
_Time = Annotated[float, BeforeValidator(_read_time), PlainSerializer(_write_time)]


def _stored_as(name: str, former: str, **options: Any) -> Any:  # noqa: ANN401 - as ``Field``
    """A field by its name in the stored cursor, which was ``former`` in earlier releases."""
    choices = AliasChoices(name, former)
    return Field(validation_alias=choices, serialization_alias=name, **options)


class WatchCursor(BaseModel):
    """What the watch remembers from one look to the next; Dagster keeps it as the sensor's cursor.

    It is stored in words, with hours and times written out, because the web UI shows it. The stored
    names never change; the cursors of earlier releases, with the names of the attributes and with
    numbers, are read too.

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

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    low: int = _stored_as("ids_checked_up_to", "low")
    high: int = _stored_as("highest_id", "high")
    high_since: _Time = _stored_as("highest_id_since", "high_since")
    frontier: _HourNumber = _stored_as("hours_finished_before", "frontier")
    reopened: set[_HourNumber] = _stored_as("hours_reopened", "reopened", default=set())
    tried: tuple[_HourNumber, _HourNumber] | None = _stored_as(
        "last_retry_from_to", "tried", default=None
    )
    after: _Time = _stored_as("no_retry_before", "after", default=0)
    wait: float = _stored_as("seconds_between_retries", "wait", default=0)
    place: _HourNumber = _stored_as("next_retry_from", "place", default=0)
    size: int = _stored_as("next_retry_hours_at_most", "size", default=1_000_000)
    seen: dict[_HourNumber, tuple[int, int]] = _stored_as(
        "hours_unchanged_with_rows_and_sum_of_ids", "seen", default={}
    )

    def unfinished_candidates(self, end: Hour) -> set[Hour]:
        """The hours whose status matters: from the frontier to ``end``, and the reopened ones."""
        numbers = {*range(self.frontier, end.number), *self.reopened}
        return {Hour(number) for number in numbers}
