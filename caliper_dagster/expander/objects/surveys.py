"""Questionnaires: completed feedbacks and surveys with their answers, and choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caliper_dagster.expander.columns import group_by
from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.objects.rows import (
    WRITTEN_LATER,
    Found,
    Kind,
    Row,
    Source,
    number,
)


def feedbacks(source: Source, rows: Sequence[Row]) -> Found:
    """Completed feedbacks: ``id`` and ``items``, in their order; never whose it is.

    An item has ``id`` (of the question), ``name``, ``typ``, ``presentation`` (scale or options, as
    Moodle stores them), ``value`` (as stored: numbers of options count from 1), ``position``.
    """
    completed = source.by_id("feedback_completed", ("id",), [row.id for row in rows])
    values = source.database.records(
        "feedback_value", ("item", "completed", "value"), {"completed": completed}
    )
    items = source.by_id(
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


def surveys(source: Source, rows: Sequence[Row]) -> Found:
    """Answered surveys: ``items``, in the order of the answers.

    An item has ``id`` (of the question), ``text`` (name of the wording in Moodle's language files),
    ``answer1`` (actual) and ``answer2`` (preferred). Null where the answers are gone.
    """
    answers = source.database.records(
        "survey_answers",
        ("id", "userid", "survey", "question", "time", "answer1", "answer2"),
        {"userid": {row.user for row in rows if row.user}, "survey": map(_survey, rows)},
        conditional=("time",),
    )
    texts = source.by_id(
        "survey_questions", ("id", "text"), {answer["question"] for answer in answers}
    )
    own = group_by(sorted(answers, key=lambda answer: answer["id"]), "userid")
    records: list[Record | None] = []
    for row in rows:
        given = [
            answer
            for answer in own.get(row.user, [])
            if answer["survey"] == _survey(row) and answer["time"] <= row.time + WRITTEN_LATER
        ]
        newest = max((answer["time"] for answer in given), default=0)
        items = [_survey_item(answer, texts) for answer in given if answer["time"] == newest]
        records.append({"items": items} if items else None)
    return records


def _survey(row: Row) -> int:
    return number(row.other.get("surveyid")) or row.instance


def _survey_item(answer: Record, texts: Mapping[int, Record]) -> Record:
    return {
        "id": answer["question"],
        "text": texts.get(answer["question"], {}).get("text"),
        "answer1": answer["answer1"],
        "answer2": answer["answer2"],
    }


def choices(source: Source, rows: Sequence[Row]) -> Found:
    """Answers of choices: ``options``, the texts chosen, and ``id`` where the row has one."""
    chosen = [_options(row) for row in rows]
    texts = source.by_id(
        "choice_options", ("id", "text"), {id_ for options in chosen for id_ in options}
    )
    records: list[Record | None] = []
    for row, options in zip(rows, chosen, strict=True):
        found = [texts[id_]["text"] for id_ in options if id_ in texts]
        own = {"id": row.id} if row.table == "choice_answers" and row.id else {}
        records.append({**own, "options": found} if found else None)
    return records


def _options(row: Row) -> list[int]:
    stored = row.other.get("optionid")
    listed = list(stored.values()) if isinstance(stored, dict) else stored
    return [number(id_) for id_ in (listed if isinstance(listed, list) else [listed])]


def _first_option(row: Row) -> int:
    return next(iter(_options(row)), 0)


def _nothing(row: Row) -> int:
    del row
    return 0


_CHOICE = Kind("choice_answers", choices, _first_option, "choice_options")

KINDS: Mapping[str, Kind] = {
    "choice_answers": _CHOICE,
    "feedback_completed": Kind("feedback_completed", feedbacks),
}
EVENT_KINDS: Mapping[str, Kind] = {
    r"\mod_survey\event\response_submitted": Kind("survey_answers", surveys, _nothing),
    **{
        rf"\mod_choice\event\answer_{verb}": _CHOICE
        for verb in ("created", "submitted", "updated", "deleted")
    },
}
