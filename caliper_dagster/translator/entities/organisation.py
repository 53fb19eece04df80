"""Memberships that rows are about: enrolments, roles, groups, cohorts."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from caliper_dagster.caliper.entities import CourseSection, Group, Membership, Organization
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.registry import (
    Mark,
    Record,
    Render,
    for_recipes,
    id_or,
    identifiers,
    is_course,
    name_of,
    time,
)
from caliper_dagster.translator.entities.texts import ClassOfText
from caliper_dagster.translator.roles import caliper_roles

_SAME_REQUEST = 10
"""Seconds: a request may write a record so long after its log row."""
_COURSE_LEVEL = 50
_CATEGORY_LEVEL = 40


_GROUP_TEXTS: Mapping[str, ClassOfText] = {
    "organization.name": "shared",
    "organization.otherIdentifiers.identifier": "institutional",
}


def _member(
    render: Render, organization: Organization, user: int | None, anonymous: int, fragment: str
) -> Membership:
    place = f"{organization.id}#{fragment}"
    return Membership(
        id=render.iris.of_user(user, place) if user else place,
        member=anonymous_or(render, anonymous, user),
        organization=organization,
    )


@for_recipes(names_related_user=True, personal_record=True)
def enrolment_membership(
    render: Render,
    courseid: int | None,
    relateduserid: int | None,
    relateduser_membership: Record | None,
    object: Record | None,
    eventname: str | None,
    timecreated: int,
    anonymous: int,
) -> Membership:
    """A user in a course: the same membership as the one with which that user acts there."""
    course = CourseSection(
        id=render.iris.course(courseid or 0),
    )
    member = _member(render, course, relateduserid, anonymous, "member-")
    if relateduserid and courseid:
        member = replace(member, id=render.iris.membership(relateduserid, courseid))
    record = relateduser_membership or {}
    active = enrolment_is_active(eventname, object, relateduser_membership, timecreated)
    return replace(
        member,
        roles=caliper_roles(record) if record.get("roles") else None,
        status=None if active is None else "Active" if active else "Inactive",
        dateCreated=time((object or {}).get("timecreated")),
    )


def enrolment_is_active(
    eventname: str | None, enrolment: Record | None, membership: Record | None, seconds: int
) -> bool | None:
    """Whether an enrolment holds after the event; None where that is unknown.

    Args:
        eventname: created, updated or deleted.
        enrolment: its record, as it is today or as it was when it was deleted.
        membership: the user's in the course at the time of the event.
        seconds: Unix time of the event.
    """
    if (eventname or "").endswith("_deleted"):
        return False
    record = enrolment or {}
    changed_since = (record.get("timemodified") or 0) > seconds + _SAME_REQUEST
    if record.get("status") is not None and not changed_since:
        return not record["status"]
    if (eventname or "").endswith("_created"):
        return True
    active = (membership or {}).get("active")
    return None if active is None else bool(active)


@for_recipes(names_related_user=True, personal_record=True)
def role_membership(
    render: Render,
    objectid: int | None,
    object: Record | None,
    contextlevel: int | None,
    contextinstanceid: int | None,
    contextid: int | None,
    relateduserid: int | None,
    anonymous: int,
    stand_in: Mark,
) -> Membership:
    """A user with a role in a context: a course, a category, or another part of the site."""
    organization = Organization(
        id=render.iris.organization,
    )
    if contextlevel == _COURSE_LEVEL and is_course(contextinstanceid):
        organization = CourseSection(
            id=render.iris.course(contextinstanceid or 0),
        )
    elif contextlevel == _CATEGORY_LEVEL:
        organization = Organization(
            id=render.iris.category(contextinstanceid or 0),
        )
    # A person may hold several roles in one context, each assigned separately.
    fragment = f"context-{contextid or 0}-role-{id_or(objectid, stand_in)}-member-"
    member = _member(render, organization, relateduserid, anonymous, fragment)
    role = object or {}
    if role.get("shortname"):
        return replace(member, roles=caliper_roles({"roles": [role]}))
    return member


def course_group(
    render: Render, courseid: int | None, group: int | str, object: Record | None
) -> Group:
    """A group of a course."""
    return Group(
        id=render.iris.group(courseid or 0, group),
        name=name_of(object, "name"),
        subOrganizationOf=render.reference(CourseSection, render.iris.course(courseid or 0)),
        otherIdentifiers=identifiers(render, SisSourcedId=(object or {}).get("idnumber")),
    )


@for_recipes(names_related_user=True, personal_record=True, texts=_GROUP_TEXTS)
def group_membership(
    render: Render,
    courseid: int | None,
    objectid: int | None,
    object: Record | None,
    relateduserid: int | None,
    anonymous: int,
    stand_in: Mark,
) -> Membership:
    """A user in a group of a course."""
    group = course_group(render, courseid, id_or(objectid, stand_in), object)
    return _member(render, group, relateduserid, anonymous, "member-")


@for_recipes(names_related_user=True, personal_record=True, texts=_GROUP_TEXTS)
def cohort_membership(
    render: Render,
    objectid: int | None,
    object: Record | None,
    relateduserid: int | None,
    anonymous: int,
    stand_in: Mark,
) -> Membership:
    """A user in a cohort."""
    cohort = Group(
        id=f"{render.iris.site}/cohort/assign.php?id={id_or(objectid, stand_in)}",
        name=name_of(object, "name"),
        otherIdentifiers=identifiers(render, SisSourcedId=(object or {}).get("idnumber")),
    )
    return _member(render, cohort, relateduserid, anonymous, "member-")
