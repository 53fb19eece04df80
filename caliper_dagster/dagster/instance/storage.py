"""The storage of Dagster's runs and events: SQLite for a trial, PostgreSQL for production.

``dagster.yaml`` names ``DagsterStorageFromEnv``, which reads ``DAGSTER_POSTGRES_URL``: if it is
set, the storage is PostgreSQL, otherwise SQLite under ``DAGSTER_HOME``. So one ``dagster.yaml``
serves both, although the file format has no conditions. ``BulkPostgresEventLog`` replaces only the
event log storage, for a ``dagster.yaml`` that others write, such as that of the Helm chart.

Both write events in bulk (``bulk_postgres``, ``bulk_sqlite``), which decides how long a run over
many hours takes. Where the installed Dagster is not suited for that (``capability``), they are
Dagster's own storage classes, and `one_by_one` says so. Only the modules of this folder may use
undocumented interfaces of Dagster (``dagster._core`` and the like).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from caliper_dagster.config.declaration import secret_of
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.file_modes import limit_new_files
from caliper_dagster.dagster.instance.capability import UnsuitedError

POSTGRES_URL = "DAGSTER_POSTGRES_URL"
"""The variable with the SQLAlchemy URL of the PostgreSQL database for runs and events."""

BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster's own variable: how many events of a step are stored together; 0 for one by one."""

_DRIVER = "postgresql+psycopg2://"
_EVENTS_PER_BATCH = "2000"

_UNSUITED = (UnsuitedError, ImportError, AttributeError, TypeError)
"""What another version of Dagster causes when its undocumented interfaces have changed."""

_reasons: WeakKeyDictionary[EventLogStorage, str] = WeakKeyDictionary()
"""Why events are stored one by one, by storage."""


class DagsterStorageFromEnv(DagsterStorage[Any], ConfigurableClass):
    """The class that ``storage: {custom: …}`` in ``dagster.yaml`` names.

    It only creates storages of other classes; it has no instances.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """No configuration in the file: the environment decides."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Mapping[str, Any],
    ) -> DagsterStorage[Any]:
        """Create the storage that the environment describes.

        The process that opens it (web server, daemon or run) stores events in batches from then on:
        Dagster reads the batch size only from the environment.

        Raises:
            ConfigurationError: ``DAGSTER_POSTGRES_URL`` is not a PostgreSQL URL, or the file that
                ``DAGSTER_POSTGRES_URL_FILE`` names cannot be read.
        """
        os.environ.setdefault(BATCH_SIZE, _EVENTS_PER_BATCH)
        url = secret_of(POSTGRES_URL)
        return _in_postgres(_with_driver(url), inst_data) if url else _in_sqlite(inst_data)


class BulkPostgresEventLog(EventLogStorage, ConfigurableClass):
    """The class that ``event_log_storage:`` names where others configure the other storages.

    It only creates storages of other classes; it has no instances.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The configuration of Dagster's event log storage in PostgreSQL."""
        from dagster_postgres import PostgresEventLogStorage

        return PostgresEventLogStorage.config_type()

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Mapping[str, Any],
    ) -> EventLogStorage:
        """Create the event log storage in the configured PostgreSQL database.

        As with :class:`DagsterStorageFromEnv`, events are stored in batches from then on.
        """
        from dagster_postgres import PostgresEventLogStorage
        from dagster_postgres.utils import pg_url_from_config

        os.environ.setdefault(BATCH_SIZE, _EVENTS_PER_BATCH)
        creates = config_value.get("should_autocreate_tables", True)
        try:
            from caliper_dagster.dagster.instance.bulk_postgres import open_events

            return open_events(pg_url_from_config(config_value), creates, inst_data)
        except _UNSUITED as error:
            events = PostgresEventLogStorage.from_config_value(inst_data, config_value)
            _reasons[events] = _reason(error)
            return events


def one_by_one(instance: dg.DagsterInstance) -> str | None:
    """One sentence when an instance stores events one by one, with the reason; otherwise None."""
    reason = _reasons.get(instance.event_log_storage)
    if reason is None:
        return None
    return (
        f"Dagster {dg.__version__} stores the events of each hour one by one here, so runs over "
        f"many hours take up to 16 times longer, because {reason}."
    )


def _in_sqlite(inst_data: ConfigurableClassData | None) -> DagsterStorage[Any]:
    home = _home()
    limit_new_files()
    home.mkdir(parents=True, exist_ok=True)

    # Two processes that create Dagster's tables at the same time would both fail.
    with (home / ".creating").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            from caliper_dagster.dagster.instance.bulk_sqlite import open_storage

            return open_storage(str(home), inst_data)
        except _UNSUITED as error:
            storage = DagsterSqliteStorage.from_local(str(home), inst_data)
            _reasons[storage.event_log_storage] = _reason(error)
            return storage


def _in_postgres(url: str, inst_data: ConfigurableClassData | None) -> DagsterStorage[Any]:
    try:
        from caliper_dagster.dagster.instance.bulk_postgres import open_storage

        return open_storage(url, inst_data)
    except _UNSUITED as error:
        from dagster_postgres import DagsterPostgresStorage

        storage = DagsterPostgresStorage(url, inst_data=inst_data)
        _reasons[storage.event_log_storage] = _reason(error)
        return storage


def _reason(error: Exception) -> str:
    """Why events are not written in bulk; the text of a foreign error may hold anything."""
    if isinstance(error, UnsuitedError):
        return str(error)
    return f"bulk storage cannot be opened ({type(error).__name__})"


def _home() -> Path:
    """``DAGSTER_HOME``; if unset (``dagster dev`` in a clone), ``.dagster_home`` in the folder."""
    return Path(os.environ.get("DAGSTER_HOME") or ".dagster_home").absolute()


def _with_driver(url: str) -> str:
    """The URL with psycopg2 as its driver, which dagster-postgres depends on."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+psycopg2"}:
        raise ConfigurationError(
            f"{POSTGRES_URL} must be an SQLAlchemy URL that starts with {_DRIVER}."
        )
    return _DRIVER + rest
