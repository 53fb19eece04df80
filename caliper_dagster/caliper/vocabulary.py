"""What Caliper allows: actions, roles, entity types and their properties, event types.

The one place that knows the standard's vocabulary, for 1.2 and 1.1 (the final texts; tables of
Events, Entities and Actions). Recipes are checked against it when they are loaded, entities when
they are rendered, whole documents by ``document_rules``. It does not know Moodle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from caliper_dagster.caliper.versions import OLDEST, Version, steps_down

TERM = "http://purl.imsglobal.org/caliper/"
"""Base of the type IRIs, which are the ids of anonymous entities (1.2, Anonymous Entities)."""

_ACTIONS = {
    OLDEST.number: """
    Abandoned Activated Added Attached Bookmarked ChangedResolution ChangedSize ChangedSpeed
    ChangedVolume Classified ClosedPopout Commented Completed Created Deactivated Deleted Described
    DisabledClosedCaptioning Disliked EnabledClosedCaptioning Ended EnteredFullScreen
    ExitedFullScreen ForwardedTo Graded Hid Highlighted Identified JumpedTo Liked Linked LoggedIn
    LoggedOut MarkedAsRead MarkedAsUnread Modified Muted NavigatedTo OpenedPopout Paused Posted
    Questioned Ranked Recommended Removed Reset Restarted Resumed Retrieved Reviewed Rewound
    Searched Shared Showed Skipped Started Submitted Subscribed Tagged TimedOut Unmuted Unsubscribed
    Used Viewed
    """,
    "1.2": """
    Accepted Archived Copied Declined Downloaded Launched OptedIn OptedOut Printed Published
    Restored Returned Saved Sent Unpublished Uploaded
    """,
}

ACTIONS = {action: since for since, actions in _ACTIONS.items() for action in actions.split()}
"""All actions, with the version since which they exist."""

ROLES = {
    "Administrator": """Administrator Developer ExternalDeveloper ExternalSupport
        ExternalSystemAdministrator Support SystemAdministrator""",
    "ContentDeveloper": "ContentDeveloper ContentExpert ExternalContentExpert Librarian",
    "Instructor": """ExternalInstructor Grader GuestInstructor Instructor Lecturer
        PrimaryInstructor SecondaryInstructor TeachingAssistant TeachingAssistantGroup
        TeachingAssistantOffering TeachingAssistantSection TeachingAssistantTemplate""",
    "Learner": "ExternalLearner GuestLearner Learner NonCreditLearner",
    "Manager": "AreaManager CourseCoordinator Observer ExternalObserver",
    "Member": "Member",
    "Mentor": """Advisor Auditor ExternalAdvisor ExternalAuditor ExternalLearningFacilitator
        ExternalMentor ExternalReviewer ExternalTutor LearningFacilitator Mentor Reviewer Tutor""",
    "Officer": "Chair Secretary Treasurer Vice-Chair",
}
"""Core roles of LIS and their sub-roles, written ``Core#Sub``."""

STATUSES = frozenset({"Active", "Inactive"})

PROFILES = frozenset(
    """
    AnnotationProfile AssessmentProfile AssignableProfile FeedbackProfile ForumProfile
    GeneralProfile GradingProfile MediaProfile ReadingProfile ResourceManagementProfile
    SearchProfile SessionProfile SurveyProfile ToolLaunchProfile ToolUseProfile
    """.split()
)

TERMS = {
    # Manager#Manager is in the text of 1.1 and in a fixture of 1.2, but in no context.
    "role": frozenset(ROLES)
    | {f"{core}#{sub}" for core, subs in ROLES.items() for sub in subs.split()}
    | {"Manager#Manager"},
    "status": STATUSES,
    "metric": frozenset(
        """
        AssessmentsPassed AssessmentsSubmitted MinutesOnTask SkillsMastered StandardsMastered
        UnitsCompleted UnitsPassed WordsRead
        """.split()
    ),
    "messagetype": frozenset({"LtiDeepLinkingRequest", "LtiResourceLinkRequest"}),
    "identifiertype": frozenset(
        """
        AccountUserName CaseItemUri EmailAddress LisSourcedId LtiContextId LtiDeploymentId
        LtiPlatformId LtiToolId LtiUserId OneRosterSourcedId Other SisSourcedId SystemId
        """.split()
    ),
    "profile": PROFILES,
}
"""Kinds of value that are one of a list of terms."""

SENT_ALTHOUGH_UNDEFINED = frozenset(
    {"SurveyProfile", "EnabledClosedCaptioning", "DisabledClosedCaptioning"}
)
"""Terms of the text that the contexts lack or misspell, and that have no other spelling to send."""


@dataclass(frozen=True, slots=True)
class EntityType:
    """An entity type: its supertypes, its own properties with their kinds, its first version.

    Kinds: ``str``, ``dec`` (a number with a fraction), ``int``, ``nonneg``, ``bool``, ``dt`` and
    ``dur`` (a time and a duration in ISO 8601), ``map``, those of :data:`TERMS`, ``=Type`` (an
    object of :data:`VALUE_TYPES`), ``@Type`` (an entity of that type or an IRI; ``@A|B`` of one of
    them); ``[kind]`` is a list.
    """

    supertypes: tuple[str, ...]
    properties: dict[str, str]
    since: str = OLDEST.number


_ENTITIES = """
Entity - : name:str description:str dateCreated:dt dateModified:dt otherIdentifiers@1.2:[=SystemIdentifier] extensions:map
Agent Entity :
Person Agent :
SoftwareApplication Agent : version:str host@1.2:str ipAddress@1.2:str userAgent@1.2:str
Organization Agent : subOrganizationOf:@Organization members:[@Agent]
Group Organization :
CourseOffering Organization : courseNumber:str academicSession:str
CourseSection CourseOffering : category:str
Membership Entity : organization:@Organization member:@Person roles:[role] status:status
DigitalResource Entity : storageName:str creators:[@Agent] mediaType:str keywords:[str] learningObjectives:[@LearningObjective] isPartOf:@Entity datePublished:dt version:str
AssignableDigitalResource DigitalResource : dateToActivate:dt dateToShow:dt dateToStartOn:dt dateToSubmit:dt maxAttempts:nonneg maxSubmits:nonneg maxScore:dec
Collection@1.2 Entity : items:[@Entity]
DigitalResourceCollection Collection,DigitalResource : items:[@DigitalResource]
Assessment AssignableDigitalResource,DigitalResourceCollection : items:[@AssessmentItem]
AssessmentItem AssignableDigitalResource : isTimeDependent:bool
Attempt Entity : assignee:@Person assignable:@DigitalResource isPartOf:@Attempt count:int startedAtTime:dt endedAtTime:dt duration:dur
Annotation Entity : annotator:@Person annotated:@DigitalResource
BookmarkAnnotation Annotation : bookmarkNotes:str
HighlightAnnotation Annotation : selection:=TextPositionSelector selectionText:str
SharedAnnotation Annotation : withAgents:[@Agent]
TagAnnotation Annotation : tags:[str]
Chapter DigitalResource :
Document DigitalResource :
Page DigitalResource :
WebPage DigitalResource :
Frame DigitalResource : index:int
LearningObjective Entity :
MediaObject DigitalResource : duration:dur
AudioObject MediaObject : volumeLevel:str volumeMin:str volumeMax:str muted:bool
ImageObject MediaObject :
VideoObject MediaObject :
MediaLocation DigitalResource : currentTime:dur
Forum DigitalResourceCollection : items:[@Thread]
Thread DigitalResourceCollection : items:[@Message]
Message DigitalResource : replyTo:@Message body:str attachments:[@DigitalResource]
Response Entity : attempt:@Attempt startedAtTime:dt endedAtTime:dt duration:dur
FillinBlankResponse Response : values:[str]
MultipleChoiceResponse Response : value:str
MultipleResponseResponse Response : values:[str]
SelectTextResponse Response : values:[str]
TrueFalseResponse Response : value:str
Result Entity : attempt:@Attempt maxResultScore:dec resultScore:dec scoredBy:@Agent comment:str
Score Entity : attempt:@Attempt maxScore:dec scoreGiven:dec scoredBy:@Agent comment:str
Session Entity : user:@Person client@1.2:@SoftwareApplication startedAtTime:dt endedAtTime:dt duration:dur
LtiSession Session : messageParameters:map
AggregateMeasure@1.2 Entity : metric:metric metricValue:dec maxMetricValue:dec startedAtTime:dt endedAtTime:dt
AggregateMeasureCollection@1.2 Collection : items:[@AggregateMeasure]
Comment@1.2 Entity : commenter:@Person commentedOn:@Entity value:str
Link@1.2 Entity :
LtiLink@1.2 DigitalResource : messageType:messagetype
Query@1.2 Entity : creator:@Person searchTarget:@Entity searchTerms:str
SearchResponse@1.2 Entity : searchProvider:@SoftwareApplication searchTarget:@Entity query:@Query searchResultsItemCount:nonneg
Question@1.2 DigitalResource : questionPosed:str
DateTimeQuestion@1.2 Question : minDateTime:dt minLabel:str maxDateTime:dt maxLabel:str
MultiselectQuestion@1.2 Question : points:nonneg itemLabels:[str] itemValues:[str]
OpenEndedQuestion@1.2 Question :
RatingScaleQuestion@1.2 Question : scale:@Scale
Questionnaire@1.2 DigitalResourceCollection : items:[@QuestionnaireItem]
QuestionnaireItem@1.2 DigitalResource : question:@Question categories:[str] weight:dec
Scale@1.2 Entity :
LikertScale@1.2 Scale : scalePoints:int itemLabels:[str] itemValues:[str]
MultiselectScale@1.2 Scale : scalePoints:int itemLabels:[str] itemValues:[str] isOrderedSelection:bool minSelections:int maxSelections:int
NumericScale@1.2 Scale : minValue:dec minLabel:str maxValue:dec maxLabel:str step:dec
Rating@1.2 Entity : rater:@Person rated:@Entity question:@Question selections:[str] ratingComment:@Comment
DateTimeResponse@1.2 Response : dateTimeSelected:dt
MultiselectResponse@1.2 Response : selections:[str]
OpenEndedResponse@1.2 Response : value:str
RatingScaleResponse@1.2 Response : selections:[str]
Survey@1.2 Collection : items:[@Questionnaire]
SurveyInvitation@1.2 DigitalResource : rater:@Person survey:@Survey sentCount:int dateSent:dt
"""  # noqa: E501 - one type per line is the table


def _since(name: str) -> tuple[str, str]:
    """A name of the table, and since which version it exists: ``host@1.2``."""
    name, _, since = name.partition("@")
    return name, since or OLDEST.number


_PROPERTIES_SINCE: dict[str, str] = {}


def _parse_entities() -> dict[str, EntityType]:
    types = {}
    for line in _ENTITIES.strip().splitlines():
        declaration, _, items = line.partition(":")
        (name, since), supertypes = _since(declaration.split()[0]), declaration.split()[1]
        properties = {}
        for item in items.split():
            key, kind = item.split(":", 1)
            key, _PROPERTIES_SINCE[_since(key)[0]] = _since(key)
            properties[key] = kind
        types[name] = EntityType(
            tuple(supertypes.split(",")) if supertypes != "-" else (), properties, since
        )
    return types


ENTITY_TYPES = _parse_entities()

VALUE_TYPES = {
    "SystemIdentifier": {
        "identifierType": "identifiertype",
        "identifier": "str",
        "source": "@SoftwareApplication",
        "extensions": "map",
    },
    "TextPositionSelector": {"start": "nonneg", "end": "nonneg"},
}
"""Objects that are no entities: they have a type and properties, but no id."""

EVENT_PROPERTIES = {
    "id": "eventid",
    "type": "str",
    "profile": "profile",
    "actor": "@Agent",
    "action": "str",
    "object": "@Entity",
    "eventTime": "dt",
    "edApp": "@SoftwareApplication",
    "generated": "@Entity",
    "target": "@Entity",
    "referrer": "@Entity",
    "group": "@Organization",
    "membership": "@Membership",
    "session": "@Session",
    "federatedSession": "@LtiSession",
    "extensions": "map",
}
"""The properties of every event; :func:`slot` narrows some of them by event type and action."""

_EVENT_PROPERTIES_SINCE = {"profile": "1.2"}

ENVELOPE_PROPERTIES = ("sensor", "sendTime", "dataVersion", "data")

_REQUIRED = {
    "Event": ("id", "type", "actor", "action", "object", "eventTime"),
    "ToolLaunchEvent/Launched": ("federatedSession",),
    "AggregateMeasure": ("metric", "metricValue"),
    "SystemIdentifier": ("identifierType", "identifier"),
}

_STRICTLY_REQUIRED = {"OpenEndedResponse": ("value",)}

ANONYMOUS_AGENT_PROPERTIES = frozenset({"@context", "id", "type"})
NOT_ANONYMOUS_PROPERTIES = frozenset({"name", "description", "otherIdentifiers"})
"""The only properties of an anonymous agent; those that no other anonymous entity may have."""


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type: legal actors, actions and objects (1.2 Profiles and Events, 1.1 section 3)."""

    actors: tuple[str, ...]
    actions: frozenset[str] | None
    objects: tuple[str, ...]
    since: str = OLDEST.number


def _event(
    actors: str, actions: str | None, objects: str, *, since: str = OLDEST.number
) -> EventType:
    return EventType(
        tuple(actors.split()),
        frozenset(actions.split()) if actions else None,
        tuple(objects.split()),
        since,
    )


EVENT_TYPES = {
    "AnnotationEvent": _event("Person", "Bookmarked Highlighted Shared Tagged", "DigitalResource"),
    "AssessmentEvent": _event(
        "Person", "Started Paused Resumed Restarted Reset Submitted", "Assessment"
    ),
    "AssessmentItemEvent": _event("Person", "Started Skipped Completed", "AssessmentItem"),
    "AssignableEvent": _event(
        "Person",
        "Activated Deactivated Started Completed Submitted Reviewed",
        "AssignableDigitalResource",
    ),
    "FeedbackEvent": _event("Person", "Commented Ranked", "Entity", since="1.2"),
    "ForumEvent": _event("Person", "Subscribed Unsubscribed", "Forum"),
    "GradeEvent": _event("Person SoftwareApplication", "Graded", "Attempt"),
    "MediaEvent": _event(
        "Person",
        """Started Ended Paused Resumed Restarted ForwardedTo JumpedTo ChangedResolution ChangedSize
        ChangedSpeed ChangedVolume EnabledClosedCaptioning DisabledClosedCaptioning
        EnteredFullScreen ExitedFullScreen Muted Unmuted OpenedPopout ClosedPopout""",
        "MediaObject",
    ),
    "MessageEvent": _event("Person", "Posted MarkedAsRead MarkedAsUnread", "Message"),
    "NavigationEvent": _event("Person", "NavigatedTo", "DigitalResource SoftwareApplication"),
    "QuestionnaireEvent": _event("Person", "Started Submitted", "Questionnaire", since="1.2"),
    "QuestionnaireItemEvent": _event(
        "Person", "Started Skipped Completed", "QuestionnaireItem", since="1.2"
    ),
    "ResourceManagementEvent": _event(
        "Person",
        """Archived Copied Created Deleted Described Downloaded Modified Printed Published Restored
        Retrieved Saved Unpublished Uploaded""",
        "DigitalResource",
        since="1.2",
    ),
    "SearchEvent": _event("Person", "Searched", "Entity", since="1.2"),
    # Without TimedOut: its actor and object differ (see below), and Moodle's log never has it.
    "SessionEvent": _event("Person", "LoggedIn LoggedOut", "SoftwareApplication"),
    "SurveyEvent": _event("Person", "OptedIn OptedOut", "Survey", since="1.2"),
    "SurveyInvitationEvent": _event(
        "Person", "Sent Accepted Declined", "SurveyInvitation", since="1.2"
    ),
    "ThreadEvent": _event("Person", "MarkedAsRead MarkedAsUnread", "Thread"),
    "ToolLaunchEvent": _event("Person", "Launched Returned", "SoftwareApplication", since="1.2"),
    "ToolUseEvent": _event("Person", "Used", "SoftwareApplication"),
    # The Grading Profile lets a Result be viewed, too.
    "ViewEvent": _event("Person", "Viewed", "DigitalResource Result"),
    "Event": _event("Person SoftwareApplication", None, "Entity"),
}
"""The event types and actions that a recipe may use: of people, and of the application for them."""

_NOT_BY_RECIPE = {"SessionEvent": frozenset({"TimedOut"})}
"""Actions whose actor and object differ from those of their event type; no recipe may use them."""

_DEPRECATED = {
    (
        "1.1",
        "AnnotationEvent",
    ): """Attached Classified Commented Described Disliked Identified Liked Linked
        Questioned Ranked Recommended Subscribed""",
    ("1.1", "AssessmentItemEvent"): "Reviewed Viewed",
    ("1.1", "AssignableEvent"): "Abandoned Hid Showed",
    ("1.1", "MediaEvent"): "Rewound",
}
"""Actions that a version still has although they "SHOULD NOT be used" (1.1, section 3)."""

_SLOTS = {
    "AnnotationEvent/Bookmarked": {"generated": "BookmarkAnnotation"},
    "AnnotationEvent/Highlighted": {"generated": "HighlightAnnotation"},
    "AnnotationEvent/Shared": {"generated": "SharedAnnotation"},
    "AnnotationEvent/Tagged": {"generated": "TagAnnotation"},
    "AnnotationEvent": {"generated": "Annotation", "target": "Frame"},
    "AssessmentEvent": {"generated": "Attempt"},
    "AssessmentItemEvent/Completed": {"generated": "Response"},
    "AssessmentItemEvent": {"generated": "Attempt", "referrer": "AssessmentItem"},
    "AssignableEvent": {"generated": "Attempt", "target": "Frame"},
    "Event": {"actor": "Agent"},
    "FeedbackEvent/Commented": {"generated": "Comment"},
    "FeedbackEvent/Ranked": {"generated": "Rating"},
    "FeedbackEvent": {"target": "Frame"},
    "GradeEvent": {"actor": "Agent", "generated": "Score"},
    "MediaEvent": {"target": "MediaLocation"},
    "NavigationEvent": {
        "target": "DigitalResource",
        "referrer": "DigitalResource|SoftwareApplication",
    },
    "NavigationEvent 1.1": {"target": "Frame"},
    "QuestionnaireEvent": {"generated": "Attempt"},
    "QuestionnaireItemEvent/Completed": {"generated": "Response"},
    "QuestionnaireItemEvent": {"generated": "Attempt"},
    "ResourceManagementEvent": {"generated": "DigitalResource"},
    "SearchEvent": {"generated": "SearchResponse"},
    "SessionEvent/TimedOut": {"actor": "SoftwareApplication", "object": "Session"},
    "SessionEvent": {
        "target": "DigitalResource",
        "referrer": "DigitalResource|SoftwareApplication",
    },
    "ToolLaunchEvent": {"generated": "DigitalResource", "target": "Link|LtiLink"},
    "ToolUseEvent": {"generated": "AggregateMeasureCollection", "target": "SoftwareApplication"},
    "ToolUseEvent 1.1": {"generated": "Entity"},
    # The Media Profile has a place in the recording as target.
    "ViewEvent": {"target": "Frame|MediaLocation"},
    "ViewEvent 1.1": {"target": "Frame"},
}
"""The types that the entities of an event must have. An entry for an action or a version comes
before the general one. Actor and object are listed where :data:`EVENT_TYPES` is not sufficient."""

_PROFILE_OF_EVENT = {
    "AnnotationEvent": "AnnotationProfile",
    "AssessmentEvent": "AssessmentProfile",
    "AssessmentItemEvent": "AssessmentProfile",
    "AssignableEvent": "AssignableProfile",
    "FeedbackEvent": "FeedbackProfile",
    "ForumEvent": "ForumProfile",
    "GradeEvent": "GradingProfile",
    "MediaEvent": "MediaProfile",
    "MessageEvent": "ForumProfile",
    "QuestionnaireEvent": "SurveyProfile",
    "QuestionnaireItemEvent": "SurveyProfile",
    "ResourceManagementEvent": "ResourceManagementProfile",
    "SearchEvent": "SearchProfile",
    "SessionEvent": "SessionProfile",
    "SurveyEvent": "SurveyProfile",
    "SurveyInvitationEvent": "SurveyProfile",
    "ThreadEvent": "ForumProfile",
    "ToolLaunchEvent": "ToolLaunchProfile",
    "ToolUseEvent": "ToolUseProfile",
    "Event": "GeneralProfile",
}

_PROFILE_OF_OBJECT = (
    (("Assessment", "AssessmentItem"), "AssessmentProfile"),
    (("AssignableDigitalResource",), "AssignableProfile"),
    (("Forum", "Thread", "Message"), "ForumProfile"),
    (("Questionnaire", "QuestionnaireItem"), "SurveyProfile"),
    (("MediaObject",), "MediaProfile"),
    (("Result",), "GradingProfile"),
)


@cache
def is_a(entity_type: str, ancestor: str) -> bool:
    """Whether an entity type is another one or a subtype of it."""
    return entity_type == ancestor or any(
        is_a(supertype, ancestor) for supertype in ENTITY_TYPES[entity_type].supertypes
    )


@cache
def properties(entity_type: str) -> dict[str, str]:
    """All properties of an entity type, declared and inherited, with their kinds."""
    entity = ENTITY_TYPES[entity_type]
    inherited: dict[str, str] = {}
    for supertype in entity.supertypes:
        inherited |= properties(supertype)
    return inherited | entity.properties


@cache
def fits(entity_type: str, ancestors: str) -> bool:
    """Whether an entity type is one of those types (``A|B``) or a subtype of one."""
    return any(is_a(entity_type, ancestor) for ancestor in ancestors.split("|"))


@cache
def required(owner: str, action: str = "") -> tuple[str, ...]:
    """The properties that an object must have in addition to ``id`` and ``type``.

    Those of an event (``owner`` is an event type) include ``id`` and ``type``.
    """
    if owner in EVENT_TYPES:
        return _REQUIRED["Event"] + _REQUIRED.get(f"{owner}/{action}", ())
    return _REQUIRED.get(owner, ())


def strictly_required(owner: str) -> tuple[str, ...]:
    """The properties that an entity also must have where only what every reader takes is valid.

    1EdTech's own ``caliper-python`` refuses entities without them, although the text does not.
    """
    return _REQUIRED.get(owner, ()) + _STRICTLY_REQUIRED.get(owner, ())


def event_actions(event_type: str, version: Version, *, strict: bool) -> frozenset[str]:
    """Every action of an event type, including those that some versions lack.

    Args:
        event_type: type of the event.
        version: Caliper version.
        strict: leave out what is deprecated.
    """
    actions = EVENT_TYPES[event_type].actions
    if actions is None:
        return frozenset(ACTIONS)
    actions |= _NOT_BY_RECIPE.get(event_type, frozenset())
    if strict:
        return actions
    return actions | set(_DEPRECATED.get((version.number, event_type), "").split())


def slot(event_type: str, action: str, name: str, version: Version) -> str:
    """The entity types that a slot of an event may hold, as ``A|B``.

    Args:
        event_type: type of the event.
        action: bare action term; any for an event without a known one.
        name: ``actor``, ``object``, ``generated``, ``target`` or ``referrer``.
        version: Caliper version.
    """
    for key in (f"{event_type}/{action}", f"{event_type} {version.number}", event_type):
        if name in _SLOTS.get(key, {}):
            return _SLOTS[key][name]
    if name == "actor":
        return "|".join(EVENT_TYPES[event_type].actors)
    return "|".join(EVENT_TYPES[event_type].objects) if name == "object" else "Entity"


@cache
def profiles(event_type: str, object_type: str | None) -> frozenset[str]:
    """The profiles that an event may name; object type None when only its IRI is known.

    A profile's table narrows the objects of its View and NavigationEvents, but the certification
    guide takes every DigitalResource (:func:`profile` says which one fits). A Result is none: it
    can only be viewed, in the Grading Profile.
    """
    if event_type in _PROFILE_OF_EVENT:
        return frozenset({_PROFILE_OF_EVENT[event_type]})
    if object_type == "Result":
        return frozenset({"GradingProfile"})
    by_object = {name for _, name in _PROFILE_OF_OBJECT} | {"ReadingProfile"}
    viewed_result = event_type == "ViewEvent" and object_type is None
    return frozenset(by_object if viewed_result else by_object - {"GradingProfile"})


@cache
def profile(event_type: str, object_type: str) -> str:
    """The profile of an event (1.2 Profiles): View and Navigation events follow their object."""
    if event_type in _PROFILE_OF_EVENT:
        return _PROFILE_OF_EVENT[event_type]
    for types, name in _PROFILE_OF_OBJECT:
        if any(is_a(object_type, ancestor) for ancestor in types):
            return name
    return "ReadingProfile"


@cache
def illegal(event_type: str, action: str, object_type: str, version: Version) -> str | None:
    """Why this combination is not Caliper; None when it is.

    Args:
        event_type: type of the event.
        action: bare action term.
        object_type: type of the object.
        version: Caliper version.
    """
    event = EVENT_TYPES.get(event_type)
    if event is None or not version.has(event.since):
        return f"{event_type} is no event type of {version}"
    if not has_action(action, version):
        return f"{action} is no action of {version}"
    if event.actions is not None and action not in event.actions:
        return f"{event_type} has no action {action}"
    if object_type not in ENTITY_TYPES or not exists(object_type, version):
        return f"{object_type} is no entity type of {version}"
    allowed = slot(event_type, action, "object", version)
    if not fits(object_type, allowed):
        return (
            f"the object of {event_type} must be {allowed.replace('|', ' or ')}, not {object_type}"
        )
    return None


def has_action(action: str, version: Version) -> bool:
    """Whether a version has the action."""
    return action in ACTIONS and version.has(ACTIONS[action])


def exists(entity_type: str, version: Version) -> bool:
    """Whether a version has the entity type."""
    return version.has(ENTITY_TYPES[entity_type].since)


def has_property(name: str, version: Version) -> bool:
    """Whether a version has a property of entities, if one of its types has it."""
    return version.has(_PROPERTIES_SINCE.get(name, OLDEST.number))


def has_event_property(name: str, version: Version) -> bool:
    """Whether events of a version have a property."""
    return version.has(_EVENT_PROPERTIES_SINCE.get(name, OLDEST.number))


# From the newest version to an older one


def event_in(version: Version, event_type: str, action: str) -> tuple[str, str]:
    """An event type and action of the newest version, as an older one has them."""
    for step, older in steps_down(version):
        if event_type in step.event_types:
            event_type, action = step.event_types[event_type]
        elif not older.has(EVENT_TYPES[event_type].since):
            event_type = "Event"
        action = step.actions.get(action, action)
    return event_type, action


def keeps_target(event_type: str, version: Version) -> bool:
    """Whether an event of the newest version still has its target in an older one."""
    return all(event_type not in step.without_target for step, _ in steps_down(version))


def keeps_generated(event_type: str, action: str, version: Version) -> bool:
    """Whether an event of the newest version still generates something in an older one."""
    name = f"{event_type}/{action}"
    return all(name not in step.without_generated for step, _ in steps_down(version))


@cache
def entity_type_in(version: Version, entity_type: str) -> str:
    """The nearest type that an older version has, for example LtiLink → DigitalResource."""
    for step, older in steps_down(version):
        while not exists(entity_type, older):
            nearest = ENTITY_TYPES[entity_type].supertypes[0]
            entity_type = step.entity_types.get(entity_type, nearest)
    return entity_type


def entity_in(version: Version, entity: Mapping[str, Any]) -> dict[str, Any]:
    """An entity of the newest version in an older one.

    Types become older ones; properties that the older version, or the older type, does not have go
    to ``extensions``.
    """
    converted: dict[str, Any] = {}
    moved: dict[str, Any] = {}
    entity_type = entity_type_in(version, entity["type"])
    allowed = {"id", "type", *properties(entity_type)}
    for key, value in entity.items():
        if key == "extensions" and isinstance(value, dict):
            moved = {**value, **moved}
        elif not has_property(key, version):
            moved[key] = value
        else:
            destination = converted if key in allowed else moved
            destination[key] = _value_in(version, value)
    converted["type"] = entity_type
    if converted.get("id") == f"{TERM}{entity['type']}":
        converted["id"] = f"{TERM}{entity_type}"
    return {**converted, "extensions": moved} if moved else converted


def _value_in(version: Version, value: object) -> object:
    if isinstance(value, list):
        return [_value_in(version, item) for item in value]
    if isinstance(value, dict) and value.get("type") in ENTITY_TYPES:
        return entity_in(version, value)
    return value
