"""The column ``object``: objects loaded and assigned to their rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caliper_dagster.expander.objects.loader import (
    LogReference,
    Lookup,
    ObjectByIdLoader,
    ObjectLoader,
)
from caliper_dagster.expander.record_columns import (
    Flags,
    Integers,
    RecordColumn,
    distinct_codes,
)


def fill(
    lookup: Lookup,
    column: RecordColumn,
    loader: ObjectLoader,
    positions: Integers,
    rows: Sequence[LogReference],
) -> list[tuple[int, str]]:
    """Load objects and assign them to rows.

    Args:
        lookup: where objects are looked up.
        column: the column ``object``.
        loader: loads the objects of all these rows.
        positions: position of each row in the column.
        rows: references of each row.

    Returns:
        Position and ``table:id`` of each row that names an object which was not found.
    """
    code_of: dict[int, int] = {}
    codes: list[int] = []
    unresolved = []
    records = loader.load(lookup, rows)
    for number, record in enumerate(records):
        code = -1
        if record is not None:
            key = id(record)
            if key not in code_of:
                code_of[key] = column.add({"table": loader.table, **record})
            code = code_of[key]
        elif not rows[number].anonymous and (reference := loader.unresolved(rows[number])):
            unresolved.append((int(positions[number]), reference))
        codes.append(code)
    column.assign_codes(positions, codes)
    return unresolved


def fill_by_id(
    lookup: Lookup,
    column: RecordColumn,
    loader: ObjectByIdLoader,
    positions: Integers,
    ids: Integers,
) -> Flags:
    """Load objects by the ``objectid`` of each row, and assign them to the rows.

    Returns:
        The rows whose object was not found.
    """
    distinct, indices = distinct_codes(ids)
    records = loader.load(lookup, distinct[distinct > 0].tolist())
    codes = np.array(
        [
            column.add({"table": loader.table, **records[id_]}) if id_ in records else -1
            for id_ in distinct.tolist()
        ]
    )[indices]
    column.assign_codes(positions, codes)
    return codes < 0
