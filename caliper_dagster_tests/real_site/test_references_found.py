"""When `most_references_found` warns: of a table that is missing, and hardly of deleted courses."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa

from caliper_dagster.core.partition_store import split_by_hour
from caliper_dagster.dagster.asset_checks import references_found
from caliper_dagster.expander import MoodleDatabase, expand, read_log
from caliper_dagster_tests.harness.accounts import PartlyReadable
from caliper_dagster_tests.harness.moodle_dump import DUMP_HOURS
from caliper_dagster_tests.harness.servers import Server


def hours_with_a_warning(expanded: pa.Table) -> int:
    by_hour = {hour: rows for hour, rows in split_by_hour(expanded, DUMP_HOURS) if len(rows)}
    unresolved = {hour: len(it) - it["unresolved"].null_count for hour, it in by_hour.items()}
    result = references_found(
        dg.AssetKey("expanded_log"), {hour: len(it) for hour, it in by_hour.items()}, unresolved
    )
    assert len(by_hour) == 93
    return 0 if result.passed else int((result.description or "").split(" of ")[0].split()[-1])


def test_courses_that_were_deleted_are_a_warning_in_few_hours(expanded: pa.Table) -> None:
    assert hours_with_a_warning(expanded) == 2


def test_a_table_of_courses_that_is_missing_is_a_warning_in_nearly_all(
    moodle_dump_mariadb: str, mariadb_server: Server
) -> None:
    site = PartlyReadable(mariadb_server, moodle_dump_mariadb)
    url = site.account(it for it in site.tables if it != "course")
    try:
        with MoodleDatabase.open(url, without=["course"]) as database:
            log = pa.concat_tables(table for _, table in read_log(database, DUMP_HOURS))
            assert hours_with_a_warning(expand(database, log.unify_dictionaries())) == 89
    finally:
        site.drop_accounts()
