"""The hours that this process has written last: the next asset of a run takes them from memory.

Where an hour has few rows, opening and decoding its file costs more than the rows do. An hour is
taken from memory only while its file is the one that was written with it; if another process has
replaced it, the file is read.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from threading import Lock

import pyarrow as pa

from caliper_dagster.core.frames import EMISSION_RESULTS, Frame

_MOST_ROWS = 1_000
"""Rows of an hour that is kept: with more, the rows cost more than the file."""

_MOST_BYTES = 48_000_000
"""Of the hours of one asset, the oldest of which are forgotten first: the events of some 25,000
rows, a run of a week of an ordinary site."""


@dataclass(frozen=True, slots=True)
class RecentHour:
    """An hour as it was written.

    Attributes:
        version: that of its file (`whole_files.FileVersion`).
        table: its rows, with all columns.
        stats: its footer stats, as JSON.
    """

    version: object
    table: pa.Table
    stats: bytes


@dataclass(slots=True)
class _Hours:
    """The hours of one asset, the oldest first."""

    by_path: OrderedDict[str, tuple[RecentHour, int]] = field(default_factory=OrderedDict)
    size: int = 0

    def add(self, path: str, hour: RecentHour) -> None:
        self.remove(path)
        size = hour.table.get_total_buffer_size()
        self.by_path[path] = hour, size
        self.size += size
        while self.size > _MOST_BYTES:
            self.remove(next(iter(self.by_path)))

    def remove(self, path: str) -> None:
        if path in self.by_path:
            self.size -= self.by_path.pop(path)[1]


class RecentHours:
    """The hours that were written last, with few rows each; used by several threads."""

    def __init__(self) -> None:
        self._assets: dict[str, _Hours] = {}
        self._lock = Lock()

    def add(self, frame: Frame, path: str, hour: RecentHour) -> None:
        """Keep an hour that has few rows, in place of what was kept of its file before.

        What event stores have answered is not kept: the run is then over.

        Args:
            frame: its table.
            path: of its file.
            hour: the hour.
        """
        if frame.name.startswith(EMISSION_RESULTS.name) or hour.table.num_rows > _MOST_ROWS:
            return
        hour = replace(hour, table=_copied(hour.table) if hour.table.num_rows else frame.empty())
        with self._lock:
            self._assets.setdefault(frame.name, _Hours()).add(path, hour)

    def find(self, frame: Frame, path: str, version: object) -> RecentHour | None:
        """The hour that was written with this version of the file, if it is still kept."""
        hours = self._assets.get(frame.name)
        hour, _ = hours.by_path.get(path, (None, 0)) if hours else (None, 0)
        return hour if hour is not None and hour.version == version else None


def _copied(table: pa.Table) -> pa.Table:
    """The same rows in memory of their own: a slice would keep the whole chunk in memory."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    # The stream has reserved up to twice as much as was written.
    return pa.ipc.open_stream(stream.getvalue().to_pybytes()).read_all()
