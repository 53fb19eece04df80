"""The seam: a destination that takes whole hours is sent to by the same loop as an endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.revisions import MAPPING_REVISION
from caliper_dagster.emitter import EmissionCounts, HourOfEvents, Ledger, RetryPolicy, Send, emit
from caliper_dagster.emitter.destination import Answer, DestinationLimits, Meaning, Request
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    SENSOR,
    SITE,
    as_hours,
    event_id,
    events_table,
)

QUICK = RetryPolicy(attempts=3, first_wait=0.01)


@dataclass
class Folder:
    """A destination of whole hours: a file for each hour, replaced when anything of it is new."""

    folder: Path
    answers: list[Answer] = field(default_factory=list)
    name: str = "folder"
    takes_whole_hours: bool = True
    requests: int = 0

    @property
    def address(self) -> str:
        return str(self.folder)

    def limits(self) -> DestinationLimits | None:
        return None

    def send(self, request: Request) -> Answer:
        self.requests += 1
        if self.answers:
            return self.answers.pop(0)
        temporary = self._file(request.hour).with_suffix(".temporary")
        temporary.write_bytes(b"".join(bytes(event) + b"\n" for event in request.events))
        temporary.replace(self._file(request.hour))
        return Answer(Meaning.ACCEPTED)

    def close(self) -> None:
        pass

    def ids(self, hour: Hour) -> list[str]:
        lines = self._file(hour).read_bytes().splitlines()
        return [orjson.loads(line)["id"] for line in lines]

    def _file(self, hour: Hour) -> Path:
        return self.folder / f"{hour.number}.ndjson"


def run(
    hours: list[HourOfEvents], folder: Folder, ledger: Ledger, send: Send = Send.UNACKNOWLEDGED
) -> Iterator[EmissionCounts]:
    options = {"sensor": SENSOR, "site": SITE, "batch_size": 3, "in_flight": 2}
    emitted = emit(hours, folder, ledger, send=send, retry_policy=QUICK, **options)  # type: ignore[arg-type]
    return (hour.counts for hour in emitted)


def test_an_hour_is_one_request_with_all_its_events(tmp_path: Path, ledger: Ledger) -> None:
    folder = Folder(tmp_path)
    hours = as_hours((HOUR + n, events_table(HOUR + n, 10)) for n in range(3))
    assert [counts.sent for counts in run(hours, folder, ledger)] == [10, 10, 10]
    assert [counts.sent for counts in run(hours, folder, ledger)] == [0, 0, 0]
    assert folder.requests == 3

    late = as_hours([(HOUR, events_table(HOUR, 11)), *hours[1:]])
    assert [counts.sent for counts in run(late, folder, ledger)] == [11, 0, 0]
    assert folder.ids(HOUR) == [event_id(HOUR, n) for n in range(11)]
    assert folder.requests == 4
    assert next(run(late[:1], folder, ledger)).already_acknowledged == 11


def test_another_revision_leaves_a_file_alone_until_it_is_rewritten(
    tmp_path: Path, ledger: Ledger
) -> None:
    folder, older = Folder(tmp_path), MAPPING_REVISION - 1
    list(run(as_hours([(HOUR, events_table(count=10), older)]), folder, ledger))
    changed = as_hours([(HOUR, events_table(count=10, text="changed"))])
    assert [counts.changed for counts in run(changed, folder, ledger)] == [10]
    assert folder.requests == 1
    late = as_hours([(HOUR, events_table(count=11, text="changed"))])
    assert [(c.sent, c.changed) for c in run(late, folder, ledger)] == [(11, 0)]


def test_a_failing_destination_is_tried_again(tmp_path: Path, ledger: Ledger) -> None:
    full = Answer(Meaning.RETRY_LATER, sentence="The disk is full.")
    folder = Folder(tmp_path, [full, full])
    hours = as_hours([(HOUR, events_table(count=4))])
    assert [counts.sent for counts in run(hours, folder, ledger)] == [4]
    assert folder.requests == 3


@pytest.mark.parametrize("meaning", [Meaning.REJECTED, Meaning.TOO_LARGE, Meaning.REFUSED])
def test_an_hour_that_is_refused_is_not_divided(
    tmp_path: Path, ledger: Ledger, meaning: Meaning
) -> None:
    folder = Folder(tmp_path, [Answer(meaning, sentence="Not this.")])
    hours = as_hours([(HOUR, events_table(count=4))])
    with pytest.raises(DeliveryError, match="Not this"):
        list(run(hours, folder, ledger))
    assert folder.requests == 1
    assert ledger.batches("folder", [HOUR], site=SITE) == {HOUR: []}
