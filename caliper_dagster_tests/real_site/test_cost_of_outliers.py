"""What a run of one hour costs on a log with ids and times that are out of all sequence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery.materialize import write_expanded, write_log
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster_tests.harness import servers
from caliper_dagster_tests.harness.moodle_dump import LOG_TABLE, load_dump

HOUR = Hour.from_key("2026-03-25-10:00")
IN_2038 = 2**31 - 1


@dataclass(frozen=True)
class Cost:
    """Statements that were sent, and rows that the server read for them."""

    statements: int
    rows: int


@pytest.fixture
def dump_url(mariadb_server: servers.Server) -> Iterator[str]:
    """The real site's database, to be changed."""
    url = mariadb_server.create_database()
    load_dump(url)
    yield url
    mariadb_server.drop_database(url)


def rows_read(database: MoodleDatabase) -> int:
    reads = sa.text("SHOW SESSION STATUS LIKE 'Handler_read%'")
    return sum(int(number) for _, number in database.execute(reads))


def cost(url: str, folder: Path, hour: Hour) -> Cost:
    """Of reading and expanding one hour into an empty storage."""
    hours, store = HourRange(hour, hour + 1), PartitionStore(str(folder))
    with MoodleDatabase.open(url) as database:
        statements, rows = database.statements, rows_read(database)
        (written,) = write_log(database, store, hours)
        assert written.rows
        write_expanded(database, store, hours, fresh=False)
        return Cost(database.statements - statements, rows_read(database) - rows)


@pytest.mark.parametrize("far", [10**10, 2**63 - 1])
def test_an_id_far_away_and_a_row_of_2038_cost_next_to_nothing(
    dump_url: str, tmp_path: Path, far: int
) -> None:
    before = cost(dump_url, tmp_path / "before", HOUR)
    with sa.create_engine(dump_url, poolclass=sa.NullPool).begin() as connection:
        for change in (
            f"CREATE TEMPORARY TABLE outlier SELECT * FROM {LOG_TABLE} ORDER BY id LIMIT 1",
            f"UPDATE outlier SET id = {far}",
            f"INSERT INTO {LOG_TABLE} SELECT * FROM outlier",
            f"UPDATE {LOG_TABLE} SET timecreated = {IN_2038} ORDER BY id LIMIT 1",
        ):
            connection.exec_driver_sql(change)
    after = cost(dump_url, tmp_path / "after", HOUR)
    assert after.statements <= 1.2 * before.statements
    assert after.rows <= 1.2 * before.rows
    # Nothing is stored for ids without rows.
    assert PartitionStore(str(tmp_path / "after")).id_range_tables("log_lifecycle").ranges() == []
