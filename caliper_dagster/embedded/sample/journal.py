"""The log of the sample site: the event names, and rows in the order Moodle writes them.

This module decides the form of a row of ``logstore_standard_log``. ``traffic`` and ``work`` decide
who does what and when.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import NamedTuple

from caliper_dagster.core.hours import SECONDS
from caliper_dagster.embedded.sample.tables import Tables, Value

Other = dict[str, int | str | bool | list[str] | None]


class LogContext(NamedTuple):
    """Where an event happens: the context columns of the log, and the course."""

    contextid: int
    contextlevel: int
    contextinstanceid: int
    courseid: int


class EventClass(NamedTuple):
    """A Moodle event class: the columns that are equal in all of its rows."""

    eventname: str
    component: str
    action: str
    target: str
    objecttable: str | None
    crud: str
    edulevel: int


def _event_class(
    component: str, target: str, action: str, objecttable: str | None, crud: str, edulevel: int
) -> EventClass:
    name = f"\\{component}\\event\\{target}_{action}"
    return EventClass(name, component, action, target, objecttable, crud, edulevel)


LOGGED_IN = _event_class("core", "user", "loggedin", "user", "r", 0)
LOGGED_OUT = _event_class("core", "user", "loggedout", "user", "r", 0)
COURSE_VIEWED = _event_class("core", "course", "viewed", None, "r", 2)
FORUM_REPORT_VIEWED = _event_class("mod_forum", "user_report", "viewed", None, "r", 2)
POST_CREATED = _event_class("mod_forum", "post", "created", "forum_posts", "c", 2)
ATTEMPT_STARTED = _event_class("mod_quiz", "attempt", "started", "quiz_attempts", "c", 2)
ATTEMPT_VIEWED = _event_class("mod_quiz", "attempt", "viewed", "quiz_attempts", "r", 2)
ATTEMPT_SUBMITTED = _event_class("mod_quiz", "attempt", "submitted", "quiz_attempts", "u", 2)
ATTEMPT_REVIEWED = _event_class("mod_quiz", "attempt", "reviewed", "quiz_attempts", "r", 2)
SUBMITTED = _event_class("mod_assign", "assessable", "submitted", "assign_submission", "u", 2)
GRADED = _event_class("mod_assign", "submission", "graded", "assign_grades", "u", 1)

_VIEWED_MODULES = (
    *("page", "quiz", "url", "folder", "forum", "book", "scorm", "resource", "choice", "data"),
    *("feedback", "lesson", "lti", "wiki", "workshop", "chat", "glossary", "imscp", "survey"),
    "facetoface",
)
MODULE_VIEWED = {
    module: _event_class(f"mod_{module}", "course_module", "viewed", module, "r", 2)
    for module in _VIEWED_MODULES
}
EVENT_NAMES = tuple(
    sorted(
        event_class.eventname
        for event_class in (
            *(LOGGED_IN, LOGGED_OUT, COURSE_VIEWED, FORUM_REPORT_VIEWED, SUBMITTED, GRADED),
            POST_CREATED,
            *(ATTEMPT_STARTED, ATTEMPT_VIEWED, ATTEMPT_SUBMITTED, ATTEMPT_REVIEWED),
            *MODULE_VIEWED.values(),
        )
    )
)

_COLUMNS = (
    *(
        "id",
        *EventClass._fields,
        *LogContext._fields,
        "objectid",
        "userid",
        "relateduserid",
        "anonymous",
    ),
    *("other", "timecreated", "origin", "ip", "realuserid"),
)
_to_json = json.JSONEncoder(separators=(",", ":")).encode


def php_serialize(value: object) -> str:
    """The value as PHP's ``serialize`` writes it; lengths of texts count bytes."""
    if value is None:
        return "N;"
    if isinstance(value, bool):
        return f"b:{value:d};"
    if isinstance(value, int):
        return f"i:{value};"
    if isinstance(value, str):
        return f's:{len(value.encode())}:"{value}";'
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        body = "".join(php_serialize(key) + php_serialize(item) for key, item in items)
        return f"a:{len(value)}:{{{body}}}"
    raise TypeError(type(value).__name__)


def php_json(value: object) -> str:
    """The value as PHP's ``json_encode`` writes it: ASCII only, slashes escaped."""
    return _to_json(value).replace("/", "\\/")


class Journal:
    """Log rows, buffered until their hour is complete, then written in the order of their ids.

    Args:
        tables: where the rows are added.
        end: rows written at this Unix time or later are dropped.
        json_from: Unix time from which ``other`` is JSON (the log store's ``jsonformat`` was
            switched on); before it, ``other`` is PHP's serialization.

    Attributes:
        counts: rows by event name.
        hours: rows by hour number of ``timecreated``.
    """

    def __init__(self, tables: Tables, end: int, json_from: int) -> None:
        self.counts: Counter[str] = Counter()
        self.hours: Counter[int] = Counter()
        self._tables = tables
        self._end = end
        self._json_from = json_from
        self._buffered: dict[int, list[tuple[int, tuple[Value, ...]]]] = defaultdict(list)

    def write(
        self,
        second: int,
        event_class: EventClass,
        context: LogContext,
        userid: int,
        *,
        objectid: int | None = None,
        relateduserid: int | None = None,
        other: Other | None = None,
        anonymous: int = 0,
        origin: str = "web",
        ip: str | None = None,
        realuserid: int | None = None,
        delay: int = 0,
    ) -> None:
        """Log one event.

        Args:
            second: ``timecreated``, a Unix time.
            event_class: the event class.
            context: where it happened.
            userid: who triggered it.
            objectid: id in ``event_class.objecttable``.
            relateduserid: the user whom it is about.
            other: the event data.
            anonymous: 1 when the acting user must not be shown.
            origin: web, ws or cli.
            ip: address of the client.
            realuserid: who was logged in as ``userid``.
            delay: seconds after which the row is written. Moodle buffers rows, so rows of long
                processes get higher ids than rows of later events.
        """
        written = second + delay
        if written >= self._end:
            return
        encode = php_json if second >= self._json_from else php_serialize
        row = (
            *(*event_class, *context, objectid, userid, relateduserid, anonymous),
            *(encode(other), second, origin, ip, realuserid),
        )
        self._buffered[written // SECONDS].append((written, row))
        self.hours[second // SECONDS] += 1

    def close_hour(self, number: int) -> None:
        """Write the rows of an hour. Hours are closed in order, each when it gets no more rows."""
        entries = self._buffered.pop(number, [])
        entries.sort(key=lambda entry: entry[0])
        self.counts.update(str(row[0]) for _, row in entries)
        table = "logstore_standard_log"
        rows = [(self._tables.reserve(table), *row) for _, row in entries]
        self._tables.add_tuples(table, _COLUMNS, rows)
