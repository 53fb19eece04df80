"""Translation without Dagster: hours of the log straight to events, nothing kept and nothing sent.

Here belongs the short way through expander and translator, for ``caliper-dagster translate``. What
the assets do is the long way, with the same two parts.
"""

from __future__ import annotations

from pathlib import Path

from caliper_dagster.config.event_stores import caliper_versions
from caliper_dagster.config.settings import CaliperVersion, Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.translator import Recipes, Translator, load_recipes


def configured_recipes(settings: Settings) -> Recipes:
    """The package's recipes with those of the site over them.

    Raises:
        ConfigurationError: a file cannot be read.
        RecipeError: a recipe is wrong; the sentence names file, line and reason.
    """
    names = [name.strip() for name in (settings.recipes or "").split(",") if name.strip()]
    try:
        return load_recipes().with_user_recipes((name, read_file(name)) for name in names)
    except ConfigurationError as error:
        raise ConfigurationError(f"CALIPER_RECIPES: {error}") from None


def read_file(name: str) -> str:
    """The text of a recipe file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ConfigurationError(f"{name} cannot be read ({what}).") from None


def build_translator(settings: Settings, version: CaliperVersion | None = None) -> Translator:
    """The translator that the settings describe, for a version or that of ``caliper_events``.

    Raises:
        ConfigurationError: the site's address is not set.
        RecipeError: see `configured_recipes`.
    """
    return Translator(
        settings.require("moodle_wwwroot"),
        version=version or caliper_versions(settings)[0],
        person_names=settings.person_names,
        person_identifiers=settings.person_identifiers,
        ip_addresses=settings.ip_addresses,
        free_text=settings.free_text,
        recipes=configured_recipes(settings),
    )
