"""Parts of a table with dictionaries of their own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from caliper_dagster.core.own_dictionaries import cut


def test_indices_under_nulls_are_those_of_a_value() -> None:
    """Arrow looks them up, too, when it joins parts: one outside a dictionary ends the process."""
    texts = [f"{number % 700}" if number % 3 else None for number in range(3_000)]
    column = pa.array(texts, pa.string()).dictionary_encode()
    bounds = np.arange(0, 3_001, 1_000)
    parts = [part["a"].combine_chunks() for part in cut(pa.table({"a": column}), bounds)]
    assert [it for part in parts for it in part.to_pylist()] == texts
    for part in parts:
        held = np.frombuffer(part.indices.buffers()[1], np.int32)[part.offset :][: len(part)]
        assert held.min() == 0
        assert held.max() == len(part.dictionary) - 1
