"""Where Dagster keeps its own runs and events: SQLite to try it, PostgreSQL for anything beyond.

``dagster.yaml`` names ``DagsterStorageFromEnv``, which looks at ``DAGSTER_POSTGRES_URL``: unset, it
is SQLite under ``DAGSTER_HOME``; set, PostgreSQL. One file serves both, because ``dagster.yaml``
itself knows no condition. ``BulkPostgresEventLog`` is for a ``dagster.yaml`` that is given, such as
that of the Helm chart: it takes the place of the storage of events only.

With the versions of Dagster that it was tested with, each is Dagster's own with events written in
bulk (``bulk_storage``), which decides what a run over many hours costs; with any other, Dagster's
as it is. These two modules are the only ones that may use what Dagster does not document
(``dagster._core`` and the like).
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from caliper_dagster.core.errors import ConfigurationError

POSTGRES_URL = "DAGSTER_POSTGRES_URL"
"""The switch: SQLAlchemy URL of the PostgreSQL database in which Dagster keeps runs and events."""

BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster's own switch: how many events of a step are stored together. 0 means one by one."""

TESTED_WITH = frozenset({"1.13.27"})
"""Versions of Dagster whose tables this module may write to."""

_DRIVER = "postgresql+psycopg2://"
_EVENTS_AT_ONCE = "2000"


class DagsterStorageFromEnv(DagsterStorage[Any], ConfigurableClass):
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

        Whichever process opens it, the web server, the daemon or a run, stores events in batches
        from then on: Dagster has no other place for that than the environment.

        Raises:
            ConfigurationError: ``DAGSTER_POSTGRES_URL`` is no PostgreSQL URL.
        """
        os.environ.setdefault(BATCH_SIZE, _EVENTS_AT_ONCE)
        url = os.environ.get(POSTGRES_URL)
        return _in_postgres(_with_driver(url), inst_data) if url else _in_sqlite(inst_data)


class BulkPostgresEventLog(EventLogStorage, ConfigurableClass):
    """What ``event_log_storage:`` names where the other storages are set by someone else.

    There are no instances of this class itself.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """That of Dagster's storage of events in PostgreSQL."""
        from dagster_postgres import PostgresEventLogStorage

        return PostgresEventLogStorage.config_type()

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Mapping[str, Any],
    ) -> EventLogStorage:
        """The storage of events in the PostgreSQL database that is configured.

        As with :class:`DagsterStorageFromEnv`, events are stored in batches from then on.
        """
        from dagster_postgres import PostgresEventLogStorage
        from dagster_postgres.utils import pg_url_from_config

        os.environ.setdefault(BATCH_SIZE, _EVENTS_AT_ONCE)
        if not is_tested():
            return PostgresEventLogStorage.from_config_value(inst_data, config_value)
        from caliper_dagster.dagster.instance.bulk_storage import PostgresEvents

        creates = config_value.get("should_autocreate_tables", True)
        return PostgresEvents(pg_url_from_config(config_value), creates, inst_data)


def _in_sqlite(inst_data: ConfigurableClassData | None) -> DagsterStorage[Any]:
    home = _home()
    home.mkdir(parents=True, exist_ok=True)
    # Of two processes that create Dagster's tables at the same time both would fail.
    with (home / ".creating").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not is_tested():
            return DagsterSqliteStorage.from_local(str(home), inst_data)
        from caliper_dagster.dagster.instance.bulk_storage import SqliteStorage

        return SqliteStorage.from_local(str(home), inst_data)


def _in_postgres(url: str, inst_data: ConfigurableClassData | None) -> DagsterStorage[Any]:
    if not is_tested():
        from dagster_postgres import DagsterPostgresStorage

        return DagsterPostgresStorage(url, inst_data=inst_data)
    from caliper_dagster.dagster.instance.bulk_storage import PostgresStorage

    return PostgresStorage(url, inst_data=inst_data)


@cache
def is_tested() -> bool:
    """Whether this is a version of Dagster that we know; says so once if not."""
    if dg.__version__ in TESTED_WITH:
        return True
    logging.getLogger(__name__).warning(
        "Dagster %s is not one of those with which runs over many hours store their events in "
        "bulk (%s): they will take longer.",
        dg.__version__,
        ", ".join(sorted(TESTED_WITH)),
    )
    return False


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
