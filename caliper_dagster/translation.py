"""Translation without Dagster: hours of the log straight to events, nothing kept and nothing sent.

Here belongs the short way through expander and translator, for ``caliper-dagster translate``. What
the assets do is the long way, with the same two parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.errors import ConfigurationError
from caliper_dagster.event_stores import caliper_versions
from caliper_dagster.expander import MoodleDatabase, count_rows, expand, read_log
from caliper_dagster.frames import WITH_EVENT
from caliper_dagster.hours import Hour, HourRange
from caliper_dagster.settings import CaliperVersion, Settings
from caliper_dagster.translator import Recipes, Translator, load_recipes

_ROWS = 50_000


def recipes(settings: Settings) -> Recipes:
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


def translator(settings: Settings, version: CaliperVersion | None = None) -> Translator:
    """The translator that the settings describe, for a version or that of ``caliper_events``.

    Raises:
        ConfigurationError: the site's address is not set.
        RecipeError: see :func:`recipes`.
    """
    return Translator(
        settings.require("moodle_wwwroot"),
        version=version or caliper_versions(settings)[0],
        person_names=settings.person_names,
        person_identifiers=settings.person_identifiers,
        ip_addresses=settings.ip_addresses,
        free_text=settings.free_text,
        recipes=recipes(settings),
    )


def translated(
    settings: Settings, hours: HourRange
) -> Iterator[tuple[HourRange, Iterator[bytes], dict[str, int]]]:
    """Translate the hours, about 50,000 rows at a time.

    Yields:
        Some of the hours; a line of JSON for each of their events; how many rows had which outcome.
    """
    translate = translator(settings).translate
    url = settings.require("moodle_db_url")
    with MoodleDatabase.open(
        url, settings.moodle_db_prefix, settings.moodle_db_timeout
    ) as database:
        for piece in _pieces(count_rows(database, hours)):
            log = pa.concat_tables(rows for _, rows in read_log(database, piece))
            outcomes = translate(expand(database, log.unify_dictionaries()))
            yield piece, _lines(outcomes), _counts(outcomes)


def _pieces(rows: dict[Hour, int]) -> Iterator[HourRange]:
    """Ranges of hours with about so many rows as fit into memory at ease."""
    first, waiting = min(rows), 0
    for hour, number in rows.items():
        waiting += number
        if waiting >= _ROWS:
            yield HourRange(first, hour + 1)
            first, waiting = hour + 1, 0
    if first <= max(rows):
        yield HourRange(first, max(rows) + 1)


def _lines(outcomes: pa.Table) -> Iterator[bytes]:
    chosen = pc.is_in(outcomes["outcome"].cast(pa.string()), pa.array(WITH_EVENT))
    for batch in outcomes["json"].filter(chosen).chunks:
        for text in batch.to_pylist():
            yield f"{text}\n".encode()


def _counts(outcomes: pa.Table) -> dict[str, int]:
    counts = pc.value_counts(outcomes["outcome"].cast(pa.string()))
    return {str(entry["values"]): int(entry["counts"]) for entry in counts.to_pylist()}
