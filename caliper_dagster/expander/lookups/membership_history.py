"""Past roles and enrolments, replayed from the log.

Moodle's tables hold the roles and enrolments of today; only the log records those before. A role
that was assigned and not yet unassigned was held. A role whose first event in the log unassigns it
was held from before the log began. Nothing else proves a role.

The log decides for every time before the last of its rows about a role or an enrolment, the tables
for the time since. Where the tables know neither a role nor an enrolment any more, because the user
has left the course or the course is deleted, the log decides for all times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.lookups.log_lifecycle import (
    ENROLMENT_CREATED,
    ENROLMENT_DELETED,
    ROLE_ASSIGNED,
    ROLE_UNASSIGNED,
    LogLifecycle,
)
from caliper_dagster.expander.record_columns import Integers

COURSE_LEVEL = 50
_LEVELS = {10, 40, COURSE_LEVEL}
_ROLE_EVENTS = (ROLE_ASSIGNED, ROLE_UNASSIGNED)
_EVENTS = (*_ROLE_EVENTS, ENROLMENT_CREATED, ENROLMENT_DELETED)
_NO_COURSE = 0
_BEFORE_LOG = -1
_END_OF_TIME = 2**40
"""Later than any Unix time that Moodle writes."""

Pair = tuple[int, int]
"""User id and course id."""
Place = tuple[int, int]
"""Level and instance id of a context in which roles are assigned: a course or what contains it."""


class HeldPeriods:
    """The periods in which somebody held one thing: a role, or an enrolment.

    The second in which it ends belongs to the period, so that the log row that ends it has it too.
    """

    def __init__(self) -> None:
        self._periods: list[tuple[int, int | None]] = []

    def begin(self, time: int) -> None:
        """A period begins; without effect while one is open."""
        if not self._periods or self._periods[-1][1] is not None:
            self._periods.append((time, None))

    def end(self, time: int) -> None:
        """The open period ends; without any period, one from before the log until now is added."""
        if not self._periods:
            self._periods.append((_BEFORE_LOG, time))
        elif self._periods[-1][1] is None:
            self._periods[-1] = (self._periods[-1][0], time)

    def changes(self) -> Iterable[int]:
        """The Unix times at which :meth:`holds_at` may change, in their order."""
        for start, end in self._periods:
            yield start
            if end is not None:
                yield end + 1

    def last_change(self) -> int:
        """The last of :meth:`changes`."""
        start, end = self._periods[-1]
        return start if end is None else end + 1

    def holds_at(self, time: int) -> bool:
        """Whether a period contains a Unix time."""
        return any(start <= time and (end is None or time <= end) for start, end in self._periods)


class Today(NamedTuple):
    """What the tables hold of one pair.

    Attributes:
        places: the course and what contains it.
        roles: ids of the roles that are assigned in each of these places.
        enrolments: ids of the enrolments.
        decides: whether the tables decide for the time since the last change. They do not where
            they have neither a role nor an enrolment.
    """

    places: frozenset[Place]
    roles: Mapping[Place, set[int]]
    enrolments: set[int]
    decides: bool


class Past(NamedTuple):
    """What a pair held in one interval.

    Attributes:
        roles: ids of the roles.
        enrolled: whether it held an enrolment that the tables no longer have.
    """

    roles: set[int]
    enrolled: bool


class MembershipHistory:
    """Roles and enrolments of (user, course) pairs as the log records them.

    The times at which the log changes a pair divide time into *intervals*, numbered from 0.

    Args:
        lifecycle: the lifecycle rows of the whole log.
        today: what the tables hold of each pair.
        since: Unix time of the earliest row that is asked about. A pair that the tables decide for
            and that changed only before has no intervals.
    """

    def __init__(self, lifecycle: LogLifecycle, today: Mapping[Pair, Today], since: int) -> None:
        self._today = today
        self._courses: dict[int, list[int]] = {}
        for user, course in today:
            self._courses.setdefault(user, []).append(course)
        pairs = {pair for pair, known in today.items() if not known.decides}
        for row in self._rows(lifecycle, self._courses, since):
            pairs.update(self._pairs_of(row))
        self._roles: dict[Pair, dict[tuple[Place, int], HeldPeriods]] = {}
        self._enrolments: dict[Pair, dict[int, HeldPeriods]] = {}
        if pairs:
            rows = self._rows(lifecycle, {user for user, _ in pairs})
            for row in sorted(rows, key=lambda row: (row["timecreated"], row["id"])):
                for pair in self._pairs_of(row):
                    if pair in pairs:
                        self._add(pair, row)
        self._changes = {
            pair: sorted(
                {
                    change
                    for periods in (
                        *self._roles.get(pair, {}).values(),
                        *self._enrolments.get(pair, {}).values(),
                    )
                    for change in periods.changes()
                }
            )
            for pair in sorted(self._roles.keys() | self._enrolments.keys())
        }
        self._numbers = {pair: number for number, pair in enumerate(self._changes)}
        self._firsts = np.cumsum([0, *map(len, self._changes.values())])
        # All changes of all pairs in one sorted array: the pair, then the time.
        self._keys = np.array(
            [
                number * _END_OF_TIME + max(change, 0)
                for number, changes in enumerate(self._changes.values())
                for change in changes
            ],
            dtype=np.int64,
        )

    def _rows(
        self, lifecycle: LogLifecycle, users: Iterable[int], since: int | None = None
    ) -> list[Record]:
        where = {
            "relateduserid": users,
            "contextlevel": _LEVELS,
            # Rows in a context above a course are in no course.
            "courseid": {_NO_COURSE, *(course for _, course in self._today)},
        }
        return lifecycle.rows(_EVENTS, where, since=since)

    def _pairs_of(self, row: Record) -> Iterable[Pair]:
        """The pairs that a row is about: those of its course, or of all courses in its place."""
        user, place = row["relateduserid"], _place(row)
        pairs = [(user, course) for course in self._courses[user]]
        return [pair for pair in pairs if place in self._today[pair].places]

    def _add(self, pair: Pair, row: Record) -> None:
        id_ = row["objectid"] or 0
        if row["eventname"] in _ROLE_EVENTS:
            periods = self._roles.setdefault(pair, {}).setdefault((_place(row), id_), HeldPeriods())
        else:
            periods = self._enrolments.setdefault(pair, {}).setdefault(id_, HeldPeriods())
        if row["eventname"] in (ROLE_ASSIGNED, ENROLMENT_CREATED):
            periods.begin(row["timecreated"])
        else:
            periods.end(row["timecreated"])

    def interval_count(self) -> int:
        """The largest number of intervals that a pair has; 1 without pairs."""
        return max(map(len, self._changes.values()), default=0) + 1

    def intervals(self, pairs: Sequence[Pair], codes: Integers, times: Integers) -> Integers:
        """The number of the interval of each row; 0 where the log changes nothing of its pair.

        Args:
            pairs: the pairs.
            codes: index of each row's pair.
            times: Unix time of each row.
        """
        if not self._numbers:
            return np.zeros(len(codes), dtype=np.int64)
        numbers = np.array([self._numbers.get(pair, -1) for pair in pairs], dtype=np.int64)[codes]
        keys = numbers * _END_OF_TIME + times.clip(0, _END_OF_TIME - 1)
        intervals = np.searchsorted(self._keys, keys, side="right") - self._firsts[numbers]
        return np.where(numbers >= 0, intervals, 0)

    def past(self, pair: Pair, interval: int) -> Past | None:
        """What a pair held in an interval; None where the tables decide."""
        changes, today = self._changes.get(pair), self._today[pair]
        if changes is None or (today.decides and interval == len(changes)):
            return None
        time = changes[interval - 1] if interval else _BEFORE_LOG - 1
        roles = {(place, role) for place, roles in today.roles.items() for role in roles}
        for role, periods in self._roles.get(pair, {}).items():
            if today.decides and periods.last_change() <= time:
                continue
            roles.discard(role)
            if periods.holds_at(time):
                roles.add(role)
        enrolled = any(
            periods.holds_at(time) and (not today.decides or periods.last_change() > time)
            for id_, periods in self._enrolments.get(pair, {}).items()
            if id_ not in today.enrolments
        )
        return Past({role for _, role in roles}, enrolled)


def _place(row: Record) -> Place:
    level = row["contextlevel"]
    return level, row["courseid"] if level == COURSE_LEVEL else row["contextinstanceid"]
