"""Resources: what the assets are given from outside, one per dependency.

Here belongs which settings each dependency takes and how a fault becomes a failed run with one
clear sentence. What the plain object can do is written where it lives (``expander``, ``emitter``,
``storage``); none of them knows Dagster. Nothing connects before a step opens it.
https://docs.dagster.io/guides/build/external-resources

Secrets stay in the environment: a resource holds the *name* of the variable, so the web UI and the
logs can only show that.

Dagster gives a function the resource of its parameter's name, and of each name there is one in a
project. Of several sites each has its own under names that begin with the site's, and
``bind_site_resources`` gives the functions of a site these parameters.

The parts are imported when a step opens them, not when Dagster loads the
definitions: the web server and the daemon never need them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from inspect import Signature, isgeneratorfunction, signature
from typing import TYPE_CHECKING, Any

import dagster as dg

from caliper_dagster.config.event_stores import EventStoreDefinition, event_stores
from caliper_dagster.config.settings import DB_URL, LEDGER_URL, Settings, not_set
from caliper_dagster.config.yaml_file import Variable
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.partition_store import PartitionStore

if TYPE_CHECKING:
    from caliper_dagster.emitter import Ledger
    from caliper_dagster.expander import MoodleDatabase


class MoodleResource(dg.ConfigurableResource[Any]):
    """Moodle's database, read-only."""

    url: str | None = None
    variable: str = DB_URL
    prefix: str = "mdl_"
    timeout: int = 300

    def open(self) -> AbstractContextManager[MoodleDatabase]:
        """Connect; the connection is one read-only snapshot."""
        from caliper_dagster.expander import MoodleDatabase

        if not self.url:
            raise not_set(DB_URL, self.variable)
        return MoodleDatabase.open(self.url, self.prefix, self.timeout)


class EventStoresResource(dg.ConfigurableResource[Any]):
    """The Caliper endpoints that receive envelopes; what is secret by the name of its variable."""

    stores: list[dict[str, Any]]

    def definitions(self) -> tuple[EventStoreDefinition, ...]:
        """The event stores, to be opened."""
        return tuple(EventStoreDefinition.model_validate(store) for store in self.stores)


class StorageResource(dg.ConfigurableResource[Any]):
    """Where partitions are kept: a folder or an object store, of several sites a folder of it."""

    url: str | None = None
    folder: str | None = None

    def location(self) -> str:
        """The URL; ``data`` under ``DAGSTER_HOME`` when none is given."""
        return _settings(CALIPER_STORAGE=self.url, folder=self.folder).storage_url()

    def open(self) -> PartitionStore:
        """The storage; nothing is touched before something is read or written."""
        return PartitionStore(self.location())


class LedgerResource(dg.ConfigurableResource[Any]):
    """The durable record of what each event store has acknowledged."""

    url: str | None = None
    variable: str = LEDGER_URL
    storage_url: str | None = None

    def open(self) -> Ledger:
        """The ledger; SQLite beside the storage when no URL is given. A context manager."""
        from caliper_dagster.emitter import Ledger

        given = _settings(
            CALIPER_LEDGER_URL=self.url,
            CALIPER_STORAGE=self.storage_url,
            secrets={LEDGER_URL: Variable(env=self.variable)},
        )
        return Ledger(given.ledger())


def resources(settings: Settings) -> dict[str, dg.ConfigurableResource[Any]]:
    """The resources of a site by the names of the parameters by which functions ask for them."""
    return {
        "moodle": MoodleResource(
            url=_secret(settings, DB_URL),
            variable=settings.variable(DB_URL),
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
            url=_secret(settings, LEDGER_URL),
            variable=settings.variable(LEDGER_URL),
            storage_url=settings.storage,
        ),
    }


def storage_resource(settings: Settings) -> StorageResource:
    """Where the partitions of a site are kept."""
    return StorageResource(url=settings.storage, folder=settings.folder)


def bind_site_resources(function: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
    """The function with parameters by which Dagster gives it the resources of its site."""
    if not settings.site:
        return function
    told = signature(function)
    own = {
        name: settings.site_name(name)
        for name, parameter in told.parameters.items()
        if isinstance(parameter.annotation, type)
        and issubclass(parameter.annotation, dg.ConfigurableResource)
    }
    names = {asked: name for name, asked in own.items()}

    @wraps(function)
    def asks(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - what the function takes and gives
        return function(*given, **{names.get(asked, asked): named[asked] for asked in named})

    parameters = [
        parameter.replace(name=own.get(name, name)) for name, parameter in told.parameters.items()
    ]
    # Dagster has no use for the type of a generator, which it does not see this to be.
    gives = Signature.empty if isgeneratorfunction(function) else told.return_annotation
    asks.__signature__ = Signature(parameters, return_annotation=gives)  # type: ignore[attr-defined]
    return asks


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Turn our errors into a failed step with the same sentence and nothing else."""
    try:
        yield
    except CaliperDagsterError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def _secret(settings: Settings, setting: str) -> str | None:
    """The variable by its name when it is set; unset variables are reported when they are used."""
    variable = settings.variable(setting)
    return dg.EnvVar(variable) if os.environ.get(variable) else None


def _settings(**values: object) -> Settings:
    return Settings.model_validate({name: value for name, value in values.items() if value})
