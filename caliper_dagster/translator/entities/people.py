"""Persons, the site as an application, sessions, memberships of the acting person."""

from __future__ import annotations

from caliper_dagster.caliper.vocabulary import TERM
from caliper_dagster.translator.entities.registry import Entity, Record, Render, for_recipes, time
from caliper_dagster.translator.identity import ANONYMOUS_PERSON
from caliper_dagster.translator.roles import caliper_roles


@for_recipes
def site(render: Render, site: Record | None) -> Entity:
    """The Moodle site, as edApp, as what one logs in to, and as who acts when nobody does."""
    return {
        "id": render.iris.site,
        "type": "SoftwareApplication",
        "version": (site or {}).get("release"),
    }


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


@for_recipes
def related_person(render: Render, relateduserid: int | None, anonymous: int) -> Entity | None:
    """The user whom the row is about."""
    return anonymous_or(render, anonymous, relateduserid) or dict(ANONYMOUS_PERSON)


def anonymous_or(render: Render, anonymous: int | None, user: int | None) -> Entity | None:
    """A person by id; the anonymous form when the row is anonymous; None without an id."""
    if anonymous == 1:
        return dict(ANONYMOUS_PERSON)
    return person_reference(render, user) if user and user > 0 else None


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
