"""Many references that lead to no record are a warning of the check of an hour."""

import dagster as dg

from caliper_dagster.core.hours import Hour
from caliper_dagster.dagster.asset_checks import references_found

KEY = dg.AssetKey("expanded_log")
FIRST = Hour.from_key("2026-01-31-22:00")


def test_hours_with_some_deleted_courses_pass() -> None:
    result = references_found(KEY, {FIRST: 20, FIRST + 1: 0}, {FIRST: 12, FIRST + 1: 0})
    assert result.passed


def test_more_than_60_percent_are_a_warning_that_names_the_hour() -> None:
    result = references_found(KEY, {FIRST: 20, FIRST + 1: 20}, {FIRST: 12, FIRST + 1: 13})
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert result.description == (
        "rows with unresolved references in 1 of 2 hours: 2026-01-31T23:00Z: 13"
    )
