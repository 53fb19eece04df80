"""Two runs on the same hours: one waits for the other, and a dead one is not waited for."""

import signal
import subprocess
import sys
import threading

import pytest

from caliper_dagster.core.errors import DeliveryError
from caliper_dagster.emitter import HttpDestination, Ledger, emit
from caliper_dagster.emitter.ledger.leases import is_gone
from caliper_dagster_tests.harness.hostile_store import (
    HOUR,
    KEY,
    SENSOR,
    SITE,
    HostileStore,
    as_hours,
    event_id,
    events_table,
    send,
)
from caliper_dagster_tests.harness.paths import ROOT

STORE = "https://store.example.org/caliper"


def lease(ledger, hours=(HOUR,), site=SITE, **options):
    found = ledger.lease(STORE, list(hours), site=site)
    for name, value in options.items():
        setattr(found, f"_{name}", value)
    return found


def test_an_hour_is_leased_once_and_other_hours_and_sites_are_free(ledger_url):
    with Ledger(ledger_url) as ledger, lease(ledger, [HOUR, HOUR + 1]):
        with lease(ledger, [HOUR + 2]), lease(ledger, site="https://other.example.org"):
            pass
        with (
            pytest.raises(DeliveryError, match="Another run") as error,
            lease(ledger, [HOUR + 1, HOUR + 2], max_wait=0.1),
        ):
            pass
        assert error.value.transient
        with lease(ledger, [HOUR + 2]):
            pass
    with Ledger(ledger_url) as ledger, lease(ledger, max_wait=0):
        pass


def test_a_lease_that_is_not_kept_ends(ledger_url):
    with Ledger(ledger_url) as ledger, lease(ledger, seconds=0.3) as lost:
        with lease(ledger, max_wait=10):
            lost._renewed_at = 0.0
            with pytest.raises(DeliveryError, match="taken over") as error:
                lost.renew()
        assert error.value.transient


def test_a_lease_that_is_kept_does_not_end(ledger):
    with lease(ledger, seconds=2) as kept:
        for _ in range(3):
            with pytest.raises(DeliveryError), lease(ledger, max_wait=0.7):
                pass
            kept._renewed_at = 0.0
            kept.renew()


HOLD = """
import sys
from caliper_dagster.emitter import Ledger
from caliper_dagster_tests.harness.hostile_store import HOUR, SITE
from caliper_dagster_tests.unit.emitter.test_leases import STORE
with Ledger(sys.argv[1]) as ledger, ledger.lease(STORE, [HOUR], site=SITE) as lease:
    print(lease._owner, flush=True)
    sys.stdin.read()
"""


def test_a_killed_run_is_not_waited_for(ledger_url):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, ledger_url], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        owner = child.stdout.readline().strip()
        assert not is_gone(owner)
        with Ledger(ledger_url) as ledger:
            with pytest.raises(DeliveryError), lease(ledger, max_wait=0):
                pass
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert is_gone(owner)
            with lease(ledger, max_wait=0):
                pass


def test_processes_of_other_machines_are_never_taken_for_dead():
    assert not is_gone("elsewhere pid:[1]|1/2 some-uuid")
    assert not is_gone("nonsense")


@pytest.mark.parametrize("in_flight", [1, 3])
def test_two_runs_at_once_send_each_event_once(ledger_url, in_flight):
    hours = [(HOUR + n, events_table(HOUR + n, 30)) for n in range(8)]
    done, begin = [], threading.Barrier(2)

    def run(url):
        with Ledger(ledger_url) as ledger, HttpDestination(url, KEY) as event_store:
            begin.wait()
            emitted = emit(
                as_hours(hours), event_store, ledger, sensor=SENSOR, site=SITE, batch_size=7,
                in_flight=in_flight,
            )  # fmt: skip
            done.append(sum(counts.sent for _, _, counts in emitted))

    with HostileStore() as store:
        with Ledger(ledger_url):
            pass
        runs = [threading.Thread(target=run, args=(store.url,)) for _ in range(2)]
        for thread in runs:
            thread.start()
        for thread in runs:
            thread.join(60)
    expected = [event_id(hour, n) for hour, _ in hours for n in range(30)]
    assert sorted(store.event_ids()) == sorted(expected)
    assert sorted(done) == [0, 240]


def test_nothing_to_send_needs_no_lease(ledger):
    events = [(HOUR, events_table(count=3))]
    with HostileStore() as store:
        send(events, store, ledger)
        held = ledger.lease(HttpDestination(store.url, KEY).name, [HOUR], site=SITE)
        with held:
            assert send(events, store, ledger)[HOUR][1].already_acknowledged == 3
