"""What has arrived at the embedded event store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec


class _Sent(msgspec.Struct):
    """The events of an envelope, as they were sent."""

    data: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Event:
    """One stored event.

    Attributes:
        received: how often it came.
        json: as it came last.
    """

    id: str
    type: str
    action: str | None
    event_time: str | None
    received: int
    json: str


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What has arrived.

    Attributes:
        events: different events, by id.
        received: events over all envelopes; more than ``events`` when some came again.
        by_type: different events of each type, the most frequent first.
    """

    envelopes: int
    bytes: int
    events: int
    received: int
    by_type: dict[str, int]
    last_envelope_at: str | None


def arrivals(db_path: str | Path) -> Arrivals:
    """Count what the event store that keeps this SQLite file has received."""
    with closing(_reader(db_path)) as connection:
        by_type = connection.execute(
            "SELECT type, count(*) FROM events GROUP BY type ORDER BY 2 DESC, 1"
        ).fetchall()
        envelopes, size, received, last = connection.execute(
            "SELECT count(*), coalesce(sum(bytes), 0), coalesce(sum(events), 0), max(received_at) "
            "FROM envelopes"
        ).fetchone()
    return Arrivals(
        envelopes=envelopes,
        bytes=size,
        events=sum(count for _, count in by_type),
        received=received,
        by_type=dict(by_type),
        last_envelope_at=last,
    )


def last_events(db_path: str | Path, limit: int) -> list[Event]:
    """The events that came last, newest first."""
    with closing(_reader(db_path)) as connection:
        rows = connection.execute(
            "SELECT id, type, action, event_time, received, envelope, place FROM events "
            "ORDER BY number DESC LIMIT ?",
            (limit,),
        ).fetchall()
        sent: dict[int, list[msgspec.Raw]] = {}
        for envelope in {envelope for *_, envelope, _ in rows}:
            found = connection.execute("SELECT body FROM envelopes WHERE id = ?", (envelope,))
            sent[envelope] = msgspec.json.decode(found.fetchone()[0], type=_Sent).data
    return [
        Event(id_, kind, action, moment, received, bytes(sent[envelope][place]).decode())
        for id_, kind, action, moment, received, envelope, place in rows
    ]


def _reader(db_path: str | Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{Path(db_path).resolve().as_uri()}?mode=ro", timeout=30, uri=True)
