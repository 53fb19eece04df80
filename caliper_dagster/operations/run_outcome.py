"""What a run has done, read from what it wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pyarrow as pa

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import RunError
from caliper_dagster.core.frames import (
    CALIPER_EVENTS,
    EMISSION_RESULTS,
    Frame,
)
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import FooterStats, PartitionStore
from caliper_dagster.core.row_accounting import Account, DeliveryCounts
from caliper_dagster.dagster.resources import StorageResource
from caliper_dagster.dagster.tags import BACKLOG_SENSOR

Written = Callable[[Frame, Hour], None]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What one run has done, or several.

    Attributes:
        deliveries: by event store, a single one without a name; of hours that it has got.
        left: which event stores are still to get which hours.
        settled: which have got hours that were left over before.
        failure: the sentence of a run that left hours over because an event store failed.
    """

    hours: HourRange
    account: Account
    deliveries: Mapping[str, DeliveryCounts]
    left: frozenset[tuple[str, Hour]] = frozenset()
    settled: frozenset[tuple[str, Hour]] = frozenset()
    failure: str | None = None

    @property
    def delivery(self) -> DeliveryCounts:
        """All event stores' together."""
        return sum(self.deliveries.values(), DeliveryCounts())

    def __add__(self, other: RunOutcome) -> RunOutcome:
        nothing, names = DeliveryCounts(), {**self.deliveries, **other.deliveries}
        return RunOutcome(
            HourRange.covering([*self.hours, *other.hours]),
            self.account + other.account,
            {
                name: self.deliveries.get(name, nothing) + other.deliveries.get(name, nothing)
                for name in names
            },
            (self.left | other.left) - other.settled,
            failure=other.failure or self.failure,
        )

    def raise_if_incomplete(self, settings: Settings) -> None:
        """Say which hours event stores of this site are still to get, if there are any.

        Raises:
            RunError: there are.
        """
        stores = Counter(name for name, _ in self.left)
        if stores:
            told = ", ".join(f"{hours:,} hour(s) of {name}" for name, hours in stores.items())
            why = f"{self.failure} " if self.failure else ""
            sensor = settings.site_name(BACKLOG_SENSOR)
            raise RunError(f"{why}Left over: {told}; the sensor {sensor} sends them, or `resend`.")


def read_outcome(
    kept: PartitionStore | WatchedStorageResource,
    hours: HourRange,
    results: Mapping[str, Frame] = MappingProxyType({"": EMISSION_RESULTS}),
    left: Mapping[str, Container[Hour]] = MappingProxyType({}),
) -> RunOutcome:
    """What stands in the storage about the hours.

    Args:
        kept: the storage.
        hours: all of which have been taken.
        results: the tables of the event stores.
        left: the hours that they have not got.
    """
    accounts = (
        Account.from_footer_stats(kept.footer_stats(CALIPER_EVENTS, hour)) for hour in hours
    )
    missing = {name: [hour for hour in hours if hour in left.get(name, ())] for name in results}
    return RunOutcome(
        hours,
        sum(accounts, Account()),
        {
            name: deliveries_of(kept, frame, (hour for hour in hours if hour not in missing[name]))
            for name, frame in results.items()
        },
        frozenset((name, hour) for name, of_store in missing.items() for hour in of_store),
    )


def deliveries_of(
    kept: PartitionStore | WatchedStorageResource, results: Frame, hours: Iterable[Hour]
) -> DeliveryCounts:
    """What one event store has received of the hours."""
    sent = (DeliveryCounts.from_footer_stats(kept.footer_stats(results, hour)) for hour in hours)
    return sum(sent, DeliveryCounts())


class WatchedStorageResource:
    """The storage resource, telling of every partition that is written, and remembering its facts.

    Another run may write the same hours again before anybody has asked what became of this one's.
    """

    def __init__(self, given: StorageResource, written: Written) -> None:
        self._given, self._written = given, written
        self._facts: dict[tuple[str, Hour], FooterStats] = {}

    def open(self) -> PartitionStore:
        """The partition store; it reports every write."""
        return _WatchedPartitionStore(self._given.location(), self._note)

    def footer_stats(self, frame: Frame, hour: Hour) -> FooterStats:
        """The numbers of an hour: those of the last run, else those in the store."""
        own = self._facts.get((frame.name, hour))
        return self._given.open().footer_stats(frame, hour) if own is None else own

    def forget(self) -> None:
        """Forget what earlier runs wrote."""
        self._facts = {}

    def _note(self, frame: Frame, hour: Hour, stats: FooterStats) -> None:
        self._facts[frame.name, hour] = stats
        self._written(frame, hour)


class _WatchedPartitionStore(PartitionStore):
    def __init__(self, url: str, note: Callable[[Frame, Hour, FooterStats], None]) -> None:
        super().__init__(url)
        self._note = note

    def write(
        self, frame: Frame, hour: Hour, table: pa.Table, stats: FooterStats | None = None
    ) -> int:
        size = super().write(frame, hour, table, stats)
        self._note(frame, hour, stats or {})
        return size
