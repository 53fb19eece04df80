"""Caliper's entities as types: one class per entity type of 1.2, so that mypy knows the properties.

A class repeats what the tables of ``vocabulary`` say of its type; a test compares the two. Where a
type has two supertypes, its class has the first one that makes it a resource and repeats the
properties of the other: whether a type is a subtype is a question to
:func:`~caliper_dagster.caliper.vocabulary.is_a`, never to the classes.

Building an object checks nothing. A property that is None is not written; there is no property that
is a list by default, and 0 and False are written. What is built is checked once, before it is
written, by :func:`~caliper_dagster.caliper.entity_rules.are_certainly_valid`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NewType, TypeAlias

import msgspec

Iri: TypeAlias = str
"""An absolute IRI."""

Reference = NewType("Reference", str)
"""The IRI of an entity, in its place. Whoever makes one also knows the type of the entity, so that
a shape can have an object there (:mod:`~caliper_dagster.caliper.shapes`)."""

Time = NewType("Time", str)
"""A time in UTC with milliseconds, such as ``2026-01-31T14:05:00.000Z``."""

Duration = NewType("Duration", str)
"""A span of time in ISO 8601, such as ``PT30M54S``."""

Decimal = NewType("Decimal", float)
"""A number with a fraction: Caliper's ``10.0``, which is another value than ``10``."""


class SystemIdentifier(msgspec.Struct, tag=True, tag_field="type", omit_defaults=True, gc=False):
    """An identifier of an entity in some system. It is no entity and has no id."""

    identifierType: str
    identifier: str
    source: SoftwareApplication | Reference | None = None
    extensions: Mapping[str, Any] | None = None


class TextPositionSelector(
    msgspec.Struct, tag=True, tag_field="type", omit_defaults=True, gc=False
):
    """A passage of a text, by the positions of its characters. It is no entity and has no id."""

    start: int | None = None
    end: int | None = None


class Entity(msgspec.Struct, tag=True, tag_field="type", omit_defaults=True, gc=False):
    """Anything that an event is about; as a type of its own, what no other type fits.

    Attributes:
        id: an IRI.
    """

    id: Iri
    name: str | None = None
    description: str | None = None
    dateCreated: Time | None = None
    dateModified: Time | None = None
    otherIdentifiers: Sequence[SystemIdentifier] | None = None
    extensions: Mapping[str, Any] | None = None


class Agent(Entity):
    """A person, group, organization or application that acts."""


class Person(Agent):
    """A human being."""


class SoftwareApplication(Agent):
    """A program, such as a learning platform or one of its tools."""

    version: str | None = None
    host: str | None = None
    ipAddress: str | None = None
    userAgent: str | None = None


class Organization(Agent):
    """A body of persons, such as a school."""

    subOrganizationOf: Organization | Reference | None = None
    members: Sequence[Agent | Reference] | None = None


class Group(Organization):
    """An organization of persons who do something together."""


class CourseOffering(Organization):
    """A course that is offered in a term."""

    courseNumber: str | None = None
    academicSession: str | None = None


class CourseSection(CourseOffering):
    """A course that persons are enrolled in."""

    category: str | None = None


class Membership(Entity):
    """A person in an organization, with the roles held there."""

    organization: Organization | Reference | None = None
    member: Person | Reference | None = None
    roles: Sequence[str] | None = None
    status: str | None = None


class DigitalResource(Entity):
    """Something to read, see, hear, use or work on."""

    storageName: str | None = None
    creators: Sequence[Agent | Reference] | None = None
    mediaType: str | None = None
    keywords: Sequence[str] | None = None
    learningObjectives: Sequence[LearningObjective | Reference] | None = None
    isPartOf: Entity | Reference | None = None
    datePublished: Time | None = None
    version: str | None = None


class AssignableDigitalResource(DigitalResource):
    """A resource that is assigned to persons, with its dates and its highest score."""

    dateToActivate: Time | None = None
    dateToShow: Time | None = None
    dateToStartOn: Time | None = None
    dateToSubmit: Time | None = None
    maxAttempts: int | None = None
    maxSubmits: int | None = None
    maxScore: Decimal | None = None


class Collection(Entity):
    """A list of things."""

    items: Sequence[Entity | Reference] | None = None


class DigitalResourceCollection(DigitalResource):
    """A list of resources, which is a resource itself."""

    items: Sequence[DigitalResource | Reference] | None = None


class Assessment(AssignableDigitalResource):
    """A test that consists of items."""

    items: Sequence[AssessmentItem | Reference] | None = None


class AssessmentItem(AssignableDigitalResource):
    """One question of a test."""

    isTimeDependent: bool | None = None


class Attempt(Entity):
    """What one person does at something assigned, once."""

    assignee: Person | Reference | None = None
    assignable: DigitalResource | Reference | None = None
    isPartOf: Attempt | Reference | None = None
    count: int | None = None
    startedAtTime: Time | None = None
    endedAtTime: Time | None = None
    duration: Duration | None = None


class Annotation(Entity):
    """A mark that a person puts on a resource."""

    annotator: Person | Reference | None = None
    annotated: DigitalResource | Reference | None = None


class BookmarkAnnotation(Annotation):
    """A bookmark."""

    bookmarkNotes: str | None = None


class HighlightAnnotation(Annotation):
    """A highlighted passage of text."""

    selection: TextPositionSelector | None = None
    selectionText: str | None = None


class SharedAnnotation(Annotation):
    """A resource passed on to others."""

    withAgents: Sequence[Agent | Reference] | None = None


class TagAnnotation(Annotation):
    """Tags put on a resource."""

    tags: Sequence[str] | None = None


class Chapter(DigitalResource):
    """A major part of a longer text."""


class Document(DigitalResource):
    """A text or file."""


class Page(DigitalResource):
    """A page of a text."""


class WebPage(DigitalResource):
    """A page of a web site."""


class Frame(DigitalResource):
    """A part of a resource, by its position."""

    index: int | None = None


class LearningObjective(Entity):
    """What a learner is to know or to be able to do."""


class MediaObject(DigitalResource):
    """A recording or picture."""

    duration: Duration | None = None


class AudioObject(MediaObject):
    """A sound recording."""

    volumeLevel: str | None = None
    volumeMin: str | None = None
    volumeMax: str | None = None
    muted: bool | None = None


class ImageObject(MediaObject):
    """A picture."""


class VideoObject(MediaObject):
    """A film."""


class MediaLocation(DigitalResource):
    """A point in time of a recording."""

    currentTime: Duration | None = None


class Forum(DigitalResourceCollection):
    """A place for discussions."""

    items: Sequence[Thread | Reference] | None = None


class Thread(DigitalResourceCollection):
    """One discussion of a forum, or a conversation."""

    items: Sequence[Message | Reference] | None = None


class Message(DigitalResource):
    """One contribution to a discussion."""

    replyTo: Message | Reference | None = None
    body: str | None = None
    attachments: Sequence[DigitalResource | Reference] | None = None


class Response(Entity):
    """What a person answered to one question."""

    attempt: Attempt | Reference | None = None
    startedAtTime: Time | None = None
    endedAtTime: Time | None = None
    duration: Duration | None = None


class FillinBlankResponse(Response):
    """An answer that fills in blanks."""

    values: Sequence[str] | None = None


class MultipleChoiceResponse(Response):
    """An answer that is one of several options."""

    value: str | None = None


class MultipleResponseResponse(Response):
    """An answer that is several of several options."""

    values: Sequence[str] | None = None


class SelectTextResponse(Response):
    """An answer that selects passages of text."""

    values: Sequence[str] | None = None


class TrueFalseResponse(Response):
    """An answer that is true or false."""

    value: str | None = None


class Result(Entity):
    """The grade of an attempt as it stands."""

    attempt: Attempt | Reference | None = None
    maxResultScore: Decimal | None = None
    resultScore: Decimal | None = None
    scoredBy: Agent | Reference | None = None
    comment: str | None = None


class Score(Entity):
    """The grade that an agent gave to an attempt."""

    attempt: Attempt | Reference | None = None
    maxScore: Decimal | None = None
    scoreGiven: Decimal | None = None
    scoredBy: Agent | Reference | None = None
    comment: str | None = None


class Session(Entity):
    """The time between a person's log-in and log-out."""

    user: Person | Reference | None = None
    client: SoftwareApplication | Reference | None = None
    startedAtTime: Time | None = None
    endedAtTime: Time | None = None
    duration: Duration | None = None


class LtiSession(Session):
    """A session that an LTI launch opens."""

    messageParameters: Mapping[str, Any] | None = None


class AggregateMeasure(Entity):
    """A sum over a person's use of something."""

    metric: str | None = None
    metricValue: Decimal | None = None
    maxMetricValue: Decimal | None = None
    startedAtTime: Time | None = None
    endedAtTime: Time | None = None


class AggregateMeasureCollection(Collection):
    """A list of such sums."""

    items: Sequence[AggregateMeasure | Reference] | None = None


class Comment(Entity):
    """What a person wrote about something."""

    commenter: Person | Reference | None = None
    commentedOn: Entity | Reference | None = None
    value: str | None = None


class Link(Entity):
    """A reference to something."""


class LtiLink(DigitalResource):
    """A link that launches an LTI tool."""

    messageType: str | None = None


class Query(Entity):
    """What a person searched for."""

    creator: Person | Reference | None = None
    searchTarget: Entity | Reference | None = None
    searchTerms: str | None = None


class SearchResponse(Entity):
    """What a search found."""

    searchProvider: SoftwareApplication | Reference | None = None
    searchTarget: Entity | Reference | None = None
    query: Query | Reference | None = None
    searchResultsItemCount: int | None = None


class Question(DigitalResource):
    """A question of a survey."""

    questionPosed: str | None = None


class DateTimeQuestion(Question):
    """A question for a time."""

    minDateTime: Time | None = None
    minLabel: str | None = None
    maxDateTime: Time | None = None
    maxLabel: str | None = None


class MultiselectQuestion(Question):
    """A question with several options."""

    points: int | None = None
    itemLabels: Sequence[str] | None = None
    itemValues: Sequence[str] | None = None


class OpenEndedQuestion(Question):
    """A question for free text."""


class RatingScaleQuestion(Question):
    """A question for a point on a scale."""

    scale: Scale | Reference | None = None


class Questionnaire(DigitalResourceCollection):
    """A list of questions to persons."""

    items: Sequence[QuestionnaireItem | Reference] | None = None


class QuestionnaireItem(DigitalResource):
    """One entry of a questionnaire."""

    question: Question | Reference | None = None
    categories: Sequence[str] | None = None
    weight: Decimal | None = None


class Scale(Entity):
    """A scale of ratings."""


class LikertScale(Scale):
    """A scale of agreement."""

    scalePoints: int | None = None
    itemLabels: Sequence[str] | None = None
    itemValues: Sequence[str] | None = None


class MultiselectScale(Scale):
    """A scale from which several points can be chosen."""

    scalePoints: int | None = None
    itemLabels: Sequence[str] | None = None
    itemValues: Sequence[str] | None = None
    isOrderedSelection: bool | None = None
    minSelections: int | None = None
    maxSelections: int | None = None


class NumericScale(Scale):
    """A scale of numbers."""

    minValue: Decimal | None = None
    minLabel: str | None = None
    maxValue: Decimal | None = None
    maxLabel: str | None = None
    step: Decimal | None = None


class Rating(Entity):
    """A person's rating of something."""

    rater: Person | Reference | None = None
    rated: Entity | Reference | None = None
    question: Question | Reference | None = None
    selections: Sequence[str] | None = None
    ratingComment: Comment | Reference | None = None


class DateTimeResponse(Response):
    """An answer that is a time."""

    dateTimeSelected: Time | None = None


class MultiselectResponse(Response):
    """An answer that is some of several options."""

    selections: Sequence[str] | None = None


class OpenEndedResponse(Response):
    """An answer in free text."""

    value: str | None = None


class RatingScaleResponse(Response):
    """An answer that is some points on a scale."""

    selections: Sequence[str] | None = None


class Survey(Collection):
    """Questionnaires that belong together."""

    items: Sequence[Questionnaire | Reference] | None = None


class SurveyInvitation(DigitalResource):
    """A request to take part in a survey."""

    rater: Person | Reference | None = None
    survey: Survey | Reference | None = None
    sentCount: int | None = None
    dateSent: Time | None = None


def _classes(base: type[Entity]) -> dict[str, type[Entity]]:
    classes = {base.__name__: base}
    for subclass in base.__subclasses__():
        classes |= _classes(subclass)
    return classes


ENTITY_CLASSES = _classes(Entity)
"""The class of each entity type."""

VALUE_CLASSES: dict[str, type[SystemIdentifier] | type[TextPositionSelector]] = {
    "SystemIdentifier": SystemIdentifier,
    "TextPositionSelector": TextPositionSelector,
}
"""The class of each type of objects that are no entities."""
