"""What an installation stores, under the umask of most systems: another account reads nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from caliper_dagster_tests.harness.commands import command_line
from caliper_dagster_tests.harness.environment import clean_environment
from caliper_dagster_tests.harness.ports import free_port
from caliper_dagster_tests.harness.sample_installation import HOURS, sample_installation


def run(folder: Path, *arguments: str, **settings: str) -> str:
    ended = subprocess.run(
        command_line(*arguments),
        cwd=folder,
        env=clean_environment(dict(os.environ)) | settings,
        capture_output=True,
        text=True,
        umask=0o022,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def others(folder: Path) -> dict[str, str]:
    """Every file and folder that group or others may use."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode & 0o777
        if mode & 0o077 and not path.is_symlink():
            found[str(path.relative_to(folder))] = f"{mode:o}"
    return found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account reaches, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def read_by_nobody(folder: Path) -> list[str]:
    """The files below a folder that the account ``nobody`` may read."""
    command = ["find", str(folder), "-type", "f", "-readable"]
    found = subprocess.run(command, user="nobody", capture_output=True, text=True, check=False)
    return [str(Path(line).relative_to(folder)) for line in found.stdout.splitlines()]


def test_another_account_reads_no_byte_of_what_the_demo_stores(open_folder: Path) -> None:
    run(open_folder, "demo", "--students", "20")
    kinds = {path.suffix for path in open_folder.rglob("*") if path.is_file()}
    assert {".parquet", ".sqlite", ".db", ".yaml"} <= kinds
    assert others(open_folder) == {}
    if os.geteuid() == 0:
        (open_folder / "open.txt").touch()
        (open_folder / "open.txt").chmod(0o644)
        assert read_by_nobody(open_folder) == ["open.txt"]


def test_another_account_reads_no_byte_of_what_commands_store(open_folder: Path) -> None:
    """Only the metrics, which name nobody, are for another account: node_exporter's."""
    period = ["--from", str(HOURS.start), "--to", str(HOURS.end)]
    site_folder, folder = open_folder / "site", open_folder / "installation"
    site_folder.mkdir()
    folder.mkdir()
    with sample_installation(site_folder, students=5) as site:
        settings = {**site.environment, "DAGSTER_HOME": str(folder / "dagster")}
        for arguments in (
            ["doctor"],
            ["backfill", *period],
            ["resend", "--all", *period],
            ["translate", *period, "--out", "events.ndjson"],
            ["storage", "export", *period, "--out", "exported"],
            ["person", "export", "3", "--output", "person"],
            ["privacy", "report", "--output", "report"],
            ["metrics", "--out", "caliper.prom"],
        ):
            run(folder, *arguments, **settings)
        serve_for_a_moment(folder, settings)
    written = {path.name for path in folder.iterdir()}
    assert {"dagster", "events.ndjson", "exported", "person", "report"} <= written
    assert others(folder) == {"caliper.prom": "644"}


def serve_for_a_moment(folder: Path, settings: Mapping[str, str]) -> None:
    """The web UI and the daemon, until they have written their files."""
    with subprocess.Popen(
        command_line("dev", "--port", str(free_port())),
        cwd=folder,
        env=clean_environment(dict(os.environ)) | dict(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=0o022,
    ) as process:
        assert process.stdout
        ready = any("Ready: " in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert ready


def test_a_group_of_analysts_may_read_when_the_setting_says_so(tmp_path: Path) -> None:
    run(tmp_path, "sample", "--out", "s.sqlite", "--hours", "1", CALIPER_FILE_MODE="640")
    assert others(tmp_path) == {"s.sqlite": "640"}
