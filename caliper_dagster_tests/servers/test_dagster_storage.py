from pathlib import Path

import dagster as dg
import pytest
from dagster_postgres import DagsterPostgresStorage

from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.instance.storage import DagsterStorageFromEnv
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import HOURS, sample_installation


def test_with_the_switch_runs_are_kept_in_postgresql(tmp_path: Path, postgres_url: str) -> None:
    bare = postgres_url.replace("postgresql+psycopg2://", "postgresql://")
    with sample_installation(tmp_path) as site:
        with environment(dict(site.environment) | {"DAGSTER_POSTGRES_URL": bare}):
            result = site.run(CHAIN_JOB, HOURS)
            assert result.success
            with open_instance() as instance:
                assert [run.run_id for run in instance.get_runs()] == [result.run_id]
                hours = instance.get_materialized_partitions(dg.AssetKey("emission_results"))
                assert hours == {hour.key for hour in HOURS}
        assert not (tmp_path / "dagster" / "history").exists()


def test_a_failed_range_shows_its_hours_as_failed(tmp_path: Path, postgres_url: str) -> None:
    with sample_installation(tmp_path) as site:
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


def test_the_storage_names_its_driver(postgres_url: str) -> None:
    with environment({"DAGSTER_POSTGRES_URL": postgres_url.replace("+psycopg2", "")}):
        storage = DagsterStorageFromEnv.from_config_value(None, {})
    assert isinstance(storage, DagsterPostgresStorage)
    assert storage.postgres_url == postgres_url


def test_a_dagster_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    url = "postgresql://dagster:secret@127.0.0.1:9/dagster"
    given = {"DAGSTER_HOME": str(tmp_path), "DAGSTER_POSTGRES_URL": url}
    with environment(given), pytest.raises(ConfigurationError) as error, open_instance():
        pass
    assert "DAGSTER_POSTGRES_URL" in str(error.value)
    assert "secret" not in str(error.value)
