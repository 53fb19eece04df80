"""Who acted, and as what: users, their roles in a course, their enrolments.

Roles are those assigned in the course's context and in its ancestors (category, system), as
``role_assignments`` holds them today; for people who have left since, those that the log proves.
Which Caliper role they become is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from caliper_dagster.expander.columns import Flags, Integers, RecordColumn, distinct_pairs, group_by
from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.history import Departed

_USER = ("id", "username", "idnumber", "firstname", "lastname", "email", "deleted")
_DELETED = ("id", "deleted")
_COURSE_LEVEL = 50
_FOREVER = 2**62


@dataclass(frozen=True, slots=True)
class Site:
    """What the table ``config`` says about the site."""

    release: str | None
    guest: int | None
    administrators: frozenset[int]

    @classmethod
    def read(cls, database: MoodleDatabase) -> Site:
        """Read it: ``release``, ``siteguest``, ``siteadmins`` (ids separated by commas)."""
        rows = database.records(
            "config",
            ("name", "value"),
            condition="name IN ('release', 'siteguest', 'siteadmins')",
            conditional=("name",),
        )
        config = {row["name"]: row["value"] or "" for row in rows}
        administrators = config.get("siteadmins", "").split(",")
        guest = config.get("siteguest", "")
        return cls(
            config.get("release") or None,
            int(guest) if guest.isdigit() else None,
            frozenset(int(user) for user in administrators if user.strip().isdigit()),
        )

    @property
    def record(self) -> Record:
        """The record of the column ``site``."""
        return {"release": self.release}


def users(database: MoodleDatabase, ids: Iterable[int], site: Site) -> dict[int, Record]:
    """Users by id. A deleted user keeps only ``id``: Moodle overwrites the other columns.

    The site's guest account is marked: it is one account that anybody may use, not a person.
    """
    found = {}
    for user in database.records("user", _USER, {"id": ids}):
        record = {key: user[key] for key in _DELETED} if user["deleted"] else user
        if user["id"] == site.guest:
            record = {**record, "guest": 1}
        found[user["id"]] = record
    return found


class Memberships:
    """Roles and enrolments of (user, course) pairs, read once for all pairs of a table.

    Args:
        database: where to look.
        site: what the site says of its administrators and its guest account.
        gone: ids of users that are deleted. Moodle forgets their roles and enrolments.
        pairs: the pairs.
    """

    def __init__(
        self,
        database: MoodleDatabase,
        site: Site,
        gone: set[int],
        pairs: Iterable[tuple[int, int]],
    ) -> None:
        pairs = set(pairs)
        users = {user for user, _ in pairs}
        courses = {course for _, course in pairs}
        self._site = site
        self._gone = gone
        contexts = database.records(
            "context",
            ("instanceid", "path"),
            {"instanceid": courses},
            f"contextlevel = {_COURSE_LEVEL}",
            ("contextlevel",),
        )
        self._ancestors = {
            context["instanceid"]: [
                int(step) for step in (context["path"] or "").split("/") if step
            ]
            for context in contexts
        }
        within = {step for path in self._ancestors.values() for step in path}
        self._roles = {
            role["id"]: {"shortname": role["shortname"], "archetype": role["archetype"]}
            for role in database.records("role", ("id", "shortname", "archetype"))
        }
        self._assigned: dict[tuple[int, int], set[int]] = {}
        for row in database.records(
            "role_assignments",
            ("userid", "roleid", "contextid"),
            {"userid": users, "contextid": within},
        ):
            self._assigned.setdefault((row["userid"], row["contextid"]), set()).add(row["roleid"])
        enrols = database.records(
            "enrol", ("id", "courseid", "enrol", "status"), {"courseid": courses}
        )
        self._guest_access = {
            enrol["courseid"]
            for enrol in enrols
            if enrol["enrol"] == "guest" and not enrol["status"]
        }
        methods = {enrol["id"]: enrol for enrol in enrols}
        self._enrolments: dict[tuple[int, int], list[tuple[int, int]]] = {}
        enrolments = database.records(
            "user_enrolments",
            ("enrolid", "userid", "status", "timestart", "timeend", "timecreated"),
            {"userid": users, "enrolid": methods},
        )
        for method, rows in group_by(enrolments, "enrolid").items():
            for row in rows:
                pair = (row["userid"], methods[method]["courseid"])
                periods = self._enrolments.setdefault(pair, [])
                if not row["status"] and not methods[method]["status"]:
                    begin = row["timestart"] or row["timecreated"] or 0
                    periods.append((begin, row["timeend"] or _FOREVER))
        self._departed = Departed(database, filter(self._may_have_left, pairs))

    def place(
        self, column: RecordColumn, rows: Flags, users: Integers, courses: Integers, times: Integers
    ) -> None:
        """Fill a membership column for the chosen rows (a user above 0 and a course above 1).

        Records: ``user``, ``course``, ``roles`` (``shortname``, ``archetype``), ``active`` (whether
        an enrolment holds at the time of the row), ``siteadmin``, ``guest``. Pairs of which neither
        a role nor an enrolment is left have those that the log proves for the time of the row, and
        ``replayed``. Where the course's context or the user is gone and the log tells nothing there
        are no ``roles``: nothing is known about them.
        """
        if not rows.any():
            return
        known, codes = distinct_pairs(users[rows], courses[rows])
        phases = self._phases(known, codes, times[rows])
        most = max(self._departed.most_phases(), 2)
        keys = np.zeros(len(users), dtype=np.int64)
        keys[rows] = codes * most + phases
        column.place(
            rows,
            keys,
            {
                int(key): self._record(known[int(key) // most], int(key) % most)
                for key in np.unique(keys[rows])
            },
        )

    def _may_have_left(self, pair: tuple[int, int]) -> bool:
        """Whether the tables tell nothing of the pair. Administrators need no role anywhere."""
        user, course = pair
        if user == self._site.guest or user in self._site.administrators:
            return False
        path = self._ancestors.get(course, [])
        return pair not in self._enrolments and not any(
            self._assigned.get((user, step)) for step in path
        )

    def _phases(
        self,
        pairs: list[tuple[int, int]],
        codes: Integers,
        times: Integers,
    ) -> Integers:
        """Per row: whether an enrolment of its pair is active, or the phase of who has left."""
        active = np.zeros(len(codes), dtype=bool)
        periods = [self._enrolments.get(pair, []) for pair in pairs]
        for nth in range(max(map(len, periods), default=0)):
            begin, end = np.array(
                [period[nth] if nth < len(period) else (_FOREVER, 0) for period in periods]
            ).T
            active |= (begin[codes] <= times) & (times < end[codes])
        phases = active.astype(np.int64)
        gone = np.array([pair in self._departed for pair in pairs], dtype=bool)
        for row in np.flatnonzero(gone[codes]).tolist():
            phases[row] = self._departed.phase(pairs[codes[row]], int(times[row]))
        return phases

    def _record(self, pair: tuple[int, int], phase: int) -> Record:
        user, course = pair
        record: Record = {"user": user, "course": course}
        path = self._ancestors.get(course)
        if pair in self._departed:
            roles, enrolled = self._departed.state(pair, phase)
            record.update(roles=self._names(roles), active=int(enrolled), replayed=1)
            return record
        if path is None:
            return record
        roles = {role for step in path for role in self._assigned.get((user, step), ())}
        if user in self._gone and not roles:
            return record
        record["roles"] = self._names(roles)
        record["active"] = phase
        if user in self._site.administrators:
            record["siteadmin"] = 1
        elif self._is_guest(user, course, has_role=bool(roles)):
            record["guest"] = 1
        return record

    def _names(self, roles: set[int]) -> list[Record]:
        return [self._roles[role] for role in sorted(roles) if role in self._roles]

    def _is_guest(self, user: int, course: int, *, has_role: bool) -> bool:
        """The guest account, or somebody without a role or enrolment where guests are let in."""
        if has_role or (user, course) in self._enrolments:
            return False
        return user == self._site.guest or course in self._guest_access
