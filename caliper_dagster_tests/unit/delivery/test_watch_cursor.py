"""The cursor of the sensor ``late_rows``: in words, and still read from earlier releases."""

import json

from caliper_dagster.core.hours import Hour
from caliper_dagster.delivery.watch_state import WatchCursor

FORMER = (
    '{"low":5,"high":9,"high_since":1772449205.25,"seen":{"492347":[3,12]},"frontier":492347,'
    '"reopened":[492340,492341],"tried":[492340,492342],"place":492342,"size":4,"wait":60.0,'
    '"after":1772449265.5}'
)
"""As the release before this one stored it."""


def test_a_cursor_of_an_earlier_release_is_read() -> None:
    cursor = WatchCursor.model_validate_json(FORMER)
    assert (cursor.low, cursor.high, cursor.high_since) == (5, 9, 1772449205.25)
    assert (cursor.frontier, cursor.reopened) == (492347, {492340, 492341})
    assert (cursor.tried, cursor.place, cursor.size) == ((492340, 492342), 492342, 4)
    assert (cursor.wait, cursor.after, cursor.seen) == (60, 1772449265.5, {492347: (3, 12)})


def test_a_person_can_read_it_and_so_can_the_next_look() -> None:
    cursor = WatchCursor.model_validate_json(FORMER)
    stored = cursor.model_dump_json(indent=2)
    shown = json.loads(stored)
    assert shown["hours_finished_before"] == str(Hour(492347)) == "2026-03-02T11:00Z"
    assert shown["hours_reopened"] == ["2026-03-02T04:00Z", "2026-03-02T05:00Z"]
    assert shown["last_retry_from_to"] == ["2026-03-02T04:00Z", "2026-03-02T06:00Z"]
    assert shown["no_retry_before"] == "2026-03-02T11:01:05.500000+00:00"
    assert WatchCursor.model_validate_json(stored) == cursor


def test_what_is_not_there_is_null_and_stays_so() -> None:
    cursor = WatchCursor(low=1, high=2, high_since=1772449205, frontier=492347)
    stored = cursor.model_dump_json()
    shown = json.loads(stored)
    assert shown["next_retry_from"] is shown["no_retry_before"] is None
    assert WatchCursor.model_validate_json(stored) == cursor
