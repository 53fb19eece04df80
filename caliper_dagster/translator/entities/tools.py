"""Activities with formats or rules of their own: SCORM, H5P, workshop, LTI."""

from __future__ import annotations

from urllib.parse import urlsplit

from caliper_dagster.caliper.entities import (
    Attempt,
    Duration,
    Score,
    SoftwareApplication,
)
from caliper_dagster.translator.entities.activities import (
    ACTIVITY_TEXTS,
    activity,
    activity_reference,
)
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.registry import (
    Mark,
    Record,
    Render,
    below,
    decimal,
    decimal_or_none,
    for_recipes,
    id_or,
    integer,
    name_of,
    of_other,
    time,
)

# SCORM


def scorm_attempt_iri(
    render: Render, cmid: int | None, learner: int | None, number: int | None
) -> str:
    """A learner's attempt at a package; SCORM numbers them per learner, from 1."""
    package = render.iris.activity("scorm", cmid or 0)
    if not learner:
        return f"{package}#attempt"
    return render.iris.of_user(
        learner, f"{package}#user-", "" if number is None else f"-attempt-{number}"
    )


@for_recipes(
    names_related_user=True, personal_record=True, texts=below("assignable", ACTIVITY_TEXTS)
)
def scorm_attempt(
    render: Render,
    object: Record | None,
    other: object,
    userid: int | None,
    relateduserid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    courseid: int | None,
) -> Attempt:
    """The attempt that a track belongs to."""
    number = (object or {}).get("attempt") or integer(of_other(other, "attemptid"))
    learner = relateduserid or userid
    return Attempt(
        id=scorm_attempt_iri(render, cmid, learner, number),
        assignee=anonymous_or(render, anonymous, learner),
        assignable=activity(render, cmid, module, "mod_scorm", courseid),
        count=number,
    )


@for_recipes(personal_record=True)
def scorm_score(
    render: Render,
    object: Record | None,
    other: object,
    userid: int | None,
    relateduserid: int | None,
    cmid: int | None,
    module: Record | None,
    log_mark: Mark,
) -> Score:
    """The raw score that the package reported; text that is not a number is omitted."""
    record = object or {}
    number = record.get("attempt") or integer(of_other(other, "attemptid"))
    attempt = scorm_attempt_iri(render, cmid, relateduserid or userid, number)
    score = decimal_or_none(of_other(other, "cmivalue"))
    maximum = decimal_or_none(record.get("scoremax"))
    if maximum is None:
        maximum = decimal_or_none(((module or {}).get("activity") or {}).get("maxgrade"))
    return Score(
        id=f"{attempt}-score-{log_mark}",
        attempt=render.reference(Attempt, attempt),
        maxScore=maximum if score is not None else None,
        scoreGiven=score,
        scoredBy=render.site_reference(),
    )


# H5P


def h5p_attempt_iri(render: Render, instance: int | None, attempt: int) -> str:
    """An attempt at an H5P activity, by its report."""
    return f"{render.iris.site}/mod/h5pactivity/report.php?a={instance}&attemptid={attempt}"


@for_recipes(names_related_user=True, personal_record=True)
def h5p_attempt(
    render: Render,
    object: Record | None,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    log_mark: Mark,
) -> Attempt:
    """The attempt that a statement belongs to."""
    record = object or {}
    instance = record.get("h5pactivityid") or (module or {}).get("instance")
    learner = record.get("userid") or userid
    return Attempt(
        id=h5p_attempt_iri(render, instance, record["id"])
        if instance and record.get("id")
        else f"{render.iris.activity('h5pactivity', cmid or 0)}#statement-{log_mark}",
        assignee=anonymous_or(render, anonymous, learner),
        assignable=activity_reference(render, cmid, module, "mod_h5pactivity"),
        count=record.get("attempt"),
        startedAtTime=time(record.get("timecreated")),
        endedAtTime=time(record.get("timemodified")) if record.get("completion") else None,
        duration=Duration(f"PT{record['duration']}S") if record.get("duration") else None,
    )


# Workshop


def workshop_submission_iri(render: Render, cmid: int | None, submission: int | str) -> str:
    """A submission to a workshop."""
    return f"{render.iris.site}/mod/workshop/submission.php?cmid={cmid or 0}&id={submission}"


@for_recipes(names_related_user=True, personal_record=True)
def workshop_submission(
    render: Render,
    objectid: int | None,
    objecttable: str | None,
    object: Record | None,
    other: object,
    learner: int | None,
    submitter: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    log_mark: Mark,
) -> Attempt:
    """A submission; an assessment names its submission in ``other``."""
    record = object or {}
    number = objectid
    if objecttable == "workshop_assessments":
        number = integer(of_other(other, "submissionid")) or record.get("submissionid")
    return Attempt(
        id=workshop_submission_iri(render, cmid, id_or(number, log_mark)),
        assignee=anonymous_or(render, anonymous, record.get("authorid") or learner or submitter),
        assignable=activity_reference(render, cmid, module, "mod_workshop"),
        count=1,
    )


@for_recipes(tells_grade=True, personal_record=True)
def workshop_score(
    render: Render,
    objectid: int | None,
    object: Record | None,
    other: object,
    cmid: int | None,
    module: Record | None,
    actor: int | None,
    log_mark: Mark,
) -> Score:
    """The score that a reviewer gave: per cent of the workshop's grade for submissions."""
    record, workshop = object or {}, (module or {}).get("activity") or {}
    score = decimal_or_none(of_other(other, "currentgrade"))
    if score is None:
        score = decimal_or_none(record.get("grade"))
    maximum = decimal_or_none(workshop.get("grade"))
    number = id_or(integer(of_other(other, "submissionid")) or record.get("submissionid"), log_mark)
    scored = score is not None and maximum is not None
    return Score(
        id=f"{render.iris.site}/mod/workshop/assessment.php?asid={id_or(objectid, log_mark)}",
        attempt=render.reference(Attempt, workshop_submission_iri(render, cmid, number)),
        maxScore=maximum if scored else None,
        scoreGiven=decimal(round((score or 0) / 100 * (maximum or 0), 5)) if scored else None,
        scoredBy=render.agent_reference(actor),
    )


@for_recipes(
    names_related_user=True, personal_record=True, texts=below("assignable", ACTIVITY_TEXTS)
)
def workshop_assessments_of(
    render: Render,
    relateduserid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    courseid: int | None,
    log_mark: Mark,
) -> Attempt:
    """A reviewer's assessments as a whole, which are graded, too."""
    return Attempt(
        id=_assessments_iri(render, cmid, relateduserid, log_mark),
        assignee=anonymous_or(render, anonymous, relateduserid),
        assignable=activity(render, cmid, module, "mod_workshop", courseid),
    )


def _assessments_iri(render: Render, cmid: int | None, reviewer: int | None, log_mark: Mark) -> str:
    workshop = render.iris.activity("workshop", cmid or 0)
    if not reviewer:
        return f"{workshop}#assessments-{id_or(None, log_mark)}"
    return render.iris.of_user(reviewer, f"{workshop}#assessments-of-")


@for_recipes(personal_record=True)
def workshop_assessing_score(
    render: Render,
    other: object,
    relateduserid: int | None,
    cmid: int | None,
    module: Record | None,
    actor: int | None,
    log_mark: Mark,
) -> Score:
    """The grade for assessing."""
    score = decimal_or_none(of_other(other, "finalgrade"))
    if score is None:
        score = decimal_or_none(of_other(other, "currentgrade"))
    maximum = decimal_or_none(((module or {}).get("activity") or {}).get("gradinggrade"))
    attempt = _assessments_iri(render, cmid, relateduserid, log_mark)
    return Score(
        id=f"{attempt}-score-{log_mark}",
        attempt=render.reference(Attempt, attempt),
        maxScore=maximum if score is not None else None,
        scoreGiven=score,
        scoredBy=render.agent_reference(actor),
    )


# External tools


@for_recipes()
def bigbluebutton_server(render: Render) -> SoftwareApplication:
    """The server that a site's meetings run on. Its address is a setting that may hold secrets."""
    return SoftwareApplication(
        id=f"{render.iris.site}/mod/bigbluebuttonbn#server",
    )


def lti_tool(module: Record | None) -> SoftwareApplication | None:
    """The tool that an LTI activity launches, by the host of its address; None without one."""
    instance = (module or {}).get("activity") or {}
    kind = instance.get("type") or {}
    for address in (kind.get("baseurl"), instance.get("toolurl")):
        host = _host(address or "")
        if host:
            return SoftwareApplication(id=host, name=name_of(kind, "name"))
    return None


def _host(address: str) -> str | None:
    """The host of a web address, as an address; None for what is none."""
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # a port that is no number, half an IPv6 address
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return f"{parts.scheme}://{parts.hostname}{port}/"
