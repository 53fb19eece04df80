import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.file_modes import close, limit_new_files, too_open


@pytest.fixture(autouse=True)
def permissive() -> Iterator[None]:
    """The umask of most systems."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o}"


@pytest.mark.parametrize(
    ("setting", "file", "folder"),
    [("", "600", "700"), ("600", "600", "700"), ("640", "640", "750"), ("777", "600", "700")],
)
def test_new_files_have_the_mode_of_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, file: str, folder: str
) -> None:
    monkeypatch.setenv("CALIPER_FILE_MODE", setting)
    limit_new_files()
    made = tmp_path / "made"
    made.mkdir()
    (made / "text").write_text("x")
    with closing(sqlite3.connect(made / "database")) as connection:
        connection.execute("CREATE TABLE t (c)")
    assert (mode(made), mode(made / "text"), mode(made / "database")) == (folder, file, file)


def test_files_that_others_may_use_are_found_and_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "storage"
    (root / "hours").mkdir(parents=True)
    hour = root / "hours" / "hour.parquet"
    hour.write_text("x")
    (root / "link").symlink_to("/etc/passwd")
    assert too_open(root) == [root, root / "hours", hour]
    monkeypatch.setenv("CALIPER_FILE_MODE", "640")
    for path in too_open(root):
        close(path)
    assert (mode(root), mode(hour)) == ("750", "640")
    monkeypatch.setenv("CALIPER_FILE_MODE", "600")
    for path in too_open(root):
        close(path)
    assert (mode(root), mode(hour)) == ("700", "600")
    assert too_open(root) == []


def test_a_closed_folder_protects_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "hour").write_text("x")
    tmp_path.chmod(0o700)
    assert too_open(tmp_path) == []
    assert too_open(tmp_path / "hour") == [tmp_path / "hour"]
    assert too_open(tmp_path / "missing") == []


def test_another_mode_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="CALIPER_FILE_MODE is wrong: must be"):
        Settings.from_environment({"CALIPER_FILE_MODE": "666"})
