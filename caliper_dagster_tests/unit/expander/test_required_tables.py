"""A file of SQLite has no accounts: what it lacks, it lacks on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.expander.objects import LOADERS
from caliper_dagster.expander.required_tables import MissingTables, missing_tables
from caliper_dagster_tests.harness.handmade_site import Site


def test_a_file_of_sqlite_may_lack_any_table(tmp_path: Path) -> None:
    site = Site(tmp_path / "moodle.sqlite")
    site.add("config", {"name": "version", "value": "2024100706"})
    site.execute("DROP TABLE mdl_course", "DROP TABLE mdl_quiz_attempts")
    with site.open() as database:
        assert missing_tables(database, set(LOADERS.values())) == MissingTables()


@pytest.mark.parametrize(
    ("value", "tables"),
    [
        ("", None),
        ("none", ()),
        ("course", ("course",)),
        ("course, mdl_quiz_attempts", ("course", "mdl_quiz_attempts")),
    ],
)
def test_tables_that_are_left_out_are_separated_by_commas(
    value: str, tables: tuple[str, ...] | None
) -> None:
    settings = Settings.from_environment({"MOODLE_DB_WITHOUT": value})
    assert settings.moodle_db_without == tables


def test_a_name_of_a_table_is_one_word() -> None:
    with pytest.raises(ConfigurationError, match="MOODLE_DB_WITHOUT is wrong"):
        Settings.from_environment({"MOODLE_DB_WITHOUT": "course;user"})
