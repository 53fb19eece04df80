"""What a database account may write: this project never does, but a leaked password could."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa

from caliper_dagster.expander.connection import LOG, MoodleDatabase

_GRANT = re.compile(
    r"GRANT (?P<rights>.+?) ON (?:TABLE )?"
    r"(?:\*|[`\"](?P<database>(?:[^`\"])+)[`\"])\.(?:\*|[`\"](?P<table>(?:[^`\"])+)[`\"]) TO "
)
"""A line of ``SHOW GRANTS`` about tables; those about roles, procedures and proxies differ."""

_COLUMNS = re.compile(r"\([^)]*\)")
_WRITING = frozenset(
    {"ALL", "ALL PRIVILEGES", "INSERT", "UPDATE", "DELETE", "DROP", "CREATE", "ALTER", "TRIGGER"}
)

_POSTGRES = """
SELECT c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'p')
AND pg_catalog.pg_table_is_visible(c.oid)
AND (pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
    OR pg_catalog.has_any_column_privilege(c.oid, 'INSERT, UPDATE'))
ORDER BY c.relname
"""


@dataclass(frozen=True, slots=True)
class WriteRights:
    """What an account may write in a Moodle database.

    Attributes:
        everywhere: whether a right is for the whole database.
        tables: the names of single tables, with prefix.
    """

    everywhere: bool = False
    tables: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.everywhere or bool(self.tables)


def write_rights(database: MoodleDatabase) -> WriteRights:
    """The rights of the account that the connection uses; none for a file of SQLite.

    Raises:
        SourceError: the database cannot be read.
    """
    if database.dialect == "mysql":
        return _in_mysql(database)
    if database.dialect == "postgresql":
        tables = [str(row[0]) for row in database.execute(sa.text(_POSTGRES))]
        log = database.name(LOG)
        own = (it for it in tables if it.startswith(database.prefix) or it == log)
        return WriteRights(tables=tuple(own))
    return WriteRights()


def _in_mysql(database: MoodleDatabase) -> WriteRights:
    ((name,),) = database.execute(sa.text("SELECT DATABASE()"))
    tables = set()
    for (line,) in database.execute(sa.text("SHOW GRANTS")):
        grant = _GRANT.match(str(line))
        if grant is None or not _writes(grant["rights"]) or not _covers(grant["database"], name):
            continue
        if grant["table"] is None:
            return WriteRights(everywhere=True)
        tables.add(grant["table"])
    return WriteRights(tables=tuple(sorted(tables)))


def _writes(rights: str) -> bool:
    named = _COLUMNS.sub("", rights.upper()).split(",")
    return any(right.strip() in _WRITING for right in named)


def _covers(pattern: str | None, name: str) -> bool:
    """Whether a grant is for a database; its name may have the wildcards of LIKE."""
    if pattern is None:
        return True
    parts = re.findall(r"\\.|.", pattern)
    wildcards = {"%": ".*", "_": "."}
    expression = "".join(wildcards.get(part, re.escape(part[-1])) for part in parts)
    return re.fullmatch(expression, name) is not None
