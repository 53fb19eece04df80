"""A ledger that was lost: what the stored results call acknowledged is not sent again unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.emitter import Send
from caliper_dagster_tests.end_to_end.test_sending_in_chunks import deliver, write
from caliper_dagster_tests.harness.hostile_store import HOUR, OK, HostileStore, answer, events_table

ROWS = 1_000


def lose_ledger(folder: Path) -> None:
    for file in folder.glob("ledger.sqlite*"):
        file.unlink()


def test_nothing_is_sent_until_somebody_chooses(tmp_path: Path) -> None:
    write(tmp_path)
    with HostileStore(OK) as store:
        bodies, _ = deliver(tmp_path, store, ROWS)
        lose_ledger(tmp_path)
        for send in (Send.UNACKNOWLEDGED, Send.NEW, Send.CHANGED):
            with pytest.raises(DeliveryError) as error:
                deliver(tmp_path, store, ROWS, send)
        assert len(store.bodies) == len(bodies)
        assert str(error.value) == (
            f"The ledger has no answers for 2 hours ({HOUR}…) whose stored results say that events "
            "were acknowledged: restore the ledger of CALIPER_LEDGER_URL from a backup, or send "
            "all their events again with `caliper-dagster resend --all`."
        )
        chosen, _ = deliver(tmp_path, store, ROWS, Send.ALL)
        assert chosen == bodies
        nothing, _ = deliver(tmp_path, store, ROWS)
        assert nothing == []


def test_hours_of_which_nothing_was_acknowledged_are_sent(tmp_path: Path) -> None:
    storage = PartitionStore(str(tmp_path))
    storage.write(CALIPER_EVENTS, HOUR, events_table(HOUR, 0))
    storage.write(CALIPER_EVENTS, HOUR + 1, events_table(HOUR + 1, 2))
    with HostileStore(answer(400, b"no")) as store:
        deliver(tmp_path, store, ROWS)
        lose_ledger(tmp_path)
        store.behaviours = [OK]
        bodies, _ = deliver(tmp_path, store, ROWS)
    assert len(bodies) == 1


def test_a_ledger_that_knows_only_later_hours_was_lost_too(tmp_path: Path) -> None:
    """The schedule's run of a new hour does not make the ledger one that knows the old ones."""
    write(tmp_path)
    with HostileStore(OK) as store:
        deliver(tmp_path, store, ROWS)
        lose_ledger(tmp_path)
        later = [Hour(HOUR.number + 2), Hour(HOUR.number + 3)]
        for hour in later:
            PartitionStore(str(tmp_path)).write(CALIPER_EVENTS, hour, events_table(hour, 2))
        deliver(tmp_path, store, ROWS, hours=later)
        with pytest.raises(DeliveryError, match="for 2 hours"):
            deliver(tmp_path, store, ROWS)
