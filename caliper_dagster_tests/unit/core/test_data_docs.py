"""Other tools read a month with the lines that ``docs/data.md`` shows."""

import re

import duckdb
import fsspec
import pandas as pd
import pytest

from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, Frame
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.unit.core.test_partition_store import rows

MONTH = HourRange(Hour.from_key("2026-03-01-00:00"), Hour.from_key("2026-04-01-00:00"))
LINES = re.findall(r"```python\n(.*?)\n```", (ROOT / "docs" / "data.md").read_text("utf-8"))


@pytest.mark.parametrize("frame", [CALIPER_EVENTS, EXPANDED_LOG], ids=lambda frame: frame.name)
def test_a_month_is_one_dataset(storage_url: str, frame: Frame) -> None:
    storage = PartitionStore(storage_url)
    taken = [MONTH.start + -1, *list(MONTH)[::11], MONTH.end + -1, MONTH.end]
    for place, hour in enumerate(taken):
        # No rows, one whose texts are all missing, and a few.
        storage.write(frame, hour, rows(frame, [hour.start] * (place % 4)))
    wanted = storage.read(frame, [hour for hour in taken if hour in MONTH])

    pandas_line, duckdb_line, register = LINES
    with duckdb.connect() as connection:
        given = {"pd": pd, "duckdb": connection, "fsspec": fsspec, "storage": storage_url}
        if storage_url.startswith("s3:"):
            exec(register, given)
        for line in (pandas_line, duckdb_line):
            exec(line.replace("caliper_events", frame.name), given)
            month = given["month"].sort_values(["timecreated"], kind="stable")
            assert list(month.columns) == [*frame.schema.names, "date"]
            assert month["timecreated"].tolist() == wanted["timecreated"].to_pylist()
            last = frame.columns[-1].name
            assert month[last].isna().sum() == wanted[last].null_count > 0
