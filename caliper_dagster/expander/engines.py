"""From the URL of Moodle's database to a connection: driver, time limits, lenient decoding.

A driver raises many kinds of errors for what is wrong with a URL or a server; all become one that
names the setting.
"""

from __future__ import annotations

import codecs
import socket
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pymysql
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from caliper_dagster.core import postgres_deadlines
from caliper_dagster.core.database_url import require_encoded_account
from caliper_dagster.core.deadlines import Deadline
from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.postgres_deadlines import CONNECT_SECONDS
from caliper_dagster.expander import bulk_read, database_failures
from caliper_dagster.expander.snapshot import CONNECT_ARGUMENTS, begin_snapshots

_DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
}
_SUPPORTED = {"mysql+pymysql", "postgresql+psycopg2", "sqlite"}
_LENIENT = "caliper_dagster_utf8"
REPORT_SECONDS = 5
"""Seconds that the database has, after a statement timed out, to report it."""


def connect(setting: SettingName, url: URL, timeout: int) -> tuple[Engine, Connection]:
    """An engine for one connection, and that connection.

    Args:
        setting: the setting that names the database.
        url: as `parse` returns it.
        timeout: seconds after which the database cancels a statement.

    Raises:
        ConfigurationError: no database answers, it rejects the account, or the URL has an option
            that cannot be used.
    """
    engine = _engine(setting, url, timeout)
    try:
        return engine, engine.connect()
    except DBAPIError as error:
        failure = database_failures.of_connection(setting, url, error)
    except OSError as error:
        # PyMySQL reads the files of TLS options before it connects.
        failure = database_failures.unreadable_certificate(setting, error)
    except (TypeError, ValueError, LookupError, AttributeError):
        # PyMySQL raises these for options that it does not know.
        failure = database_failures.unknown_option(setting)
    engine.dispose()
    raise ConfigurationError(failure)


def parse(setting: SettingName, url: str) -> URL:
    """The URL with the driver that this package uses.

    Raises:
        ConfigurationError: it is no URL, or one of another kind of database. The message names the
            setting and nothing of the URL.
    """
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
    limit = timeout + REPORT_SECONDS
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
        deadline.watch_later(partial(socket_of, connection))
        connection.connect()
    if connection.encoding == "utf8":  # the URL may ask for another character set
        connection.encoding = _LENIENT
    return connection


def socket_of(connection: pymysql.Connection) -> socket.socket | None:
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
