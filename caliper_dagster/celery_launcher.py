"""The name under which users' ``dagster.yaml`` files load the run launcher for Celery."""

from caliper_dagster.dagster.instance.celery_launcher import CeleryRunLauncher

__all__ = ["CeleryRunLauncher"]
