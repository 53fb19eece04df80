"""What Caliper allows: actions, roles, entity types and their properties, event types.

The one place that knows the standard's vocabulary, for 1.2 and 1.1 (the final texts; tables of
Events, Entities and Actions). Recipes are checked against it when they are loaded, entities when
they are rendered, whole documents by ``validation``. It knows nothing of Moodle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

Version = Literal["v1p2", "v1p1"]

CONTEXT = {
    "v1p2": "http://purl.imsglobal.org/ctx/caliper/v1p2",
    "v1p1": "http://purl.imsglobal.org/ctx/caliper/v1p1",
}

EXTENSION_CONTEXTS = {
    name: f"{CONTEXT['v1p1']}/{name}Profile-extension"
    for name in ("Feedback", "ResourceManagement", "Search", "Survey", "ToolLaunch", "ToolUse")
}
"""Contexts by which 1.1 has profiles of 1.2: what they define is theirs to say (``jsonld``)."""

TERM = "http://purl.imsglobal.org/caliper/"
"""Base of the type IRIs, which are the ids of anonymous entities (1.2, Anonymous Entities)."""

_ACTIONS_1_1 = frozenset(
    """
    Abandoned Activated Added Attached Bookmarked ChangedResolution ChangedSize ChangedSpeed
    ChangedVolume Classified ClosedPopout Commented Completed Created Deactivated Deleted Described
    DisabledClosedCaptioning Disliked EnabledClosedCaptioning Ended EnteredFullScreen
    ExitedFullScreen ForwardedTo Graded Hid Highlighted Identified JumpedTo Liked Linked LoggedIn
    LoggedOut MarkedAsRead MarkedAsUnread Modified Muted NavigatedTo OpenedPopout Paused Posted
    Questioned Ranked Recommended Removed Reset Restarted Resumed Retrieved Reviewed Rewound
    Searched Shared Showed Skipped Started Submitted Subscribed Tagged TimedOut Unmuted Unsubscribed
    Used Viewed
    """.split()
)

_ACTIONS_NEW_IN_1_2 = frozenset(
    """
    Accepted Archived Copied Declined Downloaded Launched OptedIn OptedOut Printed Published
    Restored Returned Saved Sent Unpublished Uploaded
    """.split()
)

ACTIONS: dict[str, frozenset[str]] = {
    "v1p1": _ACTIONS_1_1,
    "v1p2": _ACTIONS_1_1 | _ACTIONS_NEW_IN_1_2,
}

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
    """An entity type: its supertypes, its own properties with their kinds, since when it exists.

    Kinds: ``str``, ``dec`` (a number with a fraction), ``int``, ``nonneg``, ``bool``, ``dt`` and
    ``dur`` (a time and a duration in ISO 8601), ``map``, those of :data:`TERMS`, ``=Type`` (an
    object of :data:`VALUE_TYPES`), ``@Type`` (an entity of that type or an IRI; ``@A|B`` of one of
    them); ``[kind]`` is a list.
    """

    supertypes: tuple[str, ...]
    properties: dict[str, str]
    new_in_1_2: bool = False


_NEW_PROPERTIES = frozenset({"otherIdentifiers", "host", "ipAddress", "userAgent", "client"})

_ENTITIES = """
Entity - : name:str description:str dateCreated:dt dateModified:dt otherIdentifiers:[=SystemIdentifier] extensions:map
Agent Entity :
Person Agent :
SoftwareApplication Agent : version:str host:str ipAddress:str userAgent:str
Organization Agent : subOrganizationOf:@Organization members:[@Agent]
Group Organization :
CourseOffering Organization : courseNumber:str academicSession:str
CourseSection CourseOffering : category:str
Membership Entity : organization:@Organization member:@Person roles:[role] status:status
DigitalResource Entity : storageName:str creators:[@Agent] mediaType:str keywords:[str] learningObjectives:[@LearningObjective] isPartOf:@Entity datePublished:dt version:str
AssignableDigitalResource DigitalResource : dateToActivate:dt dateToShow:dt dateToStartOn:dt dateToSubmit:dt maxAttempts:nonneg maxSubmits:nonneg maxScore:dec
Collection* Entity : items:[@Entity]
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
Session Entity : user:@Person client:@SoftwareApplication startedAtTime:dt endedAtTime:dt duration:dur
LtiSession Session : messageParameters:map
AggregateMeasure* Entity : metric:metric metricValue:dec maxMetricValue:dec startedAtTime:dt endedAtTime:dt
AggregateMeasureCollection* Collection : items:[@AggregateMeasure]
Comment* Entity : commenter:@Person commentedOn:@Entity value:str
Link* Entity :
LtiLink* DigitalResource : messageType:messagetype
Query* Entity : creator:@Person searchTarget:@Entity searchTerms:str
SearchResponse* Entity : searchProvider:@SoftwareApplication searchTarget:@Entity query:@Query searchResultsItemCount:nonneg
Question* DigitalResource : questionPosed:str
DateTimeQuestion* Question : minDateTime:dt minLabel:str maxDateTime:dt maxLabel:str
MultiselectQuestion* Question : points:nonneg itemLabels:[str] itemValues:[str]
OpenEndedQuestion* Question :
RatingScaleQuestion* Question : scale:@Scale
Questionnaire* DigitalResourceCollection : items:[@QuestionnaireItem]
QuestionnaireItem* DigitalResource : question:@Question categories:[str] weight:dec
Scale* Entity :
LikertScale* Scale : scalePoints:int itemLabels:[str] itemValues:[str]
MultiselectScale* Scale : scalePoints:int itemLabels:[str] itemValues:[str] isOrderedSelection:bool minSelections:int maxSelections:int
NumericScale* Scale : minValue:dec minLabel:str maxValue:dec maxLabel:str step:dec
Rating* Entity : rater:@Person rated:@Entity question:@Question selections:[str] ratingComment:@Comment
DateTimeResponse* Response : dateTimeSelected:dt
MultiselectResponse* Response : selections:[str]
OpenEndedResponse* Response : value:str
RatingScaleResponse* Response : selections:[str]
Survey* Collection : items:[@Questionnaire]
SurveyInvitation* DigitalResource : rater:@Person survey:@Survey sentCount:int dateSent:dt
"""  # noqa: E501 - one type per line is the table


def _parse_entities() -> dict[str, EntityType]:
    types = {}
    for line in _ENTITIES.strip().splitlines():
        head, _, properties = line.partition(":")
        name, supertypes = head.split()
        types[name.rstrip("*")] = EntityType(
            tuple(supertypes.split(",")) if supertypes != "-" else (),
            dict(item.split(":", 1) for item in properties.split()),
            name.endswith("*"),
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

ENVELOPE_PROPERTIES = ("sensor", "sendTime", "dataVersion", "data")

_REQUIRED = {
    "Event": ("id", "type", "actor", "action", "object", "eventTime"),
    "ToolLaunchEvent/Launched": ("federatedSession",),
    "AggregateMeasure": ("metric", "metricValue"),
    "SystemIdentifier": ("identifierType", "identifier"),
}

ANONYMOUS_AGENT_PROPERTIES = frozenset({"@context", "id", "type"})
NOT_ANONYMOUS_PROPERTIES = frozenset({"name", "description", "otherIdentifiers"})
"""What an anonymous entity that is no agent must not have; an anonymous agent has nothing else."""


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type: legal actors, actions and objects (1.2 Profiles and Events, 1.1 section 3)."""

    actors: tuple[str, ...]
    actions: frozenset[str] | None
    objects: tuple[str, ...]
    new_in_1_2: bool = False


def _event(
    actors: str, actions: str | None, objects: str, *, new_in_1_2: bool = False
) -> EventType:
    return EventType(
        tuple(actors.split()),
        frozenset(actions.split()) if actions else None,
        tuple(objects.split()),
        new_in_1_2,
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
    "FeedbackEvent": _event("Person", "Commented Ranked", "Entity", new_in_1_2=True),
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
    "QuestionnaireEvent": _event("Person", "Started Submitted", "Questionnaire", new_in_1_2=True),
    "QuestionnaireItemEvent": _event(
        "Person", "Started Skipped Completed", "QuestionnaireItem", new_in_1_2=True
    ),
    "ResourceManagementEvent": _event(
        "Person",
        """Archived Copied Created Deleted Described Downloaded Modified Printed Published Restored
        Retrieved Saved Unpublished Uploaded""",
        "DigitalResource",
        new_in_1_2=True,
    ),
    "SearchEvent": _event("Person", "Searched", "Entity", new_in_1_2=True),
    # Nor TimedOut, which is another kind of event (see below) and never occurs in Moodle's log.
    "SessionEvent": _event("Person", "LoggedIn LoggedOut", "SoftwareApplication"),
    "SurveyEvent": _event("Person", "OptedIn OptedOut", "Survey", new_in_1_2=True),
    "SurveyInvitationEvent": _event(
        "Person", "Sent Accepted Declined", "SurveyInvitation", new_in_1_2=True
    ),
    "ThreadEvent": _event("Person", "MarkedAsRead MarkedAsUnread", "Thread"),
    "ToolLaunchEvent": _event(
        "Person", "Launched Returned", "SoftwareApplication", new_in_1_2=True
    ),
    "ToolUseEvent": _event("Person", "Used", "SoftwareApplication"),
    # The Grading Profile lets a Result be viewed, too.
    "ViewEvent": _event("Person", "Viewed", "DigitalResource Result"),
    "Event": _event("Person SoftwareApplication", None, "Entity"),
}
"""What people do, and what the application does for them, as a recipe may say it."""

_NOT_BY_RECIPE = {"SessionEvent": frozenset({"TimedOut"})}
"""Actions that change who acts on what, which a recipe cannot say."""

_DEPRECATED_IN_1_1 = {
    "AnnotationEvent": """Attached Classified Commented Described Disliked Identified Liked Linked
        Questioned Ranked Recommended Subscribed""",
    "AssessmentItemEvent": "Reviewed Viewed",
    "AssignableEvent": "Abandoned Hid Showed",
    "MediaEvent": "Rewound",
}
"""Actions that 1.1 still has although they "SHOULD NOT be used" (1.1, section 3)."""

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
    "NavigationEvent v1p1": {"target": "Frame"},
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
    "ToolUseEvent v1p1": {"generated": "Entity"},
    # The Media Profile has a place in the recording as target.
    "ViewEvent": {"target": "Frame|MediaLocation"},
    "ViewEvent v1p1": {"target": "Frame"},
}
"""What the entities of an event must be, by action or version before in general; actor and object
where :data:`EVENT_TYPES` does not say all."""

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
    """All properties of an entity type, own and inherited, with their kinds."""
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
    """The properties that an object must have beside ``id`` and ``type``.

    An event (``owner`` is an event type) must have its own ``id`` and ``type`` named, too.
    """
    if owner in EVENT_TYPES:
        return _REQUIRED["Event"] + _REQUIRED.get(f"{owner}/{action}", ())
    return _REQUIRED.get(owner, ())


def event_actions(event_type: str, version: Version, *, strict: bool) -> frozenset[str]:
    """Every action of an event type, also of those that not every version has.

    Args:
        event_type: type of the event.
        version: Caliper version.
        strict: leave out what is deprecated.
    """
    actions = EVENT_TYPES[event_type].actions
    if actions is None:
        return ACTIONS["v1p2"]
    actions |= _NOT_BY_RECIPE.get(event_type, frozenset())
    if strict or version != "v1p1":
        return actions
    return actions | set(_DEPRECATED_IN_1_1.get(event_type, "").split())


def slot(event_type: str, action: str, name: str, version: Version) -> str:
    """Which entity types an event of this type may have there, as ``A|B``.

    Args:
        event_type: type of the event.
        action: bare action term; any for an event without a known one.
        name: ``actor``, ``object``, ``generated``, ``target`` or ``referrer``.
        version: Caliper version.
    """
    for key in (f"{event_type}/{action}", f"{event_type} {version}", event_type):
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
    named = {name for _, name in _PROFILE_OF_OBJECT} | {"ReadingProfile"}
    viewed_result = event_type == "ViewEvent" and object_type is None
    return frozenset(named if viewed_result else named - {"GradingProfile"})


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
    if event is None or (version == "v1p1" and event.new_in_1_2):
        return f"{event_type} is no event type of {version}"
    if action not in ACTIONS[version]:
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


def exists(entity_type: str, version: Version) -> bool:
    """Whether a version has the entity type."""
    return version == "v1p2" or not ENTITY_TYPES[entity_type].new_in_1_2


# Caliper 1.1 from a 1.2 model.

_EVENTS_IN_1_1 = {"ToolLaunchEvent": ("ToolUseEvent", "Used")}

_ACTIONS_IN_1_1 = {
    "Downloaded": "Retrieved", "Printed": "Retrieved", "Uploaded": "Added", "Published": "Showed",
    "Unpublished": "Hid", "Copied": "Created", "Restored": "Created", "Archived": "Modified",
    "Saved": "Modified", "Accepted": "Activated", "Declined": "Skipped", "Sent": "Posted",
    "Launched": "Used", "Returned": "Used", "OptedIn": "Subscribed", "OptedOut": "Unsubscribed",
}  # fmt: skip


def event_in_1_1(event_type: str, action: str) -> tuple[str, str]:
    """The 1.1 form of a 1.2 event type and action: what 1.1 lacks becomes a generic Event."""
    if event_type in _EVENTS_IN_1_1:
        return _EVENTS_IN_1_1[event_type]
    action = _ACTIONS_IN_1_1.get(action, action)
    return ("Event" if EVENT_TYPES[event_type].new_in_1_2 else event_type), action


def keeps_target(event_type: str, version: Version) -> bool:
    """Whether an event still may have its target: a launch as a mere use of a tool has no link."""
    return version == "v1p2" or event_type not in _EVENTS_IN_1_1


_ENTITIES_IN_1_1 = {
    "Comment": "Annotation",
    "MultiselectResponse": "MultipleChoiceResponse",
    "Questionnaire": "DigitalResource",
}


@cache
def entity_in_1_1(entity_type: str) -> str:
    """The nearest type that 1.1 has, for example LtiLink → DigitalResource."""
    if not ENTITY_TYPES[entity_type].new_in_1_2:
        return entity_type
    if entity_type in _ENTITIES_IN_1_1:
        return _ENTITIES_IN_1_1[entity_type]
    return entity_in_1_1(ENTITY_TYPES[entity_type].supertypes[0])


def is_new_property(name: str) -> bool:
    """Whether an entity property exists only in 1.2."""
    return name in _NEW_PROPERTIES
