"""A plausible expanded row for any event name, to show what its recipe makes of it."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from caliper_dagster.core.frames import EXPANDED_LOG

LEARNER, TEACHER = 21, 51
_TIME = 1_774_000_000
_MODULE_LEVEL, _COURSE_LEVEL = 70, 50

_PARENTS = {
    "assignsubmission": "assign", "assignfeedback": "assign", "booktool": "book",
    "forumreport": "forum", "quizaccess": "quiz",
}  # fmt: skip
"""Activity module that a kind of plugin belongs to."""

_OTHER = {
    "modulename": "quiz", "itemtype": "post", "itemid": 9, "finalgrade": "7.5",
    "completionstate": 1, "messageid": 8, "status": 1, "attemptid": 3, "slot": 1, "page": 0,
    "submissionid": 7, "discussionid": 4, "tagid": 5, "tagrawname": "algebra",
}  # fmt: skip


def example_row(event_name: str, **columns: object) -> dict[str, Any]:
    """One expanded row.

    Args:
        event_name: class name of the event.
        columns: values to use instead; record columns as maps.

    Returns:
        Values by column of ``EXPANDED_LOG``; columns that are left out are null.
    """
    component = event_name.strip("\\").split("\\")[0]
    last = event_name.rpartition("\\")[2]
    modname = _module(component)
    row: dict[str, Any] = {
        "id": 1,
        "eventname": event_name,
        "component": component,
        "action": last.rpartition("_")[2],
        "target": last.rpartition("_")[0],
        "objecttable": None,
        "objectid": 7,
        "crud": "r",
        "edulevel": 2,
        "contextid": 99,
        "contextlevel": _MODULE_LEVEL if modname else _COURSE_LEVEL,
        "contextinstanceid": 36 if modname else 3,
        "userid": TEACHER,
        "courseid": 3,
        "relateduserid": LEARNER,
        "anonymous": 0,
        "timecreated": _TIME,
        "origin": "web",
        "other": _OTHER,
        "site": {"release": "4.5"},
        "user_membership": {
            "user": TEACHER,
            "course": 3,
            "roles": [{"shortname": "editingteacher", "archetype": "editingteacher"}],
            "active": 1,
        },
        "course": {"id": 3, "fullname": "Algebra", "shortname": "ALG-1"},
        "module": {
            "id": 36,
            "modname": modname or "quiz",
            "instance": 4,
            "course": 3,
            "activity": {"id": 4, "name": "Week 1"},
        },
        "object": {"id": 7, "userid": LEARNER},
        **columns,
    }
    return row


def _module(component: str) -> str | None:
    if component.startswith("mod_"):
        return component.removeprefix("mod_")
    return _PARENTS.get(component.partition("_")[0])


def example_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of :func:`example_row` as an ``EXPANDED_LOG`` table."""
    plain = pa.schema(
        [
            pa.field(
                field.name,
                field.type.value_type if pa.types.is_dictionary(field.type) else field.type,
            )
            for field in EXPANDED_LOG.schema
        ]
    )
    texts = [
        {
            key: orjson.dumps(value).decode() if isinstance(value, dict | list) else value
            for key, value in row.items()
        }
        for row in rows
    ]
    return EXPANDED_LOG.conform(pa.Table.from_pylist(texts, schema=plain))
