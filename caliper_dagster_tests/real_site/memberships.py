"""What a person was in a course: by the log until its last change, by Moodle's tables since."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

from caliper_dagster_tests.real_site.site import Row, Site

ROLES = {
    "student": {"Learner"},
    "editingteacher": {"Instructor"},
    "teacher": {"Instructor", "Instructor#TeachingAssistant"},
    "manager": {"Administrator"},
    "coursecreator": {"ContentDeveloper"},
    "guest": {"Learner", "Learner#GuestLearner"},
    "user": {"Member"},
    "frontpage": {"Member"},
}
ADMINISTRATOR = {"Administrator", "Administrator#SystemAdministrator"}

_CHANGES = {
    rf"\core\event\{name}": (given, is_role)
    for name, given, is_role in (
        ("role_assigned", True, True),
        ("role_unassigned", False, True),
        ("user_enrolment_created", True, False),
        ("user_enrolment_deleted", False, False),
    )
}


class Standing:
    """Roles and status of persons in courses (mapping.md §8)."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._courses = site.table("course").keys()
        self._archetypes = {row.id: row.archetype for row in site.table("role").values()}
        self._living = {row.id for row in site.rows("SELECT id FROM [user] WHERE deleted = 0")}
        administrators = site.table("config", "name")["siteadmins"].value.split(",")
        self._administrators = set(map(int, administrators))

    def roles(self, person: int, course: int, time: int) -> set[str] | None:
        """Caliper roles; None where neither the tables nor the log tell anything.

        Moodle forgets the roles of deleted users and those in deleted courses.
        """
        assigned = self._assigned[person, course]
        if self.has_left(person, course):
            if (person, course) not in self._told:
                known = course in self._courses and person in self._living
                return {"Member"} if known else None
            assigned = {
                role for is_role, role in self._held(person, course, time) if is_role
            }  # fmt: skip
        elif course not in self._courses:
            return None
        else:
            changed = {role for is_role, role in self._changed(person, course, time) if is_role}
            held = {role for is_role, role in self._held(person, course, time) if is_role}
            assigned = assigned - changed | held & changed
        roles = set().union(
            *(ROLES[self._archetypes[role]] for role in assigned if role in self._archetypes)
        )
        if person in self._administrators:
            roles |= ADMINISTRATOR
        return roles or {"Member"}

    def status(self, person: int, course: int, time: int) -> str | None:
        """Whether an enrolment held at the time."""
        if self.roles(person, course, time) is None:
            return None
        if self.has_left(person, course) and (person, course) in self._told:
            active = any(not is_role for is_role, _ in self._held(person, course, time))
        else:
            gone = {
                (False, enrolment)
                for is_role, enrolment in self._changed(person, course, time)
                if not is_role and enrolment not in self._enrolment_ids
            }
            active = any(begin <= time < end for begin, end in self._periods[person, course])
            active = active or bool(gone & self._held(person, course, time))
        return "Active" if active else "Inactive"

    def has_left(self, person: int, course: int) -> bool:
        """Whether the tables hold neither a role nor an enrolment. Administrators need none."""
        if person in self._administrators:
            return False
        pair = (person, course)
        return not self._assigned[pair] and pair not in self._enrolled

    @cached_property
    def _assigned(self) -> dict[tuple[int, int], set[int]]:
        found = defaultdict(set)
        for row in self._site.rows(
            "SELECT c.instanceid AS course, a.userid, a.roleid FROM [context] c "
            "JOIN [role_assignments] a ON CONCAT(c.path, '/') LIKE CONCAT('%/', a.contextid, '/%') "
            "WHERE c.contextlevel = 50"
        ):
            found[row.userid, row.course].add(row.roleid)
        return found

    @cached_property
    def _enrolments(self) -> list[Row]:
        return self._site.rows(
            "SELECT ue.id, ue.userid, e.courseid, ue.timestart, ue.timeend, ue.timecreated, "
            "ue.status = 0 AND e.status = 0 AS holds "
            "FROM [user_enrolments] ue JOIN [enrol] e ON e.id = ue.enrolid"
        )

    @cached_property
    def _enrolled(self) -> set[tuple[int, int]]:
        return {(row.userid, row.courseid) for row in self._enrolments}

    @cached_property
    def _enrolment_ids(self) -> set[int]:
        return {row.id for row in self._enrolments}

    @cached_property
    def _periods(self) -> dict[tuple[int, int], list[tuple[int, float]]]:
        found = defaultdict(list)
        for row in self._enrolments:
            if row.holds:
                period = (row.timestart or row.timecreated, row.timeend or float("inf"))
                found[row.userid, row.courseid].append(period)
        return found

    # The log

    @cached_property
    def _told(self) -> dict[tuple[int, int], list[Row]]:
        """Rows that gave or took a role or an enrolment in a course itself."""
        found = defaultdict(list)
        for row in self._site.log:
            if row.eventname in _CHANGES and row.contextlevel == 50 and not row.anonymous:
                found[row.relateduserid, row.courseid].append(row)
        return found

    def _changed(self, person: int, course: int, time: int) -> set[tuple[bool, int]]:
        """The roles and enrolments that the log gave after the time, or took at it or after."""
        return {
            (is_role, row.objectid)
            for row in self._told[person, course]
            for given, is_role in [_CHANGES[row.eventname]]
            if row.timecreated > time or (row.timecreated == time and not given)
        }

    def _held(self, person: int, course: int, time: int) -> set[tuple[bool, int]]:
        """Roles and enrolments that were held; one is held to the end of the second of its loss.

        What the log only takes away was held since before it began.
        """
        held: dict[tuple[bool, int], bool] = {}
        for row in self._told[person, course]:
            given, is_role = _CHANGES[row.eventname]
            thing = (is_role, row.objectid)
            if row.timecreated > time or (not given and row.timecreated == time):
                held.setdefault(thing, not given)
            else:
                held[thing] = given
        return {thing for thing, holds in held.items() if holds}
