from pathlib import Path

import dagster as dg
import pytest
from dagster_postgres import DagsterPostgresStorage

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.dagster.instance.open import DEFAULT_DAGSTER_YAML, open_instance
from caliper_dagster.dagster.instance.storage import DagsterStorageFromEnv
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.standing import HOURS, environment, standing

ROOT = Path(__file__).parents[1]


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
        assert instance.run_retries_enabled
        assert not instance.telemetry_enabled
        assert instance.python_log_level == "INFO"


def test_with_the_switch_runs_are_kept_in_postgresql(tmp_path: Path, postgres_url: str) -> None:
    bare = postgres_url.replace("postgresql+psycopg2://", "postgresql://")
    with standing(tmp_path) as site:
        with environment(dict(site.environment) | {"DAGSTER_POSTGRES_URL": bare}):
            result = site.run(CHAIN_JOB, HOURS)
            assert result.success
            with open_instance() as instance:
                assert [run.run_id for run in instance.get_runs()] == [result.run_id]
                hours = instance.get_materialized_partitions(dg.AssetKey("emission_results"))
                assert hours == {hour.key for hour in HOURS}
        assert not (tmp_path / "dagster" / "history").exists()


def test_a_failed_range_shows_its_hours_as_failed(tmp_path: Path, postgres_url: str) -> None:
    with standing(tmp_path) as site:
        down = {
            "DAGSTER_POSTGRES_URL": postgres_url,
            "CALIPER_EVENT_STORE_URL": "http://127.0.0.1:9",
        }
        with environment(dict(site.environment) | down):
            assert not site.run(CHAIN_JOB, HOURS).success
            with open_instance() as instance:
                status = instance.get_status_by_partition(
                    dg.AssetKey("emission_results"),
                    [hour.key for hour in HOURS],
                    dg.HourlyPartitionsDefinition("2026-03-01-00:00"),
                )
    assert {str(state.value) for state in (status or {}).values() if state} == {"FAILED"}


@pytest.mark.parametrize("url", ["mysql+pymysql://user:secret@db/dagster", "secret"])
def test_a_switch_that_is_no_postgresql_is_one_clear_sentence(tmp_path: Path, url: str) -> None:
    given = {"DAGSTER_HOME": str(tmp_path), "DAGSTER_POSTGRES_URL": url}
    with environment(given), pytest.raises(ConfigurationError) as error, open_instance():
        pass
    assert "DAGSTER_POSTGRES_URL must be" in str(error.value)
    assert "secret" not in str(error.value)


def test_the_storage_names_its_driver(postgres_url: str) -> None:
    with environment({"DAGSTER_POSTGRES_URL": postgres_url.replace("+psycopg2", "")}):
        storage = DagsterStorageFromEnv.from_config_value(None, {})
    assert isinstance(storage, DagsterPostgresStorage)
    assert storage.postgres_url == postgres_url
