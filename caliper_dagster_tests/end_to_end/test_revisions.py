"""What an earlier release has sent stays sent.

The folder ``data/revision_1`` holds an hour of the sample site and its ledger as the last release
without mapping revisions wrote them: 51 log rows, 51 acknowledged events.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS, EXPANDED_LOG, MOODLE_LOG
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.revisions import (
    EXPANSION_REVISION,
    MAPPING_REVISION,
    expansion_revisions,
    expansion_stats,
    mapping_revision,
)
from caliper_dagster.core.row_accounting import DeliveryCounts
from caliper_dagster_tests.harness.paths import DATA
from caliper_dagster_tests.harness.sample_installation import (
    SampleInstallation,
    sample_installation,
)

OLD = DATA / "revision_1"
HOUR = Hour.from_key("2026-03-02-09:00")
RANGE = ["--from", str(HOUR), "--to", str(HOUR + 1)]
SENT = 51
LOG = "mdl_logstore_standard_log"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SampleInstallation]:
    """An installation that was upgraded after the hour had been sent, with one late log row."""
    monkeypatch.chdir(tmp_path)
    with sample_installation(tmp_path, students=2) as found:
        data = tmp_path / "dagster" / "data"
        shutil.copytree(OLD, data, ignore=shutil.ignore_patterns("*.sql"))
        dump = (OLD / "ledger.sql").read_text(encoding="utf-8")
        store = found.environment["CALIPER_EVENT_STORE_URL"]
        dump = dump.replace("http://event-store.example.org/caliper", store)
        with closing(sqlite3.connect(data / "ledger.sqlite")) as connection:
            connection.executescript(dump)
        _restore_log(found)
        yield found


def _restore_log(site: SampleInstallation) -> None:
    """The log as it was when the hour was sent, and one row that was committed late."""
    names = MOODLE_LOG.schema.names
    rows = site.storage.read(MOODLE_LOG, [HOUR]).to_pylist()
    late = next(row for row in rows if row["eventname"] == r"\core\event\course_viewed")
    rows.append(late | {"id": 1_000_000})
    with closing(sqlite3.connect(site.folder / "moodle.sqlite")) as connection, connection:
        connection.execute(
            f"DELETE FROM {LOG} WHERE timecreated BETWEEN ? AND ?", (HOUR.start, HOUR.end - 1)
        )
        # The sample site of today has other ids in other hours.
        connection.executemany(f"DELETE FROM {LOG} WHERE id = ?", [(row["id"],) for row in rows])
        connection.executemany(
            f"INSERT INTO {LOG} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
            [tuple(row[name] for name in names) for row in rows],
        )


def counts(site: SampleInstallation) -> DeliveryCounts:
    return DeliveryCounts.from_footer_stats(site.storage.footer_stats(EMISSION_RESULTS, HOUR))


def test_a_late_row_sends_one_event_and_the_rest_only_when_asked(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", *RANGE, "--plan"]) == 0
    assert re.search(rf"older mapping, not sent again +{SENT}\n", capsys.readouterr().out)

    assert main(["backfill", *RANGE]) == 0
    assert site.arrived().received == 1
    assert counts(site).events == counts(site).acknowledged == SENT + 1
    assert counts(site).changed == SENT
    assert "changed by a newer mapping" in capsys.readouterr().out

    for command in (["backfill", *RANGE], ["resend", *RANGE], ["backfill", *RANGE, "--fresh"]):
        assert main(command) == 0
        assert site.arrived().received == 1

    assert main(["resend", *RANGE, "--changed"]) == 0
    assert site.arrived().received == site.arrived().events == SENT + 1
    assert counts(site).changed == 0
    assert main(["resend", *RANGE, "--changed"]) == 0
    assert main(["backfill", *RANGE]) == 0
    assert site.arrived().received == SENT + 1


def test_changed_events_are_sent_although_nothing_has_translated_the_hour_again(
    site: SampleInstallation,
) -> None:
    assert main(["resend", *RANGE]) == 0
    assert site.arrived().received == 0
    assert main(["resend", *RANGE, "--changed"]) == 0
    assert site.arrived().received == site.arrived().events == SENT
    assert mapping_revision(site.storage.footer_stats(CALIPER_EVENTS, HOUR)) == MAPPING_REVISION


def test_a_setting_sends_the_changed_events_with_the_next_run(
    site: SampleInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALIPER_RESEND_CHANGED", "true")
    assert main(["backfill", *RANGE]) == 0
    assert site.arrived().received == site.arrived().events == SENT + 1


def test_the_doctor_tells_what_was_sent_under_an_older_revision(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert f"the event store has {SENT} events in 1 hour as an older revision or another" in told
    assert "several revisions" not in told

    assert main(["backfill", *RANGE]) == 0
    capsys.readouterr()
    assert main(["doctor"]) == 0
    assert f"events of several revisions in 1 hour ({HOUR})" in capsys.readouterr().out

    assert main(["resend", *RANGE, "--changed"]) == 0
    capsys.readouterr()
    assert main(["doctor"]) == 0
    assert f"revision {MAPPING_REVISION}, also of everything" in capsys.readouterr().out


def test_the_doctor_names_hours_that_keep_facts_of_an_older_release(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", *RANGE]) == 0
    expanded = site.storage.read(EXPANDED_LOG, [HOUR])
    older = {"expansion_revisions": [EXPANSION_REVISION - 1, EXPANSION_REVISION]}
    site.storage.write(EXPANDED_LOG, HOUR, expanded, older)
    capsys.readouterr()
    assert main(["doctor"]) == 0
    assert f"1 hour ({HOUR}) hold rows that an older release" in capsys.readouterr().out

    assert main(["backfill", *RANGE, "--fresh"]) == 0
    capsys.readouterr()
    assert main(["doctor"]) == 0
    assert "older release" not in capsys.readouterr().out


def test_stored_hours_carry_their_revisions(site: SampleInstallation) -> None:
    storage = site.storage
    assert mapping_revision(storage.footer_stats(CALIPER_EVENTS, HOUR)) == 1
    assert expansion_revisions(storage.footer_stats(EXPANDED_LOG, HOUR)) == (1,)
    assert main(["backfill", "--from", str(HOUR), "--to", str(HOUR + 2)]) == 0
    for hour in HourRange(HOUR, HOUR + 2):
        stats = storage.footer_stats(CALIPER_EVENTS, hour)
        assert mapping_revision(stats) == MAPPING_REVISION
        assert stats["rows"]
        # The first hour keeps the rows of the earlier release beside the late one.
        assert expansion_revisions(storage.footer_stats(EXPANDED_LOG, hour)) == (
            (1, EXPANSION_REVISION) if hour == HOUR else (EXPANSION_REVISION,)
        )


@pytest.mark.parametrize(
    ("previous", "kept", "expanded", "revisions"),
    [
        (None, 0, 5, (EXPANSION_REVISION,)),
        ({}, 5, 0, (1,)),
        ({"expansion_revisions": [0]}, 5, 2, (0, EXPANSION_REVISION)),
        ({"expansion_revisions": [0]}, 5, 0, (0,)),
        ({"expansion_revisions": [0]}, 0, 2, (EXPANSION_REVISION,)),
        ({"expansion_revisions": [0]}, 0, 0, (EXPANSION_REVISION,)),
    ],
)
def test_rows_that_are_kept_keep_their_revision(
    previous: dict[str, object] | None, kept: int, expanded: int, revisions: tuple[int, ...]
) -> None:
    stats = expansion_stats(previous, kept=kept, expanded=expanded)
    assert expansion_revisions(stats) == revisions
