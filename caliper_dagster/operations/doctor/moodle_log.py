"""A log in another database or table: whether it is the log of this site, and of this installation.

Log rows and records are then joined by ids across two databases, and nothing else says that the
two belong together. Events get their ids from the log's, and each log numbers its rows itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from caliper_dagster.config.connections import open_moodle, open_store
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.expander import LOG, MoodleDatabase, count_rows, replica
from caliper_dagster.operations.doctor.findings import Finding, broken, fine, warn

_ROWS = 200
_LAG_SECONDS = 600
_HOURS = 24

_SAME_ROW = ("id", "timecreated", "eventname")


def elsewhere(settings: Settings) -> Iterator[Finding]:
    """The findings about a log that is not the table of Moodle's standard log."""
    with open_moodle(settings) as database:
        if database.log is database and settings.moodle_log_table is None:
            return
        if database.log is not database:
            yield fine("Log database", f"{database.log.dialect} answers")
            yield lag(database, time.time())
            yield same_site(database)
        yield same_rows(database)
        yield from same_as_stored(settings, database)


def columns(database: MoodleDatabase) -> Iterator[Finding]:
    """Whether the account may read every column of the log, if an administrator made its table."""
    log = database.log
    if log is database and log.name(LOG) == database.prefix + LOG:
        return
    missing = [name for name in MOODLE_LOG.schema.names if name not in log.columns(LOG)]
    if not missing:
        yield fine("Log columns", "every column of the log can be read")
        return
    yield broken(
        "Log columns",
        f"the account of {log.setting} cannot read {', '.join(missing)} of the table "
        f"{log.name(LOG)}, or the table lacks them: no hour can be read.",
        " ".join(log.grants([LOG])) if log.dialect != "sqlite" else "",
    )


def lag(database: MoodleDatabase, now: float) -> Finding:
    """Whether the database of names and grades is as new as the log."""
    found = replica.look(database, now)
    if not database.replica_wait:
        return fine("Replica", "MOODLE_REPLICA_WAIT is 0, so no log row waits for one")
    if found.newest is None:
        return warn(
            "Replica",
            "it is not known how new the database of MOODLE_DB_URL is: the account can read none "
            "of the times that Moodle writes there. If it is a replica that lags, events lack "
            "names.",
            f"Let the account read {database.name('user')}, {database.name('task_scheduled')} and "
            f"{database.name('config_plugins')}; set MOODLE_REPLICA_WAIT=0 if it is no replica.",
        )
    if not found.newest:
        return warn(
            "Replica",
            "in the database of MOODLE_DB_URL no user was ever seen: it is empty, or is being "
            f"restored. Log rows wait for it, at most MOODLE_REPLICA_WAIT={database.replica_wait} "
            "hours.",
            "Let the restore end, or correct MOODLE_DB_URL.",
        )
    when = datetime.fromtimestamp(found.newest, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    rows = _newer_rows(database, found.until, now)
    if now - found.newest <= _LAG_SECONDS or not rows:
        return fine("Replica", f"the newest change in the database of MOODLE_DB_URL is of {when}")
    return warn(
        "Replica",
        f"the newest change in the database of MOODLE_DB_URL is of {when}, and log rows are newer: "
        f"they wait for it, at most MOODLE_REPLICA_WAIT={database.replica_wait} hours.",
        "Let the replica catch up. If it is no replica, see that Moodle's cron runs every minute, "
        "or set MOODLE_REPLICA_WAIT=0.",
    )


def _newer_rows(database: MoodleDatabase, until: int | None, now: float) -> bool:
    statement = sa.text(
        f"SELECT MIN(timecreated) FROM {database.log.quoted(LOG)} "
        "WHERE timecreated > :until AND timecreated <= :now"
    )
    ((first,),) = database.log.execute(statement, until=until or int(now), now=int(now))
    return first is not None


def same_site(database: MoodleDatabase) -> Finding:
    """Whether the contexts of the newest log rows are those of the database.

    A context has the same id, level and instance in both, or the log is another site's. Contexts
    that are gone, or newer than a replica, say nothing.
    """
    statement = (
        f"SELECT contextid, contextlevel, contextinstanceid FROM {database.log.quoted(LOG)} "
        f"ORDER BY id DESC LIMIT {_ROWS}"
    )
    logged = {
        int(id_): (level, instance)
        for id_, level, instance in database.log.execute(sa.text(statement))
        if id_ is not None
    }
    names = ("id", "contextlevel", "instanceid")
    records = database.records("context", names, {"id": logged})
    found = {row["id"]: (row["contextlevel"], row["instanceid"]) for row in records}
    other = [id_ for id_ in found if found[id_] != logged[id_]]
    if 2 * len(other) <= len(found):
        text = "the log and the database have the same contexts"
        return fine("Log of the site", text if found else "nothing in the log contradicts it")
    return broken(
        "Log of the site",
        f"the log of {database.log.setting} is not of the site whose database MOODLE_DB_URL names: "
        f"{len(other)} of {len(found)} contexts of its newest rows are others there.",
        "Let both name databases of the same Moodle.",
    )


def same_rows(database: MoodleDatabase) -> Finding:
    """Whether rows have the ids that they have in Moodle's standard log, if that is there too."""
    subject, standard = "Log ids", database.standard_log()
    if standard is None:
        return fine(subject, "Moodle's standard log is not beside it")
    statement = f"SELECT {', '.join(_SAME_ROW)} FROM {standard} ORDER BY id DESC LIMIT {_ROWS}"
    rows = _by_id(database.execute(sa.text(statement)))
    if not rows:
        return fine(subject, "Moodle's standard log is empty")
    if _has_any(database, rows):
        return fine(subject, "rows have the same ids as in Moodle's standard log")
    return warn(
        subject,
        f"rows have other ids in {database.log.name(LOG)} than in Moodle's standard log, which is "
        "there too: the ids of events are made of them.",
        "Stay with one of the two logs. A site whose events were sent from the other one would "
        "send them again, under ids that other events have already.",
    )


def same_as_stored(settings: Settings, database: MoodleDatabase) -> Iterator[Finding]:
    """Whether the stored hours were read from this log."""
    store = open_store(settings)
    for hour in islice(sorted(store.hour_sizes(MOODLE_LOG), reverse=True), _HOURS):
        try:
            stored = store.read(MOODLE_LOG, [hour], list(_SAME_ROW))
        except StorageError:
            continue  # The checks of the storage tell of it.
        if not stored.num_rows:
            continue
        rows = _by_id(tuple(row.values()) for row in stored.slice(0, _ROWS).to_pylist())
        if _has_any(database, rows):
            yield fine("Stored log", "the stored hours were read from this log")
            return
        if count_rows(database, HourRange(hour, hour + 1))[hour]:
            yield _another_log(hour)
            return


def _another_log(hour: Hour) -> Finding:
    return broken(
        "Stored log",
        f"the hour {hour} was read from another log: none of its rows is in this one, which has "
        "others. Their events would get ids that other events have already.",
        "Set MOODLE_LOG_DB_URL and MOODLE_LOG_TABLE as they were. To begin anew with this log, "
        "take another CALIPER_SITE_ID, CALIPER_STORAGE and ledger, and set CALIPER_START to the "
        "first hour that was not sent.",
    )


def _by_id(rows: Iterable[Iterable[Any]]) -> dict[int, tuple[Any, ...]]:
    return {int(id_): tuple(others) for id_, *others in rows}


def _has_any(database: MoodleDatabase, rows: Mapping[int, tuple[Any, ...]]) -> bool:
    """Whether the log has one of the rows under its id."""
    found = database.log.records(LOG, _SAME_ROW, {"id": rows})
    here = _by_id(row.values() for row in found)
    return any(rows[id_] == here[id_] for id_ in here)
