"""Assets: the four steps of the chain, an hour of log rows each.

With several event stores the last step is an asset for each of them, which one op makes; and the
events are an asset for each Caliper version that they want.

Here belongs which hours a run takes, which part it calls, where the result is kept and which
numbers are shown. How rows are read, expanded, translated and sent is the business of ``expander``,
``translator`` and ``emitter``, which know nothing of Dagster; a body that grows beyond a dozen
lines has taken over some of theirs. https://docs.dagster.io/guides/build/assets

Everything is built by a function, so that a project can hold several sites: the keys of each begin
with its name, and it has pools of its own, so that none waits for another's database.
The docstrings of the assets are what the web UI shows. (No ``annotations`` from the future here:
Dagster reads those of the assets.)
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from caliper_dagster.config.event_stores import (
    EventStoreDefinition,
    caliper_versions,
    event_stores,
    events_frame,
)
from caliper_dagster.config.settings import CaliperVersion, Settings
from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.core.frames import EMISSION_RESULTS, EXPANDED_LOG, MOODLE_LOG, Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore, split_by_hour
from caliper_dagster.core.revisions import expansion_stats, mapping_stats
from caliper_dagster.core.row_accounting import Account, DeliveryCounts
from caliper_dagster.dagster import asset_checks
from caliper_dagster.dagster.metadata import (
    Stopwatch,
    column_schema,
    metadata,
    numbers,
    numbers_sent,
    show,
)
from caliper_dagster.dagster.partitions import hourly_partitions, hours_of
from caliper_dagster.dagster.resources import (
    EventStoresResource,
    LedgerResource,
    MoodleResource,
    StorageResource,
    as_dagster_failure,
    bind_site_resources,
)
from caliper_dagster.dagster.tags import BACKLOG_TAG, FRESH_TAG, RESEND_ALL_TAG, SEND_TAG
from caliper_dagster.delivery.fan_out import DeliveryRequest, Ended, Sent, fan_out

if TYPE_CHECKING:
    from caliper_dagster.emitter import Send

    Materialized: TypeAlias = dg.MaterializeResult[None]
else:
    Materialized = dg.MaterializeResult  # Dagster knows it only without its parameter.

MOODLE_POOL = "moodle_db"
EVENT_STORE_POOL = "event_store"
EMISSION = EMISSION_RESULTS.name
"""How the names of the assets begin that are the results of event stores."""


_NEW = "expanded_now"
_CATCH_UP_SECONDS = 600


class EmissionConfig(dg.Config):
    """What a run may ask of ``emission_results``."""

    resend_all: bool = Field(
        default=False,
        description="Send every event again, also those that the event store has acknowledged. "
        "They keep their ids. Without it only what is not acknowledged is sent.",
    )


class ExpansionConfig(dg.Config):
    """What a run may ask of ``expanded_log``."""

    fresh: bool = Field(
        default=False,
        description="Expand every row anew, also those that were expanded before. Without it they "
        "keep the names, roles and grades that they had then.",
    )


@dataclass(frozen=True)
class _Chain:
    """What the assets share."""

    settings: Settings
    partitions: dg.HourlyPartitionsDefinition
    stores: tuple[EventStoreDefinition, ...]

    def key(self, frame: Frame) -> dg.AssetKey:
        return asset_key(self.settings, frame)

    def pool(self, name: str) -> str:
        return "_".join((name, *self.settings.prefix))

    def events(self, store: EventStoreDefinition) -> Frame:
        """Where the events of an event store's version are."""
        return events_frame(self.settings, store.caliper_version)

    def asset(
        self,
        frame: Frame,
        *,
        code_version: str,
        kinds: set[str],
        **options: Any,  # noqa: ANN401 - what dg.asset takes
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """``dg.asset`` with what is the same for all."""
        decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
            key=self.key(frame),
            partitions_def=self.partitions,
            backfill_policy=dg.BackfillPolicy.multi_run(self.settings.hours_per_run),
            **self._described(frame, code_version, kinds),
            **options,
        )
        return lambda function: decorator(bind_site_resources(function, self.settings))

    def results(self, description: str) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """``dg.multi_asset`` of the results of all event stores."""
        keys = {store: self.key(store.results) for store in self.stores}
        decorator = dg.multi_asset(
            name=emission_step(self.settings),
            specs=[
                dg.AssetSpec(
                    keys[store],
                    deps=[self.key(self.events(store))],
                    description=description,
                    skippable=True,
                    **self._described(store.results, "1", {"json", "parquet"}),
                )
                for store in self.stores
            ],
            check_specs=[asset_checks.every_event_acknowledged(key) for key in keys.values()],
            can_subset=True,
            partitions_def=self.partitions,
            backfill_policy=dg.BackfillPolicy.multi_run(self.settings.hours_per_run),
            # Slots are those of steps: one slow event store would keep the others waiting.
            pool=self.pool(EVENT_STORE_POOL) if len(self.stores) == 1 else None,
        )
        return lambda function: decorator(bind_site_resources(function, self.settings))

    def _described(self, frame: Frame, code_version: str, kinds: set[str]) -> dict[str, Any]:
        return {
            "group_name": self.settings.site_name("caliper"),
            "code_version": code_version,
            "kinds": kinds,
            "metadata": {"row": frame.row, "dagster/column_schema": column_schema(frame)},
        }


def asset_key(settings: Settings, frame: Frame) -> dg.AssetKey:
    """The key of the asset that a table of a site is."""
    return dg.AssetKey([*settings.prefix, frame.name])


def emission_step(settings: Settings) -> str:
    """The name of the step that sends."""
    return "__".join(asset_key(settings, EMISSION_RESULTS).path)


def emission(assets: Iterable[object]) -> dg.AssetsDefinition:
    """Of the assets of a site, the results of all its event stores."""
    return next(
        asset
        for asset in assets
        if isinstance(asset, dg.AssetsDefinition)
        and any(key.path[-1].startswith(EMISSION) for key in asset.keys)
    )


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The assets of one Moodle site.

    Args:
        settings: what they are built for. Secrets are not taken from here but from the resources.

    Raises:
        ConfigurationError: see ``event_stores``.
    """
    partitions = hourly_partitions(settings.start, in_progress=settings.send_immediately)
    chain = _Chain(settings, partitions, event_stores(settings))
    with warnings.catch_warnings():
        # That the backfill policy is beta is known, and need not be said at every start.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [
            _moodle_log(chain),
            _expanded_log(chain),
            *(_caliper_events(chain, version) for version in caliper_versions(settings)),
            _emission_results(chain),
        ]


def _moodle_log(chain: _Chain) -> dg.AssetsDefinition:
    @chain.asset(
        MOODLE_LOG,
        code_version="1",
        kinds={"sql", "parquet"},
        pool=chain.pool(MOODLE_POOL),
    )
    def moodle_log(
        context: dg.AssetExecutionContext, moodle: MoodleResource, storage: StorageResource
    ) -> Materialized:
        """The rows of Moodle's `logstore_standard_log`, as they are.

        **A row** is one log row, with all its columns. **Its hour** is the UTC hour of its
        `timecreated`. **A rerun** reads the hour again and replaces it: rows that came late are
        then in it, rows that Moodle has deleted meanwhile are not.

        The number of rows is also counted by the database itself, for the accounting check of
        `caliper_events`.
        """
        from caliper_dagster.expander import count_rows, read_log

        hours, clock = hours_of(context), Stopwatch()
        with as_dagster_failure(), moodle.open() as database:
            kept, counted = storage.open(), count_rows(database, hours)
            for hour, rows in read_log(database, hours):
                size = kept.write(MOODLE_LOG, hour, rows, {"counted": counted[hour]})
                numbers = {"rows counted by the database": counted[hour], "bytes": size}
                show(context, hour, rows, clock.lap(), numbers)
        return dg.MaterializeResult()

    return moodle_log


def _expanded_log(chain: _Chain) -> dg.AssetsDefinition:
    @chain.asset(
        EXPANDED_LOG,
        code_version="1",
        kinds={"sql", "parquet"},
        deps=[chain.key(MOODLE_LOG)],
        pool=chain.pool(MOODLE_POOL),
    )
    def expanded_log(
        context: dg.AssetExecutionContext,
        config: ExpansionConfig,
        moodle: MoodleResource,
        storage: StorageResource,
    ) -> Materialized:
        """Log rows with what the Moodle database knows about them: names, roles, grades, dates.

        **A row** is one row of `moodle_log`, self-contained: the steps after it never ask Moodle.
        **Its hour** is that of the log row. **A rerun** expands the rows that are new in
        `moodle_log`; those that were expanded before keep the names, roles and grades that they had
        then, and those that `moodle_log` no longer has are left out. To expand everything anew, as
        Moodle is now, use `backfill --fresh`, the run config `fresh`, or the tag
        `caliper_dagster/fresh: true` on a run: events whose content changes by it are sent again.
        """
        from caliper_dagster.expander import LogLifecycle, expand_new

        clock = Stopwatch()
        kept = storage.open()
        with as_dagster_failure(), moodle.open() as database:
            lifecycle = LogLifecycle(database, kept.id_range_tables("log_lifecycle"))
            for hours, log in kept.chunks(MOODLE_LOG, hours_of(context)):
                fresh = config.fresh or context.run.tags.get(FRESH_TAG) == "true"
                existing, footers = kept.existing(EXPANDED_LOG, [] if fresh else hours)
                expanded, new = expand_new(database, log, existing, lifecycle)
                per_row = clock.lap() / max(1, log.num_rows)
                del log, existing
                for hour, rows in split_by_hour(expanded.append_column(_NEW, new), hours):
                    count = pc.sum(rows[_NEW], min_count=0).as_py()
                    stats = expansion_stats(
                        footers.get(hour), kept=rows.num_rows - count, expanded=count
                    )
                    size = kept.write(EXPANDED_LOG, hour, rows, stats)
                    seconds = per_row * rows.num_rows + clock.lap()
                    numbers = {"rows expanded now": count}
                    show(context, hour, rows, seconds, numbers | {"bytes": size})
                del expanded, rows
        return dg.MaterializeResult()

    return expanded_log


def _caliper_events(chain: _Chain, version: CaliperVersion) -> dg.AssetsDefinition:
    frame = events_frame(chain.settings, version)
    settings, key = chain.settings, chain.key(frame)

    @chain.asset(
        frame,
        code_version=f"1-{version}",
        kinds={"json", "parquet"},
        # It also looks at the ids of moodle_log, which are there when expanded_log is.
        deps=[chain.key(EXPANDED_LOG)],
        check_specs=[asset_checks.every_row_explained(key), asset_checks.every_event_valid(key)],
    )
    def caliper_events(context: dg.AssetExecutionContext, storage: StorageResource) -> Materialized:
        """Caliper events, and for every log row without one the reason why.

        **A row** is what became of one log row: its event, the rule that filtered it, or what
        failed; and one row more for every event that is derived from it. **Its hour** is that of
        the log row. **A rerun** translates again what `expanded_log` holds, without asking Moodle;
        events keep their ids.
        """
        from caliper_dagster.config.translator import build_translator
        from caliper_dagster.translator.sampling import sample_problems

        accounts: dict[Hour, Account] = {}
        reports, clock = [], Stopwatch()
        with as_dagster_failure():
            kept, translate = storage.open(), build_translator(settings, version).translate
            for hours, expanded in kept.chunks(EXPANDED_LOG, hours_of(context)):
                events, per_row = translate(expanded), clock.lap() / max(1, expanded.num_rows)
                # Nothing of a chunk is kept while the next one is read.
                del expanded
                reports.append(sample_problems(events))
                for hour, rows in split_by_hour(events, hours):
                    accounts[hour] = account = _account(kept, hour, rows)
                    size = kept.write(
                        frame, hour, rows, account.as_footer_stats() | mapping_stats()
                    )
                    seconds = per_row * account.rows + clock.lap()
                    show(context, hour, rows, seconds, numbers(account) | {"bytes": size})
                del events, rows
        return dg.MaterializeResult(
            check_results=[asset_checks.explained(key, accounts), asset_checks.valid(key, reports)]
        )

    return caliper_events


_EMISSION = """What the event store has acknowledged.

**A row** is one envelope and the answer to it. **Its hour** is that of the events in it. An event
that the event store refuses for its content is a row by itself, `rejected`, with the store's words.
**A rerun** sends what is not acknowledged: new events, changed ones, rejected ones, and what a
failed run left. To send everything again use the job `resend_caliper_events`.

Of several event stores none waits for another: one that is slow or down is left behind, and gets
the same hours in runs of its own.
"""


def _emission_results(chain: _Chain) -> dg.AssetsDefinition:
    settings = chain.settings
    keys = {store: chain.key(store.results) for store in chain.stores}

    @chain.results(_EMISSION)
    def emission_results(
        context: dg.AssetExecutionContext,
        config: EmissionConfig,
        storage: StorageResource,
        event_stores: EventStoresResource,
        ledger: LedgerResource,
    ) -> Iterator[Any]:
        with as_dagster_failure():
            site, kept = settings.require("moodle_wwwroot"), storage.open()
            selected = context.selected_asset_keys
            stores = [store for store in event_stores.definitions() if keys[store] in selected]
            with ledger.open() as known:
                left = known.backlog(site).all()
            request = DeliveryRequest(
                events=chain.events,
                storage=kept,
                hours=tuple(hours_of(context)),
                site=site,
                open_ledger=ledger.open,
                send=_send(config, context.run.tags),
                resend_changed=settings.resend_changed,
                left=left,
            )
            limit = _CATCH_UP_SECONDS if BACKLOG_TAG in context.run.tags else None
            shown = _Shown(context, keys)
            with closing(fan_out(request, stores, limit=limit)) as told:
                for store, message in told:
                    if isinstance(message, Sent):
                        shown.add(store, message)
                    else:
                        yield from shown.end(store, message)
            shown.raise_if_incomplete()

    return emission_results


class _Shown:
    """What Dagster is told of each event store: its hours, its check, and in the end what failed.

    Hours that an event store has got are materialized, also when it has not got the others.
    """

    def __init__(
        self, context: dg.AssetExecutionContext, keys: Mapping[EventStoreDefinition, dg.AssetKey]
    ) -> None:
        self._context, self._keys = context, keys
        self._done: dict[EventStoreDefinition, dict[Hour, DeliveryCounts]] = {
            key: {} for key in keys
        }
        self._metadata: dict[EventStoreDefinition, dict[Hour, dict[str, Any]]]
        self._metadata = {key: {} for key in keys}
        self._failed: dict[EventStoreDefinition, Exception] = {}

    def add(self, store: EventStoreDefinition, sent: Sent) -> None:
        self._done[store][sent.hour] = sent.delivery
        numbers = numbers_sent(sent.delivery)
        self._metadata[store][sent.hour] = metadata(sent.rows, sent.seconds, numbers)

    def end(self, store: EventStoreDefinition, ended: Ended) -> Iterator[Any]:
        key, done = self._keys[store], self._done[store]
        check = asset_checks.acknowledged(key, done, left=ended.left)
        if ended.complete:
            for hour, metadata in self._metadata[store].items():
                self._context.add_asset_metadata(metadata, key, partition_key=hour.key)
            yield dg.MaterializeResult(asset_key=key, check_results=[check])
            return
        for hour, metadata in self._metadata[store].items():
            done_one = dg.AssetMaterialization(key, partition=hour.key, metadata=metadata)
            self._context.log_event(done_one)
        if ended.left:
            yield check
        if ended.error is not None:
            self._failed[store] = ended.error

    def raise_if_incomplete(self) -> None:
        """Fail for what went wrong with the event stores, if anything did.

        Raises:
            Failure: it did; that one was left behind is no failure.
        """
        from caliper_dagster.emitter import StoppedError

        told = []
        for store, error in self._failed.items():
            if not isinstance(error, CaliperDagsterError):
                raise error
            if not isinstance(error, StoppedError):
                told.append(store.sentence(error))
        if told:
            raise dg.Failure(description=" ".join(told), allow_retries=False)


def _send(config: EmissionConfig, tags: Mapping[str, str]) -> "Send":
    from caliper_dagster.emitter import Send

    if config.resend_all or tags.get(RESEND_ALL_TAG) == "true":
        return Send.ALL
    requested = tags.get(SEND_TAG, Send.UNACKNOWLEDGED)
    if requested not in set(Send):
        raise ConfigurationError(f"The tag {SEND_TAG} must be one of {', '.join(Send)}.")
    return Send(requested)


def _account(kept: PartitionStore, hour: Hour, outcomes: pa.Table) -> Account:
    counted = kept.footer_stats(MOODLE_LOG, hour)["counted"]
    ids = kept.read(MOODLE_LOG, [hour], ["id"])["id"]
    return Account.of(int(str(counted)), ids, outcomes)
