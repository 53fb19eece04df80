"""The shapes of events: what stands where an event refers to an entity, its IRI or an object.

Caliper allows both, and receivers differ. Every shape is valid Caliper in every version and has the
same ids. A *rendering* is a version in a shape under a privacy profile: events are made and stored
once for each rendering that an event store wants.

To add a shape, append it to :data:`SHAPES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from caliper_dagster.caliper.versions import VersionName
from caliper_dagster.core.privacy import IDENTIFIED, ProfileName

ShapeName = Literal["canonical", "objects", "openlrw"]
"""The name of a shape in settings and tables."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A shape. There is one object for each, so ``is`` compares them.

    Attributes:
        name: its name in settings and tables.
        number: distinguishes the mapping revisions of its events (``core.revisions``).
        by_object: whether an entity of which only IRI and type are told is an object of these two;
            otherwise it is the IRI.
        by_iri: properties that hold nothing but an IRI, by entity type.
        slots_by_iri: properties of an event that hold nothing but an IRI.
        flat_extensions: whether extensions of an entity hold no object or list; what would be one
            is its JSON as a text.
    """

    name: ShapeName
    number: int
    by_object: bool = False
    by_iri: Mapping[str, frozenset[str]] = field(default_factory=dict)
    slots_by_iri: frozenset[str] = frozenset()
    flat_extensions: bool = False


CANONICAL = Shape("canonical", 0)
"""The IRI where no more is told, an object elsewhere: the shortest form."""

OBJECTS = Shape("objects", 1, by_object=True)
"""No reference is an IRI: a property always holds an object with ``id`` and ``type``."""

OPENLRW = Shape(
    "openlrw",
    2,
    by_object=True,
    by_iri={
        "Attempt": frozenset({"assignable"}),
        "Membership": frozenset({"member", "organization"}),
    },
    slots_by_iri=frozenset({"federatedSession"}),
    flat_extensions=True,
)
"""What the classes of OpenLRW 1.2 take (Apereo's ``lai-event`` 1.1.4): ``isPartOf``, ``scoredBy``
and ``subOrganizationOf`` are objects there, these properties texts, extensions maps of texts."""

SHAPES: Mapping[str, Shape] = {shape.name: shape for shape in (CANONICAL, OBJECTS, OPENLRW)}
"""Shapes by name."""


class Rendering(NamedTuple):
    """What the JSON of an event looks like, and what it tells about persons.

    Attributes:
        version: Caliper version.
        shape: what stands where an event refers to an entity.
        profile: privacy profile.
        own: name of the event store whose events these are, if no other one can share them: it has
            a key of pseudonyms, filters of rows, or privacy settings of its own.
    """

    version: VersionName
    shape: ShapeName = CANONICAL.name
    profile: ProfileName = IDENTIFIED.name
    own: str | None = None

    def __str__(self) -> str:
        """``v1p2``, ``v1p2_objects``, ``v1p2_pseudonymous_lrs``: its name in assets and files.

        Before the name of an event store the profile always stands: it may be that of a shape.
        """
        parts: list[str] = [self.version]
        if self.shape != CANONICAL.name:
            parts.append(self.shape)
        if self.profile != IDENTIFIED.name or self.own:
            parts.append(self.profile)
        if self.own:
            parts.append(self.own)
        return "_".join(parts)
