"""The static part of the sample site: users, courses, activities, roles and enrolments.

``traffic`` decides what people do there, and ``work`` holds the state that this changes. Column
names in the tables below are Moodle's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from math import ceil
from random import Random
from typing import TypeVar

from caliper_dagster.embedded.sample import names
from caliper_dagster.embedded.sample.journal import LogContext
from caliper_dagster.embedded.sample.tables import Tables, Value

WWWROOT = "https://moodle.example.edu"
DAY = 86400
SYSTEM_CONTEXT = 1
GUEST_ID, ADMIN_ID = 1, 2
STUDENTS_PER_COURSE = 25
NEVER = 1 << 40

# Without ``version``: the sample has some of the tables that a Moodle of its version must have.
CONFIG = (
    ("siteguest", str(GUEST_ID)),
    ("siteadmins", str(ADMIN_ID)),
    ("release", "4.5.6 (Build: 20250811)"),
    ("branch", "405"),
    ("lang", "en"),
    ("timezone", "Europe/Berlin"),
    ("guestroleid", "6"),
    ("notloggedinroleid", "6"),
    ("defaultuserroleid", "7"),
    ("defaultfrontpageroleid", "8"),
)
ROLES = (
    # short name, archetype, name; the first eight are Moodle's own: their name is not stored
    ("manager", "manager", ""),
    ("coursecreator", "coursecreator", ""),
    ("editingteacher", "editingteacher", ""),
    ("teacher", "teacher", ""),
    ("student", "student", ""),
    ("guest", "guest", ""),
    ("user", "user", ""),
    ("frontpage", "frontpage", ""),
    ("tutor", "teacher", "Tutor·in"),
    ("observer", "", "Observer"),
)
ROLE_IDS = {role[0]: number for number, role in enumerate(ROLES, 1)}
SCALES = (
    ("Separate and Connected ways of knowing", "Mostly separate,Separate and connected,Connected"),
    ("Default competence scale", "Not yet competent,Competent"),
    ("Competence", "Not yet,Nearly,Competent,Excellent"),
)
SCALE_SIZES = {number: scale[1].count(",") + 1 for number, scale in enumerate(SCALES, 1)}

MODULES = (
    *("assign", "bigbluebuttonbn", "book", "chat", "choice", "data", "feedback", "folder"),
    *("forum", "glossary", "h5pactivity", "imscp", "label", "lesson", "lti", "page", "quiz"),
    *("resource", "scorm", "subsection", "survey", "url", "wiki", "workshop", "facetoface"),
)
# The first course has every type of activity; the others have these and some of the rest.
COMMON_PLAN = (
    *("forum", "page", "resource", "url", "quiz", "quiz", "assign", "assign", "page", "resource"),
)
OTHER_PLAN = (
    *("folder", "book", "scorm", "choice", "data", "feedback", "lesson", "lti", "wiki"),
    *("workshop", "chat", "glossary", "imscp", "survey", "facetoface"),
)
SHOWCASE_PLAN = (*COMMON_PLAN, *OTHER_PLAN, "quiz", "assign", "assign", "feedback", "resource")

# Columns of the instances other than course, name and intro; instances use the variants in turn.
VARIANTS: dict[str, tuple[dict[str, Value], ...]] = {
    "assign": (
        {"grade": 100, "submissiondrafts": 1},
        {"grade": -3},
        {"grade": 20, "submissiondrafts": 1, "attemptreopenmethod": "manual", "maxattempts": -1},
        {"grade": 50, "teamsubmission": 1},
        {"grade": 10, "blindmarking": 1},
    ),
    "choice": ({"showresults": 1}, {"allowmultiple": 1}),
    "feedback": ({"anonymous": 1}, {"anonymous": 2}),
    "lesson": ({"grade": 10, "maxattempts": 1}, {"grade": -3}),
    "lti": ({"toolurl": "https://lab.example.com/launch", "grade": 100},),
    "page": ({"content": "<p>Lorem ipsum</p>", "contentformat": 1},),
    "quiz": (
        {
            "sumgrades": 5.0,
            "grade": 100.0,
            "questionsperpage": 1,
            "preferredbehaviour": "interactive",
        },
        {
            "sumgrades": 6.0,
            "grade": 10.0,
            "questionsperpage": 2,
            "timelimit": 900,
            "attempts": 3,
            "overduehandling": "autosubmit",
            "preferredbehaviour": "deferredfeedback",
        },
        {
            "sumgrades": 4.0,
            "grade": 20.0,
            "questionsperpage": 1,
            "timelimit": 3600,
            "attempts": 1,
            "preferredbehaviour": "manualgraded",
        },
    ),
    "scorm": ({"maxgrade": 100.0, "maxattempt": 0, "version": "SCORM_1.2", "reference": "a.zip"},),
    "survey": ({"template": 1, "questions": "1,2"}, {"template": 4, "questions": "3"}),
    "url": ({"externalurl": "https://www.example.com/?a=1&b=2"},),
    "workshop": ({"phase": 20, "grade": 80.0, "gradinggrade": 20.0, "strategy": "accumulative"},),
}
# Every second instance has dates: days from the first hour of the log.
DATES: dict[str, dict[str, int]] = {
    "assign": {"allowsubmissionsfromdate": -30, "duedate": 10, "cutoffdate": 40},
    "choice": {"timeopen": -5, "timeclose": 30},
    "feedback": {"timeopen": -20, "timeclose": 60},
    "forum": {"duedate": 14},
    "lesson": {"available": -14, "deadline": 45},
    "quiz": {"timeopen": -10, "timeclose": 60},
    "scorm": {"timeopen": -10, "timeclose": 90},
    "workshop": {"submissionstart": -10, "submissionend": 20},
}
# Gradebook items: item number, column of the activity with its maximum grade.
GRADED: dict[str, tuple[tuple[int, str], ...]] = {
    "assign": ((0, "grade"),),
    "lesson": ((0, "grade"),),
    "lti": ((0, "grade"),),
    "quiz": ((0, "grade"),),
    "scorm": ((0, "maxgrade"),),
    "workshop": ((0, "grade"), (1, "gradinggrade")),
}
FILES = (
    # name, type
    ("notes ü.pdf", "application/pdf"),
    ("recording.mp4", "video/mp4"),
    ("audio guide.mp3", "audio/mpeg"),
    ("diagram.png", "image/png"),
)
NETWORKS = ("192.0.2.{}", "198.51.100.{}", "203.0.113.{}", "2001:db8::{:x}")

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class User:
    """A user; ``seen`` to ``last_ip`` are updated by log-ins.

    Attributes:
        deleted_at: Unix time of the deletion; as in Moodle, the row stays without personal data.
    """

    id: int
    username: str
    firstname: str
    lastname: str
    idnumber: str
    deleted_at: int = NEVER
    courses: list[Course] = field(default_factory=list)
    first_login: int = 0
    previous_login: int = 0
    last_login: int = 0
    last_ip: str = ""

    def address(self, rng: Random) -> str:
        """An address of the user, usually the same one; from ranges reserved for documentation."""
        device = self.id + (rng.randrange(1, 4) if rng.random() < 0.3 else 0)
        return NETWORKS[device % 4].format(device * 7 % 253 + 1)


@dataclass(slots=True, eq=False)
class GradeItem:
    """A ``grade_items`` row; with a scale, ``scaleid`` is set and ``maximum`` is its size."""

    id: int
    maximum: float
    scaleid: int | None


@dataclass(slots=True, eq=False)
class Activity:
    """A course module with its instance; ``columns`` are the instance's."""

    id: int
    module: str
    course: Course
    context: LogContext
    columns: dict[str, Value]
    item: GradeItem | None
    deleted_at: int

    def number(self, column: str) -> float:
        """A numeric column; 0 when it is not set."""
        return float(self.columns.get(column) or 0)


@dataclass(frozen=True, slots=True)
class Post:
    """A post in a forum; ``author`` is a user's id, ``created`` a Unix time."""

    id: int
    author: int
    created: int


@dataclass(slots=True, eq=False)
class Discussion:
    """A discussion in a forum; ``posts`` begins with the one that opens it."""

    id: int
    forum: Activity
    subject: str
    posts: list[Post]


@dataclass(slots=True, eq=False)
class Course:
    """A course with its people.

    Attributes:
        teams: id of the group of each student, by the student's id.
        discussions: the discussion of each forum, by the forum's id.
    """

    id: int
    context: LogContext
    deleted_at: int
    activities: list[Activity] = field(default_factory=list)
    students: list[User] = field(default_factory=list)
    teachers: list[User] = field(default_factory=list)
    teams: dict[int, int] = field(default_factory=dict)
    discussions: dict[int, Discussion] = field(default_factory=dict)

    def of(self, module: str) -> list[Activity]:
        """The activities of one module, in the order of the course."""
        return [activity for activity in self.activities if activity.module == module]


@dataclass(slots=True)
class Site:
    """The site; ``courses`` are the existing ones, and the first has every type of activity."""

    system: LogContext
    front_page: LogContext
    guest: User
    admin: User
    staff: list[User]
    teachers: list[User]
    assistants: list[User]
    students: list[User]
    courses: list[Course]
    deleted_course: Course
    deleted_activities: list[Activity]

    @property
    def users(self) -> list[User]:
        """All users, in the order of their ids."""
        return [self.guest, self.admin, *self.staff, *self.graders, *self.students]

    @property
    def graders(self) -> list[User]:
        """Teachers and assistants."""
        return [*self.teachers, *self.assistants]


def turns(values: Sequence[T], rng: Random) -> Iterator[T]:
    """The values in an endless cycle from a random start."""
    shift = rng.randrange(len(values))
    return cycle((*values[shift:], *values[:shift]))


class SiteBuilder:
    """Adds the site's rows to the tables.

    Args:
        tables: where the rows are added; ``write_users`` adds those of the users.
        rng: makes all random decisions.
        start: first second of the log; the whole site is older.
        deleted_at: Unix time at which objects are deleted to which earlier log rows refer.
    """

    def __init__(self, tables: Tables, rng: Random, start: int, deleted_at: int) -> None:
        self._tables = tables
        self._rng = rng
        self._created = start - 60 * DAY
        self._start = start
        self._gone_at = deleted_at
        self._paths: dict[int, str] = {}
        self._counters: dict[str, int] = {}
        self._first_names = turns(names.FIRST_NAMES, rng)
        self._last_names = turns(names.LAST_NAMES, rng)

    def build(self, students: int) -> Site:
        """Add all rows of a site with a number of students, some of whom are deleted."""
        tables = self._tables
        for name, value in CONFIG:
            tables.add("config", name=name, value=value)
        for number, (shortname, archetype, name) in enumerate(ROLES, 1):
            tables.add(
                "role", name=name, shortname=shortname, archetype=archetype, sortorder=number
            )
        for name, scale in SCALES:
            tables.add("scale", name=name, scale=scale, timemodified=self._created)
        for name in MODULES:
            tables.add("modules", name=name)
        system = LogContext(self._context(10, 0, None), 10, 0, 0)
        courses = max(4, ceil(students / STUDENTS_PER_COURSE))
        site = self._people(students, courses, system)
        categories = self._categories()
        for number, learners in enumerate(_rosters(site.students, courses)):
            site.courses.append(self._course(number, learners, categories, site))
        site.deleted_course = self._gone_course(categories[-1], site)
        self._forget_activities(site)
        self._assign_staff(site, categories)
        return site

    def write_users(self, site: Site) -> None:
        """Add the rows of all users, with their last log-ins."""
        for user in site.users:
            is_deleted = user.deleted_at < NEVER
            email = f"user{user.id}@moodle.example.edu"
            digest = hashlib.md5(user.username.encode(), usedforsecurity=False).hexdigest()
            self._tables.add(
                "user",
                id=user.id,
                confirmed=1,
                deleted=int(is_deleted),
                mnethostid=1,
                username=f"{email}.{user.deleted_at}" if is_deleted else user.username,
                idnumber="" if is_deleted else user.idnumber,
                firstname=user.firstname,
                lastname=user.lastname,
                email=digest if is_deleted else email,
                firstaccess=user.first_login,
                lastaccess=user.last_login,
                lastlogin=user.previous_login,
                currentlogin=user.last_login,
                lastip=user.last_ip,
                timecreated=self._created,
                timemodified=user.deleted_at if is_deleted else self._created,
            )

    def _context(
        self, level: int, instance: int, parent: int | None, is_deleted: bool = False
    ) -> int:
        context = self._tables.reserve("context")
        path = f"{'' if parent is None else self._paths[parent]}/{context}"
        self._paths[context] = path
        return self._tables.add(
            "context",
            row_deleted=is_deleted,
            id=context,
            contextlevel=level,
            instanceid=instance,
            path=path,
            depth=path.count("/"),
        )

    def _user(self, username: str, number: int | None = None) -> User:
        user = User(
            self._tables.reserve("user"),
            username,
            next(self._first_names),
            next(self._last_names),
            "" if number is None or number % 5 == 0 else f"S-{number:06d}",
        )
        self._context(30, user.id, SYSTEM_CONTEXT)
        return user

    def _people(self, students: int, courses: int, system: LogContext) -> Site:
        guest, admin = self._user("guest"), self._user("admin")
        guest.firstname, guest.lastname = "Guest user", " "
        admin.firstname, admin.lastname = "Admin", "User"
        staff = [self._user(name) for name in ("manager", "creator", "observer")]
        teachers = [self._user(f"teacher{n}") for n in range(1, courses // 2 + 2)]
        assistants = [self._user(f"assistant{n}") for n in range(1, courses // 3 + 2)]
        learners = [self._user(f"student{n}", n) for n in range(1, students + 1)]
        for number in range(max(1, students // 100)):
            learners.append(self._user(f"former{number + 1}", number))
            learners[-1].deleted_at = self._gone_at
        front_page = self._front_page()
        nowhere = Course(0, system, NEVER)
        return Site(
            system,
            front_page,
            guest,
            admin,
            staff,
            teachers,
            assistants,
            learners,
            courses=[],
            deleted_course=nowhere,
            deleted_activities=[],
        )

    def _front_page(self) -> LogContext:
        self._tables.add(
            "course",
            fullname="Example University — Ünïcode Læring",
            shortname="example",
            format="site",
            sortorder=1,
            timecreated=self._created,
        )
        return LogContext(self._context(50, 1, SYSTEM_CONTEXT), 50, 1, 1)

    def _categories(self) -> list[tuple[int, int]]:
        """Ids of the categories and of their contexts."""
        categories: list[tuple[int, int]] = []
        paths: list[str] = []
        for name, idnumber, parent in names.CATEGORIES:
            category = self._tables.reserve("course_categories")
            above = (0, SYSTEM_CONTEXT) if parent is None else categories[parent]
            paths.append(f"{'' if parent is None else paths[parent]}/{category}")
            self._tables.add(
                "course_categories",
                id=category,
                name=name,
                idnumber=idnumber,
                parent=above[0],
                path=paths[-1],
                depth=paths[-1].count("/"),
                sortorder=category * 10000,
                timemodified=self._created,
            )
            categories.append((category, self._context(40, category, above[1])))
        return categories

    def _course(
        self, number: int, learners: list[User], categories: list[tuple[int, int]], site: Site
    ) -> Course:
        fullname, shortname, summary = names.COURSES[number % len(names.COURSES)]
        again = number // len(names.COURSES)
        course = self._course_row(
            f"{fullname} ({again + 1})" if again else fullname,
            f"{shortname} ({again + 1})" if again else shortname,
            summary,
            categories[number % len(categories)],
            idnumber="" if number % 3 == 2 else f"SIS-{number + 1:04d}",
        )
        rest = self._rng.sample(OTHER_PLAN, 6)
        self._fill(course, SHOWCASE_PLAN if number == 0 else (*COMMON_PLAN, *rest))
        course.students = learners
        self._enrol(course, number, site)
        self._discuss(course)
        return course

    def _gone_course(self, category: tuple[int, int], site: Site) -> Course:
        course = self._course_row(
            *names.DELETED_COURSE, category, idnumber="", deleted_at=self._gone_at
        )
        self._fill(course, ("forum", "page", "url"))
        course.students = site.students[:20]
        for student in course.students:
            student.courses.append(course)
        return course

    def _course_row(
        self,
        fullname: str,
        shortname: str,
        summary: str | None,
        category: tuple[int, int],
        *,
        idnumber: str,
        deleted_at: int = NEVER,
    ) -> Course:
        is_deleted = deleted_at < NEVER
        course = self._tables.add(
            "course",
            row_deleted=is_deleted,
            category=category[0],
            fullname=fullname,
            shortname=shortname,
            idnumber=idnumber,
            summary=summary,
            summaryformat=1,
            sortorder=category[0] * 10000 + 1,
            startdate=self._created + 10 * DAY,
            enddate=0 if idnumber.endswith("3") else self._created + 190 * DAY,
            timecreated=self._created,
            timemodified=self._created,
        )
        context = self._context(50, course, category[1], is_deleted)
        return Course(course, LogContext(context, 50, course, course), deleted_at)

    def _fill(self, course: Course, plan: Sequence[str]) -> None:
        is_deleted = course.deleted_at < NEVER
        sections = len(names.SECTIONS)
        section_ids = [self._tables.reserve("course_sections") for _ in range(sections)]
        sequences: list[list[str]] = [[] for _ in range(sections)]
        if not is_deleted:
            self._grade_item(course.id, None, "course", 100.0)
        for number, module in enumerate(plan):
            section = number * sections // len(plan)
            activity = self._activity(course, module, section_ids[section], course.deleted_at)
            sequences[section].append(str(activity.context.contextinstanceid))
        for number, (section_id, name) in enumerate(zip(section_ids, names.SECTIONS, strict=True)):
            self._tables.add(
                "course_sections",
                row_deleted=is_deleted,
                id=section_id,
                course=course.id,
                section=number,
                name=name,
                sequence=",".join(sequences[number]),
                timemodified=self._created,
            )

    def _activity(self, course: Course, module: str, section: int, deleted_at: int) -> Activity:
        turn = self._counters.get(module, 0)
        self._counters[module] = turn + 1
        is_deleted = deleted_at < NEVER
        columns = self._instance_columns(course, module, turn)
        instance = self._tables.add_row(module, columns, row_deleted=is_deleted)
        cmid = self._tables.add(
            "course_modules",
            row_deleted=is_deleted,
            course=course.id,
            module=MODULES.index(module) + 1,
            instance=instance,
            section=section,
            idnumber=f"{module}-{instance}" if turn % 4 == 0 else "",
            added=self._created,
            visible=int(turn % 10 != 9),
        )
        context_id = self._context(70, cmid, course.context.contextid, is_deleted)
        context = LogContext(context_id, 70, cmid, course.id)
        activity = Activity(instance, module, course, context, columns, None, deleted_at)
        course.activities.append(activity)
        if not is_deleted:
            self._attach(activity, turn)
        return activity

    def _instance_columns(self, course: Course, module: str, turn: int) -> dict[str, Value]:
        titles, variants = names.TITLES[module], VARIANTS.get(module, ({},))
        columns: dict[str, Value] = {
            "course": course.id,
            "name": f"{titles[turn % len(titles)]} {turn + 1}",
            "intro": names.INTROS[turn % len(names.INTROS)],
            "introformat": 1,
            "timemodified": self._created,
            **variants[turn % len(variants)],
        }
        if turn % 2:
            for column, days in DATES.get(module, {}).items():
                columns[column] = self._start + days * DAY
        return columns

    def _attach(self, activity: Activity, turn: int) -> None:
        """Add the grade items and files of an activity."""
        for number, column in GRADED.get(activity.module, ()):
            item = self._grade_item(
                activity.course.id, activity, "mod", activity.number(column), number
            )
            activity.item = activity.item or item
        if activity.module == "resource":
            self._files(activity.context.contextid, *FILES[turn % len(FILES)])

    def _grade_item(
        self, course: int, activity: Activity | None, itemtype: str, grade: float, number: int = 0
    ) -> GradeItem:
        scaleid = int(-grade) if grade < 0 else None
        maximum = float(SCALE_SIZES[scaleid]) if scaleid else grade
        item = self._tables.add(
            "grade_items",
            courseid=course,
            itemname=activity.columns["name"] if activity else None,
            itemtype=itemtype,
            itemmodule=activity.module if activity else None,
            iteminstance=activity.id if activity else course,
            itemnumber=number if activity else None,
            gradetype=2 if scaleid else 1,
            grademax=maximum,
            grademin=1.0 if scaleid else 0.0,
            scaleid=scaleid,
            timecreated=self._created,
            timemodified=self._created,
        )
        return GradeItem(item, maximum, scaleid)

    def _files(self, context: int, filename: str, mimetype: str) -> None:
        """Add a file, and the entry that Moodle stores for its folder."""
        for name, mime, size in ((filename, mimetype, 4096), (".", None, 0)):
            path = f"/{context}/mod_resource/content/0/{name}"
            self._tables.add(
                "files",
                contenthash=_sha1(filename if size else ""),
                pathnamehash=_sha1(path),
                contextid=context,
                component="mod_resource",
                filearea="content",
                itemid=0,
                filepath="/",
                filename=name,
                filesize=size,
                mimetype=mime,
                sortorder=int(size > 0),
                timecreated=self._created,
                timemodified=self._created,
            )

    def _enrol(self, course: Course, number: int, site: Site) -> None:
        manual = self._enrol_method(course, "manual", "student", 0)
        self._enrol_method(course, "guest", None, 0 if number == 0 else 1)
        own = self._enrol_method(course, "self", "student", number % 2)
        course.teachers = [site.teachers[number // 2], site.assistants[number // 3]]
        assistant = "teacher" if number % 2 else "tutor"
        for teacher, role in zip(course.teachers, ("editingteacher", assistant), strict=True):
            self._enrol_user(course, teacher, manual, role)
            teacher.courses.append(course)
        groups = [
            self._tables.add("groups", courseid=course.id, name=name, timecreated=self._created)
            for name in names.GROUPS
        ]
        for turn, student in enumerate(course.students):
            student.courses.append(course)
            if student.deleted_at < NEVER or (turn % 60 == 59):
                continue  # deleted or unenrolled since; the log still has their rows
            self._enrol_user(course, student, own if turn % 7 == 3 else manual, "student", turn)
            self._join(course, student, groups[turn % len(groups)])

    def _enrol_method(self, course: Course, method: str, role: str | None, status: int) -> int:
        return self._tables.add(
            "enrol",
            enrol=method,
            status=status,
            courseid=course.id,
            roleid=ROLE_IDS[role] if role else 0,
            timecreated=self._created,
            timemodified=self._created,
        )

    def _enrol_user(
        self, course: Course, user: User, method: int, role: str, turn: int = 0
    ) -> None:
        self._tables.add(
            "user_enrolments",
            status=int(turn % 50 == 49),
            enrolid=method,
            userid=user.id,
            timestart=self._created,
            timeend=self._start + 120 * DAY if turn % 9 == 8 else 0,
            modifierid=ADMIN_ID,
            timecreated=self._created,
            timemodified=self._created,
        )
        self._assign_role(role, course.context.contextid, user)

    def _assign_role(self, role: str, context: int, user: User) -> None:
        self._tables.add(
            "role_assignments",
            roleid=ROLE_IDS[role],
            contextid=context,
            userid=user.id,
            timemodified=self._created,
            modifierid=ADMIN_ID,
        )

    def _join(self, course: Course, student: User, group: int) -> None:
        course.teams[student.id] = group
        self._tables.add(
            "groups_members", groupid=group, userid=student.id, timeadded=self._created
        )

    def _assign_staff(self, site: Site, categories: list[tuple[int, int]]) -> None:
        manager, creator, observer = site.staff
        self._assign_role("manager", categories[0][1], manager)
        self._assign_role("coursecreator", SYSTEM_CONTEXT, creator)
        self._assign_role("observer", site.courses[0].context.contextid, observer)
        for user in site.staff:
            user.courses.append(site.courses[0])

    def _discuss(self, course: Course) -> None:
        for forum in course.of("forum"):
            subject, message = names.POSTS[forum.id % len(names.POSTS)]
            discussion = Discussion(
                self._tables.reserve("forum_discussions"), forum, subject, posts=[]
            )
            course.discussions[forum.id] = discussion
            add_post(self._tables, discussion, course.teachers[0].id, self._created, message)
            for reply, student in enumerate(course.students[:3]):
                text = names.POSTS[(forum.id + reply) % len(names.POSTS)][1]
                first = discussion.posts[0]
                add_post(self._tables, discussion, student.id, self._created, text, first)

    def _forget_activities(self, site: Site) -> None:
        """Add activities of the first course that are deleted later; no section lists them."""
        course = site.courses[0]
        site.deleted_activities = [
            self._activity(course, module, 0, self._gone_at) for module in ("page", "url")
        ]


def add_post(
    tables: Tables,
    discussion: Discussion,
    author: int,
    created: int,
    message: str,
    parent: Post | None = None,
) -> Post:
    """Add a post that replies to another one, or opens its discussion."""
    subject = discussion.subject
    post = tables.add(
        "forum_posts",
        discussion=discussion.id,
        parent=parent.id if parent else 0,
        userid=author,
        created=created,
        modified=created,
        mailed=1,
        subject=f"Re: {subject}" if parent else subject,
        message=message,
        messageformat=1,
    )
    discussion.posts.append(Post(post, author, created))
    return discussion.posts[-1]


def _rosters(students: list[User], courses: int) -> list[list[User]]:
    """Students by course: up to four courses each; the first course also has the first twenty."""
    rosters: list[dict[int, User]] = [{} for _ in range(courses)]
    # A stride that divides the number of courses would skip some courses.
    stride = 7 if courses % 7 else 1
    for position, student in enumerate(students):
        own_courses = [(position * stride + step * step * 3 + step) % courses for step in range(4)]
        for course in (*own_courses, 0) if position < 20 else own_courses:
            rosters[course][student.id] = student
    return [list(roster.values()) for roster in rosters]


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
