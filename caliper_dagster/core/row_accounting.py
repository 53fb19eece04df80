"""Accounting: what became of every log row of an hour, in numbers.

This module computes ``rows = events + filtered + failed``, as plain functions on tables. The asset
checks verify it and the assets show it; nothing here knows Dagster. An account holds numbers only,
so nothing in it can name a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.frames import WITH_EVENT
from caliper_dagster.core.hour_verdict import hour_reasons
from caliper_dagster.core.hours import SECONDS, Hour

_OWN = ("event", "filtered", "failed")
"""Every log row has exactly one of these outcomes."""
_FINAL = pa.array(["acknowledged", "rejected"])


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the log rows of an hour, or of several.

    Attributes:
        counted: rows as the database counts them, independently of reading them.
        rows: rows that were read.
        events: rows that became an event.
        derived: events that were made in addition.
        by_type: events and derived events by Caliper type.
        by_name: rows by Moodle event.
        by_resolution: events by how their recipe was found: exact, family, fallback, user.
        filtered: rows without an event, by the rule that filtered them.
        failed: rows without an event, by what failed.
        unexplained: rows that were counted and not read, or read and not found with exactly one
            outcome, and outcomes of rows that were not read. Anything but 0 is an error.
        by_profile: events and derived events by Caliper profile; empty in hours that an earlier
            release wrote.
        waiting: rows of the log that are neither counted nor read yet, because they are newer than
            a replica that lags.
    """

    counted: int = 0
    rows: int = 0
    events: int = 0
    derived: int = 0
    by_type: Mapping[str, int] = field(default_factory=dict)
    by_name: Mapping[str, int] = field(default_factory=dict)
    by_resolution: Mapping[str, int] = field(default_factory=dict)
    filtered: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    unexplained: int = 0
    by_profile: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0

    @staticmethod
    def of(counted: int, log_ids: pa.ChunkedArray, outcomes: pa.Table) -> Account:
        """The account of one hour.

        Args:
            counted: rows as the database counted them.
            log_ids: ids of the rows that were read.
            outcomes: ``CALIPER_EVENTS`` rows of the hour.
        """
        tally = OutcomeTally()
        tally.add(outcomes)
        return tally.account(counted, log_ids)

    def __add__(self, other: Account) -> Account:
        return Account(
            counted=self.counted + other.counted,
            rows=self.rows + other.rows,
            events=self.events + other.events,
            derived=self.derived + other.derived,
            by_type=summed(self.by_type, other.by_type),
            by_profile=summed(self.by_profile, other.by_profile),
            by_name=summed(self.by_name, other.by_name),
            by_resolution=summed(self.by_resolution, other.by_resolution),
            filtered=summed(self.filtered, other.filtered),
            failed=summed(self.failed, other.failed),
            unexplained=self.unexplained + other.unexplained,
            waiting=self.waiting + other.waiting,
        )

    @classmethod
    def from_footer_stats(cls, stats: Mapping[str, Any]) -> Self:
        """The account in the footer of an hour (see ``as_footer_stats``)."""
        return cls(**{name: stats[name] for name in cls.__dataclass_fields__ if name in stats})

    def as_footer_stats(self) -> dict[str, Any]:
        """The account for the footer of an hour: numbers, and numbers by name."""
        stats = _fields(self)
        if not self.waiting:
            del stats["waiting"]
        return stats


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The outcomes of some rows of one hour.

    Attributes:
        counts: an account without the rows that were counted and read.
        log_ids: ids of the log rows, each as often as it has an outcome of its own.
    """

    counts: Account
    log_ids: npt.NDArray[np.int64]


def outcomes_by_hour(events: pa.Table, hours: Sequence[Hour]) -> dict[Hour, Outcomes]:
    """The outcomes of each of the hours, counted for all of them together.

    Args:
        events: ``CALIPER_EVENTS`` rows; those of other hours are not counted.
        hours: in order.
    """
    numbers = events["timecreated"].to_numpy() // SECONDS
    known = np.array([hour.number for hour in hours], np.int64)
    places = np.searchsorted(known, numbers)
    is_known = known[np.minimum(places, len(known) - 1)] == numbers
    counted = _counted(events, np.where(is_known, places, -1), len(hours))
    return dict(zip(hours, counted, strict=True))


class OutcomeTally:
    """The outcomes of an hour, counted in any number of parts."""

    def __init__(self) -> None:
        self._parts: list[Outcomes] = []

    def add(self, events: pa.Table) -> None:
        """Count some ``CALIPER_EVENTS`` rows of the hour."""
        self.add_counted(_counted(events, np.zeros(events.num_rows, np.int64), 1)[0])

    def add_counted(self, part: Outcomes) -> None:
        """Add what was counted together with other hours."""
        self._parts.append(part)

    def account(self, counted: int, log_ids: pa.ChunkedArray) -> Account:
        """The account of the hour; for the arguments see `Account.of`."""
        first, *others = (part.counts for part in self._parts)
        outcome_ids = np.concatenate([part.log_ids for part in self._parts])
        return replace(
            sum(others, first),
            counted=counted,
            rows=len(log_ids),
            unexplained=abs(counted - len(log_ids)) + _unmatched(log_ids.to_numpy(), outcome_ids),
        )


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """What the emitter did for an hour, or for several.

    Attributes:
        events: events to be sent, derived ones included.
        already_acknowledged: of these, acknowledged by an earlier run.
        changed: of the latter, those whose present content the event store does not have: it was
            sent the content that another mapping revision made (``core.revisions``).
        sent: of these, acknowledged by this run.
        outstanding: of these, neither acknowledged nor rejected. Anything but 0 means that the run
            has failed, or that somebody asked it to send less.
        envelopes: envelopes of this run.
        bytes: their size.
        rejected: of the events, refused by the event store for their content.
        filtered: of the events, those that the event store's filter keeps back, by the rule that
            does.
        withheld: of the events, those that no event store is sent, by reason (`Reason`). A reason
            that withholds the hour is here even if all its events were answered before.
        filtered_rows: log rows of which no event was made for this event store, by the rule that
            filtered them.
    """

    events: int = 0
    already_acknowledged: int = 0
    changed: int = 0
    sent: int = 0
    outstanding: int = 0
    envelopes: int = 0
    bytes: int = 0
    rejected: int = 0
    filtered: Mapping[str, int] = field(default_factory=dict)
    withheld: Mapping[str, int] = field(default_factory=dict)
    filtered_rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def acknowledged(self) -> int:
        """Events that the event store has acknowledged, now or earlier."""
        not_sent = sum(self.filtered.values()) + sum(self.withheld.values())
        return self.events - self.outstanding - self.rejected - not_sent

    @property
    def is_withheld(self) -> bool:
        """Whether the whole hour is withheld; of one hour, not of a sum."""
        return any(hour_reasons(self.withheld))

    def __add__(self, other: DeliveryCounts) -> DeliveryCounts:
        own, others = _fields(self), _fields(other)
        del own["filtered"], own["withheld"], own["filtered_rows"]
        return DeliveryCounts(
            **{name: own[name] + others[name] for name in own},
            filtered_rows=summed(self.filtered_rows, other.filtered_rows),
            filtered=summed(self.filtered, other.filtered),
            withheld=summed(self.withheld, other.withheld),
        )

    @classmethod
    def from_footer_stats(cls, stats: Mapping[str, Any]) -> Self:
        """The counts in the footer of an hour (see ``as_footer_stats``)."""
        return cls(**{name: stats[name] for name in cls.__dataclass_fields__ if name in stats})

    def as_footer_stats(self) -> dict[str, Any]:
        """The counts for the footer of an hour: numbers, and numbers by name."""
        stats = _fields(self)
        if not self.filtered_rows:
            del stats["filtered_rows"]
        return stats


def _fields(counts: Account | DeliveryCounts) -> dict[str, Any]:
    """The fields by name; `dataclasses.asdict` would copy each number by name."""
    return {name: getattr(counts, name) for name in counts.__dataclass_fields__}


def summed(some: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    """The numbers by name, added; the largest first, equal ones by name."""
    return _ordered(Counter(some) + Counter(others))


def outstanding(event_ids: pa.ChunkedArray, results: pa.Table) -> int:
    """How many of the events are neither in an acknowledged envelope nor rejected.

    Args:
        event_ids: ids of the hour's events; null where a row has none.
        results: ``EMISSION_RESULTS`` of the hour.
    """
    is_final = pc.is_in(results["outcome"].cast(pa.string()), _FINAL)
    answered = pc.list_flatten(results["event_ids"].filter(is_final))
    return int(pc.sum(pc.invert(pc.is_in(event_ids.drop_null(), answered))).as_py() or 0)


def _unmatched(log_ids: npt.NDArray[np.int64], outcome_ids: npt.NDArray[np.int64]) -> int:
    """Ids that are not on both sides exactly once."""
    ids = np.concatenate([log_ids, outcome_ids])
    distinct, codes = np.unique(ids, return_inverse=True)
    rows = np.bincount(codes[: len(log_ids)], minlength=len(distinct))
    outcomes = np.bincount(codes[len(log_ids) :], minlength=len(distinct))
    return int(((rows != 1) | (outcomes != 1)).sum())


def _counted(events: pa.Table, places: npt.NDArray[np.int64], parts: int) -> list[Outcomes]:
    """The outcomes of each of some parts of a table.

    Args:
        events: ``CALIPER_EVENTS`` rows.
        places: the number of the part of each row; below 0 for none.
        parts: how many there are.
    """
    codes, names = _codes(events["outcome"])

    def has(*outcomes: str) -> npt.NDArray[np.bool_]:
        return np.isin(codes, [code for code, name in enumerate(names) if name in outcomes])

    def counts(column: str, *outcomes: str) -> list[dict[str, int]]:
        return _counts(events[column], np.where(has(*outcomes), places, -1), parts)

    numbers = _counts(events["outcome"], places, parts)
    by_type, by_profile = counts("event_type", *WITH_EVENT), counts("profile", *WITH_EVENT)
    by_name, by_resolution = counts("event_name", *_OWN), counts("resolution", *_OWN)
    filtered, failed = counts("reason", "filtered"), counts("reason", "failed")
    own = np.flatnonzero(~has("derived") & (places >= 0))
    own = own[np.argsort(places[own], kind="stable")]
    bounds = np.searchsorted(places[own], np.arange(1, parts))
    log_ids = np.split(events["log_id"].to_numpy()[own], bounds)
    return [
        Outcomes(
            Account(
                events=numbers[part].get("event", 0),
                derived=numbers[part].get("derived", 0),
                by_type=by_type[part],
                by_profile=by_profile[part],
                by_name=by_name[part],
                by_resolution=by_resolution[part],
                filtered=filtered[part],
                failed=failed[part],
            ),
            log_ids[part],
        )
        for part in range(parts)
    ]


def _counts(
    column: pa.ChunkedArray, places: npt.NDArray[np.int64], parts: int
) -> list[dict[str, int]]:
    """How often each part has each value; rows at a place below 0, and nulls, do not count."""
    codes, names = _codes(column)
    counted = (places >= 0) & (codes >= 0)
    keys = places[counted] * max(1, len(names)) + codes[counted]
    found: list[Counter[str]] = [Counter() for _ in range(parts)]
    distinct, numbers = np.unique(keys, return_counts=True)
    for key, number in zip(distinct.tolist(), numbers.tolist(), strict=True):
        part, code = divmod(key, len(names))
        found[part][names[code]] += number
    return [_ordered(counts) for counts in found]


def _codes(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Positions of the values of a column in a list; -1 for null."""
    array = column.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    codes = array.indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes, array.dictionary.to_pylist()


def _ordered(numbers: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(numbers.items(), key=lambda entry: (-entry[1], entry[0])))
