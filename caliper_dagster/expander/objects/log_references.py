"""The log rows as the loaders of objects see them: grouped by loader, with their references."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.log_rows import LogRows
from caliper_dagster.expander.objects.loader import LogReference, ObjectByIdLoader, ObjectLoader
from caliper_dagster.expander.objects.registry import loader_for
from caliper_dagster.expander.record_columns import Integers, distinct_codes

_NO_MODULE: Record = {}


def by_loader(rows: LogRows) -> Iterator[tuple[ObjectLoader | ObjectByIdLoader, Integers]]:
    """Each loader that is needed, with the positions of the rows whose objects it loads."""
    events, event_codes = rows.texts("eventname")
    tables, table_codes = rows.texts("objecttable")
    pairs, codes = distinct_codes(event_codes * len(tables) + table_codes)
    positions = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(pairs)))
    groups: dict[int, tuple[ObjectLoader | ObjectByIdLoader, list[Integers]]] = {}
    for pair, of_pair in zip(pairs.tolist(), np.split(positions, ends[:-1]), strict=True):
        loader = loader_for(events[pair // len(tables)], tables[pair % len(tables)])
        if loader is not None:
            groups.setdefault(id(loader), (loader, []))[1].append(of_pair)
    for loader, position_lists in groups.values():
        yield loader, np.sort(np.concatenate(position_lists))


def log_references(rows: LogRows, positions: Integers) -> list[LogReference]:
    """The references of some rows, in the order of the positions."""
    events, event_codes = rows.texts("eventname")
    tables, table_codes = rows.texts("objecttable")
    identified, modules = rows.identified[positions], rows.module_records
    users, related_users = (
        np.where(identified, rows.users[name][positions].clip(min=0), 0)
        for name in ("user", "relateduser")
    )
    columns = zip(
        map(events.__getitem__, event_codes[positions].tolist()),
        map(tables.__getitem__, table_codes[positions].tolist()),
        rows.objects[positions].tolist(),
        rows.ids[positions].tolist(),
        rows.times[positions].tolist(),
        users.tolist(),
        related_users.tolist(),
        (~identified).tolist(),
        rows.others(positions),
        (modules.get(module, _NO_MODULE) for module in rows.modules[positions].tolist()),
        strict=True,
    )
    return list(map(LogReference._make, columns))
