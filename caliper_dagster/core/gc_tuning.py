"""Python's garbage collection, while many objects are made that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_OBJECTS = 100_000


def raise_gc_threshold() -> None:
    """Have this process look for garbage after 100,000 new objects, not after 700.

    Dagster and pandas are half a million objects, which Python looks through again and again while
    they are imported, and then beside every list of a hundred thousand events: 7 % of a backfill.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])


@contextmanager
def gc_paused() -> Iterator[None]:
    """Collect no garbage: records are many and have no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
