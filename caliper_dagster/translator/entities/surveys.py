"""Feedback, survey and choice: the answers of a person, anonymous if the activity is."""

from __future__ import annotations

from caliper_dagster.caliper.entities import Attempt, MultiselectResponse, QuestionnaireItem
from caliper_dagster.translator.entities.activities import (
    activity_iri,
    activity_reference,
)
from caliper_dagster.translator.entities.grades import learner_attempt_iri
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.registry import (
    Mark,
    Record,
    Render,
    for_recipes,
    id_or,
    name_of,
    plain,
)


@for_recipes(personal_record=True)
def feedback_attempt(
    render: Render,
    objectid: int | None,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
    stand_in: Mark,
) -> Attempt:
    """A response to a feedback."""
    entries = f"{render.iris.site}/mod/feedback/show_entries.php"
    return Attempt(
        id=f"{entries}?id={cmid or 0}&showcompleted={id_or(objectid, stand_in)}",
        assignee=anonymous_or(render, anonymous, userid),
        assignable=activity_reference(render, cmid, module, "mod_feedback"),
    )


@for_recipes(personal_record=True)
def survey_attempt(
    render: Render,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
) -> Attempt:
    """A response to a survey, which a person gives once."""
    thing = activity_iri(render, cmid, module, "mod_survey")
    return Attempt(
        id=learner_attempt_iri(render, thing, userid),
        assignee=anonymous_or(render, anonymous, userid),
        assignable=activity_reference(render, cmid, module, "mod_survey"),
    )


@for_recipes(texts={"name": "institutional"})
def choice_question(
    render: Render, cmid: int | None, module: Record | None, component: str | None
) -> QuestionnaireItem:
    """The one question of a choice."""
    thing = activity_iri(render, cmid, module, component)
    return QuestionnaireItem(
        id=f"{thing}#question",
        name=name_of((module or {}).get("activity"), "name"),
        isPartOf=activity_reference(render, cmid, module, component),
    )


@for_recipes(personal_record=True, texts={"selections": "shared"})
def choice_response(
    render: Render,
    objectid: int | None,
    object: Record | None,
    actor: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    anonymous: int,
    log_mark: Mark,
) -> MultiselectResponse:
    """The options that were chosen."""
    thing = activity_iri(render, cmid, module, component)
    return MultiselectResponse(
        id=f"{thing}#answer-{id_or(objectid, log_mark)}-{log_mark}",
        attempt=Attempt(
            id=learner_attempt_iri(render, thing, actor),
            assignee=anonymous_or(render, anonymous, actor),
            assignable=activity_reference(render, cmid, module, component),
        ),
        selections=[
            option for text in (object or {}).get("options") or () if (option := plain(text))
        ]
        or None,
    )
