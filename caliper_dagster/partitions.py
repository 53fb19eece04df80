"""Partitions: the hours, as Dagster counts them.

Here belongs the translation between Dagster's keys and windows and our hours, and nothing else.
https://docs.dagster.io/guides/build/partitions-and-backfills
"""

from __future__ import annotations

import dagster as dg

from caliper_dagster.hours import KEY_FORMAT, Hour, HourRange


def hourly_partitions(start: Hour) -> dg.HourlyPartitionsDefinition:
    """Every complete hour from ``start`` on, in UTC: local time has hours twice, or never."""
    return dg.HourlyPartitionsDefinition(start_date=start.datetime, timezone="UTC", fmt=KEY_FORMAT)


def hours_of(context: dg.AssetExecutionContext) -> HourRange:
    """The hours that a run is asked for: one by the schedule, up to a week in a backfill."""
    return HourRange.covering(Hour.from_key(key) for key in context.partition_keys)
