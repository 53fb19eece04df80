"""How does an instance answer that holds years of hours?

Run ``python -m benchmarks.instance --postgres postgresql://…`` (an account that may create
databases). One hour is taken for real; its planned and done materializations are then copied for
all hours, in SQL. Measured is what the web UI, the schedule and the sensor ask for.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from benchmarks.orchestration import database, site
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.instance import storage
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.run_status import HourStatuses
from caliper_dagster.operations.runner import JobRunner, RunContext

_COPY = """
INSERT INTO event_logs
    (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
SELECT run_id, replace(event, :key, hour), dagster_event_type, timestamp, step_key, asset_key, hour
FROM event_logs,
    (SELECT to_char(to_timestamp(second) AT TIME ZONE 'UTC', 'YYYY-MM-DD-HH24:MI') AS hour
     FROM generate_series(:first, :last, 3600) AS second) AS hours
WHERE partition = :key
    AND dagster_event_type IN ('ASSET_MATERIALIZATION', 'ASSET_MATERIALIZATION_PLANNED')
ORDER BY id, hour
"""
_FORGET = "UPDATE asset_keys SET cached_status_data = NULL"


def main() -> None:
    """Write the instance, and print seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", metavar="URL", required=True)
    parser.add_argument("--hours", type=int, default=43_800)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    end = Hour.from_key("2026-01-01-00:00")
    hours = HourRange(end + -given.hours, end)
    with (
        tempfile.TemporaryDirectory() as folder,
        site(Path(folder)),
        database(given.postgres) as url,
    ):
        os.environ |= {
            "DAGSTER_HOME": folder,
            storage.POSTGRES_URL: url,
            "CALIPER_START": hours.start.datetime.strftime("%Y-%m-%dT%H"),
        }
        settings = Settings.from_environment()
        with open_instance() as instance:
            runner = JobRunner(RunContext(instance, settings), CHAIN_JOB)
            last = HourRange(end + -1, end)
            runner.run(last, {})
            engine = sa.create_engine(url)
            with engine.begin() as connection:
                values = {
                    "key": last.start.key,
                    "first": hours.start.start,
                    "last": end.start - 7200,
                }
                rows = connection.execute(sa.text(_COPY), values).rowcount
            print(f"{len(hours):,} hours, {rows:,} rows of events")
            _questions(instance, engine, settings, hours)


def _questions(
    instance: dg.DagsterInstance, engine: sa.Engine, settings: Settings, hours: HourRange
) -> None:
    definitions = build_definitions(settings)
    emission = next(
        asset
        for asset in definitions.assets or []
        if isinstance(asset, dg.AssetsDefinition) and asset.key.path[-1] == "emission_results"
    )
    partitions, ask = emission.partitions_def, HourStatuses(instance, emission, {})
    if partitions is None:
        raise TypeError("The assets are partitioned by the hour.")
    with engine.begin() as connection:
        connection.execute(sa.text(_FORGET))
    schedule = definitions.resolve_schedule_def(f"{CHAIN_JOB}_schedule")

    def tick() -> object:
        with dg.build_schedule_context(
            instance, datetime.now(UTC), repository_def=definitions.get_repository_def()
        ) as context:
            return schedule.evaluate_tick(context)

    def health() -> object:
        # What the web UI's query of an asset's partition health calls.
        return get_and_update_asset_status_cache_value(instance, emission.key, partitions)

    _time("partition health, cold", health)
    _time("partition health, warm", health)
    _time("the sensor: status of 100 hours", lambda: ask(set(list(hours)[-100:])))
    _time("the sensor: newest hour, first look only", ask.newest_materialized)
    _time("partition keys (launch dialog)", partitions.get_partition_keys)
    _time("the schedule's tick", tick)


def _time(what: str, question: Callable[[], object]) -> None:
    began = time.perf_counter()
    question()
    print(f"{time.perf_counter() - began:8.2f} s  {what}", flush=True)


if __name__ == "__main__":
    main()
