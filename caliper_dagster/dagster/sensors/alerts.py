"""The sensor that tells somebody of failed runs and failed checks, and when that is over.

It looks at Dagster's records and keeps what it has told in its cursor; ``delivery.alerts`` decides
what is told and sends it. There is no sensor for a site whose settings name no receiver.
https://docs.dagster.io/guides/automate/sensors

(This module has no ``from __future__ import annotations``: Dagster reads the annotations of the
sensor.)
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from time import time

import dagster as dg

from caliper_dagster.config.alerts import EMAIL, WEBHOOKS
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.asset_checks import EVERY_EVENT_ACKNOWLEDGED
from caliper_dagster.dagster.assets import emission_assets, emission_step_name, event_store_of
from caliper_dagster.dagster.instance.evaluations import latest_evaluation
from caliper_dagster.dagster.jobs import CHAIN_JOB, RESEND_JOB
from caliper_dagster.dagster.partitions import hours_of_tags
from caliper_dagster.dagster.resources import LedgerResource, bind_site_resources
from caliper_dagster.dagster.retention import RETENTION_JOB
from caliper_dagster.dagster.run_status import unfinished_hours
from caliper_dagster.dagster.standing_checks import (
    NEWEST_HOUR_RECENT,
    NO_BACKLOG,
    NOT_EVALUATED,
    STANDING_JOB,
)
from caliper_dagster.delivery.alerts.incidents import (
    AlertState,
    CheckFailure,
    Incidents,
    RunFailure,
    remove_told,
)
from caliper_dagster.delivery.alerts.message import site_label
from caliper_dagster.delivery.alerts.receivers import receivers, tell
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.delivery.watch_state import Status

ALERTS_SENSOR = "alerts"

_INTERVAL = 60
_FIRST_LOOK_SECONDS = 86_400
_OVERLAP_SECONDS = 60
"""Runs that ended so long before the newest known one are looked at again: a database shows what
was written at the same time in any order."""

_RUNS_PER_LOOK = 200
"""Failed runs that are looked at in one tick, which Dagster ends after a minute."""

_CONSEQUENCES = frozenset({EVERY_EVENT_ACKNOWLEDGED, NO_BACKLOG, NEWEST_HOUR_RECENT})
"""Checks that fail when runs do."""


def alerts_sensor(
    assets: Sequence[dg.AssetsDefinition],
    standing: dg.AssetChecksDefinition,
    settings: Settings,
) -> dg.SensorDefinition | None:
    """The sensor of a site; None if nobody is to be told.

    Args:
        assets: the assets of the site.
        standing: its standing checks, whose words may be repeated.
        settings: of the site.
    """
    if not receivers(settings.alerts):
        return None
    site = _Site(settings, tuple(assets), standing)

    decorator = dg.sensor(
        name=settings.site_name(ALERTS_SENSOR),
        minimum_interval_seconds=_INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells by e-mail and webhooks when a run or a check fails and when that is "
        f"over, once each ({EMAIL}, {', '.join(WEBHOOKS)}).",
    )

    def alerts(
        context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[LedgerResource]
    ) -> dg.SensorResult:
        named, now = receivers(settings.alerts), time()
        state = (
            AlertState.model_validate_json(context.cursor)
            if context.cursor
            else AlertState(looked_to=now - _FIRST_LOOK_SECONDS)
        )
        incidents = Incidents(
            state,
            site_label(settings),
            [receiver.name for receiver in named],
            settings.alerts.web_ui_url,
            now,
        )
        look = _Look(site, context.instance, ledger)
        incidents.add_failed_runs(look.failed_runs(state), look.is_over)
        incidents.set_failed_checks(look.failed_checks(state), site.check_names())
        told, errors = tell(named, state.untold, settings.alerts.timeout)
        remove_told(state, told)
        return dg.SensorResult(
            skip_reason=_report(sum(told.values()), errors), cursor=state.model_dump_json()
        )

    return decorator(bind_site_resources(alerts, settings))


def _report(told: int, errors: Mapping[str, CaliperDagsterError]) -> str:
    """What the list of ticks says in the web UI."""
    words = [f"Sent {plural(told, 'alert')}." if told else "", *map(str, errors.values())]
    return " ".join(filter(None, words)) or "Nothing new to tell."


@dataclass(frozen=True)
class _Site:
    """What belongs to a site."""

    settings: Settings
    assets: tuple[dg.AssetsDefinition, ...]
    standing: dg.AssetChecksDefinition

    def asset_keys(self) -> set[dg.AssetKey]:
        return {key for asset in self.assets for key in asset.keys}

    def jobs(self) -> set[str]:
        own = (CHAIN_JOB, RESEND_JOB, STANDING_JOB, RETENTION_JOB)
        shared = set() if self.settings.host else {RETENTION_JOB}
        return {*map(self.settings.site_name, own), *shared}

    def assets_of_steps(self) -> dict[str, list[dg.AssetKey]]:
        """The assets that each step makes."""
        steps = {"__".join(key.path): [key] for key in self.asset_keys()}
        emission = sorted(emission_assets(self.assets).keys, key=str)
        return {**steps, emission_step_name(self.settings): emission}

    def checks(self) -> list[dg.AssetCheckKey]:
        own = {spec.key for asset in self.assets for spec in asset.check_specs}
        return sorted(own | {spec.key for spec in self.standing.check_specs}, key=str)

    def check_names(self) -> list[str]:
        return [_failure(key, 0).key for key in self.checks()]

    def partitions(self) -> dg.PartitionsDefinition:
        partitions = self.assets[0].partitions_def
        if partitions is None:
            raise AssertionError("the assets are partitioned")
        return partitions


@dataclass(frozen=True)
class _Look:
    """One look at Dagster's records; each thing is read once."""

    site: _Site
    instance: dg.DagsterInstance
    ledger: LedgerResource
    _unfinished_hours: dict[dg.AssetKey, dict[Hour, Status]] = field(default_factory=dict)

    def failed_runs(self, state: AlertState) -> list[RunFailure]:
        """The runs that have failed since the last look; of many, the first ones."""
        after = datetime.fromtimestamp(state.looked_to - _OVERLAP_SECONDS, UTC)
        records = self.instance.get_run_records(
            dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=after),
            limit=len(state.seen) + _RUNS_PER_LOOK,
            order_by="update_timestamp",
            ascending=True,
        )
        ended = {
            record.dagster_run.run_id: record.update_timestamp.timestamp() for record in records
        }
        new = [record for record in records if record.dagster_run.run_id not in state.seen]
        state.looked_to = max([state.looked_to, *ended.values()])
        begin = state.looked_to - _OVERLAP_SECONDS
        state.seen = {run: at for run, at in (state.seen | ended).items() if at >= begin}
        return [self._failure(record) for record in new if self._is_own(record.dagster_run)]

    def is_over(self, failure: RunFailure) -> bool:
        """Whether its hours have succeeded, or a later run of the job if it has none."""
        if failure.hours is None:
            ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
            runs = self.instance.get_runs(
                dg.RunsFilter(job_name=failure.job, statuses=ended), limit=1
            )
            return not runs or runs[0].status is dg.DagsterRunStatus.SUCCESS
        try:
            return not any(self._is_open(asset, failure.hours) for asset in failure.assets)
        except CaliperDagsterError:
            # A ledger that cannot be read is a reason to tell somebody, not to stay silent.
            return False

    def failed_checks(self, state: AlertState) -> list[CheckFailure]:
        """The checks whose last evaluation failed, apart from warnings.

        One that could not be evaluated, or whose evaluations were pruned, is as it was.
        """
        repeated = {spec.key for spec in self.site.standing.check_specs}
        failed = []
        for key in self.site.checks():
            latest = latest_evaluation(self.instance, key)
            if latest is None or latest[0].description == NOT_EVALUATED:
                before = state.checks.get(_failure(key, 0).key)
                failed += [before] if before else []
                continue
            evaluation, at = latest
            if evaluation.passed or evaluation.severity is dg.AssetCheckSeverity.WARN:
                continue
            failed.append(_failure(key, at, evaluation.description if key in repeated else None))
        return failed

    def _is_open(self, asset: str, hours: HourRange) -> bool:
        """Whether one of the hours of an asset failed, is busy or waits in a backlog."""
        key = dg.AssetKey.from_user_string(asset)
        if any(hour in hours for hour in self._unfinished(key)):
            return True
        deferred = self.deferred.get(event_store_of(key), ()) if self._is_emission(key) else ()
        return any(hour in hours for hour in deferred)

    def _unfinished(self, asset: dg.AssetKey) -> Mapping[Hour, Status]:
        """The hours of an asset that failed or are busy: one look for all failures of it."""
        if asset not in self._unfinished_hours:
            partitions = self.site.partitions()
            self._unfinished_hours[asset] = unfinished_hours(self.instance, asset, partitions)
        return self._unfinished_hours[asset]

    @cached_property
    def deferred(self) -> Mapping[str, Collection[Hour]]:
        """The hours that each event store has yet to receive."""
        return deferred_hours(self.site.settings, self.ledger.open)

    def _is_emission(self, key: dg.AssetKey) -> bool:
        return key in emission_assets(self.site.assets).keys

    def _is_own(self, run: dg.DagsterRun) -> bool:
        selected = run.asset_selection or frozenset()
        return run.job_name in self.site.jobs() or bool(selected & self.site.asset_keys())

    def _failure(self, record: dg.RunRecord) -> RunFailure:
        run = record.dagster_run
        step = self._failed_step(run.run_id)
        hours = hours_of_tags(run.tags)
        assets = self._assets(run, step) if hours else []
        return RunFailure(
            subject=_subject(assets, step, run.job_name),
            assets=[key.to_user_string() for key in assets],
            first=hours.start.number if hours else None,
            end=hours.end.number if hours else None,
            job=run.job_name,
            step=step,
            run_id=run.run_id,
            since=record.end_time or record.update_timestamp.timestamp(),
        )

    def _failed_step(self, run_id: str) -> str | None:
        failures = self.instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1
        ).records
        return failures[0].event_log_entry.step_key if failures else None

    def _assets(self, run: dg.DagsterRun, step: str | None) -> list[dg.AssetKey]:
        """The assets of the step that failed; of a run without one, those that it ends with."""
        last = sorted(emission_assets(self.site.assets).keys, key=str)
        assets = self.site.assets_of_steps().get(step or "", last)
        selected = run.asset_selection
        return [key for key in assets if not selected or key in selected] or sorted(
            (selected or frozenset()) & self.site.asset_keys(), key=str
        )


def _subject(assets: Sequence[dg.AssetKey], step: str | None, job: str) -> str:
    if len(assets) == 1:
        return assets[0].to_user_string()
    return step if assets and step else job


def _failure(key: dg.AssetCheckKey, at: float, problem: str | None = None) -> CheckFailure:
    return CheckFailure(
        asset=key.asset_key.to_user_string(),
        name=key.name,
        evaluated_at=at,
        problem=problem,
        is_consequence=key.name in _CONSEQUENCES,
    )
