"""The settings: each is declared once, and each error names one that is declared."""

from __future__ import annotations

import pickle
import re

import pytest

from caliper_dagster.config.declaration import Reference
from caliper_dagster.config.settings import Settings, declared, setting_names
from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster_tests.harness.servers import ROOT

SECRET = "secret-that-nobody-may-see"


def test_every_setting_that_an_error_names_is_declared() -> None:
    sources = (ROOT / "caliper_dagster").rglob("*.py")
    named = {
        name
        for source in sources
        for name in re.findall(r'SettingName\("(\w+)"\)', source.read_text(encoding="utf-8"))
    }
    assert {"CALIPER_API_KEY", "CALIPER_LEDGER_URL", "CALIPER_STORAGE"} <= named
    assert named <= set(setting_names())


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CALIPER_BATCH_SIZE", SECRET, "must be a whole number"),
        ("CALIPER_BATCH_SIZE", "0", "must be greater than 0"),
        ("CALIPER_SCHEDULE_LAG", "60", "must be less than 60"),
        ("CALIPER_EVENT_STORE_TIMEOUT", SECRET, "must be a number"),
        ("CALIPER_GZIP", SECRET, "must be true or false"),
        ("CALIPER_VERSION", SECRET, "must be v1p2 or v1p1"),
        ("MOODLE_DB_PREFIX", f"{SECRET};", "may have only letters, digits and _"),
        ("CALIPER_PERSON_IDENTIFIERS", SECRET, "must be SystemId, "),
        ("CALIPER_START", SECRET, "must be a full hour in UTC"),
    ],
)
def test_a_wrong_value_is_one_sentence_of_ours_without_the_value(
    variable: str, value: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        Settings.from_environment({variable: value})
    assert str(error.value).startswith(f"{variable} is wrong: {words}")
    assert error.value.settings == (variable,)
    assert SECRET not in str(error.value)


def test_settings_hold_where_secrets_stand_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = [variable for variable, setting in declared().items() if setting.secret]
    for variable in secrets:
        monkeypatch.setenv(variable, SECRET)
    settings = Settings.from_environment()
    assert settings.require("moodle_db_url") == settings.require("event_store.url") == SECRET
    assert settings.event_store.api_key == Reference(env="CALIPER_API_KEY")
    assert SECRET not in repr(settings) + settings.model_dump_json()
    # What another process is given is read there.
    sent = pickle.dumps(settings)
    assert SECRET.encode() not in sent
    assert pickle.loads(sent) == settings


def test_a_sentence_keeps_its_settings_when_it_is_part_of_another() -> None:
    key = Sentence("check ", SettingName("CALIPER_API_KEY"))
    whole = Sentence("It answered CALIPER_API_KEY: ", key, ".")
    assert whole == "It answered CALIPER_API_KEY: check CALIPER_API_KEY."
    names = {"CALIPER_API_KEY": "api_key"}
    assert whole.with_names(names) == "It answered CALIPER_API_KEY: check api_key."
    assert pickle.loads(pickle.dumps(whole)).with_names(names) == whole.with_names(names)
