"""Export all that is stored, and was sent, about a person: a folder of JSON and a readable index.

What is stored about others stays out: of rows that name the person, the records of other persons;
of rows of others that mention the person, all but the values that do. Rows are written as they are
found, so memory holds a part of one hour.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.config.connections import open_ledger, open_moodle, open_store
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import EXPANDED_LOG, Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.persons import Persons
from caliper_dagster.delivery.persons.stored import (
    EventTables,
    SiteFrames,
    accounts_of_hours,
    event_ids,
    event_rows,
    in_hours,
    mentions,
    tables,
)
from caliper_dagster.expander import LIFECYCLE
from caliper_dagster.expander.erasure import USER_IDS, accounts

if TYPE_CHECKING:
    from caliper_dagster.emitter import Ledger

_RECORDS = tuple(
    column.name for column in EXPANDED_LOG.columns if pa.types.is_dictionary(column.type)
)
_JSON_COLUMNS = frozenset(_RECORDS[_RECORDS.index("origin") + 1 :])
_PERSONS = {
    "user": ("userid", ("user", "user_membership")),
    "realuser": ("realuserid", ("realuser", "realuser_membership")),
    "relateduser": ("relateduserid", ("relateduser", "relateduser_membership")),
}
"""The records of each of the three persons of a row, with the column that names the person."""


@dataclass
class Exported:
    """What was written.

    Attributes:
        folder: where.
        rows: log rows that name the person.
        other_rows: log rows of others that mention the person.
        events: events about the person, by table.
        sent: answers of event stores about these events, by event store.
        lifecycle: lifecycle rows that name the person.
    """

    folder: Path
    rows: int = 0
    other_rows: int = 0
    events: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    lifecycle: int = 0


def export(settings: Settings, user: int, folder: Path) -> Exported:
    """Write what is stored, and was sent, about a person.

    Args:
        settings: of the site.
        user: the user id.
        folder: a new or empty folder; only its owner may enter it.

    Raises:
        ConfigurationError: the folder is not empty or cannot be written to, or Moodle's database,
            the storage or the ledger cannot be used.
        StorageError: a stored hour cannot be read, or the ledger failed.
    """
    with open_moodle(settings) as database:
        persons = Persons(frozenset({user}), accounts(database, [user]))
    _make(folder)
    store = open_store(settings)
    frames = SiteFrames.of(settings, store)
    persons = persons.with_accounts(accounts_of_hours(store, frames, persons))
    ledger = open_ledger(settings)
    with ExitStack() as opened:
        events = EventTables(settings, frames)
        work = _Export(store, frames, events, persons, Exported(folder), opened)
        if ledger.exists():
            opened.enter_context(ledger)
            work.run(ledger, settings.identity().site_id)
        else:
            work.run(None, "")
    _write_index(work.exported, user, settings)
    return work.exported


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        is_used = any(folder.iterdir())
    except OSError as error:
        raise ConfigurationError(
            f"--output cannot be written to: {folder} ({error.strerror})."
        ) from None
    if is_used:
        raise ConfigurationError(f"--output must be a new or empty folder: {folder} is not empty.")


class _JsonArray:
    """A file with an array of JSON, an item on each line; only its owner may read it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._separator = b"[\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._separator == b"[\n":
            self._file.write(b"[")
        self._file.write(b"\n]\n")
        self._file.close()

    def write(self, item: object) -> None:
        """Write the next item."""
        self._file.write(self._separator + orjson.dumps(item))
        self._separator = b",\n"


class _Export:
    """One export."""

    def __init__(
        self,
        store: PartitionStore,
        frames: SiteFrames,
        event_tables: EventTables,
        persons: Persons,
        exported: Exported,
        opened: ExitStack,
    ) -> None:
        self._store, self._frames, self._persons = store, frames, persons
        self._event_tables = event_tables
        self.exported = exported
        self._opened = opened
        self._files: dict[str, _JsonArray] = {}

    def run(self, ledger: Ledger | None, site: str) -> None:
        for hours in self._frames.hours_in_parts():
            events = {hour: ids for hour in hours if (ids := self._hour(hour))}
            if ledger is not None:
                for answer in ledger.erasure(site).answers(events):
                    self._count(self.exported.sent, answer.event_store)
                    self._file(f"sent/{_file_name(answer.event_store)}").write(
                        {
                            "event_store": answer.event_store,
                            "event_id": answer.event_id,
                            "outcome": answer.outcome,
                            "answered_at": answer.answered,
                            "hour": str(answer.hour),
                            "envelope": answer.batch_id,
                            "error": answer.error,
                        }
                    )
        for row in self._lifecycle_rows():
            self.exported.lifecycle += 1
            self._file(LIFECYCLE).write(row)

    def _hour(self, hour: Hour) -> set[str]:
        """Write an hour; returns the ids of its events about the person."""
        own_ids, other_ids = set[int](), set[int]()
        for frame in in_hours(self._frames, self._frames.logs, hour):
            for log in tables(self._store, frame, hour):
                own, others, cleaned = mentions(log, self._persons)
                own_ids.update(log["id"].filter(own).to_pylist())
                other_ids.update(log["id"].filter(others).to_pylist())
                for row in self._own(log.filter(own)):
                    self._file(frame.name).write(row)
                for row in _mentions(log.filter(others), cleaned.filter(others)):
                    self._file(f"{frame.name}_of_others").write(row)
        other_ids -= own_ids
        self.exported.rows += len(own_ids)
        self.exported.other_rows += len(other_ids)
        found: set[str] = set()
        for frame in in_hours(self._frames, self._frames.events, hour):
            found.update(self._events(frame, hour, own_ids | other_ids))
        return found

    def _events(self, frame: Frame, hour: Hour, log_ids: set[int]) -> Iterator[str]:
        persons = self._event_tables.named_in(frame, hour, self._persons)
        for table in tables(self._store, frame, hour, _EVENT_COLUMNS):
            rows = event_rows(table, log_ids, persons)
            chosen = table.filter(rows)
            for row in chosen.filter(pc.is_valid(chosen["json"])).to_pylist():
                self._count(self.exported.events, frame.name)
                event = orjson.loads(row.pop("json"))
                self._file(f"events/{frame.name}").write({**row, "event": event})
            yield from event_ids(table, rows)

    def _own(self, log: pa.Table) -> Iterator[dict[str, Any]]:
        """Rows that name the person, without the records of other persons."""
        for row in log.to_pylist():
            for id_column, names in _PERSONS.values():
                if row[id_column] not in self._persons.ids:
                    row.update((name, None) for name in names if name in row)
            if not any(row[name] in self._persons.ids for name in USER_IDS[:2]):
                row["ip"] = None
            yield {name: _decoded(name, value) for name, value in row.items()}

    def _lifecycle_rows(self) -> Iterator[dict[str, Any]]:
        stored = self._store.id_range_tables(LIFECYCLE)
        for after, to in stored.ranges():
            table = stored.read(after, to)
            found = self._persons.has_id(table["userid"])
            for name in USER_IDS[1:]:
                found = pc.or_(found, self._persons.has_id(table[name]))
            yield from table.filter(found).to_pylist()

    def _file(self, name: str) -> _JsonArray:
        if name not in self._files:
            path = self.exported.folder / f"{name}.json"
            self._files[name] = self._opened.enter_context(_JsonArray(path))
        return self._files[name]

    @staticmethod
    def _count(counts: dict[str, int], name: str) -> None:
        counts[name] = counts.get(name, 0) + 1


_EVENT_COLUMNS = ("log_id", "event_id", "event_name", "outcome", "json")


def _mentions(log: pa.Table, cleaned: pa.Table) -> Iterator[dict[str, Any]]:
    """Of rows of others, which row it is and the values that mention the person."""
    for row, without in zip(log.to_pylist(), cleaned.to_pylist(), strict=True):
        changed = {name: value for name, value in row.items() if without[name] != value}
        yield {
            "id": row["id"],
            "eventname": row["eventname"],
            "timecreated": row["timecreated"],
            **{name: _decoded(name, value) for name, value in changed.items()},
        }


def _decoded(name: str, value: Any) -> Any:  # noqa: ANN401 - any value of a row
    if name in _JSON_COLUMNS and isinstance(value, str):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value  # event data as PHP writes it
    return value


def _file_name(event_store: str) -> str:
    """A file name for an event store, which may be known by its address."""
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in event_store.partition("://")[2])
    return name or "".join(c if c.isalnum() or c in "-_." else "_" for c in event_store)


def _write_index(exported: Exported, user: int, settings: Settings) -> None:
    """The index: what each file holds, in words and numbers."""
    lines = [
        f"# What is stored and was sent about user {user}",
        "",
        f"Site {settings.identity().address}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        "",
        "| File | What it holds | Number |",
        "|---|---|---|",
    ]
    for path in sorted(exported.folder.rglob("*.json")):
        name = path.relative_to(exported.folder).as_posix()
        with path.open("rb") as file:
            number = sum(1 for line in file if line.startswith(b"{"))
        lines.append(f"| [{name}]({name}) | {_what(name)} | {number:,} |")
    if not exported.rows and not exported.other_rows and not exported.events:
        lines += ["", "Nothing about this person is stored."]
    lines += [
        "",
        "Times in columns are Unix times in seconds. `event_id` and `event.id` are the same id; an "
        "event store knows the event by it. Of rows that name other persons too, the records of "
        "those are left out. An hour whose stored events were deleted after their time "
        "(CALIPER_KEEP_PARTITIONS) no longer tells which events were sent.",
        "",
    ]
    path = exported.folder / "index.md"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as index:
        index.write("\n".join(lines))


def _what(name: str) -> str:
    if name.startswith("sent/"):
        return "events that an event store has answered: when, and how"
    if name.startswith("events/"):
        return "Caliper events, as they are sent"
    if name.endswith("_of_others.json"):
        return "rows of others that mention the person, with only what does"
    if name.startswith(LIFECYCLE):
        return "log rows kept to know past roles, enrolments, completions and deleted grades"
    if name.startswith(EXPANDED_LOG.name):
        return "rows of Moodle's log with the records that they referred to"
    return "rows of Moodle's log that name the person"
