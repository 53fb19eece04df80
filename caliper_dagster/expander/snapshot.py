"""The read-only snapshot, and the time limit of its statements, on a connection that is shared.

A pooler (PgBouncer, ProxySQL, MaxScale) gives one connection of the server to many clients, a
transaction at a time. A setting of the *session* would stay on it, so Moodle's next write would
fail, and our own next transaction could get a connection that lacks it. Hence all that is set here
ends with the transaction or with the statement. In MariaDB a statement that defines data (DROP,
CREATE, …) ends the transaction before it, so the snapshot does not refuse it; this package sends
none.

https://www.pgbouncer.org/features.html lists what a client of a pooled connection must not use.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

_MYSQL_BEGIN = (
    # Of the next transaction only.
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)

CONNECT_ARGUMENTS: dict[str, dict[str, Any]] = {
    # Otherwise PyMySQL sets the session's autocommit.
    "mysql": {"autocommit": None},
    # In the message that opens the connection; poolers keep it by client. The URL may ask for
    # another encoding.
    "postgresql": {"client_encoding": "UTF8"},
}
"""Arguments of the driver's ``connect`` with which it sets nothing for the session, by dialect."""


def begin_snapshots(engine: Engine, timeout: int) -> None:
    """Make each transaction of an engine a read-only snapshot whose statements have a time limit.

    Args:
        engine: of MariaDB, MySQL or PostgreSQL.
        timeout: seconds after which the database cancels a statement. On MariaDB and MySQL it holds
            for statements that go through SQLAlchemy; others are to be passed to `limited`.
    """
    if engine.dialect.name == "mysql":

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            for statement in _MYSQL_BEGIN:
                connection.exec_driver_sql(statement)

        @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
        def _limit(
            connection: Connection,
            _cursor: object,
            statement: str,
            parameters: object,
            *_: object,
        ) -> tuple[str, object]:
            return limited(connection.engine, statement, timeout), parameters

    else:

        @sa.event.listens_for(engine, "connect")
        def _snapshot(connection: Any, _record: object) -> None:  # noqa: ANN401 - of psycopg2
            # Part of every BEGIN; nothing is sent now.
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)

        @sa.event.listens_for(engine, "begin")
        def _set_locally(connection: Connection) -> None:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {timeout * 1000}")
            status = connection.connection.driver_connection.info.parameter_status  # type: ignore[union-attr]
            if status("server_encoding") == "SQL_ASCII":
                # It stores bytes without an encoding, and must not check what it sends.
                connection.exec_driver_sql("SET LOCAL client_encoding = 'SQL_ASCII'")


def limited(engine: Engine, statement: str, timeout: int) -> str:
    """A statement that the database cancels after so many seconds; only queries are changed.

    PostgreSQL has the limit from the transaction, and SQLite has none.
    """
    query = statement.lstrip()
    if engine.dialect.name != "mysql" or query[:7].upper() != "SELECT ":
        return statement
    if getattr(engine.dialect, "is_mariadb", False):
        return f"SET STATEMENT max_statement_time = {timeout} FOR {query}"
    return f"SELECT /*+ MAX_EXECUTION_TIME({timeout * 1000}) */ {query[7:]}"
