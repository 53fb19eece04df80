"""The I/O manager that gives stored hours to assets downstream, as frames.

The assets of this project write and read their partitions themselves, hour by hour
(``core.partition_store``). This is for assets of other projects: such an asset names one of ours as
a parameter, and gets the hours that its partition mapping says, as the frame that the annotation of
the parameter says. https://docs.dagster.io/guides/build/io-managers
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import dagster as dg
import pyarrow as pa

from caliper_dagster.core.errors import CaliperDagsterError, ConfigurationError
from caliper_dagster.core.hours import Hour
from caliper_dagster.core.partition_store import PartitionStore
from caliper_dagster.delivery.stored_frames import as_pandas, frame_named, read_hours, store_of

COLUMNS = "columns"
"""Key in the metadata of an input: the columns to read."""

_UTC = {"UTC", "Etc/UTC"}


class StoredFrames(dg.IOManager):
    """The stored hours as frames, for assets of other projects; it only reads.

    Args:
        open_store: opens the storage, when a step asks for a frame.
    """

    reads: ClassVar = ("CALIPER_STORAGE",)

    def __init__(self, open_store: Callable[[], PartitionStore]) -> None:
        self._open_store = open_store

    def handle_output(self, context: dg.OutputContext, _value: object) -> None:
        """Refuse it.

        Raises:
            Failure: always.
        """
        raise dg.Failure(
            f"The output of {context.step_key} cannot be stored, for the I/O manager of "
            "caliper_dagster only reads: give the asset one of your own (io_manager_key)."
        )

    def load_input(self, context: dg.InputContext) -> Any:  # noqa: ANN401 - pandas or Arrow
        """The hours that the partition mapping says, as the annotation of the parameter says.

        Raises:
            Failure: they cannot be read, with the same sentence as for `load_hours`, or the input
                asks for something else than hours of an asset as a frame.
        """
        try:
            convert = _conversion(context)
            frame, hours = frame_named(context.asset_key.path[-1]), _hours(context)
            columns = context.definition_metadata.get(COLUMNS)
            return convert(read_hours(self._open_store(), frame, hours, columns))
        except CaliperDagsterError as error:
            raise dg.Failure(str(error)) from None


def frames_io_manager(
    *, site: str | None = None, storage: str | None = None
) -> dg.IOManagerDefinition:
    """An I/O manager that reads the stored frames, for another code location.

    Where the assets themselves are loaded, they bring one along. Nothing is read before a step asks
    for a frame.

    Args:
        site: name of the site, where ``CALIPER_SITES`` names several.
        storage: the folder or the URL of the storage; what the environment says without it.
    """
    # A run config cannot name another storage.
    return dg.IOManagerDefinition(
        lambda _: StoredFrames(partial(store_of, site, storage)),
        config_schema={},
        description="The stored hours as frames; it only reads.",
    )


def _conversion(context: dg.InputContext) -> Callable[[pa.Table], Any]:
    """From a table to what the annotation of the parameter says."""
    import pandas as pd

    wanted = context.dagster_type.typing_type
    if wanted in (pd.DataFrame, Any):
        return as_pandas
    if wanted is pa.Table:
        return lambda table: table
    name = getattr(wanted, "__name__", str(wanted))
    raise ConfigurationError(
        f"{_input(context)} has the type {name}: annotate it with pandas.DataFrame or "
        "pyarrow.Table."
    )


def _hours(context: dg.InputContext) -> Sequence[Hour]:
    asset, mapping = context.asset_key.to_user_string(), "see docs/frames.md"
    partitions = context.asset_partitions_def if context.has_asset_partitions else None
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition) or (
        partitions.timezone not in _UTC
    ):
        raise ConfigurationError(
            f"{asset} is not partitioned by the hour in UTC in this code location ({mapping})."
        )
    keys = context.asset_partition_keys
    if not keys:
        raise ConfigurationError(
            f"{_input(context)} has no hours: its partition mapping gives none of {asset}."
        )
    try:
        return [Hour.from_key(key) for key in keys]
    except ValueError:
        raise ConfigurationError(
            f"The partition {keys[0]} of {asset} is no hour such as 2026-01-31-14:00 ({mapping})."
        ) from None


def _input(context: dg.InputContext) -> str:
    return f"The parameter {context.name}" if context.has_input_name else "The value"
