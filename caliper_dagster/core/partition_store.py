"""The partition store: one Parquet file per hour and asset, in a folder or an object store.

This module turns a table into a file and back. ``frames`` defines the columns, and the assets
decide when an hour is written. Nothing here knows Dagster.

A file is ``<base>/<asset>/date=2026-01-31/2026-01-31T14.parquet``; any Parquet reader can use the
data without this project. Its footer holds a few numbers about the hour (*footer stats*), which are
read without reading rows.

In a folder a file is written beside its place and renamed. In an object store it is put by one
request (or by the one that completes a multipart upload), and read by one. So no reader sees a part
of an hour.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import get_filesystem_class
from upath import UPath

from caliper_dagster.core.errors import ConfigurationError, Sentence, SettingName, StorageError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.gc_tuning import raise_gc_threshold
from caliper_dagster.core.hours import SECONDS, Hour
from caliper_dagster.core.wording import plural

FooterStats = Mapping[str, object]

_SETTING = SettingName("CALIPER_STORAGE")
_RANGE = re.compile(r"(\d+)-(\d+)\.parquet")
_STATS_KEY = b"caliper_dagster.facts"
_LOCAL = {"", "file", "local"}
# A record's text is written once per file, not once per page: dictionaries of records are large.
_DICTIONARY_BYTES = 64 * 1024 * 1024
_ALLOCATOR = "ARROW_DEFAULT_MEMORY_POOL"
_READ_AHEAD = 8
"""Objects that are requested at once: an object store answers many as fast as one."""


class PartitionStore:
    """The partitions of all assets under one base.

    Args:
        url: a folder, or the URL of a folder in an object store that fsspec knows (``s3://…``).

    Raises:
        ConfigurationError: no such kind of storage is known here.
    """

    def __init__(self, url: str) -> None:
        _allocate_from_system()
        raise_gc_threshold()
        self._name = _without_credentials(url)
        base = _base(url)
        self._local = base.protocol in _LOCAL
        self._base: UPath | Path = Path(base.path).absolute() if self._local else base

    def __repr__(self) -> str:
        return f"PartitionStore({self._name!r})"

    def path(self, frame: Frame, hour: Hour) -> str:
        """Where the hour's file is, or would be; for people, without credentials."""
        return _without_credentials(str(self._path(frame, hour)))

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
        self, frame: Frame, hour: Hour, table: pa.Table, stats: FooterStats | None = None
    ) -> int:
        """Write one hour, replacing what was there; readers see the old file or the new one.

        Args:
            frame: the contract that the table is made to follow.
            hour: the hour that all its rows belong to.
            table: the rows; an hour without rows is written too.
            stats: footer stats, as JSON can represent them; at most some kilobytes, because every
                read of the file reads them.

        Returns:
            The size of the file in bytes.

        Raises:
            StorageError: the table breaks the contract.
            ConfigurationError: the storage cannot be written to.
        """
        table = _with_own_dictionaries(frame.conform(table))
        table = table.replace_schema_metadata({_STATS_KEY: json.dumps(dict(stats or {})).encode()})
        sink = pa.BufferOutputStream()
        repeated = [f.name for f in table.schema if pa.types.is_dictionary(f.type)]
        pq.write_table(
            table,
            sink,
            compression="zstd",
            # Other texts hardly repeat, and minimum and maximum of a text help no query.
            use_dictionary=repeated,
            write_statistics=[f.name for f in table.schema if pa.types.is_primitive(f.type)],
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
        )
        content = sink.getvalue()
        self._put(self._path(frame, hour), content)
        return int(content.size)

    def read(
        self, frame: Frame, hours: Iterable[Hour], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The rows of the hours as one table, in the order of the hours.

        Raises:
            StorageError: an hour has not been written; the sentence names the first such.
        """
        tables = [table for _, table in self.each(frame, hours, columns)]
        if not tables:
            empty = frame.empty()
            return empty.select(list(columns)) if columns else empty
        return pa.concat_tables(tables).unify_dictionaries()

    def existing(
        self, frame: Frame, hours: Iterable[Hour]
    ) -> tuple[pa.Table, dict[Hour, FooterStats]]:
        """The rows and footer stats of those hours that have been written and can be read.

        An hour whose file is damaged or of another version counts as not written.
        """
        tables, stats = [frame.empty()], dict[Hour, FooterStats]()
        for hour in hours:
            with suppress(StorageError):
                for _, table, of_hour in self.each_with_stats(frame, [hour]):
                    tables.append(table)
                    stats[hour] = of_hour
        return pa.concat_tables(tables).unify_dictionaries(), stats

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
        names = list(columns) if columns else frame.schema.names
        for hour, opened in self._opened(frame, hours):
            with opened as file:
                stats = _footer_stats(file)
                # An hour is small: several threads would cost more than they gain.
                table = file.read(columns=names, use_threads=False)
            table = frame.with_later_columns(table.replace_schema_metadata(None))
            missing = [name for name in names if name not in table.column_names]
            if missing:
                raise StorageError(
                    f"{frame.name} of {hour} was written by another version and lacks "
                    f"{', '.join(missing)}: materialize {frame.name} again."
                )
            yield hour, table.select(names), stats

    def chunks(
        self, frame: Frame, hours: Iterable[Hour], rows: int = 60_000
    ) -> Iterator[tuple[list[Hour], pa.Table]]:
        """Groups of whole hours with about ``rows`` rows each, in order; they bound the memory.

        A group ends with the hour that reaches ``rows``; an hour is never divided.
        """
        group: list[Hour] = []
        tables: list[pa.Table] = []
        for hour, table in self.each(frame, hours):
            group.append(hour)
            tables.append(table)
            del table
            if sum(table.num_rows for table in tables) >= rows:
                yield _take_all(group, tables)
        if group:
            yield _take_all(group, tables)

    def footer_stats(self, frame: Frame, hour: Hour) -> dict[str, object]:
        """The footer stats that were written with the hour; only the file's footer is read.

        Raises:
            StorageError: the hour has not been written.
        """
        with self._open(frame, hour) as file:
            return _footer_stats(file)

    def id_range_tables(self, name: str) -> IdRangeTables:
        """Tables by ranges of log ids, in the folder ``name`` next to those of the assets."""
        return IdRangeTables(self._base / name, self._put)

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
        self._put(self._base / name, pa.py_buffer(content))

    def probe(self) -> None:
        """Write and remove a file of a few bytes.

        Raises:
            ConfigurationError: the storage cannot be written to.
        """
        path = self._base / f".probe-{secrets.token_hex(4)}"
        self._put(path, pa.py_buffer(b"caliper-dagster"))
        path.unlink()

    def _path(self, frame: Frame, hour: Hour) -> UPath | Path:
        moment = hour.datetime
        return self._base / frame.name / f"date={moment:%Y-%m-%d}" / f"{moment:%Y-%m-%dT%H}.parquet"

    def _opened(self, frame: Frame, hours: Iterable[Hour]) -> Iterator[tuple[Hour, pq.ParquetFile]]:
        if self._local:
            yield from ((hour, self._open(frame, hour)) for hour in hours)
            return
        with ThreadPoolExecutor(_READ_AHEAD, "caliper-read") as threads:
            requested: deque[tuple[Hour, Future[pq.ParquetFile]]] = deque()
            for hour in hours:
                requested.append((hour, threads.submit(self._open, frame, hour)))
                if len(requested) == _READ_AHEAD:
                    first, future = requested.popleft()
                    yield first, future.result()
            yield from ((hour, future.result()) for hour, future in requested)

    def _open(self, frame: Frame, hour: Hour) -> pq.ParquetFile:
        path = self._path(frame, hour)
        try:
            return pq.ParquetFile(str(path) if isinstance(path, Path) else _object(path))
        except FileNotFoundError:
            raise StorageError(
                f"{frame.name} has not been materialized for {hour}: materialize {frame.name} for "
                "that hour first."
            ) from None
        except (NotADirectoryError, PermissionError) as error:
            raise self._unreadable(error) from None
        except Exception as error:
            # An object store that does not answer must not be taken for a damaged hour.
            if not (self._local or isinstance(error, pa.ArrowInvalid)):
                raise self._unreadable(error) from None
            if not isinstance(error, OSError | pa.ArrowInvalid):
                raise
            raise StorageError(
                f"{frame.name} of {hour} cannot be read ({type(error).__name__}): materialize "
                f"{frame.name} for that hour again."
            ) from None

    def _unreadable(self, error: Exception) -> ConfigurationError:
        # Object stores raise exceptions of their own, whose texts may contain credentials.
        words = _system_words(error) if isinstance(error, OSError) else type(error).__name__
        return ConfigurationError(Sentence(_SETTING, f" cannot be read: {self._name} ({words})."))

    def _put(self, path: UPath | Path, content: pa.Buffer) -> None:
        try:
            if isinstance(path, Path):
                _replace(path, content)
            else:
                path.fs.pipe_file(path.path, content.to_pybytes())
        except Exception as error:
            # Object stores raise exceptions of their own, whose texts may contain credentials.
            reason = error.strerror if isinstance(error, OSError) else None
            if isinstance(error, FileNotFoundError) and not self._local:
                reason = "there is no such bucket"
            raise ConfigurationError(
                Sentence(
                    _SETTING,
                    f" cannot be written to: {self._name} ({reason or type(error).__name__}).",
                )
            ) from None


class IdRangeTables:
    """Tables by ranges of ids: each covers the ids above ``after`` and up to ``to``.

    Each table is a file ``<after>-<to>.parquet`` that is written once. Processes that write the
    same range write the same content, so they need no lock.
    """

    def __init__(
        self, folder: UPath | Path, put: Callable[[UPath | Path, pa.Buffer], None]
    ) -> None:
        self._folder, self._put = folder, put

    def ranges(self) -> list[tuple[int, int]]:
        """The stored ranges ``(after, to)``, in order."""
        with suppress(FileNotFoundError, NotADirectoryError):
            names = [path.name for path in self._folder.iterdir()]
            return sorted((int(m[1]), int(m[2])) for m in map(_RANGE.fullmatch, names) if m)
        return []

    def read(self, after: int, to: int) -> pa.Table:
        """The table of a range."""
        with self._path(after, to).open("rb") as file:
            return pq.read_table(file)

    def write(self, after: int, to: int, table: pa.Table) -> None:
        """Store the table of a range."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self._put(self._path(after, to), sink.getvalue())

    def _path(self, after: int, to: int) -> UPath | Path:
        return self._folder / f"{after}-{to}.parquet"


def split_by_hour(table: pa.Table, hours: Iterable[Hour]) -> Iterator[tuple[Hour, pa.Table]]:
    """The rows of each of the hours by ``timecreated``, keeping their order within the hour.

    Raises:
        StorageError: a row belongs to none of the hours; it would be lost.
    """
    numbers = pc.divide(table["timecreated"].combine_chunks(), SECONDS).to_numpy()
    if len(numbers) and (numbers[1:] < numbers[:-1]).any():
        order = numbers.argsort(kind="stable")
        table, numbers = table.take(order), numbers[order]
    seen = 0
    for hour in hours:
        first, end = (int(n) for n in numbers.searchsorted([hour.number, hour.number + 1]))
        seen += end - first
        yield hour, table.slice(first, end - first)
    if seen != table.num_rows:
        raise StorageError(
            f"{plural(table.num_rows - seen, 'row')} outside the hours that are being written."
        )


def _footer_stats(file: pq.ParquetFile) -> dict[str, object]:
    metadata = file.metadata.metadata or {}
    return dict(json.loads(metadata.get(_STATS_KEY, b"{}")))


def _take_all(group: list[Hour], tables: list[pa.Table]) -> tuple[list[Hour], pa.Table]:
    """The hours and their tables as one table; the lists are empty afterwards, to free memory."""
    chunk = group.copy(), pa.concat_tables(tables).unify_dictionaries()
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


def _with_own_dictionaries(table: pa.Table) -> pa.Table:
    """The same rows; each dictionary holds only the values that they use, each once.

    A slice keeps the dictionary of the table it was cut from, and Parquet would write all of it.
    For a value that a dictionary holds twice pyarrow (26) reserves space in the file, and fills it
    with whatever is in the memory of the process.
    """
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field, _compact(table.column(index)))
    return table


def _compact(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    used = pc.unique(array.indices).drop_null()
    values = array.dictionary.take(used).dictionary_encode()
    indices = values.indices.take(pc.index_in(array.indices, used))
    return pa.DictionaryArray.from_arrays(indices, values.dictionary)


def _replace(path: Path, content: pa.Buffer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _object(path: UPath) -> pa.BufferReader:
    """The whole object, by one request; seeking in it would take several."""
    return pa.BufferReader(path.fs.cat_file(path.path))


def _base(url: str) -> UPath:
    try:
        base = UPath(url)
        get_filesystem_class(base.protocol or "file")
    except ValueError:
        raise ConfigurationError(
            Sentence(
                _SETTING,
                " must be a folder or a URL that fsspec knows, such as s3://…, not "
                f"{urlsplit(url).scheme}://….",
            )
        ) from None
    except ImportError as error:
        # fsspec's own text says which package to install for which kind of storage.
        raise ConfigurationError(
            Sentence(_SETTING, f" needs a Python package that is not here: {error}.")
        ) from None
    return base


def _system_words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
