"""Writes a sample site into a file: the entry point of this package."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import SECONDS, Hour, HourRange
from caliper_dagster.embedded.sample.journal import EVENT_NAMES, Journal
from caliper_dagster.embedded.sample.schema import index_statements, table_statements
from caliper_dagster.embedded.sample.site import WWWROOT, SiteBuilder
from caliper_dagster.embedded.sample.tables import Tables
from caliper_dagster.embedded.sample.traffic import SHOWCASE_HOURS, Traffic
from caliper_dagster.embedded.sample.work import Assignments, Forums, Gradebook, Quizzes

_SHARE_BEFORE_JSON = 0.75
_FAST_PRAGMAS = ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE")


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """The content of a sample file.

    Attributes:
        path: the file.
        wwwroot: the site's address, for ``MOODLE_WWWROOT``.
        prefix: the table prefix, for ``MOODLE_DB_PREFIX``.
        users: rows of ``user``, with teachers, staff, guest, administrator and deleted users.
        courses: rows of ``course`` without the front page.
        rows: log rows by event name, for all names of the sample.
        hours: all hours with log rows; the first and the last may be incomplete.
        dangling: ids of deleted rows by table, to which log rows may refer. As in Moodle, only
            deleted users keep their row.
    """

    path: Path
    wwwroot: str
    prefix: str
    users: int
    courses: int
    rows: Mapping[str, int]
    hours: HourRange
    dangling: Mapping[str, tuple[int, ...]]

    @property
    def total(self) -> int:
        """All log rows."""
        return sum(self.rows.values())

    @property
    def first_hour(self) -> Hour:
        """The first hour with log rows."""
        return self.hours.start


def write_sample(
    path: str | os.PathLike[str],
    *,
    students: int = 200,
    hours: int = 48,
    seed: int = 1,
    end: datetime | Hour | None = None,
    prefix: str = "mdl_",
    overwrite: bool = False,
) -> SampleSummary:
    """Write a SQLite file with the tables and rows of a Moodle 4.5 site in use.

    The same arguments give the same rows. The file appears when it is complete, or not at all.

    Args:
        path: the file; its folder must exist.
        students: number of students. The numbers of courses and teachers and the traffic follow
            from it; a student makes about 30 log rows a day.
        hours: length of the log in hours.
        seed: seed of all random decisions.
        end: end of the log, exclusive: a datetime with time zone, or an hour, which means its
            start; by default now.
        prefix: table prefix (``$CFG->prefix``).
        overwrite: whether to replace an existing file.

    Raises:
        ConfigurationError: an argument is invalid, the file exists already, or it cannot be
            written.
    """
    target = Path(path)
    stop = _second(end)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _check(target, students, hours, prefix, overwrite)
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(part, isolation_level=None)) as connection:
            summary = _write(connection, target, students, hours, seed, stop, prefix)
        part.replace(target)
    except (OSError, sqlite3.OperationalError) as error:
        raise ConfigurationError(f"The sample cannot be written to {target}: {error}.") from None
    finally:
        _discard(part)
    return summary


def _check(target: Path, students: int, hours: int, prefix: str, overwrite: bool) -> None:
    if students < 1 or hours < 1:
        raise ConfigurationError("A sample needs at least one student and one hour.")
    if not re.fullmatch(r"[A-Za-z0-9_]*", prefix):
        raise ConfigurationError(
            f"The table prefix may contain letters, digits and underscores only, not {prefix!r}."
        )
    if target.is_dir():
        raise ConfigurationError(f"The sample cannot be written to {target}: it is a folder.")
    if target.exists() and not overwrite:
        raise ConfigurationError(
            f"{target} exists already: the sample replaces it only with the option to overwrite."
        )
    if not target.parent.is_dir():
        raise ConfigurationError(
            f"The sample cannot be written to {target}: the folder {target.parent} does not exist."
        )


def _second(end: datetime | Hour | None) -> int:
    if isinstance(end, Hour):
        return end.start
    moment = datetime.now(UTC) if end is None else end
    if moment.tzinfo is None:
        raise ConfigurationError(f"The end of a sample needs a time zone: {moment} has none.")
    return int(moment.timestamp())


def _discard(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # the folder cannot be written to, so there is nothing to remove
        return


def _write(
    connection: sqlite3.Connection,
    target: Path,
    students: int,
    hours: int,
    seed: int,
    end: int,
    prefix: str,
) -> SampleSummary:
    start = end - hours * SECONDS
    # Deletions happen in the last third of the showcase's hours, after the showcase itself.
    deleted_at = end - min(hours, SHOWCASE_HOURS) * SECONDS // 3
    for pragma in _FAST_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")
    for statement in table_statements(prefix):
        connection.execute(statement)
    tables = Tables(connection, prefix)
    builder = SiteBuilder(tables, Random(f"site {seed}"), start, deleted_at)  # noqa: S311
    site = builder.build(students)
    rng = Random(f"traffic {seed}")  # noqa: S311 - not a secret
    journal = Journal(tables, end, start + int(hours * SECONDS * _SHARE_BEFORE_JSON))
    gradebook = Gradebook(tables)
    quizzes = Quizzes(tables, journal, rng, gradebook, end)
    assignments = Assignments(tables, rng, gradebook)
    # A random order of its own, so that replies change nothing else.
    forums = Forums(tables, Random(f"forums {seed}"))  # noqa: S311 - not a secret
    Traffic(site, tables, journal, quizzes, assignments, forums, rng, start, end, deleted_at).run()
    quizzes.finish()
    assignments.finish()
    forums.finish(site)
    gradebook.finish()
    builder.write_users(site)
    tables.flush()
    for statement in index_statements(prefix):
        connection.execute(statement)
    connection.execute("COMMIT")
    return SampleSummary(
        path=target,
        wwwroot=WWWROOT,
        prefix=prefix,
        users=len(site.users),
        courses=len(site.courses),
        rows={name: journal.counts[name] for name in EVENT_NAMES},
        hours=HourRange.covering(Hour(number) for number in journal.hours),
        dangling={table: tuple(ids) for table, ids in sorted(tables.deleted_ids.items())},
    )
