"""Type, action and profile of events: rule R2, the downgrade to 1.1, and legality."""

from __future__ import annotations

from dataclasses import dataclass

from caliper_dagster.caliper import vocabulary
from caliper_dagster.caliper.versions import NEWEST, V1P1, Version


@dataclass(frozen=True, slots=True)
class EventShape:
    """Type, profile and action of an event."""

    event_type: str = ""
    action: str = ""
    profile: str = ""
    version: Version = NEWEST

    @property
    def json_prefix(self) -> str:
        """The JSON between id and actor."""
        has_profile = vocabulary.has_event_property("profile", self.version)
        profile = f',"profile":"{self.profile}"' if has_profile else ""
        return f'","type":"{self.event_type}"{profile},"actor":'

    @property
    def json_infix(self) -> str:
        """The JSON between actor and object."""
        return f',"action":"{self.action}","object":'


class IllegalEventError(ValueError):
    """No event of this version may have this action and object."""


def event_shape(
    event_type: str,
    action: str,
    object_type: str,
    *,
    by_site: bool,
    version: Version,
    action_1_1: str | None = None,
) -> EventShape:
    """The shape of an event.

    If the event type requires a person as actor, or another type of object, the event becomes a
    generic Event with the same action (R2; the General Profile is for what no other models).

    Args:
        event_type: Caliper 1.2 event type.
        action: Caliper 1.2 action.
        object_type: type of the object, as it is rendered in this version.
        by_site: whether the actor is a SoftwareApplication.
        version: Caliper version.
        action_1_1: action in 1.1, if it differs from the general rule.

    Raises:
        IllegalEventError: the generic Event is not legal either.
    """
    event_type, action = vocabulary.event_in(version, event_type, action)
    if action_1_1 and version is V1P1:
        action = action_1_1
    if by_site and "SoftwareApplication" not in vocabulary.EVENT_TYPES[event_type].actors:
        event_type = "Event"
    if vocabulary.illegal(event_type, action, object_type, version):
        event_type = "Event"
    problem = vocabulary.illegal(event_type, action, object_type, version)
    if problem:
        raise IllegalEventError(problem)
    return EventShape(event_type, action, vocabulary.profile(event_type, object_type), version)
