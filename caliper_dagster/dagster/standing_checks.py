"""Standing checks: asset checks of their own, which judge all hours and not those of a run.

A run is over when its hours are sent or have failed; these checks say what nobody would see then.
A job evaluates them once a day, after each run of the schedule, however that ended, and after
retries. They read lists of partitions, the ledger and a day's stored hours, and make no query for
each hour. https://docs.dagster.io/guides/test/asset-checks

(This module has no ``from __future__ import annotations``: Dagster reads the annotations of the
checks.)
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from time import time
from typing import Any

import dagster as dg

from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    caliper_versions,
    event_stores,
    events_frame,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.assets import asset_key
from caliper_dagster.dagster.instance.evaluations import latest_evaluation
from caliper_dagster.dagster.instance.run_files import FINISHED
from caliper_dagster.dagster.jobs import CHAIN_JOB, schedule_status, sensor_status, site_tags
from caliper_dagster.dagster.partitions import hourly_partitions
from caliper_dagster.dagster.resources import (
    LedgerResource,
    MoodleResource,
    StorageResource,
    bind_site_resources,
)
from caliper_dagster.dagster.run_status import (
    newest_complete_hour,
    unfinished_hours,
)
from caliper_dagster.dagster.tags import BACKLOG_SENSOR, LATE_ROWS_SENSOR, REASON_TAG
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.delivery.standing import (
    Numbers,
    StandingResult,
    failed_hours_retried,
    fallback_rows,
    newest_hour_recent,
    no_backlog,
    share_is_small,
    unresolved_rows,
)
from caliper_dagster.delivery.watch_state import HourWindow, Reason, Status, WatchCursor

STANDING_JOB = "standing_checks"
STANDING_SENSOR = "standing_checks_after_runs"

FAILED_HOURS_RETRIED = "failed_hours_retried"
NEWEST_HOUR_RECENT = "newest_hour_recent"
NO_BACKLOG = "no_backlog"
ROWS_TAKEN_BEFORE_PURGE = "rows_taken_before_purge"
FEW_FALLBACK_ROWS = "few_fallback_rows"
FEW_UNRESOLVED_ROWS = "few_unresolved_rows"

_DAILY = "30 5 * * *"
_INTERVAL = 30
_DAY_HOURS = 24
_SCHEDULE_TAG = "dagster/schedule_name"
_ACTIVE = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_RETRIES = [Reason.UNFINISHED.value, Reason.BACKLOG.value]
_Ended = tuple[()] | tuple[datetime, str]
"""When the newest run of a kind ended, and its id; empty without one."""

NOT_EVALUATED = "The check could not be evaluated; the log of its run says why."


def standing_checks(settings: Settings) -> dg.AssetChecksDefinition:
    """The standing checks of a site, as one step.

    Raises:
        ConfigurationError: see ``event_stores``.
    """
    plans = {plan.key: plan for plan in _plans(settings)}

    def evaluate_standing_checks(
        context: dg.AssetCheckExecutionContext,
        moodle: dg.ResourceParam[MoodleResource],
        storage: dg.ResourceParam[StorageResource],
        ledger: dg.ResourceParam[LedgerResource],
    ) -> Iterator[Any]:
        look = Look(settings, context.instance, moodle, storage, ledger, time())
        for key in sorted(context.selected_asset_check_keys, key=str):
            try:
                result = plans[key].evaluate(look)
            except CaliperDagsterError as error:
                # The others are still evaluated. The words of a database stay in the run's log.
                context.log.error(f"{key.name}: {error}")  # noqa: TRY400 - no stack trace
                result = StandingResult(NOT_EVALUATED, is_warning=True)
            yield _check_result(key, result)

    decorator = dg.multi_asset_check(
        name=settings.site_name("evaluate_standing_checks"),
        specs=[
            dg.AssetCheckSpec(key.name, asset=key.asset_key, description=plan.description)
            for key, plan in plans.items()
        ],
        can_subset=True,
    )
    return decorator(bind_site_resources(evaluate_standing_checks, settings))


def standing_check_keys(settings: Settings) -> list[dg.AssetCheckKey]:
    """The keys of the standing checks of a site."""
    return [plan.key for plan in _plans(settings)]


def standing_job(
    checks: dg.AssetChecksDefinition, settings: Settings
) -> "dg.UnresolvedAssetJobDefinition":
    """The job that evaluates the standing checks of a site, and nothing else."""
    return dg.define_asset_job(
        settings.site_name(STANDING_JOB),
        selection=dg.AssetSelection.checks(checks),
        description="Evaluates the standing checks: hours that nobody retries, the age of the "
        "newest hour, backlogs, rows that Moodle is about to delete, and a day's shares of rows "
        "without a recipe or a record.",
        tags=site_tags(settings),
        executor_def=dg.in_process_executor,
    )


def standing_schedule(
    job: "dg.UnresolvedAssetJobDefinition", settings: Settings
) -> dg.ScheduleDefinition:
    """The schedule that evaluates the standing checks once a day, also when no run has ended."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=_DAILY,
        execution_timezone="UTC",
        default_status=schedule_status(settings.automation),
        description="Evaluates the standing checks once a day.",
    )


def standing_sensor(
    job: "dg.UnresolvedAssetJobDefinition", settings: Settings
) -> dg.SensorDefinition:
    """The sensor that evaluates the standing checks after each run of the hourly schedule.

    After an outage it does so again when the retries are done, and not an hour later.
    """

    @dg.sensor(
        name=settings.site_name(STANDING_SENSOR),
        job=job,
        minimum_interval_seconds=_INTERVAL,
        default_status=sensor_status(settings.automation),
        description="Evaluates the standing checks after each run of the hourly schedule, however "
        "the run ended, and when hours have been retried with success.",
    )
    def after_scheduled_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        instance, chain = context.instance, settings.site_name(CHAIN_JOB)

        def newest(tags: Mapping[str, str | list[str]], *statuses: dg.DagsterRunStatus) -> _Ended:
            runs = dg.RunsFilter(job_name=chain, statuses=statuses, tags=tags)
            records = instance.get_run_records(runs, limit=1, order_by="update_timestamp")
            return max(((it.update_timestamp, it.dagster_run.run_id) for it in records), default=())

        scheduled = newest({_SCHEDULE_TAG: f"{chain}_schedule"}, *FINISHED)
        retried = newest({REASON_TAG: _RETRIES}, dg.DagsterRunStatus.SUCCESS)
        last = max(scheduled, retried)
        if not last or last[1] == context.cursor:
            return dg.SensorResult(skip_reason="No run has ended since.", cursor=context.cursor)
        active = dg.RunsFilter(job_name=chain, statuses=_ACTIVE)
        if last == retried and instance.get_runs(active, limit=1):
            return dg.SensorResult(skip_reason="More hours are retried.", cursor=context.cursor)
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=last[1])], cursor=last[1])

    return after_scheduled_runs


@dataclass(frozen=True)
class Look:
    """What the checks of one evaluation look at; each thing is read once.

    Args:
        settings: of the site.
        instance: of Dagster.
        moodle: the database of the site.
        storage: its partitions.
        ledger: its ledger.
        now: Unix time in seconds.
    """

    settings: Settings
    instance: dg.DagsterInstance
    moodle: MoodleResource
    storage: StorageResource
    ledger: LedgerResource
    now: float
    _unfinished: dict[dg.AssetKey, dict[Hour, Status]] = field(default_factory=dict)
    _newest: dict[dg.AssetKey, Hour | None] = field(default_factory=dict)

    @cached_property
    def window(self) -> HourWindow:
        """The hours that there are now."""
        return HourWindow.at(self.now, self.settings)

    @cached_property
    def partitions(self) -> dg.PartitionsDefinition:
        """The partitions of all assets of the site."""
        in_progress = self.settings.send_immediately
        return hourly_partitions(self.settings.start, in_progress=in_progress)

    @cached_property
    def deferred(self) -> Mapping[str, Collection[Hour]]:
        """The hours in the backlog of each event store that has one."""
        return deferred_hours(self.settings, self.ledger.open)

    @cached_property
    def last_day(self) -> HourRange:
        """The newest 24 hours that are due."""
        due = self.window.due
        return HourRange(max(self.settings.start, due + -_DAY_HOURS), due)

    @cached_property
    def waiting_since(self) -> Hour | None:
        """The first hour of the last day with log rows that wait for a replica; None without."""
        from caliper_dagster.expander import count_waiting_rows

        try:
            with self.moodle.open() as database:
                return min(count_waiting_rows(database, self.last_day), default=None)
        except CaliperDagsterError:
            return None  # Then no hour is taken either, which is told without the database.

    def unfinished(self, asset: dg.AssetKey) -> dict[Hour, Status]:
        """The hours of an asset whose last run failed or has not ended."""
        if asset not in self._unfinished:
            self._unfinished[asset] = unfinished_hours(self.instance, asset, self.partitions)
        return self._unfinished[asset]

    def failed(self, asset: dg.AssetKey) -> set[Hour]:
        """The hours of an asset whose last run failed."""
        statuses = self.unfinished(asset)
        return {hour for hour, status in statuses.items() if status is Status.FAILED}

    def newest(self, asset: dg.AssetKey) -> Hour | None:
        """The newest hour that an asset has completely; None if it has none."""
        if asset not in self._newest:
            unfinished, end = self.unfinished(asset), Hour.of(self.now)
            self._newest[asset] = newest_complete_hour(self.instance, asset, unfinished, end)
        return self._newest[asset]


@dataclass(frozen=True)
class _Plan:
    """A standing check."""

    key: dg.AssetCheckKey
    description: str
    evaluate: Callable[[Look], StandingResult]


def _plans(settings: Settings) -> Iterator[_Plan]:
    limits, version = settings.checks, caliper_versions(settings)[0]
    log, expanded = (asset_key(settings, frame) for frame in (MOODLE_LOG, EXPANDED_LOG))
    events = events_frame(settings, version)
    yield _Plan(
        dg.AssetCheckKey(log, ROWS_TAKEN_BEFORE_PURGE),
        "Moodle deletes no log row within the next "
        f"{plural(limits.purge_days, 'day')} that was not taken (its setting `loglifetime`).",
        _rows_taken_before_purge,
    )
    yield _Plan(
        dg.AssetCheckKey(expanded, FEW_UNRESOLVED_ROWS),
        f"At most {limits.unresolved_share:.0%} of the log rows of the last 24 hours refer to "
        "records that Moodle's database does not have.",
        lambda look: share_is_small(
            "refer to records that Moodle's database does not have",
            *unresolved_rows(look.storage.open(), look.last_day),
            limits.unresolved_share,
        ),
    )
    yield _Plan(
        dg.AssetCheckKey(asset_key(settings, events), FEW_FALLBACK_ROWS),
        f"At most {limits.fallback_share:.0%} of the log rows of the last 24 hours have neither a "
        "recipe of their own nor one of their family.",
        lambda look: share_is_small(
            "have the fallback recipe",
            *fallback_rows(look.storage.open(), events, look.last_day),
            limits.fallback_share,
        ),
    )
    for store in event_stores(settings):
        yield from _plans_of_store(settings, store)


def _plans_of_store(settings: Settings, store: EventStoreDefinition) -> Iterator[_Plan]:
    limit = settings.checks.newest_hour_age
    results = asset_key(settings, store.results)
    events = asset_key(settings, events_frame(settings, store.caliper_version))
    backlog_key = dg.AssetCheckKey(results, NO_BACKLOG)
    yield _Plan(
        dg.AssetCheckKey(results, FAILED_HOURS_RETRIED),
        "Every hour that failed is retried by a sensor.",
        lambda look: failed_hours_retried(*failed_and_retried(look, results, store.name or "")),
    )
    yield _Plan(
        dg.AssetCheckKey(results, NEWEST_HOUR_RECENT),
        f"The newest hour that the event store has completely ended at most "
        f"{plural(limit, 'hour')} ago. Unlike the freshness of the asset, an old hour that is "
        "materialized again does not count.",
        lambda look: newest_hour_recent(
            look.newest(results), settings.start, look.now, limit, look.waiting_since
        ),
    )
    yield _Plan(
        backlog_key,
        "No hour waits for the event store: the events of each hour that has some are sent. "
        f"Waiting for up to {plural(limit, 'hour')} gives a warning.",
        lambda look: no_backlog(
            waiting_hours(look, results, events, store.name or ""),
            look.newest(results),
            _waiting_since(look.instance, backlog_key),
            look.now,
            limit,
        ),
    )


def waiting_hours(look: Look, results: dg.AssetKey, events: dg.AssetKey, store: str) -> set[Hour]:
    """The hours whose events are made, and which failed at or were deferred for an event store."""
    failed, deferred = look.failed(results), set(look.deferred.get(store, ()))
    if failed:
        made = look.instance.get_materialized_partitions(events)
        failed = {hour for hour in failed if hour.key in made}
    return failed | deferred


def failed_and_retried(
    look: Look, results: dg.AssetKey, store: str
) -> tuple[set[Hour], Collection[Hour]]:
    """The hours that failed or were deferred, and those that a sensor retries."""
    settings, deferred = look.settings, set(look.deferred.get(store, ()))
    retried: set[Hour] = set()
    for name, is_backlog in ((LATE_ROWS_SENSOR, False), (BACKLOG_SENSOR, True)):
        for cursor in _cursors_of_running(look.instance, settings.site_name(name)):
            if is_backlog:
                retried |= deferred
            elif cursor:
                watch = WatchCursor.model_validate_json(cursor)
                retried |= watch.unfinished_candidates(look.window.end)
    return look.failed(results) | deferred, retried


def _cursors_of_running(instance: dg.DagsterInstance, sensor: str) -> list[str]:
    """The cursor of a sensor of that name that is switched on; one for each code location."""
    return [
        getattr(state.instigator_data, "cursor", None) or ""
        for state in instance.all_instigator_state()
        if state.instigator_name == sensor and state.is_running
    ]


def _waiting_since(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> float | None:
    """Since when an hour had waited in the last evaluation of `NO_BACKLOG`, if one had."""
    latest = latest_evaluation(instance, key)
    if latest is None or latest[0].passed:
        return None
    since = latest[0].metadata.get("waiting since")
    return since.value if isinstance(since, dg.TimestampMetadataValue) else None


def _rows_taken_before_purge(look: Look) -> StandingResult:
    from caliper_dagster.delivery.log_lifetime import oldest_untaken
    from caliper_dagster.expander.site_facts import read_site_facts

    with look.moodle.open() as database:
        days = read_site_facts(database).log_days
        if not days:
            return StandingResult(None, numbers={"loglifetime": "for ever" if days == 0 else "?"})
        oldest = oldest_untaken(
            look.settings,
            database,
            days,
            within_days=look.settings.checks.purge_days,
            now=look.now,
        )
    numbers: Numbers = {"loglifetime in days": days}
    if oldest is None:
        return StandingResult(None, numbers=numbers)
    moment = datetime.fromtimestamp(oldest.deleted_at, UTC)
    numbers |= {"first hour": oldest.hour.key, "deleted from": moment}
    return StandingResult(
        f"Moodle deletes log rows that were not taken: the hour {oldest.hour} from "
        f"{moment:%Y-%m-%d %H:%M} UTC on (loglifetime is {plural(days, 'day')}). Run "
        f"`caliper-dagster backfill --from {oldest.hour} --to {look.window.due}`, or set "
        "CALIPER_START to a later hour if these rows are not to be sent.",
        numbers=numbers,
    )


def _check_result(key: dg.AssetCheckKey, result: StandingResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=result.problem is None,
        severity=dg.AssetCheckSeverity.WARN if result.is_warning else dg.AssetCheckSeverity.ERROR,
        description=result.problem,
        metadata={
            name: dg.MetadataValue.timestamp(value) if isinstance(value, datetime) else value
            for name, value in result.numbers.items()
        },
    )
