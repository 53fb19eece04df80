"""The heartbeat of ``caliper-dagster follow``, kept in the Dagster instance.

While a follower takes the hour in progress of a site, the sensor ``late_rows`` leaves it alone.
"""

from __future__ import annotations

import dagster as dg

from caliper_dagster.config.settings import Settings

_SILENT_SECONDS = 60
"""A follower whose last heartbeat is older than this is taken to have ended."""


def record_heartbeat(instance: dg.DagsterInstance, settings: Settings, now: float) -> None:
    """Record that a follower takes the hour in progress of the site at the Unix time ``now``."""
    instance.daemon_cursor_storage.set_cursor_values({_cursor_name(settings): str(now)})


def is_followed(instance: dg.DagsterInstance, settings: Settings, now: float) -> bool:
    """Whether a follower takes the hour in progress of the site at the Unix time ``now``."""
    name = _cursor_name(settings)
    heartbeat = instance.daemon_cursor_storage.get_cursor_values({name}).get(name, "0")
    # A heartbeat of the future was written before the clock was set back, perhaps long ago.
    return abs(now - float(heartbeat)) < _SILENT_SECONDS


def _cursor_name(settings: Settings) -> str:
    return "/".join(("caliper_dagster/followed", *settings.prefix))
