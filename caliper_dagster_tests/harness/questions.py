"""The queries of ``docs/data.md``, over the stored hours of ``caliper_events``."""

from __future__ import annotations

import re
from typing import Any

import duckdb

from caliper_dagster_tests.harness.paths import ROOT

_DOCUMENT = (ROOT / "docs" / "data.md").read_text("utf-8")
_QUESTION = re.compile(r"\*\*([^*]+\?)\*\*(?:(?!\*\*).)*?```sql\n(.*?)```", re.DOTALL)
(_VIEW,) = re.findall(r"```sql\n(CREATE VIEW events.*?)```", _DOCUMENT, re.DOTALL)
QUESTIONS: dict[str, str] = dict(_QUESTION.findall(_DOCUMENT))
"""Query by question."""

_SCORE = (
    "CASE WHEN json ->> '$.generated.type' = 'Score' "
    "THEN CAST(json ->> '$.generated.{}' AS DOUBLE) END"
)
_COLUMNS = {
    "actor_id": "json ->> '$.actor.id'",
    "object_id": "json ->> '$.object.id'",
    "object_type": "json ->> '$.object.type'",
    "group_id": "json ->> '$.group.id'",
    "generated_score": _SCORE.format("scoreGiven"),
    "generated_max_score": _SCORE.format("maxScore"),
}
"""What the columns beside the JSON stand for."""


def question(beginning: str) -> str:
    """The query of the only question that begins so."""
    (query,) = (sql for text, sql in QUESTIONS.items() if text.startswith(beginning))
    return query


def rows(storage: str, query: str) -> list[tuple[Any, ...]]:
    """The rows that a query gives over the documented view of the events.

    Args:
        storage: the folder in which the hours are stored.
        query: a query of ``events``.
    """
    with duckdb.connect() as connection:
        connection.execute(_VIEW.replace("<storage>", storage))
        return connection.execute(query).fetchall()


def answers(storage: str, beginning: str) -> list[tuple[Any, ...]]:
    """The rows that the query of a question gives."""
    return rows(storage, question(beginning))


def columns_against_events(storage: str) -> dict[str, tuple[int, int]]:
    """For each column beside the JSON: events that have it, and those whose JSON says otherwise."""
    counts = (
        f"count({name}), count_if({name} IS DISTINCT FROM {value})"
        for name, value in _COLUMNS.items()
    )
    (numbers,) = rows(storage, f"SELECT {', '.join(counts)} FROM events")
    return dict(zip(_COLUMNS, zip(numbers[::2], numbers[1::2], strict=True), strict=True))
