"""Persons, the site as an application, sessions, memberships of the acting person."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from caliper_dagster.caliper.entities import (
    CourseSection,
    Membership,
    Person,
    Session,
    SoftwareApplication,
    SystemIdentifier,
)
from caliper_dagster.caliper.vocabulary import TERM
from caliper_dagster.translator.entities.registry import (
    Record,
    Render,
    for_recipes,
    for_translator,
    name_of,
    plain,
    text,
    time,
)
from caliper_dagster.translator.identity import ANONYMOUS_PERSON
from caliper_dagster.translator.roles import caliper_roles


@for_recipes(texts={"name": "institutional", "version": "institutional"})
def site(render: Render, site: Record | None) -> SoftwareApplication:
    """The Moodle site: the edApp, the object of log-ins, and the actor when no person acts."""
    return SoftwareApplication(
        id=render.iris.site, name=name_of(site, "name"), version=text(site, "release")
    )


@for_translator(
    personal_record=True, texts={"name": "person", "otherIdentifiers.identifier": "person"}
)
def actor_person(render: Render, actor: int, user: Record | None) -> Person:
    """The acting person; only the id if there is no record."""
    known = user is not None and user.get("id") == actor
    return person(render, user if user is not None and known else {"id": actor})


def person(render: Render, user: Record) -> Person:
    """A person; only the id of a deleted or unknown user."""
    if user.get("deleted") or "username" not in user:
        return person_reference(render, user["id"])
    name = None
    if render.person.names:
        name = plain(" ".join(part for part in (user["firstname"], user["lastname"]) if part))
    return Person(
        id=render.iris.user(user["id"]), name=name, otherIdentifiers=_identifiers(render, user)
    )


def _identifiers(render: Render, user: Record) -> Sequence[SystemIdentifier] | None:
    number = render.iris.of_user(user["id"])
    values = {
        "SystemId": number,
        "LtiUserId": number,
        "AccountUserName": user["username"],
        "SisSourcedId": user["idnumber"],
        "LisSourcedId": user["idnumber"],
        "EmailAddress": user["email"],
    }
    return [
        SystemIdentifier(
            identifierType=name, identifier=values[name], source=render.site_reference()
        )
        for name in render.person.identifiers
        if values[name]
    ] or None


def person_reference(render: Render, user: int) -> Person:
    """A person, with the id only."""
    return Person(id=render.iris.user(user))


@for_recipes(names_related_user=True, personal_record=True)
def related_person(render: Render, relateduserid: int | None, anonymous: int) -> Person:
    """The user whom the row is about."""
    return anonymous_or(render, anonymous, relateduserid) or ANONYMOUS_PERSON


@for_recipes(personal_record=True)
def declined_person(render: Render, userid: int | None, relateduserid: int | None) -> Person | None:
    """The user whom the site let not in; None where the site does not know who it was."""
    user = userid if userid and userid > 0 else relateduserid
    return person_reference(render, user) if user and user > 0 else None


def anonymous_or(render: Render, anonymous: int | None, user: int | None) -> Person | None:
    """A person by id; the anonymous form when the row is anonymous; None without an id."""
    if anonymous == 1:
        return ANONYMOUS_PERSON
    return person_reference(render, user) if user and user > 0 else None


@for_translator(personal_record=True)
def membership(render: Render, record: Record) -> Membership:
    """A person in a course, with all roles; without roles if they are unknown."""
    user, course = record["user"], record["course"]
    has_roles = "roles" in record
    return Membership(
        id=render.iris.membership(user, course),
        member=render.reference(Person, render.iris.user(user)),
        organization=render.reference(CourseSection, render.iris.course(course)),
        roles=caliper_roles(record) if has_roles else None,
        status=("Active" if record["active"] else "Inactive") if has_roles else None,
    )


@for_translator(personal_record=True)
def actor_membership(render: Render, record: Record, actor: int) -> Membership | None:
    """The membership of the acting person; None if the record is another person's."""
    return membership(render, record) if record["user"] == actor else None


@for_translator()
def guest_membership(render: Render, record: Record) -> Membership:
    """The guest account in a course: an anonymous person with a guest's roles."""
    return replace(membership(render, record), id=f"{TERM}Membership", member=ANONYMOUS_PERSON)


@for_translator(personal_record=True)
def session(render: Render, session: Record, actor: int, ended: int | None) -> Session | None:
    """The session that a log-in opened; with its end (Unix time) in the row that logs out.

    None when it is not the actor's: a teacher's click is not part of the learner's session.
    """
    if session["user"] != actor:
        return None
    return Session(
        id=render.iris.session(session["id"]),
        user=render.reference(Person, render.iris.user(actor)),
        startedAtTime=time(session["timecreated"]),
        endedAtTime=time(ended),
    )
