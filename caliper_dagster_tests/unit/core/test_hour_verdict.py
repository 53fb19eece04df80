"""The verdict on an hour: what is kept of it, and what it withholds."""

from __future__ import annotations

import json

import pytest

from caliper_dagster.core.hour_verdict import HourVerdict, Reason
from caliper_dagster.core.row_accounting import DeliveryCounts


def kept(verdict: HourVerdict) -> HourVerdict | None:
    """The verdict as the footer of a file gives it back."""
    return HourVerdict.from_footer_stats(json.loads(json.dumps(verdict.as_footer_stats())))


@pytest.mark.parametrize(
    ("counts", "hour_reason", "invalid"),
    [
        ({}, None, 0),
        ({Reason.INVALID: 3}, None, 3),
        ({Reason.UNEXPLAINED: 1, Reason.INVALID: 2}, "unexplained", 2),
        ({Reason.UNEXPLAINED: 0, Reason.REPEATED_ID: 1}, "repeated_id", 0),
    ],
)
def test_what_a_verdict_withholds(
    counts: dict[Reason, int], hour_reason: str | None, invalid: int
) -> None:
    verdict = kept(HourVerdict.of(counts))
    assert verdict is not None
    assert (verdict.hour_reason, verdict.invalid) == (hour_reason, invalid)


def test_an_hour_of_an_earlier_release_has_no_verdict() -> None:
    assert HourVerdict.from_footer_stats({"rows": 3, "unexplained": 0}) is None


def test_a_reason_of_a_later_release_withholds_the_hour() -> None:
    verdict = HourVerdict.from_footer_stats({"verdict": {"leaked": 1}})
    assert verdict is not None
    assert verdict.hour_reason == "leaked"


def test_what_is_withheld_is_not_acknowledged() -> None:
    one = DeliveryCounts(events=10, rejected=1, filtered={"include": 2}, withheld={"invalid": 3})
    assert (one.acknowledged, one.is_withheld) == (4, False)
    other = DeliveryCounts(events=5, withheld={"unexplained": 5})
    assert (other.acknowledged, other.is_withheld) == (0, True)
    assert (one + other).acknowledged == 4
    assert (one + other).withheld == {"unexplained": 5, "invalid": 3}
    assert DeliveryCounts.from_footer_stats(one.as_footer_stats()) == one


def test_an_hour_without_events_to_withhold_is_withheld_all_the_same() -> None:
    answered_before = DeliveryCounts(events=5, withheld={"unexplained": 0})
    assert (answered_before.acknowledged, answered_before.is_withheld) == (5, True)
