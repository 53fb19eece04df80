"""Who may read the files that this project makes: their owner, unless a setting says more.

Stored hours, the ledger, an event store's database and Dagster's own records hold personal data.
Libraries create most of these files, so the mode is set for the whole process, as its umask. The
command line and the code location (``definitions``) do this first of all. In the project of
somebody else it holds while one of our steps works.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "CALIPER_FILE_MODE"
OWNER_ONLY = "600"
MODES = {OWNER_ONLY: 0o600, "640": 0o640}
"""The modes of files by the words of the setting. Folders may also be entered by who may read."""


def limit_new_files() -> None:
    """Let new files of this process have the mode of ``CALIPER_FILE_MODE``, whatever the umask.

    A value that is not known counts as the strictest; reading the settings reports it.
    """
    os.umask(0o777 & ~_folder_mode(_file_mode()))


@contextmanager
def limited_new_files() -> Iterator[None]:
    """As `limit_new_files`, until the end: the process also makes files of other projects."""
    before = os.umask(0o777 & ~_folder_mode(_file_mode()))
    try:
        yield
    finally:
        os.umask(before)


def too_open(root: Path) -> list[Path]:
    """The files and folders, from a folder or file on, that others may use.

    If the folder itself is closed, nothing in it can be reached: then there are none. What cannot
    be looked at belongs to another account and is left out.
    """
    mode = _file_mode()
    try:
        if root.is_dir() and not _excess(root, mode):
            return []
    except OSError:
        return []
    return [path for path in _walk(root) if _excess(path, mode)]


def close(path: Path) -> None:
    """Take the rights away that others should not have.

    Raises:
        OSError: it belongs to another account.
    """
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_excess(path, _file_mode()))


def too_open_for_secret(path: Path) -> int:
    """The rights that other accounts have at a file with a secret, and should not have.

    A group may read a file of another account, such as root, if this account reads it that way.

    Returns:
        The bits of these rights; 0 if there are none, or if nobody else can reach the file.
    """
    try:
        path = path.resolve(strict=True)
        found = path.stat()
        if any(not folder.stat().st_mode & 0o011 for folder in path.parents):
            return 0
    except OSError:
        return 0
    by_group = found.st_uid != os.geteuid() and found.st_gid in {os.getegid(), *os.getgroups()}
    return stat.S_IMODE(found.st_mode) & (0o037 if by_group else 0o077)


def _file_mode() -> int:
    return MODES.get(os.environ.get(VARIABLE) or OWNER_ONLY, MODES[OWNER_ONLY])


def _folder_mode(mode: int) -> int:
    """The mode with the right to enter for all who may read."""
    return mode | (mode & 0o444) >> 2


def _excess(path: Path, mode: int) -> int:
    """The rights of group and others beyond the mode; 0 for a link."""
    try:
        found = path.lstat().st_mode
    except OSError:
        return 0
    if stat.S_ISLNK(found):
        return 0
    allowed = _folder_mode(mode) if stat.S_ISDIR(found) else mode
    return stat.S_IMODE(found) & 0o077 & ~allowed


def _walk(root: Path) -> Iterator[Path]:
    yield root
    for folder, folders, files in os.walk(root):
        yield from (Path(folder) / name for name in (*folders, *files))
