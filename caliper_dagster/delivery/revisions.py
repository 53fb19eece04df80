"""What a site has stored and sent under older revisions of the mapping.

Both questions are answered without reading an event: the ledger has the revision of each batch, and
the footer of an hour of ``expanded_log`` those of its rows. Nothing is sent or changed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from caliper_dagster.config.connections import open_ledger, open_store
from caliper_dagster.config.event_stores import EventStoreDefinition, mapping_revision
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import EXPANDED_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.revisions import (
    EXPANSION_REVISION,
    expansion_revisions,
)

_MAX_FOOTERS = 1_000
"""Footers that are read; in an object store each is a request."""


@dataclass(frozen=True, slots=True)
class OlderEvents:
    """What one event store has of older mapping revisions.

    Attributes:
        counts: number of events by hour, that it acknowledged as an older revision made them, or
            the present one at another address of the site or in another shape, and not since. They
            are not sent again unless that is asked for.
        mixed: the hours of which it acknowledged events of several revisions.
    """

    counts: Mapping[Hour, int]
    mixed: tuple[Hour, ...]

    @property
    def total(self) -> int:
        """Number of such events in all hours."""
        return sum(self.counts.values())


def older_events(
    settings: Settings, store: EventStoreDefinition, hours: HourRange | None = None
) -> OlderEvents:
    """What an event store has acknowledged under older mapping revisions.

    Args:
        settings: the site.
        store: the event store.
        hours: only these; all hours when not given.

    Raises:
        ConfigurationError: a setting that is needed is missing or wrong.
        StorageError: the ledger could not be read.
    """
    ledger = open_ledger(settings)
    if not ledger.exists():
        return OlderEvents({}, ())
    identity, name = settings.identity(), store.ledger_name()
    site, revision = identity.site_id, mapping_revision(settings, store.rendering)
    with ledger:
        counts = ledger.acknowledged_otherwise(name, revision, site=site, hours=hours)
        mixed = ledger.hours_of_several_revisions(name, site=site)
    return OlderEvents(counts, tuple(hour for hour in mixed if hours is None or hour in hours))


def hours_of_older_facts(settings: Settings, hours: Iterable[Hour]) -> Iterator[Hour]:
    """Of these hours, those that hold rows expanded under an older revision, the newest first.

    An hour that was opened again for late rows keeps what was known of its other rows, so it can
    hold rows of several revisions. Only then can it have events of several mapping revisions too,
    because `EXPANSION_REVISION` never rises alone: pass the hours of `OlderEvents.mixed`.

    Args:
        settings: the site.
        hours: the newest 1,000 of them are looked at.

    Raises:
        ConfigurationError: the storage cannot be read.
    """
    storage = open_store(settings)
    for hour in sorted(hours, reverse=True)[:_MAX_FOOTERS]:
        with suppress(StorageError):
            stats = storage.footer_stats(EXPANDED_LOG, hour)
            if expansion_revisions(stats)[0] < EXPANSION_REVISION:
                yield hour
