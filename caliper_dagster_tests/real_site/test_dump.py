"""The real site's database, as the other tests read it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from caliper_dagster_tests.harness.moodle_dump import LOG_TABLE


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement))]


@pytest.mark.parametrize("fixture", ["moodle_dump_mariadb", "moodle_dump_postgres"])
def test_reader_cannot_write(fixture: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(fixture)
    with pytest.raises(sa.exc.DBAPIError, match=r"denied"):
        query(url, f"DELETE FROM {LOG_TABLE}")


def test_dump_is_the_same_in_both_servers(
    moodle_dump_mariadb: str, moodle_dump_postgres: str
) -> None:
    tables = sa.inspect(sa.create_engine(moodle_dump_mariadb)).get_table_names()
    assert len(tables) == 321
    assert sorted(tables) == sorted(
        sa.inspect(sa.create_engine(moodle_dump_postgres)).get_table_names()
    )
    counts = " UNION ALL ".join(f"SELECT '{table}', COUNT(*) FROM {table}" for table in tables)
    assert dict(query(moodle_dump_mariadb, counts)) == dict(query(moodle_dump_postgres, counts))

    log = f"SELECT * FROM {LOG_TABLE} ORDER BY id"
    rows = query(moodle_dump_mariadb, log)
    assert len(rows) == 31_101
    assert rows == query(moodle_dump_postgres, log)
