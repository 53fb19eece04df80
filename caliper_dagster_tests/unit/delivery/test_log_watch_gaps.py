"""The watch over a log whose ids do not rise with time: no row is hidden by another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from caliper_dagster.core.hours import HourRange
from caliper_dagster.delivery import log_watch
from caliper_dagster_tests.harness.handmade_site import HOUR
from caliper_dagster_tests.unit.delivery.test_log_watch import DUE, MARGIN, Site

IN_2038 = HOUR + 12 * 365 * 24
LAST = 2**63 - 1


@pytest.fixture
def grown(empty_url: str, tmp_path: Path) -> Site:
    """A site whose hours are taken, and that has not been looked at."""
    found = Site(empty_url, tmp_path)
    found.log(HOUR, first=10, number=5)
    found.log(HOUR + 9, first=100, number=20)
    found.take(HourRange(HOUR, DUE))
    return found


def pass_margins(site: Site) -> None:
    for _ in range(3):
        assert site.hours(MARGIN + 1) == []


@pytest.mark.parametrize("far", [10**10, LAST])
@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after the first look"])
def test_rows_below_an_id_far_away_are_still_seen(grown: Site, far: int, is_first: bool) -> None:
    if not is_first:
        assert grown.hours() == []
    grown.log(HOUR + 9, first=far)
    assert grown.hours() == ["9+1"]
    pass_margins(grown)
    grown.log(HOUR + 2, first=200)
    assert grown.hours() == ["2+1"]
    assert grown.statements == 1
    pass_margins(grown)
    grown.log(HOUR + 3, first=201)
    assert grown.hours() == ["3+1"]


def test_an_id_far_away_on_a_day_of_its_own_hides_nothing(grown: Site) -> None:
    grown.now += 30 * 86_400
    grown.log(HOUR + 30 * 24, first=LAST)
    assert grown.hours() == []
    pass_margins(grown)
    grown.log(HOUR + 2, first=200)
    assert grown.hours()[:1] == ["2+1"]


def test_an_old_row_dated_2038_is_not_where_the_first_look_begins(grown: Site) -> None:
    grown.log(IN_2038, first=1)
    assert grown.hours() == []
    assert grown.cursor is not None
    assert grown.cursor.low == 9


def test_a_sequence_that_goes_on_beyond_a_gap_is_followed(
    grown: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in MySQL, where a row inserted by hand moves the next ids behind its own."""
    monkeypatch.setattr(log_watch, "_ROWS_OF_A_SEQUENCE", 10)
    assert grown.hours() == []
    grown.log(HOUR + 9, first=10**10, number=20)
    assert grown.hours() == ["9+1"]
    pass_margins(grown)
    pass_margins(grown)
    assert grown.cursor is not None
    assert grown.cursor.low == 10**10 + 19
    grown.log(HOUR + 3, first=10**10 + 20)
    assert grown.hours() == ["3+1"]
