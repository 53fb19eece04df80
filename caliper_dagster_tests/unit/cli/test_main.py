from importlib.metadata import version
from pathlib import Path

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster_tests.harness.environment import environment
from caliper_dagster_tests.harness.sample_installation import (
    HOURS,
    KEY,
    SampleInstallation,
)

RANGE = ["--from", str(HOURS.start), "--to", str(HOURS.end)]

WRONG = {
    "no database": ({"MOODLE_DB_URL": ""}, "MOODLE_DB_URL is not set"),
    "no such file": (
        {"MOODLE_DB_URL": "sqlite:////nowhere.sqlite"},
        "MOODLE_DB_URL names the file",
    ),
    "wrong prefix": ({"MOODLE_DB_PREFIX": "other_"}, "MOODLE_DB_PREFIX: the database"),
    "no site": ({"MOODLE_WWWROOT": ""}, "MOODLE_WWWROOT is not set"),
    "no event store": ({"CALIPER_EVENT_STORE_URL": ""}, "CALIPER_EVENT_STORE_URL is not set"),
    "event store down": (
        {
            "CALIPER_EVENT_STORE_URL": "http://127.0.0.1:9/caliper?token=secret-token",
            "CALIPER_ATTEMPTS": "1",
        },
        "check CALIPER_EVENT_STORE_URL",
    ),
    "wrong key": ({"CALIPER_API_KEY": "secret-key"}, "check CALIPER_API_KEY"),
    "storage not writable": (
        {"CALIPER_STORAGE": "{file}/data"},
        "CALIPER_STORAGE cannot be written",
    ),
}

pytestmark = pytest.mark.usefixtures("as_a_process")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"caliper-dagster {version('caliper-dagster')}\n"


def changed(site: SampleInstallation, changes: dict[str, str]) -> dict[str, str]:
    file = site.folder / "file"
    file.write_text("")
    return dict(site.environment) | {k: v.format(file=file) for k, v in changes.items()}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_one_sentence_and_status_2(
    case: str, shared_site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, sentence = WRONG[case]
    with environment(changed(shared_site, changes)):
        assert main(["backfill", *RANGE]) == 2
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert "secret" not in told.err
    assert KEY not in told.err


def test_a_setting_of_the_wrong_form_is_one_sentence(
    shared_site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment(changed(shared_site, {"CALIPER_BATCH_SIZE": "many"})):
        assert main(["backfill", *RANGE]) == 2
    assert capsys.readouterr().err.startswith("CALIPER_BATCH_SIZE is wrong: ")


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


def test_a_defect_is_one_sentence_that_says_nothing_secret(
    shared_site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment(changed(shared_site, {"CALIPER_STORAGE": "secret-scheme://bucket"})):
        assert main(["backfill", *RANGE]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "Traceback" not in told
