"""Retention: what goes after its time, over all sites and in Dagster's own records.

The command ``prune`` and the job ``retention`` call `prune`. ``delivery.retention`` decides about
the stored hours and the ledger of a site; here stands which hours Dagster still needs.
https://docs.dagster.io/guides/automate/schedules

(This module has no ``from __future__ import annotations``: Dagster reads the op's annotations.)
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.assets import build_assets
from caliper_dagster.dagster.instance.run_files import (
    UNFINISHED,
    RunFiles,
    delete_all,
    unfinished_backfills,
)
from caliper_dagster.dagster.orphaned_runs import fail_orphaned_runs
from caliper_dagster.dagster.partitions import hours_of_tags
from caliper_dagster.dagster.resources import as_dagster_failure
from caliper_dagster.dagster.run_status import unfinished_hours

if TYPE_CHECKING:
    from caliper_dagster.delivery.retention import Removal

RETENTION_JOB = "retention"

_MINUTE = 30
"""Of the hour at which the schedule starts the job: not when the hourly runs usually start."""

_IN_USE = "a run uses it, or waits to"
_FAILED = "its last run failed"
_BACKFILL = "a backfill of Dagster goes on"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go.

    Attributes:
        removals: by site (empty for what all sites share, and for a single site).
        kept: number of stored hours that stay although they are past their time, by reason.
    """

    removals: list[tuple[str, "Removal"]] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)

    def sentences(self) -> list[str]:
        """One line for each kind of which anything went, and for each reason to stay."""
        lines = [
            f"{site + ': ' if site else ''}{removal.what}: {removal.number:,}, "
            f"{removal.bytes / 1e6:,.1f} MB"
            for site, removal in self.removals
            if removal.number
        ]
        lines += [
            f"{plural(number, 'stored hour')} past the time to keep stay: {reason}."
            for reason, number in self.kept.items()
        ]
        return lines or ["Nothing is past the time to keep it."]


def has_limits(settings: Settings) -> bool:
    """Whether a site has any setting that says how long something is kept."""
    return bool(
        settings.keep_partitions
        or settings.keep_superseded_batches
        or settings.keep_runs
        or settings.keep_compute_logs
    )


def prune(
    instance: dg.DagsterInstance,
    sites: Sequence[Settings],
    *,
    plan: bool = False,
    runs: bool = True,
) -> Pruned:
    """Delete what is past its time, or tell what that is.

    Args:
        instance: of all the sites.
        sites: their settings. Those about Dagster's records hold for the whole instance: with
            several sites the longest time counts, and without a time at one of them nothing goes.
        plan: delete nothing.
        runs: whether Dagster's records go, too; not if these are some of several sites.

    Raises:
        ConfigurationError: a setting is missing, or a storage or ledger cannot be used.
        StorageError: a ledger failed.
    """
    from caliper_dagster.delivery.retention import prune_site

    now, pruned = datetime.now(UTC), Pruned()
    if not plan:
        fail_orphaned_runs(instance)
    for settings in sites:
        of_site = prune_site(settings, now, _NeededHours(instance, settings), plan=plan)
        pruned.removals.extend((settings.site or "", removal) for removal in of_site.removals())
        pruned.kept.update(of_site.kept)
    if runs:
        pruned.removals.extend(("", removal) for removal in _prune_runs(instance, sites, now, plan))
    return pruned


def _prune_runs(
    instance: dg.DagsterInstance, sites: Sequence[Settings], now: datetime, plan: bool
) -> "list[Removal]":
    from caliper_dagster.delivery.retention import Removal

    removals: list[Removal] = []
    days = _longest([settings.keep_runs for settings in sites])
    if days:
        # It uses undocumented interfaces of Dagster; only who asks for it depends on them.
        from caliper_dagster.dagster.instance.old_runs import OldRuns

        runs = OldRuns(instance)
        removals += runs.remove(runs.finished_before(now - timedelta(days=days)), plan=plan)
    files = RunFiles(instance)
    if left := files.left_behind():
        size = delete_all([path for paths in left.values() for path in paths], plan=plan)
        removals.append(Removal("Deleted runs whose files were left behind", len(left), size))
    days = _longest([settings.keep_compute_logs for settings in sites])
    if days:
        folders = files.compute_logs(now - timedelta(days=days))
        size = delete_all(folders, plan=plan)
        removals.append(Removal("Runs whose compute logs are old", len(folders), size))
    return removals


def _longest(days: Sequence[int | None]) -> int | None:
    return None if None in days else max(day for day in days if day)


class _NeededHours:
    """Says which hours of a site Dagster still needs, by reason."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings) -> None:
        self._instance = instance
        self._assets = build_assets(settings)

    def __call__(self, hours: Collection[Hour]) -> Mapping[str, Collection[Hour]]:
        if unfinished_backfills(self._instance):
            return {_BACKFILL: hours}
        wanted = set(hours)
        used = {
            hour
            for run in self._instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
            for hour in hours_of_tags(run.tags) or ()
        }
        return {_FAILED: self._failed(wanted - used), _IN_USE: wanted & used}

    def _failed(self, hours: set[Hour]) -> set[Hour]:
        """The hours of which an asset has the status failed, or still in progress."""
        return {
            hour
            for definition in self._assets
            if definition.partitions_def is not None
            for asset in definition.keys
            for hour in unfinished_hours(self._instance, asset, definition.partitions_def)
            if hour in hours
        }


def retention_job(
    sites: Sequence[Settings], name: str = RETENTION_JOB, *, runs: bool = True
) -> dg.JobDefinition:
    """The job that deletes what is past its time.

    Args:
        sites: whose stored hours and ledgers.
        name: of the job.
        runs: whether Dagster's records go, too: only where all of them are of these sites.
    """
    what = "stored hours, superseded batches of the ledger, and records of runs"
    if not runs:
        what = "stored hours and superseded batches of the ledger"

    @dg.op(
        # Dagster allows one op of each name in a project; a host may have a job for each site.
        name="prune" if runs else f"{name}_of_stored_hours",
        description="Deletes what is past its time. `caliper-dagster prune --plan` tells what.",
        config_schema={},
    )
    def prune_op(context: dg.OpExecutionContext) -> None:
        with as_dagster_failure():
            for sentence in prune(context.instance, sites, runs=runs).sentences():
                context.log.info(sentence)

    @dg.job(
        name=name,
        description=f"Deletes {what} that are older than the settings CALIPER_KEEP_… say. What is "
        "acknowledged stays known.",
        executor_def=dg.in_process_executor,
    )
    def retention() -> None:
        prune_op()

    return retention


def retention_schedules(
    job: dg.JobDefinition, sites: Sequence[Settings]
) -> list[dg.ScheduleDefinition]:
    """The schedule of the job; none if no site asks for it (``CALIPER_PRUNE_HOUR``)."""
    hours = [settings.prune_hour for settings in sites if settings.prune_hour is not None]
    if not hours:
        return []
    return [
        dg.ScheduleDefinition(
            name=f"{job.name}_schedule",
            job=job,
            cron_schedule=f"{_MINUTE} {min(hours)} * * *",
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Deletes once a day what is older than the settings say.",
        )
    ]
