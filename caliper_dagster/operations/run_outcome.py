"""The outcome of runs, read from the partitions that they wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import RunError
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS, Frame
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_file import FooterStats
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import Account, DeliveryCounts
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.resources import StorageResource
from caliper_dagster.dagster.tags import BACKLOG_SENSOR
from caliper_dagster.delivery.gate import withheld_hours, withheld_sentence

OnWritten = Callable[[Frame, Hour], None]
"""Called with the table and the hour of every partition that a run writes."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The outcome of one run, or of several.

    Attributes:
        hours: the hours of the run.
        account: the outcomes of their log rows.
        deliveries: the counts of the hours that each event store has received, by its name; a
            single event store has an empty name.
        deferred: event store and hour of each delivery that is deferred to a later run.
        delivered_backlog: event store and hour of each deferred delivery that was made meanwhile.
        failure: the sentence of a run that failed at some of its event stores, or that withheld
            hours.
        withheld: hours that were not sent, because their verdict withholds them, and why.
    """

    hours: HourRange
    account: Account
    deliveries: Mapping[str, DeliveryCounts]
    deferred: frozenset[tuple[str, Hour]] = frozenset()
    delivered_backlog: frozenset[tuple[str, Hour]] = frozenset()
    failure: str | None = None
    withheld: Mapping[Hour, str] = field(default_factory=dict)

    @property
    def delivery(self) -> DeliveryCounts:
        """The counts of all event stores together."""
        return sum(self.deliveries.values(), DeliveryCounts())

    def __add__(self, later: RunOutcome) -> RunOutcome:
        nothing, names = DeliveryCounts(), {**self.deliveries, **later.deliveries}
        return RunOutcome(
            HourRange.covering([*self.hours, *later.hours]),
            self.account + later.account,
            {
                name: self.deliveries.get(name, nothing) + later.deliveries.get(name, nothing)
                for name in names
            },
            (self.deferred | later.deferred) - later.delivered_backlog,
            failure=later.failure or self.failure,
            withheld={**self.withheld, **later.withheld},
        )

    def raise_if_incomplete(self, settings: Settings) -> None:
        """Fail if deliveries are still deferred, or if hours are withheld.

        Raises:
            RunError: they are; the sentence names the event stores and the hours.
        """
        sentences = [sentence] if (sentence := withheld_sentence(self.withheld)) else []
        hours_by_store = Counter(name for name, _ in self.deferred)
        if hours_by_store:
            summary = ", ".join(
                f"{plural(hours, 'hour')} of {name}" for name, hours in hours_by_store.items()
            )
            if self.failure and not sentences:
                sentences.append(self.failure)
            sensor = settings.site_name(BACKLOG_SENSOR)
            sentences.append(
                f"Deferred: {summary}; the sensor {sensor} sends them later, or run `resend`."
            )
        if sentences:
            raise RunError(" ".join(sentences))


def read_outcome(
    store: PartitionStore | WatchedStorageResource,
    hours: HourRange,
    results: Mapping[str, Frame] = MappingProxyType({"": EMISSION_RESULTS}),
    deferred: Mapping[str, Container[Hour]] = MappingProxyType({}),
    *,
    events: Frame = CALIPER_EVENTS,
) -> RunOutcome:
    """Read the outcome of hours from their partitions.

    Args:
        store: holds the events of all hours, and the results of all that are not deferred.
        hours: the hours.
        results: the table of emission results of each event store, by its name.
        deferred: the deferred hours of each event store, by its name.
        events: a table of events.
    """
    accounts = (Account.from_footer_stats(store.footer_stats(events, hour)) for hour in hours)
    missing = {name: [hour for hour in hours if hour in deferred.get(name, ())] for name in results}
    deliveries = {
        name: read_deliveries(store, frame, (h for h in hours if h not in missing[name]))
        for name, frame in results.items()
    }
    return RunOutcome(
        hours,
        sum(accounts, Account()),
        {name: sum(of_store.values(), DeliveryCounts()) for name, of_store in deliveries.items()},
        frozenset((name, hour) for name, of_store in missing.items() for hour in of_store),
        withheld={
            hour: why
            for of_store in deliveries.values()
            for hour, why in withheld_hours(of_store).items()
        },
    )


def read_deliveries(
    store: PartitionStore | WatchedStorageResource, results: Frame, hours: Iterable[Hour]
) -> dict[Hour, DeliveryCounts]:
    """The counts of the hours that one event store has received."""
    return {
        hour: DeliveryCounts.from_footer_stats(store.footer_stats(results, hour)) for hour in hours
    }


class WatchedStorageResource:
    """A storage resource that reports every partition written, and remembers its footer stats.

    Another run may write the same hours again before the outcome of this one is read.
    """

    def __init__(self, resource: StorageResource, on_written: OnWritten) -> None:
        self._resource, self._on_written = resource, on_written
        self._stats: dict[tuple[str, Hour], FooterStats] = {}

    def open(self) -> PartitionStore:
        """The partition store; it reports every write.

        Raises:
            ConfigurationError: see `StorageResource.open`.
        """
        opened = self._resource.open()  # It checks that the storage is the site's.
        return _WatchedPartitionStore(self._resource.location(), opened, self._note)

    def footer_stats(self, frame: Frame, hour: Hour) -> FooterStats:
        """The footer stats of an hour, as the last run wrote them; else those in the store."""
        written = self._stats.get((frame.name, hour))
        return self._resource.open().footer_stats(frame, hour) if written is None else written

    def forget(self) -> None:
        """Forget the footer stats of earlier runs."""
        self._stats = {}

    def _note(self, frame: Frame, hour: Hour, stats: FooterStats) -> None:
        self._stats[frame.name, hour] = stats
        self._on_written(frame, hour)


class _WatchedPartitionStore(PartitionStore):
    def __init__(
        self,
        url: str,
        opened: PartitionStore,
        note: Callable[[Frame, Hour, FooterStats], None],
    ) -> None:
        super().__init__(url, opened.keys, opened.fields, opened.recent)
        self._note = note

    def _has_written(self, frame: Frame, hour: Hour, stats: FooterStats) -> None:
        self._note(frame, hour, stats)
