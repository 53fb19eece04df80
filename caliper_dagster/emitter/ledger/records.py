"""What the ledger holds of an hour, and what it says about the hour's events.

Everything here works on whole columns and does no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from caliper_dagster.core.frames import EMISSION_RESULTS
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.revisions import PRUNED_REVISION
from caliper_dagster.emitter.ledger.fingerprints import (
    ANY_CONTENT,
    FINGERPRINT,
    Fingerprints,
    event_ids,
    last_positions,
    positions_of_ids,
)

ACKNOWLEDGED = "acknowledged"
REJECTED = "rejected"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One batch that a destination has answered.

    Attributes:
        batch_id: ``urn:uuid:`` of the batch.
        outcome: ``acknowledged`` or ``rejected``.
        bytes: size of the request's body.
        attempts: how often it was sent.
        http_status: status of the answer; None for a destination without HTTP.
        sent_at: when it was sent last, in milliseconds since 1970, UTC.
        answered_at: when the answer came, in the same unit.
        error: the destination's message if it rejected the event.
        mapping_revision: revision under which the events were made (``core.revisions``).
        fingerprints: the events in the batch, in their order.
    """

    hour: Hour
    batch_id: str
    outcome: str
    bytes: int
    attempts: int
    http_status: int | None
    sent_at: int
    answered_at: int
    error: str | None
    mapping_revision: int
    fingerprints: Fingerprints

    def event_ids(self) -> list[str]:
        """``urn:uuid:…`` of the events, in their order."""
        ids: list[str] = event_ids(self.fingerprints).to_pylist()
        return ids


@dataclass(frozen=True, slots=True)
class LastAnswers:
    """For each event its last answer of one outcome, ordered by id.

    Attributes:
        fingerprints: the event and its content.
        revisions: the mapping revision of that content.
    """

    fingerprints: Fingerprints
    revisions: npt.NDArray[np.int32]

    @classmethod
    def of(cls, batches: Sequence[BatchRecord], outcome: str) -> LastAnswers:
        """The last answers of an outcome.

        Args:
            batches: of one hour, oldest first.
            outcome: ``ACKNOWLEDGED`` or ``REJECTED``.
        """
        chosen = [batch for batch in batches if batch.outcome == outcome]
        if not chosen:
            return cls(np.empty(0, FINGERPRINT), np.empty(0, np.int32))
        history = np.concatenate([batch.fingerprints for batch in chosen])
        revisions = np.repeat(
            np.array([batch.mapping_revision for batch in chosen], np.int32),
            [len(batch.fingerprints) for batch in chosen],
        )
        last = last_positions(history)
        return cls(history[last], revisions[last])

    def compare(self, events: Fingerprints, revision: int) -> Comparison:
        """Compare the events of an hour, as a mapping revision makes them, with these answers."""
        if not len(self.fingerprints):
            nothing = np.zeros(len(events), np.bool_)
            return Comparison(nothing, nothing, nothing)
        positions, answered = positions_of_ids(self.fingerprints, events)
        same_content = answered & (
            (self.fingerprints["content"][positions] == events["content"])
            | (self.fingerprints["content"][positions] == ANY_CONTENT)
            | (self.revisions[positions] == PRUNED_REVISION)
        )
        other_revision = answered & (self.revisions[positions] != revision)
        return Comparison(answered, same_content, other_revision)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Events of an hour against their last answers, as masks over the events.

    Attributes:
        answered: the event has such an answer, whatever its content was.
        same_content: the answer was to the present content, or to one that can no longer be made
            (``core.revisions.PRUNED_REVISION``), or that was erased.
        other_revision: the answer was to the content that another mapping revision made.
    """

    answered: Mask
    same_content: Mask
    other_revision: Mask


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What the ledger says about the events of one hour, as masks over them.

    Attributes:
        acknowledged: need not be sent: the destination has the event with its present content, or
            with the content that another mapping revision made of it.
        changed: of these, the ones whose present content the destination does not have.
        rejected: the last answer to the event is a rejection, whatever its content was.
        rejected_as_is: of these, the ones that were rejected with their present content.
    """

    acknowledged: Mask
    changed: Mask
    rejected: Mask
    rejected_as_is: Mask

    @classmethod
    def of(cls, events: Fingerprints, revision: int, batches: Sequence[BatchRecord]) -> LedgerState:
        """Look the events of an hour up in its batches.

        An event that was acknowledged under another mapping revision counts as acknowledged by its
        id. Within a revision the content counts: an event that has changed is to be sent again.

        Args:
            events: all events of the hour.
            revision: the mapping revision that made them.
            batches: all batches of the hour, oldest first.
        """
        acknowledged = LastAnswers.of(batches, ACKNOWLEDGED).compare(events, revision)
        rejected = LastAnswers.of(batches, REJECTED).compare(events, revision)
        counts = (acknowledged.same_content | acknowledged.other_revision) & ~rejected.answered
        return cls(
            acknowledged=counts,
            changed=counts & ~acknowledged.same_content,
            rejected=rejected.answered,
            rejected_as_is=rejected.same_content,
        )


def rejected_ids(batches: Sequence[BatchRecord]) -> npt.NDArray[np.bytes_]:
    """Packed ids of the events of these batches whose last answer is a rejection, ascending."""
    ids: npt.NDArray[np.bytes_] = LastAnswers.of(batches, REJECTED).fingerprints["id"]
    return ids


def results_table(destination: str, batches: Sequence[BatchRecord]) -> pa.Table:
    """The batches as an ``EMISSION_RESULTS`` table, in their order.

    Its dictionaries are as `own_dictionaries.with_own_dictionaries` makes them.
    """
    if not batches:
        return EMISSION_RESULTS.empty()
    ends = np.cumsum([len(batch.fingerprints) for batch in batches], dtype=np.int32)
    offsets = np.concatenate((np.zeros(1, np.int32), ends))
    events = event_ids(np.concatenate([batch.fingerprints for batch in batches]))
    columns = {
        "event_store": [destination] * len(batches),
        "batch_id": [batch.batch_id for batch in batches],
        "outcome": [batch.outcome for batch in batches],
        "events": np.diff(offsets).astype(np.int64),
        "bytes": [batch.bytes for batch in batches],
        "attempts": [batch.attempts for batch in batches],
        "http_status": [batch.http_status for batch in batches],
        "sent_at": [batch.sent_at for batch in batches],
        "answered_at": [batch.answered_at for batch in batches],
        "error": [batch.error for batch in batches],
        "event_ids": pa.ListArray.from_arrays(pa.array(offsets), events),
    }
    schema = EMISSION_RESULTS.schema
    return pa.table(
        {name: _column(columns[name], schema.field(name).type) for name in schema.names}
    )


def _column(values: Any, wanted: pa.DataType) -> pa.Array:  # noqa: ANN401 - list or array
    if pa.types.is_dictionary(wanted):
        values = pa.array(values, wanted.value_type).dictionary_encode()
    elif not isinstance(values, pa.Array):
        values = pa.array(values, wanted)
    return values if values.type == wanted else values.cast(wanted)
