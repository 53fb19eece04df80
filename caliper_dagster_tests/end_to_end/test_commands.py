"""Commands that start runs of Dagster or processes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.core.frames import CALIPER_EVENTS
from caliper_dagster.dagster.instance.open import open_instance
from caliper_dagster.dagster.jobs import CHAIN_JOB
from caliper_dagster.embedded.arrivals import arrivals
from caliper_dagster.embedded.event_store import running
from caliper_dagster_tests.end_to_end.test_wrong_settings import RANGE, WRONG, changed
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.paths import ROOT
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    KEY,
    SampleInstallation,
)

pytestmark = pytest.mark.usefixtures("as_a_process")


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_the_same_sentence_in_a_failed_run(
    case: str, shared_site: SampleInstallation
) -> None:
    changes, sentence = WRONG[case]
    with environment(changed(shared_site, changes)):
        result = shared_site.run(CHAIN_JOB, HOURS)
        assert not result.success
        (failed,) = (event for event in result.all_events if event.is_step_failure)
        assert sentence in failed.step_failure_data.user_failure_data.description
        with open_instance() as instance:
            stored = instance.all_logs(result.run_id)
    said = json.dumps([dg.serialize_value(entry) for entry in stored])
    assert sentence in said
    assert "secret" not in said
    assert KEY not in said


def numbers_in(table: str) -> dict[str, int]:
    lines = [line.rsplit(maxsplit=1) for line in table.splitlines()]
    return {what.strip(): int(number.replace(",", "")) for what, number in lines}


def test_a_backfill_tells_its_progress_and_its_numbers(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", *RANGE]) == 0
    told = capsys.readouterr()
    arrived = site.arrived().events
    numbers = numbers_in(told.out)
    assert numbers["Hours"] == len(HOURS)
    assert numbers["Log rows"] == numbers["Events"] + numbers["Filtered"] + numbers["Failed"]
    events = numbers["Events"] + numbers.get("Derived events", 0)
    assert numbers["Acknowledged"] == numbers["Sent"] == events == arrived
    assert numbers["ViewEvent"] > 0
    assert numbers["Envelopes"] == site.arrived().envelopes
    assert numbers["Unexplained rows"] == 0
    assert told.err.startswith(f"{HOURS}: ")

    assert main(["backfill", *RANGE]) == 0
    assert "0 events sent" in capsys.readouterr().err
    assert site.arrived().received == arrived


def test_a_plan_sends_nothing_and_says_what_a_backfill_will_be(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", *RANGE, "--plan"]) == 0
    planned = numbers_in(capsys.readouterr().out)
    assert site.arrived().envelopes == 0
    assert not (site.folder / "dagster").exists()

    assert main(["backfill", *RANGE]) == 0
    done = numbers_in(capsys.readouterr().out)
    assert (planned["Hours"], planned["Log rows"]) == (done["Hours"], done["Log rows"])
    # The sample is the whole range here.
    assert planned["Events, about"] == done["Sent"]
    assert planned["Batches, about"] == done["Envelopes"]


def test_resending_sends_what_is_asked_for(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resend", *RANGE]) == 2
    assert "caliper_events has not been materialized" in capsys.readouterr().err
    assert main(["backfill", *RANGE]) == 0
    arrived = site.arrived()
    assert main(["resend", *RANGE]) == 0
    assert site.arrived() == arrived
    assert main(["resend", *RANGE, "--all"]) == 0
    assert site.arrived().events == arrived.events
    assert site.arrived().received == 2 * arrived.received


def test_rejected_events_are_listed_and_sent_again_when_the_store_is_mended(
    site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    file, port = site.folder / "hostile.sqlite", free_port()
    with running(file, KEY, port, hostile="400=0.05") as url:
        with environment(dict(site.environment) | {"CALIPER_EVENT_STORE_URL": url}):
            assert main(["backfill", *RANGE]) == 0
            assert "Rejected by the event store" in capsys.readouterr().out
            refused = rejected_by(capsys)
            assert main(["resend", *RANGE, "--rejected"]) == 0
            tried = numbers_in(capsys.readouterr().out)
            assert rejected_by(capsys) == refused
    assert 0 < len(refused) < 100
    again = "rejected again (see `caliper-dagster rejected`)"
    assert tried["Rejected before, sent again"] == tried[again] == len(refused)
    assert tried["accepted now"] == 0
    for hour, event_id, log_id, event_name, status, words in refused:
        assert hour in map(str, HOURS)
        assert event_id.startswith("urn:uuid:")
        assert (int(log_id) > 0, event_name[0], status) == (True, "\\", "400")
        assert "not accepted here" in words
    with running(file, KEY, port) as again:
        assert again == url
        with environment(dict(site.environment) | {"CALIPER_EVENT_STORE_URL": url}):
            before = arrivals(file).received
            assert main(["resend", *RANGE, "--rejected"]) == 0
            tried = numbers_in(capsys.readouterr().out)
            assert tried["Rejected before, sent again"] == tried["accepted now"] == len(refused)
            assert arrivals(file).received == before + len(refused)
            assert rejected_by(capsys) == []


def rejected_by(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """What the command lists now."""
    capsys.readouterr()
    assert main(["rejected", *RANGE]) == 0
    told = capsys.readouterr()
    header, *listed = [line.split("\t") for line in told.out.splitlines()]
    assert header == ["hour", "event_id", "log_id", "event_name", "status", "message"]
    assert told.err.startswith(f"{len(listed)} rejected event")
    return listed


def test_translate_writes_what_would_be_sent(site: SampleInstallation, tmp_path: Path) -> None:
    out = tmp_path / "events.ndjson"
    with environment({k: v for k, v in site.environment.items() if k != "DAGSTER_HOME"}):
        assert main(["translate", *RANGE, "--out", str(out)]) == 0
    assert site.arrived().envelopes == 0
    assert main(["backfill", *RANGE]) == 0
    stored = site.storage.read(CALIPER_EVENTS, HOURS, ["json"])["json"].drop_null().to_pylist()
    assert out.read_text().splitlines() == stored


def test_translate_writes_to_standard_output_and_needs_no_dagster(
    shared_site: SampleInstallation,
) -> None:
    program = (
        "import sys; from caliper_dagster.cli.main import main; status = main();"
        "print('dagster' in sys.modules, file=sys.stderr); sys.exit(status)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, "translate", *RANGE, "--out", "-"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert len({event["id"] for event in events}) == len(events) > 100
    assert result.stderr.splitlines()[-1] == "False"
    told = re.findall(r"(\d[\d,]*) (?:event|derived)", result.stderr)
    assert sum(int(number.replace(",", "")) for number in told) == len(events)


def test_a_reader_that_stops_reading_is_no_error(shared_site: SampleInstallation) -> None:
    command = (
        f"{sys.executable} -m caliper_dagster.cli translate {' '.join(RANGE)} --out - | head -1"
    )
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stdout.splitlines()) == 1
