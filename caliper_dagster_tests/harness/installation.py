"""A whole installation for end-to-end tests: settings, an event store, and what each of them has.

What the tests compare is read where it lies: rows in Moodle's database, files in the storage, rows
in the ledger, and rows in the event store's own SQLite file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from caliper_dagster.core.frames import CALIPER_EVENTS, Frame
from caliper_dagster.core.hours import HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.embedded.arrivals import Arrivals, arrivals
from caliper_dagster.embedded.event_store import running
from caliper_dagster.emitter import HttpDestination, Ledger
from caliper_dagster.emitter.ledger import ACKNOWLEDGED, results_table
from caliper_dagster_tests.harness import commands
from caliper_dagster_tests.harness.commands import Command, CommandResult
from caliper_dagster_tests.harness.moodle_dump import DUMP_SITE

KEY = "key-of-the-end-to-end-tests"


@dataclass(frozen=True)
class Installation:
    """Settings, and a folder that holds everything that is kept on disk."""

    folder: Path
    settings: Mapping[str, str]

    @property
    def home(self) -> Path:
        return Path(self.settings["DAGSTER_HOME"])

    @property
    def storage(self) -> PartitionStore:
        return PartitionStore(str(self.home / "data"))

    def start(self, *arguments: str, **changes: str | None) -> Command:
        """Begin a command; ``changes`` are other settings for it, None for unset ones."""
        return commands.start(arguments, self._with(changes), self.folder)

    def run(self, *arguments: str, **changes: str | None) -> CommandResult:
        """Run a command, forked (see ``commands``)."""
        return commands.run(arguments, self._with(changes), self.folder)

    def run_anew(self, *arguments: str) -> CommandResult:
        """Run a command from nothing."""
        return commands.run_anew(arguments, self.settings, self.folder)

    def _with(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        return {name: value for name, value in {**self.settings, **changes}.items() if value}

    def log_rows(self, hours: HourRange) -> int:
        """Rows of the log, as the database counts them."""
        engine = sa.create_engine(self.settings["MOODLE_DB_URL"], poolclass=sa.NullPool)
        count = sa.text(
            "SELECT count(*) FROM mdl_logstore_standard_log WHERE timecreated BETWEEN :a AND :b"
        )
        with engine.connect() as connection:
            found = connection.execute(count, {"a": hours.start.start, "b": hours.end.start - 1})
            return int(found.scalar_one())

    def events(self, hours: HourRange) -> list[str]:
        """Ids of the events in the storage."""
        ids = self.storage.read(CALIPER_EVENTS, hours, ["event_id"])["event_id"]
        found: list[str] = ids.drop_null().to_pylist()
        return found

    def batches(self, hours: HourRange) -> pa.Table:
        """The ledger as an ``EMISSION_RESULTS`` table."""
        name = HttpDestination(self.settings["CALIPER_EVENT_STORE_URL"], None).name
        with Ledger(f"sqlite:///{self.home / 'data' / 'ledger.sqlite'}") as ledger:
            found = ledger.batches(name, list(hours), site=self.settings["MOODLE_WWWROOT"])
        return results_table(name, [batch for of_hour in found.values() for batch in of_hour])

    def acknowledged(self, hours: HourRange) -> list[str]:
        """Ids in the ledger, as often as they were acknowledged."""
        found = self.batches(hours)
        found = found.filter(pc.equal(found["outcome"], ACKNOWLEDGED))
        ids: list[str] = pc.list_flatten(found["event_ids"]).to_pylist()
        return ids

    def arrived(self) -> Arrivals:
        """Numbers of the event store."""
        return arrivals(self.folder / "event_store.sqlite")

    def received(self) -> dict[str, int]:
        """Ids at the event store, and how often each event came."""
        path = self.folder / "event_store.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            return dict(connection.execute("SELECT id, received FROM events"))

    def written(self, frame: Frame) -> dict[Path, int]:
        """Files of an asset, and when each was written."""
        found = (self.home / "data" / frame.name).rglob("date=*/[!.]*")
        return {path: path.stat().st_mtime_ns for path in found}


def between(hours: HourRange) -> tuple[str, ...]:
    """The options that name a range of hours."""
    return ("--from", str(hours.start), "--to", str(hours.end))


@contextmanager
def installation(
    folder: Path, url: str, wwwroot: str, hostile: str = "", **settings: str
) -> Iterator[Installation]:
    """An installation on a Moodle database, with an event store that answers, or is hostile."""
    with running(folder / "event_store.sqlite", KEY, hostile=hostile) as event_store:
        given = {
            "MOODLE_DB_URL": url,
            "MOODLE_WWWROOT": wwwroot,
            "CALIPER_EVENT_STORE_URL": event_store,
            "CALIPER_API_KEY": KEY,
            "DAGSTER_HOME": str(folder / "dagster"),
        }
        yield Installation(folder, given | settings)


def dump_installation(
    folder: Path, url: str, hostile: str = "", **settings: str
) -> AbstractContextManager[Installation]:
    """An installation on the database of the real Moodle site."""
    return installation(folder, url, DUMP_SITE, hostile, CALIPER_START="2026-03-24", **settings)
