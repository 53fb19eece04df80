"""Envelopes: how events are divided among them, and their bytes.

An envelope has exactly four properties (Caliper 1.2 "Envelope", 1.1 section 5.2). Its ``data`` is
the events' JSON, joined as it is and never parsed again. This module knows neither HTTP nor what
was sent before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import orjson

from caliper_dagster.caliper.versions import BY_NAME
from caliper_dagster.core.errors import StorageError

_SEND_TIME_CHARACTERS = len("2026-01-31T14:00:00.000Z")


def context_iri(version: str) -> str:
    """The envelope's ``dataVersion``: the context IRI of a ``caliper_version`` such as ``v1p2``.

    Raises:
        StorageError: the events are of a version that no envelope can have.
    """
    try:
        return BY_NAME[version].context
    except KeyError:
        raise StorageError(
            f"caliper_events holds events of {version!r}, which is no known Caliper version."
        ) from None


def caliper_time(moment: datetime) -> str:
    """A moment (aware, UTC) as Caliper writes it: three digits of milliseconds and ``Z``."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def envelope(
    sensor: str, send_time: datetime, data_version: str, events: Sequence[bytes | memoryview]
) -> bytes:
    """The bytes of an envelope, in UTF-8.

    Args:
        sensor: id of the sensor, an IRI.
        send_time: when it is sent (aware, UTC).
        data_version: context IRI of all the events.
        events: JSON of each event, in UTF-8.
    """
    head = _head(sensor, caliper_time(send_time), data_version)
    return b"".join((head, b",".join(events), b"]}"))


def envelope_overhead(sensor: str, data_version: str) -> int:
    """Bytes of an envelope around its joined events."""
    return len(_head(sensor, "-" * _SEND_TIME_CHARACTERS, data_version)) + len(b"]}")


def batches(
    sizes: npt.NDArray[np.int64], batch_size: int, capacity: Callable[[], int]
) -> Iterator[tuple[int, int]]:
    """Divide events into batches, in their order, each as large as the limits allow.

    Args:
        sizes: bytes of each event's JSON.
        batch_size: events per batch, at most.
        capacity: bytes of the joined events (commas included) per batch, at most; called for every
            batch, because it may shrink in between. A single larger event goes alone.

    Yields:
        Half-open ranges of positions in ``sizes``.
    """
    ends = np.cumsum(sizes + 1)
    start = 0
    while start < len(sizes):
        sent = int(ends[start - 1]) if start else 0
        last_that_fits = int(np.searchsorted(ends, sent + capacity() + 1, side="right"))
        end = max(start + 1, min(start + batch_size, last_that_fits))
        yield start, end
        start = end


def _head(sensor: str, send_time: str, data_version: str) -> bytes:
    properties = {"sensor": sensor, "sendTime": send_time, "dataVersion": data_version}
    return orjson.dumps(properties)[:-1] + b',"data":['
