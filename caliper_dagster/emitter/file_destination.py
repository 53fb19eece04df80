"""Files of events: one for each hour and site, in a folder or in an object store.

A file is ``<folder>/site=<site>/date=2026-01-31/2026-01-31T14.ndjson``, with ``.gz`` after it when
it is compressed. Each line is one event as JSON, in the order of the log; derived events follow the
event of their log row. The same events make the same bytes.

Each file is written whole (``core.whole_files``), and acknowledged when it is in its place and, in
a folder, on the disk. A folder of a site holds a small file that says whose it is; nothing is
written into a folder that others have filled.

No message, name or representation made here contains the text of an object store's error.
"""

from __future__ import annotations

import gzip
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import BinaryIO

import orjson
from upath import UPath

from caliper_dagster.core.errors import (
    CaliperDagsterError,
    ConfigurationError,
    Sentence,
    SettingName,
)
from caliper_dagster.core.folder_url import folder_address, is_local
from caliper_dagster.core.whole_files import (
    error_kind,
    folder_at,
    new_file,
    remove_leftovers,
    system_words,
)
from caliper_dagster.emitter.destination import Answer, DestinationLimits, Meaning, Request

_URL = SettingName("CALIPER_EVENT_STORE_URL")
_GZIP = SettingName("CALIPER_GZIP")

_OWNER = "_caliper_dagster.json"
"""The file that says whose a folder is. Readers of data pass names over that begin so."""

_GZIP_LEVEL = 6
_LINES = 1_000
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")

_NEEDS_A_CHANGE = (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""What goes wrong until somebody changes something; anything else may pass."""


class _UnusableError(Exception):
    """Nothing can be written to the folder before somebody changes something."""

    def __init__(self, sentence: Sentence) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class FileDestination:
    """A folder of files, as a destination of whole hours; a context manager.

    Args:
        url: the absolute path of a folder, which must exist, also as ``file://…``; or the URL of a
            folder in an object store. Its credentials are those of fsspec's file system.
        compressed: whether the files are compressed with gzip.
        name: what the ledger calls it; its address when not given.

    Raises:
        ConfigurationError: the URL cannot be used; the sentence names the setting.
    """

    def __init__(self, url: str, *, compressed: bool = False, name: str | None = None) -> None:
        try:
            self._address = folder_address(url)
        except ValueError as error:
            raise ConfigurationError(Sentence(_URL, f" {error}.")) from None
        base = folder_at(self._address, _URL)
        self._base: UPath | Path = Path(self._address) if is_local(self._address) else base
        self._own_name = name
        self._suffix = ".ndjson.gz" if compressed else ".ndjson"
        self._compressed = compressed
        self._claimed: dict[str, UPath | Path] = {}
        self._lock = Lock()

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        return self._own_name or self._address

    @property
    def address(self) -> str:
        """The path or URL of the folder."""
        return self._address

    @property
    def takes_whole_hours(self) -> bool:
        """True: a file holds a whole hour."""
        return True

    def __repr__(self) -> str:
        return f"FileDestination({self._address!r})"

    def __enter__(self) -> FileDestination:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open between two requests."""

    def limits(self) -> DestinationLimits | None:
        """Write and remove a file of a few bytes: any size and version is accepted.

        Raises:
            DeliveryError: the folder cannot be written to.
        """
        try:
            self._require_folder()
            path = self._base / f".probe-{secrets.token_hex(4)}"
            _write(path, [b"caliper-dagster"])
            path.unlink()
        except Exception as error:
            raise self._failure(error).error() from None
        return DestinationLimits(None, ())

    def send(self, request: Request) -> Answer:
        """Write the file of an hour, replacing what was there; see `Destination`.

        The hour must be leased: what a killed run has left of the file is removed.

        Raises:
            StorageError: the events, which are read meanwhile, are damaged.
        """
        moment = request.hour.datetime
        try:
            folder = self._folder(request.site) / f"date={moment:%Y-%m-%d}"
            path = folder / f"{moment:%Y-%m-%dT%H}{self._suffix}"
            if isinstance(path, Path):
                remove_leftovers(path)
            _write(path, _lines(request.events), compressed=self._compressed)
        except CaliperDagsterError:
            raise
        except Exception as error:
            return self._failure(error)
        return Answer(Meaning.ACCEPTED)

    def _folder(self, site: str) -> UPath | Path:
        """The folder of a site, which is ours."""
        self._require_folder()
        with self._lock:
            if site not in self._claimed:
                folder = self._base / f"site={_folder_name(site)}"
                self._claim(folder, site)
                self._claimed[site] = folder
            return self._claimed[site]

    def _claim(self, folder: UPath | Path, site: str) -> None:
        """Make sure that a folder is that of this site and destination.

        Raises:
            _UnusableError: it is somebody else's, or nobody can tell whose.
        """
        path = folder / _OWNER
        owner: dict[str, object] = {
            "site": site,
            "event_store": self._own_name,
            "files": f"*{self._suffix}",
        }
        found = _read(path)
        if found is None:
            names = _names(folder)
            found = _read(path)  # Another run may have written it since the first look.
            if found is None and _OWNER in names:
                raise _UnusableError(
                    Sentence(
                        f"The file {path}, which says whose the event store's folder is, is "
                        "damaged: restore it, or remove it if the folder is that of ",
                        _URL,
                        ".",
                    )
                )
            if found is None and any(name[0] != "." for name in names):
                raise _UnusableError(
                    Sentence(
                        f"The event store's folder {folder} holds files that this project has not "
                        "written: name another folder in ",
                        _URL,
                        ", or empty this one.",
                    )
                )
        if found is None:
            _write(path, [orjson.dumps(owner, option=orjson.OPT_APPEND_NEWLINE)])
        elif found != owner:
            raise self._someone_elses(folder, found, owner)

    def _someone_elses(
        self, folder: UPath | Path, found: dict[str, object], owner: dict[str, object]
    ) -> _UnusableError:
        """The error about a folder that another site, event store or form of files has."""
        remedy = Sentence(
            "name another folder in ",
            _URL,
            "; `caliper-dagster resend --all` writes all hours into it.",
        )
        words = f"The event store's folder {folder} holds "
        if found.get("site") != owner["site"]:
            return _UnusableError(
                Sentence(words, f"the files of the site {found.get('site')}: ", remedy)
            )
        if found.get("event_store") != owner["event_store"]:
            name = found.get("event_store")
            whose = f"the event store {name}" if name else "an event store without a name"
            return _UnusableError(Sentence(words, f"the files of {whose}: ", remedy))
        as_it_was = Sentence("set ", _GZIP, " as it was, or ")
        return _UnusableError(Sentence(words, f"{found.get('files')}: ", as_it_was, remedy))

    def _require_folder(self) -> None:
        """A folder on a disk that is not mounted must not be made on the one below it."""
        if isinstance(self._base, Path) and not self._base.is_dir():
            raise _UnusableError(
                Sentence(
                    f"The event store's folder {self._address} does not exist: create it, or "
                    "correct ",
                    _URL,
                    ".",
                )
            )

    def _failure(self, error: Exception) -> Answer:
        """The answer that stands for an error of the file system or the object store."""
        if isinstance(error, _UnusableError):
            return Answer(Meaning.REFUSED, sentence=error.sentence)
        reason = system_words(error) if isinstance(error, OSError) else error_kind(error)
        if isinstance(error, FileNotFoundError) and not isinstance(self._base, Path):
            reason = "there is no such bucket"
        words = f"The event store's folder {self._address} cannot be written to ({reason})"
        if isinstance(error, _NEEDS_A_CHANGE):
            return Answer(Meaning.REFUSED, sentence=Sentence(words, ": check ", _URL, "."))
        return Answer(Meaning.RETRY_LATER, sentence=Sentence(words, "."))


def _folder_name(site: str) -> str:
    """A site id as the name of a folder: its host and path."""
    return _NOT_IN_NAMES.sub("_", site.partition("://")[2] or site)


def _lines(events: Iterable[memoryview]) -> Iterator[bytes]:
    """The events as NDJSON, some lines at a time."""
    rest = iter(events)
    while lines := list(islice(rest, _LINES)):
        yield b"\n".join(lines) + b"\n"


def _write(path: UPath | Path, content: Iterable[bytes], *, compressed: bool = False) -> None:
    with closing(new_file(path, durable=True)) as new:
        if compressed:
            _compress(new.file, content)
        else:
            new.file.writelines(content)
        new.commit()


def _compress(file: BinaryIO, content: Iterable[bytes]) -> None:
    """Write with gzip, without name and time, so that the same content makes the same bytes."""
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as compressed:
        compressed.writelines(content)


def _read(path: UPath | Path) -> dict[str, object] | None:
    """What a folder's file says of its owner; None when it is missing or damaged."""
    try:
        content = path.read_bytes() if isinstance(path, Path) else path.fs.cat_file(path.path)
        found = orjson.loads(content)
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _names(folder: UPath | Path) -> list[str]:
    """The names in a folder; none when it is missing."""
    if isinstance(folder, Path):
        return [path.name for path in folder.iterdir()] if folder.is_dir() else []
    # Other processes write here, too: what fsspec remembers of a folder may be old.
    folder.fs.invalidate_cache(folder.path)
    try:
        return [str(path).rpartition("/")[2] for path in folder.fs.ls(folder.path, detail=False)]
    except FileNotFoundError:
        return []
