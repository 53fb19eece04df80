"""Activities that come from elsewhere or work by rules of their own: SCORM, H5P, workshop, LTI."""

from __future__ import annotations

from urllib.parse import urlsplit

from caliper_dagster.translator.entities.activities import activity, activity_iri
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.registry import (
    Entity,
    Record,
    Render,
    decimal,
    for_recipes,
    integer,
    of_other,
    time,
)

# SCORM


def scorm_attempt_iri(
    render: Render, cmid: int | None, learner: int | None, number: int | None
) -> str:
    """A learner's attempt at a package; SCORM numbers them per learner, from 1."""
    package = render.iris.activity("scorm", cmid or 0)
    return f"{package}#user-{learner}-attempt-{number}" if learner else f"{package}#attempt"


@for_recipes
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
) -> Entity:
    """The attempt that a track belongs to."""
    number = (object or {}).get("attempt") or integer(of_other(other, "attemptid"))
    learner = relateduserid or userid
    return {
        "id": scorm_attempt_iri(render, cmid, learner, number),
        "type": "Attempt",
        "assignee": anonymous_or(render, anonymous, learner),
        "assignable": activity(render, cmid, module, "mod_scorm", courseid),
        "count": number,
    }


@for_recipes
def scorm_score(
    render: Render,
    object: Record | None,
    other: object,
    userid: int | None,
    relateduserid: int | None,
    cmid: int | None,
    module: Record | None,
    log_mark: str | None,
) -> Entity:
    """The raw score that the package reported; it may be more than text that is no number."""
    record = object or {}
    number = record.get("attempt") or integer(of_other(other, "attemptid"))
    attempt = scorm_attempt_iri(render, cmid, relateduserid or userid, number)
    given = decimal(of_other(other, "cmivalue"))
    maximum = decimal(record.get("scoremax"))
    if maximum is None:
        maximum = decimal(((module or {}).get("activity") or {}).get("maxgrade"))
    return {
        "id": f"{attempt}-score-{log_mark}",
        "type": "Score",
        "attempt": attempt,
        "maxScore": maximum if given is not None else None,
        "scoreGiven": given,
        "scoredBy": render.iris.site,
    }


# H5P


def h5p_attempt_iri(render: Render, instance: int | None, attempt: int | None) -> str:
    """An attempt at an H5P activity, by its report."""
    return f"{render.iris.site}/mod/h5pactivity/report.php?a={instance}&attemptid={attempt}"


@for_recipes
def h5p_attempt(
    render: Render,
    object: Record | None,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    log_mark: str | None,
) -> Entity:
    """The attempt that a statement belongs to."""
    record = object or {}
    instance = record.get("h5pactivityid") or (module or {}).get("instance")
    learner = record.get("userid") or userid
    return {
        "id": h5p_attempt_iri(render, instance, record["id"])
        if record.get("id")
        else f"{render.iris.activity('h5pactivity', cmid or 0)}#statement-{log_mark}",
        "type": "Attempt",
        "assignee": anonymous_or(render, anonymous, learner),
        "assignable": activity_iri(render, cmid, module, "mod_h5pactivity"),
        "count": record.get("attempt"),
        "startedAtTime": time(record.get("timecreated")),
        "duration": f"PT{record['duration']}S" if record.get("duration") else None,
    }


# Workshop


def workshop_submission_iri(render: Render, cmid: int | None, submission: int | None) -> str:
    """A submission to a workshop."""
    return f"{render.iris.site}/mod/workshop/submission.php?cmid={cmid}&id={submission}"


@for_recipes
def workshop_submission(
    render: Render,
    objectid: int | None,
    objecttable: str | None,
    object: Record | None,
    other: object,
    userid: int | None,
    relateduserid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
) -> Entity:
    """A submission; an assessment names in ``other`` the submission that it is of."""
    record = object or {}
    number = objectid
    if objecttable == "workshop_assessments":
        number = integer(of_other(other, "submissionid")) or record.get("submissionid")
    learner = record.get("authorid") or relateduserid or userid
    return {
        "id": workshop_submission_iri(render, cmid, number),
        "type": "Attempt",
        "assignee": anonymous_or(render, anonymous, learner),
        "assignable": activity_iri(render, cmid, module, "mod_workshop"),
        "count": 1,
    }


@for_recipes
def workshop_score(
    render: Render,
    objectid: int | None,
    object: Record | None,
    other: object,
    cmid: int | None,
    module: Record | None,
    actor: int | None,
) -> Entity:
    """The score that a reviewer gave: per cent of the workshop's grade for submissions."""
    record, workshop = object or {}, (module or {}).get("activity") or {}
    given = decimal(of_other(other, "currentgrade"))
    if given is None:
        given = decimal(record.get("grade"))
    maximum = decimal(workshop.get("grade"))
    number = integer(of_other(other, "submissionid")) or record.get("submissionid")
    scored = given is not None and maximum is not None
    return {
        "id": f"{render.iris.site}/mod/workshop/assessment.php?asid={objectid}",
        "type": "Score",
        "attempt": workshop_submission_iri(render, cmid, number),
        "maxScore": maximum if scored else None,
        "scoreGiven": round((given or 0) / 100 * (maximum or 0), 5) if scored else None,
        "scoredBy": render.iris.agent(actor),
    }


@for_recipes
def workshop_assessments_of(
    render: Render,
    relateduserid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    courseid: int | None,
    log_mark: str | None,
) -> Entity:
    """All that a reviewer assessed, for which there is a grade, too."""
    return {
        "id": _assessments_iri(render, cmid, relateduserid, log_mark),
        "type": "Attempt",
        "assignee": anonymous_or(render, anonymous, relateduserid),
        "assignable": activity(render, cmid, module, "mod_workshop", courseid),
    }


def _assessments_iri(
    render: Render, cmid: int | None, reviewer: int | None, log_mark: str | None
) -> str:
    workshop = render.iris.activity("workshop", cmid or 0)
    return f"{workshop}#assessments-of-{reviewer or f'row-{log_mark}'}"


@for_recipes
def workshop_assessing_score(
    render: Render,
    other: object,
    relateduserid: int | None,
    cmid: int | None,
    module: Record | None,
    actor: int | None,
    log_mark: str | None,
) -> Entity:
    """The grade for assessing."""
    given = decimal(of_other(other, "finalgrade"))
    if given is None:
        given = decimal(of_other(other, "currentgrade"))
    maximum = decimal(((module or {}).get("activity") or {}).get("gradinggrade"))
    attempt = _assessments_iri(render, cmid, relateduserid, log_mark)
    return {
        "id": f"{attempt}-score-{log_mark}",
        "type": "Score",
        "attempt": attempt,
        "maxScore": maximum if given is not None else None,
        "scoreGiven": given,
        "scoredBy": render.iris.agent(actor),
    }


# External tools


@for_recipes
def bigbluebutton_server(render: Render) -> Entity:
    """The server that a site's meetings run on. Its address is a setting that may hold secrets."""
    return {"id": f"{render.iris.site}/mod/bigbluebuttonbn#server", "type": "SoftwareApplication"}


def lti_tool(module: Record | None) -> Entity | None:
    """The tool that an LTI activity launches, by the host of its address; None without one."""
    found = (module or {}).get("activity") or {}
    kind = found.get("type") or {}
    for address in (kind.get("baseurl"), found.get("toolurl")):
        parts = urlsplit(address or "")
        if parts.scheme in {"http", "https"} and parts.hostname:
            port = f":{parts.port}" if parts.port else ""
            return {
                "id": f"{parts.scheme}://{parts.hostname}{port}/",
                "type": "SoftwareApplication",
                "name": kind.get("name"),
            }
    return None
