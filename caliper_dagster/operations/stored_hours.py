"""Stored hours written again as the settings protect them now, or copied in the clear.

Nothing is read from Moodle, and no event is made again: rows keep what they have, except the fields
that are not stored any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from caliper_dagster.config.connections import open_store
from caliper_dagster.config.settings import Settings
from caliper_dagster.core.errors import ConfigurationError
from caliper_dagster.core.frames import CALIPER_EVENTS, EXPANDED_LOG, MOODLE_LOG, Frame
from caliper_dagster.core.hours import Hour, HourRange
from caliper_dagster.core.partition_file import CHUNK_ROWS, StoredHour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.stored_fields import StoredFields, stored_fields_of, with_fields
from caliper_dagster.expander import LIFECYCLE, expanded_as_stored, log_as_stored, protect_lifecycle

_ATTEMPTS = 3


def protect(settings: Settings, written: Callable[[Frame, Hour], None]) -> int:
    """Write all stored hours again whose protection is not what the settings say.

    An hour is encrypted with the first key (or not, without a key), and loses the personal fields
    that are not stored any more. What an hour lacks already does not come back.

    Args:
        settings: of the site.
        written: called after each hour, whether it had to be written or not.

    Returns:
        How many files were written.

    Raises:
        ConfigurationError: the storage cannot be read or written to, or a key is missing.
        StorageError: an hour is damaged, or was written by a later release.
    """
    store, number = open_store(settings), 0
    for frame in store.frames():
        for hour in store.hour_sizes(frame):
            number += _protect(store, frame, hour)
            written(frame, hour)
    return number + protect_lifecycle(store.id_range_tables(LIFECYCLE))


def _protect(store: PartitionStore, frame: Frame, hour: Hour) -> bool:
    """Write an hour again if it must be; returns whether it was."""
    for _ in range(_ATTEMPTS):
        before = store.version(frame, hour)
        with closing(store.open(frame, hour)) as stored:
            stored.require_known()
            fields = stored_fields_of(stored.stats())
            kept = fields.common(store.fields) if frame in (MOODLE_LOG, EXPANDED_LOG) else fields
            if kept == fields and store.is_protected(frame, hour):
                return False
            try:
                with store.writer(frame, hour) as writer:
                    for part in stored.parts(CHUNK_ROWS):
                        writer.write(_as_stored(frame, part, kept))
                    writer.stats = with_fields(stored.stats(), kept)
                    _require_unchanged(store, frame, hour, before)
            except _ChangedError:
                continue
            return True
    raise ConfigurationError(
        f"{frame.name} of {hour} is being written by a run: end the runs, and try again."
    )


class _ChangedError(Exception):
    """A run has written the hour meanwhile."""


def _require_unchanged(store: PartitionStore, frame: Frame, hour: Hour, before: object) -> None:
    if store.version(frame, hour) != before:
        raise _ChangedError


def _as_stored(frame: Frame, rows: pa.Table, fields: StoredFields) -> pa.Table:
    if frame == MOODLE_LOG:
        return log_as_stored(rows, fields)
    return expanded_as_stored(rows, fields) if frame == EXPANDED_LOG else rows


def export(settings: Settings, asset: str, hours: HourRange, folder: Path) -> Iterator[Hour]:
    """Copy stored hours of an asset into a folder, in the clear, for other readers of Parquet.

    Args:
        settings: of the site.
        asset: its name, such as ``caliper_events``.
        hours: those that are not stored are passed over.
        folder: where to; the files lie in it as they do in the storage.

    Yields:
        Each hour that was copied.

    Raises:
        ConfigurationError: there is no such asset, the storage cannot be read, the folder is that
            of the storage or cannot be written to, or a key is missing.
        StorageError: an hour is damaged.
    """
    store, copy = open_store(settings), PartitionStore(str(folder.absolute()))
    local = store.local_folder()
    if local is not None and local.resolve() == folder.resolve():
        raise ConfigurationError("--out is the folder of the storage: choose another one.")
    frames = {frame.name: frame for frame in store.frames()}
    frame = frames.get(asset)
    if frame is None:
        known = ", ".join(frames) or CALIPER_EVENTS.name
        raise ConfigurationError(f"--asset {asset} has no stored hours; these have: {known}.")
    for hour in store.hour_sizes(frame):
        if hour in hours:
            with closing(store.open(frame, hour)) as stored:
                _copy(stored, copy, frame)
            yield hour


def _copy(stored: StoredHour, copy: PartitionStore, frame: Frame) -> None:
    with copy.writer(frame, stored.hour) as writer:
        for part in stored.parts(CHUNK_ROWS):
            writer.write(part)
        writer.stats = stored.stats()
