"""The translator that the settings describe: versions, what is sent about persons, recipes.

Only what translates imports this module; Dagster's web server does not load the translator.
"""

from __future__ import annotations

from pathlib import Path

from caliper_dagster.caliper.shapes import Rendering
from caliper_dagster.config.declaration import listed
from caliper_dagster.config.event_stores import renderings
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.translator import Recipes, Translator, load_recipes


def configured_recipes(settings: Settings) -> Recipes:
    """The package's recipes, overridden by those of the site.

    Raises:
        ConfigurationError: a file cannot be read.
        RecipeError: a recipe is wrong; the sentence names file, line and reason.
    """
    names = listed(settings.recipes or "")
    try:
        return load_recipes().with_user_recipes((name, read_file(name)) for name in names)
    except ConfigurationError as error:
        raise ConfigurationError(Sentence(SettingName("CALIPER_RECIPES"), f": {error}")) from None


def read_file(name: str) -> str:
    """The text of a recipe file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{name} cannot be read ({reason}).") from None


def build_translator(settings: Settings, rendering: Rendering | None = None) -> Translator:
    """The translator that the settings describe.

    Args:
        settings: of the site.
        rendering: of the events; that of ``caliper_events`` when not given.

    Raises:
        ConfigurationError: the site's address is not set.
        RecipeError: see `configured_recipes`.
    """
    identity = settings.identity()
    rendering = rendering or renderings(settings)[0]
    return Translator(
        identity.address,
        site_id=identity.site_id,
        version=rendering.version,
        shape=rendering.shape,
        person_names=settings.person_names,
        person_identifiers=settings.person_identifiers,
        ip_addresses=settings.ip_addresses,
        free_text=settings.free_text,
        course_categories=settings.course_categories,
        recipes=configured_recipes(settings),
        allowed_fields=settings.allowed_fields,
    )
