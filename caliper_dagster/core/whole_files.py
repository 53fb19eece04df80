"""Files that come into their place whole, in a folder or in an object store.

In a folder a file is written beside its place and renamed. In an object store it is put by one
request (or by the one that completes a multipart upload). So no reader sees a part of one.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, Self
from urllib.parse import urlsplit, urlunsplit

from fsspec import get_filesystem_class
from upath import UPath

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName

LOCAL_PROTOCOLS = frozenset({"", "file", "local"})
"""The protocols of a `UPath` that is a folder of this machine."""


class FileVersion(NamedTuple):
    """What tells a file from one that replaces it."""

    inode: int
    modified: int
    size: int

    @classmethod
    def of(cls, found: os.stat_result) -> Self:
        """The version of a file of which this is the status."""
        return cls(found.st_ino, found.st_mtime_ns, found.st_size)


class NewFile(Protocol):
    """A file that is being written, and that nobody sees yet.

    Attributes:
        file: where its content is written.
    """

    file: BinaryIO

    def commit(self) -> FileVersion | None:
        """Put the content into its place; readers see what was there before, or all of it.

        Returns:
            the version of this very file; None of an object.
        """

    def close(self) -> None:
        """Remove the content, unless it is in its place."""


def new_file(path: UPath | Path, *, durable: bool = False) -> NewFile:
    """A file that is written beside its place, or an object that is put when it is complete.

    Args:
        path: its place; folders above it are made.
        durable: whether the file survives a power failure once `NewFile.commit` has returned.
    """
    return _NewFile(path, durable) if isinstance(path, Path) else _NewObject(path)


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed have left of a file; nobody else may be writing it."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)


class _NewFile(NewFile):
    """A file that is being written beside its place."""

    def __init__(self, path: Path, durable: bool) -> None:
        self._path, self._durable = path, durable
        made = [folder for folder in path.parents if not folder.exists()] if durable else []
        self._changed = (path.parent, *(folder.parent for folder in made))
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        self._is_in_place = False
        try:
            self.file: BinaryIO = self._temporary.open("wb")
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self._temporary.open("wb")

    def commit(self) -> FileVersion:
        self.file.flush()
        if self._durable:
            os.fsync(self.file.fileno())
        # Once it is in its place, another process may replace it.
        version = FileVersion.of(os.fstat(self.file.fileno()))
        self.file.close()
        self._temporary.replace(self._path)
        self._is_in_place = True
        if self._durable:
            for folder in self._changed:
                _flush_folder(folder)
        return version

    def close(self) -> None:
        if self._is_in_place:
            return
        # Closing writes what is still buffered, which fails on a full disk.
        with suppress(OSError):
            self.file.close()
        self._temporary.unlink(missing_ok=True)


class _NewObject(NewFile):
    """An object whose content is in memory until `commit` puts it by one request."""

    def __init__(self, path: UPath) -> None:
        self._path = path
        self._content = io.BytesIO()
        self.file = self._content

    def commit(self) -> None:
        self._path.fs.pipe_file(self._path.path, self._content.getvalue())

    def close(self) -> None:
        self.file.close()


def folder_at(url: str, setting: SettingName) -> UPath:
    """The folder of a URL, or of a path.

    Raises:
        ConfigurationError: no such kind of storage is known here; the sentence names the setting.
    """
    try:
        base = UPath(url)
        get_filesystem_class(base.protocol or "file")
    except ValueError:
        raise ConfigurationError(
            Sentence(
                setting,
                " must be a folder or a URL that fsspec knows, such as s3://…, not "
                f"{urlsplit(url).scheme}://….",
            )
        ) from None
    except ImportError as error:
        # fsspec's own text says which package to install for which kind of storage.
        raise ConfigurationError(
            Sentence(setting, f" needs a Python package that is not here: {error}.")
        ) from None
    return base


def without_credentials(url: str) -> str:
    """A URL as it may be shown: without user and password."""
    parts = urlsplit(url)
    if not parts.scheme or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def system_words(error: OSError) -> str:
    """What the system says of an error, without the path."""
    return os.strerror(error.errno) if error.errno else error_kind(error)


def error_kind(error: Exception) -> str:
    """The kind of an error: its text may hold credentials."""
    return type(error).__name__


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure, where folders can be flushed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot
            raise
    finally:
        os.close(descriptor)
