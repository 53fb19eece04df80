"""The backlog: the hours that event stores have yet to receive in runs of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from caliper_dagster.config import connections
from caliper_dagster.config.event_stores import event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour

if TYPE_CHECKING:
    from caliper_dagster.emitter import Ledger


def deferred_hours(
    settings: Settings, open_ledger: Callable[[], Ledger] | None = None
) -> Mapping[str, Mapping[Hour, int]]:
    """The hours that each event store has yet to receive, with the mark of each.

    A single event store has no backlog: runs wait for it.

    Args:
        settings: the site.
        open_ledger: opens its ledger; the one that the settings name when not given.

    Raises:
        ConfigurationError: a setting is missing.
        StorageError: the ledger cannot be read.
    """
    if len(event_stores(settings)) == 1:
        return {}
    with open_ledger() if open_ledger else connections.open_ledger(settings) as ledger:
        return ledger.backlog(settings.identity().site_id).all()
