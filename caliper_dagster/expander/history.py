"""Roles of people who have left, replayed from the log: what is gone from the tables.

A role that was assigned and not yet unassigned was held. So was one whose first row in the log
takes it away: it was given before the log began. Nothing else proves a role.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.lookups.log_lifecycle import (
    ENROLLED,
    ROLE_GIVEN,
    ROLE_TAKEN,
    UNENROLLED,
)

_COURSE_LEVEL = 50
_FIRST = -1


class _Held:
    """When one thing (a role, an enrolment) was held by somebody: times of getting and losing it.

    In the second in which it is lost it still counts, so that the row which says so has it too.
    """

    def __init__(self) -> None:
        self._periods: list[tuple[int, int | None]] = []

    def get(self, time: int) -> None:
        """It is given; giving it again changes nothing."""
        if not self._periods or self._periods[-1][1] is not None:
            self._periods.append((time, None))

    def lose(self, time: int) -> None:
        """It is taken away; if it was never given, it was held from before the log on."""
        if not self._periods:
            self._periods.append((_FIRST, time))
        elif self._periods[-1][1] is None:
            self._periods[-1] = (self._periods[-1][0], time)

    def changes(self) -> Iterable[int]:
        """Times at which the answer may change."""
        for start, end in self._periods:
            yield start
            if end is not None:
                yield end + 1

    def at(self, time: int) -> bool:
        """Whether it was held at a time."""
        return any(start <= time and (end is None or time <= end) for start, end in self._periods)


class Departed:
    """What the log tells of (user, course) pairs of which the tables tell nothing any more."""

    def __init__(self, database: MoodleDatabase, pairs: Iterable[tuple[int, int]]) -> None:
        wanted = set(pairs)
        self._roles: dict[tuple[int, int], dict[int, _Held]] = {}
        self._enrolments: dict[tuple[int, int], dict[int, _Held]] = {}
        users, courses = ({pair[place] for pair in wanted} for place in (0, 1))
        rows = database.lifecycle.rows(
            (ROLE_GIVEN, ROLE_TAKEN, ENROLLED, UNENROLLED),
            {"contextlevel": {_COURSE_LEVEL}, "courseid": courses, "relateduserid": users},
        )
        for row in sorted(rows, key=lambda row: (row["timecreated"], row["id"])):
            pair = (row["relateduserid"], row["courseid"])
            if pair in wanted:
                self._note(pair, row)
        self._moments = {
            pair: sorted(
                {
                    moment
                    for of in (self._roles, self._enrolments)
                    for held in of.get(pair, {}).values()
                    for moment in held.changes()
                }
            )
            for pair in self._roles.keys() | self._enrolments.keys()
        }

    def _note(self, pair: tuple[int, int], row: Record) -> None:
        of_role = row["eventname"] in (ROLE_GIVEN, ROLE_TAKEN)
        things = (self._roles if of_role else self._enrolments).setdefault(pair, {})
        held = things.setdefault(row["objectid"] or 0, _Held())
        if row["eventname"] in (ROLE_GIVEN, ENROLLED):
            held.get(row["timecreated"])
        else:
            held.lose(row["timecreated"])

    def __contains__(self, pair: tuple[int, int]) -> bool:
        return pair in self._moments

    def phase(self, pair: tuple[int, int], time: int) -> int:
        """A number that is the same for times between which nothing changed for the pair."""
        return bisect_right(self._moments[pair], time)

    def most_phases(self) -> int:
        """One more than the highest phase of any pair."""
        return max(map(len, self._moments.values()), default=0) + 1

    def state(self, pair: tuple[int, int], phase: int) -> tuple[set[int], bool]:
        """Ids of the roles held in a phase, and whether an enrolment was."""
        time = self._moments[pair][phase - 1] if phase else _FIRST - 1
        roles = {id_ for id_, held in self._roles.get(pair, {}).items() if held.at(time)}
        enrolled = any(held.at(time) for held in self._enrolments.get(pair, {}).values())
        return roles, enrolled
