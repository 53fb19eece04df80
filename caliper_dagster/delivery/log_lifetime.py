r"""Rows that Moodle deletes before they were taken.

Moodle's task ``logstore_standard\task\cleanup_task`` deletes log rows that are older than the
setting ``loglifetime``. An hour is *taken* when its log is stored here, or an event store has
answered for it: then its rows need not be in Moodle any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from caliper_dagster.config.connections import open_ledger, open_store
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange, groups, last_complete_hour
from caliper_dagster.expander import LOG, MoodleDatabase

DAY = 86_400

_HOURS_IN_TIME = 3
"""An hour that ended later than so many hours ago is still taken in time by the schedule."""


@dataclass(frozen=True, slots=True)
class ExpiringHour:
    """The oldest hour that was not taken and of which Moodle's log has rows.

    Attributes:
        hour: the hour.
        deleted_at: Unix time from which on Moodle's clean-up deletes its rows.
    """

    hour: Hour
    deleted_at: int


def oldest_untaken(
    settings: Settings, database: MoodleDatabase, log_days: int, *, within_days: int, now: float
) -> ExpiringHour | None:
    """The hour that Moodle deletes first of those that were not taken.

    Args:
        settings: of the site.
        database: its Moodle database.
        log_days: days for which Moodle keeps log rows, at least one.
        within_days: only hours whose rows are deleted within this number of days. Hours that ended
            a moment ago are left out, because the schedule takes them.
        now: Unix time.

    Raises:
        ConfigurationError: storage or ledger cannot be read.
        SourceError: the database cannot be read.
        StorageError: the ledger cannot be read.
    """
    due = last_complete_hour(datetime.fromtimestamp(now, UTC)) + -_HOURS_IN_TIME
    end = min(due + 1, Hour.of(now + (within_days - log_days) * DAY) + 1)
    oldest = _oldest_hour(database, HourRange(settings.start, end))
    if oldest is None:
        return None
    for hours in groups(_untaken(settings, HourRange(oldest, end)), len(HourRange(oldest, end))):
        hour = _oldest_hour(database, hours)
        if hour is not None:
            return ExpiringHour(hour, hour.start + log_days * DAY)
    return None


def _oldest_hour(database: MoodleDatabase, hours: HourRange) -> Hour | None:
    """The first of the hours that has log rows."""
    statement = sa.text(
        f"SELECT MIN(timecreated) FROM {database.log.quoted(LOG)} "
        "WHERE timecreated >= :start AND timecreated < :end"
    )
    ((oldest,),) = database.log.execute(statement, start=hours.start.start, end=hours.end.start)
    return None if oldest is None else Hour.of(int(oldest))


def _untaken(settings: Settings, hours: HourRange) -> list[Hour]:
    stored = open_store(settings).hour_sizes(MOODLE_LOG).keys()
    left = [hour for hour in hours if hour not in stored]
    ledger = open_ledger(settings)
    if not left or not ledger.exists():
        return left
    with ledger:
        answered = ledger.answered_hours(left, site=settings.identity().site_id)
    return [hour for hour in left if hour not in answered]
