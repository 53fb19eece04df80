"""Memberships that rows are about: enrolments, roles, groups, cohorts."""

from __future__ import annotations

from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.registry import (
    Entity,
    Record,
    Render,
    for_recipes,
    is_course,
)
from caliper_dagster.translator.roles import caliper_roles

_COURSE_LEVEL = 50
_CATEGORY_LEVEL = 40


def _member(
    render: Render, organization: str | Entity, user: int | None, anonymous: int, fragment: str
) -> Entity:
    thing = organization if isinstance(organization, str) else str(organization["id"])
    return {
        "id": f"{thing}#{fragment}{user}" if user else f"{thing}#{fragment}",
        "type": "Membership",
        "member": anonymous_or(render, anonymous, user),
        "organization": organization,
    }


@for_recipes
def enrolment_membership(
    render: Render,
    courseid: int | None,
    relateduserid: int | None,
    relateduser_membership: Record | None,
    anonymous: int,
) -> Entity:
    """A user in a course: the same membership as the one with which that user acts there."""
    course = {"id": render.iris.course(courseid or 0), "type": "CourseSection"}
    entity = _member(render, course, relateduserid, anonymous, "member-")
    if relateduserid and courseid:
        entity["id"] = render.iris.membership(relateduserid, courseid)
    record = relateduser_membership or {}
    if record.get("roles"):
        entity["roles"] = caliper_roles(record)
    return entity


@for_recipes
def role_membership(
    render: Render,
    objectid: int | None,
    object: Record | None,
    contextlevel: int | None,
    contextinstanceid: int | None,
    contextid: int | None,
    relateduserid: int | None,
    anonymous: int,
) -> Entity:
    """A user with a role in a context: a course, a category, or another part of the site."""
    organization: Entity = {"id": render.iris.organization, "type": "Organization"}
    if contextlevel == _COURSE_LEVEL and is_course(contextinstanceid):
        organization = {
            "id": render.iris.course(contextinstanceid or 0),
            "type": "CourseSection",
        }
    elif contextlevel == _CATEGORY_LEVEL:
        organization = {
            "id": f"{render.iris.site}/course/index.php?categoryid={contextinstanceid}",
            "type": "Organization",
        }
    # A person may hold several roles in one context, each assigned by itself.
    fragment = f"context-{contextid}-role-{objectid}-member-"
    entity = _member(render, organization, relateduserid, anonymous, fragment)
    role = object or {}
    if role.get("shortname"):
        entity["roles"] = caliper_roles({"roles": [role]})
    return entity


@for_recipes
def group_membership(
    render: Render,
    courseid: int | None,
    objectid: int | None,
    object: Record | None,
    relateduserid: int | None,
    anonymous: int,
) -> Entity:
    """A user in a group of a course."""
    group = {
        "id": render.iris.group(courseid or 0, objectid or 0),
        "type": "Group",
        "name": (object or {}).get("name"),
        "subOrganizationOf": render.iris.course(courseid or 0),
    }
    return _member(render, group, relateduserid, anonymous, "member-")


@for_recipes
def cohort_membership(
    render: Render,
    objectid: int | None,
    object: Record | None,
    relateduserid: int | None,
    anonymous: int,
) -> Entity:
    """A user in a cohort."""
    cohort = {
        "id": f"{render.iris.site}/cohort/assign.php?id={objectid}",
        "type": "Group",
        "name": (object or {}).get("name"),
    }
    return _member(render, cohort, relateduserid, anonymous, "member-")
