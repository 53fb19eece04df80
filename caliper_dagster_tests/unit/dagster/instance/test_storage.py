"""Where Dagster keeps its runs, and the configuration that the project ships for it."""

from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.dagster.instance.open import DEFAULT_DAGSTER_YAML, open_instance
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.paths import ROOT


def test_the_version_of_dagster_is_the_one_this_was_written_for() -> None:
    """The interface of a storage class is not documented: look again before a new version."""
    assert dg.__version__.startswith("1.13.")


def test_the_projects_file_is_the_one_that_is_shipped() -> None:
    assert (ROOT / "dagster.yaml").resolve() == DEFAULT_DAGSTER_YAML.resolve()


def test_without_the_switch_runs_are_kept_under_dagster_home(tmp_path: Path) -> None:
    with environment({"DAGSTER_HOME": str(tmp_path / "home")}), open_instance() as instance:
        assert instance.get_runs() == []
        assert instance.is_persistent
    assert (tmp_path / "home" / "history" / "runs.db").exists()


def test_the_standing_configuration_is_what_dagster_uses(tmp_path: Path) -> None:
    with environment({"DAGSTER_HOME": str(tmp_path)}), open_instance() as instance:
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 4
        assert instance.run_monitoring_enabled
        assert instance.get_settings("run_monitoring")["max_runtime_seconds"] == 86_400
        assert instance.run_retries_enabled
        assert not instance.telemetry_enabled
        assert instance.python_log_level == "INFO"


@pytest.mark.parametrize("url", ["mysql+pymysql://user:secret@db/dagster", "secret"])
def test_a_switch_that_is_no_postgresql_is_one_clear_sentence(tmp_path: Path, url: str) -> None:
    given = {"DAGSTER_HOME": str(tmp_path), "DAGSTER_POSTGRES_URL": url}
    with environment(given), pytest.raises(ConfigurationError) as error, open_instance():
        pass
    assert "DAGSTER_POSTGRES_URL must be" in str(error.value)
    assert "secret" not in str(error.value)
