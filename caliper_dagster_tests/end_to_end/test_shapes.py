"""An event store gets the shape that it wants; another shape sends nothing again by itself."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.revisions import MAPPING_REVISION, mapping_revision
from caliper_dagster.embedded.event_store import running
from caliper_dagster_tests.harness.receivers import bare_references, refused_by_openlrw
from caliper_dagster_tests.harness.sample_installation import KEY, SampleInstallation

HOURS = HourRange(Hour.from_key("2026-03-02-09:00"), Hour.from_key("2026-03-02-10:00"))
RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]


def received(database: Path) -> list[dict[str, Any]]:
    """What an event store holds, in the order in which it came."""
    with closing(sqlite3.connect(database)) as connection:
        bodies = connection.execute("SELECT body FROM envelopes ORDER BY id").fetchall()
    return [event for (body,) in bodies for event in json.loads(body)["data"]]


def test_another_shape_is_sent_only_when_asked(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", *RANGE]) == 0
    number = site.arrived().received
    assert number > 0

    monkeypatch.setenv("CALIPER_EVENT_STORE_SHAPE", "openlrw")
    for command in (["backfill"], ["resend"], ["backfill", "--fresh"]):
        assert main([command[0], *RANGE, *command[1:]]) == 0
        assert site.arrived().received == number
    stats = site.storage.footer_stats(CALIPER_EVENTS, HOURS.start)
    assert mapping_revision(stats) == MAPPING_REVISION + 500
    capsys.readouterr()
    assert main(["doctor"]) == 0
    assert f"the event store has {number} events in 1 hour as an older" in " ".join(
        capsys.readouterr().out.split()
    )

    assert main(["resend", *RANGE, "--changed"]) == 0
    both = site.arrived().received
    assert number + number * 0.9 < both <= number + number  # a log-in is the same in both shapes
    assert site.arrived().events == number
    newest = {event["id"]: event for event in received(site.folder / "event_store.sqlite")}
    assert [place for event in newest.values() for place in refused_by_openlrw(event)] == []

    monkeypatch.delenv("CALIPER_EVENT_STORE_SHAPE")
    assert main(["backfill", *RANGE]) == 0
    assert site.arrived().received == both


def test_two_event_stores_get_a_shape_each_and_translate_follows(
    site: SampleInstallation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with running(tmp_path / "objects.sqlite", KEY) as url:
        (tmp_path / "stores.yaml").write_text(
            f"plain:\n  url: {site.environment['CALIPER_EVENT_STORE_URL']}\n"
            f"  api_key: {{env: STORE_KEY}}\n"
            f"strict:\n  url: {url}\n  api_key: {{env: STORE_KEY}}\n  shape: objects\n"
        )
        monkeypatch.setenv("STORE_KEY", KEY)
        monkeypatch.setenv("CALIPER_EVENT_STORES", str(tmp_path / "stores.yaml"))
        for name in ("CALIPER_EVENT_STORE_URL", "CALIPER_API_KEY"):
            monkeypatch.delenv(name)
        assert main(["backfill", *RANGE]) == 0
    plain, strict = (
        received(folder / name)
        for folder, name in ((site.folder, "event_store.sqlite"), (tmp_path, "objects.sqlite"))
    )
    assert {event["id"] for event in plain} == {event["id"] for event in strict}
    assert any(bare_references(event, "v1p2") for event in plain)
    assert not any(bare_references(event, "v1p2") for event in strict)
    folders = {path.name for path in (site.folder / "dagster" / "data").iterdir()}
    assert {"caliper_events", "caliper_events_v1p2_objects"} <= folders

    monkeypatch.delenv("CALIPER_EVENT_STORES")
    monkeypatch.setenv("CALIPER_EVENT_STORE_SHAPE", "objects")
    out = tmp_path / "events.ndjson"
    assert main(["translate", *RANGE, "--out", str(out)]) == 0
    assert {event["id"]: event for event in map(json.loads, out.read_text().splitlines())} == {
        event["id"]: event for event in strict
    }
