import dagster as dg

from caliper_dagster.accounting import Account, Delivery
from caliper_dagster.checks import acknowledged, explained
from caliper_dagster.hours import Hour, HourRange

KEY = dg.AssetKey("caliper_events")
FIRST = Hour.from_key("2026-01-31-22:00")


def test_hours_that_are_explained_pass() -> None:
    result = explained(KEY, {FIRST: Account(rows=3), FIRST + 1: Account()})
    assert result.passed
    assert result.metadata["hours"].value == 2


def test_hours_that_fall_short_are_named() -> None:
    result = explained(KEY, {FIRST: Account(), FIRST + 1: Account(unexplained=2)})
    assert not result.passed
    assert result.description == "unexplained rows in 1 of 2 hour(s): 2026-01-31T23:00Z: 2"
    assert result.metadata["unexplained rows"].value == 2
    assert result.metadata["hours that fall short"].value == ["2026-01-31-23:00"]


def test_only_the_first_hours_are_named() -> None:
    result = explained(KEY, dict.fromkeys(HourRange(FIRST, FIRST + 168), Account(unexplained=1)))
    assert result.metadata["unexplained rows"].value == 168
    assert len(result.metadata["hours that fall short"].value) == 20


def test_events_that_have_not_arrived_are_named() -> None:
    delivered = {FIRST: Delivery(events=2), FIRST + 1: Delivery(events=2, outstanding=1)}
    result = acknowledged(dg.AssetKey("emission_results"), delivered)
    assert not result.passed
    assert result.description == "outstanding events in 1 of 2 hour(s): 2026-01-31T23:00Z: 1"


def test_rejected_events_are_a_warning_that_names_the_hours() -> None:
    delivered = {FIRST: Delivery(events=2), FIRST + 1: Delivery(events=2, rejected=1)}
    result = acknowledged(dg.AssetKey("emission_results"), delivered)
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert result.description == "rejected events in 1 of 2 hour(s): 2026-01-31T23:00Z: 1"


def test_events_that_have_not_arrived_weigh_more_than_rejected_ones() -> None:
    delivered = {FIRST: Delivery(events=2, rejected=1, outstanding=1)}
    result = acknowledged(dg.AssetKey("emission_results"), delivered)
    assert result.severity is dg.AssetCheckSeverity.ERROR
    assert "outstanding" in str(result.description)
