"""Moodle's roles as roles of a Caliper Membership (LIS vocabulary)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BY_ARCHETYPE = {
    "student": ("Learner",),
    "editingteacher": ("Instructor",),
    "teacher": ("Instructor", "Instructor#TeachingAssistant"),
    "manager": ("Administrator",),
    "coursecreator": ("ContentDeveloper",),
    "guest": ("Learner", "Learner#GuestLearner"),
    "user": ("Member",),
    "frontpage": ("Member",),
}

_ADMINISTRATOR = ("Administrator", "Administrator#SystemAdministrator")


def caliper_roles(membership: Mapping[str, Any]) -> list[str]:
    """All roles of a membership record, without repetition.

    A role that the site created has an archetype. Without an archetype its short name decides, if
    it is that of a standard role. The default is Member.

    Args:
        membership: ``roles`` with ``shortname`` and ``archetype``, ``siteadmin``, ``guest``.
    """
    roles = [
        name
        for role in membership["roles"]
        for name in _BY_ARCHETYPE.get(role["archetype"] or role["shortname"], ("Member",))
    ]
    if membership.get("siteadmin"):
        roles.extend(_ADMINISTRATOR)
    if membership.get("guest"):
        roles.extend(_BY_ARCHETYPE["guest"])
    return list(dict.fromkeys(roles)) or ["Member"]
