"""How far Moodle's database is, where the log is in another one.

The database of names and grades may then be a replica that lags behind the log. What a log row
refers to is read once and kept, so a row that is newer than the replica waits for it. How far the
replica is, Moodle itself says: its cron writes a time every minute, and so does each request of
a user. That needs no right that an account for reading does not have, and it holds for every kind
of copy, also for one that is restored from a dump each night.

A Moodle that nobody uses and whose cron does not run writes nothing. So a row waits for
`MoodleDatabase.replica_wait` hours at most, and is then read as it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from caliper_dagster.core.hours import SECONDS
from caliper_dagster.expander.connection import MoodleDatabase

SETTLING_SECONDS = 60
"""A change that Moodle wrote at some time proves that the replica has what was written so many
seconds before: transactions that take no longer are then over."""

_TIMES = (
    # Of each user's last request, written at most once a minute; the column has an index.
    ("user", "lastaccess"),
    ("task_scheduled", "lastruntime"),
)
_CRON = "plugin = 'tool_task' AND name = 'lastcronstart'"
"""When cron last began."""


@dataclass(frozen=True, slots=True)
class Replica:
    """How far Moodle's database is.

    Attributes:
        newest: Unix time of the newest change that it shows; 0 when it has none, as while it is
            restored; None when the account may read no place that tells.
        until: log rows that are newer than this Unix time wait; None when none waits.
    """

    newest: int | None
    until: int | None


def look(database: MoodleDatabase, now: float) -> Replica:
    """Look how far Moodle's database is at a Unix time.

    Where the log is in the same database nothing waits, because both are seen in one snapshot.

    Raises:
        SourceError: the database cannot be read.
    """
    if database.log is database:
        return Replica(None, None)
    newest = _newest_change(database, int(now))
    if newest is None or not database.replica_wait:
        return Replica(newest, None)
    longest = int(now) - database.replica_wait * SECONDS
    return Replica(newest, max(newest - SETTLING_SECONDS, longest))


def waiting_after(database: MoodleDatabase) -> int | None:
    """The Unix time after which log rows wait; None when none waits.

    It is the same as long as the database is open: whoever counts rows and whoever reads them see
    the same ones.
    """
    if database.log is database:
        return None
    if database.replica is None:
        database.replica = look(database, time.time())
    return database.replica.until


def _newest_change(database: MoodleDatabase, now: int) -> int | None:
    """The newest time, not after now, that Moodle wrote into a table that the account may read."""
    times: list[int | None] = []
    readable = [
        (table, column)
        for table, column in _TIMES
        if table not in database.without and column in database.columns(table)
    ]
    for table, column in readable:
        statement = f"SELECT MAX({column}) FROM {database.quoted(table)} WHERE {column} <= :now"
        times.extend(row[0] for row in database.execute(sa.text(statement), now=now))
    columns = ("plugin", "name", "value")
    of_cron = database.records("config_plugins", ("value",), None, _CRON, columns)
    texts = [str(record["value"] or "") for record in of_cron]
    times.extend(int(text) for text in texts if text.isascii() and text.isdigit())
    # Every Moodle has users who were seen, so a table of users without any is not complete.
    nothing = 0 if ("user", "lastaccess") in readable else None
    return max((int(it) for it in times if it and it <= now), default=nothing)
