"""Collects the metrics of the sites: from Dagster's records, the ledger and a day's stored hours.

Moodle's database and the event stores are not asked. What a number means is what the standing check
of the same subject means by it (``dagster.standing_checks``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import dagster as dg

from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    event_stores,
    events_frame,
    renderings,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hour_verdict import Reason
from caliper_dagster.core.row_accounting import Account, DeliveryCounts, summed
from caliper_dagster.dagster.assets import asset_key
from caliper_dagster.dagster.instance.evaluations import latest_evaluation
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.resources import LedgerResource, MoodleResource, StorageResource
from caliper_dagster.dagster.standing_checks import (
    Look,
    failed_and_retried,
    standing_check_keys,
    waiting_hours,
)
from caliper_dagster.delivery import metrics
from caliper_dagster.delivery.metrics import Metric, Sample
from caliper_dagster.emitter.ledger.totals import StoreTotals


@dataclass(slots=True)
class Collected:
    """The metrics of some sites.

    Attributes:
        samples: of all sites that could be read, and for every site whether it could.
        failures: one sentence for each site that could not.
    """

    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def collect(instance: dg.DagsterInstance, sites: Sequence[Settings], now: float) -> Collected:
    """The metrics of the sites.

    Args:
        instance: has the records of their runs.
        sites: their settings.
        now: Unix time in seconds.
    """
    collected = Collected()
    for settings in sites:
        try:
            samples = list(_Site(instance, settings, now).samples())
        except CaliperDagsterError as error:
            site = f"Site {settings.site}: " if settings.site else ""
            collected.failures.append(f"{site}{error}")
            samples = []
        is_read = Sample(metrics.COLLECTED, {metrics.SITE: settings.site or ""}, int(bool(samples)))
        collected.samples += [is_read, *samples]
    return collected


class _Site:
    """The metrics of one site."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings, now: float) -> None:
        resources = MoodleResource(settings), StorageResource(settings), LedgerResource(settings)
        self._instance, self._settings = instance, settings
        self._look = Look(settings, instance, *resources, now)
        self._store = resources[1].open()

    def samples(self) -> Iterator[Sample]:
        settings, totals, size = self._settings, dict[str, StoreTotals](), 0
        ledger = self._look.ledger.open()
        if ledger.exists():
            with ledger:
                of_site = ledger.totals(settings.identity().site_id)
                totals, size = of_site.by_store(), of_site.size()
        yield self._sample(metrics.LAST_SUCCESS, self._last_success())
        yield self._sample(metrics.LEDGER_SIZE, size)
        yield from self._of_rows()
        yield from self._of_checks()
        for store in event_stores(settings):
            answered = totals.get(store.ledger_name(), StoreTotals())
            yield from self._of_store(store, answered)

    def _of_store(self, store: EventStoreDefinition, answered: StoreTotals) -> Iterator[Sample]:
        settings, look, name = self._settings, self._look, store.name or ""
        results = asset_key(settings, store.results)
        events = asset_key(settings, events_frame(settings, store.rendering))
        failed, retried = failed_and_retried(look, results, name)
        newest = look.newest(results)
        numbers: dict[Metric, float] = {
            metrics.BACKLOG_HOURS: len(waiting_hours(look, results, events, name)),
            metrics.FAILED_HOURS: len(look.failed(results)),
            metrics.UNRETRIED_HOURS: len(failed.difference(retried)),
            metrics.NEWEST_HOUR: newest.end if newest else settings.start.start,
            metrics.LAST_ACKNOWLEDGEMENT: answered.last_acknowledged or 0,
            metrics.REJECTED_EVENTS: answered.rejected,
        }
        for metric, value in numbers.items():
            yield self._sample(metric, value, event_store=name)
        withheld = self._withheld(store.results)
        for reason in dict.fromkeys([*(reason.value for reason in Reason), *withheld]):
            value = withheld.get(reason, 0)
            yield self._sample(metrics.WITHHELD_EVENTS, value, event_store=name, reason=reason)

    def _of_rows(self) -> Iterator[Sample]:
        frame = events_frame(self._settings, renderings(self._settings)[0])
        total = Account()
        for stats in self._last_day(frame):
            total += Account.from_footer_stats(stats)
        yield self._sample(metrics.LOG_ROWS, total.rows)
        yield self._sample(metrics.FAILED_ROWS, sum(total.failed.values()))
        yield self._sample(metrics.UNEXPLAINED_ROWS, total.unexplained)

    def _of_checks(self) -> Iterator[Sample]:
        for key in standing_check_keys(self._settings):
            latest = latest_evaluation(self._instance, key)
            if latest is not None:
                evaluation, time = latest
                labels = {"asset": key.asset_key.path[-1], "check": key.name}
                yield self._sample(metrics.CHECK_PASSED, int(evaluation.passed), **labels)
                yield self._sample(metrics.CHECK_EVALUATED, time, **labels)

    def _withheld(self, results: Frame) -> dict[str, int]:
        withheld: dict[str, int] = {}
        for stats in self._last_day(results):
            withheld = summed(withheld, DeliveryCounts.from_footer_stats(stats).withheld)
        return withheld

    def _last_day(self, frame: Frame) -> Iterator[dict[str, object]]:
        """The footer stats of the newest 24 hours, of those that are stored."""
        for hour in self._look.last_day:
            stored = self._store.open_existing(frame, hour)
            if stored is not None:
                with closing(stored):
                    yield stored.stats()

    def _last_success(self) -> float:
        runs = dg.RunsFilter(
            job_name=self._settings.site_name(CHAIN_JOB), statuses=[dg.DagsterRunStatus.SUCCESS]
        )
        for record in self._instance.get_run_records(runs, limit=1, order_by="update_timestamp"):
            return record.end_time or record.update_timestamp.timestamp()
        return 0

    def _sample(self, metric: Metric, value: float, **labels: str) -> Sample:
        return Sample(metric, {metrics.SITE: self._settings.site or "", **labels}, value)
