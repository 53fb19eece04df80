"""The file of event stores: what it may say, and one sentence for each mistake."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pytest

from caliper_dagster.caliper.shapes import Rendering, ShapeName
from caliper_dagster.config.event_stores import (
    EventFilter,
    EventStoreDefinition,
    event_stores,
    events_frame,
    mapping_revision,
    renderings,
    require_event_stores,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster_tests.harness.environment import environment

SECRET = "secret-that-nobody-may-see"
TWO = """
fine:
  url: https://fine.example.org/caliper
  api_key: {env: FINE_KEY}
  batch_size: 7
old:
  url: {env: OLD_URL}
  caliper_version: v1p1
  filter:
    caliper_types: {exclude: ["Navigation*"]}
"""


def read(folder: Path, text: str, **settings: str) -> tuple[EventStoreDefinition, ...]:
    (folder / "stores.yaml").write_text(text)
    return event_stores(given(folder, **settings))


def given(folder: Path, **settings: str) -> Settings:
    return Settings.from_environment(
        {"CALIPER_EVENT_STORES": str(folder / "stores.yaml"), **settings}
    )


def test_what_a_store_does_not_say_is_as_the_settings_say(tmp_path: Path) -> None:
    fine, old = read(tmp_path, TWO, CALIPER_BATCH_SIZE="100", CALIPER_GZIP="true")
    assert (fine.name, fine.batch_size, fine.gzip, fine.caliper_version) == (
        *("fine", 7, True),
        "v1p2",
    )
    assert (old.name, old.batch_size, old.gzip, old.caliper_version) == (
        *("old", 100, True),
        "v1p1",
    )
    assert fine.results.name == "emission_results_fine"


def test_the_settings_alone_are_one_store_with_the_names_as_ever() -> None:
    (single,) = event_stores(Settings.from_environment({"CALIPER_BATCH_SIZE": "9"}))
    assert (single.name, single.results.name, single.batch_size) == (None, "emission_results", 9)
    with environment({"CALIPER_EVENT_STORE_URL": "https://store.example.org/caliper?key=1"}):
        assert single.ledger_name() == "https://store.example.org/caliper"


def test_a_further_version_has_an_asset_of_its_own(tmp_path: Path) -> None:
    read(tmp_path, TWO)
    for settings, names in (
        (given(tmp_path), ["caliper_events", "caliper_events_v1p1"]),
        (given(tmp_path, CALIPER_VERSION="v1p1"), ["caliper_events"]),
    ):
        found = [events_frame(settings, rendering).name for rendering in renderings(settings)]
        assert found == names
    assets = build_definitions(given(tmp_path)).resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in assets.get(key).parent_keys}
        for key in assets.get_all_asset_keys()
    }
    assert parents["emission_results_fine"] == {"caliper_events"}
    assert parents["emission_results_old"] == {"caliper_events_v1p1"}
    assert parents["caliper_events_v1p1"] == {"expanded_log"}


def test_a_shape_is_part_of_the_rendering(tmp_path: Path) -> None:
    read(tmp_path, TWO + "  shape: openlrw\nnew:\n  url: https://n.example.org\n  shape: objects\n")
    settings = given(tmp_path)
    assert [events_frame(settings, rendering).name for rendering in renderings(settings)] == [
        "caliper_events",
        "caliper_events_v1p1_openlrw",
        "caliper_events_v1p2_objects",
    ]
    settings = given(tmp_path, CALIPER_EVENT_STORE_SHAPE="objects")
    assert [events_frame(settings, rendering).name for rendering in renderings(settings)] == [
        "caliper_events",
        "caliper_events_v1p1_openlrw",
    ]


def test_each_shape_has_mapping_revisions_of_its_own() -> None:
    settings = Settings.from_environment({"MOODLE_WWWROOT": "https://moodle.example.org"})
    moved = Settings.from_environment(
        {
            "MOODLE_WWWROOT": "https://moodle.example.org",
            "CALIPER_SITE_ID": "http://moodle.example.org",
        }
    )
    assert mapping_revision(settings, Rendering("v1p1")) == MAPPING_REVISION
    assert MAPPING_REVISION < 250
    found = {
        mapping_revision(one, Rendering("v1p2", shape))
        for one in (settings, moved)
        for shape in get_args(ShapeName)
    }
    assert len(found) == 6
    assert max(found) < 2**31


def test_a_definition_holds_the_names_of_secrets_only(tmp_path: Path) -> None:
    fine, old = read(tmp_path, TWO)
    with environment({"FINE_KEY": SECRET, "OLD_URL": f"https://x.example.org/?token={SECRET}"}):
        for store in (fine, old):
            with store.open() as endpoint:
                assert SECRET not in f"{endpoint!r} {endpoint.name} {endpoint.address} {store!r}"
    with environment({}):
        for store, words in (
            (fine, "Event store fine: api_key ($FINE_KEY) is not set: "),
            (old, "Event store old: url ($OLD_URL) is not set: "),
        ):
            with pytest.raises(ConfigurationError) as error:
                store.open()
            assert store.sentence(error.value).startswith(words)


def test_what_goes_wrong_with_a_store_is_said_with_the_keys_of_the_file(tmp_path: Path) -> None:
    (store,) = read(tmp_path, "fine: {url: 'http://127.0.0.1:9/', ca_file: /nowhere.pem}")
    with pytest.raises(ConfigurationError) as error:
        store.open()
    assert error.value.settings == ("CALIPER_CA_FILE",)
    assert str(error.value).startswith("CALIPER_CA_FILE is wrong: /nowhere.pem is ")
    assert store.sentence(error.value).startswith("Event store fine: ca_file is wrong: /nowhere")
    (store,) = read(tmp_path, "fine: {url: 'http://127.0.0.1:9/CALIPER_API_KEY'}")
    with store.open() as endpoint:
        sentence = store.sentence(endpoint.post(b"{}").error())
    # The words of an address stay as they are, also when they look like a setting.
    assert sentence.startswith(
        "Event store fine: the event store at http://127.0.0.1:9/CALIPER_API_KEY cannot be reached"
    )
    assert sentence.endswith(": check url, and that the event store is running.")


def test_a_value_of_the_file_may_stand_in_a_variable(tmp_path: Path) -> None:
    text = "fine: {url: 'http://x', batch_size: {env: SIZE}}"
    with environment({"SIZE": "7"}):
        assert read(tmp_path, text)[0].batch_size == 7
    for values, words in (({"SIZE": SECRET}, "must be a whole number"), ({}, r"\$SIZE is not set")):
        with (
            environment(values),
            pytest.raises(
                ConfigurationError, match=f"event store fine: batch_size: .*{words}"
            ) as error,
        ):
            read(tmp_path, text)
        assert SECRET not in str(error.value)
        assert error.value.place == f"{tmp_path}/stores.yaml: event store fine: batch_size"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it must name each event store"),
        ("- a", "it must name each event store"),
        (f"a: {SECRET}", "a must have settings"),
        ("A: {url: 'http://x'}", "lower-case letters"),
        (f"a: {{url: 'http://x', api_key: {SECRET}}}", "event store a: api_key: must be {env"),
        (f"a: {{url: 'http://u:{SECRET}@x'}}", "event store a: url: contains a user"),
        (f"a: {{url: 'http://x?k={SECRET}'}}", "event store a: url: contains a query"),
        ("a: {url: 'ftp://x'}", "event store a: url: must be an http"),
        ("a: {batch_size: 3}", "event store a: url:"),
        (f"a: {{url: 'http://x', {SECRET}: 1}}", "event store a: it has an unknown key."),
        ("a: {url: 'http://x', batch_size: 0}", "event store a: batch_size: "),
        (f"a: {{url: 'http://x', timeout: {SECRET}}}", "event store a: timeout: "),
        ("a: {url: 'http://x', caliper_version: v2}", "event store a: caliper_version: "),
        ("a: {url: 'http://x', shape: round}", "event store a: shape: "),
        ("a: {url: 'http://x', filter: {events: {}}}", "event store a: filter.events: "),
        (
            "a: {url: 'http://x', filter: {caliper_types: {exclude: [NavigatonEvent]}}}",
            "'NavigatonEvent' is the type of no Caliper event",
        ),
        ("a: {url: 'http://x'}\na: {url: 'http://y'}", "a occurs twice (line 2)"),
        (f"a: {{url: 'http://x', api_key: *{SECRET}", "not well-formed YAML (line 2)"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_place(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path, text)
    sentence = str(error.value)
    assert sentence.startswith(f"CALIPER_EVENT_STORES is wrong: {tmp_path}/stores.yaml: ")
    assert words in sentence
    assert SECRET not in sentence
    assert "\n" not in sentence


def test_a_file_and_a_single_store_together_are_a_mistake(tmp_path: Path) -> None:
    with (
        environment({"CALIPER_EVENT_STORE_URL": "https://x.example.org"}),
        pytest.raises(ConfigurationError, match=r"CALIPER_EVENT_STORE_URL and .* both set"),
    ):
        read(tmp_path, TWO)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        event_stores(Settings.from_environment({"CALIPER_EVENT_STORES": "/nowhere.yaml"}))
    with pytest.raises(ConfigurationError, match="CALIPER_EVENT_STORE_URL is not set"):
        require_event_stores(Settings.from_environment({}))


EVENTS = CALIPER_EVENTS.conform(
    pa.Table.from_pylist(
        [
            {"event_name": name, "event_type": kind, "outcome": outcome}
            for name, kind, outcome in (
                (r"\mod_quiz\event\attempt_started", "AssessmentEvent", "event"),
                (r"\mod_quiz\event\attempt_started", "AssignableEvent", "derived"),
                (r"\mod_page\event\course_module_viewed", "NavigationEvent", "event"),
                (r"\core\event\user_loggedin", "SessionEvent", "event"),
                (r"\core\event\config_log_created", None, "failed"),
            )
        ],
        CALIPER_EVENTS.schema,
    )
)


@pytest.mark.parametrize(
    ("given", "types", "kept_back"),
    [
        ({}, ["AssessmentEvent", "AssignableEvent", "NavigationEvent", "SessionEvent", None], {}),
        (
            {"moodle_events": {"include": [r"\mod_*"], "exclude": ["*_viewed"]}},
            ["AssessmentEvent", "AssignableEvent", None],
            {"moodle_events: exclude *_viewed": 1, "moodle_events: include": 1},
        ),
        (
            {"moodle_events": {"include": ["mod_quiz*"]}, "caliper_types": {"exclude": ["Assi*"]}},
            ["AssessmentEvent", None],
            {"moodle_events: include": 2, "caliper_types: exclude Assi*": 1},
        ),
    ],
)
def test_a_filter_names_the_rule_that_keeps_an_event_back(
    given: Mapping[str, object], types: list[str | None], kept_back: dict[str, int]
) -> None:
    found, counts = EventFilter.model_validate(given).apply(EVENTS)
    assert found["event_type"].to_pylist() == types
    assert counts == kept_back
