"""Hours: the unit in which everything is partitioned.

An hour is a UTC hour of ``logstore_standard_log.timecreated`` (whole seconds since 1970). Its key
is the one that Dagster gives it, ``2026-01-31-14:00``. Ranges are half-open, on hours only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from caliper_dagster.core.errors import ConfigurationError

LAST_TIME = 253_402_300_799
"""The last Unix time of the year 9999. A later one is no time: it may count milliseconds."""

SECONDS = 3600
KEY_FORMAT = "%Y-%m-%d-%H:%M"
HOUR_FORM = "a full hour in UTC such as 2026-01-31T14:00Z"

_ISO_HOUR = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}(:00(:00)?)?)?(Z|\+00:00)?")


@dataclass(frozen=True, order=True, slots=True)
class Hour:
    """One UTC hour, counted from 1970: ``Hour(timestamp // 3600)``."""

    number: int

    @classmethod
    def of(cls, timestamp: float) -> Hour:
        """The hour that holds a Unix time in seconds."""
        return cls(int(timestamp // SECONDS))

    @classmethod
    def from_key(cls, key: str) -> Hour:
        """The hour of a Dagster partition key, for example ``2026-01-31-14:00``."""
        return cls.of(datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC).timestamp())

    @property
    def start(self) -> int:
        """First second of the hour, as Unix time."""
        return self.number * SECONDS

    @property
    def end(self) -> int:
        """First second after the hour, as Unix time."""
        return self.start + SECONDS

    @property
    def datetime(self) -> datetime:
        """Start of the hour as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.start, UTC)

    @property
    def key(self) -> str:
        """Dagster's partition key of the hour."""
        return self.datetime.strftime(KEY_FORMAT)

    def __add__(self, hours: int) -> Hour:
        return Hour(self.number + hours)

    def __str__(self) -> str:
        return self.datetime.strftime("%Y-%m-%dT%H:00Z")


@dataclass(frozen=True, slots=True)
class HourRange:
    """A half-open range of hours, ``[start, end)``; iterates over its hours in order."""

    start: Hour
    end: Hour

    @classmethod
    def covering(cls, hours: Iterable[Hour]) -> HourRange:
        """The smallest range that holds all the given hours (at least one)."""
        ordered = sorted(hours)
        return cls(ordered[0], ordered[-1] + 1)

    def __iter__(self) -> Iterator[Hour]:
        return (Hour(number) for number in range(self.start.number, self.end.number))

    def __len__(self) -> int:
        return max(0, self.end.number - self.start.number)

    def __contains__(self, hour: object) -> bool:
        return isinstance(hour, Hour) and self.start <= hour < self.end

    def __str__(self) -> str:
        return f"{self.start} to {self.end}"


def groups(hours: Iterable[Hour], size: int) -> list[HourRange]:
    """The hours as ranges of consecutive hours, at most ``size`` in each, in order."""
    ranges: list[HourRange] = []
    for hour in sorted(set(hours)):
        last = ranges[-1] if ranges else None
        if last is not None and last.end == hour and len(last) < size:
            ranges[-1] = HourRange(last.start, hour + 1)
        else:
            ranges.append(HourRange(hour, hour + 1))
    return ranges


def parse_hour(text: str, name: str) -> Hour:
    """Read an ISO 8601 hour in UTC: ``2026-01-31T14``, ``2026-01-31T14:00Z``, or a date.

    A date means its first hour.

    Args:
        text: the user's input.
        name: the option or setting that it is the value of; the error names it.

    Raises:
        ConfigurationError: the text is no full hour in UTC.
    """
    try:
        if not _ISO_HOUR.fullmatch(text.strip()):
            raise ValueError  # noqa: TRY301 - one sentence for both kinds of mistake
        moment = datetime.fromisoformat(text.strip().removesuffix("Z").removesuffix("+00:00"))
    except ValueError:
        raise ConfigurationError(f"{name} must be {HOUR_FORM}, not {text!r}.") from None
    return Hour.of(moment.replace(tzinfo=UTC).timestamp())


def last_complete_hour(now: datetime, lag: timedelta = timedelta()) -> Hour:
    """The newest hour that has ended at least ``lag`` before ``now`` (aware datetime)."""
    return Hour.of((now - lag).timestamp()) + -1
