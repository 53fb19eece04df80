"""PostgreSQL: Moodle's tables are in any schema of ``search_path``."""

from __future__ import annotations

import sqlalchemy as sa

from caliper_dagster.core.hours import HourRange
from caliper_dagster.expander import MoodleDatabase
from caliper_dagster_tests.harness.handmade_site import HOUR, whole_log
from caliper_dagster_tests.unit.expander.test_connection import LOG, fill


def test_tables_are_found_in_every_schema_of_the_search_path(postgres_url: str) -> None:
    fill(postgres_url)
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in (
            "CREATE SCHEMA moodle",
            "CREATE SCHEMA other",
            "ALTER TABLE mdl_groups SET SCHEMA moodle",
            "CREATE TABLE moodle.mdl_user (id BIGINT, email TEXT)",
            "CREATE TABLE other.mdl_course (id BIGINT)",
        ):
            connection.execute(sa.text(statement))
    url = sa.make_url(postgres_url).update_query_dict({"options": "-csearch_path=public,moodle"})

    with MoodleDatabase.open(url.render_as_string(hide_password=False)) as database:
        assert whole_log(database, HourRange(HOUR, HOUR + 1)).num_rows == 3
        assert [row["name"] for row in database.records("groups", ["name"])] == ["A"]
        # The first schema that has the table is the one that a statement reads.
        assert "email" not in database.columns("user")
        assert len(database.records("user", ["id", "name"])) == 2
        assert not database.has_table("course")
        assert database.has_table(LOG)
