"""The attributes of the component: the settings by their keys, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from caliper_dagster.config.component import attributes_model, settings_from
from caliper_dagster.config.declaration import Reference, declarations
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import Hour
from caliper_dagster_tests.harness.environment import environment

SITE: dict[str, Any] = {
    "moodle_db_url": "{{ env.NORTH_DB }}",
    "moodle_wwwroot": "https://north.example.org",
}


def component(**attributes: object) -> Settings:
    return settings_from({**SITE, **attributes}, lambda value: value, "defs.yaml")


def test_every_setting_of_a_site_is_an_attribute() -> None:
    schema = attributes_model().model_json_schema()
    blocks = schema["$defs"]
    known = set(schema["properties"])
    for name, block in blocks.items():
        known |= {f"{name.rpartition('Attributes_')[2]}.{key}" for key in block["properties"]}
    left_out = {"sites", "file_mode", "keep_runs", "keep_compute_logs"}
    wanted = {".".join(setting.path) for setting in declarations(Settings)} - left_out
    assert wanted <= known
    files = {f"{'.'.join(it.path)}_file" for it in declarations(Settings) if it.secret}
    own = {"asset_key_prefix", "group", "tags", "event_store", "checks", "alerts"}
    # Settings that were those of a site before event stores had them.
    former = {"person_names", "person_identifiers", "free_text", "ip_addresses"}
    assert known - wanted == files | own | former
    assert all(entry["description"] for entry in schema["properties"].values())


def test_values_have_the_types_of_yaml() -> None:
    settings = component(
        asset_key_prefix="lms/north",
        group="moodle_north",
        tags={"tier": 1},
        owners=["team:lms", "moodle@example.org"],
        start="2026-01-31T14:00Z",
        schedule_lag=15,
        automation=True,
        person_identifiers=["SystemId", "EmailAddress"],
        keep_partitions={"moodle_log": 30, "expanded_log": 30, "caliper_events": 365},
        recipes=["/etc/caliper/a.yaml", "/etc/caliper/b.yaml"],
        site_id=7,
        checks={"fallback_share": 0.2},
        event_store={"url": "https://events.example.org/caliper", "batch_size": "200"},
    )
    assert settings.prefix == ("lms", "north")
    assert settings.site == "lms_north"
    assert settings.site_name("late_rows") == "lms_north_late_rows"
    assert (settings.group("caliper"), settings.group("moodle")) == (
        "moodle_north",
        "moodle_north_moodle",
    )
    assert settings.host is not None
    assert settings.host.tags == (("tier", "1"),)
    assert settings.owners == ("team:lms", "moodle@example.org")
    assert settings.start == Hour.from_key("2026-01-31-14:00")
    assert (settings.schedule_lag, settings.automation, settings.site_id) == (15, True, "7")
    assert settings.event_store.person_identifiers == ("SystemId", "EmailAddress")
    assert dict(settings.keep_partitions or ())["caliper_events"] == 365
    assert settings.recipes == "/etc/caliper/a.yaml,/etc/caliper/b.yaml"
    assert settings.checks.fallback_share == 0.2
    assert settings.event_store.batch_size == 200


def test_nothing_is_inherited_from_the_environment() -> None:
    with environment(
        {
            "CALIPER_START": "2026-05-01",
            "CALIPER_API_KEY": "key of another event store",
            "CALIPER_EVENT_STORE_URL": "https://another.example.org",
            "CALIPER_LEDGER_URL": "sqlite:////another",
            "CALIPER_ALERT_SLACK": "https://another.example.org",
        }
    ):
        settings = component()
        assert settings.start == Settings().start
        assert settings.event_store.address() is None
        assert settings.event_store.api_key is None
        assert settings.ledger_url is None
        assert settings.alerts.slack is None


def test_a_secret_is_held_by_its_place() -> None:
    settings = component(
        event_store={
            "url": "{{ env('NORTH_STORE') }}",
            "api_key_file": "/run/secrets/key",
            "headers": {"X-Tenant": "school", "X-Key": "{{ env.NORTH_HEADER }}"},
        }
    )
    assert settings.moodle_db_url == Reference(env="NORTH_DB")
    assert settings.event_store.url == Reference(env="NORTH_STORE")
    assert settings.event_store.api_key == Reference(file="/run/secrets/key")
    assert settings.event_store.headers == (
        ("X-Tenant", "school"),
        ("X-Key", Reference(env="NORTH_HEADER")),
    )


def test_a_site_has_a_folder_of_the_default_storage_and_its_own_storage_for_itself(
    tmp_path: Path,
) -> None:
    with environment({"DAGSTER_HOME": str(tmp_path)}):
        shared = component(asset_key_prefix="north")
        own = component(asset_key_prefix="north", storage="s3://bucket/moodle")
        assert shared.storage_url() == f"{tmp_path}/data/north"
        assert own.storage_url() == "s3://bucket/moodle"


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"moodle_db_url": None}, "moodle_db_url is required."),
        ({"moodle_wwwroot": None}, "moodle_wwwroot is required."),
        ({"moodle_db_url": "mysql://u:hush@db/m"}, 'moodle_db_url must be "{{ env.NAME }}", or '),
        ({"moodle_db_url": "mysql://u:{{ env.HUSH }}@db/m"}, 'moodle_db_url must be "{{ env.NAME'),
        ({"event_store": {"api_key": "hush"}}, 'event_store.api_key must be "{{ env.NAME }}", or '),
        ({"event_store": {"url": "https://u:hush@x.org"}}, "event_store.url contains a user or a"),
        ({"event_store": {"headers": {"X-Key": "hush"}}}, "event_store.headers may be secret: "),
        (
            {"event_store": {"headers": {"X-Tenant": "Basic {{ env.HUSH }}"}}},
            'event_store.headers must be "{{ env.NAME }}", or ',
        ),
        ({"moodle_db_url_file": "/x"}, "moodle_db_url and moodle_db_url_file exclude each other."),
        ({"start": "yesterday"}, "start must be a full hour in UTC"),
        ({"schedule_lag": 60}, "schedule_lag must be less than 60."),
        ({"owners": ["nobody"]}, "owners.0 must be e-mail addresses or team:NAME"),
        ({"asset_key_prefix": "a-b"}, "asset_key_prefix may have only letters, digits and _, "),
        ({"group": "a b"}, "group may have only letters, digits and _."),
        ({"storage": "data"}, "storage must be an absolute path or a URL, "),
        ({"keep_partitions": {"moodle_log": 0}}, "keep_partitions must be assets with a number"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_file_and_attribute(
    attributes: dict[str, object], problem: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        component(**attributes)
    assert str(refused.value).startswith(f"defs.yaml: {problem}")
    assert "hush" not in str(refused.value).lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("free_text", "{{ env.UNSET }}"),
        ("storage", "s3://{{ env.UNSET }}/moodle"),
        ("asset_key_prefix", "{{ env.UNSET }}"),
        ("group", "{{ env.UNSET }}"),
        ("tags", {"tier": "{{ env.UNSET }}"}),
        ("asset_key_prefix", ["lms", "{{ env.UNSET }}"]),
    ],
)
def test_a_template_without_a_value_is_not_a_default(name: str, value: object) -> None:
    def render(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: render(held) for key, held in value.items()}
        if isinstance(value, list):
            return [render(held) for held in value]
        return None if value == "{{ env.UNSET }}" else value

    with pytest.raises(ConfigurationError, match=rf"{name} has no value: a variable in its"):
        settings_from({**SITE, name: value}, render, "defs.yaml")
