"""Moodle's tables may have no prefix: the setting is then set to nothing."""

from __future__ import annotations

from pathlib import Path

from caliper_dagster.config.settings import Settings
from caliper_dagster.config.sites import all_sites


def test_a_prefix_that_is_set_to_nothing_is_none() -> None:
    assert Settings.from_environment({"MOODLE_DB_PREFIX": ""}).moodle_db_prefix == ""
    assert Settings.from_environment({}).moodle_db_prefix == "mdl_"


def test_other_settings_are_not_set_by_nothing() -> None:
    settings = Settings.from_environment({"MOODLE_DB_TIMEOUT": "", "CALIPER_BATCH_SIZE": ""})
    assert settings == Settings.from_environment({})


def test_a_site_of_several_may_have_no_prefix(tmp_path: Path) -> None:
    file = tmp_path / "sites.yaml"
    file.write_text(
        "north:\n"
        "  MOODLE_DB_URL: {env: DB_OF_NORTH}\n"
        "  MOODLE_WWWROOT: https://north.example.org\n"
        "  MOODLE_DB_PREFIX: ''\n"
        "south:\n"
        "  MOODLE_DB_URL: {env: DB_OF_SOUTH}\n"
        "  MOODLE_WWWROOT: https://south.example.org\n"
    )
    given = {"DB_OF_NORTH": "sqlite:///north", "DB_OF_SOUTH": "sqlite:///south"}
    found = all_sites({"CALIPER_SITES": str(file), "MOODLE_DB_PREFIX": "m_", **given})
    assert [site.moodle_db_prefix for site in found] == ["", "m_"]
