"""What of the stored hours is withheld, or would be where nothing is withheld yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from caliper_dagster.config.connections import open_store
from caliper_dagster.config.event_stores import events_frame, renderings, sent_as
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hour_verdict import Reason
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.core.wording import plural
from caliper_dagster.delivery.gate import withheld_events
from caliper_dagster.operations.doctor.findings import Finding, fine, warn

_HOURS_EXAMINED = 168
"""Newest hours that are looked into: each file is read whole, one of an earlier release judged."""

_HOURS_NAMED = 5

_CHANGED: Mapping[str, str] = {
    Reason.ROW_FILTER: "they were made under another filter of rows",
    Reason.ALLOWED_FIELDS: "they were searched while CALIPER_ALLOWED_FIELDS named more fields",
}
"""Reasons that a change of the settings has, in words; no setting sends such hours."""


def withheld(settings: Settings) -> Iterator[Finding]:
    """The finding about the newest stored hours of events, of each rendering."""
    store = open_store(settings)
    for rendering in renderings(settings):
        frame = events_frame(settings, rendering)
        filter_ = sent_as(settings, rendering).filter
        counts = {}
        for hour in sorted(store.hour_sizes(frame))[-_HOURS_EXAMINED:]:
            with suppress(StorageError):  # A damaged hour stops its run, which names it.
                counts[hour] = withheld_events(store, frame, hour, filter_, settings.allowed_fields)
        if counts:
            yield _finding(settings, frame, counts)


def _finding(settings: Settings, frame: Frame, counts: Mapping[Hour, DeliveryCounts]) -> Finding:
    examined = f"of the newest {plural(len(counts), 'stored hour')} of {frame.name}"
    events = sum(sum(count.withheld.values()) for count in counts.values())
    whole = [hour for hour, count in counts.items() if count.is_withheld]
    if not events and not whole:
        return fine("Withheld", f"nothing {examined}")
    named = ", ".join(map(str, whole[:_HOURS_NAMED])) + (", …" * (len(whole) > _HOURS_NAMED))
    text = f"{plural(events, 'event')} {examined}"
    if whole:
        text += f", among them all of {plural(len(whole), 'hour')} ({named})"
    reasons = {reason for count in counts.values() for reason in count.withheld}
    changed = next((why for reason, why in _CHANGED.items() if reason in reasons), None)
    why = changed or f"the checks of {frame.name} say what is wrong"
    cure = f"Materialize these hours again with `caliper-dagster backfill`; {why}."
    if settings.withhold_invalid or changed:
        return warn("Withheld", f"{text}, are not sent", cure)
    return warn(
        "Withheld",
        f"{text}, are sent because CALIPER_WITHHOLD_INVALID is false, and would be withheld "
        "otherwise",
        cure,
    )
