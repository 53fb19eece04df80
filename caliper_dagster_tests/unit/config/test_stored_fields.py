"""Settings of what is stored: defaults, contradictions, keys of the storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from caliper_dagster.caliper.shapes import Rendering
from caliper_dagster.config.connections import open_store
from caliper_dagster.config.event_stores import renderings
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.stored_fields import needed_fields, storage_keys, stored_fields
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.stored_fields import NOTHING, WHOLE, StoredFields
from caliper_dagster_tests.harness.environment import environment

STRICT = {
    "CALIPER_STORED_ADDRESSES": "none",
    "CALIPER_STORED_NAMES": "false",
    "CALIPER_STORED_TEXTS": "false",
}
KEY = "0123456789abcdef0123456789abcdef"


def test_everything_is_stored_unless_the_settings_say_less() -> None:
    assert stored_fields(Settings()) == WHOLE
    assert stored_fields(Settings.from_environment(STRICT)) == NOTHING
    assert stored_fields(
        Settings.from_environment({"CALIPER_STORED_ADDRESSES": "truncated"})
    ) == StoredFields("truncated")


@pytest.mark.parametrize(
    ("stored", "sent", "value"),
    [
        ("CALIPER_STORED_NAMES", "CALIPER_PERSON_NAMES", "true"),
        ("CALIPER_STORED_NAMES", "CALIPER_PERSON_IDENTIFIERS", "SystemId,EmailAddress"),
        ("CALIPER_STORED_TEXTS", "CALIPER_FREE_TEXT", "true"),
        ("CALIPER_STORED_ADDRESSES", "CALIPER_IP_ADDRESSES", "true"),
    ],
)
def test_what_is_not_stored_cannot_be_sent(
    stored: str, sent: str, value: str, tmp_path: Path
) -> None:
    variables = STRICT | {sent: value, "CALIPER_STORAGE": str(tmp_path)}
    sentence = (
        f"{stored} leaves out of stored hours what events are to tell ({sent}): change one of the "
        "two."
    )
    with pytest.raises(ConfigurationError) as error:
        open_store(Settings.from_environment(variables))
    assert str(error.value) == sentence
    for name in (stored, sent):
        less = {key: text for key, text in variables.items() if key != name}
        open_store(Settings.from_environment(less))


def test_truncated_addresses_may_be_sent() -> None:
    variables = {"CALIPER_STORED_ADDRESSES": "truncated", "CALIPER_IP_ADDRESSES": "true"}
    settings = Settings.from_environment(variables)
    assert stored_fields(settings).addresses == "truncated"
    assert needed_fields(settings, Rendering("v1p2")).addresses == "truncated"


def test_events_need_only_what_they_tell() -> None:
    def needed(**variables: str) -> StoredFields:
        settings = Settings.from_environment(variables)
        return needed_fields(settings, renderings(settings)[0])

    assert needed() == NOTHING
    switches = ("CALIPER_PERSON_NAMES", "CALIPER_FREE_TEXT", "CALIPER_IP_ADDRESSES")
    assert needed(**dict.fromkeys(switches, "true")) == WHOLE
    assert needed(CALIPER_PRIVACY="full") == WHOLE
    assert needed(CALIPER_PRIVACY="full", CALIPER_FREE_TEXT="false") == StoredFields(texts=False)
    assert needed(CALIPER_PRIVACY="anonymous", CALIPER_PSEUDONYM_KEY=KEY) == NOTHING


def test_a_profile_that_tells_names_needs_them() -> None:
    settings = Settings.from_environment(
        {"CALIPER_STORED_NAMES": "false", "CALIPER_PRIVACY": "full"}
    )
    with pytest.raises(ConfigurationError) as error:
        stored_fields(settings)
    assert str(error.value) == (
        "CALIPER_STORED_NAMES leaves out of stored hours what events are to tell (the profile "
        "full): change one of the two."
    )


RECIPE = r"""
- events: [\local_rooms\event\room_booked]
  pattern: P40
  type: Event
  action: Used
  other: [{other}]
  object: {{type: WebPage, path: "local/rooms/view.php?room={{other.room}}"}}
"""


def test_keys_that_recipes_of_the_site_read_are_stored(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(RECIPE.format(other="colour"))
    variables = STRICT | {"CALIPER_RECIPES": str(file)}
    settings = Settings.from_environment(variables)
    assert stored_fields(settings).keys == {"colour", "room"}
    assert needed_fields(settings, Rendering("v1p2")).keys == {"colour", "room"}

    file.write_text(RECIPE.format(other="originalusername"))
    with pytest.raises(ConfigurationError) as error:
        stored_fields(settings)
    assert str(error.value) == (
        "CALIPER_STORED_NAMES leaves out of stored hours what events are to tell "
        "(CALIPER_RECIPES: originalusername): change one of the two."
    )


def test_keys_stand_in_lines_and_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n\n{KEY[::-1]}\n")
    with environment({"CALIPER_STORAGE_KEY_FILE": str(file)}):
        keys = storage_keys(Settings.from_environment())
        assert keys
        new = keys.new()
        assert keys.find(new.salt, new.check) == new
        assert KEY not in repr(new)
    with environment({}):
        assert storage_keys(Settings.from_environment()) is None


def test_a_short_key_is_refused() -> None:
    with (
        environment({"CALIPER_STORAGE_KEY": "correct horse"}),
        pytest.raises(ConfigurationError, match=r"^CALIPER_STORAGE_KEY is wrong: .* 32") as error,
    ):
        storage_keys(Settings.from_environment())
    assert "horse" not in str(error.value)
