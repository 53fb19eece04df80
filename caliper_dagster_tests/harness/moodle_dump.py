"""The database of the real Moodle site, and its copy in PostgreSQL.

The dump is MariaDB's. Its PostgreSQL twin is made here, table by table, with the types that Moodle
itself gives these columns in PostgreSQL.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pyarrow as pa
import pymysql
import sqlalchemy as sa

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import split_by_hour
from caliper_dagster.expander import LogPlace, MoodleDatabase, expand, read_log
from caliper_dagster.translator import Translator
from caliper_dagster_tests.harness.paths import DUMP
from caliper_dagster_tests.harness.servers import Server

DUMP_SITE = "http://127.0.0.1:8088"
DUMP_HOURS = HourRange(Hour.from_key("2026-03-24-05:00"), Hour.from_key("2026-03-29-02:00"))
"""All hours of the real site's log: 31,101 rows, 93 of the hours have some."""

LOG_TABLE = "mdl_logstore_standard_log"


def load_dump(database_url: str, dump: Path = DUMP) -> None:
    """Load the dump into an empty MariaDB database."""
    with closing(_mariadb(database_url)) as connection, connection.cursor() as cursor:
        for statement in _statements(dump):
            cursor.execute(statement)


def _statements(dump: Path) -> Iterator[str]:
    """The statements of a dump of mariadb-dump, which writes no line end inside a string."""
    with gzip.open(dump, "rt", encoding="utf-8", newline="\n") as lines:
        statement: list[str] = []
        for line in lines:
            if not statement and line.startswith(("--", "/*M!", "\n")):
                continue
            statement.append(line)
            if line.endswith(";\n"):
                yield "".join(statement)
                statement.clear()


@dataclass(frozen=True)
class Column:
    """A column as MariaDB's catalogue describes it."""

    name: str
    data_type: str
    length: int | None
    precision: int | None
    scale: int | None
    nullable: bool

    def definition(self) -> str:
        """The column in PostgreSQL's words."""
        kind = {
            "bigint": "bigint",
            "int": "integer",
            "mediumint": "integer",
            "smallint": "smallint",
            "tinyint": "smallint",
            "varchar": f"varchar({self.length})",
            "longtext": "text",
            "decimal": f"numeric({self.precision},{self.scale})",
            "double": "double precision",
            "float": "double precision",
        }[self.data_type]
        return f'"{self.name}" {kind}' + ("" if self.nullable else " NOT NULL")


def copy_to_postgres(
    mariadb_url: str, postgres_url: str, names: Mapping[str, str] | None = None
) -> None:
    """Copy the tables of a Moodle database from MariaDB into an empty PostgreSQL database.

    Args:
        mariadb_url: where they are.
        postgres_url: where they come.
        names: the tables to copy, with the name of each copy; by default all, as they are.
    """
    plain_url = sa.make_url(postgres_url).set(drivername="postgresql")
    target = psycopg2.connect(plain_url.render_as_string(hide_password=False))
    with (
        closing(_mariadb(mariadb_url)) as source,
        closing(target),
        target,
        source.cursor() as read,
        target.cursor() as write,
    ):
        tables = _tables(read)
        copies = names or {table: table for table in tables}
        for table, copy in copies.items():
            definitions = ", ".join(column.definition() for column in tables[table])
            write.execute(f'CREATE TABLE "{copy}" ({definitions}, PRIMARY KEY (id))')
            columns = ", ".join(f"`{column.name}`" for column in tables[table])
            read.execute(f"SELECT {columns} FROM `{table}` ORDER BY id")
            write.copy_expert(f'COPY "{copy}" FROM STDIN', _copy_text(read.fetchall()))
        for index in sa.inspect(sa.create_engine(mariadb_url)).get_indexes(LOG_TABLE):
            columns = ", ".join(str(name) for name in index["column_names"])
            write.execute(f"CREATE INDEX {index['name']} ON {copies[LOG_TABLE]} ({columns})")
        write.execute("ANALYZE")


def copy_log_to_mariadb(
    administrator: Server, mariadb_url: str, target_url: str, name: str
) -> None:
    """Copy the log of a Moodle database in MariaDB into another database of the same server."""
    source, target = (sa.make_url(url).database for url in (mariadb_url, target_url))
    administrator.execute(
        f"CREATE TABLE {target}.{name} LIKE {source}.{LOG_TABLE}",
        f"INSERT INTO {target}.{name} SELECT * FROM {source}.{LOG_TABLE}",
    )


def _mariadb(url: str) -> pymysql.Connection:
    """A connection that leaves every value as the text that the server sends."""
    parts = sa.make_url(url)
    return pymysql.connect(
        host=parts.host,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.database,
        charset="utf8mb4",
        autocommit=True,
        conv={},
    )


def _tables(cursor: pymysql.cursors.Cursor) -> dict[str, list[Column]]:
    cursor.execute(
        "SELECT table_name, column_name, data_type, character_maximum_length, numeric_precision, "
        "numeric_scale, is_nullable = 'YES' FROM information_schema.columns "
        "WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position"
    )
    tables: dict[str, list[Column]] = {}
    for table, name, data_type, length, precision, scale, nullable in cursor.fetchall():
        column = Column(name, data_type, length, precision, scale, nullable == "1")
        tables.setdefault(table, []).append(column)
    return tables


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _copy_text(rows: Sequence[Sequence[str | None]]) -> io.StringIO:
    """Rows in the text format of COPY."""
    return io.StringIO(
        "".join(
            "\t".join(r"\N" if value is None else value.translate(_ESCAPES) for value in row) + "\n"
            for row in rows
        )
    )


def expand_dump(url: str, log_place: LogPlace | None = None) -> pa.Table:
    """All rows of the real site's log, expanded together."""
    with MoodleDatabase.open(url, log=log_place) as database:
        log = pa.concat_tables(table for _, table in read_log(database, DUMP_HOURS))
        return expand(database, log.unify_dictionaries())


def dump_events(url: str) -> list[tuple[Hour, pa.Table]]:
    """All hours of the real site's log with their ``CALIPER_EVENTS`` tables."""
    return list(split_by_hour(Translator(DUMP_SITE).translate(expand_dump(url)), list(DUMP_HOURS)))
