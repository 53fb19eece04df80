"""Standing checks on sets of hours: what is wrong, in which words, and how bad it is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from caliper_dagster.core.hours import Hour
from caliper_dagster.delivery.standing import (
    failed_hours_retried,
    newest_hour_recent,
    no_backlog,
    share_is_small,
)

NOON = Hour.from_key("2026-03-02-12:00")
HOUR = 3600


def test_a_failed_hour_that_no_sensor_retries() -> None:
    assert failed_hours_retried([NOON], {NOON, NOON + 1}).problem is None
    result = failed_hours_retried([NOON + 1, NOON, NOON + 2], {NOON + 1})
    assert result.problem == (
        "2 hours failed and are not retried, the first of them 2026-03-02T12:00Z: switch the "
        "sensors on, or run `caliper-dagster backfill --from 2026-03-02T12:00Z --to "
        "2026-03-02T15:00Z`."
    )
    assert not result.is_warning


@pytest.mark.parametrize(
    ("age", "problem"),
    [
        (3, None),
        (4.5, "The newest hour is 2026-03-02T12:00Z: 4 hours have passed, and at most 3 may."),
    ],
)
def test_the_age_of_the_newest_hour(age: float, problem: str | None) -> None:
    now = NOON.end + age * HOUR
    assert newest_hour_recent(NOON, NOON + -100, now, 3).problem == problem


def test_an_event_store_that_has_no_hour_yet() -> None:
    assert newest_hour_recent(None, NOON, NOON.start + 2 * HOUR, 3).problem is None
    assert newest_hour_recent(None, NOON, NOON.start + 9 * HOUR, 3).problem == (
        "No hour since 2026-03-02T12:00Z is there: 9 hours have passed, and at most 3 may."
    )


def test_new_hours_have_waited_since_their_end() -> None:
    now = NOON.end + 700
    assert no_backlog((), NOON, None, now, 3).problem is None
    one = no_backlog({NOON}, NOON + -1, None, now, 3)
    assert one.is_warning
    assert one.problem == (
        "1 hour waits since 2026-03-02 13:00 UTC, the first of them 2026-03-02T12:00Z, the last "
        "2026-03-02T12:00Z."
    )
    five = no_backlog({NOON + n for n in range(5)}, NOON + -1, None, now + 4 * HOUR, 3)
    assert not five.is_warning
    assert five.numbers["waiting since"] == datetime(2026, 3, 2, 13, tzinfo=UTC)
    assert five.numbers["hours"] == 5


def test_old_hours_have_waited_since_they_were_found() -> None:
    """A backfill of today may have failed; its hours have not waited for years."""
    now, old = NOON.end + 700.0, NOON + -20_000
    found = no_backlog({old}, NOON, None, now, 3)
    assert found.numbers["waiting since"] == datetime.fromtimestamp(now, UTC)
    later = no_backlog({old}, NOON + 5, now, now + 5 * HOUR, 3)
    assert later.numbers["waiting since"] == datetime.fromtimestamp(now, UTC)
    assert (found.is_warning, later.is_warning) == (True, False)


def test_a_share_of_a_day() -> None:
    assert share_is_small("are odd", 100, 1000, 0.1).problem is None
    assert share_is_small("are odd", 90, 99, 0.1).problem is None  # too few to say anything
    result = share_is_small("are odd", 1200, 4000, 0.1)
    assert result.problem == (
        "1,200 of the 4,000 log rows of the last 24 hours are odd: 30%, and at most 10% may."
    )
    assert result.is_warning
