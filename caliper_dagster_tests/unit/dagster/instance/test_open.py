"""Opening the Dagster instance of `DAGSTER_HOME`."""

from pathlib import Path

import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.dagster.instance.open import (
    DEFAULT_DAGSTER_YAML,
    dagster_home,
)
from caliper_dagster_tests.harness.environment import environment


def test_dagster_home_is_needed_and_gets_the_standing_configuration(tmp_path: Path) -> None:
    with environment({}), pytest.raises(ConfigurationError, match=r"^DAGSTER_HOME is not set"):
        dagster_home()
    with environment({"DAGSTER_HOME": str(tmp_path / "new")}):
        home = dagster_home()
    assert (home / "dagster.yaml").read_bytes() == DEFAULT_DAGSTER_YAML.read_bytes()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with environment({"DAGSTER_HOME": str(home)}):
        dagster_home()
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_a_dagster_home_that_cannot_be_written_to_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wanted = pytest.raises(ConfigurationError, match=r"^DAGSTER_HOME cannot be written to")
    with environment({"DAGSTER_HOME": str(tmp_path / "file" / "home")}), wanted:
        dagster_home()
