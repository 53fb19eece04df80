"""Several event stores at once, on a real instance: none waits, none misses anything."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

import dagster as dg
import pytest
import yaml

from caliper_dagster.cli.main import main
from caliper_dagster.config.event_stores import event_store_named, event_stores
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster.dagster.assets import build_assets, emission_assets
from caliper_dagster.dagster.build import build_definitions
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.resources import resources
from caliper_dagster.dagster.run_status import HourStatuses
from caliper_dagster.dagster.tags import BACKLOG_SENSOR, BACKLOG_TAG
from caliper_dagster.delivery import fan_out
from caliper_dagster.delivery.backlog import deferred_hours
from caliper_dagster.delivery.watch_state import Status
from caliper_dagster.embedded.arrivals import Arrivals, arrivals, last_events
from caliper_dagster.embedded.event_store import running
from caliper_dagster.emitter import Ledger
from caliper_dagster.operations import backfill
from caliper_dagster.operations.runner import RunContext
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.event_store_proxy import EventStoreProxy
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.resources import named_resources
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    KEY,
    SampleInstallation,
    sample_installation,
)

FIRST = HourRange(HOURS.start, HOURS.start + 1)
REST = HourRange(HOURS.start + 1, HOURS.end)
NAMES = ("fine", "slow", "down")


@dataclass
class Stores:
    """Three event stores of their own kind, and the site whose events they are to get."""

    site: SampleInstallation
    stack: ExitStack
    port: int

    def write(self, **more: Mapping[str, object]) -> None:
        """The file; ``more`` is said in addition, by name."""
        for name, said in more.items():
            self.file[name] = {**self.file[name], **said}
        (self.site.folder / "stores.yaml").write_text(yaml.safe_dump(self.file, sort_keys=False))

    def start(self, name: str, port: int = 0, hostile: str = "") -> str:
        return self.stack.enter_context(
            running(self.site.folder / f"{name}.sqlite", KEY, port, hostile)
        )

    def come_back(self) -> None:
        """The one that was down answers, where it was to be."""
        self.start("down", self.port)

    def arrived(self, name: str) -> Arrivals:
        return arrivals(self.site.folder / f"{name}.sqlite")

    def ids(self, name: str) -> set[str]:
        with closing(sqlite3.connect(self.site.folder / f"{name}.sqlite")) as connection:
            return {found for (found,) in connection.execute("SELECT id FROM events")}

    def statuses(self, name: str, hours: HourRange) -> list[str | None]:
        """What Dagster says of the hours of an event store."""
        assets = emission_assets(build_assets(self.site.settings))
        key = dg.AssetKey(f"emission_results_{name}")
        with open_instance() as instance:
            found = instance.get_status_by_partition(
                key, [hour.key for hour in hours], assets.partitions_def
            )
        return [found[hour.key] and found[hour.key].value for hour in hours]

    def left(self) -> dict[str, list[Hour]]:
        with Ledger(self.site.settings.ledger()) as ledger:
            found = ledger.backlog(self.site.settings.moodle_wwwroot).all()
        return {name: sorted(hours) for name, hours in found.items()}

    def delivery(self, name: str, hours: HourRange) -> DeliveryCounts:
        store = event_store_named(event_stores(self.site.settings), name)
        facts = (self.site.storage.footer_stats(store.results, hour) for hour in hours)
        return sum((DeliveryCounts.from_footer_stats(fact) for fact in facts), DeliveryCounts())

    def catch_up(self) -> list[tuple[str, bool]]:
        """One tick of the sensor, and the runs that it asks for: which store, and whether well."""
        with open_instance() as instance:
            definitions = build_definitions()
            sensor = next(
                found for found in definitions.sensors or [] if found.name == BACKLOG_SENSOR
            )
            with dg.build_sensor_context(
                instance=instance,
                definitions=definitions,
                resources=named_resources(self.site.settings),
            ) as context:
                requests = sensor.evaluate_tick(context).run_requests or []
            job = definitions.resolve_job_def(CHAIN_JOB)
            return [
                (
                    request.tags[BACKLOG_TAG],
                    job.execute_in_process(
                        instance=instance,
                        raise_on_error=False,
                        tags=request.tags,
                        asset_selection=list(request.asset_selection or []),
                    ).success,
                )
                for request in requests
            ]


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    monkeypatch.setattr(fan_out, "GRACE", 1)
    with sample_installation(tmp_path) as site, ExitStack() as stack:
        found = Stores(site, stack, free_port())
        key = {"api_key": {"env": "KEY_OF_ALL"}}
        found.file = {
            "fine": {"url": {"env": "CALIPER_EVENT_STORE_URL_OF_FINE"}, **key},
            "slow": {"url": found.start("slow", hostile="slow=1,seconds=6,until=2"), **key},
            "down": {"url": f"http://127.0.0.1:{found.port}/caliper", **key},
        }
        found.write()
        (tmp_path / "fine.sqlite").symlink_to(tmp_path / "event_store.sqlite")
        given = dict(site.environment)
        url = given.pop("CALIPER_EVENT_STORE_URL")
        given |= {
            "CALIPER_EVENT_STORES": str(tmp_path / "stores.yaml"),
            "CALIPER_EVENT_STORE_URL_OF_FINE": url,
            "KEY_OF_ALL": KEY,
            "CALIPER_ENVELOPES_IN_FLIGHT": "1",
        }
        with environment(given):
            yield found


@pytest.fixture
def slow_is_held(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The slow event store gets no envelope until the run no longer waits for it."""
    with EventStoreProxy(str(stores.file["slow"]["url"])) as proxy:
        stores.write(slow={"url": proxy.url, "timeout": 300})
        stop_slow = fan_out.SlowStorePolicy.stop_slow

        def stop_and_release(
            policy: fan_out.SlowStorePolicy, parts: Collection[fan_out._StoreThread]
        ) -> None:
            stop_slow(policy, parts)
            if any(part.store.name == "slow" and part.stop.is_set() for part in parts):
                proxy.release()

        monkeypatch.setattr(fan_out.SlowStorePolicy, "stop_slow", stop_and_release)
        proxy.hold()
        yield


@pytest.mark.usefixtures("slow_is_held")
def test_one_fine_one_slow_one_down_and_the_others_catch_up_by_themselves(stores: Stores) -> None:
    failed = stores.site.run(CHAIN_JOB, HOURS)
    (failure,) = (event for event in failed.all_events if event.is_step_failure)
    told = failure.step_failure_data.user_failure_data.description
    assert told.startswith("Event store down: the event store at http://127.0.0.1:")
    assert "check url" in told
    assert "CALIPER_" not in told
    assert stores.statuses("fine", HOURS) == ["MATERIALIZED"] * len(HOURS)
    assert stores.statuses("down", HOURS) == ["FAILED"] * len(HOURS)
    assert "FAILED" in stores.statuses("slow", HOURS)
    everything = stores.ids("fine")
    assert stores.delivery("fine", HOURS).acknowledged == len(everything) > 0
    assert stores.left()["down"] == list(HOURS)
    assert set(stores.left()["slow"]) <= set(HOURS)

    with open_instance() as instance:
        settings = stores.site.settings
        ask = HourStatuses(
            instance,
            emission_assets(build_assets(settings)),
            deferred_hours(settings, resources(settings)["ledger"].open),
        )
        # What was left over is looked after, and is nothing for the sensor over the log.
        assert set(ask(set(HOURS)).values()) == {Status.DONE}

    assert sorted(stores.catch_up()) == [("down", False), ("slow", True)]
    assert stores.catch_up() == []  # the one that is down is not asked again at once
    assert stores.ids("slow") == everything
    assert stores.statuses("slow", HOURS) == ["MATERIALIZED"] * len(HOURS)

    stores.come_back()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("caliper_dagster.dagster.sensors.backlog.time", lambda: 4e9)
        for _ in range(3):
            stores.catch_up()
    assert stores.left() == {}
    for name in NAMES:
        arrived, sent = stores.arrived(name), stores.delivery(name, HOURS)
        assert stores.ids(name) == everything
        assert arrived.received == arrived.events == sent.acknowledged == sent.events
    assert stores.site.run(CHAIN_JOB, HOURS).success
    assert stores.arrived("fine").received == len(everything)


def test_one_that_is_behind_is_passed_over_until_it_has_caught_up(stores: Stores) -> None:
    assert not stores.site.run(CHAIN_JOB, FIRST).success
    again = stores.site.run(CHAIN_JOB, REST)
    assert again.success
    checks = {
        check.asset_key.to_user_string(): check for check in again.get_asset_check_evaluations()
    }
    assert checks["emission_results_fine"].passed
    assert "deferred" in checks["emission_results_down"].description
    assert stores.statuses("down", REST) == [None] * len(REST)
    assert stores.left()["down"] == list(HOURS)
    stores.come_back()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("caliper_dagster.dagster.sensors.backlog.time", lambda: 4e9)
        while stores.catch_up():
            pass
    assert stores.left() == {}
    assert stores.ids("down") == stores.ids("fine") == stores.ids("slow")


def test_each_has_its_version_and_its_filter(stores: Stores) -> None:
    stores.come_back()
    stores.write(
        slow={"caliper_version": "v1p1", "batch_size": 20},
        down={"filter": {"moodle_events": {"exclude": ["*_viewed"]}}},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fan_out, "GRACE", 100)
        assert stores.site.run(CHAIN_JOB, HOURS).success
    with closing(sqlite3.connect(stores.site.folder / "slow.sqlite")) as connection:
        ((versions, most),) = connection.execute(
            "SELECT group_concat(DISTINCT data_version), max(events) FROM envelopes"
        )
    (event,) = last_events(stores.site.folder / "slow.sqlite", 1)
    assert (
        versions
        == json.loads(event.json)["@context"]
        == "http://purl.imsglobal.org/ctx/caliper/v1p1"
    )
    assert most <= 20
    fine, down = (stores.delivery(name, HOURS) for name in ("fine", "down"))
    assert down.filtered == {"moodle_events: exclude *_viewed": down.events - down.acknowledged}
    assert down.events == fine.events
    assert len(stores.ids("down")) == down.acknowledged < fine.acknowledged
    assert stores.ids("slow") == stores.ids("fine") > stores.ids("down")


def test_the_commands_work_for_several(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    between = ["--from", str(HOURS.start), "--to", str(HOURS.end)]
    assert main(["backfill", *between]) == 2
    captured = capsys.readouterr()
    everything = len(stores.ids("fine"))
    assert f"Deferred: {len(HOURS)} hours of down" in captured.err
    assert "Event store fine" in captured.out
    # The slow one has got the rest in runs of its own.
    assert stores.arrived("slow").received == len(stores.ids("slow")) == everything

    assert main(["doctor"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok      Event store fine") for line in lines)
    assert any(line.startswith("BROKEN  Event store down") for line in lines)

    stores.stack.enter_context(
        running(stores.site.folder / "down.sqlite", KEY, stores.port, "refuse=Session*")
    )
    assert main(["resend", *between, "--destination", "down"]) == 0
    assert stores.left() == {}
    capsys.readouterr()
    assert main(["rejected", *between, "--destination", "down"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.startswith("event_store\thour\t")
    assert lines
    assert all(line.startswith("down\t") for line in lines)
    assert len(stores.ids("down")) + len(lines) == everything
    assert main(["rejected", *between, "--destination", "nobody"]) == 2
    assert "none of fine, slow, down" in capsys.readouterr().err


STOPS_ITSELF = """
import os
from caliper_dagster.config.settings import Settings
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.delivery import fan_out
from caliper_dagster.operations import backfill
from caliper_dagster.operations.runner import RunContext
from caliper_dagster_tests.harness.sample_installation import HOURS

seen = []
fan_out.GRACE = 1

def written(frame, hour):
    seen.append(frame.name)
    if seen.count("emission_results_fine") == 3:
        os.kill(os.getpid(), 9)

with open_instance() as instance:
    context = RunContext(instance, Settings.from_environment(), written)
    list(backfill.backfill(context, HOURS))
"""


def test_what_a_killed_run_has_sent_to_whom_is_not_sent_again(stores: Stores) -> None:
    command = [sys.executable, "-c", STOPS_ITSELF]
    killed = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, check=False)
    assert killed.returncode == -Signals.SIGKILL
    stores.come_back()
    with open_instance() as instance:
        for done in backfill.backfill(RunContext(instance, stores.site.settings), HOURS):
            assert done.failure is None
    assert stores.left() == {}
    for name in NAMES:
        arrived = stores.arrived(name)
        assert stores.ids(name) == stores.ids("fine")
        # An hour has an envelope; one of each event store was in flight.
        assert arrived.envelopes <= len(HOURS) + 1
