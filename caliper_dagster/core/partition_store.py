"""The partition store: one Parquet file per hour and asset, in a folder or an object store.

This module turns a table into a file and back. ``frames`` defines the columns, and the assets
decide when an hour is written. Nothing here knows Dagster.

A file is ``<base>/<asset>/date=2026-01-31/2026-01-31T14.parquet``; any Parquet reader can use the
data without this project. Its footer holds the hour and a few numbers about it (*footer stats*),
which are read without decoding rows. Every file carries a digest (``parquet_digest``), which is
checked whenever the file is opened. A file that is damaged, or whose rows belong to another hour,
is a `StorageError` like one that is missing.

A file comes into its place whole (``whole_files``), and an object is read by one request. So no
reader sees a part of an hour.
"""

from __future__ import annotations

import os
import re
import secrets
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from caliper_dagster.core.errors import (
    CaliperDagsterError,
    ConfigurationError,
    Sentence,
    SettingName,
    StorageError,
)
from caliper_dagster.core.frames import FRAMES, Frame
from caliper_dagster.core.gc_tuning import raise_gc_threshold
from caliper_dagster.core.hours import SECONDS, Hour
from caliper_dagster.core.own_dictionaries import cut
from caliper_dagster.core.parquet_digest import (
    DamagedFileError,
    DigestedParquetWriter,
    ParquetForm,
    StorageKeyError,
    open_verified,
    read_at,
    read_rows,
    scheme_of,
)
from caliper_dagster.core.partition_file import (
    CHUNK_ROWS,
    FileContent,
    FooterStats,
    PartitionWriter,
    RecentContent,
    StoredHour,
    is_of_another_hour,
)
from caliper_dagster.core.recent_hours import RecentHour, RecentHours
from caliper_dagster.core.storage_keys import StorageKeys
from caliper_dagster.core.stored_fields import WHOLE, StoredFields
from caliper_dagster.core.whole_files import (
    LOCAL_PROTOCOLS,
    FileVersion,
    error_kind,
    folder_at,
    new_file,
    system_words,
    without_credentials,
)
from caliper_dagster.core.wording import plural

_SETTING = SettingName("CALIPER_STORAGE")
_KEY_SETTING = SettingName("CALIPER_STORAGE_KEY")
_RANGE = re.compile(r"(\d+)-(\d+)\.parquet")
_PARTITION = re.compile(r"/date=\d{4}-\d\d-\d\d/\d{4}-\d\d-\d\dT\d\d\.parquet$")
_ALLOCATOR = "ARROW_DEFAULT_MEMORY_POOL"
_READ_AHEAD = 8
"""Objects that are requested at once: an object store answers many as fast as one."""

_READ_WHOLE_BYTES = 1 << 20
"""A local file of at most so many bytes is read at once: its footer and columns would take a
hundred calls of the system."""

_MAX_OBJECTS_COUNTED = 1_000
"""Objects that `PartitionStore.digest_counts` looks into; each costs two requests."""


class Chunk(NamedTuple):
    """Rows that are processed together: those of whole hours, or some of one hour.

    Attributes:
        hours: the hours, in order.
        begins: whether the table has the first rows of its hours.
        ends: whether it has their last rows.
    """

    hours: list[Hour]
    table: pa.Table
    begins: bool = True
    ends: bool = True

    @property
    def is_divided(self) -> bool:
        """Whether other chunks have rows of the same hour."""
        return not (self.begins and self.ends)


class DigestCounts(NamedTuple):
    """How many stored hours carry a digest.

    Attributes:
        files: files of all assets.
        examined: of these, the newest ones that were looked into.
        without: of the latter, those of a release that wrote no digests.
        otherwise_encrypted: of the latter, those that a run would encrypt in another way: they are
            in the clear where there is a key, or encrypted with a former key, or without need.
    """

    files: int
    examined: int
    without: int
    otherwise_encrypted: int = 0


class PartitionStore:
    """The partitions of all assets under one base.

    Args:
        url: a folder, or the URL of a folder in an object store that fsspec knows (``s3://…``).
        keys: new files are encrypted with keys of these, and files that are encrypted are read.
        fields: the personal fields that are stored; who writes rows leaves out the others.
        recent: the hours that this process has written last; without it, every file is read. An
            object is always read, because asking whether it has changed takes as long.

    Raises:
        ConfigurationError: no such kind of storage is known here.
    """

    def __init__(
        self,
        url: str,
        keys: StorageKeys | None = None,
        fields: StoredFields = WHOLE,
        recent: RecentHours | None = None,
    ) -> None:
        self.keys, self.fields, self.recent = keys, fields, recent
        _allocate_from_system()
        raise_gc_threshold()
        self._name = without_credentials(url)
        base = folder_at(url, _SETTING)
        self._root = base
        self._local = base.protocol in LOCAL_PROTOCOLS
        self._base: UPath | Path = Path(base.path).absolute() if self._local else base
        self._forms: dict[str, ParquetForm] = {}

    def __repr__(self) -> str:
        return f"PartitionStore({self._name!r})"

    @property
    def name(self) -> str:
        """The folder or the URL, for people; without credentials."""
        return self._name

    def path(self, frame: Frame, hour: Hour) -> str:
        """Where the hour's file is, or would be; for people, without credentials."""
        return without_credentials(str(self._path(frame, hour)))

    def uri(self, frame: Frame, hour: Hour) -> str:
        """The URI of the hour's file, as readers of Parquet take it; without credentials."""
        path = self.path(frame, hour)
        return f"file://{quote(path, safe='/=')}" if self._local else path

    def exists(self, frame: Frame, hour: Hour) -> bool:
        """Whether the hour has been written.

        Raises:
            ConfigurationError: the storage cannot be read.
        """
        path = self._path(frame, hour)
        if self._local:
            return path.exists()
        try:
            return bool(path.exists())
        except Exception as error:
            raise self._unreadable(error) from None

    def write(
        self,
        frame: Frame,
        hour: Hour,
        table: pa.Table,
        stats: FooterStats | None = None,
        *,
        has_own_dictionaries: bool = False,
    ) -> int:
        """Write one hour, replacing what was there; readers see the old file or the new one.

        Args:
            frame: the contract that the table is made to follow.
            hour: the hour that all its rows belong to.
            table: the rows; an hour without rows is written too.
            stats: footer stats, as JSON can represent them; at most some kilobytes, because every
                read of the file reads them.
            has_own_dictionaries: see `PartitionWriter.write`.

        Returns:
            The size of the file in bytes.

        Raises:
            StorageError: the table breaks the contract, or a row belongs to another hour.
            ConfigurationError: the storage cannot be written to.
        """
        with self.writer(frame, hour) as writer:
            writer.write(table, has_own_dictionaries=has_own_dictionaries)
            writer.stats = stats or {}
        return writer.size

    def writer(self, frame: Frame, hour: Hour) -> PartitionWriter:
        """Write one hour in several tables.

        Raises:
            ConfigurationError: the storage cannot be written to.
        """
        path = self._path(frame, hour)
        with self._writing():
            new = new_file(path)
        form, written = self._form(frame), partial(self._written, path)
        return PartitionWriter(frame, hour, new, form, self._writing, written, self.keys)

    def read(
        self, frame: Frame, hours: Iterable[Hour], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The rows of the hours as one table, in the order of the hours.

        Raises:
            StorageError: an hour has not been written, is damaged or holds rows of another hour;
                the sentence names the first such.
        """
        tables = [table for _, table in self.each(frame, hours, columns)]
        if not tables:
            empty = frame.empty()
            return empty.select(list(columns)) if columns else empty
        return pa.concat_tables(tables).unify_dictionaries()

    def existing(
        self,
        frame: Frame,
        hours: Iterable[Hour],
        suits: Callable[[StoredHour], bool] = lambda _: True,
    ) -> tuple[pa.Table, dict[Hour, FooterStats]]:
        """The rows and footer stats of those hours that have been written and can be read.

        An hour whose file is damaged, of another version or does not suit counts as not written.
        """
        tables, stats = [frame.empty()], dict[Hour, FooterStats]()
        for hour in hours:
            with suppress(StorageError), closing(self.open(frame, hour)) as stored:
                if suits(stored):
                    tables.append(stored.read())
                    stats[hour] = stored.stats()
        return pa.concat_tables(tables).unify_dictionaries(), stats

    def open_existing(
        self,
        frame: Frame,
        hour: Hour,
        suits: Callable[[StoredHour], bool] = lambda _: True,
    ) -> StoredHour | None:
        """Open one hour, to be closed; None under the conditions of `existing`."""
        with suppress(StorageError):
            stored = self.open(frame, hour)
            if stored.has_all_columns() and suits(stored):
                return stored
            stored.close()
        return None

    def each(
        self, frame: Frame, hours: Iterable[Hour], columns: Sequence[str] | None = None
    ) -> Iterator[tuple[Hour, pa.Table]]:
        """The hours in the order given, each read when it is asked for.

        Raises:
            StorageError: see ``read``.
        """
        return ((hour, table) for hour, table, _ in self.each_with_stats(frame, hours, columns))

    def each_with_stats(
        self, frame: Frame, hours: Iterable[Hour], columns: Sequence[str] | None = None
    ) -> Iterator[tuple[Hour, pa.Table, FooterStats]]:
        """The hours as `each` yields them, each with the stats of its footer.

        Raises:
            StorageError: see ``read``.
        """
        for stored in self.each_opened(frame, hours):
            with closing(stored):
                yield stored.hour, stored.read(columns), stored.stats()

    def chunks(
        self,
        frame: Frame,
        hours: Iterable[Hour],
        rows: int = CHUNK_ROWS,
        *,
        divide: bool = True,
        opened: Callable[[StoredHour], None] = lambda _: None,
    ) -> Iterator[Chunk]:
        """Tables of at most ``rows`` rows, in order; they bound the memory.

        Hours of at most ``rows`` rows stay whole: a chunk ends before the hour that it cannot hold,
        too. An hour of more is divided, and each of its chunks holds rows of it alone; without
        ``divide`` it stays whole, and is a chunk of its own. ``opened`` is called with each hour
        before its rows are read.

        Raises:
            StorageError: see `read`.
        """
        group: list[Hour] = []
        tables: list[pa.Table] = []
        for stored in self.each_opened(frame, hours):
            with closing(stored):
                opened(stored)
                held = sum(table.num_rows for table in tables)
                if group and held + stored.num_rows > rows:
                    yield _take_all(group, tables)
                if divide and stored.num_rows > rows:
                    yield from _divided(stored, rows)
                    continue
                group.append(stored.hour)
                tables.append(stored.read())
        if group:
            yield _take_all(group, tables)

    def open(self, frame: Frame, hour: Hour) -> StoredHour:
        """Open one hour, to read it in parts; to be closed.

        Raises:
            StorageError: the hour has not been written, is damaged or holds rows of another hour.
            ConfigurationError: it is encrypted, and its key is not among those of the settings.
        """
        damage = partial(self._damage, frame, hour)
        recent = self._recent_hour(frame, hour)
        if recent is not None:
            return StoredHour(frame, hour, RecentContent(recent), damage)
        with damage():
            with _named_in_key_errors(f"{frame.name} of {hour}"):
                file = open_verified(self._source(frame, hour), self.keys)
            if is_of_another_hour(file.metadata, hour):
                raise DamagedFileError("its rows belong to another hour")
            return StoredHour(frame, hour, FileContent(file), damage)

    def footer_stats(self, frame: Frame, hour: Hour) -> dict[str, object]:
        """The footer stats that were written with the hour; no row is decoded.

        Raises:
            StorageError: see `read`.
        """
        with closing(self.open(frame, hour)) as stored:
            return stored.stats()

    def digest_counts(self) -> DigestCounts:
        """How many stored hours carry a digest, as far as that is cheap to find out.

        In a folder every file is looked into, in an object store the newest 1,000.

        Raises:
            ConfigurationError: the storage cannot be read.
        """
        try:
            files, sizes = self._root.fs, self._sizes(self._root)
            newest = sorted(sizes, key=lambda path: path.rpartition("/")[2], reverse=True)
            examined = newest if self._local else newest[:_MAX_OBJECTS_COUNTED]
            with ThreadPoolExecutor(_READ_AHEAD, "caliper-read") as threads:
                found = threads.map(
                    lambda path: scheme_of(
                        lambda start, length: files.cat_file(path, start, start + length),
                        sizes[path],
                    ),
                    examined,
                )
                schemes = list(found)
            return DigestCounts(
                len(sizes),
                len(examined),
                sum(not scheme.has_digest for scheme in schemes),
                sum(not scheme.is_of(self.keys) for scheme in schemes),
            )
        except FileNotFoundError:
            return DigestCounts(0, 0, 0)
        except Exception as error:
            raise self._unreadable(error) from None

    def is_protected(self, frame: Frame, hour: Hour) -> bool:
        """Whether the hour is encrypted, or not, as a file that is written now would be.

        Raises:
            StorageError: it has not been written.
            ConfigurationError: the storage cannot be read.
        """
        with self._damage(frame, hour), self._source(frame, hour) as source:
            return scheme_of(partial(read_at, source), source.size()).is_of(self.keys)

    def version(self, frame: Frame, hour: Hour) -> object:
        """Something that differs when the hour's file is replaced.

        Raises:
            StorageError: it has not been written.
            ConfigurationError: the storage cannot be read.
        """
        path = self._path(frame, hour)
        with self._damage(frame, hour):
            if isinstance(path, Path):
                return FileVersion.of(path.stat())
            path.fs.invalidate_cache(path.parent.path)
            entry = path.fs.info(path.path)
            return str(entry.get("ETag") or entry.get("LastModified")), entry["size"]

    def delete(self, frame: Frame, hours: Collection[Hour]) -> None:
        """Delete stored hours of an asset; those that are not stored are passed over.

        Raises:
            ConfigurationError: the storage cannot be written to.
        """
        paths = [self._path(frame, hour) for hour in hours]
        with self._writing():
            if not self._local:
                _delete_objects(paths)
                return
            for path in paths:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in paths}:
                # It may hold other hours, or a file that is being written.
                with suppress(OSError):
                    folder.rmdir()

    def hour_sizes(self, frame: Frame | None = None) -> dict[Hour, int]:
        """The hours that have been written, in order, each with the size of its files in bytes.

        Args:
            frame: only the files of this asset; those of all assets together when not given.

        Raises:
            ConfigurationError: the storage cannot be read.
        """
        root = self._root / frame.name if frame else self._root
        sizes: Counter[str] = Counter()
        try:
            for path, size in self._sizes(root).items():
                sizes[path[-len("2026-01-31T14.parquet") : -len(".parquet")]] += size
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise self._unreadable(error) from None
        return {
            Hour.of(datetime.fromisoformat(f"{text}:00Z").timestamp()): sizes[text]
            for text in sorted(sizes)
        }

    def local_folder(self) -> Path | None:
        """The folder in which the partitions are; None for an object store."""
        return self._base if isinstance(self._base, Path) else None

    def _sizes(self, root: UPath) -> dict[str, int]:
        """The sizes of the stored hours' files in a folder and those in it, by path."""
        # Other processes write here, too: what fsspec remembers of a folder may be old.
        root.fs.invalidate_cache(root.path)
        return {
            path: int(entry["size"])
            for path, entry in root.fs.find(root.path, detail=True).items()
            if _PARTITION.search(path)
        }

    def id_range_tables(self, name: str) -> IdRangeTables:
        """Tables by ranges of log ids, in the folder ``name`` next to those of the assets."""
        return IdRangeTables(self._base / name, self._writing, self.keys, self.fields)

    def read_note(self, name: str) -> bytes | None:
        """The content of a small file beside the assets; None when there is none.

        Raises:
            ConfigurationError: the storage cannot be read.
        """
        path = self._base / name
        try:
            if isinstance(path, Path):
                return path.read_bytes()
            return bytes(path.fs.cat_file(path.path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:
            raise self._unreadable(error) from None

    def write_note(self, name: str, content: bytes) -> None:
        """Write or replace a small file beside the assets.

        Raises:
            ConfigurationError: the storage cannot be written to.
        """
        with self._writing(), closing(new_file(self._base / name)) as new:
            new.file.write(content)
            new.commit()

    def delete_note(self, name: str) -> None:
        """Delete a small file beside the assets, if there is one.

        Raises:
            ConfigurationError: the storage cannot be written to.
        """
        path = self._base / name
        with self._writing():
            if isinstance(path, Path):
                path.unlink(missing_ok=True)
            else:
                _delete_objects([path])

    def frames(self) -> list[Frame]:
        """The frames of all assets of which hours are stored, by name; also of past event stores.

        Raises:
            ConfigurationError: the storage cannot be read.
        """
        return [
            replace(frame, name=name)
            for name in self.asset_names()
            for frame in FRAMES
            if name == frame.name or name.startswith(f"{frame.name}_")
        ]

    def asset_names(self) -> list[str]:
        """The names of the assets of which hours are stored.

        Raises:
            ConfigurationError: the storage cannot be read.
        """
        try:
            root = len(self._root.path.rstrip("/")) + 1
            paths = self._sizes(self._root)
            return sorted({path[root:].split("/")[0] for path in paths})
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._unreadable(error) from None

    def probe(self) -> None:
        """Write and remove a file of a few bytes.

        Raises:
            ConfigurationError: the storage cannot be written to.
        """
        path = self._base / f".probe-{secrets.token_hex(4)}"
        with self._writing(), closing(new_file(path)) as new:
            new.file.write(b"caliper-dagster")
            new.commit()
        path.unlink()

    def _written(
        self, path: UPath | Path, writer: PartitionWriter, version: FileVersion | None
    ) -> None:
        """Keep what the next asset of a run reads, and report what was written."""
        if self.recent is not None and version is not None and writer.table is not None:
            hour = RecentHour(version, writer.table, writer.stats_json)
            self.recent.add(writer.frame, str(path), hour)
        self._has_written(writer.frame, writer.hour, writer.stats)

    def _recent_hour(self, frame: Frame, hour: Hour) -> RecentHour | None:
        """The hour as this process has written it, if its file is still the same."""
        path = self._path(frame, hour)
        if self.recent is None or not isinstance(path, Path):
            return None
        with suppress(OSError):
            return self.recent.find(frame, str(path), FileVersion.of(path.stat()))
        return None

    def _has_written(self, frame: Frame, hour: Hour, stats: FooterStats) -> None:
        """Called when an hour has been written; for subclasses that want to know."""

    def _form(self, frame: Frame) -> ParquetForm:
        form = self._forms.get(frame.name)
        if form is None or form.schema is not frame.schema:
            form = self._forms[frame.name] = ParquetForm(frame.schema)
        return form

    def _path(self, frame: Frame, hour: Hour) -> UPath | Path:
        moment = hour.datetime.isoformat()
        return self._base / f"{frame.name}/date={moment[:10]}/{moment[:13]}.parquet"

    def each_opened(self, frame: Frame, hours: Iterable[Hour]) -> Iterator[StoredHour]:
        """The hours as `open` opens them, in the order given; each is to be closed.

        Raises:
            StorageError: see `read`.
        """
        if self._local:
            yield from (self.open(frame, hour) for hour in hours)
            return
        with ThreadPoolExecutor(_READ_AHEAD, "caliper-read") as threads:
            requested: deque[Future[StoredHour]] = deque()
            for hour in hours:
                requested.append(threads.submit(self.open, frame, hour))
                if len(requested) == _READ_AHEAD:
                    yield requested.popleft().result()
            yield from (future.result() for future in requested)

    def _source(self, frame: Frame, hour: Hour) -> pa.NativeFile:
        path = self._path(frame, hour)
        try:
            return _file(path)
        except FileNotFoundError:
            raise StorageError(
                f"{frame.name} has not been materialized for {hour}: materialize {frame.name} for "
                "that hour first."
            ) from None
        except Exception as error:
            # An object store that does not answer must not be taken for a damaged hour.
            if self._local and not isinstance(error, NotADirectoryError | PermissionError):
                raise
            raise self._unreadable(error) from None

    @contextmanager
    def _damage(self, frame: Frame, hour: Hour) -> Iterator[None]:
        """Turn what is raised about a damaged file into an error that names hour and remedy."""
        try:
            yield
        except CaliperDagsterError:
            raise
        except Exception as error:
            if isinstance(error, DamagedFileError):
                reason = str(error)
            else:
                reason = system_words(error) if isinstance(error, OSError) else error_kind(error)
            raise StorageError(
                f"{frame.name} of {hour} cannot be read: {self.path(frame, hour)} is damaged "
                f"({reason}). Materialize {frame.name} for that hour again."
            ) from None

    def _unreadable(self, error: Exception) -> ConfigurationError:
        # Object stores raise exceptions of their own, whose texts may contain credentials.
        words = system_words(error) if isinstance(error, OSError) else error_kind(error)
        return ConfigurationError(Sentence(_SETTING, f" cannot be read: {self._name} ({words})."))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what is raised while a file is written into an error that names the setting."""
        try:
            yield
        except CaliperDagsterError:
            raise
        except Exception as error:
            # Object stores raise exceptions of their own, whose texts may contain credentials.
            reason = error.strerror if isinstance(error, OSError) else None
            if isinstance(error, FileNotFoundError) and not self._local:
                reason = "there is no such bucket"
            raise ConfigurationError(
                Sentence(
                    _SETTING,
                    f" cannot be written to: {self._name} ({reason or error_kind(error)}).",
                )
            ) from None


class IdRangeTables:
    """Tables by ranges of ids: each covers the ids above ``after`` and up to ``to``.

    Each table is a file ``<after>-<to>.parquet`` that is written once. Processes that write the
    same range write the same content, so they need no lock.

    Attributes:
        fields: the personal fields that are stored; who writes rows leaves out the others.
    """

    def __init__(
        self,
        folder: UPath | Path,
        writing: Callable[[], AbstractContextManager[None]],
        keys: StorageKeys | None = None,
        fields: StoredFields = WHOLE,
    ) -> None:
        self._folder, self._writing = folder, writing
        self._keys, self.fields = keys, fields

    def ranges(self) -> list[tuple[int, int]]:
        """The stored ranges ``(after, to)``, in order."""
        with suppress(FileNotFoundError, NotADirectoryError):
            names = [path.name for path in self._folder.iterdir()]
            return sorted((int(m[1]), int(m[2])) for m in map(_RANGE.fullmatch, names) if m)
        return []

    def read(self, after: int, to: int) -> pa.Table:
        """The table of a range.

        Raises:
            StorageError: its file is damaged.
            ConfigurationError: see `PartitionStore.open`.
        """
        path = self._path(after, to)
        place = without_credentials(str(path))
        try:
            with _named_in_key_errors(place), _file(path) as source:
                return read_rows(open_verified(source, self._keys))
        except DamagedFileError as error:
            raise StorageError(f"{place} is damaged ({error}).") from None

    def write(self, after: int, to: int, table: pa.Table) -> None:
        """Store the table of a range."""
        with self._writing(), closing(new_file(self._path(after, to))) as new:
            parquet = DigestedParquetWriter(new.file, ParquetForm(table.schema), self._keys)
            parquet.write(table)
            parquet.close({})
            new.commit()

    def _path(self, after: int, to: int) -> UPath | Path:
        return self._folder / f"{after}-{to}.parquet"


@contextmanager
def _named_in_key_errors(name: str) -> Iterator[None]:
    """Turn an error about the key of a file into one that names the setting and the file."""
    try:
        yield
    except StorageKeyError as error:
        problem = (
            f" is not the key of {name}: add the key it was written with, in a line of its own."
            if error.has_keys
            else f" is not set, and {name} is encrypted: set it to the key it was written with."
        )
        raise ConfigurationError(Sentence(_KEY_SETTING, problem)) from None


def split_by_hour(table: pa.Table, hours: Iterable[Hour]) -> Iterator[tuple[Hour, pa.Table]]:
    """The rows of each of the hours by ``timecreated``, keeping their order within the hour.

    The tables are as `own_dictionaries.cut` makes them.

    Args:
        table: rows of these hours.
        hours: in order.

    Raises:
        StorageError: a row belongs to none of the hours; it would be lost.
    """
    numbers = pc.divide(table["timecreated"].combine_chunks(), SECONDS).to_numpy()
    if len(numbers) and (numbers[1:] < numbers[:-1]).any():
        order = numbers.argsort(kind="stable")
        table, numbers = table.take(order), numbers[order]
    hours = list(hours)
    begins, ends = (
        numbers.searchsorted(np.array([hour.number + after for hour in hours], np.int64))
        for after in (0, 1)
    )
    outside = table.num_rows - int((ends - begins).sum())
    if outside:
        raise StorageError(f"{plural(outside, 'row')} outside the hours that are being written.")
    yield from zip(hours, cut(table, np.append(begins, table.num_rows)), strict=True)


def _divided(stored: StoredHour, rows: int) -> Iterator[Chunk]:
    """An hour in several chunks."""
    begin = 0
    for table in stored.parts(rows):
        end = begin + table.num_rows
        yield Chunk([stored.hour], table, begin == 0, end == stored.num_rows)
        begin = end


def _take_all(group: list[Hour], tables: list[pa.Table]) -> Chunk:
    """The hours and their tables as one table; the lists are empty afterwards, to free memory.

    Its columns are one array each: Arrow compares the values of dictionaries each time that it
    joins arrays which have a dictionary each, even if it is the same one.
    """
    chunk = Chunk(group.copy(), pa.concat_tables(tables).unify_dictionaries().combine_chunks())
    group.clear()
    tables.clear()
    return chunk


def _allocate_from_system() -> None:
    """Make Arrow use C's allocator in this process, unless the environment chooses another one.

    Its own allocator returns the memory of a chunk to the kernel and requests it again for every
    column: 15 % of the processor time of the whole chain, most of it the kernel's.
    """
    if _ALLOCATOR not in os.environ:
        pa.set_memory_pool(pa.system_memory_pool())


def _delete_objects(paths: Sequence[UPath | Path]) -> None:
    """Delete objects by as few requests as the store allows; missing ones are passed over."""
    objects = [path for path in paths if isinstance(path, UPath)]
    if objects:
        files = objects[0].fs
        names = [path.path for path in objects]
        try:
            files.rm(names)
        except FileNotFoundError:
            # Some kinds of storage stop at the first missing one.
            for name in names:
                with suppress(FileNotFoundError):
                    files.rm_file(name)


def _file(path: UPath | Path) -> pa.NativeFile:
    if not isinstance(path, Path):
        # The whole object, by one request; seeking in it would take several.
        return pa.BufferReader(path.fs.cat_file(path.path))
    file = pa.OSFile(str(path))
    if file.size() > _READ_WHOLE_BYTES:
        return file
    with file:
        return pa.BufferReader(file.read_buffer())
