"""Rows of former members and deleted modules are found on MariaDB and PostgreSQL as on SQLite."""

from caliper_dagster_tests.unit.expander.lookups.test_log_lifecycle import *  # noqa: F403
