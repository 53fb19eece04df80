"""The tables of the ledger: how they are declared, created, and brought up to date.

Names of tables and columns stay as they are; a release may only add. A column that is added has a
default, so that a process of an earlier release goes on writing to the same ledger.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.revisions import OLDEST_REVISION
from caliper_dagster.emitter.ledger.backlog import backlog_table
from caliper_dagster.emitter.ledger.leases import leases_table
from caliper_dagster.emitter.ledger.pseudonym_keys import pseudonym_keys_table
from caliper_dagster.emitter.ledger.sites import sites_table
from caliper_dagster.emitter.ledger.tombstones import tombstones_table

_MIGRATION_LOCK = 0x43414C495045
"""Key of PostgreSQL's advisory lock under which tables and columns are created."""

TABLES = sa.MetaData()
BATCHES = sa.Table(
    "caliper_batch",
    TABLES,
    # SQLite numbers rows by itself only in a column declared INTEGER.
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("site", sa.Text, nullable=False, comment="site whose events they are"),
    sa.Column("event_store", sa.Text, nullable=False, comment="name of the event store"),
    sa.Column("hour", sa.Integer, nullable=False, comment="hours since 1970, UTC"),
    sa.Column("batch_id", sa.Text, nullable=False, unique=True, comment="urn:uuid of the batch"),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("events", sa.Integer, nullable=False, comment="number of events"),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="size of the envelope"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("http_status", sa.Integer),
    sa.Column("sent_at", sa.BigInteger, nullable=False, comment="milliseconds since 1970, UTC"),
    sa.Column("answered_at", sa.BigInteger, nullable=False, comment="milliseconds since 1970, UTC"),
    sa.Column("error", sa.Text, comment="message of the event store if it rejected the event"),
    sa.Column(
        "mapping_revision",
        sa.Integer,
        nullable=False,
        server_default=sa.text(str(OLDEST_REVISION)),
        comment="revision of the mapping that made the events (core.revisions)",
    ),
    sa.Column(
        "fingerprints",
        sa.LargeBinary,
        nullable=False,
        comment="per event: 16 bytes of its uuid, 8 bytes of BLAKE2b over its JSON",
    ),
)
LEASES = leases_table(TABLES)
BACKLOG = backlog_table(TABLES)
SITES = sites_table(TABLES)
TOMBSTONES = tombstones_table(TABLES)
PSEUDONYM_KEYS = pseudonym_keys_table(TABLES)
sa.Index("caliper_batch_hour", BATCHES.c.site, BATCHES.c.event_store, BATCHES.c.hour)

_ADDED_COLUMNS = (BATCHES.c.mapping_revision,)
"""Columns that ledgers of earlier releases lack."""


def prepare(connection: sa.Connection) -> None:
    """Create the tables, or add what a ledger of an earlier release lacks.

    Processes that open the same ledger at once wait for each other. An account that may neither
    create nor alter tables can use a ledger that is up to date.

    Raises:
        ConfigurationError: the account may not add a table or column to an older ledger; the
            sentence holds the statements that the owner of the tables has to run.
        SQLAlchemyError: the tables cannot be created, or the database failed.
    """
    if not (_missing_tables(connection) or _missing_columns(connection)):
        return
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    else:
        # Python's driver opens no transaction for DDL by itself, and without one two processes
        # would both find a column missing.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    # Not even CREATE … IF NOT EXISTS is allowed to every account that can use the tables.
    missing = _missing_tables(connection)
    if BATCHES not in missing:
        _upgrade(connection, missing)
        return
    for table in missing:
        connection.execute(CreateTable(table))
        for index in table.indexes:
            connection.execute(CreateIndex(index))


def _missing_tables(connection: sa.Connection) -> list[sa.Table]:
    inspector = sa.inspect(connection)
    return [table for table in TABLES.sorted_tables if not inspector.has_table(table.name)]


def _missing_columns(connection: sa.Connection) -> list[sa.Column[int]]:
    names = {column["name"] for column in sa.inspect(connection).get_columns(BATCHES.name)}
    return [column for column in _ADDED_COLUMNS if column.name not in names]


def _upgrade(connection: sa.Connection, missing: Iterable[sa.Table]) -> None:
    """Add what a ledger of an earlier release lacks; tables of its time have no index to add."""
    statements = []
    for table in missing:
        words = str(CreateTable(table).compile(dialect=connection.dialect))
        statements.append(" ".join(words.split()))
    for column in _missing_columns(connection):
        definition = CreateColumn(column).compile(dialect=connection.dialect)
        statements.append(f"ALTER TABLE {BATCHES.name} ADD COLUMN {definition}")
    try:
        for statement in statements:
            connection.execute(sa.text(statement))
    except sa.exc.ProgrammingError:
        raise ConfigurationError(
            Sentence(
                "The ledger of ",
                SettingName("CALIPER_LEDGER_URL"),
                " is that of an earlier release, and its account may not create or alter tables: "
                f"have the owner of {BATCHES.name} run `{'; '.join(statements)}`, and grant the "
                "account SELECT, INSERT, UPDATE and DELETE on new tables.",
            )
        ) from None
