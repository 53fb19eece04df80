"""Resources: what the assets depend on outside Dagster, one for each dependency.

A resource holds the settings of its site and opens what they lead to. What the opened objects can
do is written where they live (``expander``, ``emitter``, ``core``), which do not import Dagster.
Nothing connects before a step opens it.
https://docs.dagster.io/guides/build/external-resources

**Launching a run cannot change a resource.** Whoever reaches the web UI may launch a run with a run
config of their own. A resource with configurable fields would let that config name another event
store or another folder, and read any variable of the environment (``{"env": NAME}``). So resources
are plain objects, and Dagster refuses a run config that has an entry for one of them
(``closed``). Secrets stay in the environment: the settings hold the *names* of variables.

Dagster gives a function the resource of its parameter's name, and a project has one resource of
each name. Another project may have a ``storage`` of its own, and several sites. So the names begin
with ``caliper_``, and before that with the site's name (``resource_key``); ``bind_site_resources``
gives these to the functions of a site.

The parts are imported when a step opens them, not when Dagster loads the definitions: the web
server and the daemon do not need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from inspect import Signature, isgeneratorfunction, signature
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_origin

import dagster as dg

from caliper_dagster.config.connections import open_ledger, open_moodle, open_store
from caliper_dagster.config.declaration import declarations
from caliper_dagster.config.event_store_settings import EventStoreSettings
from caliper_dagster.config.event_stores import FILE, EventStoreDefinition, event_stores
from caliper_dagster.config.settings import Settings, declared
from caliper_dagster.core.arrow_memory import return_unused
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.file_modes import limited_new_files
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.recent_hours import RecentHours
from caliper_dagster.dagster.instance.storage import one_by_one
from caliper_dagster.dagster.stored_frames import StoredFrames

if TYPE_CHECKING:
    from caliper_dagster.emitter import Ledger
    from caliper_dagster.expander import MoodleDatabase

FRAMES_RESOURCE = "frames"
"""The I/O manager by which assets of other projects read those of a site: ``caliper_frames``."""


@dataclass(frozen=True)
class MoodleResource:
    """Moodle's database, and that of its log, read-only."""

    settings: Settings
    reads: ClassVar = (
        "MOODLE_DB_URL",
        "MOODLE_DB_PREFIX",
        "MOODLE_DB_TIMEOUT",
        "MOODLE_DB_WITHOUT",
        "MOODLE_LOG_DB_URL",
        "MOODLE_LOG_TABLE",
        "MOODLE_REPLICA_WAIT",
    )

    def open(self) -> AbstractContextManager[MoodleDatabase]:
        """Connect; each database is seen in one read-only snapshot.

        Raises:
            ConfigurationError: the URL is not set, or no Moodle database can be read there.
        """
        return open_moodle(self.settings)


@dataclass(frozen=True)
class EventStoresResource:
    """The event stores that receive envelopes, not yet opened."""

    definitions: tuple[EventStoreDefinition, ...]
    reads: ClassVar = (
        FILE,
        *(setting.variable for setting in declarations(EventStoreSettings)),
    )


@dataclass(frozen=True)
class StorageResource:
    """Where partitions are kept: a folder or an object store, with a folder for each site."""

    settings: Settings
    recent: RecentHours = field(default_factory=RecentHours, compare=False, repr=False)
    reads: ClassVar = (
        "CALIPER_STORAGE",
        "CALIPER_FILE_MODE",
        "CALIPER_STORAGE_KEY",
        "CALIPER_STORED_ADDRESSES",
        "CALIPER_STORED_NAMES",
        "CALIPER_STORED_TEXTS",
    )

    def location(self) -> str:
        """The URL; ``data`` under ``DAGSTER_HOME`` when none is set.

        Raises:
            ConfigurationError: neither is set.
        """
        return self.settings.storage_url()

    def open(self) -> PartitionStore:
        """The storage.

        Raises:
            ConfigurationError: it cannot be used, or was made for another site.
        """
        return open_store(self.settings, self.recent)


@dataclass(frozen=True)
class LedgerResource:
    """The durable record of what each event store has acknowledged."""

    settings: Settings
    reads: ClassVar = ("CALIPER_LEDGER_URL", "CALIPER_LEDGER_TIMEOUT")

    def open(self) -> Ledger:
        """The ledger; SQLite beside the storage when no URL is set. A context manager.

        Raises:
            ConfigurationError: it needs a URL, and none is set.
        """
        return open_ledger(self.settings)


def resources(settings: Settings) -> dict[str, Any]:
    """The resources of a site, by the parameter names of the functions that take them.

    Raises:
        ConfigurationError: see ``event_stores``.
    """
    return {
        "moodle": MoodleResource(settings),
        "event_stores": EventStoresResource(event_stores(settings)),
        "storage": StorageResource(settings),
        "ledger": LedgerResource(settings),
        FRAMES_RESOURCE: StoredFrames(lambda: open_store(settings)),
    }


def resource_key(settings: Settings, name: str) -> str:
    """The name that a resource of a site has in a project.

    Args:
        settings: of the site.
        name: the parameter name of the functions that take it.
    """
    return settings.site_name(f"caliper_{name}")


def closed(
    resource: object,
    described_by: type,
    at_start: Callable[[dg.InitResourceContext], None] | None = None,
) -> dg.ResourceDefinition:
    """The resource as Dagster takes it: a run config that has an entry for it is refused.

    Dagster would accept and ignore a config for a plain object.

    Args:
        resource: what the functions get.
        described_by: the class whose docstring describes it. With the same description the jobs of
            other resources have the same snapshot, by which the web UI knows their runs.
        at_start: called when a run that uses it starts; the steps of a run are in one process.
    """

    def started(context: dg.InitResourceContext) -> object:
        if at_start is not None:
            at_start(context)
        return resource

    kind: type[dg.ResourceDefinition] = (
        dg.IOManagerDefinition if isinstance(resource, dg.IOManager) else dg.ResourceDefinition
    )
    return kind(started, config_schema={}, description=_description(described_by))


def _description(resource: type) -> str:
    """What a resource is, and the names of its settings with their meaning; never a value."""
    what = (resource.__doc__ or "").partition("\n")[0]
    names = getattr(resource, "reads", ())
    if not names:
        return what
    lines = [f"* `{name}`: {declared()[name].meaning}" for name in names]
    return "\n".join(
        (
            f"{what} It takes no config: a run config that names it is refused.",
            "",
            "It reads these settings of the site, from the environment or from a file:",
            "",
            *lines,
        )
    )


def warn_if_slow(context: dg.InitResourceContext) -> None:
    """Say in a run's log when its events are stored one by one, and why."""
    sentence = one_by_one(context.instance) if context.run and context.instance else None
    if sentence and context.log:
        context.log.warning(sentence)


IO_MANAGER = dg.IOManagerDefinition(
    lambda _: dg.InMemoryIOManager(),  # type: ignore[no-untyped-call]
    config_schema={},
    description="Not used: assets keep their partitions in the storage.",
)
"""In place of Dagster's default, whose folder a run config could set, also from a variable. In the
project of somebody else, Dagster opens theirs for our steps, and gives it nothing to keep."""


def bind_site_resources(function: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
    """The function with other parameter names, by which Dagster gives it its site's resources."""
    original = signature(function)
    site_names = {
        name: resource_key(settings, name)
        for name, parameter in original.parameters.items()
        if get_origin(parameter.annotation) is Annotated  # dg.ResourceParam
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
    """Turn our errors into a failed step with the same sentence and nothing else.

    Files that the step makes are closed to others (``core.file_modes``). Memory that it has freed
    is returned to the system.
    """
    try:
        with limited_new_files():
            yield
    except CaliperDagsterError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
    finally:
        return_unused()
