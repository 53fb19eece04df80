"""What was sent and stored under older revisions of the mapping, and how to renew it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caliper_dagster.config.event_stores import EventStoreDefinition, require_event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.core.site_identity import SiteIdentity
from caliper_dagster.core.wording import plural
from caliper_dagster.delivery.renderings import events_of_other_ids
from caliper_dagster.delivery.revisions import OlderEvents, hours_of_older_facts, older_events
from caliper_dagster.operations.doctor.findings import Finding, fine, warn

_HOURS_NAMED = 5


def mapping(settings: Settings) -> Iterator[Finding]:
    """The findings about each event store, and about the stored hours."""
    mixed: set[Hour] = set()
    for store in require_event_stores(settings):
        subject = f"Mapping {store.name}" if store.name else "Mapping"
        older = older_events(settings, store)
        mixed.update(older.mixed)
        yield fine(subject, _older_events(older, settings.identity()))
        yield from _other_ids(settings, store)
    old = list(hours_of_older_facts(settings, mixed))
    if old:
        yield warn(
            "Expanded rows",
            f"{_hours(old)} hold rows that an older release expanded beside newer ones.",
            "`caliper-dagster backfill --fresh` over these hours expands all their rows anew.",
        )


def _other_ids(settings: Settings, store: EventStoreDefinition) -> Iterator[Finding]:
    """A warning about events that were sent under other ids than those of the settings."""
    subject = f"Pseudonyms {store.name}" if store.name else "Pseudonyms"
    try:
        number = events_of_other_ids(settings, store)
    except ConfigurationError:
        return  # The check of the event stores says what is wrong with the key.
    if number:
        yield warn(
            subject,
            f"the {store.label} was sent about {plural(number, 'event')} under other ids than "
            f"those of the profile {store.privacy} with the present key. It holds both when "
            "these hours are materialized again.",
            "If a key was changed by mistake, put the former one back. Otherwise have the former "
            "events deleted there: `caliper-dagster person replace-key` lists their ids.",
        )


def _older_events(older: OlderEvents, identity: SiteIdentity) -> str:
    if not older.total:
        return f"revision {MAPPING_REVISION}, also of everything that was acknowledged"
    mixed = f"; it has events of several revisions in {_hours(older.mixed)}" if older.mixed else ""
    moved = identity.site_id != identity.address
    made = f"an older revision{', another address' if moved else ''} or another shape"
    return (
        f"revision {MAPPING_REVISION}; the event store has {plural(older.total, 'event')} in "
        f"{plural(len(older.counts), 'hour')} as {made} made them. The new content of "
        "these events is sent only by `resend --changed` or with CALIPER_RESEND_CHANGED=true, and "
        f"an event store that does not de-duplicate by id then holds both{mixed}"
    )


def _hours(hours: Sequence[Hour]) -> str:
    named = ", ".join(map(str, hours[:_HOURS_NAMED]))
    more = ", …" if len(hours) > _HOURS_NAMED else ""
    return f"{plural(len(hours), 'hour')} ({named}{more})"
