"""Past roles and enrolments, replayed from the log.

Moodle's tables hold the roles and enrolments of today; only the log records those before. A role
that was assigned and not yet unassigned was held. A role whose first event in the log unassigns it
was held from before the log began. Nothing else proves a role.

The log decides for every time before the last of its rows about a role or an enrolment, the tables
for the time since. Where the tables know neither a role nor an enrolment any more, because the user
has left the course or the course is deleted, the log decides for all times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from caliper_dagster.expander.bulk_read import plain_values
from caliper_dagster.expander.lookups.log_lifecycle import (
    ENROLMENT_CREATED,
    ENROLMENT_DELETED,
    ROLE_ASSIGNED,
    ROLE_UNASSIGNED,
    LogLifecycle,
)
from caliper_dagster.expander.record_columns import Integers, integers

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


class _Row(NamedTuple):
    """A log row about a role or an enrolment: its event, Unix time, object's id and place."""

    event: str
    time: int
    id: int
    place: Place


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
        roles: ids of the roles that are assigned, each with its place.
        enrolments: ids of the enrolments.
        decides: whether the tables decide for the time since the last change. They do not where
            they have neither a role nor an enrolment.
    """

    roles: Set[tuple[Place, int]]
    enrolments: Set[int]
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
        places: each course and what contains it.
        since: Unix time of the earliest row that is asked about. A pair that the tables decide for
            and that changed only before has no intervals.
    """

    def __init__(
        self,
        lifecycle: LogLifecycle,
        today: Mapping[Pair, Today],
        places: Mapping[int, Iterable[Place]],
        since: int,
    ) -> None:
        self._today = today
        self._courses: dict[Place, list[int]] = {}
        for course, of_course in places.items():
            for place in of_course:
                self._courses.setdefault(place, []).append(course)
        pairs = {pair for pair, known in today.items() if not known.decides}
        for _, of_row in self._rows(lifecycle, {user for user, _ in today}, since):
            pairs.update(of_row)
        self._roles: dict[Pair, dict[tuple[Place, int], HeldPeriods]] = {}
        self._enrolments: dict[Pair, dict[int, HeldPeriods]] = {}
        if pairs:
            for row, of_row in self._rows(lifecycle, {user for user, _ in pairs}):
                for pair in of_row:
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
    ) -> Iterator[tuple[_Row, list[Pair]]]:
        """The rows in the order of the log, and the pairs that each is about.

        These are those of its course, or of all courses in its place.
        """
        where = {
            "relateduserid": users,
            "contextlevel": _LEVELS,
            # Rows in a context above a course are in no course.
            "courseid": {_NO_COURSE, *(course for _, course in self._today)},
        }
        table = lifecycle.table(_EVENTS, where, since=since)
        order = np.lexsort((integers(table["id"]), integers(table["timecreated"])))
        columns = (
            "eventname", "timecreated", "objectid", "relateduserid", "contextlevel", "courseid",
            "contextinstanceid",
        )  # fmt: skip
        values = (plain_values(table[name].take(pa.array(order))) for name in columns)
        for event, time, id_, user, level, course, instance in zip(*values, strict=True):
            place = level, course if level == COURSE_LEVEL else instance
            courses = self._courses.get(place, ())
            pairs = [pair for own in courses if (pair := (user, own)) in self._today]
            yield _Row(event, time, id_ or 0, place), pairs

    def _add(self, pair: Pair, row: _Row) -> None:
        event, time, id_, place = row
        if event in _ROLE_EVENTS:
            periods = self._roles.setdefault(pair, {}).setdefault((place, id_), HeldPeriods())
        else:
            periods = self._enrolments.setdefault(pair, {}).setdefault(id_, HeldPeriods())
        if event in (ROLE_ASSIGNED, ENROLMENT_CREATED):
            periods.begin(time)
        else:
            periods.end(time)

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
        changes = self._changes.get(pair)
        if changes is None:
            return None
        today = self._today[pair]
        if today.decides and interval == len(changes):
            return None
        time = changes[interval - 1] if interval else _BEFORE_LOG - 1
        roles = set(today.roles)
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
