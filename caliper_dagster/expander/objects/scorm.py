"""SCORM packages: attempts are numbers, kept in the tracks that the player sends.

Tracks are ``scorm_scoes_track`` up to 4.2; since 4.3 ``scorm_scoes_value`` with ``scorm_attempt``
and ``scorm_element``. Only the elements named here are read, never answers of learners.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from caliper_dagster.expander.columns import group_by
from caliper_dagster.expander.connection import Record
from caliper_dagster.expander.objects.rows import (
    WRITTEN_LATER,
    Found,
    Kind,
    Latest,
    Row,
    Source,
    number,
)

LAUNCHED = r"\mod_scorm\event\sco_launched"
_DELETED = r"\mod_scorm\event\attempt_deleted"
_START = "x.start.time"
_MOST = ("cmi.core.score.max", "cmi.score.max")
_ELEMENTS = (
    _START, *_MOST, "cmi.core.score.raw", "cmi.score.raw", "cmi.core.lesson_status",
    "cmi.completion_status", "cmi.success_status",
)  # fmt: skip
_FIRST_WITHIN = 300
"""Seconds between the start of an attempt and its first launch."""


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

    def __init__(self, source: Source, pairs: Iterable[tuple[int, int]]) -> None:
        pairs = list(pairs)
        keys = {
            "userid": {user for _, user in pairs},
            "scormid": {scorm for scorm, _ in pairs},
        }
        new = source.database.has_table("scorm_scoes_value")
        tracks = list((_values if new else _old_tracks)(source, keys))
        self._tracks: dict[tuple[int, int, int], list[_Track]] = {}
        for track in tracks:
            self._tracks.setdefault((track.scorm, track.user, track.attempt), []).append(track)
        self._starts: dict[tuple[int, int], dict[int, int]] = {}
        for (scorm, user, attempt), found in self._tracks.items():
            self._starts.setdefault((scorm, user), {})[attempt] = min(map(_began, found))

    def attempt(self, scorm: int, user: int, time: int) -> int | None:
        """The newest attempt that had begun by then."""
        starts = self._starts.get((scorm, user), {})
        return max((attempt for attempt, start in starts.items() if start <= time), default=None)

    def first(self, scorm: int, user: int) -> int | None:
        """The lowest number of an attempt."""
        return min(self._starts.get((scorm, user), {}), default=None)

    def start(self, scorm: int, user: int, attempt: int) -> int | None:
        """When an attempt began; None where it left no track."""
        return self._starts.get((scorm, user), {}).get(attempt)

    def sco_of(self, scorm: int, user: int, attempt: int, row: Row) -> int | None:
        """The SCO whose element has the value that the row reports."""
        element, value = row.other.get("cmielement"), str(row.other.get("cmivalue"))
        sent = [t for t in self._tracks.get((scorm, user, attempt), []) if t.element == element]
        same = [t for t in sent if t.value == value] or sent
        scos = {track.sco for track in same}
        if len(scos) < 2:
            return next(iter(scos), None)
        return min(same, key=lambda track: (abs(track.time - row.time), track.sco)).sco

    def most(self, scorm: int, user: int, attempt: int, sco: int | None) -> float | None:
        """The highest score that a SCO says can be reached in it."""
        for track in self._tracks.get((scorm, user, attempt), []):
            if track.sco == sco and track.element in _MOST:
                return _decimal(track.value)
        return None


def _began(track: _Track) -> int:
    if track.element == _START:
        return min(number(track.value) or track.time, track.time)
    return track.time


def _decimal(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _named(elements: Iterable[str]) -> str:
    """SQL for a set of the names above, which are constants."""
    return f"element IN ({', '.join(repr(element) for element in elements)})"


def _values(source: Source, keys: Mapping[str, set[int]]) -> Iterable[_Track]:
    attempts = {
        attempt["id"]: attempt
        for attempt in source.database.records(
            "scorm_attempt",
            ("id", "userid", "scormid", "attempt"),
            dict(keys),
            conditional=("attempt",),
        )
    }
    elements = {
        element["id"]: element["element"]
        for element in source.database.records(
            "scorm_element", ("id", "element"), None, _named(_ELEMENTS), ("element",)
        )
    }
    for value in source.database.records(
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


def _old_tracks(source: Source, keys: Mapping[str, set[int]]) -> Iterable[_Track]:
    for track in source.database.records(
        "scorm_scoes_track",
        ("userid", "scormid", "attempt", "scoid", "element", "value", "timemodified"),
        dict(keys),
        _named(_ELEMENTS),
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


def attempts(source: Source, rows: Sequence[Row]) -> Found:
    """Attempts of which something was sent or deleted.

    Records: ``attempt`` (its number), ``scoid`` (of the SCO that sent it, null where that is not
    certain) and ``scoremax`` (highest score of that SCO, null where it says none).
    """
    named = source.by_id(
        "scorm_attempt",
        ("id", "userid", "scormid", "attempt"),
        [number(row.other.get("attemptid")) for row in rows if _has_attempt_id(row)],
    )
    pairs = {(attempt["scormid"], attempt["userid"]) for attempt in named.values()}
    pairs |= {(_scorm(row), row.learner) for row in rows if row.learner}
    tracks = Tracks(source, pairs)
    return [_attempt(tracks, named, row) for row in rows]


def _attempt(tracks: Tracks, named: Mapping[int, Record], row: Row) -> Record | None:
    given = number(row.other.get("attemptid"))
    scorm, user, attempt = _scorm(row), row.learner, given
    if _has_attempt_id(row):
        if given not in named:
            return None
        record = named[given]
        scorm, user, attempt = record["scormid"], record["userid"], record["attempt"]
    if not attempt:
        return None
    sco = tracks.sco_of(scorm, user, attempt, row) if row.event != _DELETED else None
    return {
        "attempt": attempt,
        "scoid": sco,
        "scoremax": tracks.most(scorm, user, attempt, sco) if sco else None,
    }


def _has_attempt_id(row: Row) -> bool:
    """Since 4.3 rows about tracks name the attempt by its id; all others by its number."""
    return row.table == "scorm_scoes_value"


def _scorm(row: Row) -> int:
    # In rows about tracks, objectid is the id of the package.
    return row.instance or row.id


def _attempt_id(row: Row) -> int:
    return number(row.other.get("attemptid")) if _has_attempt_id(row) else 0


def launches(source: Source, rows: Sequence[Row]) -> Found:
    """SCOs that somebody launches: ``id``, ``title``, ``attempt``, ``first``.

    The attempt is the newest one that had begun at the launch (or begins with it); without any it
    is the user's first. ``first`` is true for its first launch: the log has no earlier one of the
    same attempt, and the attempt has no track from long before the row.
    """
    scos = source.by_id("scorm_scoes", ("id", "scorm", "title"), [row.id for row in rows])
    tracks = Tracks(
        source,
        {(scos[row.id]["scorm"], row.user) for row in rows if row.id in scos and row.user},
    )
    log = source.database.records(
        "logstore_standard_log",
        ("id", "userid", "contextinstanceid", "timecreated"),
        {
            "userid": {row.user for row in rows if row.user},
            "contextinstanceid": {number(row.module.get("id")) for row in rows},
        },
        # The columns of the index (userid, contextlevel, …).
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


def _launch(tracks: Tracks, sco: Record, row: Row, earlier: list[int]) -> Record:
    record = {"id": sco["id"], "title": sco["title"]}
    if not row.user:
        return record
    scorm = sco["scorm"]

    def attempt(time: int) -> int:
        return tracks.attempt(scorm, row.user, time + WRITTEN_LATER) or 1

    current = attempt(row.time)
    start = tracks.start(scorm, row.user, current)
    first = (start is None or start >= row.time - _FIRST_WITHIN) and all(
        attempt(time) != current for time in earlier
    )
    return {**record, "attempt": current, "first": first}


def latest(source: Source, wanted: Iterable[tuple[int, int]]) -> Latest:
    """The newest attempt that had begun at a time: its number.

    Tracks are overwritten when a SCO is launched again, so an attempt may be older than its tracks:
    where none seems to have begun, a grade still belongs to the first.
    """
    tracks = Tracks(source, wanted)

    def find(scorm: int, user: int, time: int) -> Record | None:
        attempt = tracks.attempt(scorm, user, time) or tracks.first(scorm, user)
        return {"table": "scorm_attempt", "attempt": attempt} if attempt else None

    return find


_SENT = Kind("scorm_attempt", attempts, _attempt_id)

KINDS: Mapping[str, Kind] = {
    "scorm_scoes": Kind("scorm_scoes", launches),
    "scorm_scoes_value": _SENT,
    "scorm_scoes_track": _SENT,
}
EVENT_KINDS: Mapping[str, Kind] = {_DELETED: _SENT}
