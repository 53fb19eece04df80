import os
from pathlib import Path

import pytest

from caliper_dagster.cli.main import main
from caliper_dagster.config.env_file import enter_folder, environment_for_dagster, load_env_file
from caliper_dagster_tests.harness.environment import environment

pytestmark = pytest.mark.usefixtures("as_a_process")


def test_the_environment_wins_even_if_it_says_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MOODLE_DB_PREFIX=mdl_\nCALIPER_START=2026-03-01\n")
    with environment({"MOODLE_DB_PREFIX": ""}):
        load_env_file()
        assert os.environ["MOODLE_DB_PREFIX"] == ""
        assert os.environ["CALIPER_START"] == "2026-03-01"


def test_the_working_directory_in_the_file_is_its_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DAGSTER_HOME=${PWD}/.dagster_home\n")
    with environment({"PWD": "/somewhere/else"}):
        load_env_file()
        assert os.environ["DAGSTER_HOME"] == f"{tmp_path}/.dagster_home"


def test_a_folder_named_env_is_no_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with environment({}):
        load_env_file()


def test_a_file_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_bytes(b"CALIPER_API_KEY=secret\xff\n")
    with environment({}):
        assert main(["doctor"]) == 2
    told = f"The file {tmp_path}/.env cannot be read (it is not UTF-8 text).\n"
    assert capsys.readouterr().err == told


def test_a_process_of_dagster_gets_absolute_paths_and_returns_to_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"DAGSTER_HOME": "home", "DAGSTER_POSTGRES_URL_FILE": "secrets/url"}
    with environment(given):
        passed_on = environment_for_dagster()
    assert passed_on["DAGSTER_HOME"] == f"{tmp_path}/home"
    assert passed_on["DAGSTER_POSTGRES_URL_FILE"] == f"{tmp_path}/secrets/url"

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with environment({}):
        enter_folder()
        assert Path.cwd() == elsewhere
    with environment(passed_on):
        enter_folder()
        assert Path.cwd() == tmp_path
