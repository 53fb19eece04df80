"""The real command on the database of a real Moodle site, from the log to the event store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.operations.run_outcome import read_outcome
from caliper_dagster_tests.harness.installation import Installation, between, dump_installation
from caliper_dagster_tests.harness.moodle_dump import DUMP_HOURS

DAY = HourRange(Hour.from_key("2026-03-26-02:00"), Hour.from_key("2026-03-26-08:00"))
MORNING = HourRange(Hour.from_key("2026-03-26-04:00"), Hour.from_key("2026-03-26-07:00"))


@pytest.fixture
def site(tmp_path: Path, moodle_dump_mariadb: str) -> Iterator[Installation]:
    with dump_installation(tmp_path, moodle_dump_mariadb) as installation:
        yield installation


def test_the_whole_log_of_a_real_site_arrives_once_and_not_again(site: Installation) -> None:
    backfill = ("backfill", *between(DUMP_HOURS))
    told = site.run_anew(*backfill)

    assert told.status == 0, told.err
    total = read_outcome(site.storage, DUMP_HOURS)
    account, rows = total.account, site.log_rows(DUMP_HOURS)
    assert account.rows == account.counted == rows
    assert account.events + sum(account.filtered.values()) + sum(account.failed.values()) == rows
    assert told.number("Log rows") == rows
    assert told.number("Unexplained rows") == account.unexplained == 0
    assert told.number("Filtered") == sum(account.filtered.values())
    assert told.number("Failed") == sum(account.failed.values())

    arrived, received = site.arrived(), site.received()
    assert set(received.values()) == {1}
    assert sorted(site.events(DUMP_HOURS)) == sorted(received)
    assert sorted(site.acknowledged(DUMP_HOURS)) == sorted(received)
    assert account.by_type == arrived.by_type
    assert {name: told.number(name) for name in arrived.by_type} == arrived.by_type
    for what in ("Sent", "Acknowledged"):
        assert told.number(what) == arrived.events == len(received)
    assert told.number("Events") + told.number("Derived events") == arrived.events
    assert told.number("Envelopes") == arrived.envelopes == total.delivery.envelopes

    again = site.run(*backfill)

    assert again.status == 0, again.err
    assert site.arrived() == arrived
    assert again.number("Sent") == again.number("Envelopes") == 0
    assert again.number("Acknowledged") == arrived.events
    assert again.number("Unexplained rows") == 0


def test_only_resending_all_sends_again_with_the_same_ids(site: Installation) -> None:
    assert site.run("backfill", *between(DAY)).status == 0
    first = site.received()

    nothing = site.run("resend", *between(DAY))

    assert (nothing.status, nothing.number("Sent")) == (0, 0)
    assert site.received() == first

    everything = site.run("resend", "--all", *between(MORNING))

    of_the_morning = set(site.events(MORNING))
    assert everything.status == 0, everything.err
    assert everything.number("Sent") == len(of_the_morning) > 0
    assert site.received() == {id_: 1 + (id_ in of_the_morning) for id_ in first}
