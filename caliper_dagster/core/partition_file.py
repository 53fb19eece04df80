"""The file of one hour and asset: written in several tables, and read whole or in parts.

The rows of an hour are in row groups of 60,000, however they were handed over, so the bytes of a
file that is not encrypted depend on its rows alone. ``partition_store`` decides where a file is,
and puts it there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from caliper_dagster.core.errors import StorageError
from caliper_dagster.core.frames import Frame
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.own_dictionaries import with_own_dictionaries
from caliper_dagster.core.parquet_digest import DigestedParquetWriter, ParquetForm, read_rows
from caliper_dagster.core.recent_hours import RecentHour
from caliper_dagster.core.revisions import is_of_later_release
from caliper_dagster.core.storage_keys import StorageKeys
from caliper_dagster.core.whole_files import FileVersion, NewFile

FooterStats = Mapping[str, object]

CHUNK_ROWS = 60_000
"""Rows that are processed together, and rows of a row group."""

_STATS_KEY = b"caliper_dagster.facts"
_HOUR_KEY = b"caliper_dagster.hour"
_TIME = "timecreated"


class PartitionWriter:
    """Writes the rows of one hour; a context manager that puts the file into its place at its end.

    After an error the hour stays as it was.

    Args:
        frame: the contract that the rows are made to follow.
        hour: the hour that all rows belong to.
        new: the file.
        form: how the rows are written.
        writing: turns errors of the storage into errors that name the setting.
        written: called with this writer when the file is in its place, and with what tells the file
            from one that replaces it.
        keys: the file is encrypted with a key of these.

    Attributes:
        frame: the contract.
        hour: the hour.
        stats: the footer stats; to be set before the end.
        stats_json: the same as the file holds them, after the end.
        table: all rows, after the end; None if they were too many for one row group.
        size: the size of the file in bytes, after the end.
    """

    def __init__(
        self,
        frame: Frame,
        hour: Hour,
        new: NewFile,
        form: ParquetForm,
        writing: Callable[[], AbstractContextManager[None]],
        written: Callable[[PartitionWriter, FileVersion | None], None],
        keys: StorageKeys | None = None,
    ) -> None:
        self.stats: FooterStats = {}
        self.stats_json = b""
        self.table: pa.Table | None = None
        self.size = 0
        self.frame, self.hour, self._new = frame, hour, new
        self._writing, self._written = writing, written
        self._parquet = DigestedParquetWriter(new.file, form, keys)
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._has_groups = False
        self._has_own_dictionaries = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._parquet.abort()
            self._new.close()

    def write(self, table: pa.Table, *, has_own_dictionaries: bool = False) -> None:
        """Write the next rows of the hour.

        Args:
            table: the rows.
            has_own_dictionaries: whether the table is as `with_own_dictionaries` makes it.

        Raises:
            StorageError: they break the contract, or belong to another hour.
            ConfigurationError: the storage cannot be written to.
        """
        table = self.frame.conform(table)
        if _TIME in table.column_names and table.num_rows:
            limits = pc.min_max(table[_TIME]).as_py()
            if not self.hour.start <= limits["min"] <= limits["max"] < self.hour.end:
                raise StorageError(
                    f"{self.frame.name} of {self.hour} would get rows of another hour."
                )
        is_group = not self._pending and table.num_rows <= CHUNK_ROWS
        self._has_own_dictionaries = has_own_dictionaries and is_group
        while table.num_rows:
            rows = table.slice(0, CHUNK_ROWS - self._pending_rows)
            self._pending.append(rows)
            self._pending_rows += rows.num_rows
            table = table.slice(rows.num_rows)
            if self._pending_rows == CHUNK_ROWS:
                self._write_group()

    def _write_group(self) -> None:
        table = _joined(self._pending)
        if not self._has_own_dictionaries:
            table = with_own_dictionaries(table)
        self.table = None if self._has_groups else table
        self._pending, self._pending_rows, self._has_groups = [], 0, True
        with self._writing():
            self._parquet.write(table)

    def _finish(self) -> None:
        if self._pending:
            self._write_group()
        elif not self._has_groups:
            # Without a row group: pages without rows would cost as much as those with some.
            self.table = self.frame.empty()
        self.stats_json = json.dumps(dict(self.stats)).encode()
        with self._writing():
            self.size = self._parquet.close(
                {_STATS_KEY: self.stats_json, _HOUR_KEY: str(self.hour).encode()}
            )
            version = self._new.commit()
        self._written(self, version)


class HourContent(Protocol):
    """The content of the file of an hour.

    Attributes:
        num_rows: how many rows it has.
        num_groups: in how many row groups they are.
        names: of its columns.
        stats: the footer stats, as JSON.
    """

    num_rows: int
    num_groups: int
    names: Sequence[str]
    stats: bytes

    def read(self, columns: Sequence[str], groups: Sequence[int]) -> pa.Table:
        """Some columns of the row groups of these numbers.

        Raises:
            DamagedFileError: the content is no Parquet.
        """

    def times(self) -> Iterator[tuple[int, int] | None]:
        """The least and greatest ``timecreated`` of each row group; None where it is not known."""

    def close(self) -> None:
        """Close the file."""


class FileContent(HourContent):
    """The content of a file that was opened.

    Args:
        file: as `open_verified` opens it.
    """

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file, metadata = file, file.metadata
        self.num_rows, self.num_groups = metadata.num_rows, metadata.num_row_groups
        self.names = file.schema_arrow.names
        self.stats = (metadata.metadata or {}).get(_STATS_KEY, b"{}")

    def read(self, columns: Sequence[str], groups: Sequence[int]) -> pa.Table:
        """See `HourContent`."""
        return read_rows(self._file, columns, groups).replace_schema_metadata(None)

    def times(self) -> Iterator[tuple[int, int] | None]:
        """See `HourContent`."""
        return _times(self._file.metadata)

    def close(self) -> None:
        """See `HourContent`."""
        self._file.close(force=True)


class RecentContent(HourContent):
    """The content of a file as this process has written it."""

    num_groups = 1

    def __init__(self, hour: RecentHour) -> None:
        self._table, self.stats = hour.table, hour.stats
        self.num_rows, self.names = hour.table.num_rows, hour.table.column_names

    def read(self, columns: Sequence[str], groups: Sequence[int]) -> pa.Table:
        """See `HourContent`."""
        return self._table.select(columns) if groups else self._table.select(columns).slice(0, 0)

    def times(self) -> Iterator[tuple[int, int] | None]:
        """See `HourContent`."""
        yield None

    def close(self) -> None:
        """Nothing is open."""


class StoredHour:
    """One hour that has been written, opened to be read.

    Args:
        frame: the contract that its rows follow.
        content: of its file.
        damage: turns what is raised about damaged content into a `StorageError`.
    """

    def __init__(
        self,
        frame: Frame,
        hour: Hour,
        content: HourContent,
        damage: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.hour = hour
        self._frame, self._content, self._damage = frame, content, damage

    @property
    def num_rows(self) -> int:
        """How many rows the hour has."""
        return self._content.num_rows

    def has_all_columns(self) -> bool:
        """Whether the file has all columns that this release cannot do without."""
        names = self._content.names
        return all(column.added or column.name in names for column in self._frame.columns)

    def require_known(self) -> None:
        """Make sure that this release knows all that the file has.

        Raises:
            StorageError: a later release wrote it; or see `stats`.
        """
        known = self._frame.schema.names
        unknown = [name for name in self._content.names if name not in known]
        if unknown or is_of_later_release(self.stats()):
            columns = f" and has columns that are unknown here, {', '.join(unknown)}"
            raise StorageError(
                f"{self._frame.name} of {self.hour} was written by a later release of "
                f"caliper_dagster{columns if unknown else ''}: install that release here."
            )

    def stats(self) -> dict[str, object]:
        """The footer stats that were written with the hour.

        Raises:
            StorageError: they cannot be read.
        """
        with self._damage():
            return dict(json.loads(self._content.stats))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows.

        Raises:
            StorageError: the file is damaged, or lacks a column.
        """
        return self._table(columns, range(self._content.num_groups))

    def parts(self, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows in their order, in tables of so many rows; the last one may have fewer.

        Memory holds about two tables, and a row group of the file.

        Raises:
            StorageError: see `read`.
        """
        part: list[pa.Table] = []
        missing = rows
        for number in range(self._content.num_groups):
            group = self._table(columns, [number])
            is_divided = group.num_rows > missing
            while group.num_rows:
                taken = group.slice(0, missing)
                group = group.slice(taken.num_rows)
                part.append(with_own_dictionaries(taken) if is_divided else taken)
                missing -= taken.num_rows
                if not missing:
                    yield _joined(part)
                    part, missing = [], rows
            del group
        if part:
            yield _joined(part)

    def between(self, first: int, last: int) -> pa.Table:
        """The rows whose ``timecreated`` lies between two Unix times, both included.

        Only the row groups that may have such rows are read.

        Raises:
            StorageError: see `read`.
        """
        with self._damage():
            numbers = [
                number
                for number, times in enumerate(self._content.times())
                if times is None or (times[0] <= last and first <= times[1])
            ]
        table = self._table(None, numbers)
        is_between = pc.and_(
            pc.greater_equal(table[_TIME], first), pc.less_equal(table[_TIME], last)
        )
        return table.filter(is_between)

    def close(self) -> None:
        """Close the file."""
        self._content.close()

    def _table(self, columns: Sequence[str] | None, groups: Sequence[int]) -> pa.Table:
        names = list(columns) if columns else self._frame.schema.names
        with self._damage():
            stored = self._content.names
            # A table without columns would have no rows either.
            read = [name for name in names if name in stored] or stored[:1]
            table = self._content.read(read, groups)
        table = self._frame.with_later_columns(table, names)
        present = {*table.column_names}
        if missing := [name for name in names if name not in present]:
            raise StorageError(
                f"{self._frame.name} of {self.hour} was written by another version and lacks "
                f"{', '.join(missing)}: materialize {self._frame.name} again."
            )
        return table.select(names)


def is_of_another_hour(metadata: pq.FileMetaData, hour: Hour) -> bool:
    """Whether a file was written for another hour, by its footer alone.

    Files of earlier releases do not name their hour, but have the least and greatest time.
    """
    key = (metadata.metadata or {}).get(_HOUR_KEY)
    if key is not None and key != str(hour).encode():
        return True
    return any(
        times is not None and (times[0] < hour.start or times[1] >= hour.end)
        for times in _times(metadata)
    )


def _times(metadata: pq.FileMetaData) -> Iterator[tuple[int, int] | None]:
    """The least and greatest time of each row group; None where the footer does not say."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = map(group.column, range(group.num_columns))
        # The schema of a footer would refer to it, and both would stay until garbage is collected.
        column = next((it for it in columns if it.path_in_schema == _TIME), None)
        found = column.statistics if column is not None else None
        yield (found.min, found.max) if found is not None and found.has_min_max else None


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of the tables; each dictionary holds its values once."""
    if len(tables) == 1:
        return tables[0]
    return pa.concat_tables(tables).unify_dictionaries()
