"""What rows refer to beyond their own columns: activities named by event data, and objects.

Most rows in a course module have it as their context. Others name it by its id, or only the
activity by its own: then the course module is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from caliper_dagster.expander.columns import NOTHING, Flags, Integers, integers
from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.event_data import decode
from caliper_dagster.expander.lookups import activities
from caliper_dagster.expander.lookups.log_lifecycle import MODULE_EVENTS
from caliper_dagster.expander.objects import Kind, KindById, Row, kind_of
from caliper_dagster.expander.objects.rows import number
from caliper_dagster.expander.rows import MODULE_LEVEL, LogRows

_COURSE_MODULES = "course_modules"
_NO_MODULE: Record = {}
_MODULE_NAME = re.compile(r"[a-z][a-z0-9_]*")


def complete(database: MoodleDatabase, rows: LogRows) -> None:
    """Find the course modules of rows whose context is none, and note them in ``rows.modules``."""
    tables, table_codes = rows.texts("objecttable")
    outside = rows.modules <= 0
    named = outside & _is(tables, table_codes, {_COURSE_MODULES}) & (rows.objects > 0)
    rows.modules[named] = rows.objects[named]
    wanted = {}
    components, component_codes = rows.texts("component")
    modules = [activities.module_of_component(component) for component in components]
    of_module = outside & ~named & np.array([bool(name) for name in modules])[component_codes]
    for row in np.flatnonzero(of_module).tolist():
        name = modules[component_codes[row]] or ""
        is_object = tables[table_codes[row]] == name
        instance = _instance(name, rows.other(row), int(rows.objects[row]) if is_object else 0)
        if instance:
            wanted[row] = (name, instance)
    found = activities.find_modules(database, wanted.values())
    for position, activity in wanted.items():
        rows.modules[position] = found.get(activity, NOTHING)


def _is(values: list[str], codes: Integers, wanted: set[str]) -> Any:  # noqa: ANN401 - Flags
    return np.array([value in wanted for value in values])[codes]


def _instance(name: str, other: dict[str, Any], objectid: int) -> int:
    named = (number(other.get(key)) for key in (f"{name}id", "instanceid"))
    return objectid or next(filter(None, named), 0)


def contexts(rows: LogRows) -> dict[int, int | None]:
    """Context of each course module that is the context of a row; None for the others."""
    chosen = rows.modules > 0
    found: dict[int, int | None] = dict.fromkeys(np.unique(rows.modules[chosen]).tolist())
    own = chosen & (rows.modules == integers(rows.log["contextinstanceid"]))
    own &= integers(rows.log["contextlevel"]) == MODULE_LEVEL
    modules, firsts = np.unique(rows.modules[own], return_index=True)
    ids = integers(rows.log["contextid"])[own][firsts]
    found.update(zip(modules.tolist(), ids.tolist(), strict=True))
    return found


def gone_modules(database: MoodleDatabase, rows: LogRows, gone: Flags) -> dict[int, Record]:
    """What the log tells of course modules that are gone.

    Records: ``id``, ``modname``, ``missing``, and where a row about the module itself tells them,
    ``instance`` and ``name``. The whole log is asked, not the rows at hand: a module is the same in
    every hour.
    """
    modules = set(rows.modules[gone].tolist())
    if not modules:
        return {}
    found: dict[int, Record] = {}
    for record in database.lifecycle.rows(MODULE_EVENTS, {"objectid": modules}):
        told = _told(decode(record["other"] or ""))
        if told:
            module = record["objectid"]
            found.setdefault(module, {"id": module}).update(told)
    for module, component in database.lifecycle.components(modules - found.keys()):
        name = activities.module_of_component(component)
        found[module] = {"id": module, "modname": name, "missing": 1}
    return found


def _told(other: Any) -> Record:  # noqa: ANN401 - any JSON value
    name = other.get("modulename") if isinstance(other, dict) else None
    if not isinstance(name, str) or not _MODULE_NAME.fullmatch(name):
        return {}
    told: Record = {"modname": name, "missing": 1}
    if instance := number(other.get("instanceid")):
        told["instance"] = instance
    if isinstance(other.get("name"), str):
        told["name"] = other["name"]
    return told


def kinds(rows: LogRows) -> Iterator[tuple[Kind | KindById, Integers]]:
    """The kinds of objects, each with the positions of the rows that may have one."""
    events, event_codes = rows.texts("eventname")
    tables, table_codes = rows.texts("objecttable")
    pairs, codes = np.unique(event_codes * len(tables) + table_codes, return_inverse=True)
    positions = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(pairs)))
    found: dict[int, tuple[Kind | KindById, list[Integers]]] = {}
    for pair, of_pair in zip(pairs.tolist(), np.split(positions, ends[:-1]), strict=True):
        kind = kind_of(events[pair // len(tables)], tables[pair % len(tables)])
        if kind is not None:
            found.setdefault(id(kind), (kind, []))[1].append(of_pair)
    for kind, parts in found.values():
        yield kind, np.sort(np.concatenate(parts))


def of_objects(rows: LogRows, positions: Integers) -> list[Row]:
    """References of some rows."""
    events, event_codes = rows.texts("eventname")
    tables, table_codes = rows.texts("objecttable")
    named, modules = rows.named[positions], rows.found_modules
    users, related = (
        np.where(named, rows.users[name][positions].clip(min=0), 0)
        for name in ("user", "relateduser")
    )
    columns = zip(
        map(events.__getitem__, event_codes[positions].tolist()),
        map(tables.__getitem__, table_codes[positions].tolist()),
        rows.objects[positions].tolist(),
        rows.ids[positions].tolist(),
        rows.times[positions].tolist(),
        users.tolist(),
        related.tolist(),
        (~named).tolist(),
        rows.others(positions),
        (modules.get(module, _NO_MODULE) for module in rows.modules[positions].tolist()),
        strict=True,
    )
    return list(map(Row._make, columns))
