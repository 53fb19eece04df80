"""Roles and enrolments of people who have left a course, reconstructed from the log.

Moodle deletes role assignments and enrolments; only the log still records them. A role that was
assigned and not yet unassigned was held. A role whose first event in the log unassigns it was held
from before the log began. Nothing else proves a role.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.lookups.log_lifecycle import (
    ENROLMENT_CREATED,
    ENROLMENT_DELETED,
    ROLE_ASSIGNED,
    ROLE_UNASSIGNED,
    LogLifecycle,
)

_COURSE_LEVEL = 50
_BEFORE_LOG = -1


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
        """The Unix times at which :meth:`holds_at` may change."""
        for start, end in self._periods:
            yield start
            if end is not None:
                yield end + 1

    def holds_at(self, time: int) -> bool:
        """Whether a period contains a Unix time."""
        return any(start <= time and (end is None or time <= end) for start, end in self._periods)


class FormerMembers:
    """Roles and enrolments of (user, course) pairs that have none in the database any more.

    The times at which roles or enrolments of a pair change divide time into *intervals*, numbered
    from 0.

    Args:
        lifecycle: the lifecycle rows of the whole log.
        pairs: (user id, course id) of people without a role or enrolment in the database.
    """

    def __init__(self, lifecycle: LogLifecycle, pairs: Iterable[tuple[int, int]]) -> None:
        pairs = set(pairs)
        self._roles: dict[tuple[int, int], dict[int, HeldPeriods]] = {}
        self._enrolments: dict[tuple[int, int], dict[int, HeldPeriods]] = {}
        rows = lifecycle.rows(
            (ROLE_ASSIGNED, ROLE_UNASSIGNED, ENROLMENT_CREATED, ENROLMENT_DELETED),
            {
                "contextlevel": {_COURSE_LEVEL},
                "courseid": {course for _, course in pairs},
                "relateduserid": {user for user, _ in pairs},
            },
        )
        for row in sorted(rows, key=lambda row: (row["timecreated"], row["id"])):
            pair = (row["relateduserid"], row["courseid"])
            if pair in pairs:
                self._add(pair, row)
        self._changes = {
            pair: sorted(
                {
                    change
                    for held in (self._roles, self._enrolments)
                    for periods in held.get(pair, {}).values()
                    for change in periods.changes()
                }
            )
            for pair in self._roles.keys() | self._enrolments.keys()
        }

    def _add(self, pair: tuple[int, int], row: Record) -> None:
        is_role = row["eventname"] in (ROLE_ASSIGNED, ROLE_UNASSIGNED)
        held = (self._roles if is_role else self._enrolments).setdefault(pair, {})
        periods = held.setdefault(row["objectid"] or 0, HeldPeriods())
        if row["eventname"] in (ROLE_ASSIGNED, ENROLMENT_CREATED):
            periods.begin(row["timecreated"])
        else:
            periods.end(row["timecreated"])

    def __contains__(self, pair: tuple[int, int]) -> bool:
        return pair in self._changes

    def interval(self, pair: tuple[int, int], time: int) -> int:
        """The number of the pair's interval that contains a Unix time."""
        return bisect_right(self._changes[pair], time)

    def interval_count(self) -> int:
        """The largest number of intervals that a pair has; 1 without pairs."""
        return max(map(len, self._changes.values()), default=0) + 1

    def state(self, pair: tuple[int, int], interval: int) -> tuple[set[int], bool]:
        """Ids of the roles held in an interval, and whether an enrolment was held."""
        time = self._changes[pair][interval - 1] if interval else _BEFORE_LOG - 1
        roles = {id_ for id_, held in self._roles.get(pair, {}).items() if held.holds_at(time)}
        enrolled = any(held.holds_at(time) for held in self._enrolments.get(pair, {}).values())
        return roles, enrolled
