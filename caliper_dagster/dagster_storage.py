"""The names under which users' ``dagster.yaml`` files load the storage classes."""

from caliper_dagster.dagster.instance.storage import BulkPostgresEventLog as StandingEvents
from caliper_dagster.dagster.instance.storage import DagsterStorageFromEnv as StandingStorage

__all__ = ["StandingEvents", "StandingStorage"]
