"""What a run asks of the servers around it does not grow with its rows.

The statements are those that MariaDB itself has logged, the requests those that came to the event
store.
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import sqlalchemy as sa

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.embedded.sample import write_sample
from caliper_dagster_tests.harness.event_store_proxy import EventStoreProxy
from caliper_dagster_tests.harness.installation import between, installation
from caliper_dagster_tests.harness.servers import Server

END = Hour.from_key("2026-03-02-12:00")
HOURS = HourRange(END + -2, END)
BATCH_SIZE = 200

SMALL, LARGE = 10, 2800
"""Students of two sites whose logs have about 100 and about 10,000 rows in these hours."""

TYPES = {"INTEGER": "BIGINT", "REAL": "DOUBLE", "TEXT": "LONGTEXT"}


@dataclass(frozen=True)
class Cost:
    """What one backfill has asked for."""

    rows: int
    statements: Counter[str]
    requests: int
    events: list[int]


def copy_to_mariadb(sample: Path, url: str) -> None:
    """Copy a sample site from its SQLite file into an empty MariaDB database."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with closing(sqlite3.connect(sample)) as source, engine.begin() as target:
        tables = source.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            columns = source.execute(f"PRAGMA table_info({table})").fetchall()
            definitions = ", ".join(f"`{name}` {TYPES[kind]}" for _, name, kind, *_ in columns)
            target.exec_driver_sql(f"CREATE TABLE {table} ({definitions}, PRIMARY KEY (id))")
            rows = source.execute(f"SELECT * FROM {table}").fetchall()
            if rows:
                places = ", ".join(["%s"] * len(columns))
                target.exec_driver_sql(f"INSERT INTO {table} VALUES ({places})", rows)
        target.exec_driver_sql("CREATE INDEX by_time ON mdl_logstore_standard_log (timecreated)")


@contextmanager
def logged_statements(server: Server, account: str) -> Iterator[Counter[str]]:
    """All statements of an account, without their numbers; complete when the block ends."""
    statements: Counter[str] = Counter()
    engine = sa.create_engine(server.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        run = connection.exec_driver_sql
        before = run("SELECT @@GLOBAL.log_output, @@GLOBAL.general_log").one()
        run("SET GLOBAL log_output = 'TABLE', GLOBAL general_log = 1")
        try:
            yield statements
        finally:
            run("SET GLOBAL log_output = %s, GLOBAL general_log = %s", tuple(before))
        logged = run(
            "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log "
            "WHERE command_type = 'Query' AND user_host LIKE %s",
            (f"%[{account}]%",),
        )
        statements.update(re.sub(r"\d+(,\d+)*", "…", text) for text in logged.scalars())


def backfill(folder: Path, server: Server, students: int) -> Cost:
    """Backfill a sample site of this size from MariaDB, and count what it takes."""
    folder.mkdir()
    sample = folder / "moodle.sqlite"
    wwwroot = write_sample(
        sample, students=students, hours=len(HOURS), seed=10, end=HOURS.end
    ).wwwroot
    url = server.create_database()
    try:
        copy_to_mariadb(sample, url)
        reader = server.create_reader(url)
        with (
            installation(
                folder,
                reader,
                wwwroot,
                CALIPER_START="2026-03-01",
                CALIPER_BATCH_SIZE=str(BATCH_SIZE),
            ) as site,
            EventStoreProxy(site.settings["CALIPER_EVENT_STORE_URL"]) as proxy,
        ):
            account = str(sa.make_url(reader).username)
            with logged_statements(server, account) as statements:
                told = site.run("backfill", *between(HOURS), CALIPER_EVENT_STORE_URL=proxy.url)
            assert told.status == 0, told.err
            events = [len(site.events(HourRange(hour, hour + 1))) for hour in HOURS]
            assert sum(events) == told.number("Sent")
            return Cost(told.number("Log rows"), statements, proxy.envelopes, events)
    finally:
        server.drop_database(url)


def test_a_hundred_times_the_rows_take_the_same_statements_and_no_request_per_event(
    tmp_path: Path, mariadb_server: Server
) -> None:
    """Statements look up whole sets of keys, one for every 10,000 keys of one table.

    Which tables are asked depends on the kinds of activities and objects in the rows; both logs
    here hold all that the sample knows.
    """
    small = backfill(tmp_path / "small", mariadb_server, SMALL)
    large = backfill(tmp_path / "large", mariadb_server, LARGE)

    assert small.rows < 150
    assert large.rows > 10_000
    assert small.statements == large.statements
    assert small.statements.total() < 200
    for cost in (small, large):
        assert cost.requests == sum(ceil(events / BATCH_SIZE) for events in cost.events)
