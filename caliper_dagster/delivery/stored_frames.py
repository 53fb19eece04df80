"""Stored hours as frames, for other people's code: notebooks and assets downstream.

What the columns mean is written in ``core.frames``, and only there. A frame is complete or it is an
error: an hour that was not made, is damaged, or was written by a later release is never an empty
frame. Memory holds the columns that were asked for, of the hours that were asked for, and one more
hour.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, get_args

import pyarrow as pa

from caliper_dagster.caliper.shapes import ShapeName
from caliper_dagster.caliper.versions import VersionName
from caliper_dagster.config.connections import open_store
from caliper_dagster.config.env_file import load_env_file
from caliper_dagster.config.sites import chosen_site
from caliper_dagster.config.stored_fields import keys_of_environment
from caliper_dagster.core.errors import ConfigurationError, StorageError
from caliper_dagster.core.frames import CALIPER_EVENTS, EMISSION_RESULTS, FRAMES, Frame
from caliper_dagster.core.hours import HOUR_FORM, SECONDS, Hour, HourRange, parse_hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.core.parts import in_parts
from caliper_dagster.core.privacy import ProfileName

if TYPE_CHECKING:
    import pandas as pd

Moment = str | date | Hour
"""An hour as callers name it; a `datetime.datetime`, and pandas' ``Timestamp``, are dates, too."""

_OF_RENDERING = re.compile(
    "{}_({})(_({}))?(_({})(_[A-Za-z0-9_]+)?)?".format(
        CALIPER_EVENTS.name,
        *("|".join(get_args(names)) for names in (VersionName, ShapeName, ProfileName)),
    )
)
"""Names of tables of events as `Rendering` makes them."""

_GROUP = 24
"""Hours that are joined at once: each hour's file has texts of its own, which repeat."""


def load_hours(
    frame: str,
    start: Moment,
    end: Moment,
    *,
    columns: Sequence[str] | None = None,
    site: str | None = None,
    storage: str | None = None,
) -> pd.DataFrame:
    """The rows of the stored hours of an asset, in the order of the hours.

    Columns have the types of `as_pandas`, also where no hour has a row.

    Args:
        frame: name of the asset, such as ``caliper_events``.
        start: the first hour, in UTC: ``"2026-01-31T14"``, ``"2026-01-31"`` for its first hour, a
            date, or a datetime with a time zone.
        end: the hour before which the range ends, in the same forms.
        columns: the columns to read, in this order; all by default. ``docs/data.md`` lists them.
        site: name of the site, where ``CALIPER_SITES`` names several.
        storage: the folder or the URL of the storage, the value of ``CALIPER_STORAGE``. Without it
            it is what the environment, and ``.env`` in the working directory, say. Hours that are
            encrypted are read with the key in ``CALIPER_STORAGE_KEY``.

    Raises:
        ConfigurationError: there is no such frame or column, the range is wrong, or the storage
            cannot be read.
        StorageError: an hour has not been materialized, is damaged, or was written by a release
            with other columns; the sentence names the first such.
    """
    named, hours = frame_named(frame), HourRange(_hour(start, "start"), _hour(end, "end"))
    if not len(hours):
        raise ConfigurationError(f"end must be later than start, {hours.start}.")
    if storage is None:
        load_env_file()
    store = store_of(site, storage)
    try:
        return as_pandas(read_hours(store, named, list(hours), columns))
    except StorageError:
        if store.hour_sizes(named):
            raise
        raise ConfigurationError(
            f"No hour of {named.name} is stored in {store.name}: storage (or CALIPER_STORAGE) must "
            "be the folder or the URL in which the assets are kept."
        ) from None


def store_of(site: str | None, storage: str | None) -> PartitionStore:
    """The storage that a caller names, or that the environment says.

    Args:
        site: see `load_hours`.
        storage: see `load_hours`.

    Raises:
        ConfigurationError: both are given, there is no such site, or the storage cannot be read.
    """
    if storage is None:
        return open_store(chosen_site(site))
    if site is None:
        return PartitionStore(storage, keys_of_environment())
    raise ConfigurationError(
        "site and storage are both given: the storage of a site is what its settings say."
    )


def frame_named(name: str) -> Frame:
    """The frame of an asset by its name, with the suffix of a rendering or an event store.

    Raises:
        ConfigurationError: there is none.
    """
    if _OF_RENDERING.fullmatch(name):
        return replace(CALIPER_EVENTS, name=name)
    if name.startswith(f"{EMISSION_RESULTS.name}_"):
        return replace(EMISSION_RESULTS, name=name)
    for frame in FRAMES:
        if frame.name == name:
            return frame
    names = ", ".join(frame.name for frame in FRAMES)
    raise ConfigurationError(
        f"{name} is no frame that is stored: there are {names}; {CALIPER_EVENTS.name}_VERSION "
        f"or {CALIPER_EVENTS.name}_VERSION_SHAPE_PROFILE where event stores want several of them, "
        f"with _NAME at its end where the events are those of one event store; and "
        f"{EMISSION_RESULTS.name}_NAME for each of several event stores."
    )


def read_hours(
    store: PartitionStore,
    frame: Frame,
    hours: Sequence[Hour],
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """The rows of the hours, in the columns and types of the contract.

    Args:
        store: where they are stored.
        frame: their contract.
        hours: in the order in which their rows are wanted.
        columns: the columns, in this order; all by default.

    Raises:
        ConfigurationError: there is no such column, or the storage cannot be read.
        StorageError: see `load_hours`.
    """
    schema = _schema(frame, columns)
    tables = [schema.empty_table()]
    for group in in_parts(hours, _GROUP):
        of_group = [schema.empty_table()]
        for stored in store.each_opened(frame, group):
            with closing(stored):
                stored.require_known()
                of_group.append(_conforming(stored.read(schema.names), schema, frame, stored.hour))
        # Joined, so that the small arrays of the hours do not hold the memory between them.
        tables.append(pa.concat_tables(of_group).unify_dictionaries().combine_chunks())
    return pa.concat_tables(tables).unify_dictionaries()


def as_pandas(table: pa.Table) -> pd.DataFrame:
    """A table as a pandas frame, whose types do not depend on its rows.

    Integers are ``Int64`` and texts ``str``, where a value may be missing. Texts that repeat are
    categories, also those of an hour without rows: a thousand views by one person then hold the
    record of that person once. Times are in UTC, and lists are Python objects.

    Args:
        table: a table of `read_hours`; where nobody else holds it, its memory is given back column
            by column.
    """
    import pandas as pd

    text = pd.StringDtype(na_value=float("nan"))
    types = {pa.int64(): pd.Int64Dtype(), pa.string(): text}
    frame: pd.DataFrame = table.to_pandas(
        types_mapper=types.get, split_blocks=True, self_destruct=True, ignore_metadata=True
    )
    for name in frame.columns:
        kind = frame[name].dtype
        if isinstance(kind, pd.CategoricalDtype) and kind.categories.dtype != text:
            # A category without values has no type of its own.
            frame[name] = frame[name].cat.set_categories(kind.categories.astype(text))
    return frame


def _schema(frame: Frame, columns: Sequence[str] | None) -> pa.Schema:
    """The columns of the contract that are wanted, in the order in which they are wanted."""
    if columns is None:
        return frame.schema
    if isinstance(columns, str) or not columns:
        raise ConfigurationError("columns must be a list with at least one name.")
    known = frame.schema.names
    unknown = [str(name) for name in columns if name not in known]
    if unknown:
        raise ConfigurationError(
            f"{frame.name} has no column {', '.join(unknown)}: its columns are {', '.join(known)}."
        )
    return pa.schema([frame.schema.field(name) for name in dict.fromkeys(columns)])


def _conforming(table: pa.Table, schema: pa.Schema, frame: Frame, hour: Hour) -> pa.Table:
    if table.schema.equals(schema):
        return table
    try:
        return table.cast(schema)
    except pa.ArrowException:
        raise StorageError(
            f"{frame.name} of {hour} was written by another version with columns of other types: "
            f"materialize {frame.name} again."
        ) from None


def _hour(moment: Moment, name: str) -> Hour:
    """An hour in UTC, in any of the forms that `load_hours` takes."""
    if isinstance(moment, Hour):
        return moment
    if isinstance(moment, datetime):
        if moment.tzinfo is None or moment.timestamp() % SECONDS:
            raise ConfigurationError(
                f"{name} must be a full hour with a time zone, not {moment.isoformat()}."
            )
        return Hour.of(moment.timestamp())
    if isinstance(moment, date):
        return Hour.of(datetime(moment.year, moment.month, moment.day, tzinfo=UTC).timestamp())
    if not isinstance(moment, str):
        raise ConfigurationError(f"{name} must be {HOUR_FORM}, not {moment!r}.")
    return parse_hour(moment, name)
