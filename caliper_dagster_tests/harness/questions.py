"""The queries of ``docs/data.md``, over events in memory."""

from __future__ import annotations

import re
from typing import Any

import duckdb
import pyarrow as pa

from caliper_dagster_tests.harness.paths import ROOT

_QUESTION = re.compile(r"\*\*([^*]+\?)\*\*(?:(?!\*\*).)*?```sql\n(.*?)```", re.DOTALL)
QUESTIONS: dict[str, str] = dict(_QUESTION.findall((ROOT / "docs" / "data.md").read_text("utf-8")))
"""Query by question."""


def answers(events: pa.Table, beginning: str) -> list[tuple[Any, ...]]:
    """The rows that the query of a question gives.

    Args:
        events: ``caliper_events``.
        beginning: how the question begins.
    """
    (query,) = (sql for question, sql in QUESTIONS.items() if question.startswith(beginning))
    with duckdb.connect() as connection:
        connection.register("all_events", events)
        connection.execute(
            "CREATE VIEW events AS FROM all_events WHERE outcome IN ('event', 'derived')"
        )
        return connection.execute(query).fetchall()
