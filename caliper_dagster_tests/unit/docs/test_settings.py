"""The table in ``docs/settings.md`` is made from the settings themselves (``make docs``)."""

from __future__ import annotations

import re

from caliper_dagster.config.declaration import declarations
from caliper_dagster.config.settings import Settings, setting_names
from caliper_dagster.core.hours import Hour
from caliper_dagster_tests.harness.paths import ROOT

SETTINGS = ROOT / "docs" / "settings.md"


def settings_table() -> str:
    rows = [
        f"| `{setting.variable}` | {_default(setting.default)} | {setting.meaning}"
        f"{'; *secret*' if setting.secret else ''} |\n"
        for setting in declarations(Settings)
    ]
    return "| Setting | Default | Meaning |\n|---|---|---|\n" + "".join(rows)


def _default(value: object) -> str:
    if value in (None, ()):
        return "not set"
    if isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, tuple):
        value = ",".join(value)
    elif isinstance(value, Hour):
        value = f"{value.datetime:%Y-%m-%dT%H}"
    return f"`{value}`"


def test_every_setting_is_in_the_table() -> None:
    shown = re.findall(r"^\| `(\w+)`", SETTINGS.read_text(encoding="utf-8"), re.M)
    assert shown == setting_names()


def test_defaults_shown_are_accepted() -> None:
    shown = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", settings_table(), re.M))
    assert Settings.from_environment(shown) == Settings.from_environment({})
