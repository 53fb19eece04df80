"""The connection to Moodle's database: read-only, one snapshot, queries by whole sets of keys.

The log may be in another database, which has a connection of its own (`MoodleDatabase.log`).

The lookups decide what is read. This module writes nothing and does not know what a table means.
Tables and columns that a Moodle version lacks read as empty. So do those that the account may not
read: ``required_tables`` tells the two apart.
"""

from __future__ import annotations

import codecs
import re
import socket
import sqlite3
import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg2
import psycopg2.extensions
import pyarrow as pa
import pymysql
import sqlalchemy as sa
from pymysql.constants import CR
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.sql.elements import TextClause

from caliper_dagster.core import postgres_deadlines
from caliper_dagster.core.database_url import require_encoded_account
from caliper_dagster.core.deadlines import Deadline
from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName, SourceError
from caliper_dagster.core.parts import in_parts
from caliper_dagster.core.postgres_deadlines import CONNECT_SECONDS, NoAnswer
from caliper_dagster.expander import bulk_read
from caliper_dagster.expander.snapshot import CONNECT_ARGUMENTS, begin_snapshots, limited

if TYPE_CHECKING:
    from caliper_dagster.expander.erasure import ErasedPersons
    from caliper_dagster.expander.replica import Replica

Record = dict[str, Any]

KEYS_PER_STATEMENT = 10_000
"""Keys in one ``IN (…)``: fewer than MySQL's range optimizer has memory for (8 MB)."""

ROWS_PER_FETCH = 10_000

_DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
}
_URL = SettingName("MOODLE_DB_URL")
_PREFIX = SettingName("MOODLE_DB_PREFIX")
_TIMEOUT = SettingName("MOODLE_DB_TIMEOUT")
_LOG_URL = SettingName("MOODLE_LOG_DB_URL")
_LOG_TABLE = SettingName("MOODLE_LOG_TABLE")
LOG = "logstore_standard_log"
"""The log, by the name that Moodle gives it."""
_ANY_MOODLE = "course_modules"
"""A table that every Moodle has, by which a prefix is recognized."""
_SUBJECTS = {_URL: "Moodle's database", _LOG_URL: "Moodle's log database"}
_LENIENT = "caliper_dagster_utf8"
_REPORT_SECONDS = 5
"""Seconds that the database has, after a statement timed out, to report it."""
_TIMEOUT_MESSAGES = ("max_statement_time", "execution time", "statement timeout")
_REFUSALS = (
    "access denied", "authentication failed", "no password", "role \"",
)  # fmt: skip
_NO_DATABASE = re.compile('database ".*" does not exist')
_TLS_PROBLEMS = {
    # MySQL and MariaDB; PostgreSQL in pg_hba.conf.
    "insecure transport": "requires TLS: name the file of its certificate authority (PEM) as ",
    "no encryption": "requires TLS: name the file of its certificate authority (PEM) as ",
    "ssl off": "requires TLS: name the file of its certificate authority (PEM) as ",
    "ssl is required": "offers no TLS, which the URL asks for: leave out ",
    "support ssl": "offers no TLS, which the URL asks for: leave out ",
    "root certificate file": "cannot be checked: name a file that exists as ",
    "certificate": "has no TLS certificate that is trusted: name the file of its certificate "
    "authority (PEM) as ",
    "ssl": "does not agree on TLS: check ",
}
"""By words of a driver's message, most special first; what follows are the options of the URL."""
_STATEMENT_PROBLEMS = {
    "no space left": "its disk is full",
    "disk full": "its disk is full",
    "errno: 28": "its disk is full",
    "administrator command": "the connection was ended by an administrator, or by a restart",
    "connection was killed": "the connection was ended by an administrator",
    "shutdown in progress": "it is being shut down",
    "conflict with recovery": "the replica ended the query, because it conflicts with the "
    "primary's changes (max_standby_streaming_delay)",
    "lost connection": "the connection was lost, or ended by the server or a proxy",
    "gone away": "the connection was lost, or ended by the server or a proxy",
    "closed the connection": "the connection was lost, or ended by the server or a proxy",
    "connection has been closed": "the connection was lost, or ended by the server or a proxy",
    "connection reset": "the connection was lost, or ended by the server or a proxy",
}
"""By words of a driver's message, most special first."""
_SUPPORTED = {"mysql+pymysql", "postgresql+psycopg2", "sqlite"}

_CATALOGUE = {
    "mysql": "SELECT table_name, column_name FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND FIND_IN_SET('select', privileges)",
    # Of tables with one name, the one in the first schema of search_path is visible.
    "postgresql": "SELECT c.relname, a.attname FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid "
    "WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') "
    "AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped "
    "AND pg_catalog.pg_table_is_visible(c.oid) "
    "AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')",
    "sqlite": "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p "
    "WHERE m.type IN ('table', 'view')",
}
"""The columns that the account may read."""

_SCHEMAS = """
SELECT c.relname, min(n.nspname) FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
GROUP BY c.relname
"""
"""The schema of each table of PostgreSQL, also of those that the account may not read."""
_DENIED = {1142, 1143, "42501"}
"""Codes of errors about a missing right: of MySQL for a table and a column, of PostgreSQL."""
_NO_SUCH_TABLE = 1146
_NO_RIGHT_TO_DATABASE = 1044


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where the log is, if it is not the table that Moodle's standard log store writes.

    Attributes:
        url: SQLAlchemy URL of the database that it is in; None for that of all other tables.
        table: its name, with the table prefix or without; None for Moodle's own name.
        wait: hours that a row waits, at most, for a replica that lags (see `replica`); only with
            ``url``.
    """

    url: str | None = None
    table: str | None = None
    wait: int = 0


class MoodleDatabase:
    """One read-only connection to a Moodle database, inside one snapshot.

    Every statement sees the database as it was at the first one (MariaDB, MySQL and PostgreSQL:
    REPEATABLE READ, READ ONLY; SQLite: opened with ``mode=ro``). Nothing is set for longer than
    that, so a connection that a pooler shares is left as it was. Use it as a context manager.

    Attributes:
        setting: the setting that names this database.
        prefix: table prefix.
        without: tables that the database leaves out on purpose, without prefix.
        log: the connection by which the log is read: this one, or one to another database.
        replica_wait: hours that a log row waits, at most, for this database; 0: none waits.
        replica: how far this database is, once it was looked at.
        erased: the persons who were erased, without whom its log is read; None where nobody can
            have been.
        statements: number of statements sent so far.
    """

    def __init__(
        self,
        engine: Engine,
        connection: Connection,
        prefix: str,
        timeout: int,
        setting: SettingName = _URL,
    ) -> None:
        self._engine = engine
        self._connection = connection
        self.setting = setting
        self.prefix = prefix
        self.without: frozenset[str] = frozenset()
        self.log: MoodleDatabase = self
        self.replica_wait = 0
        self.replica: Replica | None = None
        self.erased: ErasedPersons | None = None
        self._log_name = prefix + LOG
        self._timeout = timeout
        self._small_tables: dict[tuple[str, ...], list[Record]] = {}
        self.statements = 0

    @classmethod
    def open(
        cls,
        url: str,
        prefix: str = "mdl_",
        timeout: int = 300,
        without: Iterable[str] = (),
        log: LogPlace | None = None,
    ) -> Self:
        """Connect.

        A log in another database has a snapshot of its own, which is taken first: what its rows
        refer to is then in the other one, unless that is a replica that lags.

        Args:
            url: SQLAlchemy URL; ``mysql://`` and ``postgresql://`` get the driver that this
                package uses.
            prefix: table prefix (``$CFG->prefix``).
            timeout: seconds after which the database cancels a statement (not on SQLite).
            without: tables that the database leaves out on purpose, with prefix or without.
            log: where the log is; None for the table of Moodle's standard log store.

        Raises:
            ConfigurationError: no database answers, it rejects the account, or it contains no
                Moodle log with this prefix. The message names the setting and never the password.
        """
        log = log or LogPlace()
        with ExitStack() as opened:
            if log.url is None:
                database = cls._connect(_URL, url, prefix, timeout, log)
            else:
                own = cls._connect(_LOG_URL, log.url, prefix, timeout, log)
                opened.callback(own.close)
                database = cls._connect(_URL, url, prefix, timeout, None)
                database.log, database.replica_wait = own, log.wait
            database.without = frozenset(table.removeprefix(prefix) for table in without)
            opened.pop_all()
            return database

    @classmethod
    def _connect(
        cls, setting: SettingName, url: str, prefix: str, timeout: int, log: LogPlace | None
    ) -> Self:
        """Connect to one database.

        Args:
            setting: the setting that names it.
            url: see `open`.
            prefix: see `open`.
            timeout: see `open`.
            log: the log, if this database has it; else this must be a Moodle without one.

        Raises:
            ConfigurationError: see `open`.
        """
        parsed = _parse(setting, url)
        engine = _engine(setting, parsed, timeout)
        try:
            connection = engine.connect()
        except DBAPIError as error:
            engine.dispose()
            if _is_silence(error.orig):
                raise ConfigurationError(_silent_address(setting, parsed)) from None
            raise ConfigurationError(_connection_failure(setting, parsed, error)) from None
        except OSError as error:
            # PyMySQL reads the files of TLS options before it connects.
            engine.dispose()
            raise ConfigurationError(_unreadable_certificate(setting, error)) from None
        except (TypeError, ValueError, LookupError, AttributeError):
            # PyMySQL raises these for options that it does not know.
            engine.dispose()
            raise ConfigurationError(_unknown_option(setting)) from None
        database = cls(engine, connection, prefix, timeout, setting)
        try:
            database._begin_snapshot()
            if log is None:
                database._require_tables()
            else:
                database._find_log(log)
        except SourceError:
            database.close()
            raise ConfigurationError(
                Sentence(setting, f": {_address(parsed)} cannot be read as a database.")
            ) from None
        except ConfigurationError:
            database.close()
            raise
        return database

    def _begin_snapshot(self) -> None:
        """Begin the transaction here: SQLAlchemy begins none for what is read in bulk."""
        with self._answer():
            self._connection.begin()

    def _find_log(self, log: LogPlace) -> None:
        """Find the log in this database, with the table prefix or without it.

        Raises:
            ConfigurationError: the account may read no such table.
        """
        if log.url is None and log.table is None:
            if self._log_name not in self._readable:
                raise ConfigurationError(_no_log(self.prefix, self._prefixes(LOG)))
            return
        name = log.table or LOG
        names = [name, self.prefix + name] if log.table else [self.prefix + name, name]
        found = [name for name in names if name in self._readable]
        if not found:
            raise ConfigurationError(_no_own_log(self.setting, names))
        self._log_name = found[0]

    def _require_tables(self) -> None:
        """Make sure that there is a Moodle where its log is elsewhere.

        Raises:
            ConfigurationError: the account may read no table with the prefix.
        """
        if not self._catalogue:
            raise ConfigurationError(_no_tables(self.prefix, self._prefixes(_ANY_MOODLE)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MoodleDatabase({self.dialect}, prefix={self.prefix!r})"

    def close(self) -> None:
        """End the snapshot and the connection, and those to the log."""
        if self.log is not self:
            self.log.close()
        # Closing a lost connection fails.
        with suppress(DBAPIError):
            self._connection.close()
        self._engine.dispose()

    @property
    def dialect(self) -> str:
        """``mysql`` (also for MariaDB), ``postgresql`` or ``sqlite``."""
        return self._engine.dialect.name

    @cached_property
    def _readable(self) -> dict[str, frozenset[str]]:
        """The columns that the account may read, by the whole name of their table."""
        tables: dict[str, set[str]] = {}
        for table, column in self._rows(_CATALOGUE[self.dialect], {}):
            tables.setdefault(table, set()).add(column)
        return {table: frozenset(columns) for table, columns in tables.items()}

    @cached_property
    def _catalogue(self) -> dict[str, frozenset[str]]:
        """The same by the name without prefix; the log is not among them."""
        return {
            table.removeprefix(self.prefix): columns
            for table, columns in self._readable.items()
            if table.startswith(self.prefix) and table != self.prefix + LOG
        }

    def _prefixes(self, table: str) -> list[str]:
        """The prefixes with which the account may read a table."""
        names = [name for name in self._readable if name.endswith(table)]
        return sorted(name.removesuffix(table) for name in names)

    def name(self, table: str) -> str:
        """The whole name of a table; that of the log may be one of the administrator's choice."""
        return self._log_name if table == LOG else self.prefix + table

    def standard_log(self) -> str | None:
        """The quoted name of Moodle's standard log, if it is here and another log is read."""
        name = self.prefix + LOG
        is_read = self.log is self and self._log_name == name
        return None if is_read or name not in self._readable else self._quote(name)

    def has_table(self, table: str) -> bool:
        """Whether this account may read such a table (its name without prefix)."""
        return bool(self.columns(table))

    def columns(self, table: str) -> frozenset[str]:
        """The columns of the table that this account may read; empty without the table."""
        if table == LOG:
            return self._readable.get(self._log_name, frozenset())
        return self._catalogue.get(table, frozenset())

    def absent(self, tables: Iterable[str]) -> frozenset[str]:
        """Those of some tables that cannot be read that are certainly not in the database.

        MySQL and MariaDB tell this only to an account that has rights on the whole database. From
        another one they hide whether a table exists.
        """
        if self.dialect == "mysql":
            return frozenset(table for table in tables if self._is_no_table(table))
        if self.dialect == "postgresql":
            schemas = self._schemas()
            return frozenset(table for table in tables if self.name(table) not in schemas)
        return frozenset(tables)

    def _is_no_table(self, table: str) -> bool:
        self.statements += 1
        with self._answer():
            try:
                self._connection.execute(sa.text(f"SELECT 1 FROM {self.quoted(table)} WHERE 1 = 0"))
            except DBAPIError as error:
                if _code(error.orig) not in {_NO_SUCH_TABLE, *_DENIED}:
                    raise
                return _code(error.orig) == _NO_SUCH_TABLE
        return False

    def _schemas(self) -> dict[str, str]:
        """The schema of each table, by its whole name."""
        return {row[0]: row[1] for row in self.execute(sa.text(_SCHEMAS))}

    def grants(self, tables: Sequence[str], most: int = 20) -> list[str]:
        """The statements that let this account read the tables, for an administrator to run.

        Args:
            tables: names without prefix.
            most: with more tables than that, one statement that lets it read all tables.
        """
        quote = self._engine.dialect.identifier_preparer.quote_identifier
        wanted = [self.name(table) for table in tables]
        if self.dialect == "mysql":
            ((account, name),) = self.execute(sa.text("SELECT CURRENT_USER(), DATABASE()"))
            user, _, host = account.rpartition("@")
            names = [quote(table) for table in wanted]
            chosen = names if len(names) <= most else ["*"]
            return [f"GRANT SELECT ON {quote(name)}.{it} TO '{user}'@'{host}';" for it in chosen]
        ((account,),) = self.execute(sa.text("SELECT current_user"))
        by_schema: dict[str, list[str]] = {}
        for table, schema in self._schemas().items():
            if table in wanted:
                by_schema.setdefault(schema, []).append(f"{schema}.{self._quote(table)}")
        statements = []
        for schema, names in sorted(by_schema.items()):
            chosen = names if len(names) <= most else [f"ALL TABLES IN SCHEMA {schema}"]
            statements.append(f"GRANT USAGE ON SCHEMA {schema} TO {quote(account)};")
            statements.append(f"GRANT SELECT ON {', '.join(sorted(chosen))} TO {quote(account)};")
        return statements

    def quoted(self, table: str) -> str:
        """The table's whole name, quoted for the dialect."""
        return self._quote(self.name(table))

    def execute(self, statement: TextClause, **values: object) -> Sequence[Sequence[Any]]:
        """Run one statement and return all its rows.

        Raises:
            SourceError: the database did not answer the statement.
        """
        self.statements += 1
        with self._answer():
            try:
                return self._connection.execute(statement, values).fetchall()
            except UnicodeDecodeError:  # only PostgreSQL's driver has no lenient encoding
                return self._decoded_leniently(statement.bindparams(**values))

    @contextmanager
    def _answer(self) -> Iterator[None]:
        """Inside it the database answers a statement in time, or that is our error.

        Raises:
            SourceError: it did not.
        """
        with Deadline(self._timeout + _REPORT_SECONDS) as deadline:
            if self.dialect == "mysql":  # PostgreSQL's connection has deadlines of its own.
                deadline.watch_later(partial(_socket_of, self._driver))
            try:
                yield
            except (DBAPIError, pymysql.Error, psycopg2.Error) as error:
                if deadline.passed:
                    raise SourceError(_silent(self.setting)) from None
                cause = error.orig if isinstance(error, DBAPIError) else error
                raise SourceError(_statement_failure(self.setting, cause)) from None

    def _decoded_leniently(self, statement: TextClause) -> list[list[Any]]:
        sql = self._with_literals(statement)
        with self._driver.cursor() as cursor:
            psycopg2.extensions.register_type(psycopg2.extensions.BYTES, cursor)
            cursor.execute(sql)
            return [
                [bulk_read.decoded(value) if isinstance(value, bytes) else value for value in row]
                for row in cursor.fetchall()
            ]

    def table(
        self,
        schema: pa.Schema,
        from_clause: str,
        low_cardinality: Collection[str] = (),
        *,
        fast: bool = True,
        **values: str,
    ) -> pa.Table:
        """Run one ``SELECT`` of many rows and return them as a table, by bulk read where possible.

        Args:
            schema: the columns by name: ``int64``, ``string`` or dictionaries of strings.
            from_clause: the statement from ``FROM`` on, with ``:name`` for each of ``values``.
            low_cardinality: columns with few distinct values; naming them makes reading faster.
            fast: False reads through the driver only; the result is the same.
            values: constants of this package.

        Raises:
            SourceError: the database did not answer the statement.
        """
        self.statements += 1
        if values:
            from_clause = self._with_literals(sa.text(from_clause).bindparams(**values))
        try:
            with self._answer():
                if fast and self.dialect == "mysql":
                    return bulk_read.read_mysql(
                        self._driver, schema, from_clause, low_cardinality, self._limited
                    )
                if fast and self.dialect == "postgresql":
                    return bulk_read.read_postgres(self._driver, schema, from_clause)
        except bulk_read.UnsupportedResult:
            self.statements += 1
        statement = sa.text(f"SELECT {', '.join(schema.names)} {from_clause}")
        streaming = self._connection.execution_options(stream_results=True)
        tables = [schema.empty_table()]
        with self._answer(), streaming.execute(statement) as result:
            while rows := result.fetchmany(ROWS_PER_FETCH):
                tables.append(bulk_read.from_rows(schema, rows))
        return pa.concat_tables(tables).unify_dictionaries().combine_chunks()

    def records(
        self,
        table: str,
        columns: Iterable[str],
        where: Mapping[str, Iterable[int | None]] | None = None,
        condition: str = "",
        condition_columns: Sequence[str] = (),
        unindexed_filter: Mapping[str, Iterable[int]] | None = None,
        **values: object,
    ) -> list[Record]:
        """Read records by sets of integer keys, one statement for every 10,000 of the first set.

        Args:
            table: name without prefix.
            columns: columns to read; those that this Moodle lacks are None in the records.
            where: column → keys; all columns must match. Without it, the whole table is read.
            condition: further SQL, with ``:name`` for each of ``values``.
            condition_columns: the columns that the condition names.
            unindexed_filter: like ``where``, but the database must not use the index of these
                columns: each key has many records, of which few match ``where``, and the
                optimizer cannot know that.
            values: the values of the condition.

        Returns:
            One dict per record, with plain values (decimals as float). Empty when the table or a
            column of ``where``, ``unindexed_filter`` or ``condition_columns`` is absent, or when a
            set of keys is empty.
        """
        defaults = dict.fromkeys(columns)
        available = [column for column in defaults if column in self.columns(table)]
        if not available or not self.columns(table).issuperset(condition_columns):
            return []
        select = f"SELECT {', '.join(map(self._quote, available))}"
        records: list[Record] = []
        clauses = self._from_clauses(table, where or {}, condition, unindexed_filter or {})
        for from_clause in clauses:
            rows = self._rows(f"{select} {from_clause}", values)
            if len(available) == len(defaults):
                records.extend([dict(zip(available, row, strict=True)) for row in rows])
            else:
                records.extend([defaults | dict(zip(available, row, strict=True)) for row in rows])
        return records

    def small_table(
        self, table: str, columns: Sequence[str], condition: str = "", *condition_columns: str
    ) -> list[Record]:
        """Records of a table that has few, read once in a snapshot; nobody changes them.

        Args:
            table: see :meth:`records`.
            columns: see :meth:`records`.
            condition: further SQL, without values.
            condition_columns: the columns that the condition names.
        """
        key = (table, *columns, condition)
        if key not in self._small_tables:
            records = self.records(table, columns, None, condition, condition_columns)
            self._small_tables[key] = records
        return self._small_tables[key]

    def integers(
        self,
        table: str,
        columns: Sequence[str],
        where: Mapping[str, Iterable[int | None]],
        condition: str = "",
        condition_columns: Sequence[str] = (),
        unindexed_filter: Mapping[str, Iterable[int]] | None = None,
    ) -> pa.Table:
        """Read integer columns as a table, for many records of which the caller uses few.

        Args:
            table: name without prefix.
            columns: the columns; their names must not be SQL keywords.
            where: see :meth:`records`.
            condition: further SQL, without values.
            condition_columns: see :meth:`records`.
            unindexed_filter: see :meth:`records`.

        Returns:
            ``int64`` columns. Empty in the cases of :meth:`records`, and when a column is absent.
        """
        schema = pa.schema([(column, pa.int64()) for column in columns])
        if not self.columns(table).issuperset([*columns, *condition_columns]):
            return schema.empty_table()
        clauses = self._from_clauses(table, where, condition, unindexed_filter or {})
        return pa.concat_tables(
            [schema.empty_table(), *(self.table(schema, clause) for clause in clauses)]
        )

    def _from_clauses(
        self,
        table: str,
        where: Mapping[str, Iterable[int | None]],
        condition: str,
        unindexed_filter: Mapping[str, Iterable[int]],
    ) -> Iterator[str]:
        """The ``FROM … WHERE …`` of each statement that reads the records with these keys."""
        keys = {self._quote(column): _integers(ids) for column, ids in where.items()}
        # An index covers a column, not a sum.
        keys |= {
            f"{self._quote(column)} + 0": _integers(ids) for column, ids in unindexed_filter.items()
        }
        available = self.columns(table).issuperset([*where, *unindexed_filter])
        if not available or not all(keys.values()):
            return
        for in_terms in _in_terms(keys):
            terms = [term for term in (*in_terms, condition) if term]
            where_ = f" WHERE {' AND '.join(terms)}" if terms else ""
            yield f"FROM {self.quoted(table)}{where_}"

    def _quote(self, name: str) -> str:
        return self._engine.dialect.identifier_preparer.quote(name)

    def _rows(self, sql: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """The rows of a statement, with plain values."""
        if self.dialect == "mysql":
            sent = self._with_literals(sa.text(sql).bindparams(**values)) if values else sql
            self.statements += 1
            with suppress(bulk_read.UnsupportedResult), self._answer():
                return bulk_read.read_mysql_rows(self._driver, self._limited(sent))
        statement = sa.text(sql).bindparams(**values)
        return [tuple(map(_plain, row)) for row in self.execute(statement)]

    def _with_literals(self, statement: TextClause) -> str:
        """The statement with its values, which are constants of this package: quoting is enough."""
        return str(statement.compile(self._engine, compile_kwargs={"literal_binds": True}))

    def _limited(self, statement: str) -> str:
        return limited(self._engine, statement, self._timeout)

    @property
    def _driver(self) -> Any:  # noqa: ANN401 - what each driver calls a connection
        return self._connection.connection.driver_connection


def _integers(ids: Iterable[int | None]) -> list[int]:
    return sorted({int(key) for key in ids if key is not None})


def _in_terms(keys: dict[str, list[int]]) -> Iterator[list[str]]:
    """The ``IN`` terms of each statement: some keys of the first column, all of the others."""
    if not keys:
        yield []
        return
    (first, ids), *others = keys.items()
    other_terms = [f"{column} IN ({','.join(map(str, keys_))})" for column, keys_ in others]
    for part in in_parts(ids, KEYS_PER_STATEMENT):
        yield [f"{first} IN ({','.join(map(str, part))})", *other_terms]


def _plain(value: object) -> object:
    """The value in the one type that all drivers' values are converted to.

    With it, all databases give the same bytes. ``numeric(10,5)`` is a Decimal in two drivers and a
    float in the third. Moodle's grades have at most 15 digits: a float prints them unchanged.
    """
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, bytes):
        return bulk_read.decoded(value)
    return value


def _parse(setting: SettingName, url: str) -> URL:
    require_encoded_account(setting, url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: the port is not a number
        parsed = None
    if parsed is not None:
        parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed is None or parsed.drivername not in _SUPPORTED:
        raise ConfigurationError(
            Sentence(
                setting,
                " must be an SQLAlchemy URL that begins with mysql+pymysql://, "
                "postgresql+psycopg2:// or sqlite:///.",
            )
        )
    return parsed


def _engine(setting: SettingName, url: URL, timeout: int) -> Engine:
    if url.drivername == "sqlite":
        return _sqlite_engine(setting, url)
    dialect = url.get_backend_name()
    limit = timeout + _REPORT_SECONDS
    if dialect == "mysql":
        # What is read by one call; `_answer` limits all of it.
        limits = {"connect_timeout": min(CONNECT_SECONDS, timeout), "read_timeout": limit}
    else:
        limits = postgres_deadlines.connect_arguments(limit)
    arguments = CONNECT_ARGUMENTS[dialect] | limits
    try:
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=arguments)
    except (ImportError, NoSuchModuleError):
        needed = Sentence(setting, f" needs the driver {url.drivername}.")
        raise ConfigurationError(needed) from None
    begin_snapshots(engine, timeout)
    if dialect == "mysql":
        sa.event.listen(engine, "do_connect", _connect_mysql)
    return engine


def _connect_mysql(
    _dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]
) -> pymysql.Connection:
    """A connection of PyMySQL, all of whose opening has the time of its ``connect_timeout``.

    Otherwise a server that accepts it and says nothing has as long as a statement.
    """
    connection = pymysql.Connection(*arguments, **options, defer_connect=True)
    with Deadline(options["connect_timeout"]) as deadline:
        deadline.watch_later(partial(_socket_of, connection))
        connection.connect()
    if connection.encoding == "utf8":  # the URL may ask for another character set
        connection.encoding = _LENIENT
    return connection


def _socket_of(connection: pymysql.Connection) -> socket.socket | None:
    """The socket of a connection, also of one that is being opened; None without one."""
    found: socket.socket | None = getattr(connection, "_sock", None)
    return found


def _sqlite_engine(setting: SettingName, url: URL) -> Engine:
    path = Path(url.database or "")
    if not path.is_file():
        raise ConfigurationError(
            Sentence(setting, f" names the file {path}, which does not exist: correct its path.")
        )
    location = f"{path.resolve().as_uri()}?mode=ro"
    return sa.create_engine(
        "sqlite://",
        creator=lambda: _sqlite(location),
        poolclass=sa.pool.NullPool,
    )


def _sqlite(location: str) -> sqlite3.Connection:
    connection = sqlite3.connect(location, uri=True)
    connection.text_factory = bulk_read.decoded
    return connection


def _lenient_codec(name: str) -> codecs.CodecInfo | None:
    """UTF-8 for PyMySQL, which decodes all texts strictly otherwise."""
    if name != _LENIENT:
        return None
    return codecs.CodecInfo(
        codecs.utf_8_encode,
        lambda text, _errors="": codecs.utf_8_decode(text, "replace_bytes", True),
        name=name,
    )


codecs.register(_lenient_codec)


def _no_log(prefix: str, prefixes: Sequence[str]) -> Sentence:
    """The error about a database without a log of that prefix, with the prefixes that it has."""
    missing = Sentence(_PREFIX, ": the database of ", _URL, f" has no table {prefix}{LOG}")
    if not prefixes:
        return Sentence(
            missing,
            " that this account may read: let ",
            _URL,
            " name Moodle's database and an account that may SELECT.",
        )
    found = " and ".join(other + LOG for other in prefixes)
    values = " or ".join(other or "nothing" for other in prefixes)
    return Sentence(missing, f", but {found}: set ", _PREFIX, f" to {values}.")


def _no_own_log(setting: SettingName, names: Sequence[str]) -> Sentence:
    """The error about a database that does not have the log under any of these names."""
    return Sentence(
        _LOG_TABLE,
        ": the database of ",
        setting,
        f" has no table {' or '.join(dict.fromkeys(names))} that this account may read: name the "
        "table that Moodle writes its log to (Site administration, Plugins, Logging, External "
        "database log), and an account that may SELECT from it.",
    )


def _no_tables(prefix: str, prefixes: Sequence[str]) -> Sentence:
    """The error about a database without tables of that prefix, with the prefixes it has."""
    values = " or ".join(other or "nothing" for other in prefixes)
    missing = Sentence(
        _PREFIX, ": the database of ", _URL, f" has no table {prefix}{_ANY_MOODLE} or any other "
    )
    if not prefixes:
        return Sentence(
            missing,
            "of Moodle that this account may read: let ",
            _URL,
            " name Moodle's database and an account that may SELECT.",
        )
    return Sentence(missing, "with this prefix: set ", _PREFIX, f" to {values}.")


def _connection_failure(setting: SettingName, url: URL, error: DBAPIError) -> str:
    reason, place = str(error.orig).lower(), _address(url)
    if _code(error.orig) == _NO_RIGHT_TO_DATABASE:
        return Sentence(
            setting, f": there is no database {url.database} at {place} that this account may read."
        )
    if any(words in reason for words in _REFUSALS):
        return Sentence(
            setting,
            f": the database at {place} refuses this user and password: correct them."
            f"{_tls_hint(url)}",
        )
    if "unknown database" in reason or _NO_DATABASE.search(reason):
        return Sentence(
            setting, f": there is no database {url.database} at {place}: correct its name."
        )
    if "invalid connection option" in reason:
        return _unknown_option(setting)
    if "pg_hba.conf" in reason and ("ssl encryption" in reason or "ssl on" in reason):
        return Sentence(
            setting,
            f": the database at {place} accepts no connection of this user from this machine "
            "(pg_hba.conf).",
        )
    for words, problem in _TLS_PROBLEMS.items():
        if words in reason:
            return Sentence(setting, f": the database at {place} {problem}{_tls_options(url)}.")
    return Sentence(
        setting, f": no database answers at {place}: start it, or correct host and port."
    )


def _unknown_option(setting: SettingName) -> Sentence:
    return Sentence(setting, ": the driver does not know an option after the ? of the URL.")


def _unreadable_certificate(setting: SettingName, error: OSError) -> str:
    reason = "" if isinstance(error, ssl.SSLError) else error.strerror
    return Sentence(
        setting,
        ": a file that is named after the ? of the URL (ssl_ca, ssl_cert, ssl_key) cannot be used: "
        f"{reason or 'it holds no certificate or key in the form PEM'}.",
    )


def _tls_hint(url: URL) -> str:
    """MySQL and MariaDB refuse an account that must use TLS as if its password were wrong."""
    if url.get_backend_name() != "mysql" or "ssl_ca" in url.query:
        return ""
    return f" An account that must use TLS needs {_tls_options(url)}."


def _tls_options(url: URL) -> str:
    """How the URL asks for TLS and names the certificate to trust."""
    if url.get_backend_name() == "mysql":
        return "ssl_ca=FILE after the ? of the URL"
    return "sslmode=verify-full&sslrootcert=FILE after the ? of the URL"


def _is_silence(error: BaseException | None) -> bool:
    """Whether the database accepted the connection, but did not answer in time."""
    if isinstance(error, pymysql.err.OperationalError):
        return error.args[0] == CR.CR_SERVER_LOST and "timed out" in str(error)
    return isinstance(error, NoAnswer)


def _silent(setting: SettingName) -> Sentence:
    return Sentence(
        f"{_SUBJECTS[setting]} did not answer in time (",
        _TIMEOUT,
        "): it, or a proxy or pooler before it, accepts connections and says nothing.",
    )


def _silent_address(setting: SettingName, url: URL) -> str:
    return Sentence(
        setting,
        f": the database at {_address(url)} accepts connections and does not answer in time (",
        _TIMEOUT,
        ").",
    )


def _address(url: URL) -> str:
    return f"{url.host}:{url.port}" if url.port else str(url.host or url.database or "localhost")


def _code(error: BaseException | None) -> object:
    """The code of a driver's error: MySQL's number or PostgreSQL's SQLSTATE; None without one."""
    if isinstance(error, psycopg2.Error):
        return error.pgcode
    return error.args[0] if error is not None and error.args else None


def _statement_failure(setting: SettingName, error: BaseException | None) -> str:
    """The message for a failed statement, without its keys and values."""
    subject = _SUBJECTS[setting]
    if _is_silence(error):
        return _silent(setting)
    if _code(error) in _DENIED:
        return Sentence(
            setting,
            f": this account may not read a table of {subject}; `caliper-dagster doctor` "
            "names the tables and prints the GRANT.",
        )
    reason = str(error).lower()
    if any(words in reason for words in _TIMEOUT_MESSAGES):
        return Sentence(_TIMEOUT, f": {subject} cancelled a statement that took too long.")
    for words, problem in _STATEMENT_PROBLEMS.items():
        if words in reason:
            return f"{subject} did not answer a query: {problem}."
    return f"{subject} did not answer a query ({type(error).__name__})."
