from importlib.metadata import version
from pathlib import Path

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    SampleInstallation,
)

RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]


pytestmark = pytest.mark.usefixtures("as_a_process")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"caliper-dagster {version('caliper-dagster')}\n"


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        ("2026-03-02T13:30", "2026-03-02T14", "--from must be a full hour in UTC"),
        ("2026-03-02T14", "2026-03-02T14", "--to must be later than --from"),
        (
            "2026-02-02",
            "2026-03-02",
            "--from is before the first hour, CALIPER_START 2026-03-01T00",
        ),
        ("2026-03-02", "2999-03-02", "--to is after"),
    ],
)
def test_hours_that_cannot_be_are_told(
    start: str,
    end: str,
    sentence: str,
    shared_site: SampleInstallation,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["backfill", "--from", start, "--to", end]) == 2
    assert sentence in capsys.readouterr().err


def test_output_that_cannot_be_written_is_one_sentence(
    shared_site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", *RANGE, "--out", "/nowhere/events"]) == 2
    assert capsys.readouterr().err.startswith("--out cannot be written to: /nowhere/events (")


def test_settings_come_from_the_folders_env_file_and_the_environment_wins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text("MOODLE_DB_URL=sqlite:///in_file\nCALIPER_START=2026-03-01\n")
    with environment({}):
        assert main(["backfill", *RANGE, "--plan"]) == 2
    assert "in_file" in capsys.readouterr().err
    with environment({"MOODLE_DB_URL": "sqlite:///in_environment"}):
        assert main(["backfill", *RANGE, "--plan"]) == 2
    assert "in_environment" in capsys.readouterr().err


def test_a_sample_is_written_and_says_how_to_use_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sample", "--out", "site.sqlite", "--students", "5", "--hours", "30", "--seed", "3"]
    assert main(command) == 0
    assert f"MOODLE_DB_URL='sqlite:///{tmp_path / 'site.sqlite'}'" in capsys.readouterr().out
    assert main(command) == 2
    assert main([*command, "--overwrite"]) == 0


def test_an_event_store_needs_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    with environment({}):
        assert main(["event-store", "--port", "0", "--db", "store.sqlite"]) == 2
    assert capsys.readouterr().err.startswith("CALIPER_API_KEY is not set")
