"""The work of people in the sample site: quiz attempts, submissions, grades and forum posts.

Each step changes its records and logs the rows that Moodle logs, so that log and tables agree.
``traffic`` decides who works when.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from math import ceil
from random import Random

from caliper_dagster.embedded.sample import names
from caliper_dagster.embedded.sample.journal import (
    ATTEMPT_REVIEWED,
    ATTEMPT_STARTED,
    ATTEMPT_SUBMITTED,
    ATTEMPT_VIEWED,
    GRADED,
    POST_CREATED,
    SUBMITTED,
    EventClass,
    Journal,
    LogContext,
    Other,
)
from caliper_dagster.embedded.sample.site import (
    SCALE_SIZES,
    Activity,
    Course,
    Site,
    User,
    add_post,
)
from caliper_dagster.embedded.sample.tables import Tables

CRON_DELAY = 40
SHARE_DELETED = 0.004
SHARE_LEFT = 0.12
SHARE_UNGRADED = 0.04
SHARE_ANSWERED = 0.3
NEWEST_POSTS = 8


class Visit:
    """One person's visit to the site: it has the current time and logs events at it.

    Args:
        journal: gets the log rows.
        rng: decides the length of pauses.
        user: who acts.
        second: Unix time of the begin.
        end: Unix time before which the visit ends.
        ip: address of the client.
        origin: web, ws or cli.
        realuserid: who is logged in as the user.
        pace: length of every pause in seconds; random by default.
    """

    __slots__ = (
        "_end",
        "_journal",
        "_pace",
        "_rng",
        "ip",
        "origin",
        "realuserid",
        "second",
        "user",
    )

    def __init__(
        self,
        journal: Journal,
        rng: Random,
        user: User,
        second: int,
        end: int,
        *,
        ip: str | None,
        origin: str = "web",
        realuserid: int | None = None,
        pace: int | None = None,
    ) -> None:
        self.user = user
        self.second = second
        self.ip = ip
        self.origin = origin
        self.realuserid = realuserid
        self._end = min(end, user.deleted_at)
        self._journal = journal
        self._rng = rng
        self._pace = pace

    @property
    def over(self) -> bool:
        """Whether the visit has reached its end: nothing more is logged."""
        return self.second >= self._end

    def wait(self, shortest: int, longest: int) -> None:
        """Advance the time by some seconds."""
        if self._pace is not None:
            self.second += self._pace
        else:
            self.second += shortest + int(self._rng.random() * (longest - shortest))

    def log(
        self,
        event_class: EventClass,
        context: LogContext,
        *,
        objectid: int | None = None,
        relateduserid: int | None = None,
        other: Other | None = None,
        anonymous: int = 0,
        delay: int = 0,
    ) -> None:
        """Log an event of the user at the current time."""
        if not self.over:
            self._journal.write(
                self.second,
                event_class,
                context,
                self.user.id,
                objectid=objectid,
                relateduserid=relateduserid,
                other=other,
                anonymous=anonymous,
                origin=self.origin,
                ip=self.ip,
                realuserid=self.realuserid,
                delay=delay,
            )


@dataclass(slots=True)
class _Score:
    """The current grade of one person in one item."""

    id: int
    itemid: int
    userid: int
    maximum: float
    minimum: float
    scaleid: int | None
    value: float | None = None
    changed: int = 0
    changed_by: int = 0


class Gradebook:
    """``grade_grades`` and its history. One instance per site."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._scores: dict[tuple[int, int], _Score] = {}

    def set(self, activity: Activity, user: int, value: float | None, second: int, by: int) -> None:
        """Set a grade; each one adds a history row."""
        item = activity.item
        if item is None:
            return
        key = (item.id, user)
        score = self._scores.get(key)
        if score is None:
            score = self._scores[key] = _Score(
                self._tables.reserve("grade_grades"),
                item.id,
                user,
                item.maximum,
                1.0 if item.scaleid else 0.0,
                item.scaleid,
            )
        existed = score.changed > 0
        score.value, score.changed, score.changed_by = value, second, by
        self._tables.add(
            "grade_grades_history",
            action=2 if existed else 1,
            oldid=score.id,
            source=f"mod/{activity.module}",
            timemodified=second,
            loggeduser=by,
            itemid=item.id,
            userid=user,
            rawgrade=value,
            rawgrademax=item.maximum,
            rawgrademin=score.minimum,
            rawscaleid=item.scaleid,
            usermodified=by,
            finalgrade=value,
        )

    def finish(self) -> None:
        """Add the current grades to the tables."""
        for score in self._scores.values():
            self._tables.add(
                "grade_grades",
                id=score.id,
                itemid=score.itemid,
                userid=score.userid,
                rawgrade=score.value,
                rawgrademax=score.maximum,
                rawgrademin=score.minimum,
                rawscaleid=score.scaleid,
                usermodified=score.changed_by,
                finalgrade=score.value,
                timemodified=score.changed,
                aggregationstatus="used",
            )


@dataclass(slots=True)
class _Attempt:
    id: int
    quiz: Activity
    user: User
    number: int
    start: int
    finish: int = 0
    state: str = "inprogress"
    modified: int = 0
    sumgrades: float | None = None
    preview: int = 0
    page: int = 0


class Quizzes:
    """Quiz attempts and their grades.

    Args:
        tables: where the rows are added.
        journal: gets the log rows of cron.
        rng: decides scores and which attempts are left unfinished.
        gradebook: gets the best grade of each quiz.
        end: end of the log.
    """

    def __init__(
        self, tables: Tables, journal: Journal, rng: Random, gradebook: Gradebook, end: int
    ) -> None:
        self._tables = tables
        self._journal = journal
        self._rng = rng
        self._gradebook = gradebook
        self._end = end
        self._numbers: dict[tuple[int, int], int] = {}
        self._open_until: dict[tuple[int, int], int] = {}
        self._best: dict[tuple[int, int], tuple[int, float, int]] = {}
        self._finished: dict[int, deque[_Attempt]] = defaultdict(lambda: deque(maxlen=40))

    def take(
        self, visit: Visit, quiz: Activity, *, leave: bool | None = None, delete: bool | None = None
    ) -> None:
        """An attempt from its start to its review, or until the person leaves it.

        Args:
            visit: the learner's visit.
            quiz: the activity.
            leave: whether the attempt is left unfinished; random by default.
            delete: whether a teacher deletes it later; random by default.
        """
        key = (quiz.id, visit.user.id)
        number = self._numbers.get(key, 0) + 1
        if visit.over or not self._may_start(quiz, number, visit.second, key):
            return
        self._numbers[key] = number
        attempt = _Attempt(
            self._tables.reserve("quiz_attempts"), quiz, visit.user, number, visit.second
        )
        leave = self._rng.random() < SHARE_LEFT if leave is None else leave
        delete = self._rng.random() < SHARE_DELETED if delete is None else delete
        visit.log(ATTEMPT_STARTED, quiz.context, objectid=attempt.id, relateduserid=visit.user.id)
        self._turn_pages(visit, attempt, leave)
        if leave:
            self._leave(attempt, deleted=delete)
        elif not visit.over:
            self._submit(visit, attempt, deleted=delete)
        self._open_until[key] = self._end if attempt.state == "inprogress" else attempt.modified
        self._add(attempt, is_deleted=delete)

    def review(self, visit: Visit, course: Course) -> None:
        """A teacher reviews a finished attempt of the course, if there is one by now."""
        finished = [a for a in self._finished[course.id] if a.finish < visit.second]
        if finished:
            self._log_review(visit, self._rng.choice(finished))

    def preview(self, visit: Visit, quiz: Activity) -> None:
        """A teacher previews the quiz; Moodle logs its start as another event."""
        key = (quiz.id, visit.user.id)
        if key in self._numbers:
            return
        self._numbers[key] = 1
        attempt = _Attempt(
            self._tables.reserve("quiz_attempts"), quiz, visit.user, 1, visit.second, preview=1
        )
        self._turn_pages(visit, attempt, leave=False)
        self._add(attempt, is_deleted=False)

    def finish(self) -> None:
        """Add the best grades to the tables."""
        for (quiz, user), (_, grade, changed) in self._best.items():
            self._tables.add(
                "quiz_grades", quiz=quiz, userid=user, grade=grade, timemodified=changed
            )

    def _may_start(self, quiz: Activity, number: int, second: int, key: tuple[int, int]) -> bool:
        allowed = quiz.number("attempts")
        return (not allowed or number <= allowed) and second > self._open_until.get(key, 0)

    def _turn_pages(self, visit: Visit, attempt: _Attempt, leave: bool) -> None:
        pages = _pages(attempt.quiz)
        for page in range(ceil(pages / 2) if leave else pages):
            attempt.page, attempt.modified = page, visit.second
            self._log_page(visit, attempt)
            visit.wait(15, 120)
            if visit.over:
                break

    def _log_page(self, visit: Visit, attempt: _Attempt) -> None:
        visit.log(
            ATTEMPT_VIEWED,
            attempt.quiz.context,
            objectid=attempt.id,
            relateduserid=visit.user.id,
            other={"quizid": str(attempt.quiz.id), "page": str(attempt.page)},
        )

    def _submit(self, visit: Visit, attempt: _Attempt, *, deleted: bool) -> None:
        submitter = visit.realuserid or visit.user.id
        self._log_submission(visit, attempt, str(submitter))
        self._complete(attempt, visit.second, visit.second, deleted)
        visit.wait(1, 15)
        self._log_review(visit, attempt)

    def _log_submission(
        self, visit: Visit, attempt: _Attempt, submitter: str | None, delay: int = 0
    ) -> None:
        visit.log(
            ATTEMPT_SUBMITTED,
            attempt.quiz.context,
            objectid=attempt.id,
            relateduserid=attempt.user.id,
            other={
                "submitterid": submitter,
                "quizid": str(attempt.quiz.id),
                "studentisonline": submitter is not None,
            },
            delay=delay,
        )

    def _leave(self, attempt: _Attempt, *, deleted: bool) -> None:
        """Cron submits or abandons the attempt after its time limit, by the setting of the quiz."""
        limit = int(attempt.quiz.number("timelimit"))
        cron = attempt.start + limit + 30 + int(self._rng.random() * 60)
        if not limit or cron + CRON_DELAY >= min(self._end, attempt.user.deleted_at):
            return
        if attempt.quiz.columns.get("overduehandling") == "autosubmit":
            run = Visit(
                self._journal, self._rng, attempt.user, cron, self._end, ip=None, origin="cli"
            )
            self._log_submission(run, attempt, None, delay=CRON_DELAY)
            self._complete(attempt, attempt.start + limit, cron, deleted)
        else:
            attempt.state, attempt.modified = "abandoned", cron

    def _complete(self, attempt: _Attempt, finish: int, modified: int, deleted: bool) -> None:
        quiz = attempt.quiz
        attempt.state, attempt.finish, attempt.modified = "finished", finish, modified
        if quiz.columns["preferredbehaviour"] != "manualgraded":
            marks = quiz.number("sumgrades")
            attempt.sumgrades = ceil((0.2 + 0.8 * self._rng.random()) * marks * 2) / 2
        if deleted:
            return
        self._finished[quiz.course.id].append(attempt)
        if attempt.sumgrades is None:
            return
        key = (quiz.id, attempt.user.id)
        grade = round(attempt.sumgrades * quiz.number("grade") / quiz.number("sumgrades"), 5)
        if key not in self._best or grade > self._best[key][1]:
            self._best[key] = (attempt.id, grade, modified)
            self._gradebook.set(quiz, attempt.user.id, grade, modified, attempt.user.id)

    def _log_review(self, visit: Visit, attempt: _Attempt) -> None:
        visit.log(
            ATTEMPT_REVIEWED,
            attempt.quiz.context,
            objectid=attempt.id,
            relateduserid=attempt.user.id,
            other={"quizid": str(attempt.quiz.id)},
        )

    def _add(self, attempt: _Attempt, *, is_deleted: bool) -> None:
        self._tables.add(
            "quiz_attempts",
            row_deleted=is_deleted,
            id=attempt.id,
            quiz=attempt.quiz.id,
            userid=attempt.user.id,
            attempt=attempt.number,
            uniqueid=attempt.id,
            layout=_layout(attempt.quiz),
            currentpage=attempt.page,
            preview=attempt.preview,
            state=attempt.state,
            timestart=attempt.start,
            timefinish=attempt.finish,
            timemodified=attempt.modified,
            sumgrades=attempt.sumgrades,
        )


def _pages(quiz: Activity) -> int:
    return ceil(quiz.number("sumgrades") / quiz.number("questionsperpage"))


def _layout(quiz: Activity) -> str:
    """The slots by page; each page ends with a 0."""
    per_page = int(quiz.number("questionsperpage"))
    slots = [str(slot) for slot in range(1, int(quiz.number("sumgrades")) + 1)]
    pages = (slots[first : first + per_page] for first in range(0, len(slots), per_page))
    return ",".join(",".join((*page, "0")) for page in pages)


@dataclass(slots=True)
class _Submission:
    id: int
    assignment: Activity
    userid: int
    groupid: int
    members: tuple[int, ...]
    number: int
    created: int
    modified: int
    latest: int = 1
    graded_at: int = 0
    waiting: bool = True


@dataclass(slots=True)
class _Grade:
    id: int
    assignment: int
    userid: int
    number: int
    created: int
    modified: int = 0
    grader: int = 0
    value: float = -1.0
    deleted: bool = False


class Assignments:
    """Assignment submissions and their grades.

    Args:
        tables: where the rows are added.
        rng: decides grades.
        gradebook: gets each grade.
    """

    def __init__(self, tables: Tables, rng: Random, gradebook: Gradebook) -> None:
        self._tables = tables
        self._rng = rng
        self._gradebook = gradebook
        self._submissions: dict[tuple[int, int, int], list[_Submission]] = defaultdict(list)
        self._grades: dict[tuple[int, int, int], _Grade] = {}
        self._queues: dict[int, deque[_Submission]] = defaultdict(deque)

    def submit(self, visit: Visit, assignment: Activity) -> None:
        """Submit, change or resubmit, if the assignment allows it now."""
        if visit.over:
            return
        user, group = visit.user.id, 0
        if assignment.columns.get("teamsubmission"):
            user, group = 0, assignment.course.teams.get(user, 0)
        so_far = self._submissions[assignment.id, user, group]
        if not so_far or _may_reopen(so_far[-1], visit.second):
            submission = self._new(visit, assignment, user, group)
        elif _may_edit(so_far[-1], visit.second):
            submission = so_far[-1]
            submission.modified = visit.second
        else:
            return
        visit.log(
            SUBMITTED,
            assignment.context,
            objectid=submission.id,
            other={"submission_editable": not assignment.columns.get("submissiondrafts")},
        )

    def grade(self, visit: Visit, course: Course, many: int, *, delete: bool | None = None) -> None:
        """A teacher grades waiting submissions of the course.

        Args:
            visit: the teacher's visit.
            course: the course.
            many: maximum number of submissions.
            delete: whether the grades are deleted later; random by default.
        """
        queue = self._queues[course.id]
        for _ in range(min(many, len(queue))):
            submission = queue.popleft()
            if visit.over or submission.modified >= visit.second:
                queue.append(submission)
                continue
            submission.waiting, submission.graded_at = False, visit.second
            for member in submission.members:
                self._mark(visit, submission, member, delete)
            visit.wait(30, 240)
            if not visit.over and self._rng.random() < 0.05:
                submission.graded_at = visit.second
                self._mark(visit, submission, submission.members[0], delete)

    def finish(self) -> None:
        """Add the current submissions and grades to the tables."""
        for submissions in self._submissions.values():
            for submission in submissions:
                self._add_submission(submission)
        for grade in self._grades.values():
            self._tables.add(
                "assign_grades",
                row_deleted=grade.deleted,
                id=grade.id,
                assignment=grade.assignment,
                userid=grade.userid,
                timecreated=grade.created,
                timemodified=grade.modified,
                grader=grade.grader,
                grade=grade.value,
                attemptnumber=grade.number,
            )

    def _new(self, visit: Visit, assignment: Activity, user: int, group: int) -> _Submission:
        so_far = self._submissions[assignment.id, user, group]
        for earlier in so_far:
            earlier.latest = 0
        teams = assignment.course.teams
        team = tuple(member for member, theirs in teams.items() if theirs == group)
        submission = _Submission(
            self._tables.reserve("assign_submission"),
            assignment,
            user,
            group,
            team if group else (visit.user.id,),
            len(so_far),
            visit.second,
            visit.second,
        )
        so_far.append(submission)
        self._queues[assignment.course.id].append(submission)
        return submission

    def _mark(
        self, visit: Visit, submission: _Submission, member: int, delete: bool | None
    ) -> None:
        assignment = submission.assignment
        key = (assignment.id, member, submission.number)
        grade = self._grades.get(key)
        if grade is None:
            grade = self._grades[key] = _Grade(
                self._tables.reserve("assign_grades"), *key, visit.second
            )
            grade.deleted = self._rng.random() < SHARE_DELETED if delete is None else delete
        grade.modified, grade.grader = visit.second, visit.user.id
        grade.value = self._draw(assignment)
        visit.log(GRADED, assignment.context, objectid=grade.id, relateduserid=member)
        value = None if grade.value < 0 else grade.value
        self._gradebook.set(assignment, member, value, visit.second, visit.user.id)

    def _draw(self, assignment: Activity) -> float:
        """A grade in points or by scale; -1 for "no grade", which teachers may also save."""
        highest = assignment.number("grade")
        if self._rng.random() < SHARE_UNGRADED:
            return -1.0
        if highest < 0:
            return float(self._rng.randint(1, SCALE_SIZES[int(-highest)]))
        return round((0.3 + 0.7 * self._rng.random()) * highest, 2)

    def _add_submission(self, submission: _Submission) -> None:
        members = submission.members if submission.groupid else ()
        rows = [(submission.id, submission.userid, submission.groupid)]
        # Moodle stores a row for each member in addition to the team's.
        rows += [(self._tables.reserve("assign_submission"), member, 0) for member in members]
        for row_id, user, group in rows:
            self._tables.add(
                "assign_submission",
                id=row_id,
                assignment=submission.assignment.id,
                userid=user,
                groupid=group,
                timecreated=submission.created,
                timemodified=submission.modified,
                status="submitted",
                attemptnumber=submission.number,
                latest=submission.latest,
            )


def _may_reopen(submission: _Submission, second: int) -> bool:
    """Whether it is graded by now and the assignment allows another attempt."""
    columns = submission.assignment.columns
    return (
        columns.get("attemptreopenmethod") == "manual"
        and not submission.waiting
        and submission.graded_at < second
    )


def _may_edit(submission: _Submission, second: int) -> bool:
    """Whether it is not graded and not final, and nobody else saves it later."""
    drafts = submission.assignment.columns.get("submissiondrafts")
    return not drafts and submission.waiting and submission.modified < second


class Forums:
    """Replies in the discussions of forums.

    Args:
        tables: where the rows are added.
        rng: decides who replies to which post.
    """

    def __init__(self, tables: Tables, rng: Random) -> None:
        self._tables = tables
        self._rng = rng

    def read(self, visit: Visit, forum: Activity) -> None:
        """The person reads the discussion, and sometimes replies."""
        if self._rng.random() < SHARE_ANSWERED:
            self.reply(visit, forum)

    def reply(self, visit: Visit, forum: Activity) -> None:
        """Reply to one of the newest posts of others, if the forum still exists."""
        discussion = forum.course.discussions.get(forum.id)
        if visit.over or discussion is None:
            return
        posts = [
            post
            for post in (discussion.posts[0], *discussion.posts[-NEWEST_POSTS:])
            if post.author != visit.user.id and post.created < visit.second
        ]
        parent = self._rng.choice(posts)
        message = names.POSTS[parent.id % len(names.POSTS)][1]
        post = add_post(self._tables, discussion, visit.user.id, visit.second, message, parent)
        visit.log(
            POST_CREATED,
            forum.context,
            objectid=post.id,
            other={
                "discussionid": discussion.id,
                "forumid": forum.id,
                "forumtype": "general",
            },
        )

    def finish(self, site: Site) -> None:
        """Add the discussions of all courses to the tables."""
        for course in site.courses:
            for discussion in course.discussions.values():
                first, last = discussion.posts[0], max(discussion.posts, key=lambda p: p.created)
                self._tables.add(
                    "forum_discussions",
                    id=discussion.id,
                    course=course.id,
                    forum=discussion.forum.id,
                    name=discussion.subject,
                    firstpost=first.id,
                    userid=first.author,
                    usermodified=last.author,
                    timemodified=last.created,
                )
