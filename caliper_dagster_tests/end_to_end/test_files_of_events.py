"""Files of events beside two event stores of which one is down: every event is there once."""

from __future__ import annotations

import gzip
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

import fsspec
import orjson
import pyarrow.compute as pc
import pytest
import yaml

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import CALIPER_EVENTS, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.embedded.event_store import running
from caliper_dagster.emitter import Ledger
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    KEY,
    SampleInstallation,
    sample_installation,
)

BETWEEN = ["--from", str(HOURS.start), "--to", str(HOURS.end)]


@dataclass
class Files:
    """The site, and the place of its files."""

    site: SampleInstallation
    url: str
    port: int

    def contents(self) -> dict[str, bytes]:
        """The files of events by name; nothing else is there but the one that says whose it is."""
        files, path = fsspec.core.url_to_fs(self.url)
        files.invalidate_cache()
        found = {name.rpartition("/")[2]: name for name in files.find(path, withdirs=False)}
        del found["_caliper_dagster.json"]
        return {name: bytes(files.cat_file(found[name])) for name in sorted(found)}

    def whole_files(self) -> dict[str, bytes]:
        """The same without what a kill has left half written, which has a name of its own."""
        return {name: file for name, file in self.contents().items() if name[0] != "."}

    def ids(self) -> list[str]:
        """The ids in all files, in their order."""
        contents = self.whole_files().values()
        lines = (line for content in contents for line in gzip.decompress(content).splitlines())
        return [orjson.loads(line)["id"] for line in lines]

    def stored_ids(self) -> list[str]:
        """The ids of the stored events of the hours, in their order."""
        ids = self.site.storage.read(CALIPER_EVENTS, HOURS, ["event_id"])["event_id"]
        return list(pc.drop_null(ids).to_pylist())

    def acknowledged(self) -> list[str]:
        """The ids that the ledger lists as acknowledged."""
        with Ledger(self.site.settings.ledger()) as ledger:
            batches = ledger.batches("lake", list(HOURS), site=self.site.settings.moodle_wwwroot)
        return [event for hour in HOURS for batch in batches[hour] for event in batch.event_ids()]

    def add_late_row(self) -> None:
        rows = self.site.storage.read(MOODLE_LOG, HOURS).to_pylist()
        row = next(row for row in rows if row["eventname"] == r"\core\event\course_viewed")
        row |= {"id": 1_000_000}
        with closing(sqlite3.connect(self.site.folder / "moodle.sqlite")) as log, log:
            log.execute(
                f"INSERT INTO mdl_logstore_standard_log ({', '.join(row)}) "
                f"VALUES ({', '.join('?' * len(row))})",
                [*row.values()],
            )

    def left(self) -> dict[str, list[Hour]]:
        with Ledger(self.site.settings.ledger()) as ledger:
            found = ledger.backlog(self.site.settings.moodle_wwwroot).all()
        return {name: sorted(hours) for name, hours in found.items()}


@pytest.fixture(params=["folder", "bucket"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    if request.param == "folder":
        url = str(tmp_path / "lake")
        (tmp_path / "lake").mkdir()
    else:
        url = f"{request.getfixturevalue('bucket')}/lake"
    port = free_port()
    with sample_installation(tmp_path) as site:
        given = dict(site.environment)
        key = {"api_key": {"env": "CALIPER_API_KEY"}}
        stores = {
            "fine": {"url": given.pop("CALIPER_EVENT_STORE_URL"), **key},
            "down": {"url": f"http://127.0.0.1:{port}/caliper", **key},
            "lake": {"url": url, "gzip": True},
        }
        (tmp_path / "stores.yaml").write_text(yaml.safe_dump(stores, sort_keys=False))
        with environment(given | {"CALIPER_EVENT_STORES": str(tmp_path / "stores.yaml")}):
            yield Files(site, url, port)


def test_every_event_is_there_once_also_after_a_late_row_and_a_resend(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not files.site.run(CHAIN_JOB, HOURS).success  # one of the event stores is down
    assert list(files.left()) == ["down"]
    first = files.contents()
    assert list(first) == [f"{hour.datetime:%Y-%m-%dT%H}.ndjson.gz" for hour in HOURS]
    assert files.ids() == files.stored_ids() == files.acknowledged()
    number = len(files.ids())
    assert len(set(files.ids())) == number == files.site.arrived().received > 0

    files.add_late_row()
    capsys.readouterr()
    assert main(["backfill", *BETWEEN]) == 2
    assert files.ids() == files.stored_ids() == files.acknowledged()
    assert len(set(files.ids())) == number + 1 == files.site.arrived().received
    rewritten = files.contents()
    assert len([name for name in first if first[name] != rewritten[name]]) == 1

    assert main(["resend", *BETWEEN, "--all", "--destination", "lake"]) == 0
    assert files.contents() == rewritten
    assert main(["resend", *BETWEEN, "--destination", "lake"]) == 0
    assert files.acknowledged() == files.ids()

    capsys.readouterr()
    assert main(["doctor"]) == 2
    lines = capsys.readouterr().out.splitlines()
    (found,) = [line for line in lines if "Event store lake" in line]
    assert found.startswith("ok ")
    assert found.endswith(f"{files.url} can be written to")
    assert not any("Key lake" in line for line in lines)

    with running(files.site.folder / "down.sqlite", KEY, files.port):
        assert main(["resend", *BETWEEN, "--destination", "down"]) == 0
    assert files.left() == {}
    assert main(["rejected", *BETWEEN]) == 0
    assert files.contents() == rewritten


STOPS_ITSELF = """
import os
from caliper_dagster.config.settings import Settings
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.operations import backfill
from caliper_dagster.operations.runner import RunContext
from caliper_dagster_tests.harness.sample_installation import HOURS

seen = []

def written(frame, hour):
    seen.append(frame.name)
    if seen.count("emission_results_lake") == 2:
        os.kill(os.getpid(), 9)

with open_instance() as instance:
    context = RunContext(instance, Settings.from_environment(), written)
    list(backfill.backfill(context, HOURS))
"""


def test_a_run_that_is_killed_leaves_whole_files_and_the_next_one_the_rest(files: Files) -> None:
    command = [sys.executable, "-c", STOPS_ITSELF]
    killed = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, check=False)
    assert killed.returncode == -Signals.SIGKILL
    assert set(files.acknowledged()) <= set(files.ids()) <= set(files.stored_ids())
    before = files.whole_files()
    assert before
    with running(files.site.folder / "down.sqlite", KEY, files.port):
        assert main(["backfill", *BETWEEN]) == 0
    assert files.ids() == files.stored_ids() == files.acknowledged()
    after = files.contents()
    assert {name: after[name] for name in before} == before
    assert len(after) == len(HOURS)


def test_a_single_event_store_may_be_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events").mkdir(0o700)
    with sample_installation(tmp_path, students=3) as site:
        given = dict(site.environment) | {"CALIPER_EVENT_STORE_URL": f"{tmp_path}/events/"}
        with environment(given):
            assert main(["backfill", *BETWEEN]) == 2
            assert "CALIPER_API_KEY is set, but the event store is a folder" in (
                capsys.readouterr().err
            )
        del given["CALIPER_API_KEY"]
        with environment(given):
            assert main(["doctor"]) == 0
            assert f"{tmp_path}/events can be written to" in capsys.readouterr().out
            assert main(["backfill", *BETWEEN]) == 0
            lines = [
                line
                for path in sorted((tmp_path / "events").rglob("*.ndjson"))
                for line in path.read_bytes().splitlines()
            ]
            stored = site.storage.read(CALIPER_EVENTS, HourRange(HOURS.start, HOURS.end), ["json"])
            texts = pc.drop_null(stored["json"]).to_pylist()
            assert [line.decode() for line in lines] == texts
            (of_site,) = (tmp_path / "events").iterdir()
            of_site.chmod(0o755)
            assert main(["doctor", "--fix-modes"]) == 0
            assert of_site.stat().st_mode & 0o777 == 0o700
