"""Partitions: conversion between Dagster's partition keys and tags and our hours.

https://docs.dagster.io/guides/build/partitions-and-backfills
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from caliper_dagster.core.hours import KEY_FORMAT, Hour, HourRange

_FIRST = "dagster/asset_partition_range_start"
_LAST = "dagster/asset_partition_range_end"
_SINGLE = "dagster/partition"


def hourly_partitions(start: Hour, *, in_progress: bool = False) -> dg.HourlyPartitionsDefinition:
    """Every complete hour from ``start`` on, in UTC; local time repeats or skips hours.

    Args:
        start: the first hour.
        in_progress: whether the hour in progress is a partition too.
    """
    return dg.HourlyPartitionsDefinition(
        start_date=start.datetime, timezone="UTC", fmt=KEY_FORMAT, end_offset=int(in_progress)
    )


def range_tags(hours: HourRange) -> dict[str, str]:
    """The tags of a run over a range of hours."""
    return {_FIRST: hours.start.key, _LAST: (hours.end + -1).key}


def range_of_tags(tags: Mapping[str, str]) -> HourRange:
    """The range of hours of the tags that ``range_tags`` made."""
    return HourRange(Hour.from_key(tags[_FIRST]), Hour.from_key(tags[_LAST]) + 1)


def hours_of_tags(tags: Mapping[str, str]) -> HourRange | None:
    """The hours of a run by its tags: a range, or one partition; None for a run without hours.

    The assets of another project have partitions of other forms, such as days.
    """
    try:
        if _FIRST in tags and _LAST in tags:
            return range_of_tags(tags)
        key = tags.get(_SINGLE)
        return HourRange.covering([Hour.from_key(key)]) if key else None
    except ValueError:
        return None


def hour_keys_of_tags(tags: Mapping[str, str]) -> set[str]:
    """The partition keys of the first and the last hour of a run; one key for a single hour."""
    return {tags.get(_FIRST, ""), tags.get(_LAST, "")}


def hours_of(context: dg.AssetExecutionContext) -> HourRange:
    """The hours of a run: one hour for the schedule, up to two weeks in a backfill."""
    return HourRange.covering(Hour.from_key(key) for key in context.partition_keys)
