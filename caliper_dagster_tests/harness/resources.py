"""The resources of a site, as a test gives them to a sensor that it evaluates itself."""

from __future__ import annotations

from typing import Any

from caliper_dagster.config.settings import Settings
from caliper_dagster.dagster.resources import resource_key, resources


def named_resources(settings: Settings) -> dict[str, Any]:
    """The resources of a site by their names in a project."""
    return {resource_key(settings, name): held for name, held in resources(settings).items()}
