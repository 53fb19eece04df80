"""Accounting: what became of every log row of an hour, in numbers.

This module computes ``rows = events + filtered + failed``, as plain functions on tables. The asset
checks verify it and the assets show it; nothing here knows Dagster. An account holds numbers only,
so nothing in it can name a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.frames import WITH_EVENT
from caliper_dagster.core.hour_verdict import hour_reasons

_OWN = ("event", "filtered", "failed")
"""Every log row has exactly one of these outcomes."""
_COUNTED = (
    "outcome", "log_id", "event_name", "reason", "resolution", "event_type", "profile",
)  # fmt: skip
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
        stats = asdict(self)
        if not self.waiting:
            del stats["waiting"]
        return stats


class OutcomeTally:
    """The outcomes of an hour, counted in any number of parts."""

    def __init__(self) -> None:
        self._counts = Account()
        self._primary_ids: list[npt.NDArray[np.int64]] = []

    def add(self, outcomes: pa.Table) -> None:
        """Count some ``CALIPER_EVENTS`` rows of the hour."""
        outcomes = outcomes.select(_COUNTED)
        outcomes = outcomes.set_column(0, "outcome", outcomes["outcome"].cast(pa.string()))
        primary = outcomes.filter(pc.not_equal(outcomes["outcome"], "derived"))
        self._primary_ids.append(primary["log_id"].to_numpy())
        self._counts += Account(
            events=_number(outcomes, "event"),
            derived=_number(outcomes, "derived"),
            by_type=_counts(outcomes, WITH_EVENT, "event_type"),
            by_profile=_counts(outcomes, WITH_EVENT, "profile"),
            by_name=_counts(primary, _OWN, "event_name"),
            by_resolution=_counts(primary, _OWN, "resolution"),
            filtered=_counts(outcomes, ("filtered",), "reason"),
            failed=_counts(outcomes, ("failed",), "reason"),
        )

    def account(self, counted: int, log_ids: pa.ChunkedArray) -> Account:
        """The account of the hour; for the arguments see `Account.of`."""
        unmatched = _unmatched(log_ids.to_numpy(), np.concatenate(self._primary_ids))
        return replace(
            self._counts,
            counted=counted,
            rows=len(log_ids),
            unexplained=abs(counted - len(log_ids)) + unmatched,
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
        own, others = asdict(self), asdict(other)
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
        stats = asdict(self)
        if not self.filtered_rows:
            del stats["filtered_rows"]
        return stats


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
    answered = pc.list_flatten(results.filter(is_final)["event_ids"])
    return int(pc.sum(pc.invert(pc.is_in(event_ids.drop_null(), answered))).as_py() or 0)


def _unmatched(log_ids: npt.NDArray[np.int64], outcome_ids: npt.NDArray[np.int64]) -> int:
    """Ids that are not on both sides exactly once."""
    ids = np.concatenate([log_ids, outcome_ids])
    distinct, codes = np.unique(ids, return_inverse=True)
    rows = np.bincount(codes[: len(log_ids)], minlength=len(distinct))
    outcomes = np.bincount(codes[len(log_ids) :], minlength=len(distinct))
    return int(((rows != 1) | (outcomes != 1)).sum())


def _number(outcomes: pa.Table, outcome: str) -> int:
    return int(pc.sum(pc.equal(outcomes["outcome"], outcome)).as_py() or 0)


def _counts(outcomes: pa.Table, counted: tuple[str, ...], column: str) -> dict[str, int]:
    is_counted = pc.is_in(outcomes["outcome"], pa.array(counted))
    # A row that a filter keeps back has no recipe.
    values = pc.value_counts(outcomes[column].filter(is_counted).cast(pa.string()).drop_null())
    return _ordered({str(entry["values"]): int(entry["counts"]) for entry in values.to_pylist()})


def _ordered(numbers: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(numbers.items(), key=lambda entry: (-entry[1], entry[0])))
