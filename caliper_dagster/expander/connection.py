"""How Moodle's database is asked: read-only, in one snapshot, whole sets of keys at a time.

What is asked for is the business of the lookups. Nothing here writes, and nothing here knows what
a table means; tables and columns that a Moodle version lacks are simply not there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg2
import pyarrow as pa
import pymysql
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.sql.elements import TextClause

from caliper_dagster.core.errors import ConfigurationError, SourceError
from caliper_dagster.expander import bulk_read

if TYPE_CHECKING:
    from caliper_dagster.expander.lookups.log_lifecycle import Lifecycle, Pieces

Record = dict[str, Any]

KEYS_PER_STATEMENT = 10_000
"""Keys in one ``IN (…)``: below the size at which MySQL's range optimizer gives up (8 MB)."""

ROWS_PER_FETCH = 10_000

_DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
}
_WRONG_OPTION = "MOODLE_DB_URL: the driver does not know an option after the ? of the URL."
_UNTIL_GIVEN_UP = 5
"""Seconds beyond a statement's time within which the database must say that it gave it up."""
_SUPPORTED = {"mysql+pymysql", "postgresql+psycopg2", "sqlite"}

_CATALOGUE = {
    "mysql": "SELECT table_name, column_name FROM information_schema.columns "
    "WHERE table_schema = DATABASE()",
    "postgresql": "SELECT table_name, column_name FROM information_schema.columns "
    "WHERE table_schema = current_schema()",
    "sqlite": "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p "
    "WHERE m.type IN ('table', 'view')",
}


class MoodleDatabase:
    """One read-only connection to a Moodle database, inside one snapshot.

    Every statement sees the database as it was at the first one (MariaDB, MySQL and PostgreSQL:
    REPEATABLE READ, READ ONLY; SQLite: opened with ``mode=ro``). Use it as a context manager.

    Attributes:
        statements: how many statements have been sent, for those who count.
    """

    def __init__(
        self, engine: Engine, connection: Connection, prefix: str, pieces: Pieces | None = None
    ) -> None:
        self._engine = engine
        self._connection = connection
        self._prefix = prefix
        self._pieces = pieces
        self.statements = 0

    @classmethod
    def open(
        cls, url: str, prefix: str = "mdl_", timeout: int = 300, pieces: Pieces | None = None
    ) -> Self:
        """Connect.

        Args:
            url: SQLAlchemy URL; a bare ``mysql://`` or ``postgresql://`` gets its driver.
            prefix: table prefix (``$CFG->prefix``).
            timeout: seconds after which the database gives up one statement (not on SQLite).
            pieces: where ``lifecycle`` keeps what it has read.

        Raises:
            ConfigurationError: no database answers, it refuses the account, or it holds no Moodle
                log with this prefix. The sentence names the setting and never the password.
        """
        parsed = _parse(url)
        engine = _engine(parsed, timeout)
        try:
            connection = engine.connect()
        except DBAPIError as error:
            engine.dispose()
            raise ConfigurationError(_refusal(parsed, error)) from None
        except (TypeError, ValueError, LookupError, AttributeError):
            # What PyMySQL makes of options that it does not know.
            engine.dispose()
            raise ConfigurationError(_WRONG_OPTION) from None
        database = cls(engine, connection, prefix, pieces)
        try:
            found = database.has_table("logstore_standard_log")
        except SourceError:
            database.close()
            raise ConfigurationError(
                f"MOODLE_DB_URL: what is at {_place(parsed)} cannot be read as a database."
            ) from None
        if not found:
            database.close()
            raise ConfigurationError(
                f"MOODLE_DB_PREFIX: the database of MOODLE_DB_URL has no table "
                f"{prefix}logstore_standard_log that this account may read."
            )
        return database

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
        return f"MoodleDatabase({self.dialect}, prefix={self._prefix!r})"

    def close(self) -> None:
        """End the snapshot and the connection."""
        # One that was lost cannot be ended any more.
        with suppress(DBAPIError):
            self._connection.close()
        self._engine.dispose()

    @property
    def dialect(self) -> str:
        """``mysql`` (also for MariaDB), ``postgresql`` or ``sqlite``."""
        return self._engine.dialect.name

    @cached_property
    def _catalogue(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for table, column in self.execute(sa.text(_CATALOGUE[self.dialect])):
            if table.startswith(self._prefix):
                found.setdefault(table.removeprefix(self._prefix), set()).add(column)
        return {table: frozenset(columns) for table, columns in found.items()}

    @cached_property
    def lifecycle(self) -> Lifecycle:
        """What the log tells of things that are gone from the tables."""
        from caliper_dagster.expander.lookups.log_lifecycle import Lifecycle

        return Lifecycle(self, self._pieces)

    def has_table(self, table: str) -> bool:
        """Whether this Moodle has the table (named without prefix)."""
        return table in self._catalogue

    def columns(self, table: str) -> frozenset[str]:
        """The columns that the table has here; empty when the table is absent."""
        return self._catalogue.get(table, frozenset())

    def quoted(self, table: str) -> str:
        """The table's full name, quoted as its dialect wants."""
        return self._quote(self._prefix + table)

    def execute(self, statement: TextClause, **values: object) -> Sequence[Sequence[Any]]:
        """Run one statement and return all its rows.

        Raises:
            SourceError: the database did not answer it.
        """
        self.statements += 1
        try:
            return self._connection.execute(statement, values).fetchall()
        except DBAPIError as error:
            raise SourceError(_failure(error.orig)) from None

    def table(
        self, schema: pa.Schema, rest: str, few: Collection[str] = (), *, fast: bool = True
    ) -> pa.Table:
        """Run one ``SELECT`` of many rows and return them as a table, the fastest way there is.

        Args:
            schema: the columns by name: ``int64``, ``string`` or dictionaries of strings.
            rest: the statement from ``FROM`` on, without parameters.
            few: columns with few values, which are read faster when they are named.
            fast: False: through the driver alone. The result is the same.

        Raises:
            SourceError: the database did not answer it.
        """
        self.statements += 1
        try:
            if fast and self.dialect == "mysql":
                return bulk_read.read_mysql(self._driver, schema, rest, few)
            if fast and self.dialect == "postgresql":
                return bulk_read.read_postgres(self._driver, schema, rest)
        except bulk_read.Unusual:
            self.statements += 1
        except (pymysql.Error, psycopg2.Error) as error:
            raise SourceError(_failure(error)) from None
        statement = sa.text(f"SELECT {', '.join(schema.names)} {rest}")
        streaming = self._connection.execution_options(stream_results=True)
        tables = [schema.empty_table()]
        try:
            with streaming.execute(statement) as result:
                while rows := result.fetchmany(ROWS_PER_FETCH):
                    tables.append(bulk_read.from_rows(schema, rows))
        except DBAPIError as error:
            raise SourceError(_failure(error.orig)) from None
        return pa.concat_tables(tables).unify_dictionaries().combine_chunks()

    def records(
        self,
        table: str,
        columns: Iterable[str],
        where: Mapping[str, Iterable[int | None]] | None = None,
        condition: str = "",
        conditional: Sequence[str] = (),
        among: Mapping[str, Iterable[int]] | None = None,
        **values: object,
    ) -> list[Record]:
        """Read records by sets of integer keys, one statement for every 10,000 of the first set.

        Args:
            table: name without prefix.
            columns: wanted columns; those that this Moodle lacks are None in the records.
            where: column → keys; all must match. Without it the whole table is read.
            condition: further SQL, with ``:name`` for each of ``values``.
            conditional: the columns that the condition names.
            among: like ``where``, for columns by whose index the database is not to look: where
                each key has many records of which few are wanted, it cannot know that.
            values: the values of the condition.

        Returns:
            One dict per record, with plain values (decimals as float). Empty when the table or a
            column that chooses the records is absent, or when a set of keys is empty.
        """
        wanted = dict.fromkeys(columns)
        chosen = [column for column in wanted if column in self.columns(table)]
        if not chosen or not self.columns(table).issuperset(conditional):
            return []
        select = f"SELECT {', '.join(map(self._quote, chosen))}"
        records: list[Record] = []
        for rest in self._restricted(table, where or {}, condition, among or {}):
            rows = self._rows(f"{select} {rest}", values)
            if len(chosen) == len(wanted):
                records.extend([dict(zip(chosen, row, strict=True)) for row in rows])
            else:
                records.extend([wanted | dict(zip(chosen, row, strict=True)) for row in rows])
        return records

    def integers(
        self,
        table: str,
        columns: Sequence[str],
        where: Mapping[str, Iterable[int | None]],
        condition: str = "",
        conditional: Sequence[str] = (),
        among: Mapping[str, Iterable[int]] | None = None,
    ) -> pa.Table:
        """Read integer columns of records, where there are many records of which few are used.

        Args:
            table: name without prefix.
            columns: the columns, no words of SQL among them.
            where: as for :meth:`records`, like all that follows.
            condition: further SQL, without values.
            conditional: the columns that it names.
            among: columns by whose index the database is not to look.

        Returns:
            ``int64`` columns. Empty as :meth:`records` is, and where one of the columns is absent.
        """
        schema = pa.schema([(column, pa.int64()) for column in columns])
        if not self.columns(table).issuperset([*columns, *conditional]):
            return schema.empty_table()
        rests = self._restricted(table, where, condition, among or {})
        return pa.concat_tables(
            [schema.empty_table(), *(self.table(schema, rest) for rest in rests)]
        )

    def _restricted(
        self,
        table: str,
        where: Mapping[str, Iterable[int | None]],
        condition: str,
        among: Mapping[str, Iterable[int]],
    ) -> Iterator[str]:
        """From ``FROM`` on, the statements that ask for the records with these keys."""
        keys = {self._quote(column): _integers(ids) for column, ids in where.items()}
        # An index is of a column, not of a sum.
        keys |= {f"{self._quote(column)} + 0": _integers(ids) for column, ids in among.items()}
        available = self.columns(table).issuperset([*where, *among])
        if not available or not all(keys.values()):
            return
        for restriction in _restrictions(keys):
            terms = [term for term in (*restriction, condition) if term]
            where_ = f" WHERE {' AND '.join(terms)}" if terms else ""
            yield f"FROM {self.quoted(table)}{where_}"

    def _quote(self, name: str) -> str:
        return self._engine.dialect.identifier_preparer.quote(name)

    def _rows(self, sql: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """The rows of a statement in plain values."""
        statement = sa.text(sql).bindparams(**values)
        if self.dialect == "mysql":
            if values:
                # They are constants of this package, which need no more than quotes.
                options = {"literal_binds": True}
                sql = str(statement.compile(self._engine, compile_kwargs=options))
            self.statements += 1
            try:
                return bulk_read.read_mysql_rows(self._driver, sql)
            except bulk_read.Unusual:
                pass
            except pymysql.Error as error:
                raise SourceError(_failure(error)) from None
        return [tuple(map(_plain, row)) for row in self.execute(statement)]

    @property
    def _driver(self) -> Any:  # noqa: ANN401 - what each driver calls a connection
        return self._connection.connection.driver_connection


def _integers(ids: Iterable[int | None]) -> list[int]:
    return sorted({int(key) for key in ids if key is not None})


def _restrictions(keys: dict[str, list[int]]) -> Iterator[list[str]]:
    """``IN`` terms for each statement: the first column's keys in pieces, the others' whole."""
    if not keys:
        yield []
        return
    (first, ids), *others = keys.items()
    rest = [f"{column} IN ({','.join(map(str, found))})" for column, found in others]
    for begin in range(0, len(ids), KEYS_PER_STATEMENT):
        piece = ids[begin : begin + KEYS_PER_STATEMENT]
        yield [f"{first} IN ({','.join(map(str, piece))})", *rest]


def _plain(value: object) -> object:
    """Make values of all drivers alike, so that all databases give the same bytes.

    ``numeric(10,5)`` comes as Decimal from two drivers and as float from the third; up to 15
    digits, which Moodle's grades never exceed, a float holds it exactly enough to print the same.
    """
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is a ValueError
        parsed = None
    if parsed is not None:
        parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed is None or parsed.drivername not in _SUPPORTED:
        raise ConfigurationError(
            "MOODLE_DB_URL must be an SQLAlchemy URL that begins with mysql+pymysql://, "
            "postgresql+psycopg2:// or sqlite:///."
        )
    return parsed


def _engine(url: URL, timeout: int) -> Engine:
    if url.drivername == "sqlite":
        return _sqlite_engine(url)
    options: dict[str, Any] = {"connect_args": {"connect_timeout": 10}}
    if url.drivername.startswith("mysql"):
        # Of a connection that was accepted PyMySQL would wait for the first word for ever.
        options["connect_args"]["read_timeout"] = timeout + _UNTIL_GIVEN_UP
        commands = [
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "SET SESSION TRANSACTION READ ONLY",
        ]
    else:
        commands = [
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
            f"SET SESSION statement_timeout = {timeout * 1000}",
        ]
    try:
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, **options)
    except (ImportError, NoSuchModuleError):
        raise ConfigurationError(f"MOODLE_DB_URL needs the driver {url.drivername}.") from None

    @sa.event.listens_for(engine, "connect")
    def _make_read_only(connection: Any, _record: object) -> None:  # noqa: ANN401 - any DB-API
        with connection.cursor() as cursor:
            for command in commands:
                cursor.execute(command)
            if url.drivername.startswith("mysql"):
                cursor.execute("SELECT VERSION()")
                mariadb = "mariadb" in str(cursor.fetchone()[0]).lower()
                name, value = (
                    ("max_statement_time", timeout)
                    if mariadb
                    else ("max_execution_time", timeout * 1000)
                )
                cursor.execute(f"SET SESSION {name} = {value}")
        connection.commit()

    return engine


def _sqlite_engine(url: URL) -> Engine:
    path = Path(url.database or "")
    if not path.is_file():
        raise ConfigurationError(f"MOODLE_DB_URL names the file {path}, which does not exist.")
    location = f"{path.resolve().as_uri()}?mode=ro"
    return sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(location, uri=True),
        poolclass=sa.pool.NullPool,
    )


def _refusal(url: URL, error: DBAPIError) -> str:
    words = str(error.orig).lower()
    if "access denied" in words or "authentication failed" in words or "no password" in words:
        return f"MOODLE_DB_URL: the database at {_place(url)} refuses this user and password."
    if "unknown database" in words or "does not exist" in words:
        return f"MOODLE_DB_URL: there is no database {url.database} at {_place(url)}."
    if "invalid connection option" in words:
        return _WRONG_OPTION
    return f"MOODLE_DB_URL: no database answers at {_place(url)}."


def _place(url: URL) -> str:
    return f"{url.host}:{url.port}" if url.port else str(url.host or url.database or "localhost")


def _failure(error: BaseException | None) -> str:
    """A sentence for a statement that failed, without its keys and values."""
    words = str(error).lower()
    if "max_statement_time" in words or "execution time" in words or "statement timeout" in words:
        return "MOODLE_DB_TIMEOUT: Moodle's database gave up a statement that took too long."
    return f"Moodle's database did not answer a query ({type(error).__name__})."
