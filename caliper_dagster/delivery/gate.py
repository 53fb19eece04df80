"""The gate of each hour: which of its events may be sent to an event store.

Everything that is sent passes here, whoever asks for it: a run of the schedule or of the web UI,
`resend`, `follow`, a sensor. An hour whose verdict withholds it (``core.hour_verdict``) is not
sent, and the other hours of the run are. Events that are not valid are withheld alone. What the
filter of the event store keeps back is not sent either, and is no fault.

The verdict is in the footer of the hour's file. An hour of a release that wrote none is judged
here, by the function that judges new hours when they are translated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.config.event_stores import EventFilter
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hour_verdict import (
    HourVerdict,
    Reason,
    hour_reasons,
    is_invalid,
    mark_invalid,
    meaning,
    was_searched,
)
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_file import CHUNK_ROWS, StoredHour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import Account, DeliveryCounts, outstanding, summed
from caliper_dagster.core.wording import plural

_HOURS_NAMED = 20
_COLUMNS = (
    "event_id", "json", "caliper_version", "outcome", "reason", "event_name", "event_type",
)  # fmt: skip
"""Columns of ``caliper_events`` that are read: those that are sent, and those that decide."""

_JUDGED_COLUMNS = (*_COLUMNS, "log_id", "recipe", "action", "profile")
_NOT_BY_CHOICE = (
    Reason.REPEATED_ID, Reason.PERSONAL_DATA, Reason.ROW_FILTER, Reason.OTHER_PRIVACY,
    Reason.ALLOWED_FIELDS,
)  # fmt: skip
"""Reasons of hours that no setting sends as they are."""

_CURE_OF_PERSONAL_DATA = (
    "The check no_personal_data of the events names the fields: correct the recipe or the text in "
    "Moodle, or name a field that is in order in CALIPER_ALLOWED_FIELDS. "
)
_ID_COLUMNS = ("event_id", "outcome", "reason", "event_name", "event_type")


class OutgoingHour:
    """A stored hour on its way to an event store; to be closed.

    Args:
        stored: the hour.
        filter_: of the event store.
        chunk_rows: rows that are in memory at the same time; an hour of more is read in parts.
        withhold: whether anything is withheld (``CALIPER_WITHHOLD_INVALID``).
        as_settings_say: whether the hour was made under the privacy settings of now, and with the
            key that the ledger records; otherwise it is withheld in any case.
        allowed_fields: fields that need not have been searched for values of persons; an hour in
            which others were not is withheld in any case.

    Attributes:
        verdict: on the hour. Of an hour that is judged here it does not count the events that are
            withheld alone; `withheld` does.
        filtered_rows: log rows of which no event was made, by rule.
        filtered: events that the filter keeps back, by rule; known when the events have been read.
        withheld: events that are withheld alone, by reason; known when the events have been read.

    Raises:
        StorageError: the hour is damaged.
    """

    def __init__(
        self,
        stored: StoredHour,
        filter_: EventFilter,
        chunk_rows: int,
        *,
        withhold: bool,
        as_settings_say: bool = True,
        allowed_fields: Collection[str] = (),
    ) -> None:
        self._stored, self._filter, self._chunk_rows = stored, filter_, chunk_rows
        self._withhold = withhold
        stats = stored.stats()
        verdict = HourVerdict.from_footer_stats(stats)
        self._is_judged = verdict is not None or not withhold
        if verdict is None:
            verdict = _verdict_on_ids(stored, stats) if withhold else HourVerdict()
        self.verdict = _by_rules_of_now(verdict, filter_, allowed_fields, stats)
        if not as_settings_say:
            self.verdict = HourVerdict.of({Reason.OTHER_PRIVACY: max(1, stored.num_rows)})
        self._ids: list[pa.ChunkedArray] = []
        self._is_read = False
        self.filtered_rows = Account.from_footer_stats(stats).filtered
        self.filtered: Mapping[str, int] = {}
        self.withheld: Mapping[str, int] = {}

    @property
    def hour(self) -> Hour:
        """The hour."""
        return self._stored.hour

    @property
    def is_withheld(self) -> bool:
        """Whether nothing of the hour may be sent."""
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        """Why nothing of the hour may be sent; None when it may."""
        return self.verdict.hour_reason if self._withhold else self.verdict.always

    def source(self) -> pa.Table | Callable[[], Iterator[pa.Table]]:
        """The events that may be sent, or for an hour of many rows what reads them."""
        if self._stored.num_rows > self._chunk_rows:
            return self._parts
        table = self._pass(self._stored.read(self._columns))
        self.close()
        return table

    def hold(self) -> Self:
        """Withhold the hour: only the ids of its events are kept, and its file is closed."""
        events, self.filtered = self._filter.apply(self._stored.read(_ID_COLUMNS))
        self._ids = [events["event_id"]]
        self.close()
        return self

    def counts_of_withheld(self, results: pa.Table) -> DeliveryCounts:
        """The counts of an hour on hold, of which nothing is sent.

        Args:
            results: what the event store has answered for the hour so far.
        """
        ids = self.ids().drop_null()
        unanswered = outstanding(ids, results)
        is_rejected = pc.equal(results["outcome"].cast(pa.string()), "rejected")
        refused = pc.list_flatten(results.filter(is_rejected)["event_ids"])
        rejected = int(pc.sum(pc.is_in(ids, refused), min_count=0).as_py())
        return DeliveryCounts(
            events=len(ids) + sum(self.filtered.values()),
            already_acknowledged=len(ids) - unanswered - rejected,
            rejected=rejected,
            filtered=self.filtered,
            withheld={str(self.reason): unanswered},
            filtered_rows=self.filtered_rows,
        )

    def ids(self) -> pa.ChunkedArray:
        """The ids of the events that may be sent; null where a row has none."""
        return pa.chunked_array([chunk for ids in self._ids for chunk in ids.chunks], pa.string())

    def close(self) -> None:
        """Close the hour's file."""
        self._stored.close()

    @property
    def _columns(self) -> tuple[str, ...]:
        return _COLUMNS if self._is_judged else _JUDGED_COLUMNS

    def _parts(self) -> Iterator[pa.Table]:
        for table in self._stored.parts(self._chunk_rows, self._columns):
            yield self._passing(table)[0] if self._is_read else self._pass(table)
        self._is_read = True

    def _pass(self, table: pa.Table) -> pa.Table:
        events, filtered, invalid = self._passing(table)
        self._ids.append(events["event_id"])
        self.filtered = summed(self.filtered, filtered)
        if invalid:
            self.withheld = summed(self.withheld, {Reason.INVALID.value: invalid})
        return events

    def _passing(self, table: pa.Table) -> tuple[pa.Table, Mapping[str, int], int]:
        """The events that may be sent, those that the filter keeps back, and those not valid."""
        if not self._is_judged:
            table = judged(table)
        events, filtered = self._filter.apply(table)
        if not self._withhold or (self._is_judged and not self.verdict.invalid):
            return events, filtered, 0
        is_valid = pc.invert(is_invalid(events))
        valid = events.filter(is_valid)
        return valid, filtered, events.num_rows - valid.num_rows


def withheld_hours(deliveries: Mapping[Hour, DeliveryCounts]) -> dict[Hour, str]:
    """Among some hours, those that were withheld, and why, in words."""
    return {
        hour: ", ".join(map(meaning, hour_reasons(counts.withheld)))
        for hour, counts in deliveries.items()
        if counts.is_withheld
    }


def withheld_sentence(hours: Mapping[Hour, str]) -> str | None:
    """What a run says of the hours that were withheld; None when none was.

    Args:
        hours: see `withheld_hours`.
    """
    if not hours:
        return None
    named = ", ".join(f"{hour} ({hours[hour]})" for hour in sorted(hours)[:_HOURS_NAMED])
    more = ", …" if len(hours) > _HOURS_NAMED else ""
    # The emitter refuses an hour in which an id occurs again, whatever the setting says.
    is_sendable = not any(
        meaning(reason) in why for reason in _NOT_BY_CHOICE for why in hours.values()
    )
    choice = ", or set CALIPER_WITHHOLD_INVALID=false to send them as they are"
    is_personal = any(meaning(Reason.PERSONAL_DATA) in why for why in hours.values())
    return (
        f"Not sent: {plural(len(hours), 'withheld hour')}, {named}{more}. "
        f"{_CURE_OF_PERSONAL_DATA if is_personal else ''}Materialize these hours "
        f"again{choice if is_sendable else ''}."
    )


def judged(events: pa.Table) -> pa.Table:
    """The rows of a stored hour, with the events marked that are not valid."""
    from caliper_dagster.translator.sampling import sample_problems

    return mark_invalid(events, sample_problems(events).invalid_rows)


def withheld_events(
    store: PartitionStore,
    frame: Frame,
    hour: Hour,
    filter_: EventFilter,
    allowed_fields: Collection[str] = (),
) -> DeliveryCounts:
    """What would be withheld of a stored hour if all its events were sent now.

    Nothing is sent. An hour of an earlier release is judged, which reads all its events.

    Args:
        store: holds the hour.
        frame: the table of the events.
        hour: the hour.
        filter_: of an event store that is sent these events.
        allowed_fields: see `OutgoingHour`.

    Raises:
        StorageError: the hour has not been written, or is damaged.
    """
    with closing(store.open(frame, hour)) as stored:
        stats = stored.stats()
        verdict = HourVerdict.from_footer_stats(stats)
        if verdict is None:
            verdict = _judged_verdict(stored, stats)
        verdict = _by_rules_of_now(verdict, filter_, allowed_fields, stats)
    account = Account.from_footer_stats(stats)
    events = account.events + account.derived
    if verdict.hour_reason is not None:
        return DeliveryCounts(events=events, withheld={verdict.hour_reason: events})
    withheld = {Reason.INVALID.value: verdict.invalid} if verdict.invalid else {}
    return DeliveryCounts(events=events, withheld=withheld)


def _judged_verdict(stored: StoredHour, stats: Mapping[str, object]) -> HourVerdict:
    """The verdict on an hour that was written without one."""
    on_ids = _verdict_on_ids(stored, stats)
    if on_ids.hour_reason is not None:
        return on_ids
    invalid = sum(
        int(pc.sum(is_invalid(judged(table)), min_count=0).as_py())
        for table in stored.parts(CHUNK_ROWS, _JUDGED_COLUMNS)
    )
    return HourVerdict.of({Reason.INVALID: invalid})


def _by_rules_of_now(
    verdict: HourVerdict,
    filter_: EventFilter,
    allowed_fields: Collection[str],
    stats: Mapping[str, object],
) -> HourVerdict:
    """The verdict, with the reasons first for which the rules of now have not made it."""
    reasons = []
    if not filter_.rows.made(stats):
        reasons.append(Reason.ROW_FILTER)
    if not was_searched(stats, allowed_fields):
        reasons.append(Reason.ALLOWED_FIELDS)
    if not reasons:
        return verdict
    rows = max(1, Account.from_footer_stats(stats).rows)
    return HourVerdict({**{reason.value: rows for reason in reasons}, **verdict.counts})


def _verdict_on_ids(stored: StoredHour, stats: Mapping[str, object]) -> HourVerdict:
    """The part of the verdict that no event has to be read for."""
    ids = stored.read(["event_id"])["event_id"].drop_null()
    repeated = len(ids) - pc.count_distinct(ids).as_py()
    account = Account.from_footer_stats(stats)
    return HourVerdict.of({Reason.UNEXPLAINED: account.unexplained, Reason.REPEATED_ID: repeated})
