"""Pseudonyms of persons and the keys behind them, for those who may know both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from caliper_dagster.config.connections import open_ledger
from caliper_dagster.config.event_stores import EventStoreDefinition
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.key_schedule import KeySchedule
from caliper_dagster.core.privacy import PROFILES
from caliper_dagster.delivery.renderings import first_hour_of_other_ids
from caliper_dagster.translator.identity import keyed_person


def pseudonyms(
    settings: Settings, store: EventStoreDefinition, user: int
) -> Iterator[tuple[Hour, str]]:
    """The pseudonyms of a person at an event store, each with the hour from which it holds.

    Raises:
        ConfigurationError: the profile of the event store makes no pseudonyms of persons, or the
            key is missing or wrong.
    """
    profile = PROFILES[store.privacy]
    keys = store.pseudonym_keys()
    if keys is None or profile.anonymous:
        raise ConfigurationError(
            f"The {store.label} has the privacy profile {profile.name}, which makes no pseudonyms "
            "of persons."
        )
    site, base = settings.identity().site_id, store.effective_privacy.pseudonym_base
    for since, key in keys.keys:
        yield since, keyed_person(key, site, user, base)


def replace_keys(
    settings: Settings, store: EventStoreDefinition, write: Callable[[str], object]
) -> tuple[Hour, int] | None:
    """Accept the present keys of an event store, also for hours that were sent under others.

    Nothing is sent and nothing is deleted. When these hours are materialized again, all their
    events are sent under other ids, beside the former ones.

    Args:
        settings: of the site.
        store: the event store.
        write: takes the id of each event that was sent under other ids, before the keys are
            accepted.

    Returns:
        The first hour whose ids change, and the number of ids; None if all ids stay.

    Raises:
        ConfigurationError: a setting is missing or wrong.
        StorageError: the ledger failed.
    """
    name, keys = store.ledger_name(), store.pseudonym_keys()
    with open_ledger(settings) as ledger:
        recorded = ledger.pseudonym_keys(settings.identity().site_id)
        since = first_hour_of_other_ids(store, recorded.recorded(name))
        if since is None:
            return None
        number = 0
        for event_id in recorded.acknowledged_ids(name, since):
            write(event_id)
            number += 1
        recorded.replace(name, keys.schedule() if keys else KeySchedule(()))
    return since, number
