import json
import os
import subprocess
import sys
from typing import Any

import dagster as dg
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.paths import ROOT

OURS = ("CALIPER_", "MOODLE_")


def python(code: str) -> str:
    """What a fresh interpreter prints where no variable of ours is set, not even one of the tests'.

    Libraries copy the whole environment; such a copy would look as if it asked for ours.
    """
    environment = {
        name: value
        for name, value in clean_environment(dict(os.environ)).items()
        if not name.startswith(OURS)
    }
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What importing for another project's definitions does, and then loading our own."""
    found = python(
        """
import json, os, sys
os.umask(0o27)
asked, touched = [], []
class Watched(type(os.environ)):
    def __getitem__(self, name):
        asked.append(name)
        return super().__getitem__(name)
os.environ.__class__ = Watched
import dagster, pandas, pyarrow, sqlalchemy
watched = ("socket.connect", "socket.bind", "sqlite3.connect", "subprocess.Popen")
sys.addaudithook(lambda name, arguments: touched.append(name) if name in watched else None)
import caliper_dagster, caliper_dagster.dagster.build
told = {"asked": [*asked], "umask": os.umask(0o27)}
import caliper_dagster.definitions
print(json.dumps(told | {"touched": touched, "modules": sorted(sys.modules)}))
"""
    )
    answer: dict[str, Any] = json.loads(found)
    return answer


def test_importing_what_another_project_imports_reads_no_variable_of_ours(
    told: dict[str, Any],
) -> None:
    ours = [name for name in told["asked"] if name.startswith(OURS)]
    assert (ours, told["umask"]) == ([], 0o27)


def test_loading_touches_neither_database_nor_network_nor_the_parts(told: dict[str, Any]) -> None:
    """The code server loads them without a setting, and never needs what only a step needs."""
    assert told["touched"] == []
    heavy = {"pymysql", "psycopg2", "uvicorn", "starlette", "rich.progress"}
    parts = {
        f"caliper_dagster.{part}" for part in ("expander", "translator", "emitter", "embedded")
    }
    assert not (heavy | parts) & set(told["modules"])


def test_importing_the_package_imports_neither_dagster_nor_pandas() -> None:
    told = python("import caliper_dagster, sys; print([*sys.modules])")
    assert "'dagster'" not in told
    assert "'pandas'" not in told


def test_the_four_assets_are_one_chain() -> None:
    graph = build_definitions(Settings()).resolve_asset_graph()
    keys = [dg.AssetKey(frame.name) for frame in FRAMES]
    parents = [graph.get(key).parent_keys for key in keys]
    log, records = (dg.AssetKey(["moodle", name]) for name in ("logstore_standard_log", "records"))
    assert parents == [{log}, {keys[0], records}, {keys[1]}, {keys[2]}]
    assert {graph.get(key).group_name for key in keys} == {"caliper"}
    policies = {graph.get(key).backfill_policy for key in keys}
    assert policies == {dg.BackfillPolicy.multi_run(336)}


def test_the_size_of_a_run_and_the_first_hour_are_settings() -> None:
    settings = Settings.from_environment(
        {"CALIPER_HOURS_PER_RUN": "24", "CALIPER_START": "2026-01-31T14:00Z"}
    )
    assets = build_definitions(settings).resolve_asset_graph()
    node = assets.get(dg.AssetKey("moodle_log"))
    assert node.backfill_policy == dg.BackfillPolicy.multi_run(24)
    assert node.partitions_def.get_first_partition_key() == "2026-01-31-14:00"


def test_the_ui_says_what_a_row_is_and_what_can_name_a_person() -> None:
    assets = build_definitions(Settings()).resolve_asset_graph()
    for frame in FRAMES:
        node = assets.get(dg.AssetKey(frame.name))
        assert "A row is " in node.description
        assert "A rerun " in node.description
        columns = node.metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == frame.schema.names
        personal = {column.name for column in frame.columns if column.personal}
        assert {column.name for column in columns if "personal" in column.tags} == personal
