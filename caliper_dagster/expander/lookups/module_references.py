"""Which course module each log row refers to, also where the module was deleted since.

Most rows in a course module have it as their context. Other rows name the course module by its id,
or only the activity by the activity's id: for these the course module is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.event_data import as_id, decode
from caliper_dagster.expander.log_rows import MODULE_LEVEL, LogRows
from caliper_dagster.expander.lookups import activities
from caliper_dagster.expander.lookups.log_lifecycle import MODULE_EVENTS, LogLifecycle
from caliper_dagster.expander.record_columns import NO_ID, Flags, Integers, integers

_COURSE_MODULES = "course_modules"
_MODULE_NAME = re.compile(r"[a-z][a-z0-9_]*")


def complete(database: MoodleDatabase, rows: LogRows) -> None:
    """Find the course modules of rows whose context is none, and set them in ``rows.modules``."""
    tables, table_codes = rows.texts("objecttable")
    outside = rows.modules <= 0
    by_id = outside & _equals(tables, table_codes, _COURSE_MODULES) & (rows.objects > 0)
    rows.modules[by_id] = rows.objects[by_id]
    references = {}
    components, component_codes = rows.texts("component")
    modules = [activities.module_of_component(component) for component in components]
    by_activity = outside & ~by_id & np.array([bool(name) for name in modules])[component_codes]
    for row in np.flatnonzero(by_activity).tolist():
        name = modules[component_codes[row]] or ""
        is_object = tables[table_codes[row]] == name
        instance = _instance(name, rows.other(row), int(rows.objects[row]) if is_object else 0)
        if instance:
            references[row] = (name, instance)
    module_ids = activities.find_modules(database, references.values())
    for position, activity in references.items():
        rows.modules[position] = module_ids.get(activity, NO_ID)


def _equals(values: list[str], codes: Integers, wanted: str) -> Flags:
    equal: Flags = np.array([value == wanted for value in values])[codes]
    return equal


def _instance(name: str, other: dict[str, Any], objectid: int) -> int:
    """Id of the activity that a row names; 0 where it names none."""
    in_event_data = (as_id(other.get(key)) for key in (f"{name}id", "instanceid"))
    return objectid or next(filter(None, in_event_data), 0)


def contexts(rows: LogRows) -> dict[int, int | None]:
    """Context id of each course module that is the context of a row; None for other modules."""
    in_module = rows.modules > 0
    context_ids: dict[int, int | None] = dict.fromkeys(np.unique(rows.modules[in_module]).tolist())
    is_context = in_module & (rows.modules == integers(rows.log["contextinstanceid"]))
    is_context &= integers(rows.log["contextlevel"]) == MODULE_LEVEL
    modules, firsts = np.unique(rows.modules[is_context], return_index=True)
    ids = integers(rows.log["contextid"])[is_context][firsts]
    context_ids.update(zip(modules.tolist(), ids.tolist(), strict=True))
    return context_ids


def deleted_modules(lifecycle: LogLifecycle, modules: Iterable[int]) -> dict[int, Record]:
    """What the log says about deleted course modules.

    The whole log is searched, not the rows that are being expanded: a module is then the same in
    every hour.

    Args:
        lifecycle: the lifecycle rows of the whole log.
        modules: ids of course modules that the database no longer has.

    Returns:
        Records with ``id``, ``modname``, ``missing``, and ``instance`` and ``name`` where an event
        about the module itself has them.
    """
    modules = set(modules)
    if not modules:
        return {}
    records: dict[int, Record] = {}
    for row in lifecycle.rows(MODULE_EVENTS, {"objectid": modules}):
        description = _description(decode(row["other"] or ""))
        if description:
            module = row["objectid"]
            records.setdefault(module, {"id": module}).update(description)
    for module, component in lifecycle.components(modules - records.keys()):
        name = activities.module_of_component(component)
        records[module] = {"id": module, "modname": name, "missing": 1}
    return records


def _description(other: Any) -> Record:  # noqa: ANN401 - any JSON value
    """The module as its event describes it; empty where the event data names no module."""
    name = other.get("modulename") if isinstance(other, dict) else None
    if not isinstance(name, str) or not _MODULE_NAME.fullmatch(name):
        return {}
    record: Record = {"modname": name, "missing": 1}
    if instance := as_id(other.get("instanceid")):
        record["instance"] = instance
    if isinstance(other.get("name"), str):
        record["name"] = other["name"]
    return record
