"""Python's garbage collector, tuned for creating many objects that stay in use."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_OBJECTS = 100_000


def raise_gc_threshold() -> None:
    """Make this process collect garbage after 100,000 new objects instead of 700.

    Dagster and pandas are half a million objects. By default Python scans them again and again
    while they are imported, and later for every list of a hundred thousand events: 7 % of a
    backfill.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the collector: records are many and have no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
