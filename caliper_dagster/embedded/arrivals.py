"""The events that the embedded event store has received."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec


class _Envelope(msgspec.Struct):
    """The events of an envelope, as they were sent."""

    data: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Event:
    """One stored event.

    Attributes:
        received: how often it was received.
        json: its content when it was last received.
    """

    id: str
    type: str
    action: str | None
    event_time: str | None
    received: int
    json: str


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Totals of the received envelopes and events.

    Attributes:
        envelopes: number of envelopes.
        bytes: their total size.
        events: number of events with different ids.
        received: events of all envelopes; more than ``events`` when some were received again.
        by_type: events with different ids by type, the most frequent type first.
        last_envelope_at: when the last envelope was received (ISO 8601, UTC); None without any.
    """

    envelopes: int
    bytes: int
    events: int
    received: int
    by_type: dict[str, int]
    last_envelope_at: str | None


def arrivals(db_path: str | Path) -> Arrivals:
    """Count what an event store has received, from its SQLite file."""
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
    """The events that were received last, newest first."""
    with closing(_reader(db_path)) as connection:
        rows = connection.execute(
            "SELECT id, type, action, event_time, received, envelope, place FROM events "
            "ORDER BY number DESC LIMIT ?",
            (limit,),
        ).fetchall()
        events: dict[int, list[msgspec.Raw]] = {}
        for envelope in {envelope for *_, envelope, _ in rows}:
            cursor = connection.execute("SELECT body FROM envelopes WHERE id = ?", (envelope,))
            events[envelope] = msgspec.json.decode(cursor.fetchone()[0], type=_Envelope).data
    return [
        Event(id_, type_, action, event_time, received, bytes(events[envelope][index]).decode())
        for id_, type_, action, event_time, received, envelope, index in rows
    ]


def _reader(db_path: str | Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{Path(db_path).resolve().as_uri()}?mode=ro", timeout=30, uri=True)
