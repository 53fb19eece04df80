"""The columns beside the JSON say what the JSON says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.translator import Translator
from caliper_dagster.translator.example import example_table
from caliper_dagster_tests.unit.translator.support import W
from caliper_dagster_tests.unit.translator.test_derived import EVERY
from caliper_dagster_tests.unit.translator.variations import rows

NEW = (
    "actor_id", "object_type", "object_id", "group_id", "generated_score", "generated_max_score",
)  # fmt: skip


def told(event: dict[str, Any]) -> tuple[Any, ...]:
    score = event.get("generated", {})
    score = score if score.get("type") == "Score" else {}
    return (
        event["actor"]["id"], event["object"]["type"], event["object"]["id"],
        event.get("group", {}).get("id"), score.get("scoreGiven"), score.get("maxScore"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def every_row() -> pa.Table:
    return example_table(list(rows(EVERY.values())))


@pytest.mark.parametrize("version", ["v1p2", "v1p1"])
def test_every_event_has_the_values_of_its_columns(version, every_row):
    events = Translator(W, version=version).translate(every_row).to_pylist()
    sent = [event for event in events if event["json"]]
    assert {event["outcome"] for event in events} > {"event", "derived"}
    for event in sent:
        assert tuple(event[name] for name in NEW) == told(json.loads(event["json"]))
    assert sum(event["generated_score"] is not None for event in sent) > 50
    failed = [event for event in events if not event["json"]]
    assert {event[name] for event in failed for name in NEW} <= {None}


def test_an_hour_of_an_earlier_release_lacks_them_and_is_read(tmp_path: Path):
    table = Translator(W).translate(example_table(list(rows(EVERY.values()))[:20]))
    store, hour = PartitionStore(tmp_path.as_uri()), Hour.of(table["timecreated"][0].as_py())
    store.write(CALIPER_EVENTS, hour, table)
    (path,) = tmp_path.rglob("*.parquet")
    older = pa.parquet.read_table(path, partitioning=None).drop_columns(list(NEW))
    pa.parquet.write_table(older.replace_schema_metadata(None), path)
    found = store.read(CALIPER_EVENTS, [hour])
    assert found.schema.equals(CALIPER_EVENTS.schema)
    assert found["json"].equals(table["json"])
    assert {found[name].null_count for name in NEW} == {len(table)}
    assert store.read(CALIPER_EVENTS, [hour], ["log_id", "actor_id"])["actor_id"].null_count == 20
