"""H5P activities: the attempt that a received statement belongs to.

The row holds the statement but not the attempt that was made of it; that is found by user, activity
and time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caliper_dagster.expander.columns import group_by
from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.objects.rows import SAME_ACT, Found, Kind, Latest, Row, Source

_ATTEMPT = (
    "id", "h5pactivityid", "userid", "attempt", "timecreated", "timemodified", "duration",
    "rawscore", "maxscore", "scaled", "completion", "success",
)  # fmt: skip
_RESULT = (
    "id", "attemptid", "subcontent", "interactiontype", "response", "rawscore", "maxscore",
    "duration", "completion",
)  # fmt: skip


class _Attempts:
    """Attempts of (activity, user), oldest first."""

    def __init__(self, source: Source, pairs: Iterable[tuple[int, int]]) -> None:
        pairs = list(pairs)
        records = source.database.records(
            "h5pactivity_attempts",
            _ATTEMPT,
            {
                "userid": {user for _, user in pairs},
                "h5pactivityid": {activity for activity, _ in pairs},
            },
            conditional=("timecreated", "timemodified"),
        )
        self._found: dict[tuple[int, int], list[Record]] = {}
        for record in sorted(records, key=lambda row: (row["timecreated"], row["id"])):
            pair = (record.pop("h5pactivityid"), record["userid"])
            self._found.setdefault(pair, []).append(record)

    def newest(self, activity: int, user: int, time: int) -> Record | None:
        """The newest one that had been made by then."""
        made = [row for row in self._found.get((activity, user), []) if row["timecreated"] <= time]
        return made[-1] if made else None


def statements(source: Source, rows: Sequence[Row]) -> Found:
    """Attempts with ``results``: what each part of the content reported.

    Records: ``id``, ``attempt``, ``userid``, ``timecreated``, ``timemodified``, ``duration``,
    ``rawscore``, ``maxscore``, ``scaled``, ``completion``, ``success``, ``results``; a result has
    ``id``, ``subcontent``, ``interactiontype``, ``response``, ``rawscore``, ``maxscore``,
    ``duration``, ``completion``. Null where the attempt was deleted since.
    """
    attempts = _Attempts(source, {(_activity(row), row.user) for row in rows if row.user})
    chosen = [_attempt(attempts, row) for row in rows]
    results = group_by(
        source.database.records(
            "h5pactivity_attempts_results",
            _RESULT,
            {"attemptid": {attempt["id"] for attempt in chosen if attempt}},
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
        for attempt in chosen
        if attempt
    }
    return [attempt and records[attempt["id"]] for attempt in chosen]


def _activity(row: Row) -> int:
    return row.instance or row.id


def _attempt(attempts: _Attempts, row: Row) -> Record | None:
    attempt = attempts.newest(_activity(row), row.user, row.time) if row.user else None
    # A statement makes an attempt or adds to it, some moments before its row.
    if (
        attempt is None
        or row.time - max(attempt["timecreated"], attempt["timemodified"]) > SAME_ACT
    ):
        return None
    return attempt


def latest(source: Source, wanted: Iterable[tuple[int, int]]) -> Latest:
    """The newest attempt that had been made at a time."""
    attempts = _Attempts(source, wanted)

    def find(activity: int, user: int, time: int) -> Record | None:
        attempt = attempts.newest(activity, user, time)
        return attempt and {"table": "h5pactivity_attempts", **attempt}

    return find


EVENT_KINDS: Mapping[str, Kind] = {
    r"\mod_h5pactivity\event\statement_received": Kind(
        "h5pactivity_attempts", statements, lambda _: 0
    ),
}
