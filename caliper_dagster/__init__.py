"""Moodle's log as 1EdTech Caliper events, outside Moodle, as a Dagster project.

A log row passes through ``expander`` (log rows to expanded rows), ``translator`` (expanded rows to
Caliper events) and ``emitter`` (events to event stores). ``docs/architecture.md`` describes the
folders. Importing this package imports neither Dagster nor pandas, reads no environment and opens
nothing; what other projects use of it is imported when they ask for it.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caliper_dagster.dagster.component import MoodleSite as MoodleSite
    from caliper_dagster.dagster.stored_frames import frames_io_manager as frames_io_manager
    from caliper_dagster.delivery.stored_frames import load_hours as load_hours

try:
    __version__ = version("caliper-dagster")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0+unknown"

_MODULES = {
    "MoodleSite": "caliper_dagster.dagster.component",
    "frames_io_manager": "caliper_dagster.dagster.stored_frames",
    "load_hours": "caliper_dagster.delivery.stored_frames",
}
"""What other projects use, and where it is."""


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """All names, as Dagster looks for components."""
    return sorted((*globals(), *_MODULES))
