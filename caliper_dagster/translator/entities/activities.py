"""Courses and their pages, activities with their dates and highest scores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

from caliper_dagster.caliper.entities import (
    Assessment,
    AssignableDigitalResource,
    AudioObject,
    CourseSection,
    Decimal,
    DigitalResource,
    DigitalResourceCollection,
    Document,
    Forum,
    Frame,
    ImageObject,
    LearningObjective,
    LtiLink,
    Organization,
    Questionnaire,
    Reference,
    VideoObject,
    WebPage,
)
from caliper_dagster.translator.entities.registry import (
    Mark,
    Record,
    Render,
    decimal,
    for_recipes,
    for_translator,
    identifiers,
    in_iri,
    integer,
    is_course,
    name_of,
    of_other,
    text,
    time,
)
from caliper_dagster.translator.entities.texts import ClassOfText

MODULE_TYPES: Mapping[str, type[DigitalResource]] = {
    "assign": AssignableDigitalResource,
    "book": Document,
    "chat": DigitalResourceCollection,
    "choice": Questionnaire,
    "data": DigitalResourceCollection,
    "feedback": Questionnaire,
    "folder": DigitalResourceCollection,
    "forum": Forum,
    "glossary": DigitalResourceCollection,
    "h5pactivity": AssignableDigitalResource,
    "imscp": DigitalResourceCollection,
    "lesson": Assessment,
    "lti": LtiLink,
    "page": WebPage,
    "quiz": Assessment,
    "resource": Document,
    "scorm": AssignableDigitalResource,
    "subsection": DigitalResourceCollection,
    "survey": Questionnaire,
    "url": WebPage,
    "wiki": DigitalResourceCollection,
    "workshop": AssignableDigitalResource,
}
"""Type of each activity module. ``resource`` goes by its file; of a module that is not here, see
:func:`activity_type`."""

_NEVER_GRADED = frozenset({"label", "bigbluebuttonbn"})
_MEDIA: Mapping[str, type[DigitalResource]] = {
    "video": VideoObject,
    "audio": AudioObject,
    "image": ImageObject,
}

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


COURSE_TEXTS: Mapping[str, ClassOfText] = {
    "name": "institutional",
    "courseNumber": "institutional",
    "subOrganizationOf.name": "institutional",
    "subOrganizationOf.otherIdentifiers.identifier": "institutional",
    "otherIdentifiers.identifier": "institutional",
}


@for_recipes(texts=COURSE_TEXTS)
def course(
    render: Render, courseid: int | None, course: Record | None
) -> Organization | CourseSection:
    """The course of the row, as an organization."""
    if not is_course(courseid):
        return Organization(id=render.iris.organization)
    return course_section(render, courseid or 0, course)


@for_translator(texts=COURSE_TEXTS)
def course_section(render: Render, courseid: int, course: Record | None) -> CourseSection:
    """A course."""
    course = course or {}
    dates = {"startDate": time(course.get("startdate")), "endDate": time(course.get("enddate"))}
    return CourseSection(
        id=render.iris.course(courseid),
        name=name_of(course, "fullname"),
        courseNumber=name_of(course, "shortname"),
        subOrganizationOf=_category(render, course.get("category")),
        dateCreated=time(course.get("timecreated")),
        otherIdentifiers=identifiers(
            render, SisSourcedId=course.get("idnumber"), LtiContextId=courseid
        ),
        extensions={key: date for key, date in dates.items() if date} or None,
    )


def _category(render: Render, category: object) -> Organization | None:
    """The category of a course, where it may be sent."""
    if not render.course_categories or not isinstance(category, dict):
        return None
    return Organization(
        id=render.iris.category(category["id"]),
        name=name_of(category, "name"),
        otherIdentifiers=identifiers(render, SisSourcedId=category.get("idnumber")),
    )


def learning_objectives(render: Render, record: Record | None) -> list[LearningObjective] | None:
    """The competencies of a course or of an activity."""
    return [
        LearningObjective(id=render.iris.competency(one["id"]), name=name_of(one, "name"))
        for one in (record or {}).get("competencies") or ()
    ] or None


@for_recipes(texts=COURSE_TEXTS)
def course_of_object(
    render: Render, objectid: int | None, object: Record | None, course: Record | None
) -> CourseSection:
    """The course that the row is about, with its name at that time."""
    same = course if course and course["id"] == objectid else {}
    return course_section(render, objectid or 0, {**same, **(object or {})})


@for_recipes()
def course_backup(render: Render, objectid: int | None, log_mark: Mark) -> Document:
    """The file of a backup of a course; Moodle does not log which file it is."""
    course = render.iris.course(objectid or 0)
    mark = "unknown" if log_mark is None else log_mark
    return Document(id=f"{course}#backup-{mark}", isPartOf=render.reference(CourseSection, course))


@for_recipes(texts={"name": "institutional", "learningObjectives.name": "institutional"})
def course_page(
    render: Render, courseid: int | None, course: Record | None
) -> WebPage | DigitalResourceCollection:
    """The page of a course; outside of courses the front page of the site."""
    if not is_course(courseid):
        return WebPage(id=f"{render.iris.site}/")
    return DigitalResourceCollection(
        id=render.iris.course_page(courseid or 0),
        name=name_of(course, "fullname"),
        isPartOf=render.reference(CourseSection, render.iris.course(courseid or 0)),
        learningObjectives=learning_objectives(render, course),
    )


def course_reference(render: Render, courseid: int | None) -> CourseSection | Reference | None:
    """A course; None for the front page, which is no course."""
    if not is_course(courseid):
        return None
    return render.reference(CourseSection, render.iris.course(courseid or 0))


def course_page_reference(
    render: Render, courseid: int | None
) -> DigitalResourceCollection | Reference | None:
    """The page of a course; None for the front page."""
    if not is_course(courseid):
        return None
    return render.reference(DigitalResourceCollection, render.iris.course_page(courseid or 0))


@for_recipes()
def course_section_page(render: Render, courseid: int | None, other: object) -> Frame | None:
    """The section that was opened, if any."""
    number = integer(of_other(other, "coursesectionnumber"))
    if number is None or not is_course(courseid):
        return None
    return Frame(
        id=render.iris.course_section(courseid or 0, number),
        index=number,
        isPartOf=course_page_reference(render, courseid),
    )


ACTIVITY_TEXTS: Mapping[str, ClassOfText] = {
    "name": "institutional",
    "extensions.externalUrl": "institutional",
    "otherIdentifiers.identifier": "institutional",
    "learningObjectives.name": "institutional",
}


@for_recipes(texts=ACTIVITY_TEXTS)
def activity(
    render: Render,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    courseid: int | None,
) -> DigitalResource:
    """The activity of the row's course module."""
    modname = module_name(module, component)
    record = (module or {}).get("activity") or {}
    iri = activity_iri(render, cmid, module, component)
    name = name_of(record, "name") or name_of(module, "name")
    course = course_reference(render, courseid)
    address = _public_address(text(record, "externalurl"))
    extensions = {"externalUrl": address} if address else None
    numbers = identifiers(render, Other=(module or {}).get("idnumber"))
    objectives = learning_objectives(render, module)
    cls = activity_type(modname, module or {})
    if issubclass(cls, AssignableDigitalResource):
        limit = record.get(_ATTEMPTS.get(modname, ""))
        return cls(
            id=iri,
            name=name,
            isPartOf=course,
            dateToStartOn=time(record.get(_STARTS.get(modname, ""))),
            dateToSubmit=time(record.get(_ENDS.get(modname, ""))),
            maxAttempts=limit if limit and limit > 0 else None,
            maxScore=maximum_score(module or {}),
            otherIdentifiers=numbers,
            learningObjectives=objectives,
            extensions=extensions,
        )
    return cls(
        id=iri,
        name=name,
        isPartOf=course,
        otherIdentifiers=numbers,
        learningObjectives=objectives,
        extensions=extensions,
    )


_SECRET = re.compile(
    r"auth|code|jwt|key|pass|pwd|secret|sess|sid|sig|ticket|token|user|mail", re.IGNORECASE
)
_OF_PERSON = re.compile(r"[a-z][a-z0-9+.-]*:(?!//)|[^/]*@", re.IGNORECASE)
"""``mailto:``, ``tel:``, or an e-mail address without either."""
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w")
_BETWEEN_PARAMETERS = re.compile("[&;]")


def _public_address(address: str | None) -> str | None:
    """The address that an activity leads to, without log-in data and what may be a secret.

    None for the e-mail address or the telephone of a person.
    """
    address = (address or "").strip()
    if not address or _OF_PERSON.match(address):
        return None
    if _IN_NEED_OF_CARE.isdisjoint(address):
        return address
    before, _, fragment = address.partition("#")
    base, _, query = before.partition("?")
    start, slashes, rest = base.partition("//")
    host, slash, path = rest.partition("/")
    path, *of_path = path.split(";")  # /page;jsessionid=1
    base = f"{start}{slashes}{host.rpartition('@')[2]}{slash}{path}"
    if _EMAIL.search(unquote(base)):
        return None
    kept_of_path = "".join(f";{part}" for part in of_path if _is_public(part))
    parameters = _BETWEEN_PARAMETERS.split(query)
    kept = [part for part in parameters if _is_public(part)]
    query = query if kept == parameters else "&".join(kept)
    anchor = f"#{fragment}" if all(map(_is_public, _BETWEEN_PARAMETERS.split(fragment))) else ""
    return f"{base}{kept_of_path}{f'?{query}' if query else ''}{anchor}"


_IN_NEED_OF_CARE = frozenset("@?#;%")


def _is_public(parameter: str) -> bool:
    """Whether a parameter of an address is neither a secret nor a person's address."""
    name = unquote(parameter.partition("=")[0])
    return bool(parameter) and not _SECRET.search(name) and not _EMAIL.search(unquote(parameter))


@for_recipes(texts=ACTIVITY_TEXTS)
def named_activity(
    render: Render,
    objectid: int | None,
    module: Record | None,
    other: object,
    courseid: int | None,
) -> DigitalResource:
    """The activity that was created, changed or deleted; ``other`` names a deleted one."""
    modname = module_name(module, None) or in_iri(of_other(other, "modulename")) or ""
    record_values = {**(module or {}), "id": objectid, "modname": str(modname)}
    record_values["name"] = of_other(other, "name")
    return activity(render, objectid, record_values, None, courseid)


def activity_iri(
    render: Render, cmid: int | None, module: Record | None, component: str | None
) -> str:
    """The address of an activity: by course module, never by instance."""
    number = (module or {}).get("id") or cmid
    return render.iris.activity(module_name(module, component) or "unknown", number or 0)


def activity_reference(
    render: Render, cmid: int | None, module: Record | None, component: str | None
) -> DigitalResource | Reference:
    """The activity of a course module."""
    iri = activity_iri(render, cmid, module, component)
    if not render.shape.by_object:
        return Reference(iri)
    return activity_type(module_name(module, component), module or {})(id=iri)


def module_name(module: Record | None, component: str | None) -> str:
    """Name of the activity module; empty if neither record nor component names it."""
    modname = (module or {}).get("modname")
    if modname:
        return str(modname)
    return (component or "").removeprefix("mod_") if (component or "").startswith("mod_") else ""


def activity_type(modname: str, module: Record) -> type[DigitalResource]:
    """Type of an activity, by its module; for an unknown module, by whether it is graded."""
    if modname == "resource":
        return _MEDIA.get((module.get("mimetype") or "").partition("/")[0], Document)
    if modname in MODULE_TYPES:
        return MODULE_TYPES[modname]
    graded = (module.get("grade_item") or {}).get("gradetype")
    return AssignableDigitalResource if graded and modname not in _NEVER_GRADED else DigitalResource


def maximum_score(module: Record) -> Decimal | None:
    """The highest grade: the activity's own, the size of its scale, or the gradebook's."""
    grade = (module.get("activity") or {}).get("grade") or 0
    if grade > 0:
        return decimal(grade)
    item = module.get("grade_item") or {}
    if grade < 0 or item.get("gradetype") == _GRADED_BY_SCALE:
        return decimal(module["scale_items"]) if module.get("scale_items") else None
    return decimal(item["grademax"]) if item.get("gradetype") == _GRADED_BY_VALUE else None


def item_maximum(item: Record) -> Decimal | None:
    """The highest grade of a grade item: its maximum, or the size of its scale."""
    if item.get("gradetype") == _GRADED_BY_SCALE:
        return decimal(item["scale_items"]) if item.get("scale_items") else None
    return decimal(item["grademax"]) if item.get("gradetype") == _GRADED_BY_VALUE else None
