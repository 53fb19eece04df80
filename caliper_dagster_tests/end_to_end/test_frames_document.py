"""The code of ``docs/frames.md`` does what the page says, on a day of stored hours."""

import re
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.unit.core.test_partition_store import rows

FIRST = Hour.from_key("2026-03-25-00:00")
READ, GRADES, DOWNSTREAM, ELSEWHERE = re.findall(
    r"```python\n(.*?)\n```", (ROOT / "docs/frames.md").read_text("utf-8"), re.S
)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A day of two rows in each hour: what the same two persons did in a course."""
    storage = PartitionStore(str(tmp_path))
    for hour in (FIRST + number for number in range(24)):
        table = rows(CALIPER_EVENTS, [hour.start] * 2)
        for name, values in {
            "outcome": ["event", "filtered" if hour == FIRST else "event"],
            "group_id": ["https://moodle.example.org/course/2"] * 2,
            "actor_id": ["https://moodle.example.org/user/3", "https://moodle.example.org/user/4"],
            "generated_score": [7.5, None],
        }.items():
            place = table.schema.get_field_index(name)
            column = pa.array(values).cast(CALIPER_EVENTS.schema.field(name).type)
            table = table.set_column(place, name, column)
        storage.write(CALIPER_EVENTS, hour, table)
    return str(tmp_path)


def run(code: str, folder: str) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "notebook"}
    exec(code.replace("s3://bucket/moodle", folder), names)
    return names


def materialized(definitions: dg.Definitions, asset: str) -> dict[str, object]:
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(asset)], partition_key="2026-03-25"
        )
    (event,) = result.asset_materializations_for_node(asset)
    return {name: entry.value for name, entry in event.metadata.items()}


def test_the_notebook_reads_a_day_and_the_grades(folder: str) -> None:
    with environment({"CALIPER_STORAGE": folder}):
        names = run(f"{READ}\n{GRADES}", folder)
    assert names["events"].shape == (48, 3)
    assert names["grades"]["generated_score"].tolist() == [7.5] * 10


def test_the_asset_downstream_gets_its_day(folder: str) -> None:
    with environment({"CALIPER_STORAGE": folder, "CALIPER_START": "2026-03-01"}):
        ours = build_definitions(Settings.from_environment())
        host = dg.Definitions(assets=[run(DOWNSTREAM, folder)["persons_by_course"]])
        numbers = materialized(dg.Definitions.merge(ours, host), "persons_by_course")
    assert numbers == {"https://moodle.example.org/course/2": 2}


def test_the_asset_of_another_code_location_gets_its_day(folder: str) -> None:
    with environment({}):
        numbers = materialized(run(ELSEWHERE, folder)["definitions"], "rows_of_a_day")
    assert numbers["dagster/row_count"] == 48
