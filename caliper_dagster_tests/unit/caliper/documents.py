"""Documents that are valid Caliper, and changed ones."""

import copy
from typing import Any

from caliper_dagster.caliper import versions

V1P1, V1P2 = (version.context for version in versions.VERSIONS)
EXTENSION_CONTEXTS = versions.V1P1.extension_contexts

ANONYMOUS = "http://purl.imsglobal.org/caliper/Person"

ASSIGNMENT = "https://moodle.example/mod/assign/view.php?id=7"

EVENT: dict[str, Any] = {
    "@context": V1P2,
    "id": "urn:uuid:0a1b2c3d-4e5f-5a6b-8c7d-9e0f1a2b3c4d",
    "type": "GradeEvent",
    "profile": "GradingProfile",
    "actor": {
        "id": "https://moodle.example/user/profile.php?id=3",
        "type": "Person",
        "name": "Jane Doe",
        "otherIdentifiers": [
            {
                "type": "SystemIdentifier",
                "identifierType": "SystemId",
                "identifier": "3",
                "source": "https://moodle.example",
            }
        ],
    },
    "action": "Graded",
    "object": {
        "id": f"{ASSIGNMENT}#submission-12",
        "type": "Attempt",
        "assignee": "https://moodle.example/user/profile.php?id=4",
        "assignable": {
            "id": ASSIGNMENT,
            "type": "AssignableDigitalResource",
            "dateToSubmit": "2026-02-01T22:00:00.000Z",
            "maxScore": 100.0,
            "maxAttempts": 2,
        },
        "count": 1,
        "duration": "PT30M54S",
    },
    "eventTime": "2026-01-31T14:05:00.000Z",
    "edApp": {"id": "https://moodle.example", "type": "SoftwareApplication", "version": "4.5"},
    "generated": {
        "id": f"{ASSIGNMENT}#grade-9",
        "type": "Score",
        "attempt": f"{ASSIGNMENT}#submission-12",
        "maxScore": 100.0,
        "scoreGiven": 87.5,
    },
    "group": {"id": "https://moodle.example/course/view.php?id=2", "type": "CourseSection"},
    "membership": {
        "id": "https://moodle.example/user/view.php?id=3&course=2",
        "type": "Membership",
        "member": "https://moodle.example/user/profile.php?id=3",
        "organization": "https://moodle.example/course/view.php?id=2",
        "roles": ["Instructor", "Instructor#TeachingAssistant"],
        "status": "Active",
    },
    "extensions": {"moodle": {"logId": 1}},
}

VIEW = EVENT | {
    "type": "ViewEvent",
    "profile": "ReadingProfile",
    "action": "Viewed",
    "object": {"id": "https://moodle.example/mod/page/view.php?id=1", "type": "WebPage"},
}
del VIEW["generated"]

LAUNCH = EVENT | {
    "type": "ToolLaunchEvent",
    "profile": "ToolLaunchProfile",
    "action": "Launched",
    "object": {"id": "https://tool.example", "type": "SoftwareApplication"},
    "federatedSession": {"id": "https://moodle.example/lti/1", "type": "LtiSession"},
}
del LAUNCH["generated"]

ENVELOPE: dict[str, Any] = {
    "sensor": "https://moodle.example",
    "sendTime": "2026-01-31T14:06:00.000Z",
    "dataVersion": V1P2,
    "data": [EVENT],
}

DESCRIBE = {"@context": V1P2, **EVENT["actor"]}


def in_1_1(event: dict[str, Any], context: str = V1P1) -> dict[str, Any]:
    older = copy.deepcopy(event) | {"@context": context}
    older.pop("profile")
    older["actor"].pop("otherIdentifiers", None)
    return older


def changed(document: dict[str, Any], path: str, value: object = None) -> dict[str, Any]:
    """A copy with another value at a path, or without it when there is no value."""
    copied = copy.deepcopy(document)
    *parents, last = path.split("/")
    place: Any = copied
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    position: Any = int(last) if isinstance(place, list) else last
    if value is None:
        del place[position]
    else:
        place[position] = value
    return copied
