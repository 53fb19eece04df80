"""Derived events, which a row gives in addition to its own: one function per kind.

Each is called once for each distinct combination of the columns that its parameters name, as entity
functions are. A derived event shares actor, group, membership and session with the row's own event,
unless the site is the actor.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec.structs import replace

from caliper_dagster.caliper.entities import (
    AssessmentItem,
    AssignableDigitalResource,
    Attempt,
    DigitalResource,
    Entity,
    FillinBlankResponse,
    LtiLink,
    LtiSession,
    MultipleChoiceResponse,
    MultipleResponseResponse,
    MultiselectResponse,
    OpenEndedResponse,
    Person,
    Questionnaire,
    QuestionnaireItem,
    RatingScaleResponse,
    Reference,
    Response,
    Score,
    TrueFalseResponse,
)
from caliper_dagster.translator.entities.activities import (
    ACTIVITY_TEXTS,
    activity,
    activity_iri,
    activity_reference,
)
from caliper_dagster.translator.entities.communication import thread
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.quiz import attempt_iri, question_iri
from caliper_dagster.translator.entities.registry import (
    Mark,
    Record,
    Render,
    below,
    decimal,
    duration,
    id_or,
    name_of,
    plain,
    text,
)
from caliper_dagster.translator.entities.surveys import feedback_attempt, survey_attempt
from caliper_dagster.translator.entities.texts import (
    ClassOfText,
    Path,
    withholding_of_slots,
    without_texts,
)
from caliper_dagster.translator.entities.tools import (
    h5p_attempt,
    lti_tool,
)
from caliper_dagster.translator.rows import parameters


@dataclass(frozen=True, slots=True)
class DerivedEvent:
    """An event that a row gives in addition to its own.

    Attributes:
        child: tells it apart from the others of its row, such as ``item:3``; part of its id.
        event_type: Caliper 1.2 event type.
        action: Caliper 1.2 action.
        object: entity.
        generated: entity, or None.
        target: entity, or None.
        federated_session: LtiSession, or None.
        time: Unix time, or None for that of the row.
        by_site: whether the site acts, and not the row's actor.
    """

    child: str
    event_type: str
    action: str
    object: Entity
    generated: Entity | None = None
    target: Entity | None = None
    federated_session: Entity | None = None
    time: int | None = None
    by_site: bool = False

    def without_texts(self, paths: tuple[Path, ...]) -> DerivedEvent:
        """The event without the texts at some paths, which begin with the name of the slot."""
        return dataclasses.replace(
            self,
            object=without_texts(self.object, _below("object", paths)),
            generated=self.generated and without_texts(self.generated, _below("generated", paths)),
            target=self.target and without_texts(self.target, _below("target", paths)),
        )


def _below(slot: str, paths: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(path[1:] for path in paths if path[0] == slot)


@dataclass(frozen=True, slots=True)
class DerivedFunction:
    """A function that makes derived events, and the properties that all its events share.

    Attributes:
        function: takes :class:`Render` and the columns. Its events hold no text of a class that
            does not leave.
        columns: the columns that its parameters name.
        texts: class of each text that they can hold, as of an entity function, by slot and path.
    """

    function: Callable[..., list[DerivedEvent]]
    columns: tuple[str, ...]
    texts: Mapping[str, ClassOfText]


DERIVED_EVENTS: dict[str, DerivedFunction] = {}
"""Functions that a recipe may name, by name."""

F = TypeVar("F", bound=Callable[..., list[DerivedEvent]])


def derived(texts: Mapping[str, ClassOfText] | None = None) -> Callable[[F], F]:
    """Register a function for recipes; see :class:`DerivedFunction`."""

    def register(function: F) -> F:
        made = withholding_of_slots(function, texts or {})
        DERIVED_EVENTS[function.__name__] = DerivedFunction(
            made, parameters(function)[1:], texts or {}
        )
        return made

    return register


# Quiz items

_RESPONSES: Mapping[str, type[Response]] = {
    "multichoice": MultipleChoiceResponse,
    "calculatedmulti": MultipleChoiceResponse,
    "multichoiceset": MultipleResponseResponse,
    "truefalse": TrueFalseResponse,
    "shortanswer": FillinBlankResponse,
    "numerical": FillinBlankResponse,
    "calculated": FillinBlankResponse,
    "calculatedsimple": FillinBlankResponse,
    "gapselect": FillinBlankResponse,
    "ddwtos": FillinBlankResponse,
    "match": FillinBlankResponse,
    "randomsamatch": FillinBlankResponse,
    "multianswer": FillinBlankResponse,
}
_ANSWERED = ("complete", "needsgrading", "finished", "graded", "mangr", "manfinished")
_NOT_ANSWERED = ("gaveup", "mangaveup")


def _is_answered(state: str | None) -> bool:
    """Whether there is an answer, by the final state of a question attempt."""
    state = state or ""
    return state.startswith(_ANSWERED) and not state.startswith(_NOT_ANSWERED)


@derived(
    {
        "object.name": "institutional",
        "object.version": "institutional",
        "generated.value": "personal",
        "generated.values": "personal",
    }
)
def quiz_items(
    render: Render,
    objectid: int | None,
    object: Record | None,
    relateduserid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    stand_in: Mark,
) -> list[DerivedEvent]:
    """One event per question of a submitted attempt: Completed with a response, or Skipped."""
    record = object or {}
    quiz = activity_reference(render, cmid, module, "mod_quiz")
    learner = record.get("userid") or relateduserid
    attempt = Attempt(
        id=attempt_iri(render, id_or(objectid, stand_in)),
        assignee=anonymous_or(render, anonymous, learner),
        assignable=quiz,
        count=record.get("attempt"),
    )
    return [
        _quiz_item(render, item, attempt, quiz, record.get("timefinish"))
        for item in record.get("items") or ()
    ]


def _quiz_item(
    render: Render,
    item: Record,
    attempt: Attempt,
    quiz: DigitalResource | Reference,
    finished: int | None,
) -> DerivedEvent:
    answered = _is_answered(item.get("state"))
    entry = item.get("questionbankentryid")
    question = AssessmentItem(
        id=question_iri(render, item["questionid"]),
        name=name_of(item, "name"),
        isPartOf=quiz,
        maxScore=decimal(item.get("maxmark")),
        version=str(item["version"]) if item.get("version") else None,
        extensions={"questionBankEntryId": entry} if entry is not None else None,
    )
    return DerivedEvent(
        f"item:{item['slot']}",
        "AssessmentItemEvent",
        "Completed" if answered else "Skipped",
        question,
        _quiz_response(render, item, attempt) if answered else attempt,
        time=item.get("timecreated") or finished or None,
    )


def _quiz_response(render: Render, item: Record, attempt: Attempt) -> Response:
    iri = f"{attempt.id}#response-{item['slot']}"
    extensions = None
    if item.get("fraction") is not None and item.get("maxmark") is not None:
        extensions = {
            "scoreGiven": round(item["fraction"] * item["maxmark"], 5),
            "maxScore": float(item["maxmark"]),
        }
    cls = _RESPONSES.get(item.get("qtype") or "", Response)
    answer = text(item, "responsesummary")
    if answer and issubclass(cls, FillinBlankResponse | MultipleResponseResponse):
        return cls(id=iri, attempt=attempt, values=[answer], extensions=extensions)
    if answer and issubclass(cls, MultipleChoiceResponse | TrueFalseResponse):
        return cls(id=iri, attempt=attempt, value=answer, extensions=extensions)
    return cls(id=iri, attempt=attempt, extensions=extensions)


# Questionnaires

_FEEDBACK_RESPONSES: Mapping[str, type[Response]] = {
    "multichoice": MultiselectResponse,
    "multichoicerated": RatingScaleResponse,
    "textarea": OpenEndedResponse,
    "textfield": OpenEndedResponse,
    "numeric": OpenEndedResponse,
}
_OF_OPTIONS = frozenset({"multichoice", "multichoicerated"})
_OPTION = re.compile(r"[0-9]{1,3}")
_POINTS = re.compile(r"[0-9]{1,2}")


@derived(
    {
        "object.name": "institutional",
        "generated.value": "personal",
        "generated.selections": "shared",
    }
)
def feedback_items(
    render: Render,
    objectid: int | None,
    object: Record | None,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    stand_in: Mark,
) -> list[DerivedEvent]:
    """One event per answered item of a feedback."""
    thing = activity_iri(render, cmid, module, "mod_feedback")
    attempt = feedback_attempt(render, objectid, userid, anonymous, cmid, module, stand_in)
    return [
        _questionnaire_item(
            render,
            thing,
            attempt,
            number=item["id"],
            name=item.get("name"),
            response=_FEEDBACK_RESPONSES.get(item.get("typ") or "", Response),
            values=_answers(item),
        )
        for item in (object or {}).get("items") or ()
    ]


def _answers(item: Record) -> list[str]:
    """What was answered: the chosen options, or what was written.

    An option that is gone is told by its number. Nothing else counts as an option, so that no text
    of a learner becomes one.
    """
    value = str(item.get("value") or "")
    if item.get("typ") in _OF_OPTIONS:
        return _chosen(item) or [number for number in value.split("|") if _OPTION.fullmatch(number)]
    return [value]


def _chosen(item: Record) -> list[str]:
    """The options that were chosen: ``value`` holds their numbers, from 1, separated by ``|``."""
    options = _options(str(item.get("presentation") or ""))
    numbers = str(item.get("value") or "").split("|")
    return [
        options[int(number) - 1]
        for number in numbers
        if number.isdecimal() and 0 < int(number) <= len(options)
    ]


def _options(presentation: str) -> list[str]:
    """Options of a multiple choice item: ``r>>>>>one|two<<<<<1``, rated ones with ``4####one``."""
    text = presentation.partition(">>>>>")[2] or presentation
    text = text.partition("<<<<<")[0]
    return [part.rpartition("####")[2].strip() for part in text.split("|") if part.strip()]


@derived(
    {
        "object.name": "institutional",
        "generated.value": "personal",
        "generated.selections": "shared",
    }
)
def survey_items(
    render: Render,
    object: Record | None,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
) -> list[DerivedEvent]:
    """One event per answered question of a survey."""
    thing = activity_iri(render, cmid, module, "mod_survey")
    attempt = survey_attempt(render, userid, anonymous, cmid, module)
    return [
        _questionnaire_item(
            render,
            thing,
            attempt,
            number=item["id"],
            name=item.get("text"),
            **_survey_answer(item),
        )
        for item in (object or {}).get("items") or ()
    ]


def _survey_answer(item: Record) -> dict[str, Any]:
    """Points on a scale are small numbers; all other answers are text that the person wrote."""
    answers = [str(item[key]) for key in ("answer1", "answer2") if item.get(key)]
    rated = all(_POINTS.fullmatch(value) for value in answers)
    return {"response": RatingScaleResponse if rated else OpenEndedResponse, "values": answers}


def _questionnaire_item(
    render: Render,
    thing: str,
    attempt: Attempt,
    *,
    number: int,
    name: str | None,
    response: type[Response],
    values: list[str],
) -> DerivedEvent:
    iri = f"{attempt.id}{'-' if '#' in attempt.id else '#'}response-{number}"
    answer = Response(id=iri, attempt=attempt)
    if issubclass(response, MultiselectResponse | RatingScaleResponse):
        selections = [text for value in values if (text := plain(value))] or None
        answer = response(id=iri, attempt=attempt, selections=selections)
    elif issubclass(response, OpenEndedResponse):
        value = values[0] or None
        # Without its value, 1EdTech's caliper-python refuses an OpenEndedResponse.
        answer = response(id=iri, attempt=attempt, value=value) if value else answer
    return DerivedEvent(
        f"value:{number}",
        "QuestionnaireItemEvent",
        "Completed",
        QuestionnaireItem(
            id=f"{thing}#item-{number}",
            name=plain(name),
            isPartOf=render.reference(Questionnaire, thing),
        ),
        answer,
    )


# H5P


@derived(below("object.assignable", ACTIVITY_TEXTS))
def h5p_grade(
    render: Render,
    object: Record | None,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    courseid: int | None,
    log_mark: Mark,
) -> list[DerivedEvent]:
    """The score that the content reported."""
    record = object or {}
    if record.get("rawscore") is None or not record.get("maxscore"):
        return []
    attempt = h5p_attempt(render, object, userid, anonymous, cmid, module, log_mark)
    graded = replace(
        attempt, assignable=activity(render, cmid, module, "mod_h5pactivity", courseid)
    )
    score = Score(
        id=f"{attempt.id}#score",
        attempt=render.reference(Attempt, attempt.id),
        maxScore=decimal(record["maxscore"]),
        scoreGiven=decimal(record["rawscore"]),
        scoredBy=render.site_reference(),
    )
    return [DerivedEvent("score", "GradeEvent", "Graded", graded, score, by_site=True)]


@derived()
def h5p_items(
    render: Render,
    object: Record | None,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    log_mark: Mark,
) -> list[DerivedEvent]:
    """One event per interaction of the attempt."""
    thing = activity_iri(render, cmid, module, "mod_h5pactivity")
    attempt = h5p_attempt(render, object, userid, anonymous, cmid, module, log_mark)
    return [
        _h5p_item(render, result, attempt, thing) for result in (object or {}).get("results") or ()
    ]


_SUBCONTENT = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _h5p_item(render: Render, result: Record, attempt: Attempt, thing: str) -> DerivedEvent:
    sent = result.get("subcontent")  # by the learner's browser: it may be any text
    part = sent if isinstance(sent, str) and _SUBCONTENT.fullmatch(sent) else result["id"]
    extensions = None
    if result.get("rawscore") is not None and result.get("maxscore"):
        extensions = {
            "scoreGiven": float(result["rawscore"]),
            "maxScore": float(result["maxscore"]),
        }
    response = Response(
        id=f"{attempt.id}#response-{result['id']}",
        attempt=attempt,
        duration=duration(result.get("duration")),
        extensions=extensions,
    )
    item = AssessmentItem(
        id=f"{thing}#content-{render.iris.quoted(str(part))}",
        isPartOf=render.reference(AssignableDigitalResource, thing),
    )
    return DerivedEvent(f"item:{result['id']}", "AssessmentItemEvent", "Completed", item, response)


# Forum, external tool, SCORM


@derived({"object.name": "personal"})
def thread_created(
    render: Render,
    objectid: int | None,
    object: Record | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    stand_in: Mark,
) -> list[DerivedEvent]:
    """The discussion that a first post opens."""
    name = name_of(object, "name")
    discussion = thread(render, id_or(objectid, stand_in), name, cmid, module, component)
    return [DerivedEvent("thread", "ResourceManagementEvent", "Created", discussion)]


@derived({"object.name": "institutional"})
def lti_launch(
    render: Render,
    cmid: int | None,
    module: Record | None,
    actor: int | None,
    id: int,
) -> list[DerivedEvent]:
    """The launch of an external tool: viewing its activity launches it.

    A launch must have an LtiSession (1.2, Tool Launch Profile); nothing secret is put into it.
    """
    tool = lti_tool(module)
    if tool is None or not actor:
        return []
    link = LtiLink(
        id=activity_iri(render, cmid, module, "mod_lti"),
        messageType="LtiResourceLinkRequest",
    )
    session = LtiSession(
        id=render.iris.uuid(f"lti-session:{id}"),
        user=render.reference(Person, render.iris.user(actor)),
    )
    return [
        DerivedEvent(
            "launch",
            "ToolLaunchEvent",
            "Launched",
            tool,
            target=link,
            federated_session=session,
        )
    ]
