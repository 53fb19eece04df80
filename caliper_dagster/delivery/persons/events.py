"""Stored events without persons: those of their rows are made anew, all others stay as they are.

Settings and recipes may have changed since an hour was translated. Made anew as a whole, the events
of others would change with them, and be sent again. So the events of the persons' rows are cut out,
and their anonymous events put in their places.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hour_verdict import HourVerdict, Reason, is_invalid, mark_invalid
from caliper_dagster.core.persons import Persons
from caliper_dagster.core.row_accounting import Account, OutcomeTally
from caliper_dagster.delivery.persons.stored import event_rows, mentioned_in_events
from caliper_dagster.translator import Translator
from caliper_dagster.translator.sampling import sample_problems

REASON = "erased"
"""Why a row has no event: its events told of an erased person, and cannot be made without."""

_KEPT = frozenset({"log_id", "timecreated", "event_name"})
"""Columns of a row whose event is gone."""


def renewed(translator: Translator | None, expanded: pa.Table) -> pa.Table:
    """The events of some rows, made anew.

    Args:
        translator: None where the settings no longer make such events.
        expanded: ``EXPANDED_LOG`` rows of one hour, without the persons.
    """
    if translator is None or not expanded.num_rows:
        return CALIPER_EVENTS.empty()
    events = translator.translate(expanded)
    return mark_invalid(events, sample_problems(events).invalid_rows)


@dataclass
class EventSplice:
    """One hour of events, from which persons are taken in parts of the hour.

    Attributes:
        persons: who goes.
        log_ids: ids of the log rows that told of them.
        renewed: the events of these rows, made anew.
        removed: rows whose events could not be made anew without the persons.
    """

    persons: Persons
    log_ids: Collection[int]
    renewed: pa.Table
    removed: int = 0
    _placed: set[int] = field(default_factory=set)
    _tally: OutcomeTally = field(default_factory=OutcomeTally)
    _primary: list[pa.Array] = field(default_factory=list)
    _invalid: int = 0

    def without_persons(self, events: pa.Table) -> pa.Table:
        """The next rows of the hour without the persons, in their order."""
        # The derived events of a row may stand in another part than its own event.
        placed = pa.array(sorted(self._placed), pa.int64())
        events = events.filter(pc.invert(pc.is_in(events["log_id"], value_set=placed)))
        # A row that a rule has filtered has no event, and is not to get one.
        rows = pc.and_(
            event_rows(events, self.log_ids, self.persons),
            pc.not_equal(events["outcome"].cast(pa.string()), "filtered"),
        )
        if pc.any(rows).as_py():
            events = self._replaced(events, pc.unique(events["log_id"].filter(rows)))
        self._count(events)
        return events

    def _replaced(self, events: pa.Table, log_ids: pa.Array) -> pa.Table:
        self._placed.update(log_ids.to_pylist())
        rows = pc.is_in(events["log_id"], value_set=log_ids)
        made = self._made(events, log_ids)
        is_lost = pc.invert(pc.is_in(events["log_id"], value_set=pc.unique(made["log_id"])))
        lost = events.filter(pc.and_(pc.and_(rows, is_lost), _is_primary(events)))
        self.removed += lost.num_rows
        parts = [events.filter(pc.invert(rows)), made, _filtered(lost)]
        joined = pa.concat_tables([CALIPER_EVENTS.conform(part) for part in parts])
        order = pc.index_in(joined["log_id"], value_set=pc.unique(events["log_id"]))
        positions = np.argsort(order.to_numpy(), kind="stable")
        return joined.unify_dictionaries().take(pa.array(positions))

    def _made(self, events: pa.Table, log_ids: pa.Array) -> pa.Table:
        """What stands for the events of some rows; nothing for rows that still tell of them."""
        made = self.renewed.filter(pc.is_in(self.renewed["log_id"], value_set=log_ids))
        if _versions(events) - _versions(made):  # the settings have changed since
            made = made.slice(0, 0)
        again = pc.unique(made.filter(mentioned_in_events(made, self.persons))["log_id"])
        return made.filter(pc.invert(pc.is_in(made["log_id"], value_set=again)))

    def _count(self, events: pa.Table) -> None:
        self._tally.add(events)
        self._invalid += int(pc.sum(is_invalid(events), min_count=0).as_py())
        self._primary.extend(events["log_id"].filter(_is_primary(events)).chunks)

    def stats(
        self, before: Mapping[str, object], log_ids: pa.ChunkedArray | None
    ) -> dict[str, Any]:
        """The footer stats of the hour, once all its parts have been passed.

        Args:
            before: those that it had.
            log_ids: ids of the stored log rows of the hour; None if these are not stored.
        """
        if log_ids is None:
            log_ids = pa.chunked_array(self._primary, pa.int64())
        account = self._tally.account(Account.from_footer_stats(before).counted, log_ids)
        stats = {**before, **account.as_footer_stats()}
        verdict = HourVerdict.from_footer_stats(before)
        if verdict is not None:
            counts = {**verdict.counts, Reason.INVALID.value: self._invalid}
            kept = {reason: number for reason, number in counts.items() if number}
            stats |= HourVerdict(kept).as_footer_stats()
        return stats


def _is_primary(events: pa.Table) -> pa.ChunkedArray:
    return pc.not_equal(events["outcome"].cast(pa.string()), "derived")


def _versions(events: pa.Table) -> set[str]:
    return set(pc.unique(events["caliper_version"].cast(pa.string())).drop_null().to_pylist())


def _filtered(events: pa.Table) -> pa.Table:
    """Rows without an event in place of those with one."""
    columns = {
        field.name: events[field.name]
        if field.name in _KEPT
        else pa.nulls(events.num_rows, field.type)
        for field in CALIPER_EVENTS.schema
    }
    for name, text in (("outcome", "filtered"), ("reason", REASON)):
        values = pa.array([text] * events.num_rows, pa.string())
        columns[name] = values.dictionary_encode().cast(CALIPER_EVENTS.schema.field(name).type)
    return pa.table(columns, CALIPER_EVENTS.schema)
