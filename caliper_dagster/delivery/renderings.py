"""The events of a rendering: each hour with the key of its own time, and never with another one.

A rendering under a keyed privacy profile belongs to one event store. The ledger records the keys of
that event store before any hour is written with them (``emitter.ledger.pseudonym_keys``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from caliper_dagster.caliper.shapes import Rendering
from caliper_dagster.config.connections import open_ledger
from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    events_frame,
    mapping_revision,
    sent_as,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.config.stored_fields import needed_fields
from caliper_dagster.config.translator import translators
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hour_verdict import searched_without
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.key_schedule import FIRST_HOUR, KeySchedule
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery.materialize import WrittenEventsHour, write_events
from caliper_dagster.delivery.row_filter import RowRules
from caliper_dagster.translator.sampling import SampleReport

if TYPE_CHECKING:
    from caliper_dagster.emitter import Ledger


def write_rendering(
    settings: Settings,
    rendering: Rendering,
    store: PartitionStore,
    hours: HourRange,
    *,
    rules: RowRules | None = None,
) -> tuple[list[WrittenEventsHour], list[SampleReport]]:
    """Translate ``expanded_log`` of the hours and write their events in a rendering.

    Args:
        settings: of the site.
        rendering: of the events.
        store: holds ``moodle_log`` and ``expanded_log`` of all hours.
        hours: the hours.
        rules: see `write_events`.

    Returns:
        see `write_events`.

    Raises:
        ConfigurationError: a setting is missing or wrong, or the store cannot be written to.
        RecipeError: a recipe of the site is wrong.
        StorageError: an hour of ``moodle_log`` or ``expanded_log`` is missing.
    """
    frame, revision = events_frame(settings, rendering), mapping_revision(settings, rendering)
    privacy = sent_as(settings, rendering).effective_privacy
    needed = needed_fields(settings, rendering)
    written: list[WrittenEventsHour] = []
    samples: list[SampleReport] = []
    for part in translators(settings, rendering, hours):
        stats = privacy.stats(part.key)
        if part.translator.searches:
            stats |= searched_without(settings.allowed_fields)
        found = write_events(
            part.translator,
            store,
            frame,
            part.hours,
            revision,
            stats=stats,
            rules=rules,
            needed=needed,
        )
        written += found[0]
        samples += found[1]
    return written, samples


def claim_keys(settings: Settings, rendering: Rendering, open_ledger: Callable[[], Ledger]) -> None:
    """Record the keys with which the events of a rendering are made from now on.

    Raises:
        ConfigurationError: a key is missing or wrong, or hours were sent under another one.
        StorageError: the ledger failed.
    """
    store = sent_as(settings, rendering)
    keys = store.pseudonym_keys()
    if keys is None or not (store.name or store.address()):
        return
    try:
        with open_ledger() as ledger:
            recorded = ledger.pseudonym_keys(settings.identity().site_id)
            recorded.claim(store.ledger_name(), keys.schedule())
    except ConfigurationError as error:
        raise ConfigurationError(store.sentence(error)) from None


def first_hour_of_other_ids(store: EventStoreDefinition, recorded: KeySchedule) -> Hour | None:
    """The first hour whose events would get other ids than those under which they were sent.

    Args:
        store: the event store.
        recorded: its keys as the ledger has them.

    Returns:
        None if all ids stay. `FIRST_HOUR` also if keyed ids follow ids without a key, or the other
        way round; whether anything was sent is not looked at.

    Raises:
        ConfigurationError: a key is missing or wrong.
    """
    keys = store.pseudonym_keys()
    if keys is None:
        return FIRST_HOUR if recorded.keys else None
    return recorded.first_difference(keys.schedule())


def events_of_other_ids(
    settings: Settings, store: EventStoreDefinition, hours: HourRange | None = None
) -> int:
    """How many events an event store has, about, that would be sent again under other ids.

    They would be when their hours are materialized again, as by a backfill: the event store has got
    a profile with keys, lost it, or has another key.

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
        return 0
    with ledger:
        keys, name = ledger.pseudonym_keys(settings.identity().site_id), store.ledger_name()
        since = first_hour_of_other_ids(store, keys.recorded(name))
        if since is None:
            return 0
        if hours is None:
            return keys.acknowledged_events(name, since)
        return keys.acknowledged_events(name, max(since, hours.start), hours.end)
