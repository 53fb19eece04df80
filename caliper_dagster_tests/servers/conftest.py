"""Fixtures of the tests against database servers and an object store."""

from __future__ import annotations

from caliper_dagster_tests.server_fixtures import (
    bucket,
    mariadb_server,
    mariadb_url,
    object_store,
    postgres_server,
    postgres_url,
)

__all__ = [
    "bucket",
    "mariadb_server",
    "mariadb_url",
    "object_store",
    "postgres_server",
    "postgres_url",
]
