"""People: users, their roles in a course, and their enrolments.

Roles are those assigned in the course's context and its ancestors (category, system): as
``role_assignments`` has them today, and where the log has changed them after a row, as they were
before (``membership_history``). The translator decides which Caliper role they become.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from caliper_dagster.expander.bulk_read import plain_values
from caliper_dagster.expander.connection import MoodleDatabase, Record
from caliper_dagster.expander.lookups.log_lifecycle import LogLifecycle
from caliper_dagster.expander.lookups.membership_history import (
    COURSE_LEVEL,
    MembershipHistory,
    Place,
    Today,
)
from caliper_dagster.expander.record_columns import (
    Integers,
    RecordColumn,
    distinct_codes,
    preserialized,
)

_USER = ("id", "username", "idnumber", "firstname", "lastname", "email", "deleted")
_DELETED_USER = ("id", "deleted")
_FRONT_PAGE = 1
_FOREVER = 2**62
_NOTHING: frozenset[int] = frozenset()


def _values(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The rows of a table of integers."""
    return zip(*map(plain_values, table.columns), strict=True)


@dataclass(frozen=True, slots=True)
class Site:
    """What the whole site is called, and its configuration in the table ``config``."""

    release: str | None
    name: str | None
    guest: int | None
    administrators: frozenset[int]

    @classmethod
    def read(cls, database: MoodleDatabase) -> Site:
        """Read ``release``, ``siteguest`` and ``siteadmins`` (ids separated by commas).

        The name of the site is that of the front page, which is a course.
        """
        rows = database.small_table(
            "config",
            ("name", "value"),
            "name IN ('release', 'siteguest', 'siteadmins')",
            "name",
        )
        config = {row["name"]: row["value"] or "" for row in rows}
        administrators = config.get("siteadmins", "").split(",")
        guest = config.get("siteguest", "")
        front_page = database.small_table("course", ("fullname",), f"id = {_FRONT_PAGE}", "id")
        return cls(
            config.get("release") or None,
            next((course["fullname"] for course in front_page), None) or None,
            int(guest) if guest.isdigit() else None,
            frozenset(int(user) for user in administrators if user.strip().isdigit()),
        )

    @property
    def record(self) -> Record:
        """The record of the column ``site``."""
        return {"release": self.release, "name": self.name}


def users(database: MoodleDatabase, ids: Iterable[int], site: Site) -> dict[int, Record]:
    """Users by id. A deleted user has only ``id`` and ``deleted``: Moodle overwrites the rest.

    The site's guest account has ``guest``: anybody may use it, it is not a person.
    """
    records = {}
    for user in database.records("user", _USER, {"id": ids}):
        record = {key: user[key] for key in _DELETED_USER} if user["deleted"] else user
        if user["id"] == site.guest:
            record = {**record, "guest": 1}
        records[user["id"]] = record
    return records


class Memberships:
    """Roles and enrolments of (user, course) pairs, read once for all pairs of a table.

    Args:
        database: an open Moodle database.
        site: administrators and guest account of the site.
        lifecycle: what the log says about past roles and enrolments.
        deleted_users: ids of deleted users, whose roles and enrolments Moodle deletes too.
        pairs: (user id, course id).
        since: Unix time of the earliest row that is asked about.
    """

    def __init__(
        self,
        database: MoodleDatabase,
        site: Site,
        lifecycle: LogLifecycle,
        deleted_users: set[int],
        pairs: Iterable[tuple[int, int]],
        since: int,
    ) -> None:
        pairs = set(pairs)
        users = {user for user, _ in pairs}
        courses = {course for _, course in pairs}
        self._site = site
        self._deleted_users = deleted_users
        contexts = database.records(
            "context",
            ("instanceid", "path"),
            {"instanceid": courses},
            f"contextlevel = {COURSE_LEVEL}",
            ("contextlevel",),
        )
        self._ancestors = {
            context["instanceid"]: [
                int(step) for step in (context["path"] or "").split("/") if step
            ]
            for context in contexts
        }
        context_ids = {step for path in self._ancestors.values() for step in path}
        self._roles = {
            role["id"]: {"shortname": role["shortname"], "archetype": role["archetype"]}
            for role in database.small_table("role", ("id", "shortname", "archetype"))
        }
        self._role_json: dict[frozenset[int], orjson.Fragment] = {}
        self._assigned: dict[tuple[int, int], set[int]] = {}
        for user, role, context in _values(
            database.integers(
                "role_assignments",
                ("userid", "roleid", "contextid"),
                {"userid": users, "contextid": context_ids},
            )
        ):
            self._assigned.setdefault((user, context), set()).add(role)
        place_of: dict[int, Place] = {
            context["id"]: (context["contextlevel"], context["instanceid"])
            for context in database.records(
                "context", ("id", "contextlevel", "instanceid"), {"id": context_ids}
            )
        }
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
        enrolment_ids: dict[tuple[int, int], set[int]] = {}
        for id_, method, user, status, start, end, created in _values(
            database.integers(
                "user_enrolments",
                ("id", "enrolid", "userid", "status", "timestart", "timeend", "timecreated"),
                {"userid": users, "enrolid": methods},
            )
        ):
            pair = (user, methods[method]["courseid"])
            periods = self._enrolments.setdefault(pair, [])
            enrolment_ids.setdefault(pair, set()).add(id_)
            if not status and not methods[method]["status"]:
                periods.append((start or created or 0, end or _FOREVER))
        steps = {
            course: [
                (place_of[step], step)
                for step in self._ancestors.get(course, ())
                if step in place_of
            ]
            for course in courses
        }
        places = {
            course: {(COURSE_LEVEL, course), *(place for place, _ in of_course)}
            for course, of_course in steps.items()
        }
        today = {
            (user, course): Today(
                {
                    (place, role)
                    for place, step in steps[course]
                    for role in self._assigned.get((user, step), ())
                },
                enrolment_ids.get((user, course), _NOTHING),
                decides=not self._may_have_left((user, course)),
            )
            for user, course in pairs
        }
        self._history = MembershipHistory(lifecycle, today, places, since)

    def fill(
        self,
        column: RecordColumn,
        rows: Integers,
        pairs: Sequence[tuple[int, int]],
        codes: Integers,
        times: Integers,
    ) -> None:
        """Fill a membership column.

        Records have ``user``, ``course``, ``roles`` (``shortname``, ``archetype``), ``active``
        (whether an enrolment holds at the time of the row), ``siteadmin`` and ``guest``. Where the
        log has changed the pair after the row, or the database has neither a role nor an enrolment
        of it, the record has what the log proves for the time of the row, and ``replayed``. A
        record has no ``roles`` where they are unknown: the course's context or the user was
        deleted, and the log has no event about them.

        Args:
            column: the column.
            rows: the positions of the rows to fill.
            pairs: user id above 0 and course id above 1.
            codes: index of the pair of each of these rows.
            times: Unix time of each of these rows.
        """
        states = self._states(pairs, codes, times)
        state_count = 2 * self._history.interval_count()
        keys, indices = distinct_codes(codes * state_count + states)
        records = [
            column.add(self._record(pairs[key // state_count], key % state_count))
            for key in keys.tolist()
        ]
        column.assign_codes(rows, np.array(records, dtype=np.int64)[indices])

    def _may_have_left(self, pair: tuple[int, int]) -> bool:
        """Whether the pair has no role and no enrolment in the database.

        Administrators and the guest account have not left: they need no role.
        """
        user, course = pair
        if user == self._site.guest or user in self._site.administrators:
            return False
        path = self._ancestors.get(course, [])
        return pair not in self._enrolments and not any(
            self._assigned.get((user, step)) for step in path
        )

    def _states(
        self,
        pairs: Sequence[tuple[int, int]],
        codes: Integers,
        times: Integers,
    ) -> Integers:
        """The state of each row: twice the interval, and 1 more with an active enrolment."""
        active = np.zeros(len(codes), dtype=bool)
        periods = [self._enrolments.get(pair, []) for pair in pairs]
        for nth in range(max(map(len, periods), default=0)):
            begin, end = np.array(
                [period[nth] if nth < len(period) else (_FOREVER, 0) for period in periods]
            ).T
            active |= (begin[codes] <= times) & (times < end[codes])
        return 2 * self._history.intervals(pairs, codes, times) + active

    def _record(self, pair: tuple[int, int], state: int) -> Record:
        user, course = pair
        record: Record = {"user": user, "course": course}
        path = self._ancestors.get(course)
        past = self._history.past(pair, state // 2)
        if past:
            record["roles"] = self._role_records(past.roles)
            record["active"] = int(past.enrolled or state % 2)
            record["replayed"] = 1
            if user in self._site.administrators:
                record["siteadmin"] = 1
            return record
        if path is None:
            return record
        roles = {role for step in path for role in self._assigned.get((user, step), ())}
        if user in self._deleted_users and not roles:
            return record
        record["roles"] = self._role_records(roles)
        record["active"] = state % 2
        if user in self._site.administrators:
            record["siteadmin"] = 1
        elif self._is_guest(user, course, has_role=bool(roles)):
            record["guest"] = 1
        return record

    def _role_records(self, roles: set[int]) -> orjson.Fragment:
        key = frozenset(roles)
        if key not in self._role_json:
            known = [self._roles[role] for role in sorted(roles) if role in self._roles]
            self._role_json[key] = preserialized(known)
        return self._role_json[key]

    def _is_guest(self, user: int, course: int, *, has_role: bool) -> bool:
        """Whether the user is a guest in the course.

        That is the guest account, or, in a course with guest access, anybody without a role or an
        enrolment.
        """
        if has_role or (user, course) in self._enrolments:
            return False
        return user == self._site.guest or course in self._guest_access
