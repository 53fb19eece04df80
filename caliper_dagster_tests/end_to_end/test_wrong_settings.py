"""What a command says of a setting that is wrong: one sentence, nothing secret, status 2."""

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


def test_a_defect_is_one_sentence_that_says_nothing_secret(
    shared_site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment(changed(shared_site, {"CALIPER_STORAGE": "secret-scheme://bucket"})):
        assert main(["backfill", *RANGE]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "Traceback" not in told


def test_a_setting_of_the_wrong_form_is_one_sentence(
    shared_site: SampleInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment(changed(shared_site, {"CALIPER_BATCH_SIZE": "many"})):
        assert main(["backfill", *RANGE]) == 2
    assert capsys.readouterr().err.startswith("CALIPER_BATCH_SIZE is wrong: ")
