"""The time limit of a statement, in the words of each database."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from caliper_dagster.expander.snapshot import limited

QUERY = "SELECT id FROM mdl_user"
DRIVERS = {"mariadb": "mysql+pymysql", "mysql": "mysql+pymysql"}


@pytest.mark.parametrize(
    ("server", "query"),
    [
        ("mariadb", f"SET STATEMENT max_statement_time = 7 FOR {QUERY}"),
        ("mysql", "SELECT /*+ MAX_EXECUTION_TIME(7000) */ id FROM mdl_user"),
        ("postgresql", QUERY),
        ("sqlite", QUERY),
    ],
)
def test_only_a_query_gets_the_limit_and_only_where_it_stands_in_the_query(server, query):
    engine = sa.create_engine(f"{DRIVERS.get(server, server)}://")
    if server == "mariadb":
        engine.dialect.is_mariadb = True  # as SQLAlchemy finds out when it connects
    assert limited(engine, QUERY, 7) == query
    assert limited(engine, "SHOW GRANTS", 7) == "SHOW GRANTS"
