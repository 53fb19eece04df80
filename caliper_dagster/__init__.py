"""Moodle's log as 1EdTech Caliper events, outside Moodle, as a Dagster project.

A log row passes through ``expander`` (log rows to expanded rows), ``translator`` (expanded rows to
Caliper events) and ``emitter`` (events to event stores). ``docs/architecture.md`` describes the
folders. Importing this package imports neither Dagster nor pandas and opens nothing: what other
projects use of it is imported when they name it.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("caliper-dagster")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0+unknown"

_FOR_OTHER_PROJECTS = {"MoodleSite": "caliper_dagster.dagster.component"}
"""The names that other projects use, with the modules that define them."""


def __getattr__(name: str) -> object:
    """Import what another project uses when it is named."""
    if name in _FOR_OTHER_PROJECTS:
        return getattr(import_module(_FOR_OTHER_PROJECTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, as lists of components look for them."""
    return sorted([*globals(), *_FOR_OTHER_PROJECTS])
