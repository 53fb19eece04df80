"""The versions of Caliper, in their order, and the step from each one down to the one before.

This module alone lists the versions. Tables say ``since="1.2"``; :meth:`Version.has` tells whether
a version has such an item. To add a version, append it to :data:`VERSIONS`, with its step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

VersionName = Literal["v1p2", "v1p1"]
"""The name of a version in settings and tables."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """How to express the additions of a version in the version before it.

    An entity type without an entry becomes the nearest supertype that the older version has, an
    event type the generic ``Event``; properties move to ``extensions``.

    Attributes:
        entity_types: older type by entity type.
        event_types: older event type and action by event type.
        actions: older action by action.
        without_target: event types that lose their target.
        without_generated: event types with an action, ``type/action``, that lose what they
            generate.
    """

    entity_types: Mapping[str, str] = field(default_factory=dict)
    event_types: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    actions: Mapping[str, str] = field(default_factory=dict)
    without_target: frozenset[str] = frozenset()
    without_generated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A version of Caliper. There is one object for each, so ``is`` compares them.

    Attributes:
        name: its name in settings and tables, such as ``v1p2``.
        number: its number in the standard, such as ``1.2``.
        context: IRI of its JSON-LD context.
        extension_contexts: IRIs of contexts that add profiles of the next version, by profile.
        step: from this version down to the one before; None for the oldest.
    """

    name: VersionName
    number: str
    context: str
    extension_contexts: Mapping[str, str] = field(default_factory=dict)
    step: Step | None = None

    def __str__(self) -> str:
        return self.name

    def has(self, since: str) -> bool:
        """Whether this version has what the version with this number introduced."""
        return _parts(self.number) >= _parts(since)


def _parts(number: str) -> tuple[int, ...]:
    return tuple(map(int, number.split(".")))


_CONTEXTS = "http://purl.imsglobal.org/ctx/caliper"

V1P1 = Version(
    name="v1p1",
    number="1.1",
    context=f"{_CONTEXTS}/v1p1",
    extension_contexts={
        profile: f"{_CONTEXTS}/v1p1/{profile}Profile-extension"
        for profile in (
            "Feedback", "ResourceManagement", "Search", "Survey", "ToolLaunch", "ToolUse",
        )
    },
)  # fmt: skip

V1P2 = Version(
    name="v1p2",
    number="1.2",
    context=f"{_CONTEXTS}/v1p2",
    step=Step(
        entity_types={
            "Comment": "Annotation",
            "MultiselectResponse": "MultipleChoiceResponse",
            "Questionnaire": "DigitalResource",
        },
        event_types={"ToolLaunchEvent": ("ToolUseEvent", "Used")},
        actions={
            "Accepted": "Activated",
            "Archived": "Modified",
            "Copied": "Created",
            "Declined": "Skipped",
            "Downloaded": "Retrieved",
            "Launched": "Used",
            "OptedIn": "Subscribed",
            "OptedOut": "Unsubscribed",
            "Printed": "Retrieved",
            "Published": "Showed",
            "Restored": "Created",
            "Returned": "Used",
            "Saved": "Modified",
            "Sent": "Posted",
            "Unpublished": "Hid",
            "Uploaded": "Added",
        },
        without_target=frozenset({"ToolLaunchEvent"}),  # a mere use of a tool has no link
        without_generated=frozenset({"FeedbackEvent/Ranked"}),  # 1.1 has no ratings
    ),
)

VERSIONS = (V1P1, V1P2)
"""All versions, the oldest first."""

OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]

BY_NAME: Mapping[str, Version] = {version.name: version for version in VERSIONS}
"""Versions by name."""


def steps_down(version: Version) -> Iterator[tuple[Step, Version]]:
    """The steps from the newest version down to another one, each with the version it leads to."""
    for newer, older in zip(VERSIONS[:0:-1], VERSIONS[-2::-1], strict=True):
        if newer is version or newer.step is None:
            return
        yield newer.step, older
