"""The connection to Moodle's database: read-only, one snapshot, queries by whole sets of keys.

The log may be in another database, which has a connection of its own (`MoodleDatabase.log`).

The lookups decide what is read. This module writes nothing and does not know what a table means.
Tables and columns that a Moodle version lacks read as empty. So do those that the account may not
read: ``required_tables`` tells the two apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, partial
from itertools import chain, repeat
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import psycopg2
import psycopg2.extensions
import pyarrow as pa
import pymysql
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import TextClause

from caliper_dagster.core.deadlines import Deadline
from caliper_dagster.core.errors import ConfigurationError, SettingName, SourceError
from caliper_dagster.core.parts import in_parts
from caliper_dagster.expander import bulk_read, database_failures, engines
from caliper_dagster.expander.database_failures import (
    DATABASE_URL,
    DENIED,
    LOG_DATABASE_URL,
    NO_SUCH_TABLE,
    code,
)
from caliper_dagster.expander.snapshot import limited

if TYPE_CHECKING:
    from caliper_dagster.expander.erasure import ErasedPersons
    from caliper_dagster.expander.replica import Replica

Record = dict[str, Any]
Pair: TypeAlias = tuple[int | None, int | None]
Keys: TypeAlias = Mapping[str, Iterable[int | None]] | Mapping[tuple[str, str], Iterable[Pair]]
"""Columns → keys of one column, or pairs of keys of two. Records match all entries; nothing matches
None."""

KEYS_PER_STATEMENT = 10_000
"""Keys in one ``IN (…)``: fewer than MySQL's range optimizer has memory for (8 MB)."""

ROWS_PER_FETCH = 10_000

LOG = "logstore_standard_log"
"""The log, by the name that Moodle gives it."""
_ANY_MOODLE = "course_modules"
"""A table that every Moodle has, by which a prefix is recognized."""

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
        setting: SettingName = DATABASE_URL,
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
                database = cls._connect(DATABASE_URL, url, prefix, timeout, log)
            else:
                own = cls._connect(LOG_DATABASE_URL, log.url, prefix, timeout, log)
                opened.callback(own.close)
                database = cls._connect(DATABASE_URL, url, prefix, timeout, None)
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
        parsed = engines.parse(setting, url)
        engine, connection = engines.connect(setting, parsed, timeout)
        database = cls(engine, connection, prefix, timeout, setting)
        try:
            database._begin_snapshot()
            if log is None:
                database._require_tables()
            else:
                database._find_log(log)
        except SourceError:
            database.close()
            raise ConfigurationError(database_failures.unreadable(setting, parsed)) from None
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
                raise ConfigurationError(
                    database_failures.no_table(self.prefix, LOG, self._prefixes(LOG))
                )
            return
        name = log.table or LOG
        names = [name, self.prefix + name] if log.table else [self.prefix + name, name]
        found = [name for name in names if name in self._readable]
        if not found:
            raise ConfigurationError(database_failures.no_own_log(self.setting, names))
        self._log_name = found[0]

    def _require_tables(self) -> None:
        """Make sure that there is a Moodle where its log is elsewhere.

        Raises:
            ConfigurationError: the account may read no table with the prefix.
        """
        if not self._catalogue:
            prefixes = self._prefixes(_ANY_MOODLE)
            raise ConfigurationError(
                database_failures.no_tables(self.prefix, _ANY_MOODLE, prefixes)
            )

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
                if code(error.orig) not in {NO_SUCH_TABLE, *DENIED}:
                    raise
                return code(error.orig) == NO_SUCH_TABLE
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
        with Deadline(self._timeout + engines.REPORT_SECONDS) as deadline:
            if self.dialect == "mysql":  # PostgreSQL's connection has deadlines of its own.
                deadline.watch_later(partial(engines.socket_of, self._driver))
            try:
                yield
            except (DBAPIError, pymysql.Error, psycopg2.Error) as error:
                if deadline.passed:
                    raise SourceError(database_failures.silent(self.setting)) from None
                cause = error.orig if isinstance(error, DBAPIError) else error
                raise SourceError(database_failures.of_statement(self.setting, cause)) from None

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
        where: Keys | None = None,
        condition: str = "",
        condition_columns: Sequence[str] = (),
        **values: object,
    ) -> list[Record]:
        """Read records by sets of integer keys, one statement for every 10,000 of the first set.

        Args:
            table: name without prefix.
            columns: columns to read; those that this Moodle lacks are None in the records.
            where: the keys. Without them, the whole table is read.
            condition: further SQL, with ``:name`` for each of ``values``.
            condition_columns: the columns that the condition names.
            values: the values of the condition.

        Returns:
            One dict per record, with plain values (decimals as float). Empty when the table or a
            column of ``where`` or ``condition_columns`` is absent, or when a set of keys is empty.
        """
        defaults = dict.fromkeys(columns)
        available = [column for column in defaults if column in self.columns(table)]
        if not available or not self.columns(table).issuperset(condition_columns):
            return []
        select = f"SELECT {', '.join(map(self._quote, available))}"
        records: list[Record] = []
        for from_clause in self._from_clauses(table, where or {}, condition):
            rows = self._rows(f"{select} {from_clause}", values)
            if len(available) == len(defaults):
                records.extend(map(dict, map(zip, repeat(available), rows)))
            else:
                records.extend([defaults | dict(zip(available, row, strict=True)) for row in rows])
        return records

    def small_table(
        self, table: str, columns: Sequence[str], condition: str = "", *condition_columns: str
    ) -> list[Record]:
        """Records of a table, or of a condition, that has few: read once, nobody changes them.

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
        where: Keys,
        condition: str = "",
        condition_columns: Sequence[str] = (),
    ) -> pa.Table:
        """Read integer columns as a table, for many records of which the caller uses few.

        Args:
            table: name without prefix.
            columns: the columns; their names must not be SQL keywords.
            where: see :meth:`records`.
            condition: further SQL, without values.
            condition_columns: see :meth:`records`.

        Returns:
            ``int64`` columns. Empty in the cases of :meth:`records`, and when a column is absent.
        """
        schema = pa.schema([(column, pa.int64()) for column in columns])
        if not self.columns(table).issuperset([*columns, *condition_columns]):
            return schema.empty_table()
        clauses = self._from_clauses(table, where, condition)
        return pa.concat_tables(
            [schema.empty_table(), *(self.table(schema, clause) for clause in clauses)]
        )

    def _from_clauses(self, table: str, where: Keys, condition: str) -> Iterator[str]:
        """The ``FROM … WHERE …`` of each statement that reads the records with these keys."""
        columns = [(names,) if isinstance(names, str) else names for names in where]
        if not self.columns(table).issuperset(chain.from_iterable(columns)):
            return
        keys = {
            self._in(names): _literals(keys)
            for names, keys in zip(columns, where.values(), strict=True)
        }
        if not all(keys.values()):
            return
        for in_terms in _in_terms(keys):
            terms = [term for term in (*in_terms, condition) if term]
            where_ = f" WHERE {' AND '.join(terms)}" if terms else ""
            yield f"FROM {self.quoted(table)}{where_}"

    def _in(self, columns: Sequence[str]) -> str:
        """The term for keys of these columns, up to where the keys are listed."""
        names = ", ".join(map(self._quote, columns))
        if len(columns) == 1:
            return f"{names} IN ("
        # Without VALUES, PostgreSQL makes one OR of all tuples. MySQL knows no such VALUES.
        return f"({names}) IN ({'' if self.dialect == 'mysql' else 'VALUES '}"

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


def _literals(keys: Iterable[int | Pair | None]) -> list[str]:
    """The distinct keys as SQL, in order, without those that are None or have None in them."""
    integers, pairs = set(), set()
    for key in keys:
        if isinstance(key, tuple):
            one, other = key
            if one is not None and other is not None:
                pairs.add((int(one), int(other)))
        elif key is not None:
            integers.add(int(key))
    return [
        *map(str, sorted(integers)),
        *(f"({one},{other})" for one, other in sorted(pairs)),
    ]


def _in_terms(keys: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """The ``IN`` terms of each statement: some of the first keys, all of the others."""
    if not keys:
        yield []
        return
    (first, literals), *others = keys.items()
    other_terms = [f"{other}{','.join(all_keys)})" for other, all_keys in others]
    for part in in_parts(literals, KEYS_PER_STATEMENT):
        yield [f"{first}{','.join(part)})", *other_terms]


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
