"""The verdict on an hour of ``caliper_events``: what of it must not be sent, and why.

A verdict is written with the hour, into the footer of its file. Whoever sends the hour reads it
there, so an hour that is withheld is withheld on every path (``delivery.gate``). The reasons are a
closed vocabulary; they are kept on disk. A reason withholds either single events or the whole hour.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.core.frames import CALIPER_EVENTS, WITH_EVENT

_KEY = "verdict"
_FIELDS_KEY = "personal_data_fields"
_SEARCHED_KEY = "personal_data_searched"
_NOT_SEARCHED_KEY = "personal_data_allowed"


class Reason(StrEnum):
    """Why something is not sent.

    ``unexplained``: log rows of the hour were not read, or have not exactly one outcome.
    ``repeated_id``: several events of the hour have the same id, and the event store would keep one
    of them. ``invalid``: the event is not valid Caliper. ``personal_data``: events hold values of
    persons that the privacy profile forbids. ``row_filter``: the hour was made under another filter
    of rows than its event store has now; ``other_privacy``: under other privacy settings, or with
    another key; ``allowed_fields``: fields were not searched for values of persons that would be
    searched now. These three are found when the hour is sent.
    """

    UNEXPLAINED = "unexplained"
    REPEATED_ID = "repeated_id"
    INVALID = "invalid"
    ROW_FILTER = "row_filter"
    PERSONAL_DATA = "personal_data"
    OTHER_PRIVACY = "other_privacy"
    ALLOWED_FIELDS = "allowed_fields"


_OF_EVENTS = frozenset({Reason.INVALID})
"""Reasons for which single events are withheld, and the rest of their hour is sent."""

_ALWAYS = frozenset(
    {Reason.PERSONAL_DATA, Reason.ROW_FILTER, Reason.OTHER_PRIVACY, Reason.ALLOWED_FIELDS}
)
"""Reasons for which an hour is withheld whatever ``CALIPER_WITHHOLD_INVALID`` says."""

_MEANINGS: Mapping[str, str] = {
    Reason.UNEXPLAINED: "log rows without an explanation",
    Reason.REPEATED_ID: "event ids that occur again",
    Reason.INVALID: "events that are not valid Caliper",
    Reason.ROW_FILTER: "events made under another filter of rows",
    Reason.PERSONAL_DATA: "values of persons that the privacy profile forbids",
    Reason.OTHER_PRIVACY: "events made under other privacy settings or with another pseudonym key",
    Reason.ALLOWED_FIELDS: "searched while CALIPER_ALLOWED_FIELDS named more fields",
}


@dataclass(frozen=True, slots=True)
class HourVerdict:
    """What was found when an hour was judged.

    Attributes:
        counts: number of rows, ids or events, by reason; empty for an hour without a fault. A
            reason of a newer release, which this one does not know, withholds the hour.
        fields: number of events that hold a value of a person that must not leave, by the field
            that holds it and what it is, such as ``object.name (email)``. The value is not kept.
        is_searched: whether the events were searched for all that must not leave. They cannot be
            where the names of persons are not stored.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, int] = field(default_factory=dict)
    is_searched: bool = True

    @classmethod
    def of(
        cls,
        counts: Mapping[Reason, int],
        fields: Mapping[str, int] | None = None,
        *,
        is_searched: bool = True,
    ) -> Self:
        """The verdict for the number of each reason; reasons that were not found may be 0."""
        found = {reason.value: number for reason, number in counts.items() if number}
        return cls(found, dict(fields or {}), is_searched)

    @classmethod
    def from_footer_stats(cls, stats: Mapping[str, object]) -> Self | None:
        """The verdict in the footer of an hour; None for hours of releases that wrote none."""
        counts, fields = stats.get(_KEY), stats.get(_FIELDS_KEY)
        if not isinstance(counts, Mapping):
            return None
        return cls(
            _numbers(counts),
            _numbers(fields) if isinstance(fields, Mapping) else {},
            stats.get(_SEARCHED_KEY) is not False,
        )

    def as_footer_stats(self) -> dict[str, object]:
        """The verdict for the footer of an hour."""
        fields: dict[str, object] = {_FIELDS_KEY: dict(self.fields)} if self.fields else {}
        if not self.is_searched:
            fields[_SEARCHED_KEY] = False
        return {_KEY: dict(self.counts), **fields}

    @property
    def hour_reason(self) -> str | None:
        """The first reason for which the whole hour is withheld; None when it may be sent."""
        return next(hour_reasons(self.counts), None)

    @property
    def always(self) -> str | None:
        """The first reason for which it is withheld whatever the settings say; or None."""
        return next((reason for reason in self.counts if reason in _ALWAYS), None)

    @property
    def invalid(self) -> int:
        """Events that are withheld alone."""
        return self.counts.get(Reason.INVALID, 0)


def searched_without(fields: Collection[str]) -> dict[str, object]:
    """What the footer of an hour records of the fields that were not searched.

    Args:
        fields: paths of properties, such as ``object.name`` (``CALIPER_ALLOWED_FIELDS``).
    """
    return {_NOT_SEARCHED_KEY: sorted(fields)} if fields else {}


def was_searched(stats: Mapping[str, object], allowed: Collection[str]) -> bool:
    """Whether every field of an hour was searched but those that are allowed now.

    Args:
        stats: the footer of the hour.
        allowed: the fields that need not be searched.
    """
    fields = stats.get(_NOT_SEARCHED_KEY, ())
    return isinstance(fields, list | tuple) and {*fields} <= {*allowed}


def _numbers(counts: Mapping[object, object]) -> dict[str, int]:
    return {str(name): int(str(number)) for name, number in counts.items()}


def meaning(reason: str) -> str:
    """A reason in words, such as ``log rows without an explanation``."""
    return _MEANINGS.get(reason, reason)


def hour_reasons(reasons: Iterable[str]) -> Iterator[str]:
    """Among some reasons, those for which a whole hour is withheld."""
    return (reason for reason in reasons if reason not in _OF_EVENTS)


def mark_invalid(events: pa.Table, rows: Sequence[int]) -> pa.Table:
    """The table with the reason `Reason.INVALID` in some of its rows.

    Args:
        events: a ``CALIPER_EVENTS`` table.
        rows: positions of events that are not valid.
    """
    if not rows:
        return events
    marks = np.zeros(events.num_rows, dtype=np.bool_)
    marks[list(rows)] = True
    reasons = events["reason"].cast(pa.string()).combine_chunks()
    marked = pc.if_else(pa.array(marks), Reason.INVALID.value, reasons).dictionary_encode()
    field = CALIPER_EVENTS.schema.field("reason")
    index = events.schema.get_field_index("reason")
    return events.set_column(index, field, marked.cast(field.type))


def is_invalid(events: pa.Table) -> pa.ChunkedArray:
    """Which rows have an event that `mark_invalid` has marked, as a mask.

    Args:
        events: rows with ``outcome`` and ``reason``.
    """
    has_event = pc.is_in(events["outcome"].cast(pa.string()), pa.array(WITH_EVENT))
    marked = pc.equal(events["reason"].cast(pa.string()), Reason.INVALID.value)
    return pc.and_(has_event, pc.fill_null(marked, False))
