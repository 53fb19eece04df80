"""Entities that need no function of their own: by a recipe's path, or by the row's object table.

A path may name ``{objectid}``, ``{relateduserid}``, ``{userid}``, ``{courseid}``, ``{cmid}``,
``{contextid}``, ``{component}``, ``{target}``, ``{other}`` and ``{other.key}``. A key that
``other`` does not have is read from the row's record. A parameter without a value is omitted, and
so is one whose value is neither an id nor a word of Moodle's (:func:`registry.in_iri`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from caliper_dagster.caliper.entities import (
    ENTITY_CLASSES,
    Annotation,
    Attempt,
    Comment,
    CourseSection,
    DigitalResource,
    DigitalResourceCollection,
    Entity,
    Group,
    Message,
    Rating,
    Reference,
    Response,
    Result,
    Score,
    SoftwareApplication,
    SystemIdentifier,
    WebPage,
)
from caliper_dagster.core.privacy import TextClass
from caliper_dagster.translator.entities.activities import (
    ACTIVITY_TEXTS,
    activity,
    activity_iri,
    activity_reference,
    course_page_reference,
    module_name,
)
from caliper_dagster.translator.entities.classification import (
    INSTITUTIONAL_KEYS,
    INSTITUTIONAL_LEVELS,
    INSTITUTIONAL_RECORDS,
    NAMES_OF_PERSONS,
    class_of_name,
)
from caliper_dagster.translator.entities.organisation import course_group
from caliper_dagster.translator.entities.people import person_reference
from caliper_dagster.translator.entities.registry import (
    EntityFunction,
    Mark,
    Record,
    Render,
    for_recipes,
    id_or,
    identifiers,
    in_iri,
    is_course,
    name_of,
    user_id,
)
from caliper_dagster.translator.entities.texts import ClassOf, ClassOfText, withholding
from caliper_dagster.translator.identity import Iris, is_user_key

PATH_COLUMNS = (
    "objectid", "relateduserid", "userid", "courseid", "cmid", "contextid", "component", "target",
    "other", "object", "module",
)  # fmt: skip

_OWN_OF_ROWS = (Annotation, Attempt, Comment, Message, Rating, Response, Result, Score)
"""Types of what persons make or are given, which two rows without its id do not share."""

_MODULE_LEVEL = 70
_USER_LEVEL = 30


@cache
def path_function(entity_type: str, path: str) -> EntityFunction:
    """The entity function of a type at a path below the site. It sets the name of its record.

    Args:
        entity_type: Caliper type.
        path: see the module.
    """
    names = Iris.placeholders(path)
    ids = {name for name in names if name == "other" or name.endswith("id")}
    ids.update(Iris.placeholders(path.partition("#")[2]))
    columns = dict.fromkeys(name.partition(".")[0] for name in names)
    if "objectid" in columns:
        columns |= dict.fromkeys(["object", "objecttable"])
    if "contextid" in columns:
        columns["contextlevel"] = None
    if ids:
        columns |= dict.fromkeys(["target", "stand_in"])
    of_persons = {name for name in names if _leads_to_person(name, path)}
    cls = ENTITY_CLASSES[entity_type]
    resource = cls if issubclass(cls, DigitalResource) else None
    is_own_of_row = issubclass(cls, _OWN_OF_ROWS)
    if resource is not None:
        columns |= dict.fromkeys(["cmid", "module", "component", "courseid"])

    def from_path(render: Render, *values: object) -> Entity:
        row: dict[str, Any] = dict(zip(columns, values, strict=True))
        if is_own_of_row and row.get("objectid") == 0:
            row["objectid"] = None
        given = _with_other(render, row, names) if "other" in row else row
        iri, missing = render.iris.path(path, given)
        if missing and not ids.isdisjoint(missing):
            iri = _without_id(iri, row, is_own_of_row=is_own_of_row)
        if not of_persons.issubset(missing) or _is_of_person(row):
            iri = render.iris.of_person(iri)
        record = row.get("object") or {}
        own = record if record and record.get("id") == row["objectid"] else None
        name, numbers = name_of(own, "name"), _numbers(render, own)
        if resource is None:
            return cls(id=iri, name=name, otherIdentifiers=numbers)
        return resource(
            id=iri, name=name, otherIdentifiers=numbers, isPartOf=_whole(render, iri, row)
        )

    texts: Mapping[str, ClassOfText] = {
        "name": "by_table",
        "otherIdentifiers.identifier": "institutional",
    }
    return EntityFunction(
        withholding(from_path, texts, _class_by_table(tuple(columns))),
        tuple(columns),
        personal_record=any(is_user_key(name.rpartition(".")[2]) for name in names),
        texts=texts,
    )


def _without_id(address: str, row: Mapping[str, Any], *, is_own_of_row: bool) -> str:
    """The IRI of an object without its id, which would share the address of its page."""
    iri = f"{address}{'-' if '#' in address else '#'}{row['target'] or 'unknown'}"
    if is_own_of_row and row["stand_in"] is not None:
        return f"{iri}-{id_or(None, row['stand_in'])}"
    return iri


_INSTITUTIONAL_TABLES = INSTITUTIONAL_RECORDS | {
    "badge_criteria", "h5p", "quiz_slots", "reportbuilder_audience", "role_capabilities",
    "scorm_scoes",
}  # fmt: skip
"""Tables whose records lead to no person in a path, with parts of what the institution has."""

_OF_CODE = ("function", "modelid", "newquestionid", "reportname", "requestedqtype")
"""Keys of ``other`` in paths that hold names of code, or ids of models and questions."""


def _leads_to_person(name: str, path: str) -> bool:
    """Whether a value in a path may lead to a person, whatever the row is about."""
    column, _, key = name.partition(".")
    if column != "other":
        return is_user_key(column)
    if key == "itemid":  # of a comment; in the question bank it is on a question
        return not path.startswith("question/")
    return key not in INSTITUTIONAL_KEYS and key not in _OF_CODE


def _is_of_person(row: Mapping[str, Any]) -> bool:
    """Whether the record or the context in a path belongs to a person, or nobody knows of it."""
    if "contextlevel" in row and row["contextlevel"] not in INSTITUTIONAL_LEVELS:
        return True
    return "objecttable" in row and row["objecttable"] not in _INSTITUTIONAL_TABLES


def _class_by_table(columns: Sequence[str]) -> ClassOf:
    """The class of the name of the object of a row, from the values of some columns."""
    if "object" not in columns:
        return lambda *_: "personal"
    place = columns.index("object")
    return lambda *values: class_of_name(values[place] or {})


_OF_SIS = frozenset({"cohort", "course_categories", "groupings", "groups"})
"""Tables whose ``idnumber`` is a key of the institution's information system."""


def _numbers(render: Render, record: Record | None) -> list[SystemIdentifier] | None:
    """The id number of a record; never that of a user."""
    number = (record or {}).get("idnumber")
    if record is None or not number or record.get("table") in (None, "user"):
        return None
    return identifiers(
        render, **{"SisSourcedId" if record.get("table") in _OF_SIS else "Other": number}
    )


def _with_other(render: Render, row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The values of a row, and the named values in ``other``, else in its own record."""
    other, record = row["other"], row.get("object") or {}
    event_data = other if isinstance(other, dict) else {}
    own = record if record.get("id") == row.get("objectid") else {}
    values = {**row, "other": in_iri(other)}
    for name in names:
        if name.startswith("other."):
            key = name.removeprefix("other.")
            value = event_data.get(key, own.get(key))
            if key.lower() in NAMES_OF_PERSONS and not render.person.names:
                continue
            values[name] = user_id(value) if is_user_key(key) else in_iri(value)
    return values


def _whole(render: Render, iri: str, row: Mapping[str, Any]) -> DigitalResource | Reference | None:
    """The activity or course page that a resource is part of."""
    whole = _page_of(render, row["cmid"], row["module"], row["component"], row["courseid"])
    address = whole.id if isinstance(whole, Entity) else whole
    return whole if address != iri else None


def _page_of(
    render: Render,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    courseid: int | None,
) -> DigitalResource | Reference | None:
    """The page of the activity, else of the course; None outside of both."""
    if cmid:
        return activity_reference(render, cmid, module, component)
    return course_page_reference(render, courseid)


# The fallback: events of plugins without a recipe

ADMINISTRATIVE = frozenset(
    """
    user role groups groupings groups_members cohort cohort_members course course_categories
    user_enrolments comments course_modules_completion config config_log context scale tag
    external_services external_tokens user_info_field user_info_category message_contacts
    """.split()
)
"""Tables whose records are not resources."""

_ADMINISTRATIVE_KINDS = ("role_", "enrol", "grade_", "course_completion")

_STATES = (
    "attempt",
    "attempts",
    "submission",
    "submissions",
    "answer",
    "answers",
    "completed",
    "grades",
)


@for_recipes()
def activity_list(
    render: Render, component: str | None, courseid: int | None, module: Record | None
) -> DigitalResourceCollection:
    """The page that lists the activities of one kind in a course."""
    kind = module_name(None, component) or module_name(module, None) or "unknown"
    return DigitalResourceCollection(
        id=f"{render.iris.site}/mod/{kind}/index.php?id={courseid or 0}",
        isPartOf=course_page_reference(render, courseid),
    )


def is_resource(objecttable: str | None) -> bool:
    """Whether records of an object table are resources, which persons create, use and delete."""
    return (
        bool(objecttable)
        and objecttable not in ADMINISTRATIVE
        and not str(objecttable).startswith(_ADMINISTRATIVE_KINDS)
        and not str(objecttable).endswith(_STATES)
    )


def _class_of_fallback(
    objecttable: str | None,
    objectid: int | None,
    _target: str | None,
    _contextlevel: int | None,
    _contextinstanceid: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    _courseid: int | None,
    object: Record | None,
    _stand_in: Mark,
) -> TextClass:
    """The class of the name of :func:`fallback_object`: an activity's, or by the table."""
    if _is_activity(objecttable, objectid, cmid, module, component):
        return "institutional"
    return class_of_name(object or {})


@for_recipes(texts={**ACTIVITY_TEXTS, "name": "by_table"}, class_of=_class_of_fallback)
def fallback_object(
    render: Render,
    objecttable: str | None,
    objectid: int | None,
    target: str | None,
    contextlevel: int | None,
    contextinstanceid: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    courseid: int | None,
    object: Record | None,
    stand_in: Mark,
) -> Entity:
    """The object of a row of an unknown event: by its table, at an address in its context."""
    shared = _shared_entity(render, objecttable, objectid, courseid, object)
    if shared:
        return shared
    if _is_activity(objecttable, objectid, cmid, module, component):
        return activity(render, cmid, module, component, courseid)
    whole = _context_iri(render, contextlevel, contextinstanceid, cmid, module, component, courseid)
    cls, name = _fallback_class(objecttable), target
    if objecttable and (objectid or issubclass(cls, _OWN_OF_ROWS)):
        name = f"{objecttable}-{id_or(objectid, stand_in)}"
    if not name or (not objecttable and whole == _front_page(render)):
        return SoftwareApplication(
            id=render.iris.site,
        )
    iri = f"{whole}#{render.iris.quoted(name)}"
    named = name_of(object, "name")
    if issubclass(cls, DigitalResource):
        page = _page_of(render, cmid, module, component, courseid)
        return cls(id=iri, name=named, isPartOf=page)
    return cls(id=iri, name=named)


def _is_activity(
    objecttable: str | None,
    objectid: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
) -> bool:
    """Whether the object of a row is the activity that the row is in.

    Its record is in the table that has the name of the activity module, or in ``course_modules``.
    """
    if not cmid or not objecttable:
        return False
    if objecttable == "course_modules":
        return objectid == cmid
    instance = (module or {}).get("instance")
    return objecttable == module_name(module, component) and objectid in {None, 0, instance}


def _fallback_class(objecttable: str | None) -> type[Entity]:
    if not objecttable:
        return DigitalResource
    if objecttable.endswith(("attempt", "attempts")):
        return Attempt
    return DigitalResource if is_resource(objecttable) else Entity


def _shared_entity(
    render: Render,
    objecttable: str | None,
    objectid: int | None,
    courseid: int | None,
    object: Record | None,
) -> Entity | None:
    """Persons, courses, groups and cohorts, which are the same entity in every event."""
    if not objectid:
        return None
    if objecttable == "user":
        return person_reference(render, objectid)
    if objecttable == "course":
        return CourseSection(
            id=render.iris.course(objectid),
            name=name_of(object, "fullname"),
        )
    if objecttable == "groups":
        return course_group(render, courseid, objectid, object)
    if objecttable == "cohort":
        return Group(
            id=f"{render.iris.site}/cohort/assign.php?id={objectid}",
        )
    return None


def _context_iri(
    render: Render,
    contextlevel: int | None,
    contextinstanceid: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    courseid: int | None,
) -> str:
    if contextlevel == _MODULE_LEVEL and cmid:
        return activity_iri(render, cmid, module, component)
    if contextlevel == _USER_LEVEL and contextinstanceid:
        return render.iris.user(contextinstanceid)
    if is_course(courseid):
        return render.iris.course(courseid or 0)
    return _front_page(render)


def _record_iri(render: Render, before: str, objecttable: str | None, number: int | str) -> str:
    """The IRI of a record of a table, after ``before``."""
    if objecttable == "user" and isinstance(number, int):
        return render.iris.of_user(number, before)
    return f"{before}{number}"


def _front_page(render: Render) -> str:
    return f"{render.iris.site}/"


@for_recipes()
def fallback_page(
    render: Render,
    objecttable: str | None,
    objectid: int | None,
    target: str | None,
    contextlevel: int | None,
    contextinstanceid: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    courseid: int | None,
) -> WebPage:
    """The page that was viewed in a row of an unknown event."""
    whole = _context_iri(render, contextlevel, contextinstanceid, cmid, module, component, courseid)
    name = "-".join(str(part) for part in (component, target) if part)
    start = f"{whole}#page-{render.iris.quoted(name)}"
    if not objectid:
        return WebPage(id=start)
    return WebPage(id=_record_iri(render, start + ("-" if name else ""), objecttable, objectid))


@for_recipes(names_related_user=True, personal_record=True)
def fallback_attempt(
    render: Render,
    objecttable: str | None,
    objectid: int | None,
    target: str | None,
    contextlevel: int | None,
    contextinstanceid: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    courseid: int | None,
    object: Record | None,
    userid: int | None,
    relateduserid: int | None,
    stand_in: Mark,
) -> Attempt:
    """An attempt at an activity of an unknown plugin."""
    whole = _context_iri(render, contextlevel, contextinstanceid, cmid, module, component, courseid)
    start = f"{whole}#{render.iris.quoted(objecttable or target or 'unknown')}-"
    learner = relateduserid or userid
    return Attempt(
        id=_record_iri(render, start, objecttable, objectid or id_or(objectid, stand_in)),
        assignee=person_reference(render, learner) if learner and learner > 0 else None,
        assignable=activity_reference(render, cmid, module, component) if cmid else None,
    )
