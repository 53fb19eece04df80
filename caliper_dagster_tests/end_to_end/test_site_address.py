"""A site whose address changes: the same ids with `CALIPER_SITE_ID`, and an error without it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import CALIPER_EVENTS, MOODLE_LOG
from caliper_dagster.core.hours import HourRange
from caliper_dagster_tests.harness.sample_installation import (
    END,
    SampleInstallation,
    sample_installation,
)

OLD, NEW = "http://moodle.example.org", "https://moodle.example.org"
HOURS = HourRange(END + -3, END)
RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SampleInstallation]:
    """An installation that has sent three hours at its first address, and then moves."""
    monkeypatch.chdir(tmp_path)
    with sample_installation(tmp_path, students=3) as found:
        monkeypatch.setenv("MOODLE_WWWROOT", OLD)
        assert main(["backfill", *RANGE]) == 0
        monkeypatch.setenv("MOODLE_WWWROOT", NEW)
        yield found


def stored(site: SampleInstallation) -> dict[str, str]:
    """The JSON of the events by their ids."""
    events = site.storage.read(CALIPER_EVENTS, HOURS, ["event_id", "json"]).to_pylist()
    return {row["event_id"]: row["json"] for row in events if row["event_id"]}


def late_row(site: SampleInstallation) -> None:
    """One more row in the last hour."""
    rows = site.storage.read(MOODLE_LOG, [END + -1]).to_pylist()
    row = next(row for row in rows if row["eventname"] == r"\core\event\course_viewed")
    row |= {"id": 1_000_000}
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection, connection:
        connection.execute(
            f"INSERT INTO mdl_logstore_standard_log ({', '.join(row)}) "
            f"VALUES ({', '.join('?' * len(row))})",
            [*row.values()],
        )


def test_with_the_former_id_nothing_is_sent_again(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, sent = stored(site), site.arrived().received
    assert sent == len(before) > 50
    monkeypatch.setenv("CALIPER_SITE_ID", OLD)
    late_row(site)
    for command in (["backfill", *RANGE], ["resend", *RANGE], ["backfill", *RANGE, "--fresh"]):
        assert main(command) == 0
        assert site.arrived().received == sent + 1
    after = stored(site)
    assert set(before) < set(after)
    assert len(after) == len(before) + 1
    assert all(OLD in text and NEW not in text for text in before.values())
    assert all(NEW in text and f'"{OLD}' not in text for text in after.values())

    capsys.readouterr()
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert f"{NEW}; ids of events are made of {OLD}" in told
    assert f"{len(before)} events in 3 hours as an older revision, another address" in told

    assert main(["resend", *RANGE, "--changed"]) == 0
    assert site.arrived().received == sent + 1 + len(before)
    assert site.arrived().events == len(after)


def test_without_it_nothing_is_written_or_sent_and_the_line_to_set_is_told(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    before, sent = stored(site), site.arrived().received
    late_row(site)
    for command in (["backfill", *RANGE], ["resend", *RANGE, "--all"], ["doctor"]):
        capsys.readouterr()
        assert main(command) != 0
        told = capsys.readouterr()
        assert f"CALIPER_SITE_ID={OLD}" in " ".join((told.out + told.err).split())
    assert stored(site) == before
    assert site.arrived().received == sent


def test_another_storage_beside_the_same_ledger_is_no_way_to_send_again_unasked(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = site.arrived().received
    monkeypatch.setenv("CALIPER_LEDGER_URL", site.settings.ledger())
    monkeypatch.setenv("CALIPER_STORAGE", str(site.folder / "elsewhere"))
    assert main(["backfill", *RANGE]) != 0
    assert site.arrived().received == sent
    # The answer that it is another site; its events have other ids.
    monkeypatch.setenv("CALIPER_SITE_ID", NEW)
    assert main(["backfill", *RANGE]) == 0
    assert site.arrived().received == site.arrived().events == 2 * sent
    capsys.readouterr()
