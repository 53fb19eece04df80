"""Erase persons from the stored partitions and from what the ledger knows of their events.

A tombstone is made first: from then on no run writes anything about the person again
(``expander.erasure``). Then every stored hour is searched. A row that names the person becomes a
row of an anonymous person, and its events are made again from that, so every row of the log stays
accounted for. An event that cannot be made again, because its expanded row is gone, becomes a
``filtered`` row with the reason ``erased``.

An erasure that is cut off anywhere goes on when it is called again. Of each hour the events are
written before the log rows by which they are found, and each file is replaced whole. What
identified the person at earlier times is kept in the storage until nothing is left to do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from caliper_dagster.config.connections import open_ledger, open_moodle, open_store
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import EXPANDED_LOG, MOODLE_LOG, Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_file import CHUNK_ROWS, FooterStats
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.persons import Persons, UserAccount
from caliper_dagster.core.tombstones import mark
from caliper_dagster.delivery.persons.events import EventSplice, renewed
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
from caliper_dagster.expander.erasure import accounts, lifecycle_without

if TYPE_CHECKING:
    from caliper_dagster.emitter import Ledger
    from caliper_dagster.emitter.ledger.erasure import Answer

LISTS = "erased_events"
"""The folder in the storage for the lists of events that event stores hold."""

_UNFINISHED = "unfinished_erasures.json"
_LEASE = "erasure of persons"
"""Under this name an erasure has a lease in the ledger, so that two do not run at once."""

_MAX_PASSES = 5


@dataclass
class Erased:
    """What was erased, or would be.

    Attributes:
        hours: stored hours with anything about the persons.
        rows: log rows that named them.
        other_rows: log rows of others that mentioned them.
        events: events about them, in all renderings together.
        removed: of these, the ones that could not be made again without them.
        lifecycle: lifecycle tables that held rows about them.
        held: number of their events that each event store has acknowledged, by its name.
        lists: where the list of these events is, by the same name.
    """

    hours: int = 0
    rows: int = 0
    other_rows: int = 0
    events: int = 0
    removed: int = 0
    lifecycle: int = 0
    held: dict[str, int] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> int:
        """How much there was to change."""
        return self.rows + self.other_rows + self.events + self.lifecycle


@dataclass
class _FoundHour:
    """What of an hour tells of the persons.

    Attributes:
        expanded: its ``EXPANDED_LOG`` rows that do, without the persons.
        changed: whether a log of the hour has to be written, by its name.
        events: ids of the events that do, by table.
    """

    own: set[int] = field(default_factory=set)
    others: set[int] = field(default_factory=set)
    expanded: list[pa.Table] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    events: dict[Frame, list[str]] = field(default_factory=dict)

    @property
    def log_ids(self) -> set[int]:
        return self.own | self.others

    def event_ids(self) -> set[str]:
        return {event_id for ids in self.events.values() for event_id in ids}

    def __bool__(self) -> bool:
        return bool(self.changed or self.events)


def erase(
    settings: Settings,
    users: Collection[int],
    *,
    plan: bool = False,
    note: Callable[[Hour], None] = lambda _: None,
) -> Erased:
    """Erase persons.

    Args:
        settings: of the site.
        users: their user ids.
        plan: change nothing, only find out what would be changed.
        note: called with each hour that was searched in the first pass.

    Raises:
        ConfigurationError: a setting is missing, or Moodle's database, the storage or the ledger
            cannot be used.
        StorageError: a stored hour cannot be read, so it may hold something of the persons: all
            others have been searched. Or the ledger failed.
    """
    with open_moodle(settings) as database:
        known = accounts(database, users)
    with open_ledger(settings) as ledger:
        work = _Erasure(settings, ledger, Persons(frozenset(users), known), plan, note)
        return work.run()


class _Unfinished:
    """What identified persons whose erasure is under way, or was cut off.

    It is a file of the storage, for the ledger names nobody. The next erasure, of whomever, also
    takes these out of texts.

    Args:
        store: the storage.
        marks: keyed hashes of the persons who are being erased.
    """

    def __init__(self, store: PartitionStore, marks: set[str]) -> None:
        self._store, self._marks = store, marks

    def accounts(self) -> Iterator[UserAccount]:
        """What earlier erasures have left."""
        for first, last, identifiers in self._read()["accounts"]:
            yield UserAccount(first, last, tuple(identifiers))

    def write(self, accounts: Collection[UserAccount]) -> None:
        """Keep what identified the persons."""
        listed = [[one.firstname, one.lastname, one.identifiers] for one in accounts]
        self._write(set(self._read()["marks"]) | self._marks, listed)

    def finish(self) -> None:
        """Nothing is left of these persons; what is kept of others stays."""
        content = self._read()
        others = set(content["marks"]) - self._marks
        if others:
            self._write(others, content["accounts"])
        else:
            self._store.delete_note(_UNFINISHED)

    def _read(self) -> dict[str, list[Any]]:
        content = self._store.read_note(_UNFINISHED)
        return dict(json.loads(content)) if content else {"marks": [], "accounts": []}

    def _write(self, marks: set[str], accounts: Sequence[object]) -> None:
        content = {"marks": sorted(marks), "accounts": accounts}
        self._store.write_note(_UNFINISHED, json.dumps(content).encode())


class _Erasure:
    """One erasure of some persons."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        persons: Persons,
        plan: bool,
        note: Callable[[Hour], None],
    ) -> None:
        self._settings, self._ledger, self._persons = settings, ledger, persons
        self._plan, self._note = plan, note
        self._store = open_store(settings)
        self._site = settings.identity().site_id
        self._total = Erased()
        self._events = EventTables(settings, SiteFrames((), {}, (), {}))
        self._failures: list[str] = []
        self._renew: Callable[[], None] = lambda: None

    def run(self) -> Erased:
        if self._plan:
            frames = SiteFrames.of(self._settings, self._store)
            self._learn(frames)
            self._pass(frames)
            self._raise_failures()
            return self._total
        with self._ledger.lease(_LEASE, [Hour(0)], site=self._site) as lease:
            self._renew = lease.renew
            self._erase()
        return self._total

    def _erase(self) -> None:
        tombstones = self._ledger.tombstones(self._site)
        key = tombstones.add(self._persons.ids).key
        unfinished = _Unfinished(
            self._store, {mark(key, "note", user) for user in self._persons.ids}
        )
        self._persons = self._persons.with_accounts(unfinished.accounts())
        for number in range(_MAX_PASSES):
            # A run that was under way may have written an hour after it was searched.
            before = self._total.changes
            frames = SiteFrames.of(self._settings, self._store)
            self._learn(frames)
            unfinished.write(self._persons.accounts)
            self._pass(frames)
            self._note = lambda _: None
            if number and self._total.changes == before:
                break
        self._ledger.erasure(self._site).flush()
        self._raise_failures()
        tombstones.finish(self._persons.ids)
        unfinished.finish()

    def _raise_failures(self) -> None:
        if self._failures:
            more = f" ({len(self._failures) - 1} more)" if len(self._failures) > 1 else ""
            raise StorageError(
                f"The erasure is not complete, everything else is erased: {self._failures[0]}{more}"
            )

    def _learn(self, frames: SiteFrames) -> None:
        """Learn names and addresses of earlier times, before the first hour is changed."""
        self._persons = self._persons.with_accounts(
            accounts_of_hours(self._store, frames, self._persons)
        )

    # Hours

    def _pass(self, frames: SiteFrames) -> None:
        self._failures = []
        self._events = EventTables(self._settings, frames)
        for hours in frames.hours_in_parts():
            found: dict[Hour, _FoundHour] = {}
            for hour in hours:
                try:
                    of_hour = self._find(frames, hour)
                except StorageError as error:
                    self._failures.append(str(error))
                    continue
                finally:
                    self._note(hour)
                    self._renew()
                if of_hour:
                    found[hour] = of_hour
            self._erase_hours(frames, hours, found)
        self._erase_lifecycle()

    def _find(self, frames: SiteFrames, hour: Hour) -> _FoundHour:
        found = _FoundHour()
        for frame in in_hours(frames, frames.logs, hour):
            for log in tables(self._store, frame, hour):
                own, others, cleaned = mentions(log, self._persons)
                rows = pc.or_(own, others)
                if not pc.any(rows).as_py():
                    continue
                found.changed.add(frame.name)
                found.own.update(log["id"].filter(own).to_pylist())
                found.others.update(log["id"].filter(others).to_pylist())
                if frame.name == EXPANDED_LOG.name:
                    found.expanded.append(cleaned.filter(rows))
        found.others -= found.own
        for frame in in_hours(frames, frames.events, hour):
            ids: list[str] = []
            is_found = False
            persons = self._events.named_in(frame, hour, self._persons)
            for events in tables(self._store, frame, hour, _FINDING):
                rows = event_rows(events, found.log_ids, persons)
                is_found |= bool(pc.any(rows).as_py())
                ids += event_ids(events, rows)
            if is_found:
                found.events[frame] = ids
        return found

    def _erase_hours(
        self, frames: SiteFrames, hours: Sequence[Hour], found: Mapping[Hour, _FoundHour]
    ) -> None:
        ids = {hour: of_hour.event_ids() for hour, of_hour in found.items()}
        answers = list(self._ledger.erasure(self._site).answers(ids))
        self._total.hours += len(found)
        for of_hour in found.values():
            self._total.rows += len(of_hour.own)
            self._total.other_rows += len(of_hour.others)
            self._total.events += sum(map(len, of_hour.events.values()))
        self._record(answers)
        if self._plan:
            return
        for hour, of_hour in found.items():
            # The events first: the log rows are what they are found by.
            for frame in of_hour.events:
                self._write_events(frame, hour, of_hour)
        for hour in hours:
            self._write_results(frames, hour, ids.get(hour, set()))
        ledger = self._ledger.erasure(self._site)
        ledger.forget(ids)
        ledger.forget_errors(hours, self._mentions)
        for hour, of_hour in found.items():
            for frame in (EXPANDED_LOG, MOODLE_LOG):
                if frame.name in of_hour.changed:
                    self._rewrite(frame, hour, lambda log: mentions(log, self._persons)[2])

    def _rewrite(
        self,
        frame: Frame,
        hour: Hour,
        change: Callable[[pa.Table], pa.Table],
        stats: Callable[[FooterStats], FooterStats] = lambda stats: stats,
    ) -> None:
        with (
            closing(self._store.open(frame, hour)) as stored,
            self._store.writer(frame, hour) as writer,
        ):
            for table in stored.parts(CHUNK_ROWS):
                writer.write(change(table))
            writer.stats = stats(stored.stats())

    # Events

    def _write_events(self, frame: Frame, hour: Hour, found: _FoundHour) -> None:
        persons = self._events.named_in(frame, hour, self._persons)
        expanded = pa.concat_tables([EXPANDED_LOG.empty(), *found.expanded]).unify_dictionaries()
        splice = EventSplice(
            persons, found.log_ids, renewed(self._events.translator(frame, hour), expanded)
        )
        log_ids = self._log_ids(hour)
        self._rewrite(
            frame, hour, splice.without_persons, lambda before: splice.stats(before, log_ids)
        )
        self._total.removed += splice.removed

    def _log_ids(self, hour: Hour) -> pa.ChunkedArray | None:
        if not self._store.exists(MOODLE_LOG, hour):
            return None
        chunks = [part["id"] for part in tables(self._store, MOODLE_LOG, hour, ["id"])]
        return pa.chunked_array([it for ids in chunks for it in ids.chunks], pa.int64())

    # Answers of event stores

    def _write_results(self, frames: SiteFrames, hour: Hour, ids: set[str]) -> None:
        """Take the words about rejected events that tell of the persons out of the results."""
        for frame in in_hours(frames, frames.results, hour):
            table = self._store.read(frame, [hour])
            errors = table["error"].to_pylist()
            if not any(errors):
                continue
            batches = table["event_ids"].to_pylist()
            new = [
                None if error and (not ids.isdisjoint(batch) or self._mentions(error)) else error
                for error, batch in zip(errors, batches, strict=True)
            ]
            if new != errors:
                index = table.schema.get_field_index("error")
                column = pa.array(new, pa.string())
                table = table.set_column(index, table.schema.field("error"), column)
                self._store.write(frame, hour, table, self._store.footer_stats(frame, hour))

    def _mentions(self, text: str) -> bool:
        texts = pa.array([text], pa.string())
        return bool(self._persons.in_events(texts)[0].as_py())

    def _record(self, answers: Sequence[Answer]) -> None:
        """Write down which events each event store holds, before they are forgotten here."""
        held: dict[str, dict[str, Answer]] = {}
        for answer in answers:
            if answer.outcome == "acknowledged":
                held.setdefault(answer.event_store, {})[answer.event_id] = answer
        for store, events in held.items():
            self._total.held[store] = self._total.held.get(store, 0) + len(events)
            if not self._plan:
                self._write_list(store, events)

    def _write_list(self, event_store: str, events: Mapping[str, Answer]) -> None:
        # The name tells nobody's id; an erasure that goes on finds its list again.
        key = self._ledger.tombstones(self._site).read().key
        marks = "\n".join(mark(key, "list", user) for user in sorted(self._persons.ids))
        digest = hashlib.sha256(f"{marks}\n{event_store}".encode()).hexdigest()[:24]
        name = f"{LISTS}/{digest}.json"
        content = self._store.read_note(name)
        listed = json.loads(content)["events"] if content else []
        known = {event["id"] for event in listed}
        listed += [
            {
                "id": event_id,
                "hour": str(answer.hour),
                "acknowledged": answer.answered,
            }
            for event_id, answer in events.items()
            if event_id not in known
        ]
        content = json.dumps({"event_store": event_store, "events": listed}, indent=1).encode()
        self._store.write_note(name, content)
        self._total.lists[event_store] = f"{self._store.name.rstrip('/')}/{name}"

    # Lifecycle rows

    def _erase_lifecycle(self) -> None:
        stored = self._store.id_range_tables(LIFECYCLE)
        for after, to in stored.ranges():
            table = stored.read(after, to)
            cleaned = lifecycle_without(table, self._persons)
            if not cleaned.equals(table):
                self._total.lifecycle += 1
                if not self._plan:
                    metadata = table.schema.metadata
                    stored.write(after, to, cleaned.replace_schema_metadata(metadata))


_FINDING = ("log_id", "event_id", "outcome", "json")
"""Columns of ``caliper_events`` by which events are found."""
