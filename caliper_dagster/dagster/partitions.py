"""Partitions: the hours, as Dagster counts them.

Here belongs the translation between Dagster's keys and windows and our hours, and nothing else.
https://docs.dagster.io/guides/build/partitions-and-backfills
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from caliper_dagster.core.hours import KEY_FORMAT, Hour, HourRange


def hourly_partitions(start: Hour, *, in_progress: bool = False) -> dg.HourlyPartitionsDefinition:
    """Every complete hour from ``start`` on, in UTC: local time has hours twice, or never.

    Args:
        start: the first hour.
        in_progress: the hour in progress is one too.
    """
    return dg.HourlyPartitionsDefinition(
        start_date=start.datetime, timezone="UTC", fmt=KEY_FORMAT, end_offset=int(in_progress)
    )


_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def range_tags(hours: HourRange) -> dict[str, str]:
    """The tags that make a run one over a range of hours."""
    return {_FIRST: hours.start.key, _LAST: (hours.end + -1).key}


def range_of_tags(tags: Mapping[str, str]) -> HourRange:
    """The range of hours that ``range_tags`` has said."""
    return HourRange(Hour.from_key(tags[_FIRST]), Hour.from_key(tags[_LAST]) + 1)


def hours_of(context: dg.AssetExecutionContext) -> HourRange:
    """The hours that a run is asked for: one by the schedule, up to two weeks in a backfill."""
    return HourRange.covering(Hour.from_key(key) for key in context.partition_keys)
