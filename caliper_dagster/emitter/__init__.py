"""Caliper events to event stores.

This part knows envelopes, HTTP and what each destination has acknowledged. It knows nothing of
Moodle, of how events are made, or of Dagster. ``emission`` takes an hour's events through it:
``ledger`` tells which of them are to be sent, ``envelopes`` cuts them into envelopes,
``http_destination`` posts each, with what ``credentials`` gives it, and decides what the answer
means, ``retries`` posts it again where that helps, and ``delivery`` records the answer in the
ledger. ``destination`` is the seam behind which other destinations than HTTP fit:
``file_destination`` writes a file for each hour instead.

Every command opens the ledger, long before anything is sent. So ``HttpDestination`` comes with its
HTTP client when somebody asks for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from caliper_dagster.emitter.delivery import StoppedError
from caliper_dagster.emitter.destination import Destination
from caliper_dagster.emitter.emission import (
    EmissionCounts,
    EmittedHour,
    HourOfEvents,
    Send,
    emit,
    is_sent,
)
from caliper_dagster.emitter.file_destination import FileDestination
from caliper_dagster.emitter.ledger import Ledger
from caliper_dagster.emitter.retries import RetryPolicy

if TYPE_CHECKING:
    from caliper_dagster.emitter.http_destination import HttpDestination

__all__ = [
    "Destination",
    "EmissionCounts",
    "EmittedHour",
    "FileDestination",
    "HourOfEvents",
    "HttpDestination",
    "Ledger",
    "RetryPolicy",
    "Send",
    "StoppedError",
    "emit",
    "is_sent",
]


def __getattr__(name: str) -> object:
    if name != "HttpDestination":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("caliper_dagster.emitter.http_destination").HttpDestination
