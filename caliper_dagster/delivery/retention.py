"""Retention: which stored hours and ledger rows of a site are past their time, and may go.

An hour may go when every event store has acknowledged all its events as they are stored, nothing
waits to be sent, and no run uses it. What was acknowledged stays in the ledger. So a backfill of
the same hours reads Moodle's log again and sends nothing twice, even if names, roles or grades have
changed since: their former values are gone with ``expanded_log``, and the ledger records that first
(``emitter.ledger.retention``).

Everything is deleted in an order that may be cut off anywhere: the events of an hour, which show
that it was acknowledged, go after its log rows, and its results last. Nothing here knows Dagster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from caliper_dagster.config.connections import open_ledger, open_store
from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    events_frame,
    renderings,
    require_event_stores,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import (
    CALIPER_EVENTS,
    EMISSION_RESULTS,
    EXPANDED_LOG,
    MOODLE_LOG,
    Frame,
)
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_file import CHUNK_ROWS
from caliper_dagster.core.parts import in_parts
from caliper_dagster.core.revisions import mapping_revision
from caliper_dagster.core.row_accounting import DeliveryCounts

if TYPE_CHECKING:
    from caliper_dagster.emitter import Ledger
    from caliper_dagster.emitter.ledger import BatchRecord

HeldHours = Callable[[Collection[Hour]], Mapping[str, Collection[Hour]]]
"""Says which of some hours must stay, by reason."""

_GROUP = 168
"""Hours that are examined and deleted together: between two groups a run may have begun."""

_COLUMNS = ("event_id", "json", "caliper_version", "outcome", "event_name", "event_type")

_BACKLOG = "in the backlog of an event store"
_SENDING = "events are being sent"
_NOT_STORED = "its events are not stored, or cannot be read"


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes of one kind.

    Attributes:
        what: the kind, in words.
        number: how many.
        bytes: how much space they take; about, in a database.
    """

    what: str
    number: int
    bytes: int


@dataclass(slots=True)
class SiteRemovals:
    """What goes of a site, and what stays beyond its time.

    Attributes:
        hours: number and bytes of the stored hours that go, by asset.
        kept: number of hours that stay although they are past their time, by reason.
        batches: the batches of the ledger that go.
    """

    hours: dict[str, tuple[int, int]] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)
    batches: Removal | None = None

    def removals(self) -> Iterator[Removal]:
        """One for each kind that has a limit."""
        for name, (number, size) in self.hours.items():
            yield Removal(f"Stored hours of {name}", number, size)
        if self.batches is not None:
            yield self.batches


def prune_site(settings: Settings, now: datetime, held: HeldHours, *, plan: bool) -> SiteRemovals:
    """Delete the stored hours and superseded batches of a site that are past their time.

    Args:
        settings: the site.
        now: aware.
        held: says which hours Dagster needs; asked again before each group of hours.
        plan: delete nothing, only tell what would be deleted.

    Raises:
        ConfigurationError: a setting is missing, or the storage or the ledger cannot be used.
        StorageError: the ledger failed.
    """
    removals = SiteRemovals()
    if not (settings.keep_partitions or settings.keep_superseded_batches):
        return removals
    stores, ledger = require_event_stores(settings), open_ledger(settings)
    if not ledger.exists():
        return removals
    with ledger:
        if settings.keep_partitions:
            _Partitions(settings, stores, ledger, removals).prune(now, held, plan)
        if settings.keep_superseded_batches:
            limit = now - timedelta(days=settings.keep_superseded_batches)
            removals.batches = _prune_batches(settings, stores, ledger, limit, plan)
    return removals


def _prune_batches(
    settings: Settings,
    stores: Sequence[EventStoreDefinition],
    ledger: Ledger,
    limit: datetime,
    plan: bool,
) -> Removal:
    retention = ledger.retention(settings.identity().site_id)
    number = size = 0
    for store in stores:
        batches = retention.superseded(store.ledger_name(), limit)
        number, size = number + len(batches), size + sum(batch.bytes for batch in batches)
        if not plan:
            retention.delete(batches)
    return Removal("Superseded batches in the ledger", number, size)


class _Partitions:
    """The stored hours of a site that are past their time."""

    def __init__(
        self,
        settings: Settings,
        stores: Sequence[EventStoreDefinition],
        ledger: Ledger,
        removals: SiteRemovals,
    ) -> None:
        from caliper_dagster.emitter import Send

        self._settings, self._ledger, self._removals = settings, ledger, removals
        self._store = open_store(settings)
        self._site = settings.identity().site_id
        self._send = Send.CHANGED if settings.resend_changed else Send.UNACKNOWLEDGED
        self._stores = {
            events_frame(settings, rendering): [
                store for store in stores if store.rendering == rendering
            ]
            for rendering in renderings(settings)
        }
        self._names = {store: store.ledger_name() for store in stores}
        self._expired: dict[Frame, dict[Hour, int]] = {}

    def prune(self, now: datetime, held: HeldHours, plan: bool) -> None:
        """Delete the hours that may go, in groups."""
        days = dict(self._settings.keep_partitions or ())
        for name, frames in self._frames().items():
            if name in days:
                end = Hour.of((now - timedelta(days=days[name])).timestamp())
                for frame in frames:
                    sizes = self._store.hour_sizes(frame)
                    self._expired[frame] = {hour: sizes[hour] for hour in sizes if hour < end}
                    self._removals.hours[frame.name] = (0, 0)
        hours = sorted({hour for stored in self._expired.values() for hour in stored})
        for group in in_parts(hours, _GROUP):
            self._prune_group(group, held, plan)

    def _frames(self) -> dict[str, list[Frame]]:
        """The tables of each asset, in the order in which an hour of them may be deleted."""
        results = [store.results for stores in self._stores.values() for store in stores]
        return {
            MOODLE_LOG.name: [MOODLE_LOG],
            EXPANDED_LOG.name: [EXPANDED_LOG],
            CALIPER_EVENTS.name: [*self._stores],
            EMISSION_RESULTS.name: results,
        }

    def _prune_group(self, hours: Sequence[Hour], held: HeldHours, plan: bool) -> None:
        reasons = self._reasons_to_stay(hours, held(hours))
        free = [hour for hour in hours if hour not in reasons]
        self._removals.kept.update(reasons.values())
        if not plan:
            forgotten = [hour for hour in free if hour in self._expired.get(EXPANDED_LOG, ())]
            self._ledger.retention(self._site).forget_contents(forgotten)
        for frame, stored in self._expired.items():
            going = [hour for hour in free if hour in stored]
            number, size = self._removals.hours[frame.name]
            size += sum(stored[hour] for hour in going)
            self._removals.hours[frame.name] = (number + len(going), size)
            if not plan:
                self._store.delete(frame, going)

    def _reasons_to_stay(
        self, hours: Sequence[Hour], held: Mapping[str, Collection[Hour]]
    ) -> dict[Hour, str]:
        """Why hours must stay; those that may go are left out."""
        queued = {
            hour for marks in self._ledger.backlog(self._site).all().values() for hour in marks
        }
        sending = self._ledger.retention(self._site).leased_hours()
        reasons: dict[Hour, str] = {}
        for reason, of_reason in {_BACKLOG: queued, _SENDING: sending, **held}.items():
            reasons |= dict.fromkeys(set(of_reason).intersection(hours), reason)
        free = [hour for hour in hours if hour not in reasons]
        batches = {
            store: self._ledger.batches(name, free, site=self._site)
            for store, name in self._names.items()
        }
        for hour in free:
            of_hour = {store: of_store[hour] for store, of_store in batches.items()}
            if lacking := self._not_acknowledged(hour, of_hour):
                reasons[hour] = lacking
        return reasons

    def _not_acknowledged(
        self, hour: Hour, batches: Mapping[EventStoreDefinition, Sequence[BatchRecord]]
    ) -> str | None:
        """Why an hour does not count as acknowledged by every event store; None when it does."""
        try:
            for frame, stores in self._stores.items():
                if self._store.exists(frame, hour):
                    waiting = self._first_waiting(frame, stores, hour, batches)
                elif self._has_expired_rows(hour):
                    return _NOT_STORED
                else:
                    waiting = self._first_incomplete(stores, hour)
                if waiting is not None:
                    return f"not all its events are acknowledged by the {waiting.label}"
        except StorageError:
            return _NOT_STORED
        return None

    def _has_expired_rows(self, hour: Hour) -> bool:
        """Whether log rows would be deleted: they may hold more than what was sent."""
        return any(hour in self._expired.get(frame, ()) for frame in (MOODLE_LOG, EXPANDED_LOG))

    def _first_waiting(
        self,
        frame: Frame,
        stores: Sequence[EventStoreDefinition],
        hour: Hour,
        batches: Mapping[EventStoreDefinition, Sequence[BatchRecord]],
    ) -> EventStoreDefinition | None:
        """The first event store that has not acknowledged all stored events of an hour."""
        from caliper_dagster.emitter import is_sent

        with closing(self._store.open(frame, hour)) as stored:
            revision = mapping_revision(stored.stats())
            for table in stored.parts(CHUNK_ROWS, _COLUMNS):
                for store in stores:
                    events, _ = store.filter.apply(table)
                    if not is_sent(events, revision, batches[store], self._send):
                        return store
        return None

    def _first_incomplete(
        self, stores: Sequence[EventStoreDefinition], hour: Hour
    ) -> EventStoreDefinition | None:
        """The first event store whose stored results say that it lacks events of an hour.

        For an hour whose events were deleted before: then each event store had all of them.
        """
        for store in stores:
            if hour in self._expired.get(store.results, ()):
                stats = self._store.footer_stats(store.results, hour)
                delivery = DeliveryCounts.from_footer_stats(stats)
                if delivery.outstanding or delivery.rejected or delivery.withheld:
                    return store
        return None
