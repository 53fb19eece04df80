"""What is wrong with Moodle's database, in a sentence that names the setting to correct.

Of the drivers' errors, some words and the code are looked at. What they quote (a host's own words,
keys and values of a statement, a password) is never repeated.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence

import psycopg2
import pymysql
from pymysql.constants import CR
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from caliper_dagster.core.errors import Sentence, SettingName
from caliper_dagster.core.postgres_deadlines import NoAnswer

DATABASE_URL = SettingName("MOODLE_DB_URL")
LOG_DATABASE_URL = SettingName("MOODLE_LOG_DB_URL")
_PREFIX = SettingName("MOODLE_DB_PREFIX")
_TIMEOUT = SettingName("MOODLE_DB_TIMEOUT")
_LOG_TABLE = SettingName("MOODLE_LOG_TABLE")
_SUBJECTS = {DATABASE_URL: "Moodle's database", LOG_DATABASE_URL: "Moodle's log database"}

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
DENIED = {1142, 1143, "42501"}
"""Codes of errors about a missing right: of MySQL for a table and a column, of PostgreSQL."""
NO_SUCH_TABLE = 1146
_NO_RIGHT_TO_DATABASE = 1044


def no_table(prefix: str, table: str, prefixes: Sequence[str]) -> Sentence:
    """The database has no such table with this prefix; with others, it has."""
    missing = Sentence(
        _PREFIX, ": the database of ", DATABASE_URL, f" has no table {prefix}{table}"
    )
    if not prefixes:
        return Sentence(
            missing,
            " that this account may read: let ",
            DATABASE_URL,
            " name Moodle's database and an account that may SELECT.",
        )
    found = " and ".join(other + table for other in prefixes)
    values = " or ".join(other or "nothing" for other in prefixes)
    return Sentence(missing, f", but {found}: set ", _PREFIX, f" to {values}.")


def no_own_log(setting: SettingName, names: Sequence[str]) -> Sentence:
    """The database does not have the log under any of these names."""
    return Sentence(
        _LOG_TABLE,
        ": the database of ",
        setting,
        f" has no table {' or '.join(dict.fromkeys(names))} that this account may read: name the "
        "table that Moodle writes its log to (Site administration, Plugins, Logging, External "
        "database log), and an account that may SELECT from it.",
    )


def no_tables(prefix: str, example: str, prefixes: Sequence[str]) -> Sentence:
    """The database has no table with this prefix; of an example, it has tables with others."""
    values = " or ".join(other or "nothing" for other in prefixes)
    missing = Sentence(
        _PREFIX,
        ": the database of ",
        DATABASE_URL,
        f" has no table {prefix}{example} or any other ",
    )
    if not prefixes:
        return Sentence(
            missing,
            "of Moodle that this account may read: let ",
            DATABASE_URL,
            " name Moodle's database and an account that may SELECT.",
        )
    return Sentence(missing, "with this prefix: set ", _PREFIX, f" to {values}.")


def of_connection(setting: SettingName, url: URL, error: DBAPIError) -> str:
    """Why a connection was not opened."""
    if _is_silence(error.orig):
        return _silent_address(setting, url)
    reason, place = str(error.orig).lower(), _address(url)
    if code(error.orig) == _NO_RIGHT_TO_DATABASE:
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
        return unknown_option(setting)
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


def unknown_option(setting: SettingName) -> Sentence:
    """The URL asks for something that the driver does not know."""
    return Sentence(setting, ": the driver does not know an option after the ? of the URL.")


def unreadable_certificate(setting: SettingName, error: OSError) -> str:
    """A file of the URL's TLS options cannot be used."""
    reason = "" if isinstance(error, ssl.SSLError) else error.strerror
    return Sentence(
        setting,
        ": a file that is named after the ? of the URL (ssl_ca, ssl_cert, ssl_key) cannot be used: "
        f"{reason or 'it holds no certificate or key in the form PEM'}.",
    )


def unreadable(setting: SettingName, url: URL) -> Sentence:
    """What answers there, or the file of that name, is no database."""
    return Sentence(setting, f": {_address(url)} cannot be read as a database.")


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


def silent(setting: SettingName) -> Sentence:
    """The database was asked and said nothing."""
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


def code(error: BaseException | None) -> object:
    """The code of a driver's error: MySQL's number or PostgreSQL's SQLSTATE; None without one."""
    if isinstance(error, psycopg2.Error):
        return error.pgcode
    return error.args[0] if error is not None and error.args else None


def of_statement(setting: SettingName, error: BaseException | None) -> str:
    """The message for a failed statement, without its keys and values."""
    subject = _SUBJECTS[setting]
    if _is_silence(error):
        return silent(setting)
    if code(error) in DENIED:
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
            return Sentence(f"{subject} did not answer a query: {problem}.")
    return Sentence(f"{subject} did not answer a query ({type(error).__name__}).")
