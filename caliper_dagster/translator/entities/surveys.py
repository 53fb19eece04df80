"""Feedback, survey and choice: what a person answered, when it may be known who."""

from __future__ import annotations

from caliper_dagster.translator.entities.activities import activity_iri
from caliper_dagster.translator.entities.grades import learner_attempt_iri
from caliper_dagster.translator.entities.people import anonymous_or
from caliper_dagster.translator.entities.registry import Entity, Record, Render, for_recipes


@for_recipes
def feedback_attempt(
    render: Render,
    objectid: int | None,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
) -> Entity:
    """A response to a feedback."""
    entries = f"{render.iris.site}/mod/feedback/show_entries.php"
    return {
        "id": f"{entries}?id={cmid}&showcompleted={objectid}",
        "type": "Attempt",
        "assignee": anonymous_or(render, anonymous, userid),
        "assignable": activity_iri(render, cmid, module, "mod_feedback"),
    }


@for_recipes
def survey_attempt(
    render: Render,
    userid: int | None,
    anonymous: int,
    cmid: int | None,
    module: Record | None,
) -> Entity:
    """A response to a survey, which a person gives once."""
    thing = activity_iri(render, cmid, module, "mod_survey")
    return {
        "id": learner_attempt_iri(render, thing, userid),
        "type": "Attempt",
        "assignee": anonymous_or(render, anonymous, userid),
        "assignable": thing,
    }


@for_recipes
def choice_question(
    render: Render, cmid: int | None, module: Record | None, component: str | None
) -> Entity:
    """The one question of a choice."""
    thing = activity_iri(render, cmid, module, component)
    return {
        "id": f"{thing}#question",
        "type": "QuestionnaireItem",
        "name": ((module or {}).get("activity") or {}).get("name"),
        "isPartOf": thing,
    }


@for_recipes
def choice_response(
    render: Render,
    objectid: int | None,
    object: Record | None,
    actor: int | None,
    cmid: int | None,
    module: Record | None,
    component: str | None,
    anonymous: int,
    log_mark: str | None,
) -> Entity:
    """The options that were chosen."""
    thing = activity_iri(render, cmid, module, component)
    return {
        "id": f"{thing}#answer-{objectid}-{log_mark}",
        "type": "MultiselectResponse",
        "attempt": {
            "id": learner_attempt_iri(render, thing, actor),
            "type": "Attempt",
            "assignee": anonymous_or(render, anonymous, actor),
            "assignable": thing,
        },
        "selections": (object or {}).get("options"),
    }
