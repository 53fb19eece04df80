"""Assets: the four steps from log rows to acknowledged events, partitioned by hour.

With several event stores the last step has one asset per event store, all made by one op; the
events have one asset per rendering (Caliper version and shape) that the event stores want.

Each body has the same form: the hours of the run, one call of ``delivery``, metadata, result. How
rows are read, expanded, translated and sent is the business of ``expander``, ``translator`` and
``emitter``; the loops over hours and chunks are in ``delivery``; none of these imports Dagster.
https://docs.dagster.io/guides/build/assets

Functions build the assets, so that one project can hold several sites: the asset keys of a site
begin with its name, and a site has its own pools, so that no site waits for the database of
another. The docstrings of the assets are shown in the web UI. (This module has no
``from __future__ import annotations``: Dagster reads the annotations of the assets.)
"""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from caliper_dagster.caliper.shapes import Rendering
from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    event_stores,
    events_frame,
    renderings,
    sent_as,
)
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.core.frames import EMISSION_RESULTS, EXPANDED_LOG, MOODLE_LOG, Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import Account, DeliveryCounts
from caliper_dagster.core.site_record import claim_storage
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster import asset_checks
from caliper_dagster.dagster.external_assets import (
    event_store_assets,
    event_store_key,
    log_key,
    moodle_assets,
    observation,
    records_key,
)
from caliper_dagster.dagster.metadata import (
    account_metadata,
    code_references,
    column_schema,
    delivery_metadata,
    hour_metadata,
    preview,
)
from caliper_dagster.dagster.partitions import hourly_partitions, hours_of
from caliper_dagster.dagster.resources import (
    FRAMES_RESOURCE,
    EventStoresResource,
    LedgerResource,
    MoodleResource,
    StorageResource,
    as_dagster_failure,
    bind_site_resources,
    resource_key,
)
from caliper_dagster.dagster.step_reports import (
    HourReport,
    delivery_sentence,
    outcome_sentence,
)
from caliper_dagster.dagster.tags import (
    BACKLOG_TAG,
    FRESH_TAG,
    RESEND_ALL_TAG,
    SEND_TAG,
    asset_tags,
)
from caliper_dagster.delivery.fan_out import DeliveryRequest, Ended, Sent, fan_out
from caliper_dagster.delivery.gate import withheld_hours, withheld_sentence

if TYPE_CHECKING:
    from caliper_dagster.emitter import Send

    Materialized: TypeAlias = dg.MaterializeResult[None]
else:
    Materialized = dg.MaterializeResult  # Dagster accepts the annotation only unparameterized.

MOODLE_POOL = "moodle_db"
EVENT_STORE_POOL = "event_store"

WITHHELD_HOURS = "withheld hours"
"""Metadata of the failure of a step that sent everything but the hours that are withheld: their
keys."""

_BACKLOG_RUN_SECONDS = 600
"""After this time a run that sends a backlog stops; the next run continues."""


EMISSION_CONFIG = {
    "resend_all": dg.Field(
        bool,
        default_value=False,
        description="Send every event again, including those that the event store has "
        "acknowledged. Events keep their ids. Otherwise a run sends only what is not acknowledged.",
    )
}
"""Run config of ``emission_results``. (A field of ``dg.Config`` would take its value from any
variable of the environment, ``{"env": NAME}``, and so tell what the variable holds.)"""

EXPANSION_CONFIG = {
    "fresh": dg.Field(
        bool,
        default_value=False,
        description="Expand every row again. Otherwise rows that were expanded before keep the "
        "names, roles and grades of that time.",
    )
}
"""Run config of ``expanded_log``."""


@dataclass(frozen=True)
class _Chain:
    """The assets of one site: what they have in common.

    Attributes:
        stores: the event stores of the site.
    """

    settings: Settings
    partitions: dg.HourlyPartitionsDefinition
    stores: tuple[EventStoreDefinition, ...]

    def key(self, frame: Frame) -> dg.AssetKey:
        return asset_key(self.settings, frame)

    @property
    def io_manager_key(self) -> str:
        """The key of the I/O manager by which assets of other projects read those of the site."""
        return resource_key(self.settings, FRAMES_RESOURCE)

    def pool(self, name: str) -> str:
        return _pool(self.settings, name)

    def events(self, store: EventStoreDefinition) -> Frame:
        """The table of the events as an event store wants them."""
        return events_frame(self.settings, store.rendering)

    def asset(
        self,
        frame: Frame,
        *,
        code_version: str,
        kinds: set[str],
        config_schema: Mapping[str, dg.Field] = MappingProxyType({}),
        **options: Any,  # noqa: ANN401 - options of dg.asset
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """``dg.asset`` with the options that all assets share."""

        def define(function: Callable[..., Any]) -> dg.AssetsDefinition:
            decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
                key=self.key(frame),
                partitions_def=self.partitions,
                backfill_policy=dg.BackfillPolicy.multi_run(self.settings.hours_per_run),
                io_manager_key=self.io_manager_key,
                # Without a schema, Dagster would accept and ignore any config.
                config_schema=dict(config_schema),
                **self._common_options(frame, code_version, kinds, function),
                **options,
            )
            return decorator(bind_site_resources(function, self.settings))

        return define

    def results(self, description: str) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """``dg.multi_asset`` with one asset per event store."""
        keys = self.results_keys()
        # Any hour makes the asset fresh; the check newest_hour_recent asks for a new one.
        age = timedelta(hours=self.settings.checks.newest_hour_age)
        freshness = dg.FreshnessPolicy.time_window(fail_window=age)

        def define(function: Callable[..., Any]) -> dg.AssetsDefinition:
            decorator = dg.multi_asset(
                name=emission_step_name(self.settings),
                specs=[
                    dg.AssetSpec(
                        keys[store],
                        deps=[self.key(self.events(store))],
                        description=description,
                        skippable=True,
                        freshness_policy=freshness,
                        **self._common_options(store.results, "1", {"json", "parquet"}, function),
                    ).with_io_manager_key(self.io_manager_key)
                    for store in self.stores
                ],
                check_specs=[asset_checks.every_event_acknowledged(key) for key in keys.values()],
                can_subset=True,
                config_schema=EMISSION_CONFIG,
                partitions_def=self.partitions,
                backfill_policy=dg.BackfillPolicy.multi_run(self.settings.hours_per_run),
                # A step holds one slot: with several event stores, a slow one would hold it for
                # all.
                pool=self.pool(EVENT_STORE_POOL) if len(self.stores) == 1 else None,
            )
            return decorator(bind_site_resources(function, self.settings))

        return define

    def results_keys(self) -> dict[EventStoreDefinition, dg.AssetKey]:
        """The key of the emission results of each event store."""
        return {store: self.key(store.results) for store in self.stores}

    def _common_options(
        self, frame: Frame, code_version: str, kinds: set[str], function: Callable[..., Any]
    ) -> dict[str, Any]:
        return {
            "group_name": self.settings.group("caliper"),
            "code_version": code_version,
            "kinds": kinds,
            "owners": self.settings.owners,
            "tags": asset_tags(
                self.settings, personal=any(column.personal for column in frame.columns)
            ),
            "metadata": {
                "row": frame.row,
                "dagster/column_schema": column_schema(frame),
                "dagster/code_references": code_references(function),
            },
        }


def _pool(settings: Settings, name: str) -> str:
    return "_".join((name, *settings.prefix))


def pools_of(settings: Settings) -> tuple[str, ...]:
    """The pools in which the steps of a site need a slot."""
    # With several event stores, the step that sends needs none (see `_Chain.results`).
    names = [MOODLE_POOL, *([EVENT_STORE_POOL] if len(event_stores(settings)) == 1 else [])]
    return tuple(_pool(settings, name) for name in names)


def asset_key(settings: Settings, frame: Frame) -> dg.AssetKey:
    """The key of the asset of a table of a site."""
    return dg.AssetKey([*settings.prefix, frame.name])


def emission_step_name(settings: Settings) -> str:
    """The name of the step that sends the events of a site."""
    return "__".join(asset_key(settings, EMISSION_RESULTS).path)


def emission_assets(assets: Iterable[object]) -> dg.AssetsDefinition:
    """Among the assets of a site, the one definition of the results of all its event stores."""
    return next(
        asset
        for asset in assets
        if isinstance(asset, dg.AssetsDefinition)
        and any(key.path[-1].startswith(EMISSION_RESULTS.name) for key in asset.keys)
    )


def event_store_of(results: dg.AssetKey) -> str:
    """The name of the event store of an asset of emission results; empty for a single one."""
    return results.path[-1].removeprefix(EMISSION_RESULTS.name).removeprefix("_")


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The assets of one Moodle site.

    Args:
        settings: of the site. Secrets are not read from them but from the resources.

    Raises:
        ConfigurationError: see ``event_stores``.
    """
    chain = _chain(settings)
    with warnings.catch_warnings():
        # Backfill policies and code references are beta features of Dagster, used on purpose: no
        # warning at every start.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [
            _moodle_log(chain),
            _expanded_log(chain),
            *(_caliper_events(chain, rendering) for rendering in renderings(settings)),
            _emission_results(chain),
        ]


def build_external_assets(settings: Settings) -> list[dg.AssetSpec]:
    """The tables and the event stores of one Moodle site, which Dagster does not make.

    Raises:
        ConfigurationError: see ``event_stores``.
    """
    return [
        *moodle_assets(settings),
        *event_store_assets(settings, _chain(settings).results_keys()),
    ]


def _chain(settings: Settings) -> _Chain:
    partitions = hourly_partitions(settings.start, in_progress=settings.send_immediately)
    return _Chain(settings, partitions, event_stores(settings))


def _moodle_log(chain: _Chain) -> dg.AssetsDefinition:
    @chain.asset(
        MOODLE_LOG,
        code_version="1",
        kinds={"sql", "parquet"},
        deps=[log_key(chain.settings)],
        pool=chain.pool(MOODLE_POOL),
    )
    def moodle_log(
        context: dg.AssetExecutionContext,
        moodle: dg.ResourceParam[MoodleResource],
        storage: dg.ResourceParam[StorageResource],
    ) -> Materialized:
        """The rows of Moodle's log, unchanged.

        A row is one log row, with all columns of `logstore_standard_log`. Its hour is the UTC hour
        of its `timecreated`. A rerun reads the hour again and replaces the partition: late rows are
        added, and rows that Moodle has deleted since are removed.

        The database also counts the rows of each hour itself, for the accounting check of
        `caliper_events`.
        """
        from caliper_dagster.delivery.materialize import write_log

        with as_dagster_failure(), moodle.open() as database:
            store = storage.open()
            report = HourReport(context, store, MOODLE_LOG)
            report.begin("Reading the log rows")
            hours = write_log(database, store, hours_of(context))
            for hour in hours:
                numbers = {"rows counted by the database": hour.counted, "bytes": hour.bytes}
                if hour.waiting:
                    numbers["rows that wait for the replica"] = hour.waiting
                report.add(hour, numbers)
            waiting = sum(hour.waiting for hour in hours)
            report.end(
                f"Read {plural(sum(hour.rows for hour in hours), 'log row')}; the database counts "
                f"{sum(hour.counted for hour in hours):,}."
                + (f" {waiting:,} more wait for the replica." if waiting else "")
            )
        return dg.MaterializeResult()

    return moodle_log


def _expanded_log(chain: _Chain) -> dg.AssetsDefinition:
    key = chain.key(EXPANDED_LOG)
    events = [events_frame(chain.settings, rendering) for rendering in renderings(chain.settings)]

    @chain.asset(
        EXPANDED_LOG,
        code_version="1",
        kinds={"sql", "parquet"},
        deps=[chain.key(MOODLE_LOG), records_key(chain.settings)],
        config_schema=EXPANSION_CONFIG,
        pool=chain.pool(MOODLE_POOL),
        check_specs=[asset_checks.most_references_found(key)],
    )
    def expanded_log(
        context: dg.AssetExecutionContext,
        moodle: dg.ResourceParam[MoodleResource],
        storage: dg.ResourceParam[StorageResource],
    ) -> Materialized:
        """Log rows, joined with the records of the Moodle database that they refer to.

        A row is one row of `moodle_log` with the names, roles, grades and dates that belong to
        it, so that the following steps need no database. Its hour is the hour of the log row.
        A rerun expands only the rows that are new in `moodle_log`; rows that were expanded
        before keep the names, roles and grades of that time, and rows that `moodle_log` no longer
        has are removed. An hour whose events the leak check withholds is expanded afresh, for its
        texts may have been corrected in Moodle. To expand every row again with the present
        records, use `backfill --fresh`, the run config `fresh`, or the tag
        `caliper_dagster/fresh: true` on a run. Events whose content then differs are sent again
        if they were acknowledged under the present mapping revision. Those of another revision are
        sent with `resend --changed` or `CALIPER_RESEND_CHANGED=true` only.
        """
        from caliper_dagster.delivery.materialize import write_expanded

        fresh = _run_config(context, "fresh") or context.run.tags.get(FRESH_TAG) == "true"
        with as_dagster_failure(), moodle.open() as database:
            store = storage.open()
            report = HourReport(context, store, EXPANDED_LOG)
            report.begin("Looking up the records of the log rows")
            hours = write_expanded(database, store, hours_of(context), fresh=fresh, events=events)
            for hour in hours:
                numbers = {
                    "rows expanded now": hour.expanded_now,
                    "rows with unresolved references": hour.unresolved,
                    "bytes": hour.bytes,
                }
                report.add(hour, numbers)
            expanded = sum(hour.expanded_now for hour in hours)
            report.end(
                f"Expanded {plural(expanded, 'log row')} and kept "
                f"{sum(hour.rows for hour in hours) - expanded:,} of earlier runs; "
                f"{sum(hour.unresolved for hour in hours):,} have references without a record."
            )
        check = asset_checks.references_found(
            key,
            {hour.hour: hour.rows for hour in hours},
            {hour.hour: hour.unresolved for hour in hours},
        )
        return dg.MaterializeResult(check_results=[check])

    return expanded_log


def _caliper_events(chain: _Chain, rendering: Rendering) -> dg.AssetsDefinition:
    frame = events_frame(chain.settings, rendering)
    settings, key = chain.settings, chain.key(frame)
    sent_to = sent_as(settings, rendering)
    filter_ = sent_to.filter.rows
    reads_moodle = filter_.reads_moodle

    @chain.asset(
        frame,
        code_version="-".join(filter(None, ("1", str(rendering), filter_.digest))),
        kinds={"json", "parquet"},
        # It also reads the ids of moodle_log, which exists whenever expanded_log does.
        deps=[chain.key(EXPANDED_LOG), *([records_key(settings)] if reads_moodle else [])],
        pool=chain.pool(MOODLE_POOL) if reads_moodle else None,
        check_specs=[
            asset_checks.every_row_explained(key),
            asset_checks.every_event_valid(key),
            asset_checks.no_personal_data(key),
        ],
    )
    def caliper_events(
        context: dg.AssetExecutionContext,
        moodle: dg.ResourceParam[MoodleResource],
        storage: dg.ResourceParam[StorageResource],
        ledger: dg.ResourceParam[LedgerResource],
    ) -> Materialized:
        """Caliper events, and the reason for every log row that has none.

        A row is the outcome of one log row: its event, the rule that filtered it, or the reason
        why it failed. Every derived event is one more row. Its hour is the hour of the log row.
        A rerun translates `expanded_log` again; events keep their ids. It needs no Moodle database,
        unless a filter of rows does: cohorts, categories and numbers of learners are those of the
        time of the rerun.
        """
        from caliper_dagster.delivery.renderings import claim_keys, write_rendering
        from caliper_dagster.delivery.row_filter import RowRules

        with as_dagster_failure():
            store = storage.open()
            claim_storage(store, settings.identity())
            claim_keys(settings, rendering, ledger.open)
            rules = RowRules.read(sent_to, moodle.open)
            report = HourReport(context, store, frame)
            report.begin("Making Caliper events from the log rows")
            hours, samples = write_rendering(
                settings, rendering, store, hours_of(context), rules=rules
            )
            for hour in hours:
                numbers = account_metadata(hour.account) | {"bytes": hour.bytes}
                if hour.verdict.counts:
                    numbers["withheld by reason"] = dict(hour.verdict.counts)
                report.add(hour, numbers)
            report.end(outcome_sentence(sum((hour.account for hour in hours), Account())))
        accounts = {hour.hour: hour.account for hour in hours}
        return dg.MaterializeResult(
            check_results=[
                asset_checks.explained(key, accounts, time.time()),
                asset_checks.valid(key, samples),
                asset_checks.without_personal_data(
                    key, {hour.hour: hour.verdict for hour in hours}
                ),
            ]
        )

    return caliper_events


_EMISSION_DESCRIPTION = """The envelopes that the event store has answered.

A row is one envelope and the answer to it. Its hour is the hour of its events. An event
whose content the event store refuses has a row of its own with the outcome `rejected` and the words
of the event store. A rerun sends what is not acknowledged: new, changed and rejected events,
and those that a failed run did not send. To send all events again, use the job
`resend_caliper_events`.

A slow or unreachable event store does not delay the others; its events are queued and sent later,
in runs of their own.
"""


def _emission_results(chain: _Chain) -> dg.AssetsDefinition:
    settings = chain.settings
    keys = {store: chain.key(store.results) for store in chain.stores}

    @chain.results(_EMISSION_DESCRIPTION)
    def emission_results(
        context: dg.AssetExecutionContext,
        storage: dg.ResourceParam[StorageResource],
        event_stores: dg.ResourceParam[EventStoresResource],
        ledger: dg.ResourceParam[LedgerResource],
    ) -> Iterator[Any]:
        with as_dagster_failure():
            identity = settings.identity()
            selected = context.selected_asset_keys
            stores = [store for store in event_stores.definitions if keys[store] in selected]
            partitions = storage.open()
            claim_storage(partitions, identity)
            with ledger.open() as open_ledger:
                open_ledger.claim(identity)
                backlog = open_ledger.backlog(identity.site_id).all()
            hours = hours_of(context)
            context.log.info(
                f"Sending the events of {plural(len(hours), 'hour')}, {hours}, to "
                f"{plural(len(stores), 'event store')}."
            )
            request = DeliveryRequest(
                events=chain.events,
                storage=partitions,
                hours=tuple(hours),
                site=identity.site_id,
                sensor=f"{identity.address}#caliper-dagster",
                open_ledger=ledger.open,
                send=_send(_run_config(context, "resend_all"), context.run.tags),
                resend_changed=settings.resend_changed,
                withhold=settings.withhold_invalid,
                allowed_fields=settings.allowed_fields,
                left=backlog,
            )
            limit = _BACKLOG_RUN_SECONDS if BACKLOG_TAG in context.run.tags else None
            report = _DeliveryReport(context, settings, partitions, keys, backlog)
            with closing(fan_out(request, stores, limit=limit)) as messages:
                for store, message in messages:
                    if isinstance(message, Sent):
                        report.add_hour(store, message)
                    else:
                        yield from report.end(store, message)
            report.observe(stores, hours)
            report.raise_if_failed()

    return emission_results


class _DeliveryReport:
    """Reports the progress of each event store to Dagster: hours, check, and failures at the end.

    Hours that an event store has received are materialized even if it has not received the others.
    Hours that are withheld are not: Dagster shows them as failed.

    Args:
        context: of the step.
        settings: of the site.
        storage: holds the results.
        keys: the emission results of each event store.
        backlog: the hours in the backlog of each event store, by name, when the run began.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        settings: Settings,
        storage: PartitionStore,
        keys: Mapping[EventStoreDefinition, dg.AssetKey],
        backlog: Mapping[str, Mapping[Hour, int]],
    ) -> None:
        self._context, self._settings, self._storage = context, settings, storage
        self._keys, self._backlog = keys, backlog
        self._rows: dict[EventStoreDefinition, dict[Hour, int]] = {store: {} for store in keys}
        self._deliveries: dict[EventStoreDefinition, dict[Hour, DeliveryCounts]] = {
            store: {} for store in keys
        }
        self._metadata: dict[EventStoreDefinition, dict[Hour, dict[str, Any]]] = {
            store: {} for store in keys
        }
        self._left: dict[EventStoreDefinition, tuple[Hour, ...]] = {}
        self._errors: dict[EventStoreDefinition, Exception] = {}
        self._withheld: dict[Hour, str] = {}

    def add_hour(self, store: EventStoreDefinition, sent: Sent) -> None:
        self._deliveries[store][sent.hour] = sent.delivery
        if sent.delivery.is_withheld:
            self._withheld |= withheld_hours({sent.hour: sent.delivery})
            return
        self._rows[store][sent.hour] = sent.rows
        backlog = len(self._backlog.get(store.name, ())) if store.name else None
        numbers = delivery_metadata(sent.hour, sent.delivery, backlog)
        uri = self._storage.uri(store.results, sent.hour)
        self._metadata[store][sent.hour] = hour_metadata(uri, sent.rows, sent.seconds, numbers)

    def end(self, store: EventStoreDefinition, ended: Ended) -> Iterator[Any]:
        key = self._keys[store]
        self._left[store] = ended.left
        self._context.log.info(delivery_sentence(store, self._deliveries[store], ended.left))
        shown = preview(self._storage, store.results, self._rows[store])
        if shown:
            self._metadata[store][shown[0]].update(shown[1])
        check = asset_checks.acknowledged(key, self._deliveries[store], deferred=ended.left)
        received_all = len(self._metadata[store]) == len(self._deliveries[store])
        if ended.complete and received_all:
            for hour, metadata in self._metadata[store].items():
                self._context.add_asset_metadata(metadata, key, partition_key=hour.key)
            yield dg.MaterializeResult(asset_key=key, check_results=[check])
            return
        for hour, metadata in self._metadata[store].items():
            self._context.log_event(
                dg.AssetMaterialization(key, partition=hour.key, metadata=metadata)
            )
        if ended.left or not received_all:
            yield check
        if ended.error is not None:
            self._errors[store] = ended.error

    def observe(self, stores: Iterable[EventStoreDefinition], hours: Iterable[Hour]) -> None:
        """Record one observation of each of these event stores, to which these hours were sent."""
        now = time.time_ns()
        for store in stores:
            received = self._deliveries[store]
            left = dict.fromkeys(self._left.get(store, ()), now)
            queued = {**left, **self._backlog.get(store.name or "", {})}
            waiting = {hour: mark for hour, mark in queued.items() if hour not in received}
            missing = [hour for hour in hours if hour not in received]
            key = event_store_key(self._settings, store)
            self._context.log_event(observation(key, received, missing, waiting))

    def raise_if_failed(self) -> None:
        """Fail the step if an event store failed, or if hours are withheld.

        A deferred event store is not a failure.

        Raises:
            Failure: at least one event store failed, or hours are withheld; the sentence of each.
                Its metadata name the hours if nothing else has failed (`WITHHELD_HOURS`).
        """
        from caliper_dagster.emitter import StoppedError

        sentences = []
        for store, error in self._errors.items():
            if not isinstance(error, CaliperDagsterError):
                raise error
            if not isinstance(error, StoppedError):
                sentences.append(store.sentence(error))
        metadata: dict[str, Any] = {}
        if withheld := withheld_sentence(self._withheld):
            if not sentences:
                metadata[WITHHELD_HOURS] = [hour.key for hour in self._withheld]
            sentences.append(withheld)
        if sentences:
            raise dg.Failure(" ".join(sentences), metadata, allow_retries=False)


def _run_config(context: dg.AssetExecutionContext, field: str) -> bool:
    return bool(context.op_execution_context.op_config[field])


def _send(resend_all: bool, tags: Mapping[str, str]) -> "Send":
    """Which events a run sends, by its run config and its tags."""
    from caliper_dagster.emitter import Send

    if resend_all or tags.get(RESEND_ALL_TAG) == "true":
        return Send.ALL
    requested = tags.get(SEND_TAG, Send.UNACKNOWLEDGED)
    if requested not in set(Send):
        raise ConfigurationError(f"The tag {SEND_TAG} must be one of {', '.join(Send)}.")
    return Send(requested)
