"""Two sites side by side in one instance: nothing of one is the other's, and none waits.

One is the real site's database in MariaDB, the other its copy in PostgreSQL under another address,
so that the ids of their rows are the same and those of their events must not be.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from caliper_dagster.config.sites import all_sites, chosen_site
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS, FRAMES
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.dagster.build import project_definitions
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.dagster.partitions import range_tags
from caliper_dagster.dagster.tags import SITE_TAG
from caliper_dagster.embedded.arrivals import last_events
from caliper_dagster.embedded.event_store import running
from caliper_dagster.emitter import Ledger
from caliper_dagster_tests.harness import commands
from caliper_dagster_tests.harness.commands import CommandResult
from caliper_dagster_tests.harness.environment import clean_environment, environment
from caliper_dagster_tests.harness.installation import between
from caliper_dagster_tests.harness.moodle_dump import DUMP_SITE
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port

HOURS = HourRange(Hour.from_key("2026-03-26-03:00"), Hour.from_key("2026-03-26-07:00"))
NORTH, SOUTH = "north", "south"
ADDRESSES = {NORTH: DUMP_SITE, SOUTH: "https://south.example.org/moodle"}
FILE = """
{site}:
  MOODLE_DB_URL: {{env: DB_OF_{site}}}
  MOODLE_WWWROOT: {wwwroot}
  CALIPER_EVENT_STORE_URL: {store}
  CALIPER_API_KEY: {{env: KEY_OF_{site}}}
"""
SOUTH_ONLY = {"CALIPER_IP_ADDRESSES": "true", "CALIPER_BATCH_SIZE": "20"}


@dataclass
class Sites:
    """An instance of two sites, and the event store of each."""

    folder: Path
    settings: dict[str, str]
    stores: dict[str, str]

    def run(self, *arguments: str, **changes: str) -> CommandResult:
        return commands.run(arguments, self.settings | changes, self.folder)

    def alone(self, site: str) -> dict[str, str]:
        """The settings of one of them as those of a single site."""
        home = self.folder / f"{site}-alone"
        home.mkdir()
        return {
            "MOODLE_DB_URL": self.settings[f"DB_OF_{site}"],
            "MOODLE_WWWROOT": ADDRESSES[site],
            "CALIPER_EVENT_STORE_URL": self.stores[site],
            "CALIPER_API_KEY": self.settings[f"KEY_OF_{site}"],
            "CALIPER_START": self.settings["CALIPER_START"],
            "DAGSTER_HOME": str(home),
            **(SOUTH_ONLY if site == SOUTH else {}),
        }

    @property
    def data(self) -> Path:
        return Path(self.settings["DAGSTER_HOME"]) / "data"

    def storage(self, site: str) -> PartitionStore:
        return PartitionStore(str(self.data / site))

    def events(self, site: str) -> dict[str, str]:
        """The events in the storage of a site, as they are sent."""
        return sent(self.storage(site).read(CALIPER_EVENTS, HOURS))

    def arrived(self, site: str) -> dict[str, str]:
        """What is at the event store of a site, each event once."""
        found = last_events(self.folder / f"{site}.sqlite", 10**9)
        assert {event.received for event in found} <= {1}
        return {event.id: event.json for event in found}


def sent(events: pa.Table) -> dict[str, str]:
    events = events.filter(pc.is_valid(events["json"]))
    return dict(zip(events["event_id"].to_pylist(), events["json"].to_pylist(), strict=True))


@pytest.fixture
def sites(tmp_path: Path, moodle_dump_mariadb: str, moodle_dump_postgres: str) -> Iterator[Sites]:
    with ExitStack() as stack:
        keys = {site: f"key-of-{site}" for site in ADDRESSES}
        stores = {
            site: stack.enter_context(running(tmp_path / f"{site}.sqlite", keys[site]))
            for site in ADDRESSES
        }
        text = "".join(
            FILE.format(site=site, wwwroot=ADDRESSES[site], store=stores[site])
            for site in ADDRESSES
        )
        more = "".join(f"  {name}: {value}\n" for name, value in SOUTH_ONLY.items())
        (tmp_path / "sites.yaml").write_text(text + more)
        settings = {
            "CALIPER_SITES": str(tmp_path / "sites.yaml"),
            "CALIPER_START": "2026-03-24",
            "CALIPER_ATTEMPTS": "1",
            "CALIPER_HOURS_PER_RUN": "2",
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            f"DB_OF_{NORTH}": moodle_dump_mariadb,
            f"DB_OF_{SOUTH}": moodle_dump_postgres,
            **{f"KEY_OF_{site}": key for site, key in keys.items()},
        }
        yield Sites(tmp_path, settings, stores)


def test_nothing_of_one_site_is_the_others_and_all_is_as_for_a_single_site(sites: Sites) -> None:
    backfill = ("backfill", *between(HOURS), "--site")
    for site, further in ((NORTH, ()), (SOUTH, ("--processes", "2"))):
        told = sites.run(*backfill, site, *further)
        assert told.status == 0, told.err
        assert told.number("Sent") == len(sites.events(site)) > 0

    events = {site: sites.events(site) for site in ADDRESSES}
    assert not events[NORTH].keys() & events[SOUTH].keys()
    assert {path.name for path in sites.data.iterdir() if path.is_dir()} == set(ADDRESSES)
    for site in ADDRESSES:
        assert sites.arrived(site) == events[site]
        folders = {path.name for path in (sites.data / site).iterdir() if path.is_dir()}
        assert (
            {frame.name for frame in FRAMES}
            <= folders
            <= {
                *(frame.name for frame in FRAMES),
                "log_lifecycle",
            }
        )

    assert_ledger_is_apart(sites)
    with environment(sites.settings), open_instance() as instance:
        loaded = project_definitions()
        for run in instance.get_runs():
            assert run.job_name == f"{run.tags[SITE_TAG]}_{CHAIN_JOB}"
            assert run.remote_job_origin is not None
            label = run.remote_job_origin.repository_origin.get_label()
            assert label == "__repository__@caliper_dagster.definitions"
            job = loaded.resolve_job_def(run.job_name)
            assert run.job_snapshot_id == job.get_job_snapshot_id()
            assert {key.path[0] for key in run.asset_selection or ()} <= {run.tags[SITE_TAG]}
        assert {run.tags[SITE_TAG] for run in instance.get_runs()} == set(ADDRESSES)
        for site in ADDRESSES:
            key = dg.AssetKey([site, EMISSION_RESULTS.name])
            assert instance.get_materialized_partitions(key) == {hour.key for hour in HOURS}

    # Repeated, each sends nothing; and alone each makes the same bytes.
    for site in ADDRESSES:
        again = sites.run(*backfill, site)
        assert (again.status, again.number("Sent")) == (0, 0), again.err
        alone = sites.alone(site)
        told = commands.run(("backfill", *between(HOURS)), alone, sites.folder)
        assert told.status == 0, told.err
        storage = PartitionStore(str(Path(alone["DAGSTER_HOME"]) / "data"))
        for frame in FRAMES[:3]:
            one, other = (kept.read(frame, HOURS) for kept in (storage, sites.storage(site)))
            assert one.to_pylist() == other.to_pylist()
        assert events[site] == sent(storage.read(CALIPER_EVENTS, HOURS))

    # One that was alone becomes one of several with what it has: nothing is sent again.
    said = (sites.folder / "sites.yaml").read_text()
    own = f"north:\n  CALIPER_STORAGE: {sites.folder}/north-alone/data"
    (sites.folder / "moved.yaml").write_text(said.replace("north:", own, 1))
    moved = sites.run(*backfill, NORTH, CALIPER_SITES=str(sites.folder / "moved.yaml"))
    assert (moved.status, moved.number("Sent")) == (0, 0), moved.err
    assert moved.number("Acknowledged") == len(events[NORTH])


def assert_ledger_is_apart(sites: Sites) -> None:
    """The one ledger of both has the events of each at its own event store, and nothing more."""
    with environment(sites.settings):
        found = all_sites()
        assert len({settings.ledger() for settings in found}) == 1
        with Ledger(found[0].ledger()) as ledger:
            for settings in found:
                for site, store in sites.stores.items():
                    rows = ledger.batches(
                        store, list(HOURS), site=settings.require("moodle_wwwroot")
                    )
                    ids = [id for of_hour in rows.values() for b in of_hour for id in b.event_ids()]
                    own = sites.events(site) if site == settings.site else {}
                    assert sorted(ids) == sorted(own)


def test_a_database_that_is_down_fails_its_own_sites_runs_only(sites: Sites) -> None:
    nowhere = f"mysql+pymysql://caliper:hush@127.0.0.1:{free_port()}/moodle"
    with environment({**sites.settings, f"DB_OF_{NORTH}": nowhere}), open_instance() as instance:
        definitions = project_definitions()
        outcomes = {}
        for site in ADDRESSES:
            outcomes[site] = definitions.resolve_job_def(f"{site}_{CHAIN_JOB}").execute_in_process(
                instance=instance, raise_on_error=False, tags=range_tags(HOURS)
            )
        (failed,) = (event for event in outcomes[NORTH].all_events if event.is_step_failure)
        told = failed.step_failure_data.user_failure_data.description
        assert failed.step_key == "north__moodle_log"
        assert told.startswith("MOODLE_DB_URL: no database answers at 127.0.0.1:")
        assert outcomes[SOUTH].success
        assert all(check.passed for check in outcomes[SOUTH].get_asset_check_evaluations())
    assert len(sites.arrived(SOUTH)) == len(sites.events(SOUTH)) > 0
    assert sites.arrived(NORTH) == {}


def test_a_site_may_have_several_event_stores_and_the_other_one(sites: Sites) -> None:
    port = free_port()
    (sites.folder / "stores.yaml").write_text(
        f"fine: {{url: '{sites.stores[NORTH]}', api_key: {{env: KEY_OF_{NORTH}}}}}\n"
        f"down: {{url: 'http://127.0.0.1:{port}/caliper', api_key: {{env: KEY_OF_{NORTH}}}}}\n"
    )
    said = (sites.folder / "sites.yaml").read_text()
    single = said[said.index("  CALIPER_EVENT_STORE_URL") : said.index(f"\n{SOUTH}:")]
    several = f"  CALIPER_EVENT_STORES: {sites.folder}/stores.yaml\n"
    (sites.folder / "sites.yaml").write_text(said.replace(single, several, 1))

    told = sites.run("backfill", *between(HOURS), "--site", NORTH)
    assert told.status == 2
    assert f"Deferred: {len(HOURS)} hours of down" in told.err
    assert "the sensor north_event_stores_catch_up sends them" in told.err
    assert sites.arrived(NORTH) == sites.events(NORTH) != {}
    with environment(sites.settings):
        sensors = {sensor.name for sensor in project_definitions().sensors or []}
    assert sensors == {
        "north_late_rows",
        "north_event_stores_catch_up",
        "north_standing_checks_after_runs",
        "south_late_rows",
        "south_standing_checks_after_runs",
    }
    with running(sites.folder / "down.sqlite", sites.settings[f"KEY_OF_{NORTH}"], port):
        resend = ("resend", *between(HOURS), "--destination", "down", "--site")
        assert sites.run(*resend, SOUTH).status == 2
        told = sites.run(*resend, NORTH)
        assert told.status == 0, told.err
    assert sites.arrived("down") == sites.events(NORTH)
    with environment(sites.settings), Ledger(chosen_site(NORTH).ledger()) as ledger:
        assert ledger.backlog(ADDRESSES[NORTH]).all() == {}


HANGS = """
from caliper_dagster.config.sites import chosen_site
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.expander import engines
from caliper_dagster.operations.backfill import backfill
from caliper_dagster.operations.runner import RunContext
from caliper_dagster_tests.end_to_end.test_sites import HOURS

# Also on a busy machine the wait outlasts the other site's backfill.
engines.CONNECT_SECONDS = 300

with open_instance() as instance:
    list(backfill(RunContext(instance, chosen_site("north")), HOURS))
"""


def test_a_database_that_never_answers_keeps_its_own_sites_places_only(sites: Sites) -> None:
    """With one place in each pool, and one site's taken for good, the other has all it needs."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as stack:
        url = f"mysql+pymysql://caliper:hush@127.0.0.1:{silent.getsockname()[1]}/moodle"
        with environment(sites.settings):
            instance = stack.enter_context(open_instance())
        pools = [f"{pool}_{site}" for pool in ("moodle_db", "event_store") for site in ADDRESSES]
        for pool in pools:
            instance.event_log_storage.set_concurrency_slots(pool, 1)
        hangs = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", HANGS],
            cwd=ROOT,
            env=clean_environment(dict(os.environ)) | sites.settings | {f"DB_OF_{NORTH}": url},
        )
        stack.callback(hangs.wait)
        stack.callback(hangs.kill)

        def held() -> bool:
            pool = instance.event_log_storage.get_concurrency_info(f"moodle_db_{NORTH}")
            return bool(pool.active_slot_count)

        deadline = time.monotonic() + 120
        while not held():
            assert hangs.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)

        told = sites.run("backfill", *between(HOURS), "--site", SOUTH)
        assert told.status == 0, told.err
        assert told.number("Acknowledged") == len(sites.arrived(SOUTH)) > 0
        assert hangs.poll() is None
        assert held()

    # The database is back: what the run held is given back, and the site has everything.
    told = sites.run("backfill", *between(HOURS), "--site", NORTH)
    assert told.status == 0, told.err
    assert sites.arrived(NORTH) == sites.events(NORTH) != {}
