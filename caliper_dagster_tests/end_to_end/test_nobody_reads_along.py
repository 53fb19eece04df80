"""What an installation stores, under the umask of most systems: another account reads nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from caliper_dagster_tests.harness.environment import clean_environment


def run(folder: Path, *arguments: str, **settings: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "caliper_dagster.cli", *arguments],
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


def test_a_group_of_analysts_may_read_when_the_setting_says_so(tmp_path: Path) -> None:
    run(tmp_path, "sample", "--out", "s.sqlite", "--hours", "1", CALIPER_FILE_MODE="640")
    assert others(tmp_path) == {"s.sqlite": "640"}
