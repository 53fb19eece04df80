"""Memory of a process that works on chunks of Arrow tables."""

from __future__ import annotations

import pyarrow as pa


def return_unused() -> None:
    """Return free memory to the system, also what lies between blocks that are in use.

    C's allocator keeps what is freed, and chunk by chunk the free blocks are cut up by smaller
    ones: a process grows with the number of its steps, although each needs no more than the others.
    The next step requests its pages from the kernel again, so this is done once in a step, not once
    in a chunk or column: 2 % of the processor time of a backfill.
    """
    pa.default_memory_pool().release_unused()
