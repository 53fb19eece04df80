"""Moodle databases made by hand: a few rows in the real tables, on SQLite or on any server."""

from __future__ import annotations

import json
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.mysql import LONGTEXT

from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG, RECORD
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.embedded.sample.schema import table_statements
from caliper_dagster.expander import MoodleDatabase, expand, read_log

HOUR = Hour.from_key("2026-01-31-14:00")
NOW = HOUR.start + 600

LOG_ROW = {
    "eventname": r"\core\event\course_viewed",
    "component": "core",
    "action": "viewed",
    "target": "course",
    "objecttable": None,
    "objectid": None,
    "crud": "r",
    "edulevel": 2,
    "contextid": 1,
    "contextlevel": 10,
    "contextinstanceid": 0,
    "userid": 0,
    "courseid": 0,
    "relateduserid": None,
    "anonymous": 0,
    "other": "N;",
    "timecreated": NOW,
    "origin": "web",
    "ip": "192.0.2.1",
    "realuserid": None,
}

_LONG = sa.Text().with_variant(LONGTEXT, "mysql")
_TEXT = {"eventname", "component", "action", "target", "objecttable", "crud", "origin", "ip"}


def server_tables(prefix: str) -> sa.MetaData:
    """Some of Moodle's tables for any server, among them those with reserved names."""
    metadata = sa.MetaData()
    sa.Table(
        f"{prefix}logstore_standard_log",
        metadata,
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        *(
            sa.Column(
                name,
                _LONG if name == "other" else sa.String(255) if name in _TEXT else sa.BigInteger,
            )
            for name in LOG_ROW
        ),
    )
    for table in ("user", "groups"):
        sa.Table(
            prefix + table,
            metadata,
            sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("name", sa.String(255)),
            sa.Column("order", sa.BigInteger),
            sa.Column("grade", sa.Numeric(10, 5)),
        )
    return metadata


def write(url: str, metadata: sa.MetaData, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows, in a transaction and over a connection of its own."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.insert(metadata.tables[table]), rows)


def log_rows(number: int, first: int = 1, **columns: object) -> list[dict[str, Any]]:
    """Log rows with ids in a row, alike but for that."""
    return [{"id": first + nth, **LOG_ROW, **columns} for nth in range(number)]


@cache
def _empty_site() -> bytes:
    """A database file with Moodle's tables."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in table_statements("mdl_"):
            connection.execute(statement)
        return connection.serialize()


class Site:
    """A Moodle site in a SQLite file, empty but for the rows that a test adds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        path.write_bytes(_empty_site())
        # Each new connection would read the hundred tables' definitions again.
        self._connection = sqlite3.connect(path)
        self._connection.execute("PRAGMA synchronous = OFF")
        weakref.finalize(self, self._connection.close)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connection:
            yield self._connection

    def execute(self, *statements: str) -> None:
        """Change the tables."""
        with self._writing() as connection:
            for statement in statements:
                connection.execute(statement)

    def add(self, table: str, *rows: Mapping[str, object]) -> None:
        """Add rows; columns that are not given get Moodle's defaults."""
        with self._writing() as connection:
            for row in rows:
                connection.execute(
                    f"INSERT INTO mdl_{table} ({', '.join(row)}) "
                    f"VALUES ({', '.join('?' * len(row))})",
                    tuple(row.values()),
                )

    def log(self, *rows: Mapping[str, object]) -> None:
        """Add log rows; what is not given is as in ``LOG_ROW``."""
        self.add("logstore_standard_log", *({**LOG_ROW, **row} for row in rows))

    def open(self) -> MoodleDatabase:
        return MoodleDatabase.open(self.url)

    def hours(self) -> HourRange:
        """The hours of all log rows."""
        with closing(sqlite3.connect(self.path)) as connection:
            times = connection.execute("SELECT timecreated FROM mdl_logstore_standard_log")
            return HourRange.covering(Hour.of(time) for (time,) in times.fetchall())

    def expand(self) -> list[dict[str, Any]]:
        """All log rows, expanded at once, with decoded records."""
        return decoded(expand_at_once(self.url, self.hours()))

    def expand_hour(self, time: int) -> list[dict[str, Any]]:
        """The log rows of the hour of a Unix time, expanded alone, with decoded records."""
        hour = Hour.of(time)
        return decoded(expand_at_once(self.url, HourRange(hour, hour + 1)))


def whole_log(database: MoodleDatabase, hours: HourRange) -> pa.Table:
    """The log of all hours as one table."""
    return pa.concat_tables(
        [MOODLE_LOG.empty(), *(table for _, table in read_log(database, hours))]
    ).unify_dictionaries()


def expand_at_once(url: str, hours: HourRange) -> pa.Table:
    """Expand all hours together."""
    with MoodleDatabase.open(url) as database:
        return expand(database, whole_log(database, hours))


def expand_by_the_hour(url: str, hours: HourRange) -> pa.Table:
    """Expand each hour for itself, on a connection of its own."""
    tables = [expand_at_once(url, HourRange(hour, hour + 1)) for hour in hours]
    return pa.concat_tables(tables).unify_dictionaries()


RECORDS = [
    column.name
    for column in EXPANDED_LOG.columns
    if column.type == RECORD and column.name not in set(MOODLE_LOG.schema.names) - {"other"}
]


def decoded(table: pa.Table) -> list[dict[str, Any]]:
    """Rows of ``EXPANDED_LOG`` with their records as values."""
    return [
        {
            name: json.loads(value) if name in RECORDS and value is not None else value
            for name, value in row.items()
        }
        for row in table.to_pylist()
    ]
