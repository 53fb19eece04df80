"""The rules of rows in the settings: where they may stand, and one sentence for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from caliper_dagster.config.component import settings_from
from caliper_dagster.config.event_stores import event_stores, events_frame, renderings
from caliper_dagster.config.row_filter import RowFilter
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import all_sites
from caliper_dagster.core.errors import ConfigurationError

RULES = {"rows": {"guests": False, "courses": {"include": [12, "BIO-*"]}}}
FILTERED = RowFilter.model_validate(RULES["rows"])


def written(folder: Path, name: str, content: object) -> str:
    path = folder / name
    path.write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    return str(path)


def stores(folder: Path, content: object, **settings: str) -> Settings:
    path = written(folder, "stores.yaml", content)
    return Settings.from_environment({"CALIPER_EVENT_STORES": path, **settings})


def test_an_event_store_with_rules_has_events_of_its_own(tmp_path: Path) -> None:
    url = {"url": "https://events.example.org"}
    settings = stores(tmp_path, {"research": {**url, "filter": RULES}, "all": url, "more": url})
    research, *others = event_stores(settings)
    assert research.filter.rows == FILTERED
    assert [store.filter.rows.digest for store in others] == [None, None]
    names = [events_frame(settings, store.rendering).name for store in event_stores(settings)]
    assert names[0].startswith("caliper_events_v1p2_")
    assert names[0].endswith("_research")
    assert names[1:] == ["caliper_events", "caliper_events"]
    assert len(renderings(settings)) == 2
    # It is not the table of another one when the others go.
    alone = stores(tmp_path, {"research": {**url, "filter": RULES}})
    assert events_frame(alone, event_stores(alone)[0].rendering).name == names[0]


def test_rules_of_events_alone_need_no_events_of_their_own(tmp_path: Path) -> None:
    url = {"url": "https://events.example.org"}
    of_events = {"filter": {"moodle_events": {"exclude": ["*_viewed"]}}}
    settings = stores(tmp_path, {"research": {**url, **of_events}, "all": url})
    assert len(renderings(settings)) == 1


def test_the_event_store_of_the_environment_has_its_filter_in_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, "filter.yaml", RULES)
    settings = Settings.from_environment({"CALIPER_EVENT_FILTER": path})
    (store,) = event_stores(settings)
    assert store.filter.rows == FILTERED
    assert events_frame(settings, store.rendering).name == "caliper_events"


def test_the_file_is_the_default_of_each_event_store(tmp_path: Path) -> None:
    url = {"url": "https://events.example.org"}
    own = {"filter": {"rows": {"login_as": False}}}
    common = written(tmp_path, "filter.yaml", RULES)
    settings = stores(
        tmp_path, {"default": url, "own": {**url, **own}}, CALIPER_EVENT_FILTER=common
    )
    default, other = event_stores(settings)
    assert default.filter.rows == FILTERED
    assert other.filter.rows == RowFilter(login_as=False)
    with pytest.raises(ConfigurationError, match="event_filter: and filter exclude each other"):
        event_stores(stores(tmp_path, {"one": {**url, **own, "event_filter": common}}))


def test_a_site_of_several_and_a_component_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORTH_DB", "sqlite:///north")
    path = written(tmp_path, "filter.yaml", RULES)
    site = {
        "MOODLE_DB_URL": {"env": "NORTH_DB"},
        "MOODLE_WWWROOT": "https://north.example.org",
        "CALIPER_EVENT_FILTER": path,
    }
    sites = written(tmp_path, "sites.yaml", {"north": site})
    (north,) = all_sites({"CALIPER_SITES": sites, "NORTH_DB": "sqlite:///north"})
    attributes = {
        "moodle_db_url": "{{ env.NORTH_DB }}",
        "moodle_wwwroot": "https://north.example.org",
        "event_store": {"url": "https://events.example.org", "event_filter": path},
    }
    component = settings_from(attributes, lambda value: value, "defs.yaml")
    for settings in (north, component):
        (store,) = event_stores(settings)
        assert store.filter.rows == FILTERED


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ({"opt_in": {}}, "opt_in: must name cohorts or users_file"),
        ({"opt_out": {"cohorts": []}}, "opt_out: must name cohorts or users_file"),
        ({"opt_in": {"users_file": "users.txt"}}, "opt_in.users_file: must be an absolute path"),
        ({"opt_in": {"cohorts": "all"}}, "opt_in.cohorts: must be a list of ids and patterns"),
        ({"courses": {"include": [True]}}, "courses.include: must be a list of ids and patterns"),
        ({"courses": [12]}, "courses: must have keys of its own"),
        ({"origins": {"include": ["app"]}}, "origins.include.0: must be web, ws, cli or restore"),
        ({"service_accounts": {"exclude": ["ws"]}}, "must be a list of user ids and webservice"),
        ({"minimum_learners": -1}, "minimum_learners: must be at least 0"),
        ({"guest": False}, "guest: is not a known key"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(
    tmp_path: Path, rows: dict[str, object], problem: str
) -> None:
    url = {"url": "https://events.example.org"}
    with pytest.raises(ConfigurationError) as named:
        event_stores(stores(tmp_path, {"research": {**url, "filter": {"rows": rows}}}))
    assert f"event store research: filter.rows.{problem}" in str(named.value) or (
        "service_accounts" in rows and problem in str(named.value)
    )
    path = written(tmp_path, "filter.yaml", {"rows": rows})
    with pytest.raises(ConfigurationError) as single:
        event_stores(Settings.from_environment({"CALIPER_EVENT_FILTER": path}))
    assert str(single.value).startswith(f"CALIPER_EVENT_FILTER is wrong: {path}: rows.")
    assert problem in str(single.value)


@pytest.mark.parametrize("content", [None, "", "[]", "rows: ["])
def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path, content: str | None) -> None:
    path = str(tmp_path / "filter.yaml")
    if content is not None:
        written(tmp_path, "filter.yaml", content)
    with pytest.raises(ConfigurationError, match="CALIPER_EVENT_FILTER"):
        event_stores(Settings.from_environment({"CALIPER_EVENT_FILTER": path}))


def test_the_digest_distinguishes_rules_and_nothing_else(tmp_path: Path) -> None:
    assert RowFilter().digest is None
    assert RowFilter(guests=True, minimum_learners=0).digest is None
    assert FILTERED.digest == RowFilter.model_validate(RULES["rows"]).digest
    other = RowFilter.model_validate({**RULES["rows"], "courses": {"include": ["12", "BIO-*"]}})
    assert len({FILTERED.digest, other.digest, RowFilter(guests=False).digest, None}) == 4
