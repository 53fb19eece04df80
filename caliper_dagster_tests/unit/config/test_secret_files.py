"""Secrets in files: `…_FILE` for each secret setting, `{file: PATH}` in files of settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caliper_dagster.config.declaration import Reference, secret_of
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings, declared
from caliper_dagster.config.sites import all_sites
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster_tests.harness.environment import environment

SECRET = "secret-that-nobody-may-see"
SECRETS = sorted(name for name, setting in declared().items() if setting.secret)


def held(settings: Settings, variable: str) -> Reference:
    value: object = settings
    for key in declared()[variable].path:
        value = getattr(value, key)
    assert isinstance(value, Reference)
    return value


@pytest.mark.parametrize("variable", SECRETS)
def test_each_secret_setting_can_stand_in_a_file(variable: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET} \n")
    settings = Settings.from_environment({f"{variable}_FILE": str(file)})
    assert held(settings, variable).value(variable) == f"{SECRET} "
    assert SECRET not in repr(settings)
    file.write_text("another")
    assert held(settings, variable).value(variable) == "another"


@pytest.mark.parametrize("variable", SECRETS)
def test_a_secret_in_a_variable_and_in_a_file_is_a_mistake(variable: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Settings.from_environment({variable: SECRET, f"{variable}_FILE": "/run/secrets/x"})
    assert str(error.value) == (
        f"{variable} is wrong: {variable}_FILE is set too, and only one of them may be."
    )
    # Compose passes variables on that are empty.
    settings = Settings.from_environment({variable: "", f"{variable}_FILE": "/run/secrets/x"})
    assert held(settings, variable) == Reference(file="/run/secrets/x")


def test_a_file_that_holds_no_secret_is_a_sentence_with_the_setting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + SECRET.encode())
    (tmp_path / "long").write_text(SECRET * 5000)
    for name, problem in (
        ("absent", "cannot be read (No such file or directory)"),
        ("pipe", "is not a regular file"),
        (".", "is not a regular file"),
        ("empty", "is empty"),
        ("binary", "cannot be read (it is not UTF-8 text)"),
        ("long", "is too long"),
    ):
        path = tmp_path / name
        settings = Settings.from_environment({"MOODLE_DB_URL_FILE": str(path)})
        with pytest.raises(ConfigurationError) as error:
            settings.require("moodle_db_url")
        assert str(error.value) == f"MOODLE_DB_URL: its file {path} {problem}."
        assert error.value.settings == ("MOODLE_DB_URL",)


def test_a_file_that_an_event_store_names_is_read_anew(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("first")
    stores = tmp_path / "stores.yaml"
    stores.write_text(f"fine: {{url: 'http://127.0.0.1:9/', api_key: {{file: {key}}}}}")
    (store,) = event_stores(Settings.from_environment({"CALIPER_EVENT_STORES": str(stores)}))
    assert store.api_key is not None
    assert store.api_key.value("CALIPER_API_KEY") == "first"
    with store.open():
        pass
    key.write_text("")
    with pytest.raises(ConfigurationError) as error:
        store.open()
    assert store.sentence(error.value) == f"Event store fine: api_key: its file {key} is empty."


@pytest.mark.parametrize(
    "text",
    [
        "{file: a, env: B}",
        "{}",
        "{fyle: secret-that-nobody-may-see}",
        "{secret-that-nobody-may-see: a}",
    ],
)
def test_a_place_is_a_variable_or_a_file(text: str, tmp_path: Path) -> None:
    stores = tmp_path / "stores.yaml"
    stores.write_text(f"fine: {{url: 'http://x', api_key: {text}}}")
    with pytest.raises(ConfigurationError) as error:
        event_stores(Settings.from_environment({"CALIPER_EVENT_STORES": str(stores)}))
    assert str(error.value).endswith(
        "event store fine: api_key: must be {env: NAME} or {file: PATH}."
    )


def test_a_value_that_is_no_secret_stands_in_no_further_file(tmp_path: Path) -> None:
    stores = tmp_path / "stores.yaml"
    stores.write_text("fine: {url: 'http://x', batch_size: {file: /etc/passwd}}")
    with pytest.raises(ConfigurationError, match="batch_size: must not stand in another file"):
        event_stores(Settings.from_environment({"CALIPER_EVENT_STORES": str(stores)}))


def test_sites_name_files_of_secrets_in_both_ways(tmp_path: Path) -> None:
    for name in ("north", "south"):
        (tmp_path / name).write_text(f"sqlite:///{name}.sqlite\n")
    sites = tmp_path / "sites.yaml"
    text = (
        "north:\n"
        f"  MOODLE_DB_URL: {{file: {tmp_path}/north}}\n"
        "  MOODLE_WWWROOT: https://north.example.org\n"
        "south:\n"
        f"  MOODLE_DB_URL_FILE: {tmp_path}/south\n"
        "  MOODLE_WWWROOT: https://south.example.org\n"
    )
    sites.write_text(text)
    given = {"CALIPER_SITES": str(sites), "DAGSTER_HOME": str(tmp_path)}
    north, south = all_sites(given)
    assert north.require("moodle_db_url") == "sqlite:///north.sqlite"
    assert south.require("moodle_db_url") == "sqlite:///south.sqlite"
    (tmp_path / "south").write_text("sqlite:///north.sqlite")
    with pytest.raises(ConfigurationError, match="same MOODLE_DB_URL and MOODLE_DB_PREFIX"):
        all_sites(given)
    sites.write_text(f"{text}  MOODLE_DB_URL: {{env: SOUTH}}\n")
    with pytest.raises(ConfigurationError, match=r"site south: MOODLE_DB_URL: .* only one of them"):
        all_sites(given)


def test_dagsters_own_storage_may_stand_in_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://u@h/dagster\n")
    with environment({"DAGSTER_POSTGRES_URL_FILE": str(file)}):
        assert secret_of("DAGSTER_POSTGRES_URL") == "postgresql://u@h/dagster"
    with environment({}):
        assert secret_of("DAGSTER_POSTGRES_URL") is None
    both = {"DAGSTER_POSTGRES_URL_FILE": str(file), "DAGSTER_POSTGRES_URL": SECRET}
    with environment(both), pytest.raises(ConfigurationError, match="POSTGRES_URL_FILE is set"):
        secret_of("DAGSTER_POSTGRES_URL")
