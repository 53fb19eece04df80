"""SCORM packages: an attempt is a number in the tracks that the player sends.

Tracks are ``scorm_scoes_track`` up to Moodle 4.2; since 4.3 ``scorm_scoes_value`` with
``scorm_attempt`` and ``scorm_element``. Only the elements below are read, never learners' answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from caliper_dagster.expander.connection import LOG, Record
from caliper_dagster.expander.event_data import as_id, as_number
from caliper_dagster.expander.objects.grading_methods import GradingMethod, graded_attempt
from caliper_dagster.expander.objects.loader import (
    SECONDS_AFTER_LOG_ROW,
    FindGradedAttempt,
    LoadedRecords,
    LogReference,
    Lookup,
    ObjectLoader,
)
from caliper_dagster.expander.record_columns import group_by

LAUNCHED = r"\mod_scorm\event\sco_launched"
_DELETED = r"\mod_scorm\event\attempt_deleted"
_START = "x.start.time"
_MAX_SCORES = ("cmi.core.score.max", "cmi.score.max")
_RAW_SCORES = ("cmi.core.score.raw", "cmi.score.raw")
_STATUSES = ("cmi.core.lesson_status", "cmi.completion_status", "cmi.success_status")
_ELEMENTS = (
    _START, *_MAX_SCORES, *_RAW_SCORES, *_STATUSES,
)  # fmt: skip
_MAX_SECONDS_TO_FIRST_LAUNCH = 300
"""Seconds that may lie between the start of an attempt and its first launch."""
_METHODS = {
    0: GradingMethod.HIGHEST,
    1: GradingMethod.AVERAGE,
    2: GradingMethod.FIRST,
    3: GradingMethod.LAST,
}
"""By ``scorm.whatgrade``."""
_COMPLETED = ("completed", "passed")
_SCOS, _HIGHEST, _AVERAGE = 0, 1, 2
"""Values of ``scorm.grademethod``: how the scores of SCOs make that of an attempt. Else it is their
sum."""


class _Track(NamedTuple):
    user: int
    scorm: int
    attempt: int
    sco: int
    element: str
    value: str
    time: int


class Tracks:
    """Tracks and attempts of (SCORM package, user)."""

    def __init__(self, lookup: Lookup, pairs: Iterable[tuple[int, int]]) -> None:
        pairs = list(pairs)
        keys = {
            "userid": {user for _, user in pairs},
            "scormid": {scorm for scorm, _ in pairs},
        }
        has_values = lookup.database.has_table("scorm_scoes_value")
        tracks = list((_read_values if has_values else _read_tracks)(lookup, keys))
        self._tracks: dict[tuple[int, int, int], list[_Track]] = {}
        for track in tracks:
            self._tracks.setdefault((track.scorm, track.user, track.attempt), []).append(track)
        self._starts: dict[tuple[int, int], dict[int, int]] = {}
        for (scorm, user, attempt), own in self._tracks.items():
            self._starts.setdefault((scorm, user), {})[attempt] = min(map(_start, own))

    def attempt(self, scorm: int, user: int, time: int) -> int | None:
        """The newest attempt begun by a time."""
        starts = self._starts.get((scorm, user), {})
        return max((attempt for attempt, start in starts.items() if start <= time), default=None)

    def begun(self, scorm: int, user: int, time: int) -> list[int]:
        """The attempts begun by a time; where none was, the first one.

        Moodle overwrites tracks when a SCO is launched again, so an attempt may be older than its
        tracks.
        """
        starts = self._starts.get((scorm, user), {})
        return sorted(n for n, start in starts.items() if start <= time) or sorted(starts)[:1]

    def is_completed(self, scorm: int, user: int, attempt: int) -> bool:
        """Whether a SCO reports that an attempt is completed or passed."""
        return bool(self._completed(scorm, user, attempt))

    def _completed(self, scorm: int, user: int, attempt: int) -> set[int]:
        tracks = self._tracks.get((scorm, user, attempt), [])
        return {t.sco for t in tracks if t.element in _STATUSES and t.value in _COMPLETED}

    def score(self, scorm: int, user: int, attempt: int, method: int | None) -> float | None:
        """The score of an attempt, by ``scorm.grademethod``; None where no SCO reports one."""
        if method == _SCOS:
            return float(len(self._completed(scorm, user, attempt)))
        scores: dict[int, float] = {}
        for track in self._tracks.get((scorm, user, attempt), []):
            if track.element in _RAW_SCORES and (score := as_number(track.value)) is not None:
                scores[track.sco] = score
        if not scores:
            return None
        if method == _HIGHEST:
            return max(scores.values())
        total = sum(scores.values())
        return total / len(scores) if method == _AVERAGE else total

    def start(self, scorm: int, user: int, attempt: int) -> int | None:
        """The Unix time at which an attempt began; None without a track."""
        return self._starts.get((scorm, user), {}).get(attempt)

    def sco_of(self, scorm: int, user: int, attempt: int, row: LogReference) -> int | None:
        """The SCO whose element has the value that the row reports; None where none has it."""
        element, value = row.other.get("cmielement"), str(row.other.get("cmivalue"))
        sent = [t for t in self._tracks.get((scorm, user, attempt), []) if t.element == element]
        candidates = [t for t in sent if t.value == value] or sent
        scos = {track.sco for track in candidates}
        if len(scos) < 2:
            return next(iter(scos), None)
        return min(candidates, key=lambda track: (abs(track.time - row.time), track.sco)).sco

    def max_score(self, scorm: int, user: int, attempt: int, sco: int | None) -> float | None:
        """The maximum score that a SCO reports; None where it reports none."""
        for track in self._tracks.get((scorm, user, attempt), []):
            if track.sco == sco and track.element in _MAX_SCORES:
                return as_number(track.value)
        return None


def _start(track: _Track) -> int:
    if track.element == _START:
        return min(as_id(track.value) or track.time, track.time)
    return track.time


def _element_in(elements: Iterable[str]) -> str:
    """SQL for a set of elements, which are constants of this module."""
    return f"element IN ({', '.join(repr(element) for element in elements)})"


def _read_values(lookup: Lookup, keys: Mapping[str, set[int]]) -> Iterable[_Track]:
    attempts = {
        attempt["id"]: attempt
        for attempt in lookup.database.records(
            "scorm_attempt",
            ("id", "userid", "scormid", "attempt"),
            dict(keys),
            condition_columns=("attempt",),
        )
    }
    elements = {
        element["id"]: element["element"]
        for element in lookup.database.small_table(
            "scorm_element", ("id", "element"), _element_in(_ELEMENTS), "element"
        )
    }
    for value in lookup.database.records(
        "scorm_scoes_value",
        ("scoid", "attemptid", "elementid", "value", "timemodified"),
        {"attemptid": attempts, "elementid": elements},
    ):
        attempt = attempts[value["attemptid"]]
        yield _Track(
            attempt["userid"],
            attempt["scormid"],
            attempt["attempt"],
            value["scoid"],
            elements[value["elementid"]],
            value["value"] or "",
            value["timemodified"] or 0,
        )


def _read_tracks(lookup: Lookup, keys: Mapping[str, set[int]]) -> Iterable[_Track]:
    for track in lookup.database.records(
        "scorm_scoes_track",
        ("userid", "scormid", "attempt", "scoid", "element", "value", "timemodified"),
        dict(keys),
        _element_in(_ELEMENTS),
        ("element", "attempt"),
    ):
        yield _Track(
            track["userid"],
            track["scormid"],
            track["attempt"],
            track["scoid"],
            track["element"],
            track["value"] or "",
            track["timemodified"] or 0,
        )


def attempts(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """Attempts for which a SCO sent a track, or which were deleted.

    Records: ``attempt`` (its number), ``scoid`` (of the SCO that sent the track, None where that is
    uncertain) and ``scoremax`` (maximum score of that SCO, None where it reports none).
    """
    by_id = lookup.by_id(
        "scorm_attempt",
        ("id", "userid", "scormid", "attempt"),
        [as_id(row.other.get("attemptid")) for row in rows if _has_attempt_id(row)],
    )
    pairs = {(attempt["scormid"], attempt["userid"]) for attempt in by_id.values()}
    pairs |= {(_scorm_id(row), row.learner) for row in rows if row.learner}
    tracks = Tracks(lookup, pairs)
    return [_attempt(tracks, by_id, row) for row in rows]


def _attempt(tracks: Tracks, by_id: Mapping[int, Record], row: LogReference) -> Record | None:
    reference = as_id(row.other.get("attemptid"))
    scorm, user, attempt = _scorm_id(row), row.learner, reference
    if _has_attempt_id(row):
        if reference not in by_id:
            return None
        record = by_id[reference]
        scorm, user, attempt = record["scormid"], record["userid"], record["attempt"]
    if not attempt:
        return None
    sco = tracks.sco_of(scorm, user, attempt, row) if row.event != _DELETED else None
    return {
        "attempt": attempt,
        "scoid": sco,
        "scoremax": tracks.max_score(scorm, user, attempt, sco) if sco else None,
    }


def _has_attempt_id(row: LogReference) -> bool:
    """Whether ``attemptid`` is an id, as in rows about tracks since 4.3, and not a number."""
    return row.table == "scorm_scoes_value"


def _scorm_id(row: LogReference) -> int:
    # In rows about tracks, objectid is the id of the package.
    return row.instance or row.id


def _attempt_id(row: LogReference) -> int:
    return as_id(row.other.get("attemptid")) if _has_attempt_id(row) else 0


def launches(lookup: Lookup, rows: Sequence[LogReference]) -> LoadedRecords:
    """SCOs that a user launches: ``id``, ``title``, ``attempt``, ``first``.

    The attempt is the newest one begun at the launch, or begun by it; without one it is number 1.
    ``first`` is true for the first launch of the attempt: the log has no earlier launch of it, and
    the attempt did not begin more than 300 seconds before the row.
    """
    scos = lookup.by_id("scorm_scoes", ("id", "scorm", "title"), [row.id for row in rows])
    tracks = Tracks(
        lookup,
        {(scos[row.id]["scorm"], row.user) for row in rows if row.id in scos and row.user},
    )
    log = lookup.database.log.records(
        LOG,
        ("id", "userid", "contextinstanceid", "timecreated"),
        {
            "userid": {row.user for row in rows if row.user},
            "contextinstanceid": {as_id(row.module.get("id")) for row in rows},
        },
        # The index (userid, contextlevel, …) covers these columns.
        "contextlevel = 70 AND crud = 'r' AND eventname = :launched AND timecreated <= :end",
        launched=LAUNCHED,
        end=max(row.time for row in rows),
    )
    launched = group_by(log, "userid")
    records: list[Record | None] = []
    for row in rows:
        sco = scos.get(row.id)
        earlier = [
            launch["timecreated"]
            for launch in launched.get(row.user, [])
            if launch["contextinstanceid"] == row.module.get("id")
            and (launch["timecreated"], launch["id"]) < (row.time, row.log_id)
        ]
        records.append(sco and _launch(tracks, sco, row, earlier))
    return records


def _launch(tracks: Tracks, sco: Record, row: LogReference, earlier: list[int]) -> Record:
    record = {"id": sco["id"], "title": sco["title"]}
    if not row.user:
        return record
    scorm = sco["scorm"]

    def attempt(time: int) -> int:
        return tracks.attempt(scorm, row.user, time + SECONDS_AFTER_LOG_ROW) or 1

    current = attempt(row.time)
    start = tracks.start(scorm, row.user, current)
    first = (start is None or start >= row.time - _MAX_SECONDS_TO_FIRST_LAUNCH) and all(
        attempt(time) != current for time in earlier
    )
    return {**record, "attempt": current, "first": first}


def graded(lookup: Lookup, pairs: Iterable[tuple[int, int]]) -> FindGradedAttempt:
    """Finds the attempt that a grade comes from, by ``scorm.whatgrade``: its number.

    Attempts beyond ``scorm.maxattempt`` do not count. The last attempt is the last completed one,
    where one is completed.
    """
    pairs = list(pairs)
    tracks = Tracks(lookup, pairs)
    packages = lookup.by_id(
        "scorm", ("id", "whatgrade", "grademethod", "maxattempt"), {pair[0] for pair in pairs}
    )

    def find(scorm: int, user: int, time: int, _: object) -> Record | None:
        package = packages.get(scorm, {})
        limit = package.get("maxattempt") or 0
        attempts = [n for n in tracks.begun(scorm, user, time) if not limit or n <= limit]
        method = _METHODS.get(package.get("whatgrade") or 0, GradingMethod.HIGHEST)
        if method is GradingMethod.LAST:
            completed = [n for n in attempts if tracks.is_completed(scorm, user, n)]
            attempts = completed or attempts
        return graded_attempt(
            method,
            [
                (
                    {"table": "scorm_attempt", "attempt": attempt},
                    tracks.score(scorm, user, attempt, package.get("grademethod")),
                )
                for attempt in attempts
            ],
        )

    return find


_TRACK_TABLES = ("scorm_attempt", "scorm_element", "scorm_scoes_value", "scorm_scoes_track")
_TRACKED = ObjectLoader("scorm_attempt", attempts, _attempt_id, reads=_TRACK_TABLES)

LOADERS: Mapping[str, ObjectLoader] = {
    "scorm_scoes": ObjectLoader("scorm_scoes", launches, reads=_TRACK_TABLES),
    "scorm_scoes_value": _TRACKED,
    "scorm_scoes_track": _TRACKED,
}
EVENT_LOADERS: Mapping[str, ObjectLoader] = {_DELETED: _TRACKED}
