"""Accounts of a database server that may read some of Moodle's tables."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextlib import suppress

import sqlalchemy as sa

from caliper_dagster_tests.harness.servers import Server

LOG = "logstore_standard_log"
_ATTEMPTS = 5


class PartlyReadable:
    """A Moodle database with the prefix ``mdl_``, and accounts that may read parts of it."""

    def __init__(self, server: Server, url: str) -> None:
        self.server, self.url = server, sa.make_url(url)
        names = sa.inspect(sa.create_engine(url, poolclass=sa.NullPool)).get_table_names()
        self.tables = sorted(name.removeprefix("mdl_") for name in names)
        self._accounts: list[str] = []

    def account(self, tables: Iterable[str]) -> str:
        """The URL of a new account that may read these tables only."""
        name, password = f"only_{secrets.token_hex(5)}", secrets.token_hex(12)
        self._accounts.append(name)
        if self.server.kind == "mariadb":
            self.run(f"CREATE USER '{name}'@'%%' IDENTIFIED BY '{password}'")
            prefix, to = f"{self.url.database}.mdl_", f"'{name}'@'%%'"
        else:
            self.run(
                f"CREATE ROLE {name} LOGIN PASSWORD '{password}'",
                f"GRANT USAGE ON SCHEMA public TO {name}",
            )
            prefix, to = "mdl_", name
        self.run(*(f"GRANT SELECT ON {prefix}{table} TO {to}" for table in tables))
        return self.url.set(username=name, password=password).render_as_string(hide_password=False)

    def run(self, *statements: str) -> None:
        """Run statements as the administrator, in this database.

        The tests of another process may change the same row of a catalog, which PostgreSQL
        refuses: then a statement is repeated.
        """
        with self.server._administrator(self.url.database) as connection:
            for statement in statements:
                for _ in range(_ATTEMPTS - 1):
                    with suppress(sa.exc.InternalError):
                        connection.exec_driver_sql(statement)
                        break
                else:
                    connection.exec_driver_sql(statement)

    def drop_accounts(self) -> None:
        """Remove the accounts that were made."""
        for name in self._accounts:
            if self.server.kind == "mariadb":
                self.run(f"DROP USER '{name}'@'%%'")
            else:
                self.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def grants_in(text: str) -> list[str]:
    """The GRANT statements in a text, for :meth:`PartlyReadable.run`."""
    return [found.replace("%", "%%") for found in re.findall(r"GRANT [^;]+;", text)]
