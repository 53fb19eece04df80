"""H5P activities: the attempt that a received statement belongs to.

The row does not name the attempt that Moodle made from the statement: the attempt is found by user,
activity and time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.objects.grading_methods import GradingMethod, graded_attempt
from caliper_dagster.expander.objects.loader import (
    SECONDS_BEFORE_LOG_ROW,
    FindGradedAttempt,
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectLoader,
)
from caliper_dagster.expander.record_columns import group_by

_ATTEMPT = (
    "id", "h5pactivityid", "userid", "attempt", "timecreated", "timemodified", "duration",
    "rawscore", "maxscore", "scaled", "completion", "success",
)  # fmt: skip
_RESULT = (
    "id", "attemptid", "subcontent", "interactiontype", "response", "rawscore", "maxscore",
    "duration", "completion",
)  # fmt: skip

_METHODS = {
    0: GradingMethod.MANUAL,
    1: GradingMethod.HIGHEST,
    2: GradingMethod.AVERAGE,
    3: GradingMethod.LAST,
    4: GradingMethod.FIRST,
}
"""By ``h5pactivity.grademethod``."""


class _Attempts:
    """Attempts of (activity, user), oldest first."""

    def __init__(self, lookup: Lookup, pairs: Iterable[tuple[int, int]]) -> None:
        pairs = list(pairs)
        records = lookup.database.records(
            "h5pactivity_attempts",
            _ATTEMPT,
            {
                "userid": {user for _, user in pairs},
                "h5pactivityid": {activity for activity, _ in pairs},
            },
            condition_columns=("timecreated", "timemodified"),
        )
        self._by_pair: dict[tuple[int, int], list[Record]] = {}
        for record in sorted(records, key=lambda row: (row["timecreated"], row["id"])):
            pair = (record.pop("h5pactivityid"), record["userid"])
            self._by_pair.setdefault(pair, []).append(record)

    def made(self, activity: int, user: int, time: int) -> list[Record]:
        """The attempts made by a time, oldest first."""
        return [
            row for row in self._by_pair.get((activity, user), []) if row["timecreated"] <= time
        ]

    def newest(self, activity: int, user: int, time: int) -> Record | None:
        """The newest attempt made by a time."""
        made = self.made(activity, user, time)
        return made[-1] if made else None


def statements(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Attempts with ``results``: the result of each part of the content.

    Records: ``id``, ``attempt``, ``userid``, ``timecreated``, ``timemodified``, ``duration``,
    ``rawscore``, ``maxscore``, ``scaled``, ``completion``, ``success``, ``results``; a result has
    ``id``, ``subcontent``, ``interactiontype``, ``response``, ``rawscore``, ``maxscore``,
    ``duration``, ``completion``. None where the attempt was deleted since.
    """
    attempts = _Attempts(lookup, {(_activity(row), row.user) for row in rows if row.user})
    own = [_attempt(attempts, row) for row in rows]
    results = group_by(
        lookup.database.records(
            "h5pactivity_attempts_results",
            _RESULT,
            {"attemptid": {attempt["id"] for attempt in own if attempt}},
        ),
        "attemptid",
    )
    records = {
        attempt["id"]: {
            **attempt,
            "results": [
                {name: value for name, value in result.items() if name != "attemptid"}
                for result in sorted(results.get(attempt["id"], []), key=lambda row: row["id"])
            ],
        }
        for attempt in own
        if attempt
    }
    return [attempt and records[attempt["id"]] for attempt in own]


def _activity(row: LogReference) -> int:
    return row.instance or row.id


def _attempt(attempts: _Attempts, row: LogReference) -> Record | None:
    attempt = attempts.newest(_activity(row), row.user, row.time) if row.user else None
    # A statement creates or extends an attempt moments before its log row is written.
    if (
        attempt is None
        or row.time - max(attempt["timecreated"], attempt["timemodified"]) > SECONDS_BEFORE_LOG_ROW
    ):
        return None
    return attempt


def graded(lookup: Lookup, pairs: Iterable[tuple[int, int]]) -> FindGradedAttempt:
    """Finds the attempt that a grade comes from, by ``h5pactivity.grademethod``.

    Attempts that were not completed do not count.
    """
    pairs = list(pairs)
    attempts = _Attempts(lookup, pairs)
    activities = lookup.by_id("h5pactivity", ("id", "grademethod"), {pair[0] for pair in pairs})

    def find(activity: int, user: int, time: int, _: object) -> Record | None:
        method = _METHODS.get(activities.get(activity, {}).get("grademethod", 1))
        attempt = graded_attempt(
            method or GradingMethod.HIGHEST,
            [
                (attempt, attempt["scaled"])
                for attempt in attempts.made(activity, user, time)
                if attempt["completion"] == 1
            ],
        )
        return attempt and {"table": "h5pactivity_attempts", **attempt}

    return find


EVENT_LOADERS: Mapping[str, ObjectLoader] = {
    r"\mod_h5pactivity\event\statement_received": ObjectLoader(
        "h5pactivity_attempts",
        statements,
        lambda _: 0,
        reads=("h5pactivity_attempts_results",),
    ),
}
