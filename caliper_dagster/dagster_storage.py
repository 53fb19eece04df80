"""Where Dagster keeps its own runs and events: SQLite to try it, PostgreSQL for anything beyond.

``dagster.yaml`` names ``StandingStorage``, which looks at ``DAGSTER_POSTGRES_URL``: unset, it is
Dagster's SQLite storage under ``DAGSTER_HOME``; set, Dagster's PostgreSQL storage. One file serves
both, because ``dagster.yaml`` itself knows no condition.

This is the only module that may use what Dagster does not document (``dagster._core`` and the
like): the interface of a configurable storage class. It is tested against the version that is
pinned. A storage that writes differently (in bulk, say) belongs here too, and is chosen here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from caliper_dagster.errors import ConfigurationError

POSTGRES_URL = "DAGSTER_POSTGRES_URL"
"""The switch: SQLAlchemy URL of the PostgreSQL database in which Dagster keeps runs and events."""

_DRIVER = "postgresql+psycopg2://"


class StandingStorage(DagsterStorage[Any], ConfigurableClass):
    """What ``storage: {custom: …}`` of ``dagster.yaml`` names; makes one of Dagster's own.

    There are no instances of this class itself.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing to configure in the file: the switch is in the environment."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Mapping[str, Any],
    ) -> DagsterStorage[Any]:
        """The storage of this environment.

        Raises:
            ConfigurationError: ``DAGSTER_POSTGRES_URL`` is no PostgreSQL URL.
        """
        url = os.environ.get(POSTGRES_URL)
        if not url:
            return DagsterSqliteStorage.from_local(str(_home()), inst_data)
        from dagster_postgres import DagsterPostgresStorage

        return DagsterPostgresStorage(_with_driver(url), inst_data=inst_data)


def _home() -> Path:
    """``DAGSTER_HOME``; without it (``dagster dev`` in a clone) a folder beside the project."""
    return Path(os.environ.get("DAGSTER_HOME") or ".dagster_home").absolute()


def _with_driver(url: str) -> str:
    """The URL with psycopg2 named: it is what dagster-postgres comes with."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+psycopg2"}:
        raise ConfigurationError(
            f"{POSTGRES_URL} must be an SQLAlchemy URL that begins with {_DRIVER}."
        )
    return _DRIVER + rest
