import pytest

from caliper_dagster.operations.doctor import Verdict, examine, storage
from caliper_dagster_tests.harness.environment import environment


def test_an_unexpected_error_of_one_subject_does_not_hide_the_others(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("doctor")

    def fails(settings: object) -> None:
        raise IndexError("hunter22")

    with environment({"MOODLE_WWWROOT": "https://m.example.org", "DAGSTER_HOME": str(folder)}):
        from caliper_dagster.config.settings import Settings

        monkeypatch.setattr(storage, "partitions", fails)
        findings = {finding.subject: finding for finding in examine([Settings.from_environment()])}
    assert findings["Storage"].verdict is Verdict.BROKEN
    assert findings["Storage"].text == "could not be checked: an unexpected IndexError."
    assert {"Site address", "Moodle database", "Dagster", "File modes"} <= findings.keys()
