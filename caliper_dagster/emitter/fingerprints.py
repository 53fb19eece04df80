"""Fingerprints: which event, and with which content, in 24 bytes.

They are what the ledger keeps of an event, and how the emitter tells new and changed events from
those an event store already has. Everything here works on whole columns; nothing does I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
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

_INCOMPLETE = "caliper_events holds an event without id or JSON."
_PREFIX = b"urn:uuid:"
_ID_LENGTH = len(_PREFIX) + 36
_HYPHENS = [len(_PREFIX) + place for place in (8, 13, 18, 23)]
_HEX_DIGITS = [place for place in range(len(_PREFIX), _ID_LENGTH) if place not in _HYPHENS]


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
    found = np.empty(len(events), FINGERPRINT)
    found["id"] = _packed_ids(event_ids)
    found["content"] = _content_hashes(events)
    if len(np.unique(found["id"])) != len(found):
        raise StorageError("caliper_events holds two events with the same id in one hour.")
    return found


def event_ids(found: Fingerprints) -> pa.StringArray:
    """The ``urn:uuid:…`` of each fingerprint."""
    raw = np.ascontiguousarray(found["id"]).tobytes()
    digits = np.frombuffer(raw.hex().encode(), np.uint8).reshape(len(found), 32)
    text = np.empty((len(found), _ID_LENGTH), np.uint8)
    text[:, : len(_PREFIX)] = np.frombuffer(_PREFIX, np.uint8)
    text[:, _HYPHENS] = ord("-")
    text[:, _HEX_DIGITS] = digits
    offsets = np.arange(len(found) + 1, dtype=np.int32) * _ID_LENGTH
    return pa.StringArray.from_buffers(
        len(found), pa.py_buffer(offsets), pa.py_buffer(text.tobytes())
    )


def unpacked(packed: bytes) -> Fingerprints:
    """Fingerprints from the bytes that their ``tobytes()`` gave."""
    return np.frombuffer(packed, FINGERPRINT)


def latest(history: Fingerprints) -> Fingerprints:
    """For each event its last fingerprint, ordered by id.

    The last one counts, not any: when a content goes from A to B and back to A, the event store
    holds B.

    Args:
        history: fingerprints in the order in which they were acknowledged.
    """
    newest_first = history[::-1]
    _, first = np.unique(newest_first["id"], return_index=True)
    return newest_first[first]


def unacknowledged(found: Fingerprints, acknowledged: Fingerprints) -> npt.NDArray[np.bool_]:
    """Which events are new, or have another content than the one acknowledged last.

    Args:
        found: the events as they are now.
        acknowledged: as `latest` gives them.
    """
    if not len(acknowledged):
        return np.ones(len(found), np.bool_)
    place = np.searchsorted(acknowledged["id"], found["id"])
    place[place == len(acknowledged)] = 0
    known: npt.NDArray[np.bool_] = acknowledged[place] == found
    return ~known


def text_slices(texts: pa.LargeStringArray) -> list[memoryview]:
    """The UTF-8 bytes of each text, in place.

    Raises:
        StorageError: an event has no JSON.
    """
    if texts.null_count:
        raise StorageError(_INCOMPLETE)
    data, places = _utf8(texts)
    return [data[start:end] for start, end in pairwise(places.tolist())]


def _utf8(texts: pa.LargeStringArray) -> tuple[memoryview, npt.NDArray[np.int64]]:
    """The bytes of a column, and where each text starts (and the last one ends) in them."""
    if not len(texts):
        return memoryview(b""), np.zeros(1, np.int64)
    _, offsets, data = texts.buffers()
    places = np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8)
    return memoryview(data), places


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
