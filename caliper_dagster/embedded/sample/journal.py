"""The log of the sample site: the thirty event names, and rows in the order Moodle writes them.

What a row of ``logstore_standard_log`` looks like is decided here; who does what, and when, is not.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import NamedTuple

from caliper_dagster.core.hours import SECONDS
from caliper_dagster.embedded.sample.tables import Tables, Value

Other = dict[str, int | str | bool | list[str] | None]


class Place(NamedTuple):
    """Where something happens: the context columns of the log, and the course."""

    contextid: int
    contextlevel: int
    contextinstanceid: int
    courseid: int


class Kind(NamedTuple):
    """A Moodle event class: the columns that are the same in all of its rows."""

    eventname: str
    component: str
    action: str
    target: str
    objecttable: str | None
    crud: str
    edulevel: int


def _kind(
    component: str, target: str, action: str, objecttable: str | None, crud: str, edulevel: int
) -> Kind:
    name = f"\\{component}\\event\\{target}_{action}"
    return Kind(name, component, action, target, objecttable, crud, edulevel)


LOGGED_IN = _kind("core", "user", "loggedin", "user", "r", 0)
LOGGED_OUT = _kind("core", "user", "loggedout", "user", "r", 0)
COURSE_VIEWED = _kind("core", "course", "viewed", None, "r", 2)
FORUM_REPORT_VIEWED = _kind("mod_forum", "user_report", "viewed", None, "r", 2)
ATTEMPT_STARTED = _kind("mod_quiz", "attempt", "started", "quiz_attempts", "c", 2)
ATTEMPT_VIEWED = _kind("mod_quiz", "attempt", "viewed", "quiz_attempts", "r", 2)
ATTEMPT_SUBMITTED = _kind("mod_quiz", "attempt", "submitted", "quiz_attempts", "u", 2)
ATTEMPT_REVIEWED = _kind("mod_quiz", "attempt", "reviewed", "quiz_attempts", "r", 2)
SUBMITTED = _kind("mod_assign", "assessable", "submitted", "assign_submission", "u", 2)
GRADED = _kind("mod_assign", "submission", "graded", "assign_grades", "u", 1)

_VIEWED_MODULES = (
    *("page", "quiz", "url", "folder", "forum", "book", "scorm", "resource", "choice", "data"),
    *("feedback", "lesson", "lti", "wiki", "workshop", "chat", "glossary", "imscp", "survey"),
    "facetoface",
)
MODULE_VIEWED = {
    module: _kind(f"mod_{module}", "course_module", "viewed", module, "r", 2)
    for module in _VIEWED_MODULES
}
EVENT_NAMES = tuple(
    sorted(
        kind.eventname
        for kind in (
            *(LOGGED_IN, LOGGED_OUT, COURSE_VIEWED, FORUM_REPORT_VIEWED, SUBMITTED, GRADED),
            *(ATTEMPT_STARTED, ATTEMPT_VIEWED, ATTEMPT_SUBMITTED, ATTEMPT_REVIEWED),
            *MODULE_VIEWED.values(),
        )
    )
)

_COLUMNS = (
    *("id", *Kind._fields, *Place._fields, "objectid", "userid", "relateduserid", "anonymous"),
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
    """Log rows, held until their hour is complete, then written in the order of their ids.

    Args:
        tables: where the rows go.
        end: nothing that is written at this second (Unix time) or later is kept.
        json_from: from this second on ``other`` is JSON (the store's ``jsonformat`` was switched
            on), before that it is PHP's serialization.

    Attributes:
        counts: rows by event name.
        hours: rows by number of the hour of ``timecreated``.
    """

    def __init__(self, tables: Tables, end: int, json_from: int) -> None:
        self.counts: Counter[str] = Counter()
        self.hours: Counter[int] = Counter()
        self._tables = tables
        self._end = end
        self._json_from = json_from
        self._waiting: dict[int, list[tuple[int, tuple[Value, ...]]]] = defaultdict(list)

    def write(
        self,
        second: int,
        kind: Kind,
        place: Place,
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
            second: ``timecreated``.
            kind: the event class.
            place: where it happened.
            userid: who triggered it.
            objectid: id in ``kind.objecttable``.
            relateduserid: whom it is about.
            other: the event's own data.
            anonymous: 1 when who acted must not be shown.
            origin: web, ws or cli.
            ip: address of the client.
            realuserid: who was logged in as ``userid``.
            delay: seconds after which the row was written; Moodle buffers rows, so that those of
                long processes get higher ids than later events.
        """
        written = second + delay
        if written >= self._end:
            return
        encode = php_json if second >= self._json_from else php_serialize
        row = (
            *(*kind, *place, objectid, userid, relateduserid, anonymous),
            *(encode(other), second, origin, ip, realuserid),
        )
        self._waiting[written // SECONDS].append((written, row))
        self.hours[second // SECONDS] += 1

    def close_hour(self, number: int) -> None:
        """Write the rows of an hour; hours are closed in order, each when nothing can follow."""
        waiting = self._waiting.pop(number, [])
        waiting.sort(key=lambda entry: entry[0])
        self.counts.update(str(row[0]) for _, row in waiting)
        table = "logstore_standard_log"
        rows = [(self._tables.reserve(table), *row) for _, row in waiting]
        self._tables.add_tuples(table, _COLUMNS, rows)
