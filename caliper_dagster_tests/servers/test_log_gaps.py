"""Ids and times of no sequence, on MariaDB and PostgreSQL as on SQLite."""

from caliper_dagster_tests.unit.delivery.test_log_watch_gaps import *  # noqa: F403
from caliper_dagster_tests.unit.expander.lookups.test_log_gaps import *  # noqa: F403
