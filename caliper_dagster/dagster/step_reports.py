"""What a step reports to Dagster: lines of the run's log, and metadata of its hours.

A step writes a line when it begins and when it has ended, whatever the number of its hours:
Dagster stores every line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING, Any

import dagster as dg

from caliper_dagster.config.event_stores import EventStoreDefinition
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import Account, DeliveryCounts
from caliper_dagster.core.wording import plural
from caliper_dagster.dagster.metadata import hour_metadata, preview
from caliper_dagster.dagster.partitions import hours_of

if TYPE_CHECKING:
    from caliper_dagster.delivery.materialize import WrittenHour


def outcome_sentence(account: Account) -> str:
    """What the translation made of log rows, for the log of a run."""
    return (
        f"Translated {plural(account.rows, 'log row')} to {plural(account.events, 'event')} and "
        f"{plural(account.derived, 'derived event')}; {sum(account.filtered.values()):,} rows were "
        f"filtered and {sum(account.failed.values()):,} failed."
    )


class HourReport:
    """Reports what a step does with its hours to Dagster: lines of the log, and metadata.

    Args:
        context: of the step, which materializes one asset.
        store: where the hours are written.
        frame: their table.
    """

    def __init__(
        self, context: dg.AssetExecutionContext, store: PartitionStore, frame: Frame
    ) -> None:
        self._context, self._store, self._frame = context, store, frame
        self._hours: dict[Hour, int] = {}

    def begin(self, doing: str) -> None:
        """Say what the step is about to do."""
        hours = hours_of(self._context)
        self._context.log.info(f"{doing} of {plural(len(hours), 'hour')}, {hours}.")

    def add(self, written: WrittenHour, numbers: Mapping[str, Any]) -> None:
        """Attach the numbers of an hour to its materialization."""
        self._hours[written.hour] = written.rows
        uri = self._store.uri(self._frame, written.hour)
        shown = hour_metadata(uri, written.rows, written.seconds, numbers)
        self._context.add_asset_metadata(shown, partition_key=written.hour.key)

    def end(self, sentence: str) -> None:
        """Say what the step has done, and attach the preview."""
        self._context.log.info(sentence)
        shown = preview(self._store, self._frame, self._hours)
        if shown:
            self._context.add_asset_metadata(shown[1], partition_key=shown[0].key)


def delivery_sentence(
    store: EventStoreDefinition, deliveries: Mapping[Hour, DeliveryCounts], left: Sized
) -> str:
    """What an event store has received in a run, for the log of the run."""
    total = sum(deliveries.values(), DeliveryCounts())
    later = f"; {plural(len(left), 'hour')} will be sent in runs of their own" if left else ""
    withheld = sum(delivery.is_withheld for delivery in deliveries.values())
    if withheld:
        later += f"; {plural(withheld, 'hour')} withheld"
    return (
        f"The {store.label} has received {plural(len(deliveries) - withheld, 'hour')}: "
        f"{total.sent:,} of {plural(total.events, 'event')} acknowledged now, "
        f"{total.already_acknowledged:,} before, {total.rejected:,} rejected{later}."
    )
