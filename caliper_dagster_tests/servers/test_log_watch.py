"""Rows that come late are noticed on MariaDB and PostgreSQL as on SQLite."""

from caliper_dagster_tests.unit.delivery.test_log_watch import (  # noqa: F401
    site,
    test_a_memory_that_is_lost_takes_nothing_again,
    test_deleted_rows_change_nothing_and_hide_nothing,
    test_hours_that_grew_are_taken_with_one_statement,
    test_ids_that_become_visible_out_of_order_are_seen,
)
