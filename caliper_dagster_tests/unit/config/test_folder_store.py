"""A folder as an event store: in the settings, in the file of event stores, in the asset graph."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.emitter import FileDestination, HttpDestination
from caliper_dagster_tests.harness.environment import environment

SECRET = "secret-that-nobody-may-see"
FILE = """
endpoint:
  url: https://events.example.org/caliper
lake:
  url: /srv/events
  gzip: true
research:
  url: {env: RESEARCH_FOLDER}
"""


def settings(folder: Path, text: str = FILE) -> Settings:
    (folder / "stores.yaml").write_text(text)
    return Settings.from_environment({"CALIPER_EVENT_STORES": str(folder / "stores.yaml")})


def test_the_url_says_whether_it_is_a_folder(tmp_path: Path) -> None:
    with environment({"RESEARCH_FOLDER": "file:///srv/research/", "CALIPER_API_KEY": SECRET}):
        stores = event_stores(settings(tmp_path))
        assert [store.is_folder for store in stores] == [False, True, True]
        assert [store.ledger_name() for store in stores] == ["endpoint", "lake", "research"]
        opened = [store.open() for store in stores]
    kinds = [type(destination) for destination in opened]
    assert kinds == [HttpDestination, FileDestination, FileDestination]
    addresses = [destination.address for destination in opened]
    assert addresses == ["https://events.example.org/caliper", "/srv/events", "/srv/research"]
    assert [destination.takes_whole_hours for destination in opened] == [False, True, True]
    for destination in opened:
        destination.close()


@pytest.mark.parametrize("url", ["/srv/events", "/srv/events/", "file:///srv/events"])
def test_a_single_folder_has_one_name_in_the_ledger_however_it_is_written(url: str) -> None:
    with environment({"CALIPER_EVENT_STORE_URL": url}):
        (single,) = event_stores(Settings.from_environment())
        assert single.ledger_name() == "/srv/events"
        with single.open() as destination:
            assert destination.name == "/srv/events"


@pytest.mark.parametrize("setting", ["CALIPER_API_KEY", "CALIPER_EVENT_STORE_HEADERS"])
def test_a_credential_for_a_folder_is_refused(setting: str) -> None:
    value = f'{{"X-Key": "{SECRET}"}}'
    with environment({"CALIPER_EVENT_STORE_URL": "/srv/events", setting: value}):
        (single,) = event_stores(Settings.from_environment())
        with pytest.raises(ConfigurationError) as error:
            single.open()
    assert str(error.value).startswith(f"{setting} is set, but the event store is a folder, which ")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("events", "must be an http or https URL, the absolute path of a folder, or its URL in an"),
        ("sftp://x/y", "must be an http or https URL, the absolute path of a folder, or its URL"),
        (f"s3://a:{SECRET}@b", "contains a password or a query: the credentials of an object"),
        (f"s3://b/c?{SECRET}", "contains a password or a query: the credentials of an object"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_in_the_file(
    tmp_path: Path, url: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        event_stores(settings(tmp_path, f"lake: {{url: '{url}'}}"))
    assert f"event store lake: url: {problem}" in str(error.value)
    assert SECRET not in str(error.value)


def test_the_asset_graph_tells_a_folder_from_an_endpoint(tmp_path: Path) -> None:
    graph = build_definitions(settings(tmp_path)).resolve_asset_graph()
    nodes = {name: graph.get(dg.AssetKey(f"event_store_{name}")) for name in ("endpoint", "lake")}
    assert {name: node.kinds for name, node in nodes.items()} == {
        "endpoint": {"http"},
        "lake": {"json"},
    }
    assert nodes["lake"].description is not None
    assert "a file of NDJSON holds the events of an hour" in nodes["lake"].description
