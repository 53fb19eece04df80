"""One plain function per Caliper entity: from Moodle records to a dict.

Each is called once for each distinct combination of the columns that its parameters name: columns
of ``EXPANDED_LOG``, and ``actor``, the id of the acting person. A parameter is None where its
column is null. Values that are None or empty are left out afterwards; Moodle's "no date" is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from caliper_dagster.translator.identity import ANONYMOUS_PERSON, Iris
from caliper_dagster.translator.roles import caliper_roles
from caliper_dagster.translator.vocabulary import TERM

Record = Mapping[str, Any]
Entity = dict[str, Any]

_FRONT_PAGE = 1

MODULE_TYPES = {
    "assign": "AssignableDigitalResource",
    "book": "Document",
    "chat": "DigitalResourceCollection",
    "choice": "Questionnaire",
    "data": "DigitalResourceCollection",
    "feedback": "Questionnaire",
    "folder": "DigitalResourceCollection",
    "forum": "Forum",
    "glossary": "DigitalResourceCollection",
    "h5pactivity": "AssignableDigitalResource",
    "imscp": "DigitalResourceCollection",
    "lesson": "Assessment",
    "lti": "LtiLink",
    "page": "WebPage",
    "quiz": "Assessment",
    "resource": "Document",
    "scorm": "AssignableDigitalResource",
    "subsection": "DigitalResourceCollection",
    "survey": "Questionnaire",
    "url": "WebPage",
    "wiki": "DigitalResourceCollection",
    "workshop": "AssignableDigitalResource",
}
"""Type of each activity module; of a module that is not here, see :func:`_activity_type`."""

_MEDIA = {"video": "VideoObject", "audio": "AudioObject", "image": "ImageObject"}

_STARTS = {
    "assign": "allowsubmissionsfromdate", "lesson": "available", "quiz": "timeopen",
    "scorm": "timeopen", "workshop": "submissionstart",
}  # fmt: skip
_ENDS = {
    "assign": "duedate", "lesson": "deadline", "quiz": "timeclose", "scorm": "timeclose",
    "workshop": "submissionend",
}  # fmt: skip
_ATTEMPTS = {"assign": "maxattempts", "quiz": "attempts", "scorm": "maxattempt"}
"""Columns for dateToStartOn, dateToSubmit and maxAttempts (0 or -1 there: no limit)."""

_GRADED_BY_VALUE = 1
_GRADED_BY_SCALE = 2


@dataclass(frozen=True, slots=True)
class PersonOptions:
    """What of a person may be sent beside the id."""

    names: bool = False
    identifiers: tuple[str, ...] = ("SystemId",)


@dataclass(frozen=True, slots=True)
class Render:
    """What every entity function gets: the site's IRIs and what may be sent of persons."""

    iris: Iris
    person: PersonOptions


@dataclass(frozen=True, slots=True)
class EntityFunction:
    """An entity function with the columns that its parameters name."""

    name: str
    function: Callable[..., Entity | None]
    columns: tuple[str, ...]


ENTITY_FUNCTIONS: dict[str, EntityFunction] = {}
"""Those that a recipe may name."""


def _for_recipes(function: Callable[..., Entity | None]) -> Callable[..., Entity | None]:
    names = function.__code__.co_varnames[1 : function.__code__.co_argcount]
    ENTITY_FUNCTIONS[function.__name__] = EntityFunction(function.__name__, function, names)
    return function


def time(seconds: float | None) -> str | None:
    """A date as Caliper wants it (UTC, milliseconds); None for Moodle's "no date"."""
    if not seconds or seconds < 0:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


# Agents and organisations


def application(render: Render, site: Record | None) -> Entity:
    """The Moodle site, as edApp, as what one logs in to, and as who acts when nobody does."""
    return {
        "id": render.iris.site,
        "type": "SoftwareApplication",
        "version": (site or {}).get("release"),
    }


ENTITY_FUNCTIONS["site"] = EntityFunction("site", application, ("site",))


def person(render: Render, user: Record) -> Entity:
    """A person; of a deleted or unknown user only the id."""
    entity = person_reference(render, user["id"])
    if user.get("deleted") or "username" not in user:
        return entity
    if render.person.names:
        names = (user["firstname"], user["lastname"])
        entity["name"] = " ".join(name for name in names if name)
    values = {
        "SystemId": str(user["id"]),
        "LtiUserId": str(user["id"]),
        "AccountUserName": user["username"],
        "SisSourcedId": user["idnumber"],
        "LisSourcedId": user["idnumber"],
        "EmailAddress": user["email"],
    }
    entity["otherIdentifiers"] = [
        {
            "type": "SystemIdentifier",
            "identifierType": name,
            "identifier": values[name],
            "source": render.iris.site,
        }
        for name in render.person.identifiers
        if values[name]
    ]
    return entity


def person_reference(render: Render, user: int) -> Entity:
    """A person by id alone."""
    return {"id": render.iris.user(user), "type": "Person"}


def anonymous_or(render: Render, anonymous: int | None, user: int | None) -> Entity | None:
    """A person by id; the anonymous form when the row is anonymous; None without an id."""
    if anonymous == 1:
        return dict(ANONYMOUS_PERSON)
    return person_reference(render, user) if user and user > 0 else None


def course_section(render: Render, courseid: int, course: Record | None) -> Entity:
    """A course."""
    course = course or {}
    return {
        "id": render.iris.course(courseid),
        "type": "CourseSection",
        "name": course.get("fullname"),
        "courseNumber": course.get("shortname"),
        "dateCreated": time(course.get("timecreated")),
    }


def membership(render: Render, record: Record) -> Entity:
    """A person in a course, with all roles; without roles where nothing is known about them."""
    user, course = record["user"], record["course"]
    entity: Entity = {
        "id": render.iris.membership(user, course),
        "type": "Membership",
        "member": render.iris.user(user),
        "organization": render.iris.course(course),
    }
    if "roles" in record:
        entity["roles"] = caliper_roles(record)
        entity["status"] = "Active" if record["active"] else "Inactive"
    return entity


def guest_membership(render: Render, record: Record) -> Entity:
    """The guest account in a course: nobody in particular, with a guest's roles."""
    return {
        **membership(render, record),
        "id": f"{TERM}Membership",
        "member": dict(ANONYMOUS_PERSON),
    }


def session(render: Render, session: Record, actor: int, ended: int | None) -> Entity | None:
    """The session that a log-in opened; with its end (Unix time) in the row that logs out.

    None when it is not the actor's: a teacher's click is not part of the learner's session.
    """
    if session["user"] != actor:
        return None
    return {
        "id": render.iris.session(session["id"]),
        "type": "Session",
        "user": render.iris.user(actor),
        "startedAtTime": time(session["timecreated"]),
        "endedAtTime": time(ended),
    }


# Pages and activities


@_for_recipes
def course_page(render: Render, courseid: int | None, course: Record | None) -> Entity:
    """The page of a course; outside of courses the front page of the site."""
    if courseid is None or courseid <= _FRONT_PAGE:
        return {"id": f"{render.iris.site}/", "type": "WebPage"}
    return {
        "id": render.iris.course_page(courseid),
        "type": "DigitalResourceCollection",
        "name": (course or {}).get("fullname"),
        "isPartOf": render.iris.course(courseid),
    }


@_for_recipes
def course_section_page(render: Render, courseid: int | None, other: Any) -> Entity | None:  # noqa: ANN401
    """The section that was opened, when one was."""
    number = _number(other, "coursesectionnumber")
    if number is None or courseid is None or courseid <= _FRONT_PAGE:
        return None
    return {
        "id": render.iris.course_section(courseid, number),
        "type": "Frame",
        "index": number,
        "isPartOf": render.iris.course_page(courseid),
    }


@_for_recipes
def activity(
    render: Render,
    contextinstanceid: int | None,
    module: Record | None,
    component: str | None,
    courseid: int | None,
) -> Entity:
    """The activity of the row's course module."""
    modname = _modname(module, component)
    found = (module or {}).get("activity") or {}
    entity: Entity = {
        "id": render.iris.activity(modname, contextinstanceid or 0),
        "type": _activity_type(modname, module or {}),
        "name": found.get("name"),
        "isPartOf": render.iris.course(courseid) if courseid and courseid > _FRONT_PAGE else None,
    }
    if entity["type"] in {"AssignableDigitalResource", "Assessment"}:
        limit = found.get(_ATTEMPTS.get(modname, ""))
        entity |= {
            "dateToStartOn": time(found.get(_STARTS.get(modname, ""))),
            "dateToSubmit": time(found.get(_ENDS.get(modname, ""))),
            "maxAttempts": limit if limit and limit > 0 else None,
            "maxScore": maximum_score(module or {}),
        }
    if found.get("externalurl"):
        entity["extensions"] = {"externalUrl": found["externalurl"]}
    return entity


def _modname(module: Record | None, component: str | None) -> str:
    name = (module or {}).get("modname") or (component or "").removeprefix("mod_")
    return str(name)


def _activity_type(modname: str, module: Record) -> str:
    if modname == "resource":
        return _MEDIA.get((module.get("mimetype") or "").partition("/")[0], "Document")
    if modname in MODULE_TYPES:
        return MODULE_TYPES[modname]
    graded = (module.get("grade_item") or {}).get("gradetype")
    return "AssignableDigitalResource" if graded else "DigitalResource"


def maximum_score(module: Record) -> float | None:
    """The highest grade: the activity's own, the size of its scale, or the gradebook's."""
    grade = (module.get("activity") or {}).get("grade") or 0
    if grade > 0:
        return float(grade)
    item = module.get("grade_item") or {}
    if grade < 0 or item.get("gradetype") == _GRADED_BY_SCALE:
        return float(module["scale_items"]) if module.get("scale_items") else None
    return float(item["grademax"]) if item.get("gradetype") == _GRADED_BY_VALUE else None


# Quizzes


def _quiz_attempt_iri(render: Render, attempt: int | None) -> str:
    return f"{render.iris.site}/mod/quiz/review.php?attempt={attempt}"


def _attempt_of(
    render: Render, objectid: int | None, attempt: Record, relateduserid: int | None, anonymous: int
) -> Entity:
    started, finished = attempt.get("timestart") or 0, attempt.get("timefinish") or 0
    return {
        "id": _quiz_attempt_iri(render, objectid),
        "type": "Attempt",
        "assignee": anonymous_or(render, anonymous, attempt.get("userid") or relateduserid),
        "count": attempt.get("attempt"),
        "startedAtTime": time(started),
        "endedAtTime": time(finished),
        "duration": f"PT{finished - started}S" if started and finished >= started else None,
    }


@_for_recipes
def quiz_attempt(
    render: Render,
    objectid: int | None,
    object: Record | None,
    relateduserid: int | None,
    anonymous: int,
    contextinstanceid: int | None,
) -> Entity:
    """A quiz attempt, generated by an event whose object is the quiz."""
    entity = _attempt_of(render, objectid, object or {}, relateduserid, anonymous)
    entity["assignable"] = render.iris.activity("quiz", contextinstanceid or 0)
    return entity


@_for_recipes
def quiz_page(render: Render, objectid: int | None, other: Any) -> Entity | None:  # noqa: ANN401
    """The page of a quiz attempt that was looked at; logged from Moodle 4.1 on."""
    page = _number(other, "page")
    if page is None:
        return None
    return {
        "id": f"{render.iris.site}/mod/quiz/attempt.php?attempt={objectid}&page={page}",
        "type": "Frame",
        "index": page + 1,
        "isPartOf": _quiz_attempt_iri(render, objectid),
    }


@_for_recipes
def quiz_result(
    render: Render,
    objectid: int | None,
    object: Record | None,
    module: Record | None,
    component: str | None,
    courseid: int | None,
    relateduserid: int | None,
    anonymous: int,
    contextinstanceid: int | None,
) -> Entity:
    """The result of a quiz attempt: its grade on the scale of the quiz."""
    attempt = _attempt_of(render, objectid, object or {}, relateduserid, anonymous)
    attempt["assignable"] = activity(render, contextinstanceid, module, component, courseid)
    quiz = (module or {}).get("activity") or {}
    grade, maximum = _quiz_grade(object or {}, quiz)
    return {
        "id": f"{_quiz_attempt_iri(render, objectid)}#result",
        "type": "Result",
        "attempt": attempt,
        "maxResultScore": maximum,
        "resultScore": grade,
    }


def _quiz_grade(attempt: Record, quiz: Record) -> tuple[float | None, float | None]:
    """The grade of an attempt and the highest one; quizzes count points and scale them up."""
    points, all_points, maximum = attempt.get("sumgrades"), quiz.get("sumgrades"), quiz.get("grade")
    if points is None or not all_points or not maximum:
        return None, None
    return round(points / all_points * maximum, 5), float(maximum)


# Assignments


def _submission_iri(render: Render, module: int | None, fragment: str) -> str:
    return f"{render.iris.activity('assign', module or 0)}#{fragment}"


def _count(record: Record | None) -> int | None:
    """Attempts count from 1 in Caliper and from 0 in ``assign``."""
    number = (record or {}).get("attemptnumber")
    return number + 1 if number is not None and number >= 0 else None


@_for_recipes
def submission(
    render: Render,
    objectid: int | None,
    object: Record | None,
    userid: int | None,
    relateduserid: int | None,
    anonymous: int,
    contextinstanceid: int | None,
    courseid: int | None,
) -> Entity:
    """A submission as Attempt; the assignee of a team's submission is the Group, by its IRI."""
    record = object or {}
    owner = record.get("userid", relateduserid or userid)
    assignee: Entity | str | None = anonymous_or(render, anonymous, owner)
    if record.get("groupid") and courseid:
        assignee = render.iris.group(courseid, record["groupid"])
    return {
        "id": _submission_iri(render, contextinstanceid, f"submission-{objectid}"),
        "type": "Attempt",
        "assignee": assignee,
        "assignable": render.iris.activity("assign", contextinstanceid or 0),
        "count": _count(object),
        "dateCreated": time(record.get("timecreated")),
        "startedAtTime": time(record.get("timestarted")),
    }


def _graded_iri(
    render: Render,
    objectid: int | None,
    object: Record | None,
    module: int | None,
    learner: int | None,
) -> str:
    """The graded submission; where none is known, the learner's (numbered) attempt.

    An anonymous row does not know its learner: there the attempt goes by its grade.
    """
    graded = (object or {}).get("submission")
    if graded:
        return _submission_iri(render, module, f"submission-{graded['id']}")
    if not learner:
        return _submission_iri(render, module, f"grade-{objectid}-attempt")
    count = _count(object)
    return _submission_iri(
        render, module, f"user-{learner}" + (f"-attempt-{count}" if count else "")
    )


@_for_recipes
def graded_submission(
    render: Render,
    objectid: int | None,
    object: Record | None,
    module: Record | None,
    component: str | None,
    courseid: int | None,
    relateduserid: int | None,
    anonymous: int,
    contextinstanceid: int | None,
) -> Entity:
    """The learner's attempt that was graded."""
    graded = (object or {}).get("submission") or {}
    return {
        "id": _graded_iri(render, objectid, object, contextinstanceid, relateduserid),
        "type": "Attempt",
        "assignee": anonymous_or(render, anonymous, relateduserid),
        "assignable": activity(render, contextinstanceid, module, component, courseid),
        "count": _count(object),
        "dateCreated": time(graded.get("timecreated")),
        "startedAtTime": time(graded.get("timestarted")),
    }


@_for_recipes
def assign_score(
    render: Render,
    objectid: int | None,
    object: Record | None,
    module: Record | None,
    relateduserid: int | None,
    contextinstanceid: int | None,
    actor: int | None,
) -> Entity:
    """The grade that was given, as of the event. ``actor``: who gave it, 0 for the site."""
    record = object or {}
    grade = record.get("grade")
    given = grade is not None and grade >= 0
    scorer = render.iris.user(actor) if actor else render.iris.site
    return {
        "id": _submission_iri(render, contextinstanceid, f"grade-{objectid}"),
        "type": "Score",
        "attempt": _graded_iri(render, objectid, object, contextinstanceid, relateduserid),
        "maxScore": (maximum_score(module or {}) or record.get("grademax")) if given else None,
        "scoreGiven": grade if given else None,
        "scoredBy": scorer if actor is not None else None,
    }


def _number(other: Any, key: str) -> int | None:  # noqa: ANN401 - decoded JSON
    """An integer of ``other``, which PHP often stores as text."""
    value = other.get(key) if isinstance(other, dict) else None
    try:
        return int(value) if value is not None else None
    except (TypeError, ValueError):
        return None
