import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.dagster.build import build_definitions


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
