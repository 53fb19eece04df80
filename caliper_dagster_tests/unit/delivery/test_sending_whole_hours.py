"""What of a stored hour comes into its file: read in parts, withheld, or written anew meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from caliper_dagster.config.event_stores import require_event_stores
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hour_verdict import HourVerdict, Reason, mark_invalid
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.delivery.fan_out import DeliveryRequest
from caliper_dagster.emitter import Ledger, Send
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    SENSOR,
    SITE,
    event_id,
    events_table,
)

HOURS = (HOUR, HOUR + 1)


@dataclass
class Folders:
    """Stored hours, and the folder of their files."""

    folder: Path

    @property
    def storage(self) -> PartitionStore:
        return PartitionStore(str(self.folder / "data"))

    def ledger(self) -> Ledger:
        return Ledger(f"sqlite:///{self.folder / 'ledger.sqlite'}")

    def store(self, table: pa.Table, *faults: Reason) -> None:
        """Write the first hour; the second one always has three events."""
        verdict = HourVerdict.of(dict.fromkeys(faults, 1)).as_footer_stats()
        self.storage.write(CALIPER_EVENTS, HOUR, table, verdict)
        sound = HourVerdict().as_footer_stats()
        self.storage.write(CALIPER_EVENTS, HOUR + 1, events_table(HOUR + 1, 3), sound)

    def deliver(
        self,
        rows: int = 1_000,
        send: Send = Send.UNACKNOWLEDGED,
        stopped: Callable[[], bool] = lambda: False,
    ) -> list[DeliveryCounts]:
        """Send both hours; the counts of each."""
        (self.folder / "files").mkdir(exist_ok=True)
        with environment({"CALIPER_EVENT_STORE_URL": str(self.folder / "files")}):
            (event_store,) = require_event_stores(Settings.from_environment())
            request = DeliveryRequest(
                events=lambda _: CALIPER_EVENTS,
                storage=self.storage,
                hours=HOURS,
                site=SITE,
                sensor=SENSOR,
                open_ledger=self.ledger,
                send=send,
                left={},
                chunk_rows=rows,
            )
            sent = sorted(request.deliver(event_store, stopped), key=lambda part: part.hour)
        assert [part.hour for part in sent] == list(HOURS)
        return [part.delivery for part in sent]

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.rglob("*.ndjson")}

    def ids(self) -> list[str]:
        content = self.files().get("2026-01-31T14.ndjson", b"")
        return [orjson.loads(line)["id"] for line in content.splitlines()]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def all_ids(count: int) -> list[str]:
    return [event_id(HOUR, number) for number in range(count)]


def test_an_hour_that_is_read_in_parts_has_the_file_of_the_whole_one(folders: Folders) -> None:
    outcomes = ["filtered" if number % 9 == 4 else "event" for number in range(70)]
    folders.store(events_table(count=70, outcomes=outcomes))
    (whole, _) = folders.deliver()
    files = folders.files()
    for rows in (3, 16):
        (counts, _) = folders.deliver(rows, Send.ALL)
        assert folders.files() == files
        assert (counts.sent, counts.bytes) == (whole.sent, whole.bytes)
    assert whole.bytes == len(files["2026-01-31T14.ndjson"])
    assert len(folders.ids()) == whole.sent == outcomes.count("event")


def test_an_event_that_is_withheld_is_not_in_the_file_and_comes_back_when_it_is_sound(
    folders: Folders,
) -> None:
    table = events_table(count=5)
    with_fault = mark_invalid(table, [2])
    folders.store(with_fault, Reason.INVALID)
    (counts, _) = folders.deliver()
    assert (counts.sent, counts.withheld) == (4, {"invalid": 1})
    assert folders.ids() == [*all_ids(2), *all_ids(5)[3:]]
    folders.store(table)
    (counts, _) = folders.deliver()
    assert (counts.sent, counts.withheld, counts.outstanding) == (5, {}, 0)
    assert folders.ids() == all_ids(5)
    folders.store(with_fault, Reason.INVALID)
    folders.deliver(send=Send.ALL)
    assert folders.ids() == [*all_ids(2), *all_ids(5)[3:]]
    folders.store(table)
    folders.deliver()
    assert folders.ids() == all_ids(5)


def test_an_hour_that_is_withheld_leaves_its_file_as_it_was(folders: Folders) -> None:
    folders.store(events_table(count=5))
    folders.deliver()
    files = folders.files()
    folders.store(events_table(count=6), Reason.UNEXPLAINED)
    for send in (Send.UNACKNOWLEDGED, Send.ALL):
        (counts, other) = folders.deliver(send=send)
        assert counts.is_withheld
        assert not other.is_withheld
    assert folders.files() == files


@pytest.mark.parametrize("becomes", ["longer", "withheld"])
def test_an_hour_that_was_written_anew_while_a_run_waited_is_sent_as_it_is_now(
    folders: Folders, becomes: str
) -> None:
    folders.store(events_table(count=3, text="before"))
    looks = []
    with folders.ledger() as ledger:
        other = ledger.lease(str(folders.folder / "files"), HOURS, site=SITE)
        with other:

            def write_and_release() -> bool:
                looks.append(1)
                if len(looks) == 1:
                    faults = [Reason.UNEXPLAINED] if becomes == "withheld" else []
                    folders.store(events_table(count=4, text="after"), *faults)
                    other.__exit__(None, None, None)
                return False

            (counts, second) = folders.deliver(stopped=write_and_release)
    assert looks
    assert second.sent == 3
    assert b"before" not in b"".join(folders.files().values())
    if becomes == "withheld":
        assert counts.is_withheld
        assert folders.ids() == []
    else:
        assert (counts.sent, counts.outstanding) == (4, 0)
        assert folders.ids() == all_ids(4)


def test_a_run_whose_hour_is_older_than_the_file_takes_nothing_out_of_it(folders: Folders) -> None:
    folders.store(events_table(count=4))
    folders.deliver()
    files = folders.files()
    # As when Moodle has purged its log and the hour runs again.
    folders.store(events_table(count=2))
    (counts, _) = folders.deliver()
    assert (counts.sent, counts.already_acknowledged) == (0, 2)
    assert folders.files() == files
    with closing(folders.ledger()) as ledger:
        (batch,) = ledger.batches(str(folders.folder / "files"), [HOUR], site=SITE)[HOUR]
        assert batch.event_ids() == all_ids(4)
