"""The traffic of the sample site: log-ins, views, quizzes, submissions, grading.

Traffic follows a daily rhythm: quiet at night, busiest in the evening, and no hour without rows. A
showcase in the last hours makes every event happen at least once, however small the site is.
"""

from __future__ import annotations

from random import Random

from caliper_dagster.core.hours import SECONDS, Hour
from caliper_dagster.embedded.sample.journal import (
    COURSE_VIEWED,
    FORUM_REPORT_VIEWED,
    LOGGED_IN,
    LOGGED_OUT,
    MODULE_VIEWED,
    Journal,
    Other,
)
from caliper_dagster.embedded.sample.site import NETWORKS, Activity, Course, Site, User
from caliper_dagster.embedded.sample.tables import Tables
from caliper_dagster.embedded.sample.work import Assignments, Forums, Quizzes, Visit

# Share of an average hour's traffic, by hour of the day in UTC.
RHYTHM = (
    *(0.12, 0.08, 0.06, 0.05, 0.08, 0.20, 0.45, 0.85, 1.20, 1.40, 1.40, 1.25),
    *(1.10, 1.30, 1.40, 1.40, 1.45, 1.65, 2.05, 2.35, 2.10, 1.40, 0.65, 0.25),
)
WEEKEND = 0.6
# Visits per person and average hour.
STUDENT_VISITS = 0.11
TEACHER_VISITS = 0.08
STAFF_VISITS = 0.02
GUEST_VISITS = 0.004

SHARE_MOBILE = 0.12
SHARE_LOGGED_OUT = 0.45
HAND_IN_HOURS = 24
SHOWCASE_HOURS = 6
SHOWCASE_STEPS = 80

SESSION_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Traffic:
    """Lets people use the site from ``start`` to ``end`` (Unix times, the end exclusive).

    Args:
        site: the people and courses.
        tables: flushed hour by hour, so that memory does not grow with the number of hours.
        journal: gets the log rows.
        quizzes: holds the attempts.
        assignments: holds the submissions.
        forums: holds the discussions.
        rng: makes all random decisions.
        start: first second.
        end: second after the last one.
        showcase_end: second by which the showcase ends.
    """

    def __init__(
        self,
        site: Site,
        tables: Tables,
        journal: Journal,
        quizzes: Quizzes,
        assignments: Assignments,
        forums: Forums,
        rng: Random,
        start: int,
        end: int,
        showcase_end: int,
    ) -> None:
        self._site = site
        self._tables = tables
        self._journal = journal
        self._quizzes = quizzes
        self._assignments = assignments
        self._forums = forums
        self._rng = rng
        self._start = start
        self._end = end
        self._showcase_end = showcase_end
        self._busy_until: dict[int, int] = {}
        # A student has few submissions: they must be spread over the whole range.
        self._hand_in = min(0.5, HAND_IN_HOURS * SECONDS / (end - start))

    def run(self) -> None:
        """Log all hours, in order."""
        self._showcase()
        for number in range(self._start // SECONDS, (self._end - 1) // SECONDS + 1):
            first, last = self._seconds(number)
            load = (last - first) / SECONDS * _load(Hour(number))
            self._hour(first, last, load)
            if not self._journal.hours[number]:
                self._single_view(first, last)
            self._journal.close_hour(number)
            self._tables.flush()

    def _seconds(self, number: int) -> tuple[int, int]:
        """The seconds of the hour within the range, as a half-open interval."""
        hour = Hour(number)
        return max(hour.start, self._start), min(hour.end, self._end)

    def _hour(self, first: int, last: int, load: float) -> None:
        site = self._site
        begins = [
            (first + int(self._rng.random() * (last - first)), visit)
            for visit, expected in (
                (self._student, len(site.students) * STUDENT_VISITS),
                (self._teacher, len(site.graders) * TEACHER_VISITS),
                (self._staff, len(site.staff) * STAFF_VISITS),
                (self._anonymous_visit, len(site.students) * GUEST_VISITS),
            )
            for _ in range(int(expected * load + self._rng.random()))
        ]
        for second, visit in sorted(begins, key=lambda begin: begin[0]):
            visit(second)

    def _single_view(self, first: int, last: int) -> None:
        second = first + int(self._rng.random() * (last - first))
        visit = self._visit(self._site.students[0], second, origin="ws")
        visit.log(COURSE_VIEWED, self._site.courses[0].context)

    def _visit(
        self,
        user: User,
        second: int,
        *,
        origin: str = "web",
        real: User | None = None,
        pace: int | None = None,
    ) -> Visit:
        return Visit(
            self._journal,
            self._rng,
            user,
            second,
            self._end,
            ip=(real or user).address(self._rng),
            origin=origin,
            realuserid=real.id if real else None,
            pace=pace,
        )

    def _idle(self, people: list[User], second: int) -> User | None:
        """A random person who is not on the site at the moment; None after four tries."""
        for _ in range(4):
            user = self._rng.choice(people)
            if self._busy_until.get(user.id, 0) < second < user.deleted_at:
                return user
        return None

    def _student(self, second: int) -> None:
        user = self._idle(self._site.students, second)
        if user is None:
            return
        mobile = self._rng.random() < SHARE_MOBILE
        visit = self._visit(user, second, origin="ws" if mobile else "web")
        if not mobile:
            self._log_in(visit)
        for _ in range(self._rng.randint(1, 3)):
            self._study(visit, self._rng.choice(user.courses))
        if not mobile and self._rng.random() < SHARE_LOGGED_OUT:
            self._log_out(visit)
        self._busy_until[user.id] = visit.second

    def _study(self, visit: Visit, course: Course) -> None:
        self._open_course(visit, course)
        for _ in range(self._rng.randint(2, 6)):
            activity = self._rng.choice(course.activities)
            self._open(visit, activity)
            if activity.module == "quiz" and self._rng.random() < 0.35:
                self._quizzes.take(visit, activity)
            elif activity.module == "assign" and self._rng.random() < self._hand_in:
                self._assignments.submit(visit, activity)
            elif activity.module == "forum" and self._rng.random() < 0.2:
                self._forum_report(visit, course)
            elif activity.module == "forum":
                self._forums.read(visit, activity)
            visit.wait(10, 240)
            if visit.over:
                return

    def _teacher(self, second: int) -> None:
        user = self._idle(self._site.graders, second)
        if user is None or not user.courses:
            return
        visit = self._visit(user, second)
        self._log_in(visit)
        for course in self._rng.sample(user.courses, min(2, len(user.courses))):
            self._open_course(visit, course)
            for activity in self._rng.sample(course.activities, 3):
                self._open(visit, activity)
                if activity.module == "quiz" and self._rng.random() < 0.2:
                    self._quizzes.preview(visit, activity)
                visit.wait(20, 200)
            self._assignments.grade(visit, course, self._rng.randint(1, 15))
            self._quizzes.review(visit, course)
            if self._rng.random() < 0.3:
                self._forum_report(visit, course)
        if self._rng.random() < SHARE_LOGGED_OUT:
            self._log_out(visit)
        self._busy_until[user.id] = visit.second

    def _staff(self, second: int) -> None:
        """A visit by manager, course creator or observer, or by the administrator as a student."""
        user = self._idle(self._site.staff, second)
        if user is None:
            return
        if self._rng.random() < 0.3:
            self._log_in_as(second, None)
            return
        visit = self._visit(user, second)
        self._log_in(visit)
        self._open_course(visit, user.courses[0])
        self._open(visit, self._rng.choice(user.courses[0].activities))
        self._busy_until[user.id] = visit.second

    def _log_in_as(self, second: int, pace: int | None) -> int:
        """The administrator visits a course, logged in as a student; returns when it ends."""
        admin = self._site.admin
        own = self._visit(admin, second, pace=pace)
        self._log_in(own)
        student = self._rng.choice(self._site.courses[0].students)
        visit = self._visit(student, own.second, real=admin, pace=pace)
        visit.ip = own.ip
        course = student.courses[0]
        self._open_course(visit, course)
        self._open(visit, course.activities[0])
        return visit.second

    def _anonymous_visit(self, second: int) -> None:
        """A visit without an account: to the front page, or to the first course as guest."""
        if self._rng.random() < 0.5:
            self._visitor(second)
        else:
            self._guest(second, None)

    def _visitor(self, second: int) -> None:
        self._journal.write(
            second, COURSE_VIEWED, self._site.front_page, 0, ip=self._random_address()
        )

    def _guest(self, second: int, pace: int | None) -> int:
        visit = self._visit(self._site.guest, second, pace=pace)
        visit.ip = self._random_address()
        self._log_in(visit)
        course = self._site.courses[0]
        self._open_course(visit, course)
        self._open(visit, self._rng.choice(course.of("page")))
        return visit.second

    def _random_address(self) -> str:
        network = self._rng.choice(NETWORKS)
        return network.format(self._rng.randint(1, 254))

    def _log_in(self, visit: Visit) -> None:
        user = visit.user
        visit.log(
            LOGGED_IN,
            self._site.system,
            objectid=user.id,
            other={"username": user.username, "extrauserinfo": []},
        )
        # The showcase is logged before the hours that precede it.
        if visit.second > user.last_login and not visit.over:
            user.previous_login, user.last_login = user.last_login, visit.second
            user.last_ip = visit.ip or ""
        if not visit.over and (not user.first_login or visit.second < user.first_login):
            user.first_login = visit.second
        visit.wait(1, 20)
        if self._rng.random() < 0.3:
            visit.log(COURSE_VIEWED, self._site.front_page)
            visit.wait(2, 20)

    def _log_out(self, visit: Visit) -> None:
        session = "".join(self._rng.choices(SESSION_LETTERS, k=26))
        visit.log(
            LOGGED_OUT,
            self._site.system,
            objectid=visit.user.id,
            other={"sessionid": session},
        )

    def _open_course(self, visit: Visit, course: Course, *, section: bool | None = None) -> None:
        if visit.second < course.deleted_at:
            visit.log(COURSE_VIEWED, course.context)
        visit.wait(3, 60)
        if self._rng.random() < 0.25 if section is None else section:
            if visit.second < course.deleted_at:
                other: Other = {"coursesectionnumber": self._rng.randint(1, 5)}
                visit.log(COURSE_VIEWED, course.context, other=other)
            visit.wait(3, 60)

    def _open(self, visit: Visit, activity: Activity) -> None:
        event_class = MODULE_VIEWED.get(activity.module)
        if event_class is None or visit.second >= activity.deleted_at:
            return
        hidden = activity.module == "feedback" and activity.columns["anonymous"] == 1
        visit.log(
            event_class,
            activity.context,
            objectid=activity.id,
            other=self._view_data(activity),
            anonymous=int(hidden),
        )
        visit.wait(5, 60)

    def _view_data(self, activity: Activity) -> Other | None:
        if activity.module == "feedback":
            return {"anonymous": str(activity.columns["anonymous"])}
        if activity.module == "glossary":
            return {"mode": self._rng.choice(("", "letter", "author"))}
        if activity.module == "survey":
            return {"viewed": self._rng.choice(("form", "graph"))}
        return None

    def _forum_report(self, visit: Visit, course: Course) -> None:
        if course.deleted_at <= visit.second or not course.students:
            return
        visit.log(
            FORUM_REPORT_VIEWED,
            course.context,
            relateduserid=self._rng.choice(course.students).id,
            other={"reportmode": self._rng.choice(("posts", "discussions"))},
        )

    def _showcase(self) -> None:
        """Log every event once, one after the other, before anything is deleted."""
        begin = max(self._start, self._end - SHOWCASE_HOURS * SECONDS)
        pace = max(1, (self._showcase_end - begin) // SHOWCASE_STEPS)
        student = self._site.students[0]
        course = self._site.courses[0]
        quizzes, assignments = course.of("quiz"), course.of("assign")
        # The student leaves it immediately, so that cron submits it during the showcase.
        self._quizzes.take(
            self._visit(student, begin, origin="ws", pace=1), quizzes[1], leave=True, delete=False
        )
        visit = self._visit(student, begin + pace, pace=pace)
        self._log_in(visit)
        self._open_course(visit, course, section=True)
        for module in MODULE_VIEWED:
            self._open(visit, course.of(module)[0])
        self._forums.reply(visit, course.of("forum")[0])
        self._open(visit, course.of("feedback")[1])
        self._forum_report(visit, course)
        self._quizzes.take(visit, quizzes[0], leave=False, delete=False)
        self._quizzes.take(visit, quizzes[2], leave=False, delete=True)
        for assignment in assignments:
            self._assignments.submit(visit, assignment)
            visit.wait(1, 1)
        for activity in self._site.deleted_activities:
            self._open(visit, activity)
        self._open_course(visit, self._site.deleted_course, section=False)
        self._open(visit, self._site.deleted_course.activities[0])
        self._log_out(visit)
        self._showcase_others(visit.second + pace, pace, course)

    def _showcase_others(self, second: int, pace: int, course: Course) -> None:
        teacher = self._visit(course.teachers[0], second, pace=pace)
        self._log_in(teacher)
        self._open_course(teacher, course, section=False)
        self._assignments.grade(teacher, course, 1, delete=False)
        self._assignments.grade(teacher, course, 1, delete=True)
        self._quizzes.review(teacher, course)
        self._log_out(teacher)
        former = self._visit(self._site.students[-1], teacher.second + pace, pace=pace)
        self._log_in(former)
        second = self._log_in_as(former.second, pace)
        second = self._guest(second, pace)
        self._visitor(second)
        mobile = self._visit(self._site.students[0], second + pace, origin="ws", pace=pace)
        self._open_course(mobile, course, section=False)


def _load(hour: Hour) -> float:
    """Traffic in the hour, as a share of the average of a working day."""
    weekend = hour.datetime.weekday() >= 5
    return RHYTHM[hour.datetime.hour] * (WEEKEND if weekend else 1.0)
