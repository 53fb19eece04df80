"""Which hours each run of a backfill gets."""

import dagster as dg
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.tags import BACKFILL_TAG
from caliper_dagster.operations.backfill_plan import plan_backfill


@pytest.mark.parametrize(
    ("hours", "processes", "runs_of"),
    [(1000, 1, [336, 336, 328]), (1000, 2, [125] * 8), (30, 2, [24, 6]), (8760, 2, [336] * 26)],
)
def test_processes_get_even_shares(hours: int, processes: int, runs_of: list[int]) -> None:
    start = Hour.from_key("2026-03-02-08:00")
    settings = Settings.from_environment({"CALIPER_EVENT_STORE_URL": "https://store.example.org"})
    with dg.DagsterInstance.ephemeral() as instance:
        work = plan_backfill(
            instance, settings, HourRange(start, start + hours), processes=processes
        )
    assert [len(part) for part in work.remaining][: len(runs_of)] == runs_of
    assert sum(map(len, work.remaining)) == hours


@pytest.mark.parametrize(
    ("changed", "goes_on"),
    [({}, True), ({"CALIPER_WITHHOLD_INVALID": "false"}, False), ({"CALIPER_SITE_ID": "x"}, False)],
)
def test_an_interrupted_backfill_of_an_earlier_release_goes_on(
    changed: dict[str, str], goes_on: bool
) -> None:
    settings = Settings.from_environment(
        {
            "MOODLE_DB_URL": "mysql://u:p@h/d",
            "MOODLE_WWWROOT": "https://m.example.org",
            "CALIPER_EVENT_STORE_URL": "https://e.example.org/c",
            **changed,
        }
    )
    start = Hour.from_key("2026-03-01-00:00")
    with dg.DagsterInstance.ephemeral() as instance:
        plan = plan_backfill(instance, settings, HourRange(start, start + 24))
    # The name that the backfill had before there was any setting of this kind.
    assert (plan.tags[BACKFILL_TAG] == "0f71d2fbc1150d94") is goes_on
