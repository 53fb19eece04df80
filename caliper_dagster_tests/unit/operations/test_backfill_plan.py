"""Which hours each run of a backfill gets."""

import dagster as dg
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour, HourRange
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
