"""What rows refer to beyond their own columns: activities named by event data, and objects.

Most rows in a course module have it as their context. Others name it by its id, or only the
activity by its own: then the course module is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from caliper_dagster.expander import activities
from caliper_dagster.expander.columns import NOTHING, Integers, integers
from caliper_dagster.expander.database import MoodleDatabase, Record
from caliper_dagster.expander.objects import Row, kind_of
from caliper_dagster.expander.objects.rows import number
from caliper_dagster.expander.other import decode
from caliper_dagster.expander.rows import LogRows

_COURSE_MODULES = "course_modules"
_LIFECYCLE = tuple(
    rf"\core\event\course_module_{verb}" for verb in ("created", "updated", "deleted")
)
_MODULE_NAME = re.compile(r"[a-z][a-z0-9_]*")


def complete(database: MoodleDatabase, rows: LogRows) -> None:
    """Find the course modules of rows whose context is none, and note them in ``rows.modules``."""
    tables, table_codes = rows.texts("objecttable")
    objects = integers(rows.log["objectid"])
    outside = rows.modules <= 0
    named = outside & _is(tables, table_codes, {_COURSE_MODULES}) & (objects > 0)
    rows.modules[named] = objects[named]
    wanted = {}
    components, component_codes = rows.texts("component")
    modules = [activities.module_of_component(component) for component in components]
    of_module = outside & ~named & np.array([bool(name) for name in modules])[component_codes]
    for row in np.flatnonzero(of_module).tolist():
        name = modules[component_codes[row]] or ""
        is_object = tables[table_codes[row]] == name
        instance = _instance(name, rows.other(row), int(objects[row]) if is_object else 0)
        if instance:
            wanted[row] = (name, instance)
    found = activities.find_modules(database, wanted.values())
    for position, activity in wanted.items():
        rows.modules[position] = found.get(activity, NOTHING)


def _is(values: list[str], codes: Integers, wanted: set[str]) -> Any:  # noqa: ANN401 - Flags
    return np.array([value in wanted for value in values])[codes]


def _instance(name: str, other: dict[str, Any], objectid: int) -> int:
    named = (number(other.get(key)) for key in (f"{name}id", "instanceid"))
    return max(objectid, 0) or next(filter(None, named), 0)


def contexts_and_components(rows: LogRows) -> tuple[dict[int, int], dict[int, str]]:
    """Context and component of each course module: those of a row in it that belongs to it."""
    contexts: dict[int, int] = {}
    components: dict[int, str] = {}
    names, codes = rows.texts("component")
    context_ids = integers(rows.log["contextid"])
    chosen = rows.modules > 0
    pairs = np.stack([rows.modules, codes, context_ids])[:, chosen]
    for module, code, context in np.unique(pairs, axis=1).T:
        contexts.setdefault(int(module), int(context))
        if activities.module_of_component(names[code]):
            contexts[int(module)] = int(context)
            components[int(module)] = names[code]
    return contexts, components


def describe_missing(database: MoodleDatabase, rows: LogRows, modules: dict[int, Record]) -> None:
    """Give modules that are gone the ``modname`` and ``name`` that their own log rows tell.

    Asked of the log by course, the first column of an index.
    """
    gone = {id_ for id_, record in modules.items() if "missing" in record}
    if not gone:
        return
    affected = np.isin(rows.modules, list(gone))
    told = [
        (int(rows.modules[row]), rows.other(row))
        for row in np.flatnonzero(
            affected & _is(*rows.texts("eventname"), set(_LIFECYCLE))
        ).tolist()
    ]
    log = database.records(
        "logstore_standard_log",
        ("id", "objectid", "other"),
        {"courseid": rows.courses[affected & (rows.courses > 0)], "objectid": gone},
        "anonymous = 0 AND eventname IN (:created, :updated, :deleted)",
        **dict(zip(("created", "updated", "deleted"), _LIFECYCLE, strict=True)),
    )
    told.extend(
        (record["objectid"], decode(record["other"] or ""))
        for record in sorted(log, key=lambda record: record["id"])
    )
    for module, other in told:
        if isinstance(other, dict):
            _describe(modules[module], other)


def _describe(record: Record, other: dict[str, Any]) -> None:
    name = other.get("modulename")
    if not isinstance(name, str) or not _MODULE_NAME.fullmatch(name):
        return
    record["modname"] = name
    if instance := number(other.get("instanceid")):
        record["instance"] = instance
    if isinstance(other.get("name"), str):
        record["name"] = other["name"]


def of_objects(rows: LogRows) -> Iterator[tuple[int, Row]]:
    """Position and references of the rows that may have an object."""
    events, event_codes = rows.texts("eventname")
    tables, table_codes = rows.texts("objecttable")
    pairs = event_codes * len(tables) + table_codes
    distinct = np.unique(pairs)
    chosen = np.array(
        [
            kind_of(events[pair // len(tables)], tables[pair % len(tables)]) is not None
            for pair in distinct
        ]
    )
    positions = np.flatnonzero(np.isin(pairs, distinct[chosen]))
    ids = integers(rows.log["objectid"])
    for row in positions.tolist():
        named = bool(rows.named[row])
        yield (
            row,
            Row(
                events[event_codes[row]],
                tables[table_codes[row]],
                max(int(ids[row]), 0),
                int(rows.ids[row]),
                int(rows.times[row]),
                max(int(rows.users["user"][row]), 0) if named else 0,
                max(int(rows.users["relateduser"][row]), 0) if named else 0,
                not named,
                rows.other(row),
                rows.found_modules.get(int(rows.modules[row]), {}),
            ),
        )
