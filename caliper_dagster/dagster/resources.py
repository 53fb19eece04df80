"""Resources: what the assets depend on outside Dagster, one for each dependency.

This module decides which settings each dependency takes, and turns an error into a failed run with
one clear sentence. What the opened objects can do is written where they live (``expander``,
``emitter``, ``core``), which do not import Dagster. Nothing connects before a step opens it.
https://docs.dagster.io/guides/build/external-resources

Secrets stay in the environment: a resource holds the *name* of the variable, so that the web UI and
the logs can show only that.

Dagster gives a function the resource of its parameter's name, and a project has one resource of
each name. With several sites each site has its own, whose names begin with the site's, and
``bind_site_resources`` gives these to the functions of a site.

The parts are imported when a step opens them, not when Dagster loads the definitions: the web
server and the daemon do not need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from inspect import Signature, isgeneratorfunction, signature
from typing import TYPE_CHECKING, Any

import dagster as dg

from caliper_dagster.config.declaration import Reference, not_set
from caliper_dagster.config.event_stores import EventStoreDefinition, event_stores, read_definition
from caliper_dagster.config.settings import Settings, declared, ledger_url, storage_url
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.partition_store import PartitionStore

if TYPE_CHECKING:
    from caliper_dagster.emitter import Ledger
    from caliper_dagster.expander import MoodleDatabase

_DB_URL = declared()["MOODLE_DB_URL"]
_LEDGER_URL = declared()["CALIPER_LEDGER_URL"]


class MoodleResource(dg.ConfigurableResource[Any]):
    """Moodle's database, read-only."""

    url: str | None = None
    variable: str = _DB_URL.variable
    prefix: str = "mdl_"
    timeout: int = 300

    def open(self) -> AbstractContextManager[MoodleDatabase]:
        """Connect; the connection is one read-only snapshot.

        Raises:
            ConfigurationError: the URL is not set, or no Moodle database can be read there.
        """
        from caliper_dagster.expander import MoodleDatabase

        if not self.url:
            raise not_set(_DB_URL, Reference(env=self.variable))
        return MoodleDatabase.open(self.url, self.prefix, self.timeout)


class EventStoresResource(dg.ConfigurableResource[Any]):
    """The event stores that receive envelopes. Secrets are given as names of variables."""

    stores: list[dict[str, Any]]

    def definitions(self) -> tuple[EventStoreDefinition, ...]:
        """The event stores, not yet opened.

        Raises:
            ConfigurationError: a value is wrong, which only a run's own configuration can be.
        """
        return tuple(read_definition(store) for store in self.stores)


class StorageResource(dg.ConfigurableResource[Any]):
    """Where partitions are kept: a folder or an object store, with a folder for each site."""

    url: str | None = None
    folder: str | None = None

    def location(self) -> str:
        """The URL; ``data`` under ``DAGSTER_HOME`` when none is given.

        Raises:
            ConfigurationError: neither is set.
        """
        return storage_url(self.url, self.folder)

    def open(self) -> PartitionStore:
        """The storage; nothing is read or written yet."""
        return PartitionStore(self.location())


class LedgerResource(dg.ConfigurableResource[Any]):
    """The durable record of what each event store has acknowledged."""

    url: str | None = None
    variable: str = _LEDGER_URL.variable
    storage_url: str | None = None

    def open(self) -> Ledger:
        """The ledger; SQLite beside the storage when no URL is given. A context manager.

        Raises:
            ConfigurationError: it needs a URL, and none is set.
        """
        from caliper_dagster.emitter import Ledger

        return Ledger(self.url or ledger_url(Reference(env=self.variable), self.storage_url))


def resources(settings: Settings) -> dict[str, dg.ConfigurableResource[Any]]:
    """The resources of a site, by the parameter names of the functions that take them."""
    database = settings.moodle_db_url or Reference(env=_DB_URL.variable)
    ledger = settings.ledger_url or Reference(env=_LEDGER_URL.variable)
    return {
        "moodle": MoodleResource(
            url=_env_var(database),
            variable=database.env,
            prefix=settings.moodle_db_prefix,
            timeout=settings.moodle_db_timeout,
        ),
        "event_stores": EventStoresResource(
            stores=[
                store.model_dump(mode="json", exclude_none=True) for store in event_stores(settings)
            ]
        ),
        "storage": storage_resource(settings),
        "ledger": LedgerResource(
            url=_env_var(ledger),
            variable=ledger.env,
            storage_url=settings.storage,
        ),
    }


def storage_resource(settings: Settings) -> StorageResource:
    """Where the partitions of a site are kept."""
    return StorageResource(url=settings.storage, folder=settings.folder)


def bind_site_resources(function: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
    """The function with other parameter names, by which Dagster gives it its site's resources."""
    if not settings.site:
        return function
    original = signature(function)
    site_names = {
        name: settings.site_name(name)
        for name, parameter in original.parameters.items()
        if isinstance(parameter.annotation, type)
        and issubclass(parameter.annotation, dg.ConfigurableResource)
    }
    names = {site_name: name for name, site_name in site_names.items()}

    @wraps(function)
    def bound(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the function
        return function(*args, **{names.get(name, name): value for name, value in kwargs.items()})

    parameters = [
        parameter.replace(name=site_names.get(name, name))
        for name, parameter in original.parameters.items()
    ]
    # Dagster does not see that this is a generator function, and refuses a generator's type.
    returns = Signature.empty if isgeneratorfunction(function) else original.return_annotation
    bound.__signature__ = Signature(parameters, return_annotation=returns)  # type: ignore[attr-defined]
    return bound


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Turn our errors into a failed step with the same sentence and nothing else."""
    try:
        yield
    except CaliperDagsterError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def _env_var(reference: Reference) -> str | None:
    """The variable by its name when it is set; one that is not is reported when it is needed."""
    return dg.EnvVar(reference.env) if reference.value() else None
