"""What ``mapping.md`` and ``mapping.csv`` say of each log row, worked out row by row."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property
from typing import Any

from caliper_dagster_tests.real_site.site import (
    GUEST,
    WWWROOT,
    Row,
    Site,
    activity,
    course,
    decoded,
    mapping,
    user,
)

ANONYMOUS = "http://purl.imsglobal.org/caliper/Person"
SITE = WWWROOT
"""IRI of the site as SoftwareApplication, which acts when nobody does."""

_SAME_ACT = 60
_LONGEST_SESSION = 24 * 3600


class Prescription:
    """The expected values of every row of the 30 names."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.mapping = mapping()

    # Rules R1 and R2

    def trigger(self, row: Row) -> str:
        """Who acted by rule R1."""
        if row.anonymous:
            return ANONYMOUS
        if self.real_user(row):
            return self._person(self.real_user(row))
        if row.origin == "cli" or row.userid < 0:
            return SITE
        return self._person(row.userid)

    def actor(self, row: Row) -> str:
        """Who acted, after what the map says of the event."""
        if row.anonymous:
            return ANONYMOUS
        if row.eventname.endswith("attempt_submitted") and not row.realuserid:
            return user(row.relateduserid)
        automatic = row.origin == "cli" or row.userid <= 0 or row.userid == row.relateduserid
        if row.eventname.endswith("submission_graded") and automatic and not row.realuserid:
            return SITE
        return self.trigger(row)

    @staticmethod
    def _person(number: int) -> str:
        return user(number) if number > 0 and number != GUEST else ANONYMOUS

    def real_user(self, row: Row) -> int:
        """Who was logged in as the user of a row; 0 for nobody."""
        return row.realuserid or self._log_outs.get(row.id, 0)

    @cached_property
    def _log_outs(self) -> dict[int, int]:
        """The real users of log-outs: Moodle writes those of the other user, without the real one.

        The last that was heard of the other user at that address was somebody logged in as him.
        """
        found: dict[int, int] = {}
        last: dict[tuple[int, str], int] = {}
        for row in self._site.log:
            place = (row.userid, row.ip)
            if row.eventname == r"\core\event\user_loggedinas":
                last[row.relateduserid, row.ip] = row.userid
            elif row.realuserid:
                last[place] = row.realuserid
            elif row.eventname == r"\core\event\user_loggedout" and last.get(place):
                found[row.id] = last.pop(place)
            elif row.eventname == r"\core\event\user_loggedin":
                last.pop(place, None)
        return found

    # Shape

    def shape(self, row: Row, version: str) -> tuple[str, str, str | None]:
        """Type, action, and (in 1.2) profile."""
        rule = self.mapping[row.eventname]
        kind, action, profile = rule["event_type"], rule["action"], rule["profile"]
        if version == "v1p1" and rule["caliper_1_1"] != "same":
            kind, action, _ = rule["caliper_1_1"].split()
        if self.is_removal(row):
            kind, action, profile = "Event", "Removed", "GeneralProfile"
        elif self.actor(row) == SITE and kind != "GradeEvent":
            kind, profile = "Event", "GeneralProfile"
        elif self._media(row):
            profile = "MediaProfile"
        return kind, action, profile if version == "v1p2" else None

    def object(self, row: Row, version: str) -> tuple[str, str]:
        """Type and id of the object."""
        if self.is_removal(row):
            return self.score(row)
        rule = self.mapping[row.eventname]
        if row.eventname.endswith("course_viewed") and row.courseid <= 1:
            return "WebPage", f"{WWWROOT}/"
        if row.eventname.endswith("submission_graded"):
            return "Attempt", self.graded_attempt(row)
        kind = self._media(row) or rule["object_type"]
        if version == "v1p1" and rule["caliper_1_1"] != "same":
            kind = rule["caliper_1_1"].split()[-1]
        return kind, self._filled(rule["object_iri"], row)

    def _media(self, row: Row) -> str | None:
        if not row.eventname.startswith(r"\mod_resource"):
            return None
        kind = (self._mimetypes.get(row.contextid) or "").split("/")[0]
        return {"video": "VideoObject", "audio": "AudioObject", "image": "ImageObject"}.get(kind)

    @cached_property
    def _mimetypes(self) -> dict[int, str]:
        return {
            row.contextid: row.mimetype
            for row in self._site.rows(
                "SELECT contextid, mimetype FROM [files] WHERE component = 'mod_resource' "
                "AND filearea = 'content' AND filename <> '.' ORDER BY sortorder, id DESC"
            )
        }

    @staticmethod
    def _filled(template: str, row: Row) -> str:
        values: dict[str, Any] = {
            "cmid": row.contextinstanceid,
            "objectid": row.objectid,
            "courseid": row.courseid,
            "relateduserid": row.relateduserid,
            **{f"other.{key}": value for key, value in decoded(row.other).items()},
        }
        filled = re.sub(r"\{([\w.]+)\}", lambda match: str(values[match[1]]), template)
        return re.sub(r"^W", WWWROOT, filled)

    def generated(self, row: Row) -> tuple[str, str] | None:
        """Type and id of what the event made."""
        if self.is_removal(row):
            return None
        name = row.eventname.rpartition("\\")[2]
        if name == "submission_graded":
            return self.score(row)
        if name in {"attempt_started", "attempt_submitted", "assessable_submitted"}:
            template = self.mapping[row.eventname]["generated"]
            (iri,) = re.findall(r"^Attempt\((W[^,]+), ", template)
            return "Attempt", f"{self._filled(iri, row)}{self._member(row)}"
        return None

    def _member(self, row: Row) -> str:
        """What tells the attempt of a team's member from that of the team."""
        found = self._site.table("assign_submission").get(row.objectid)
        if not row.eventname.endswith("assessable_submitted") or found is None or found.userid:
            return ""
        return f"-user-{row.relateduserid or row.userid}"

    def target(self, row: Row) -> tuple[str, str, int | None] | None:
        """Type, id and index of the page of a quiz or of a course that was opened."""
        other = decoded(row.other)
        if row.eventname.endswith("attempt_viewed"):
            page = int(other["page"])
            iri = f"{WWWROOT}/mod/quiz/attempt.php?attempt={row.objectid}&page={page}"
            return "Frame", iri, page + 1
        if row.eventname.endswith("attempt_reviewed"):
            return "Frame", f"{WWWROOT}/mod/quiz/review.php?attempt={row.objectid}#page", None
        number = other.get("coursesectionnumber")
        if row.eventname.endswith("course_viewed") and number is not None and row.courseid > 1:
            return "Frame", f"{course(row.courseid)}&section={number}", int(number)
        return None

    # Context

    def group(self, row: Row) -> str | None:
        """The course (rule R4)."""
        return course(row.courseid) if row.courseid > 1 else None

    def membership(self, row: Row) -> tuple[str, str, str] | None:
        """Id, member and organization of the actor's membership."""
        actor = self.actor(row)
        if row.courseid <= 1 or row.anonymous or actor == SITE:
            return None
        if actor == ANONYMOUS:
            if GUEST not in (row.userid, row.realuserid):
                return None
            return ANONYMOUS.replace("Person", "Membership"), ANONYMOUS, course(row.courseid)
        number = actor.rpartition("=")[2]
        iri = f"{WWWROOT}/user/view.php?id={number}&course={row.courseid}"
        return iri, actor, course(row.courseid)

    @cached_property
    def log_ins(self) -> dict[int, Row]:
        """The log-in row that each row's session began with (§9): same person, same address."""
        found: dict[int, Row] = {}
        current: dict[tuple[int, str], Row] = {}
        for row in self._site.log:
            person = self.real_user(row) or row.userid
            if row.origin != "web" or row.anonymous or person <= 0 or person == GUEST or not row.ip:
                continue
            key = (person, row.ip)
            if row.eventname == r"\core\event\user_loggedin":
                current[key] = row
            begin = current.get(key)
            if begin is not None and row.timecreated - begin.timecreated < _LONGEST_SESSION:
                found[row.id] = begin
            if row.eventname == r"\core\event\user_loggedout":
                current.pop(key, None)
        return found

    def log_in(self, row: Row) -> Row | None:
        """The log-in of the event's session: none when another acted than who was logged in."""
        begin = self.log_ins.get(row.id)
        return begin if begin is not None and self.actor(row) == user(begin.userid) else None

    # Grades

    @cached_property
    def grades(self) -> dict[int, Row]:
        """``assign_grades`` by id."""
        return self._site.table("assign_grades")

    @cached_property
    def _assignments(self) -> dict[int, Row]:
        return self._site.table("assign")

    @cached_property
    def _gradebook(self) -> dict[tuple[int, int], list[tuple[Row, float | None]]]:
        """What the log says of each learner's grade in each assignment, in the order of the log."""
        items = {
            item.id: item.iteminstance
            for item in self._site.rows(
                "SELECT id, iteminstance FROM [grade_items] "
                "WHERE itemmodule = 'assign' AND itemnumber = 0"
            )
        }
        found: dict[tuple[int, int], list[tuple[Row, float | None]]] = defaultdict(list)
        for row in sorted(self._site.log, key=lambda row: row.id):
            if row.eventname == r"\core\event\user_graded":
                other = decoded(row.other)
                assignment = items.get(int(other["itemid"]))
                if assignment is None:
                    continue
                final = other["finalgrade"]
                found[assignment, row.relateduserid].append(
                    (row, None if final is None else float(final))
                )
        return found

    def grade_as_of(self, row: Row) -> tuple[bool, float | None]:
        """Whether the grade that a row speaks of is known, and that grade (None: taken away).

        A grade that nobody changed since is what the table says. Of an older one the log itself
        tells: Moodle logs the gradebook's change, by the same grader, just before the row.
        Moodle does not log that nothing became of nothing: then no grade was given.
        """
        grade = self.grades.get(row.objectid)
        if grade is None:
            return False, None
        if grade.timemodified <= row.timecreated:
            return True, float(grade.grade) if grade.grade >= 0 else None
        if not self._assignments[grade.assignment].grade:
            return False, None
        before = [
            (change, final)
            for change, final in self._gradebook[grade.assignment, row.relateduserid]
            if change.id < row.id
        ]
        own = [
            final
            for change, final in before
            if change.userid == row.userid and row.timecreated - change.timecreated <= _SAME_ACT
        ]
        if own:
            return True, own[-1]
        return True, before[-1][1] if before else None

    def is_removal(self, row: Row) -> bool:
        """Whether the row takes a grade away."""
        if not row.eventname.endswith("submission_graded"):
            return False
        return self.grade_as_of(row) == (True, None)

    def score(self, row: Row) -> tuple[str, str]:
        """Type and id of the score."""
        return "Score", f"{activity('assign', row.contextinstanceid)}#grade-{row.objectid}"

    def graded_attempt(self, row: Row) -> str:
        """Id of the attempt that was graded: the submission's, or one made up of the learner."""
        grade = self.grades.get(row.objectid)
        page = activity("assign", row.contextinstanceid)
        if grade is None:
            return f"{page}#user-{row.relateduserid}"
        submission = self.submission(grade)
        if submission is not None:
            member = "" if submission.userid else f"-user-{row.relateduserid}"
            return f"{page}#submission-{submission.id}{member}"
        return f"{page}#user-{row.relateduserid}-attempt-{grade.attemptnumber + 1}"

    def submission(self, grade: Row) -> Row | None:
        """The submission that a grade is for: the learner's own, or that of the team."""
        found = self._submissions[grade.assignment, grade.attemptnumber]
        assignment = self._assignments[grade.assignment]
        if not assignment.teamsubmission:
            return next((row for row in found if row.userid == grade.userid), None)
        # Moodle puts learners in no group, or in several, into the default team.
        groups = self._teams[grade.userid, assignment.course]
        team = groups[0] if len(groups) == 1 else 0
        return next((row for row in found if not row.userid and row.groupid == team), None)

    @cached_property
    def _submissions(self) -> dict[tuple[int, int], list[Row]]:
        found = defaultdict(list)
        for row in self._site.rows("SELECT * FROM [assign_submission] ORDER BY id"):
            found[row.assignment, row.attemptnumber].append(row)
        return found

    @cached_property
    def _teams(self) -> dict[tuple[int, int], list[int]]:
        found = defaultdict(list)
        for row in self._site.rows(
            "SELECT m.userid, g.courseid, g.id FROM [groups_members] m "
            "JOIN [groups] g ON g.id = m.groupid"
        ):
            found[row.userid, row.courseid].append(row.id)
        return found
