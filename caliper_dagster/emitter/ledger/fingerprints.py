"""Fingerprints: which event, and with which content, in 24 bytes.

They are what the ledger keeps of an event, and how the emitter tells new and changed events from
those that a destination already has. Everything here works on whole columns; nothing does I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from caliper_dagster.core.errors import StorageError

FINGERPRINT = np.dtype([("id", "S16"), ("content", "<u8")])
"""One event: the 16 bytes of its uuid, and 8 bytes of BLAKE2b over its JSON.

``S16`` compares as the bytes do, because all ids have the same length.
"""

Fingerprints = npt.NDArray[np.void]

ANY_CONTENT = 0
"""In the place of the hash of a content that was erased: the event counts as acknowledged by its
id, with whatever content it is made again (``erasure``)."""

_INCOMPLETE = "caliper_events holds an event without id or JSON."
_PREFIX = b"urn:uuid:"
_ID_LENGTH = len(_PREFIX) + 36
_HYPHENS = [len(_PREFIX) + offset for offset in (8, 13, 18, 23)]
_HEX_DIGITS = [offset for offset in range(len(_PREFIX), _ID_LENGTH) if offset not in _HYPHENS]


def fingerprints(event_ids: pa.LargeStringArray, events: Sequence[memoryview]) -> Fingerprints:
    """The fingerprint of each event.

    Args:
        event_ids: ``urn:uuid:…`` of each event.
        events: JSON of each event, as `text_slices` gives it.

    Raises:
        StorageError: an event has no id, an id is no ``urn:uuid:``, or two events share one id (the
            second would be taken for a new content of the first).
    """
    if event_ids.null_count:
        raise StorageError(_INCOMPLETE)
    if not len(events):
        return np.empty(0, FINGERPRINT)
    packed = np.empty(len(events), FINGERPRINT)
    packed["id"] = _packed_ids(event_ids)
    packed["content"] = _content_hashes(events)
    check_distinct(packed)
    return packed


def check_distinct(events: Fingerprints) -> None:
    """Check that no two events of an hour share one id.

    Raises:
        StorageError: two do.
    """
    if len(np.unique(events["id"])) != len(events):
        raise StorageError("caliper_events holds two events with the same id in one hour.")


def event_ids(packed: Fingerprints) -> pa.StringArray:
    """The ``urn:uuid:…`` of each fingerprint."""
    raw = np.ascontiguousarray(packed["id"]).tobytes()
    digits = np.frombuffer(raw.hex().encode(), np.uint8).reshape(len(packed), 32)
    text = np.empty((len(packed), _ID_LENGTH), np.uint8)
    text[:, : len(_PREFIX)] = np.frombuffer(_PREFIX, np.uint8)
    text[:, _HYPHENS] = ord("-")
    text[:, _HEX_DIGITS] = digits
    offsets = np.arange(len(packed) + 1, dtype=np.int32) * _ID_LENGTH
    return pa.StringArray.from_buffers(
        len(packed), pa.py_buffer(offsets), pa.py_buffer(text.tobytes())
    )


def packed_ids(ids: Collection[str]) -> npt.NDArray[np.bytes_]:
    """The 16 bytes of each ``urn:uuid:…``."""
    return _packed_ids(pa.array(ids, pa.large_string()))


def unpacked(packed: bytes) -> Fingerprints:
    """Fingerprints from the bytes that their ``tobytes()`` gave."""
    return np.frombuffer(packed, FINGERPRINT)


def last_positions(history: Fingerprints) -> npt.NDArray[np.intp]:
    """For each event the position of its last fingerprint, ordered by id.

    The last one counts, not any: when a content goes from A to B and back to A, the destination
    holds B.

    Args:
        history: fingerprints in the order in which they were answered.
    """
    _, first_of_reversed = np.unique(history["id"][::-1], return_index=True)
    return len(history) - 1 - first_of_reversed


def positions_of_ids(
    ordered: Fingerprints, events: Fingerprints
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Where each event stands in fingerprints that are ordered by id, and whether it is there.

    Args:
        ordered: at least one fingerprint, each id once.
        events: the events to look up. The position of one that is not there means nothing.
    """
    # A field of a structured array is strided; numpy searches and compares contiguous ids faster.
    known, ids = np.ascontiguousarray(ordered["id"]), np.ascontiguousarray(events["id"])
    positions = np.searchsorted(known, ids)
    positions[positions == len(known)] = 0
    return positions, known[positions] == ids


def text_slices(texts: pa.LargeStringArray) -> list[memoryview]:
    """The UTF-8 bytes of each text, in place.

    Raises:
        StorageError: an event has no JSON.
    """
    if texts.null_count:
        raise StorageError(_INCOMPLETE)
    data, offsets = _utf8(texts)
    return [data[start:end] for start, end in pairwise(offsets.tolist())]


def _utf8(texts: pa.LargeStringArray) -> tuple[memoryview, npt.NDArray[np.int64]]:
    """The bytes of a column, and the offsets of its texts: one more than there are texts."""
    if not len(texts):
        return memoryview(b""), np.zeros(1, np.int64)
    _, offsets, data = texts.buffers()
    return memoryview(data), np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8)


def _content_hashes(events: Sequence[memoryview]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(b"".join([blake2b(e, digest_size=8).digest() for e in events]), "<u8")


def _packed_ids(ids: pa.LargeStringArray) -> npt.NDArray[np.bytes_]:
    data, offsets = _utf8(ids)
    if not (np.diff(offsets) == _ID_LENGTH).all():
        raise StorageError("caliper_events holds an event whose id is no urn:uuid.")
    text = np.frombuffer(data[offsets[0] : offsets[-1]], np.uint8).reshape(len(ids), _ID_LENGTH)
    prefix = text[:, : len(_PREFIX)] == np.frombuffer(_PREFIX, np.uint8)
    if not (prefix.all() and (text[:, _HYPHENS] == ord("-")).all()):
        raise StorageError("caliper_events holds an event whose id is no urn:uuid.")
    try:
        raw = bytes.fromhex(text[:, _HEX_DIGITS].tobytes().decode("ascii"))
    except ValueError:
        raw = b""
    if len(raw) != 16 * len(ids):
        raise StorageError("caliper_events holds an event whose id is no urn:uuid.")
    return np.frombuffer(raw, "S16")
