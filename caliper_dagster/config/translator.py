"""The translator that the settings describe: versions, what is sent about persons, recipes.

Only what translates imports this module; Dagster's web server does not load the translator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from caliper_dagster.caliper.shapes import Rendering
from caliper_dagster.config.event_stores import renderings, sent_as
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.value_checks import listed
from caliper_dagster.config.yaml_file import read_file
from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.key_schedule import FIRST_HOUR, key_fingerprint
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


def build_translator(
    settings: Settings, rendering: Rendering | None = None, hour: Hour = FIRST_HOUR
) -> Translator:
    """The translator that the settings describe.

    Args:
        settings: of the site.
        rendering: of the events; that of ``caliper_events`` when not given.
        hour: of the log rows; it decides the key of pseudonyms, if there are several.

    Raises:
        ConfigurationError: the site's address, or a key that the privacy profile needs, is not set
            or wrong.
        RecipeError: see `configured_recipes`.
    """
    hours = HourRange(hour, hour + 1)
    return next(translators(settings, rendering or renderings(settings)[0], hours)).translator


class HoursToTranslate(NamedTuple):
    """Hours that one translator translates.

    Attributes:
        key: the fingerprint of the key that makes their pseudonyms; None without one.
    """

    hours: HourRange
    translator: Translator
    key: str | None


def translators(
    settings: Settings, rendering: Rendering, hours: HourRange
) -> Iterator[HoursToTranslate]:
    """The translators of some hours, in order: one, or one for each key of pseudonyms.

    Raises:
        ConfigurationError: see `build_translator`.
        RecipeError: see `configured_recipes`.
    """
    store = sent_as(settings, rendering)
    identity, privacy = settings.identity(), store.effective_privacy
    recipes = configured_recipes(settings)
    keys = store.pseudonym_keys()
    spans: Iterable[tuple[HourRange, bytes | None]] = keys.spans(hours) if keys else [(hours, None)]
    for span, key in spans:
        translator = Translator(
            identity.address,
            site_id=identity.site_id,
            version=rendering.version,
            shape=rendering.shape,
            person_names=privacy.names,
            person_identifiers=privacy.identifiers,
            ip_addresses=privacy.ip_addresses,
            texts=privacy.texts,
            course_categories=settings.course_categories,
            recipes=recipes,
            allowed_fields=settings.allowed_fields,
            profile=privacy.profile.name,
            key=key,
            pseudonym_base=privacy.pseudonym_base,
            time_precision=privacy.time_precision,
        )
        yield HoursToTranslate(span, translator, key_fingerprint(key) if key else None)
