"""Memory of a process that works on chunks of Arrow tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def return_unused() -> None:
    """Return free memory to the system, also what lies between blocks that are in use.

    C's allocator keeps what is freed, and chunk by chunk the free blocks are cut up by smaller
    ones: a process grows with the number of its steps, although each needs no more than the others.
    The next step requests its pages from the kernel again, so this is done once in a step, not once
    in a chunk or column: 2 % of the processor time of a backfill.
    """
    pa.default_memory_pool().release_unused()


def string_array(texts: Sequence[bytes], joined: bytes | None = None) -> pa.StringArray:
    """An array of texts, in memory that is requested once, and in its size.

    Arrow's own conversion of a list doubles its memory as it proceeds. With megabytes of text, the
    kernel's work for the pages of all these blocks takes several times as long as copying it.

    Args:
        texts: valid UTF-8.
        joined: all the texts in one, if the caller has it.

    Raises:
        pa.ArrowInvalid: together they are longer than 2 GiB.
    """
    text = b"".join(texts) if joined is None else joined
    if len(text) > _LONGEST:
        raise pa.ArrowInvalid("The texts of an array are longer than 2 GiB.")
    offsets = np.zeros(len(texts) + 1, dtype=np.int32)
    np.cumsum(np.fromiter(map(len, texts), np.int32, len(texts)), out=offsets[1:])
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(text))


_LONGEST = 2**31 - 1
