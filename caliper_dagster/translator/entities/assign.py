"""Assignments: submissions as attempts, grades as scores.

``attemptnumber`` counts from 0 in Moodle and from 1 in Caliper.
"""

from __future__ import annotations

from msgspec.structs import replace

from caliper_dagster.caliper.entities import (
    Attempt,
    Decimal,
    Frame,
    Group,
    Person,
    Score,
)
from caliper_dagster.translator.entities.activities import (
    ACTIVITY_TEXTS,
    activity,
    activity_reference,
    maximum_score,
)
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.registry import (
    Mark,
    Record,
    Render,
    below,
    decimal,
    for_recipes,
    id_or,
    integer,
    is_course,
    of_other,
    time,
)

_REMOVED = -1


def assign_iri(render: Render, module: int | None, fragment: str) -> str:
    """The IRI of a part of an assignment that has no page in Moodle."""
    return f"{render.iris.activity('assign', module or 0)}#{fragment}"


def submission_count(record: Record | None) -> int | None:
    """The number of an attempt, from 1."""
    number = (record or {}).get("attemptnumber")
    return number + 1 if number is not None and number >= 0 else None


def is_of_team(record: Record) -> bool:
    """Whether a submission is a team's: ``assign_submission.userid`` is 0."""
    return record.get("userid") == 0


def submission_iri(
    render: Render, record: Record, number: int | str, learner: int | None, module: int | None
) -> str:
    """The attempt of a learner in a submission; each member of a team has one of his own."""
    whole = assign_iri(render, module, f"submission-{number}")
    return (
        render.iris.of_user(learner, f"{whole}-user-") if learner and is_of_team(record) else whole
    )


def submission_attempt(
    render: Render,
    record: Record,
    number: int | str,
    owner: int | None,
    anonymous: int | None,
    cmid: int | None,
    courseid: int | None,
) -> Attempt:
    """A submission from its record, which may be empty, and its id.

    An assignee is a Person (1.2 Attempt; 1.1 Appendix B). Of a team's submission it is the member
    who acts or is named: that attempt is part of the team's, which has no assignee.
    """
    attempt = Attempt(
        id=assign_iri(render, cmid, f"submission-{number}"),
        assignee=anonymous_or(render, anonymous, record.get("userid") or owner),
        assignable=activity_reference(render, cmid, None, "mod_assign"),
        count=submission_count(record),
        dateCreated=time(record.get("timecreated")),
        startedAtTime=time(record.get("timestarted") or record.get("timecreated")),
        endedAtTime=time(record.get("timesubmitted")),
    )
    if not is_of_team(record):
        return attempt
    team = team_attempt(render, record, number, anonymous, cmid, courseid)
    if anonymous == 1 or not owner or not _may_be_member(record, owner):
        return replace(team, dateCreated=attempt.dateCreated, startedAtTime=attempt.startedAtTime)
    return replace(attempt, id=submission_iri(render, record, number, owner, cmid), isPartOf=team)


def _owner(
    record: Record | None, learner: int | None, submitter: int | None, module: Record | None
) -> int | None:
    """Whose submission it is.

    None for one that is deleted, if it may have been a team's: then the acting user may be one of
    several.
    """
    activity_record = (module or {}).get("activity") or {}
    may_be_of_team = not record and activity_record.get("teamsubmission") != 0
    return learner or (None if may_be_of_team else submitter)


def team_attempt(
    render: Render,
    record: Record,
    number: int | str,
    anonymous: int | None,
    cmid: int | None,
    courseid: int | None,
) -> Attempt:
    """The attempt of a whole team, with its group; Moodle's default team has none."""
    return Attempt(
        id=assign_iri(render, cmid, f"submission-{number}"),
        assignable=activity_reference(render, cmid, None, "mod_assign"),
        count=submission_count(record),
        extensions=_team(render, record, anonymous, courseid),
    )


def _team(
    render: Render, record: Record, anonymous: int | None, courseid: int | None
) -> dict[str, object] | None:
    """The group of a submission as an extension; its members unless the row is anonymous."""
    if not record.get("groupid") or not is_course(courseid):
        return None
    members = [] if anonymous == 1 else record.get("members") or []
    group = Group(
        id=render.iris.group(courseid or 0, record["groupid"]),
        members=[render.reference(Person, render.iris.user(member)) for member in members] or None,
    )
    return {"moodle": {"group": group}}


def _may_be_member(record: Record, user: int) -> bool:
    """Whether a user is in the team, as far as its members are known."""
    members = record.get("members")
    return not members or user in members


@for_recipes(names_related_user=True, personal_record=True)
def submission(
    render: Render,
    objectid: int | None,
    object: Record | None,
    learner: int | None,
    submitter: int | None,
    anonymous: int,
    cmid: int | None,
    courseid: int | None,
    module: Record | None,
    stand_in: Mark,
) -> Attempt:
    """The submission that the row's ``objectid`` names."""
    number, owner = id_or(objectid, stand_in), _owner(object, learner, submitter, module)
    return submission_attempt(render, object or {}, number, owner, anonymous, cmid, courseid)


@for_recipes(names_related_user=True, personal_record=True)
def submission_of_plugin(
    render: Render,
    other: object,
    object: Record | None,
    learner: int | None,
    submitter: int | None,
    anonymous: int,
    cmid: int | None,
    courseid: int | None,
    module: Record | None,
    log_mark: Mark,
) -> Attempt:
    """The submission that a submission plugin names in ``other``."""
    record = object or {}
    number = id_or(integer(of_other(other, "submissionid")) or record.get("id"), log_mark)
    owner = _owner(object, learner, submitter, module)
    return submission_attempt(render, record, number, owner, anonymous, cmid, courseid)


@for_recipes(personal_record=True)
def commented_submission(
    render: Render, other: object, cmid: int | None, log_mark: Mark
) -> Attempt:
    """The submission that was commented on."""
    number = id_or(integer(of_other(other, "itemid")), log_mark)
    return Attempt(
        id=assign_iri(render, cmid, f"submission-{number}"),
        assignable=activity_reference(render, cmid, None, "mod_assign"),
    )


def graded_iri(
    render: Render, grade: str, object: Record | None, module: int | None, learner: int | None
) -> str:
    """The graded submission; if it is unknown, the learner's (numbered) attempt.

    An anonymous row does not know its learner: there the attempt goes by its grade.
    """
    graded = (object or {}).get("submission")
    if graded:
        return submission_iri(render, graded, graded["id"], learner, module)
    if not learner:
        return assign_iri(render, module, f"grade-{grade}-attempt")
    count = submission_count(object)
    return render.iris.of_user(
        learner, assign_iri(render, module, "user-"), f"-attempt-{count}" if count else ""
    )


@for_recipes(
    names_related_user=True, personal_record=True, texts=below("assignable", ACTIVITY_TEXTS)
)
def graded_submission(
    render: Render,
    objectid: int | None,
    object: Record | None,
    module: Record | None,
    courseid: int | None,
    relateduserid: int | None,
    anonymous: int,
    cmid: int | None,
    stand_in: Mark,
) -> Attempt:
    """The learner's attempt that was graded."""
    graded = (object or {}).get("submission") or {}
    return Attempt(
        id=graded_iri(render, id_or(objectid, stand_in), object, cmid, relateduserid),
        assignee=anonymous_or(render, anonymous, relateduserid),
        assignable=activity(render, cmid, module, "mod_assign", courseid),
        isPartOf=team_attempt(render, graded, graded["id"], anonymous, cmid, courseid)
        if is_of_team(graded) and relateduserid
        else None,
        count=submission_count(object),
        dateCreated=time(graded.get("timecreated")),
        startedAtTime=time(graded.get("timestarted") or graded.get("timecreated")),
        endedAtTime=time(graded.get("timesubmitted")),
    )


@for_recipes(tells_grade=True, personal_record=True)
def assign_score(
    render: Render,
    objectid: int | None,
    object: Record | None,
    module: Record | None,
    relateduserid: int | None,
    cmid: int | None,
    actor: int | None,
    stand_in: Mark,
) -> Score:
    """The grade that was given, as of the event."""
    number = id_or(objectid, stand_in)
    grade, maximum = assign_grade(object or {}, module or {})
    return Score(
        id=assign_iri(render, cmid, f"grade-{number}"),
        attempt=render.reference(Attempt, graded_iri(render, number, object, cmid, relateduserid)),
        maxScore=maximum,
        scoreGiven=grade,
        scoredBy=render.agent_reference(actor),
    )


@for_recipes(personal_record=True)
def assign_feedback(
    render: Render, objectid: int | None, cmid: int | None, stand_in: Mark
) -> Frame:
    """Where learners read the feedback on their work: a part of the page of the assignment."""
    return Frame(
        id=assign_iri(render, cmid, f"feedback-{id_or(objectid, stand_in)}"),
        isPartOf=activity_reference(render, cmid, None, "mod_assign"),
    )


def assign_grade(record: Record, module: Record) -> tuple[Decimal | None, Decimal | None]:
    """The grade of a grade record, and the highest; None where there is none."""
    grade = record.get("grade")
    if grade is None or grade <= _REMOVED:
        return None, None
    return decimal(grade), maximum_score(module) or decimal(record.get("grademax"))
