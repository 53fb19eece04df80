"""The instance that the Helm chart makes, on PostgreSQL."""

from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from caliper_dagster.dagster.instance.bulk_postgres import PostgresEvents
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import HOURS, sample_installation
from caliper_dagster_tests.unit.test_deploy import loaded


@pytest.fixture
def charts_home(tmp_path: Path, postgres_url: str) -> dict[str, str]:
    """DAGSTER_HOME as the chart writes it: storages of its own, and then what our values add."""
    url = sa.make_url(postgres_url)
    database = {
        "username": url.username,
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "hostname": url.host,
        "port": url.port,
        "db_name": url.database,
        "scheme": loaded("kubernetes/values.yaml")["postgresql"]["postgresqlScheme"],
    }
    own = {
        f"{part}_storage": {
            "module": f"dagster_postgres.{module}",
            "class": f"Postgres{name}Storage",
            "config": {"postgres_db": database},
        }
        for part, module, name in (
            ("schedule", "schedule_storage", "Schedule"),
            ("run", "run_storage", "Run"),
            ("event_log", "event_log", "EventLog"),
        )
    }
    added = loaded("kubernetes/values.yaml")["additionalInstanceConfig"]
    given = added["event_log_storage"]["config"]["postgres_db"]
    assert set(given) == set(database)
    given |= {name: database[name] for name in ("username", "hostname", "port", "db_name")}
    pools = {"concurrency": {"pools": {"default_limit": 2}}}
    text = "".join(map(yaml.safe_dump, (own, pools, added)))
    home = tmp_path / "chart"
    home.mkdir()
    (home / "dagster.yaml").write_text(text, encoding="utf-8")
    return {"DAGSTER_HOME": str(home), "DAGSTER_PG_PASSWORD": url.password or ""}


def test_runs_in_kubernetes_store_their_events_in_bulk(
    tmp_path: Path, charts_home: dict[str, str]
) -> None:
    with (
        sample_installation(tmp_path) as site,
        environment(dict(site.environment) | charts_home),
    ):
        for _ in range(2):  # Dagster's own has failed at the pools of a second run
            assert site.run(CHAIN_JOB, HOURS).success
        with open_instance() as instance:
            assert isinstance(instance.event_log_storage, PostgresEvents)
            assert len(instance.get_runs()) == 2
            hours = instance.get_materialized_partitions(dg.AssetKey("emission_results"))
            assert hours == {hour.key for hour in HOURS}
