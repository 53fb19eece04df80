"""Hours whose stored rows were deleted after their time: late rows of them are still seen."""

from caliper_dagster.core.frames import MOODLE_LOG
from caliper_dagster_tests.harness.handmade_site import HOUR
from caliper_dagster_tests.unit.delivery.test_log_watch import (  # noqa: F401
    MARGIN,
    Site,
    small,
)


def test_a_late_row_of_a_pruned_hour_opens_it_once(small: Site) -> None:  # noqa: F811
    # The rows that were there are no longer looked at.
    assert [small.hours(MARGIN + 1) for _ in range(3)] == [[], [], []]
    small.storage.delete(MOODLE_LOG, [HOUR])
    assert small.hours() == []
    small.log(HOUR, first=900)
    small.log(HOUR + 1, first=901)
    assert small.hours() == ["0+2"]
    assert small.hours() == []
    assert small.hours(MARGIN + 1) == []


def test_an_hour_that_was_never_taken_is_not_taken_for_pruned(small: Site) -> None:  # noqa: F811
    never = HOUR + 3
    small.storage.delete(MOODLE_LOG, [never])
    del small.statuses[never]
    small.log(never, first=900)
    assert small.hours() == []
