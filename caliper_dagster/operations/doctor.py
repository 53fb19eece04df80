"""The doctor: checks everything that a run needs, and reports problems before a run meets them.

The checks change nothing, except the modes of files when that is asked for: they read the database,
request the configuration of the event store without sending events, and write a file of a few bytes
to the storage and remove it again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from caliper_dagster.config.connections import open_ledger, open_moodle, open_store
from caliper_dagster.config.declaration import secret_of
from caliper_dagster.config.event_stores import EventStoreDefinition, require_event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core import file_modes
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.hours import LAST_TIME, Hour
from caliper_dagster.core.partition_store import DigestCounts
from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.core.site_identity import SiteIdentity
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.automation import automation_of, describe
from caliper_dagster.dagster.instance.open import HOME, open_instance
from caliper_dagster.delivery.revisions import (
    OlderEvents,
    hours_of_older_facts,
    older_events,
)
from caliper_dagster.emitter.envelopes import context_iri
from caliper_dagster.expander import MoodleDatabase, required_tables

LOG = "logstore_standard_log"

_DAY = 86_400
_CLOCK_TOLERANCE = 120
_ROWS_SAMPLED = 500
_ROWS_SEARCHED = 10_000
_HOURS_NAMED = 5
_WRITE_PRIVILEGES = ("ALL PRIVILEGES", "INSERT", "UPDATE", "DELETE", "DROP", "CREATE", "ALTER")


class Verdict(Enum):
    """The severity of a finding."""

    FINE = "ok"
    WARNING = "warn"
    BROKEN = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the checklist.

    Attributes:
        site: the name of the site; None for a single site, or for all sites together.
    """

    verdict: Verdict
    subject: str
    text: str
    site: str | None = None


def examine(sites: Iterable[Settings], *, fix_modes: bool = False) -> Iterator[Finding]:
    """Check everything, site by site, in the order in which a log row passes through it.

    Args:
        sites: the settings of each site.
        fix_modes: also take the right to read stored files from other accounts.
    """
    sites = tuple(sites)
    reported: set[str] = set()
    for settings in sites:
        for finding in _examine(settings):
            reported.add(finding.text)
            yield replace(finding, site=settings.site)
    modes = partial(_file_modes, sites, fix=fix_modes)
    shared: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...]
    shared = ("Dagster", _dagster), ("File modes", modes)
    for subject, look in shared:
        yield from _unreported(_guarded(subject, look), reported)
    for settings in sites:
        look = partial(_automation, settings)
        for finding in _unreported(_guarded("Automation", look), reported):
            yield replace(finding, site=settings.site)


def _examine(settings: Settings) -> Iterator[Finding]:
    """The findings about one site."""
    reported: set[str] = set()
    for subject, look in (
        ("Site address", _site),
        ("Moodle database", _moodle),
        ("Event store", _event_stores),
        ("Storage", _storage),
        ("Ledger", _ledger),
        ("Mapping", _mapping),
    ):
        yield from _unreported(_guarded(subject, partial(look, settings)), reported)


def _unreported(findings: Iterable[Finding], reported: set[str]) -> Iterator[Finding]:
    """The findings without errors that were reported: what several checks meet is one finding."""
    for finding in findings:
        if finding.verdict is not Verdict.BROKEN or finding.text not in reported:
            yield finding
            reported.add(finding.text)


def _guarded(subject: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check up to its first error, which is a finding too."""
    try:
        yield from look()
    except CaliperDagsterError as error:
        yield Finding(Verdict.BROKEN, subject, str(error))
    except Exception as error:
        # One broken subject must not hide the others. The text of a foreign error may hold secrets.
        kind = type(error).__name__
        yield Finding(Verdict.BROKEN, subject, f"could not be checked: an unexpected {kind}")


def _fine(subject: str, text: str) -> Finding:
    return Finding(Verdict.FINE, subject, text)


def _warn(subject: str, text: str) -> Finding:
    return Finding(Verdict.WARNING, subject, text)


def _site(settings: Settings) -> Iterator[Finding]:
    identity = settings.identity()
    moved = identity.site_id != identity.address
    suffix = f"; ids of events are made of {identity.site_id}" if moved else ""
    yield _fine("Site address", f"{identity.address}{suffix}")


def _moodle(settings: Settings) -> Iterator[Finding]:
    with open_moodle(settings) as database:
        yield _fine("Moodle database", f"{database.dialect} answers")
        yield _fine("Tables", f"the log is in {settings.moodle_db_prefix}{LOG}")
        yield from _grants(database)
        yield _account(database)
        yield _index(database)
        yield _times(database)
        yield from _newest(database)
        yield _formats(database)


def _grants(database: MoodleDatabase) -> Iterator[Finding]:
    """Whether the account may read what this Moodle must have, and the newest log rows refer to."""
    missing = required_tables.missing_tables(database, _newest_loaders(database))
    if missing.denied:
        yield Finding(
            Verdict.BROKEN,
            "Grants",
            f"the account cannot read {_tables(database, missing.denied)}: events would lack "
            f"names, roles or scores. {' '.join(database.grants(missing.denied))}",
        )
    if missing.absent:
        yield Finding(
            Verdict.BROKEN,
            "Tables",
            f"the database has no {_tables(database, missing.absent)}, which this Moodle must "
            "have; a replica that leaves tables out on purpose names them in MOODLE_DB_WITHOUT="
            f"{','.join(sorted({*database.without, *missing.absent}))}",
        )
    if missing.of_objects:
        yield _warn(
            "Grants",
            f"log rows refer to {_tables(database, missing.of_objects)}, which the account cannot "
            "read, if they exist: events lack the names in them. "
            f"{' '.join(database.grants(missing.of_objects))}",
        )
    if missing == required_tables.MissingTables():
        yield _fine("Grants", "every table that events are made of can be read")


def _newest_loaders(database: MoodleDatabase) -> set[required_tables.Loader]:
    columns = ("eventname", "objecttable")
    if not database.columns(LOG).issuperset(columns):
        return set()
    statement = (
        f"SELECT {', '.join(columns)} FROM {database.quoted(LOG)} "
        f"ORDER BY id DESC LIMIT {_ROWS_SEARCHED}"
    )
    rows = {(row[0] or "", row[1] or "") for row in database.execute(sa.text(statement))}
    return required_tables.loaders_of(rows)


def _tables(database: MoodleDatabase, tables: Iterable[str]) -> str:
    return ", ".join(database.prefix + table for table in tables)


def _account(database: MoodleDatabase) -> Finding:
    """Whether the account may write: this project never does, but a leaked password could."""
    if _may_write(database):
        return _warn(
            "Account",
            "may write to Moodle's database; use an account in MOODLE_DB_URL that may only SELECT",
        )
    return _fine("Account", "may only read")


def _may_write(database: MoodleDatabase) -> bool:
    if database.dialect == "mysql":
        grants = [str(row[0]).upper() for row in database.execute(sa.text("SHOW GRANTS"))]
        privileges = [
            privilege
            for grant in grants
            for privilege in grant.removeprefix("GRANT ").partition(" ON ")[0].split(", ")
        ]
        return any(privilege.startswith(_WRITE_PRIVILEGES) for privilege in privileges)
    if database.dialect == "postgresql":
        statement = sa.text("SELECT has_table_privilege(:log, 'INSERT, UPDATE, DELETE')")
        return bool(database.execute(statement, log=database.quoted(LOG))[0][0])
    return False


def _index(database: MoodleDatabase) -> Finding:
    """Whether the database finds hours by an index; otherwise it scans the log for every hour."""
    if _uses_index(database):
        return _fine("Index", "the database finds hours by an index on timecreated")
    return _warn(
        "Index",
        f"the query planner uses no index on timecreated of {LOG}: restore the index that Moodle "
        "creates, or every run scans the whole log",
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
        return _fine("Times", "`timecreated` of all log rows is a time")
    return _warn(
        "Times",
        f"`timecreated` of {plural(int(number), 'log row')} (ids {first} to {last}) is no Unix "
        "time in seconds: these rows are in no hour, so they are not sent",
    )


def _newest(database: MoodleDatabase) -> Iterator[Finding]:
    statement = sa.text(
        f"SELECT MAX(timecreated) FROM {database.quoted(LOG)} WHERE timecreated <= :last"
    )
    newest = database.execute(statement, last=LAST_TIME)[0][0]
    if newest is None:
        yield _warn("Newest log row", "the log is empty; is the standard log store enabled?")
        return
    age = time.time() - int(newest)
    when = datetime.fromtimestamp(int(newest), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if age > _DAY:
        yield _warn(
            "Newest log row",
            f"{when}, {plural(round(age / _DAY), 'day')} ago: does Moodle still log?",
        )
    else:
        yield _fine("Newest log row", when)
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
        return _warn(
            "Clock", f"the clock of the database differs by {difference:+.0f} s from this machine"
        )
    if ahead > _CLOCK_TOLERANCE:
        return _warn("Clock", f"the newest log row is {ahead:.0f} s in the future")
    return _fine("Clock", "the clocks of the database and of this machine agree")


def _formats(database: MoodleDatabase) -> Finding:
    statement = f"SELECT other FROM {database.quoted(LOG)} ORDER BY id DESC LIMIT {_ROWS_SAMPLED}"
    texts = [str(row[0] or "").strip() for row in database.execute(sa.text(statement))]
    formats = sorted({_format(text) for text in texts} - {""})
    if not formats:
        return _fine("Event data", "the newest log rows have no event data in `other`")
    return _fine("Event data", f"`other` is stored as {' and '.join(formats)}")


def _format(other: str) -> str:
    if other in {"", "N;", "null"}:
        return ""
    return "JSON" if other[0] in '{["' else "PHP serialize"


def _event_stores(settings: Settings) -> Iterator[Finding]:
    for store in require_event_stores(settings):
        subject = f"Event store {store.name}" if store.name else "Event store"
        try:
            yield from _event_store(store, subject)
        except CaliperDagsterError as error:
            yield Finding(Verdict.BROKEN, subject, store.sentence(error))


def _event_store(store: EventStoreDefinition, subject: str) -> Iterator[Finding]:
    suffix = f" {store.name}" if store.name else ""
    with store.open() as endpoint:
        offered = endpoint.limits()
        if offered is None:
            yield _warn(subject, f"{endpoint.address} answers, but does not describe itself")
        else:
            yield _fine(subject, f"{endpoint.address} answers")
        if store.has_key():
            yield _fine(f"Key{suffix}", "not refused")
        else:
            what = f"{subject} has no api_key" if store.name else "CALIPER_API_KEY is not set"
            yield _warn(f"Key{suffix}", f"{what}; the event store answers without a key")
        if offered and context_iri(store.caliper_version) not in offered.versions:
            where = "its caliper_version" if store.name else "CALIPER_VERSION"
            yield _warn(
                f"Caliper version{suffix}",
                f"the event store does not list {store.caliper_version} among its versions; "
                f"check {where}",
            )


def _storage(settings: Settings) -> Iterator[Finding]:
    storage = open_store(settings)
    storage.probe()
    yield _fine("Storage", "can be written to")
    yield _digests(storage.digest_counts())


def _digests(counts: DigestCounts) -> Finding:
    """How many stored hours are read without a check. Nothing has to be done about them."""
    if not counts.files:
        return _fine("Digests", "no hour is stored yet")
    of_files = plural(counts.files, "file")
    if counts.examined < counts.files:
        of_files = f"the newest {counts.examined:,} of {of_files}"
    if not counts.without:
        return _fine("Digests", f"every one of {of_files} carries a digest")
    return _fine(
        "Digests",
        f"{counts.without:,} of {of_files} have none, because an earlier release wrote them; "
        "damage to those can go unnoticed. A file gets one when its hour is materialized again",
    )


def _ledger(settings: Settings) -> Iterator[Finding]:
    with open_ledger(settings):
        yield _fine("Ledger", "answers")


def _file_modes(sites: Sequence[Settings], *, fix: bool) -> Iterator[Finding]:
    """Whether other accounts of this machine may read what is stored in its folders."""
    subject = "File modes"
    found = {path for root in _roots(sites) for path in file_modes.too_open(root)}
    if fix:
        for path in found:
            try:
                file_modes.close(path)
            except OSError:
                yield _warn(subject, f"{path} belongs to another account, which must change it")
        yield _fine(subject, f"{plural(len(found), 'file or folder', 'files and folders')} closed")
    elif found:
        yield _warn(
            subject,
            f"other accounts may read {plural(len(found), 'file or folder', 'files and folders')}, "
            f"such as {min(found)}; `doctor --fix-modes` changes that",
        )
    else:
        yield _fine(subject, "no other account may read what is stored")


def _roots(sites: Sequence[Settings]) -> Iterator[Path]:
    """The local folders and files that hold personal data, as far as they exist."""
    places = [settings.storage_url() for settings in sites]
    places += [place.removeprefix("sqlite:///") for place in (site.ledger() for site in sites)]
    places.append(os.environ.get(HOME, ""))
    for place in dict.fromkeys(place.removeprefix("file://") for place in places if place):
        if "://" not in place and Path(place).exists():
            yield Path(place).absolute()


def _mapping(settings: Settings) -> Iterator[Finding]:
    """What was sent and stored under older revisions of the mapping, and how to renew it."""
    mixed: set[Hour] = set()
    for store in require_event_stores(settings):
        subject = f"Mapping {store.name}" if store.name else "Mapping"
        older = older_events(settings, store)
        mixed.update(older.mixed)
        yield _fine(subject, _older_events(older, settings.identity()))
    old = list(hours_of_older_facts(settings, mixed))
    if old:
        yield _warn(
            "Expanded rows",
            f"{_hours(old)} hold rows that an older release expanded beside newer ones; "
            "`backfill --fresh` over these hours expands all their rows anew",
        )


def _older_events(older: OlderEvents, identity: SiteIdentity) -> str:
    if not older.total:
        return f"revision {MAPPING_REVISION}, also of everything that was acknowledged"
    mixed = f"; it has events of several revisions in {_hours(older.mixed)}" if older.mixed else ""
    moved = identity.site_id != identity.address
    made = "an older revision or another address" if moved else "an older revision"
    return (
        f"revision {MAPPING_REVISION}; the event store has {plural(older.total, 'event')} in "
        f"{plural(len(older.counts), 'hour')} as {made} made them. The new content of "
        "these events is sent only by `resend --changed` or with CALIPER_RESEND_CHANGED=true, and "
        f"an event store that does not de-duplicate by id then holds both{mixed}"
    )


def _hours(hours: Sequence[Hour]) -> str:
    named = ", ".join(map(str, hours[:_HOURS_NAMED]))
    more = ", …" if len(hours) > _HOURS_NAMED else ""
    return f"{plural(len(hours), 'hour')} ({named}{more})"


def _automation(settings: Settings) -> Iterator[Finding]:
    """Whether the site's hours are taken without a person."""
    if not os.environ.get(HOME):
        return  # Reported by `_dagster`.
    with open_instance() as instance:
        found = automation_of(instance, settings)
    # Where events are sent immediately, the sensor takes every hour.
    needed = [one for one in found if one.kind == "sensor" or not settings.send_immediately]
    tell = _fine if all(one.is_on for one in needed) else _warn
    yield tell("Automation", describe(found, settings))


def _dagster() -> Iterator[Finding]:
    if not os.environ.get(HOME):
        yield _warn("Dagster", f"{HOME} is not set; `translate` works, `backfill` needs it")
        return
    slow: list[str] = []
    with open_instance(slow.append):
        kind = "PostgreSQL" if secret_of("DAGSTER_POSTGRES_URL") else "SQLite"
        yield _fine("Dagster", f"stores its runs in {kind}, home {Path(os.environ[HOME])}")
    yield from (_warn("Dagster", sentence) for sentence in slow)
