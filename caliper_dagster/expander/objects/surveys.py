"""Questionnaires: completed feedbacks and surveys with their answers, and choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.event_data import as_id
from caliper_dagster.expander.objects.loader import (
    SECONDS_AFTER_LOG_ROW,
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectLoader,
)
from caliper_dagster.expander.record_columns import group_by


def feedbacks(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Completed feedbacks: ``id`` and ``items`` in their order; not the user.

    An item has ``id`` (of the question), ``name``, ``typ``, ``presentation`` (scale or options, as
    stored), ``value`` (as stored: options are numbered from 1) and ``position``.
    """
    completed = lookup.by_id("feedback_completed", ("id",), [row.id for row in rows])
    values = lookup.database.records(
        "feedback_value", ("item", "completed", "value"), {"completed": completed}
    )
    items = lookup.by_id(
        "feedback_item",
        ("id", "name", "typ", "presentation", "position"),
        {value["item"] for value in values},
    )
    by_completed = group_by(values, "completed")
    records = {
        id_: {
            "id": id_,
            "items": sorted(
                (
                    {**items[value["item"]], "value": value["value"]}
                    for value in by_completed.get(id_, [])
                    if value["item"] in items
                ),
                key=lambda item: (item["position"], item["id"]),
            ),
        }
        for id_ in completed
    }
    return [records.get(row.id) for row in rows]


def surveys(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Answered surveys: ``items``, in the order of the answers.

    An item has ``id`` (of the question), ``text`` (name of the wording in Moodle's language files),
    ``answer1`` (actual) and ``answer2`` (preferred). None where the answers were deleted.
    """
    answers = lookup.database.records(
        "survey_answers",
        ("id", "userid", "survey", "question", "time", "answer1", "answer2"),
        {"userid": {row.user for row in rows if row.user}, "survey": map(_survey, rows)},
        condition_columns=("time",),
    )
    texts = lookup.by_id(
        "survey_questions", ("id", "text"), {answer["question"] for answer in answers}
    )
    by_user = group_by(sorted(answers, key=lambda answer: answer["id"]), "userid")
    records: list[Record | None] = []
    for row in rows:
        by_then = [
            answer
            for answer in by_user.get(row.user, [])
            if answer["survey"] == _survey(row)
            and answer["time"] <= row.time + SECONDS_AFTER_LOG_ROW
        ]
        newest = max((answer["time"] for answer in by_then), default=0)
        items = [_survey_item(answer, texts) for answer in by_then if answer["time"] == newest]
        records.append({"items": items} if items else None)
    return records


def _survey(row: LogReference) -> int:
    return as_id(row.other.get("surveyid")) or row.instance


def _survey_item(answer: Record, texts: Mapping[int, Record]) -> Record:
    return {
        "id": answer["question"],
        "text": texts.get(answer["question"], {}).get("text"),
        "answer1": answer["answer1"],
        "answer2": answer["answer2"],
    }


def choices(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Answers of choices: ``options``, the chosen texts, and ``id`` where the row has one."""
    options_of_rows = [_options(row) for row in rows]
    texts = lookup.by_id(
        "choice_options", ("id", "text"), {id_ for options in options_of_rows for id_ in options}
    )
    records: list[Record | None] = []
    for row, options in zip(rows, options_of_rows, strict=True):
        option_texts = [texts[id_]["text"] for id_ in options if id_ in texts]
        answer_id = {"id": row.id} if row.table == "choice_answers" and row.id else {}
        records.append({**answer_id, "options": option_texts} if option_texts else None)
    return records


def _options(row: LogReference) -> list[int]:
    """Ids of the chosen options; event data holds one id, or a list or map of several."""
    value = row.other.get("optionid")
    ids = list(value.values()) if isinstance(value, dict) else value
    return [as_id(id_) for id_ in (ids if isinstance(ids, list) else [ids])]


def _first_option(row: LogReference) -> int:
    return next(iter(_options(row)), 0)


def _no_id(row: LogReference) -> int:
    del row
    return 0


_CHOICE = ObjectLoader(
    "choice_answers", choices, _first_option, "choice_options", ("choice_options",)
)

LOADERS: Mapping[str, ObjectLoader] = {
    "choice_answers": _CHOICE,
    "feedback_completed": ObjectLoader(
        "feedback_completed", feedbacks, reads=("feedback_value", "feedback_item")
    ),
}
EVENT_LOADERS: Mapping[str, ObjectLoader] = {
    r"\mod_survey\event\response_submitted": ObjectLoader(
        "survey_answers", surveys, _no_id, reads=("survey_questions",)
    ),
    **{
        rf"\mod_choice\event\answer_{verb}": _CHOICE
        for verb in ("created", "submitted", "updated", "deleted")
    },
}
