"""Assignments: submissions as attempts, grades as scores.

``attemptnumber`` counts from 0 in Moodle and from 1 in Caliper.
"""

from __future__ import annotations

from caliper_dagster.caliper.entities import Attempt, Decimal, Iri, Person, Result, Score
from caliper_dagster.translator.entities.activities import (
    ACTIVITY_TEXTS,
    activity,
    activity_iri,
    maximum_score,
)
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.registry import (
    Record,
    Render,
    below,
    decimal,
    for_recipes,
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


def submission_attempt(
    render: Render,
    record: Record,
    number: int | None,
    owner: int | None,
    anonymous: int | None,
    cmid: int | None,
    courseid: int | None,
) -> Attempt:
    """A submission from its record, which may be empty, and its id.

    The assignee of a team's submission is the Group, by its IRI.
    """
    owner = record.get("userid", owner)
    assignee: Person | Iri | None = anonymous_or(render, anonymous, owner)
    if record.get("groupid") and is_course(courseid):
        assignee = render.iris.group(courseid or 0, record["groupid"])
    return Attempt(
        id=assign_iri(render, cmid, f"submission-{number}"),
        assignee=assignee,
        assignable=activity_iri(render, cmid, None, "mod_assign"),
        count=submission_count(record),
        dateCreated=time(record.get("timecreated")),
        startedAtTime=time(record.get("timestarted") or record.get("timecreated")),
        endedAtTime=time(record.get("timesubmitted")),
    )


@for_recipes(names_related_user=True, personal_record=True)
def submission(
    render: Render,
    objectid: int | None,
    object: Record | None,
    userid: int | None,
    relateduserid: int | None,
    anonymous: int,
    cmid: int | None,
    courseid: int | None,
) -> Attempt:
    """The submission that the row's ``objectid`` names."""
    return submission_attempt(
        render, object or {}, objectid, relateduserid or userid, anonymous, cmid, courseid
    )


@for_recipes(names_related_user=True, personal_record=True)
def submission_of_plugin(
    render: Render,
    other: object,
    object: Record | None,
    userid: int | None,
    relateduserid: int | None,
    anonymous: int,
    cmid: int | None,
    courseid: int | None,
) -> Attempt:
    """The submission that a submission plugin names in ``other``."""
    record = object or {}
    number = integer(of_other(other, "submissionid")) or record.get("id")
    return submission_attempt(
        render, record, number, relateduserid or userid, anonymous, cmid, courseid
    )


@for_recipes(personal_record=True)
def commented_submission(render: Render, other: object, cmid: int | None) -> Attempt:
    """The submission that was commented on."""
    return Attempt(
        id=assign_iri(render, cmid, f"submission-{integer(of_other(other, 'itemid'))}"),
        assignable=activity_iri(render, cmid, None, "mod_assign"),
    )


def graded_iri(
    render: Render,
    objectid: int | None,
    object: Record | None,
    module: int | None,
    learner: int | None,
) -> str:
    """The graded submission; if it is unknown, the learner's (numbered) attempt.

    An anonymous row does not know its learner: there the attempt goes by its grade.
    """
    graded = (object or {}).get("submission")
    if graded:
        return assign_iri(render, module, f"submission-{graded['id']}")
    if not learner:
        return assign_iri(render, module, f"grade-{objectid}-attempt")
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
) -> Attempt:
    """The learner's attempt that was graded."""
    graded = (object or {}).get("submission") or {}
    return Attempt(
        id=graded_iri(render, objectid, object, cmid, relateduserid),
        assignee=anonymous_or(render, anonymous, relateduserid),
        assignable=activity(render, cmid, module, "mod_assign", courseid),
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
) -> Score:
    """The grade that was given, as of the event."""
    grade, maximum = _grade(object or {}, module or {})
    return Score(
        id=assign_iri(render, cmid, f"grade-{objectid}"),
        attempt=graded_iri(render, objectid, object, cmid, relateduserid),
        maxScore=maximum,
        scoreGiven=grade,
        scoredBy=render.iris.agent(actor),
    )


@for_recipes(
    names_related_user=True,
    tells_grade=True,
    personal_record=True,
    texts=below("attempt.assignable", ACTIVITY_TEXTS),
)
def assign_result(
    render: Render,
    objectid: int | None,
    object: Record | None,
    module: Record | None,
    courseid: int | None,
    relateduserid: int | None,
    anonymous: int,
    cmid: int | None,
) -> Result:
    """The grade as its learner sees it: a Result, distinct from the Score that was given."""
    learner = relateduserid or (object or {}).get("userid")
    grade, maximum = _grade(object or {}, module or {})
    return Result(
        id=assign_iri(render, cmid, f"grade-{objectid}-result"),
        attempt=graded_submission(
            render, objectid, object, module, courseid, learner, anonymous, cmid
        ),
        maxResultScore=maximum,
        resultScore=grade,
    )


def _grade(record: Record, module: Record) -> tuple[Decimal | None, Decimal | None]:
    grade = record.get("grade")
    if grade is None or grade <= _REMOVED:
        return None, None
    return decimal(grade), maximum_score(module) or decimal(record.get("grademax"))
