"""Privacy profiles: what the events of an event store tell about persons.

A profile is chosen for each event store. It says whether names leave, which classes of texts leave,
and how ids of persons and of their records are written. To add a profile, append it to
:data:`PROFILES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ProfileName = Literal["full", "identified", "pseudonymous", "anonymous"]
"""The name of a profile in settings and tables."""

TextClass = Literal["institutional", "shared", "personal", "person", "private"]
"""The class of a text: the institution's (names of courses and activities), a group's (names of
groups, concepts of glossaries, options of choices), a person's own (subjects, tags, answers),
what identifies a person (names, user names), or an entry of a person's own calendar, which leaves
under no profile."""

TimePrecision = Literal["second", "minute", "hour", "day"]
"""To what times of events and of records of persons are cut down; a day is one of UTC."""

SECONDS_OF: Mapping[TimePrecision, int] = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
"""How many seconds each precision has."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A privacy profile. There is one object for each, so ``is`` compares them.

    Attributes:
        name: its name in settings and tables.
        texts: classes of texts that leave.
        keyed: whether ids of persons, of their records and of events are made with the key of the
            event store, so that nobody without the key finds the person.
        anonymous: whether every person is Caliper's anonymous Person (1.2, Anonymous Entities).
        number: distinguishes the mapping revisions of profiles whose events have the same ids
            (``core.revisions``); 0 or 1.
    """

    name: ProfileName
    texts: frozenset[TextClass]
    keyed: bool = False
    anonymous: bool = False
    number: int = 0


FULL = Profile("full", frozenset({"institutional", "shared", "personal", "person"}), number=1)
"""Names, identifiers, addresses and all texts."""

IDENTIFIED = Profile("identified", frozenset({"institutional", "shared"}))
"""Moodle's ids and roles of persons, without names; no text that a person wrote."""

PSEUDONYMOUS = Profile("pseudonymous", frozenset({"institutional", "shared"}), keyed=True)
"""A pseudonym for each person, another one at each event store."""

ANONYMOUS = Profile("anonymous", frozenset({"institutional"}), keyed=True, anonymous=True, number=1)
"""No person at all: no session, no membership of a single person."""

PROFILES: Mapping[str, Profile] = {
    profile.name: profile for profile in (FULL, IDENTIFIED, PSEUDONYMOUS, ANONYMOUS)
}
"""Profiles by name."""
