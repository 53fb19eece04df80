"""The events of an asset have distinct timestamps in PostgreSQL too."""

from collections.abc import Iterator

import pytest
from dagster._core.storage.event_log.base import EventLogStorage

from caliper_dagster.dagster.instance.bulk_postgres import PostgresStorage
from caliper_dagster_tests.unit.dagster.instance.test_distinct_times import (  # noqa: F401
    test_all_hours_of_a_run_are_told_apart,
    test_events_that_are_apart_keep_their_times,
    test_the_next_page_begins_where_the_last_one_ended,
)


@pytest.fixture
def storage(postgres_url: str) -> Iterator[EventLogStorage]:
    opened = PostgresStorage(postgres_url).event_log_storage
    yield opened
    opened.dispose()
