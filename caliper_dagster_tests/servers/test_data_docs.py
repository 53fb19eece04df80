"""A month in an object store is read with the lines that ``docs/data.md`` shows."""

from caliper_dagster_tests.unit.core.test_data_docs import *  # noqa: F403
