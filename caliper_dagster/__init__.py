"""Moodle's log as 1EdTech Caliper events, outside Moodle, as a Dagster project.

A log row passes through ``expander`` (log rows to expanded rows), ``translator`` (expanded rows to
Caliper events) and ``emitter`` (events to event stores). ``docs/architecture.md`` describes the
folders. Importing this package imports neither Dagster nor pandas and opens nothing.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("caliper-dagster")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0+unknown"
