"""What the settings say, before anything is opened: names, the first hour, and the recipes."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping

from caliper_dagster.config.settings import Settings
from caliper_dagster.config.translator import configured_recipes
from caliper_dagster.config.unknown_names import UnknownName
from caliper_dagster.core.hours import Hour
from caliper_dagster.operations.doctor.findings import Finding, broken, fine, warn

_NEEDED = ("MOODLE_DB_URL", "MOODLE_WWWROOT", "CALIPER_EVENT_STORE_URL")
"""Settings without which a single site sends nothing, unless a file says them."""

_INSTEAD = {
    "MOODLE_DB_URL": ("CALIPER_SITES",),
    "MOODLE_WWWROOT": ("CALIPER_SITES",),
    "CALIPER_EVENT_STORE_URL": ("CALIPER_SITES", "CALIPER_EVENT_STORES"),
}
"""The files that may say them."""


def variables(given: Mapping[str, str], unknown: Collection[UnknownName]) -> Iterator[Finding]:
    """Whether each variable that looks like a setting is one; the others have no effect.

    Args:
        given: the variables.
        unknown: those of them that look like settings and are none.
    """
    missing = missing_by_another_name(given, unknown)
    for found in unknown:
        if found.meant is not None and found.meant in missing:
            yield broken(
                "Settings",
                f"{found.name} is no setting, and {found.meant} is not set.",
                f"Did you mean {found.meant}? Rename it.",
            )
        else:
            yield warn("Settings", f"{found.name} is no setting and has no effect.", _cure(found))
    if not unknown:
        yield fine("Settings", "no variable looks like a misspelt setting")


def missing_by_another_name(given: Mapping[str, str], unknown: Collection[UnknownName]) -> set[str]:
    """The settings that are needed and not set, and that an unknown variable probably means.

    Args:
        given: see `variables`.
        unknown: see `variables`.
    """
    return {
        found.meant
        for found in unknown
        if found.meant in _NEEDED and not _is_said(found.meant, given)
    }


def _is_said(setting: str, given: Mapping[str, str]) -> bool:
    return any(given.get(name) for name in (setting, f"{setting}_FILE", *_INSTEAD[setting]))


def _cure(unknown: UnknownName) -> str:
    if unknown.meant is None:
        return "Remove it, or look its name up in docs/settings.md."
    return f"Did you mean {unknown.meant}? Rename it, or remove it."


def first_hour(settings: Settings) -> Iterator[Finding]:
    """Whether the partitions have begun."""
    if settings.start > Hour.of(time.time()):
        yield broken(
            "First hour",
            f"CALIPER_START is {settings.start}, which is in the future: until then no hour is "
            "sent.",
            "Set CALIPER_START to the first hour whose log rows you want to send.",
        )
    else:
        yield fine("First hour", f"{settings.start} (CALIPER_START)")


def recipes(settings: Settings) -> Iterator[Finding]:
    """Whether the site's own recipes can be read and are well formed."""
    configured_recipes(settings)
    own = f" and those of {settings.recipes}" if settings.recipes else ""
    yield fine("Recipes", f"the project's{own} are well formed")
