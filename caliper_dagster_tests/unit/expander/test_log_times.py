"""Rows of the log by their hours, whatever their times."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.expander import count_rows
from caliper_dagster_tests.harness.examples import examples
from caliper_dagster_tests.harness.handmade_site import (
    HOUR,
    Site,
)
from caliper_dagster_tests.unit.expander.test_log import at, ids, read

HOURS = HourRange(HOUR, HOUR + 5)


def test_an_empty_range_gives_nothing(site):
    site.log({})
    assert ids(site.url, HourRange(HOUR, HOUR)) == []


@given(st.lists(st.integers(-2 * 3600, 7 * 3600), max_size=30))
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_and_counts_agree_whatever_the_times(tmp_path_factory, times):
    site = Site(tmp_path_factory.mktemp("log") / "moodle.sqlite")
    site.add("logstore_standard_log", *at(*times))
    found = read(site.url)
    with site.open() as database:
        assert {hour: table.num_rows for hour, table in found} == count_rows(database, HOURS)
    expected = sorted((time, number) for number, time in enumerate(times, 1))
    inside = [number for time, number in expected if 0 <= time < 5 * 3600]
    assert [key for _, table in found for key in table["id"].to_pylist()] == inside
    for hour, table in found:
        assert {Hour.of(time) for time in table["timecreated"].to_pylist()} <= {hour}
