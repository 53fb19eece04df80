"""The asset graph as documentation: lineage, owners, tags, code links, descriptions."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import FRAMES
from caliper_dagster.dagster import assets, external_assets
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.metadata import preview_columns
from caliper_dagster.expander import required_tables
from caliper_dagster_tests.harness.environment import environment

MARKDOWN = re.compile(r"[`*\[\]#|]|\b_|_\b")
SECRETS = {
    "MOODLE_DB_URL": "mysql+pymysql://moodle:pass-of-moodle@db/moodle",
    "MOODLE_LOG_DB_URL": "postgresql+psycopg2://logs:pass-of-the-log@db/logs",
    "CALIPER_EVENT_STORE_URL": "https://store.example.org/caliper?token=token-of-store",
    "CALIPER_API_KEY": "key-of-store",
    "CALIPER_STORAGE": "/srv/partitions-of-the-site",
    "CALIPER_LEDGER_URL": "postgresql+psycopg2://ledger:pass-of-ledger@db/ledger",
}


def graph(settings: Settings | None = None) -> dg.AssetGraph:
    return build_definitions(settings or Settings()).resolve_asset_graph()


def ancestors(found: dg.AssetGraph, key: dg.AssetKey) -> set[dg.AssetKey]:
    parents = found.get(key).parent_keys
    return parents.union(*(ancestors(found, parent) for parent in parents))


def test_the_lineage_leads_from_every_table_of_moodle_to_the_event_store() -> None:
    found = graph()
    before = {key.path[-1] for key in ancestors(found, dg.AssetKey("event_store"))}
    tables = {
        *required_tables._SELF_DESCRIPTION,
        *required_tables._READ_FOR_ANY_ROW,
        "logstore_standard_log",
    }
    assert tables == {*external_assets.TABLES, "logstore_standard_log"}
    assert tables <= before
    assert {frame.name for frame in FRAMES} <= before
    external = {key for key in found.get_all_asset_keys() if found.get(key).is_external}
    assert len(external) == len(tables) + len(("activities", "records", "event_store"))


def test_the_chain_has_few_parents_because_each_is_two_tags_on_every_stored_hour() -> None:
    found = graph()
    assert max(len(found.get(dg.AssetKey(frame.name)).parent_keys) for frame in FRAMES) == 2


@pytest.mark.parametrize(
    ("stored", "reads_moodle"),
    [
        ({}, False),
        ({"CALIPER_STORED_NAMES": "false"}, True),
        ({"CALIPER_STORED_ADDRESSES": "truncated"}, True),
    ],
)
def test_events_are_made_with_moodle_where_the_leak_check_needs_it(
    stored: dict[str, str], *, reads_moodle: bool
) -> None:
    found = graph(Settings.from_environment(stored))
    events = found.get(dg.AssetKey("caliper_events"))
    assert (events.pools == {assets.MOODLE_POOL}) is reads_moodle
    assert (len(events.parent_keys) == 2) is reads_moodle


def test_each_event_store_is_an_asset_after_its_results(tmp_path: Path) -> None:
    file = tmp_path / "stores.yaml"
    file.write_text("fine: {url: 'https://a.example.org'}\nslow: {url: 'https://b.example.org'}\n")
    found = graph(Settings.from_environment({"CALIPER_EVENT_STORES": str(file)}))
    for name in ("fine", "slow"):
        parents = found.get(dg.AssetKey(f"event_store_{name}")).parent_keys
        assert parents == {dg.AssetKey(f"emission_results_{name}")}


def test_a_site_has_tables_and_event_store_of_its_own() -> None:
    found = graph(Settings(site="north"))
    assert {key.path[0] for key in found.get_all_asset_keys()} == {"north"}
    assert found.get(dg.AssetKey(["north", "moodle", "user"])).group_name == "north_moodle"


def test_owners_are_a_setting() -> None:
    owners = "Data.Team@example.org, team:learning-analytics"
    found = graph(Settings.from_environment({"CALIPER_OWNERS": owners}))
    for frame in FRAMES:
        shown = found.get(dg.AssetKey(frame.name)).owners
        assert list(shown) == ["Data.Team@example.org", "team:learning-analytics"]
    assert not graph().get(dg.AssetKey("moodle_log")).owners


@pytest.mark.parametrize("owner", ["nobody", "team:", "a@b", "team:two words"])
def test_an_owner_that_dagster_would_refuse_is_named_by_its_setting(owner: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({"CALIPER_OWNERS": owner})
    assert str(refused.value) == (
        "CALIPER_OWNERS is wrong: must be e-mail addresses or team:NAME, separated by commas."
    )


def test_personal_data_is_tagged_and_previews_have_none() -> None:
    found = graph()
    for frame in FRAMES:
        personal = {column.name for column in frame.columns if column.personal}
        assert ("pii" in found.get(dg.AssetKey(frame.name)).tags) == bool(personal)
        assert preview_columns(frame)
        assert not personal & set(preview_columns(frame))
    assert "pii" in found.get(dg.AssetKey(["moodle", "user"])).tags
    assert "pii" not in found.get(dg.AssetKey(["moodle", "course"])).tags


@pytest.mark.parametrize("site", [None, "north"])
def test_the_code_link_leads_to_the_body_of_the_asset(site: str | None) -> None:
    found = graph(Settings(site=site))
    for frame in FRAMES:
        key = dg.AssetKey([*([site] if site else []), frame.name])
        (place,) = found.get(key).metadata["dagster/code_references"].code_references
        assert place.file_path == inspect.getsourcefile(assets)
        lines = Path(place.file_path).read_text(encoding="utf-8").splitlines()
        body = "\n".join(lines[place.line_number - 1 :])
        assert f"def {frame.name}(" in body[:1500]


def test_descriptions_begin_with_plain_text() -> None:
    """The catalog shows the beginning of a description as it is written."""
    found = graph()
    for key in found.get_all_asset_keys():
        description = found.get(key).description or ""
        assert description.partition("\n")[0].endswith("."), key
        shown = description[:60]
        assert not MARKDOWN.search(shown), (key, shown)


def test_resources_list_their_settings_by_name_and_never_a_value() -> None:
    with environment(SECRETS):
        described = {
            name: resource.description or ""
            for name, resource in (build_definitions().resources or {}).items()
            if isinstance(resource, dg.ResourceDefinition)
        }
    assert "`MOODLE_DB_URL`" in described["caliper_moodle"]
    assert "`CALIPER_API_KEY`" in described["caliper_event_stores"]
    assert "`CALIPER_STORAGE`" in described["caliper_storage"]
    assert "`CALIPER_LEDGER_URL`" in described["caliper_ledger"]
    for value in SECRETS.values():
        assert value not in "".join(described.values())
