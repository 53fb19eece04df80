"""Runs that are killed, and event stores that fail in the middle: nothing is lost, little repeated.

Every envelope goes through an ``EventStoreProxy``, which knows what the event store has answered.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG, Frame
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster_tests.harness import commands, kills
from caliper_dagster_tests.harness.commands import Command
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.event_store_proxy import EventStoreProxy, killing
from caliper_dagster_tests.harness.hostile_store import Behaviour, answer, drop
from caliper_dagster_tests.harness.installation import Installation, between, dump_installation

HOURS = HourRange(Hour.from_key("2026-03-25-17:00"), Hour.from_key("2026-03-26-02:00"))
BACKFILL = ("backfill", *between(HOURS))
BATCH_SIZE = 20
IN_FLIGHT = 2

STEPS = (MOODLE_LOG, EXPANDED_LOG, CALIPER_EVENTS)
MOMENTS = ("before it arrives", "before its answer", "after its answer")


@dataclass(frozen=True)
class Site(Installation):
    """An installation whose envelopes go through a proxy."""

    proxy: EventStoreProxy


@pytest.fixture
def site(tmp_path: Path, moodle_dump_mariadb: str) -> Iterator[Site]:
    with (
        dump_installation(
            tmp_path,
            moodle_dump_mariadb,
            CALIPER_BATCH_SIZE=str(BATCH_SIZE),
            CALIPER_ENVELOPES_IN_FLIGHT=str(IN_FLIGHT),
            CALIPER_ATTEMPTS="1",
        ) as found,
        EventStoreProxy(found.settings["CALIPER_EVENT_STORE_URL"]) as proxy,
    ):
        yield Site(found.folder, {**found.settings, "CALIPER_EVENT_STORE_URL": proxy.url}, proxy)


def no_answer(proxy: EventStoreProxy) -> Behaviour:
    """The event store takes the envelope, and its answer is lost."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        proxy.ask(handler)
        drop(handler)

    return behave


def wait_until_written(site: Site, command: Command, frame: Frame, hours: int) -> None:
    """Until the running command has written so many hours of an asset (anew)."""
    before = site.written(frame)
    command.wait_until(lambda: len(set(site.written(frame).items()) - before.items()) >= hours)


def assert_all_is_well(site: Site) -> None:
    """Every event is in the storage, in the ledger once, and at the event store."""
    events = sorted(site.events(HOURS))
    assert len(events) == len(set(events)) > 500
    assert sorted(site.acknowledged(HOURS)) == events
    assert sorted(site.received()) == events


def test_a_backfill_that_is_killed_again_and_again_completes_and_repeats_what_was_in_flight(
    site: Site,
) -> None:
    chance = random.Random(2026)
    places: list[Frame | str] = [*STEPS, *MOMENTS]
    chance.shuffle(places)
    for place in places:
        command = site.start(*BACKFILL)
        if isinstance(place, Frame):
            wait_until_written(site, command, place, chance.randint(1, len(HOURS) - 1))
            command.kill()
        else:
            otherwise = killing(command.kill, site.proxy, place)
            site.proxy.after(chance.randint(1, 6), otherwise)
        assert command.finish().status == -9, place
        site.proxy.open()
        assert Counter(site.acknowledged(HOURS)) <= Counter(site.proxy.acknowledged)

    last = site.run(*BACKFILL)

    assert last.status == 0, last.err
    assert_all_is_well(site)
    assert last.number("Acknowledged") == len(site.received())
    repeated = sum(site.received().values()) - len(site.received())
    assert 0 < repeated <= len(places) * IN_FLIGHT * BATCH_SIZE
    with environment(site.settings), open_instance() as instance:
        statuses = Counter(run.status for run in instance.get_runs())
        assert instance.event_log_storage.get_concurrency_run_ids() == set()
    assert statuses == {dg.DagsterRunStatus.FAILURE: len(places), dg.DagsterRunStatus.SUCCESS: 1}


def test_a_backfill_that_is_killed_at_random_moments_loses_nothing(
    tmp_path: Path, moodle_dump_mariadb: str
) -> None:
    with dump_installation(tmp_path, moodle_dump_mariadb, kills.SLOW, **kills.SETTINGS) as site:
        found = kills.backfill_killed(site, HOURS, random.Random(4), most=6, mean=3)
    assert found.complete, found
    assert found.unexplained == 0
    assert found.kills > 2
    assert found.repeated <= kills.IN_FLIGHT * found.kills


def test_a_backfill_on_two_processors_that_is_killed_completes(
    site: Site,
) -> None:
    both = (*BACKFILL, "--processes", "2")
    changes = {"CALIPER_HOURS_PER_RUN": "2"}
    command = site.start(*both, **changes)
    wait_until_written(site, command, CALIPER_EVENTS, 3)
    site.proxy.after(2, killing(command.kill, site.proxy, "before its answer"))
    assert command.finish().status == -9
    site.proxy.open()

    last = site.run(*both, **changes)

    assert last.status == 0, last.err
    assert_all_is_well(site)
    assert last.number("Hours") == len(HOURS)
    assert last.number("Unexplained rows") == 0
    repeated = sum(site.received().values()) - len(site.received())
    assert repeated <= 2 * IN_FLIGHT * BATCH_SIZE


@pytest.mark.parametrize(("homes", "ledger"), [(1, "sqlite"), (2, "sqlite"), (2, "postgresql")])
def test_two_runs_of_the_same_hours_started_together_send_each_event_once(
    tmp_path: Path,
    moodle_dump_mariadb: str,
    request: pytest.FixtureRequest,
    homes: int,
    ledger: str,
) -> None:
    """In one Dagster instance its pools keep them apart, in two only the ledger does."""
    url = (
        request.getfixturevalue("postgres_url")
        if ledger == "postgresql"
        else f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    )
    with dump_installation(
        tmp_path, moodle_dump_mariadb, "slow=1,seconds=0.05", CALIPER_LEDGER_URL=url
    ) as site:
        runs = []
        for number in range(2):
            folder = tmp_path / f"run {number}"
            folder.mkdir()
            home = str(tmp_path / f"home {number % homes}")
            settings = {**site.settings, "DAGSTER_HOME": home, "CALIPER_BATCH_SIZE": "10"}
            runs.append(commands.start(BACKFILL, settings, folder))
        done = [run.finish() for run in runs]
        received = site.received()
    assert [one.status for one in done] == [0, 0], done
    assert {one.number("Acknowledged") for one in done} == {len(received)}
    assert sum(one.number("Sent") for one in done) == len(received) > 500
    assert set(received.values()) == {1}


FAILURES = {
    "answers 500": (answer(500, b"out of order"), "answered 500 (out of order)"),
    "answers 401": (answer(401), "answered 401: check CALIPER_API_KEY"),
    "is gone": (drop, "closed the connection without an answer"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_an_event_store_that_fails_in_the_middle_fails_the_run_and_the_next_one_completes(
    site: Site, failure: str
) -> None:
    otherwise, sentence = FAILURES[failure]
    site.proxy.after(7, otherwise)

    failed = site.run(*BACKFILL)

    assert (failed.status, failed.out) == (2, "")
    assert failed.err.count("\n") == 1
    assert failed.err.startswith(f"The event store at {site.proxy.url} {sentence}")
    assert sorted(site.acknowledged(HOURS)) == sorted(site.proxy.acknowledged)
    assert sorted(site.received()) == sorted(site.proxy.acknowledged)
    assert len(site.proxy.acknowledged) > 6 * BATCH_SIZE

    site.proxy.open()
    before = len(site.proxy.acknowledged)
    completed = site.run(*BACKFILL)

    assert completed.status == 0, completed.err
    assert completed.number("  of these, in earlier runs") == before
    assert_all_is_well(site)
    assert set(site.received().values()) == {1}


def test_an_envelope_whose_answer_is_lost_is_sent_again_and_no_other(site: Site) -> None:
    site.proxy.after(7, no_answer(site.proxy))

    failed = site.run(*BACKFILL)

    assert failed.status == 2
    assert "without an answer" in failed.err
    unanswered = set(site.received()) - set(site.proxy.acknowledged)
    assert 0 < len(unanswered) <= IN_FLIGHT * BATCH_SIZE
    assert sorted(site.acknowledged(HOURS)) == sorted(site.proxy.acknowledged)

    site.proxy.open()
    assert site.run(*BACKFILL).status == 0
    assert_all_is_well(site)
    assert site.received() == {id_: 1 + (id_ in unanswered) for id_ in site.received()}
