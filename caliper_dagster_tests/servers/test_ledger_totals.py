"""The totals of a ledger in PostgreSQL."""

from collections.abc import Iterator

import pytest

from caliper_dagster.emitter import Ledger
from caliper_dagster_tests.unit.emitter.test_ledger_totals import (  # noqa: F401
    test_totals_are_those_of_each_event_store_of_the_site,
)


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    with Ledger(postgres_url) as opened:
        yield opened
