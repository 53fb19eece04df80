"""Moodle's database and its log: whether it can be read, wholly and fast."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import sqlalchemy as sa

from caliper_dagster.config.connections import open_moodle
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import LAST_TIME
from caliper_dagster.core.wording import plural
from caliper_dagster.expander import LOG, MoodleDatabase, required_tables
from caliper_dagster.expander.write_rights import WriteRights, write_rights
from caliper_dagster.operations.doctor import moodle_log
from caliper_dagster.operations.doctor.findings import Finding, broken, fine, warn

_DAY = 86_400
_CLOCK_TOLERANCE = 120
_ROWS_SAMPLED = 500
_ROWS_SEARCHED = 10_000
_TABLES_NAMED = 3


def database(settings: Settings) -> Iterator[Finding]:
    """The findings about the database, as far as it is not `moodle_site` that asks."""
    with open_moodle(settings) as opened:
        yield fine("Moodle database", f"{opened.dialect} answers")
        yield fine("Tables", f"the log is in {opened.log.name(LOG)}")
        yield from moodle_log.columns(opened)
        yield from grants(opened)
        yield account(opened)
        if opened.log is not opened:
            yield account(opened.log)
        yield index(opened.log)
        yield _times(opened.log)
        yield from newest(opened.log)
        yield formats(opened.log)


def grants(database: MoodleDatabase) -> Iterator[Finding]:
    """Whether the account may read what this Moodle must have, and the newest log rows refer to."""
    missing = required_tables.missing_tables(database, _newest_loaders(database))
    if missing.denied:
        yield broken(
            "Grants",
            f"the account cannot read {_tables(database, missing.denied)}: events would lack "
            "names, roles or scores, so runs stop.",
            " ".join(database.grants(missing.denied)),
        )
    if missing.absent:
        yield broken(
            "Tables",
            f"the database has no {_tables(database, missing.absent)}, which this Moodle must "
            "have.",
            "A replica that leaves tables out on purpose names them in MOODLE_DB_WITHOUT="
            f"{','.join(sorted({*database.without, *missing.absent}))}",
        )
    if missing.of_objects:
        yield warn(
            "Grants",
            f"log rows refer to {_tables(database, missing.of_objects)}, which the account cannot "
            "read, if they exist: events lack the names in them.",
            " ".join(database.grants(missing.of_objects)),
        )
    if missing == required_tables.MissingTables():
        yield fine("Grants", "every table that events are made of can be read")


def _newest_loaders(database: MoodleDatabase) -> set[required_tables.Loader]:
    columns = ("eventname", "objecttable")
    log = database.log
    if not log.columns(LOG).issuperset(columns):
        return set()
    statement = (
        f"SELECT {', '.join(columns)} FROM {log.quoted(LOG)} "
        f"ORDER BY id DESC LIMIT {_ROWS_SEARCHED}"
    )
    rows = {(row[0] or "", row[1] or "") for row in log.execute(sa.text(statement))}
    return required_tables.loaders_of(rows)


def _tables(database: MoodleDatabase, tables: Iterable[str]) -> str:
    return ", ".join(database.prefix + table for table in tables)


def account(database: MoodleDatabase) -> Finding:
    """Whether the account may write: this project never does, but a leaked password could."""
    rights = write_rights(database)
    if not rights:
        return fine("Account", f"that of {database.setting} may only read")
    return warn(
        "Account",
        f"the account of {database.setting} may write to {_written(rights)}.",
        "Use an account that may only SELECT (docs/connect-moodle.md, The account): whoever "
        "gets hold of its password can then change nothing.",
    )


def _written(rights: WriteRights) -> str:
    if rights.everywhere:
        return "all tables of Moodle's database"
    named, more = rights.tables[:_TABLES_NAMED], len(rights.tables) - _TABLES_NAMED
    rest = f" and {plural(more, 'more table')}" if more > 0 else ""
    return f"{', '.join(named)}{rest}"


def index(database: MoodleDatabase) -> Finding:
    """Whether the database finds hours by an index; otherwise it scans the log for every hour."""
    if _uses_index(database):
        return fine("Index", "the database finds hours by an index on timecreated")
    return warn(
        "Index",
        f"the query planner uses no index on timecreated of {database.name(LOG)}: every run scans "
        "the whole log.",
        "Restore the index that Moodle creates: CREATE INDEX … ON "
        f"{database.quoted(LOG)} (timecreated).",
    )


def _uses_index(database: MoodleDatabase) -> bool:
    query = f"SELECT id FROM {database.quoted(LOG)} WHERE timecreated >= 0 AND timecreated < 3600"
    if database.dialect == "mysql":
        # Without its name, the format is the server's choice: MySQL 9 answers with a tree.
        plan = database.execute(sa.text(f"EXPLAIN FORMAT=TRADITIONAL {query}"))
        return any(getattr(row, "key", None) for row in plan)
    if database.dialect == "postgresql":
        # The planner scans small tables in spite of their indexes.
        database.execute(sa.text("SELECT set_config('enable_seqscan', 'off', true)"))
        plan = database.execute(sa.text(f"EXPLAIN {query}"))
        return any("Index Cond" in str(row[0]) for row in plan)
    plan = database.execute(sa.text(f"EXPLAIN QUERY PLAN {query}"))
    return any("USING" in str(row[-1]) and "timecreated" in str(row[-1]) for row in plan)


def _times(database: MoodleDatabase) -> Finding:
    """Whether log rows have times; those without are in no hour and are never sent."""
    statement = sa.text(
        f"SELECT COUNT(*), MIN(id), MAX(id) FROM {database.quoted(LOG)} "
        "WHERE timecreated < 0 OR timecreated > :last"
    )
    number, first, last = database.execute(statement, last=LAST_TIME)[0]
    if not number:
        return fine("Times", "`timecreated` of all log rows is a time")
    return warn(
        "Times",
        f"`timecreated` of {plural(int(number), 'log row')} (ids {first} to {last}) is no Unix "
        "time in seconds: these rows are in no hour, so they are not sent.",
        "Correct `timecreated` of these rows in Moodle's database, if their time is known.",
    )


def newest(database: MoodleDatabase) -> Iterator[Finding]:
    """Whether Moodle logs, and whether the clocks agree."""
    statement = sa.text(
        f"SELECT MAX(timecreated) FROM {database.quoted(LOG)} WHERE timecreated <= :last"
    )
    latest = database.execute(statement, last=LAST_TIME)[0][0]
    cure = (
        "Enable the standard log in Moodle: Site administration, Plugins, Logging, Manage log "
        "stores."
    )
    if latest is None:
        yield warn("Newest log row", "the log is empty: Moodle does not seem to log.", cure)
        return
    age = time.time() - int(latest)
    when = datetime.fromtimestamp(int(latest), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if age > _DAY:
        days = plural(round(age / _DAY), "day")
        yield warn(
            "Newest log row", f"{when}, {days} ago: Moodle does not seem to log any more.", cure
        )
    else:
        yield fine("Newest log row", when)
    yield _clock(database, ahead=-age)


def _clock(database: MoodleDatabase, ahead: float) -> Finding:
    """Whether the clocks agree: with a wrong clock or time zone, rows get into wrong hours."""
    statement = {
        "mysql": "SELECT UNIX_TIMESTAMP()",
        "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
        "sqlite": "SELECT strftime('%s', 'now')",
    }[database.dialect]
    difference = float(database.execute(sa.text(statement))[0][0]) - time.time()
    if abs(difference) > _CLOCK_TOLERANCE:
        return warn(
            "Clock",
            f"the clock of the database differs by {difference:+.0f} s from this machine's: rows "
            "of the last minutes of an hour may be missed until `late_rows` finds them.",
            "Set both clocks by NTP.",
        )
    if ahead > _CLOCK_TOLERANCE:
        return warn(
            "Clock",
            f"the newest log row is {ahead:.0f} s in the future.",
            "Set the clock of Moodle's web server, and that of this machine, by NTP.",
        )
    return fine("Clock", "the clocks of the database and of this machine agree")


def formats(database: MoodleDatabase) -> Finding:
    """How the event data of log rows is stored; both forms are read."""
    statement = f"SELECT other FROM {database.quoted(LOG)} ORDER BY id DESC LIMIT {_ROWS_SAMPLED}"
    texts = [str(row[0] or "").strip() for row in database.execute(sa.text(statement))]
    found = sorted({_format(text) for text in texts} - {""})
    if not found:
        return fine("Event data", "the newest log rows have no event data in `other`")
    return fine("Event data", f"`other` is stored as {' and '.join(found)}")


def _format(other: str) -> str:
    if other in {"", "N;", "null"}:
        return ""
    return "JSON" if other[0] in '{["' else "PHP serialize"
