"""Backfills of the command line that go on where they were interrupted.

Here belongs which hours of a backfill are left, and in which order they are taken. What is known
of it stands on its runs, as tags, so there is nothing to lose beside Dagster's own records; how a
range becomes a run is the business of ``runs``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from urllib.parse import urlsplit

import dagster as dg

from caliper_dagster.config.declaration import Reference
from caliper_dagster.config.settings import EventStoreSettings, Settings, declared
from caliper_dagster.config.translator import read_file
from caliper_dagster.core.hours import HourRange, groups
from caliper_dagster.dagster.partitions import range_of_tags

BACKFILL_TAG = "caliper_dagster/backfill"
"""On a run of the command line: which backfill it belongs to, the same for the same command."""

_RUNS_FOR_EACH = 4
_FEWEST_HOURS = 24
_BEGUN_TAG = "caliper_dagster/begun"
# What changes neither events nor where they go.
_NO_MATTER = {"hours_per_run", "start", "automation", "send_immediately", "attempts"}
# Backfills that are under way are known by a digest in which these settings have these names.
_DIGEST_NAMES = {"url": "event_store_url", "timeout": "event_store_timeout"}
# Settings that later releases have added are part of it only when they are not at their default.
_ADDED = {"resend_changed"}


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """What a backfill has to do.

    Attributes:
        left: the ranges to take, in this order, each in one run.
        before: the ranges that were done before it was interrupted.
        tags: what its runs are known by.
    """

    left: tuple[HourRange, ...]
    before: tuple[HourRange, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def plan_backfill(
    instance: dg.DagsterInstance,
    settings: Settings,
    hours: HourRange,
    *,
    fresh: bool = False,
    again: bool = False,
    newest_first: bool = False,
    processes: int = 1,
) -> BackfillPlan:
    """What is left of the backfill of these hours.

    A backfill that was interrupted goes on; one that is finished, or was made with settings that
    give other events, begins anew.

    Args:
        instance: where the runs are recorded.
        settings: what the assets are built for.
        hours: all hours that are asked for.
        fresh: whether rows are to be expanded anew.
        again: begin anew in any case.
        newest_first: take the newest hours first.
        processes: how many runs are made side by side.
    """
    name = _name(settings, hours, fresh)
    runs = instance.get_runs(dg.RunsFilter(tags={BACKFILL_TAG: name}))
    begun = max((run.tags.get(_BEGUN_TAG, "") for run in runs), default="")
    finished = [
        range_of_tags(run.tags)
        for run in runs
        if run.tags.get(_BEGUN_TAG) == begun and run.status == dg.DagsterRunStatus.SUCCESS
    ]
    done = {hour for part in finished for hour in part}
    if again or len(done) == len(hours) or not begun:
        done, begun = set(), f"{time.time():.3f}"
    undone = [hour for hour in hours if hour not in done]
    left = groups(undone, _hours_per_run(len(undone), settings.hours_per_run, processes))
    return BackfillPlan(
        left=tuple(left[::-1] if newest_first else left),
        before=tuple(groups(done, settings.hours_per_run)),
        tags={BACKFILL_TAG: name, _BEGUN_TAG: begun},
    )


def _hours_per_run(hours: int, most: int, processes: int) -> int:
    """Of several processes each gets some runs, lest one works on when the others are done."""
    if processes == 1:
        return most
    return min(most, max(_FEWEST_HOURS, ceil(hours / (processes * _RUNS_FOR_EACH))))


def _name(settings: Settings, hours: HourRange, fresh: bool) -> str:
    """The same for the same hours, settings and recipes; no secret goes into it."""
    given = {name: repr(value) for name, value in _not_secret(settings) if name not in _NO_MATTER}
    store = urlsplit(settings.event_store.address() or "")
    files = f"{settings.recipes or ''},{settings.event_stores or ''}".split(",")
    names = [name.strip() for name in files if name.strip()]
    told = [str(hours), str(fresh), str(store.hostname), store.path, *map(read_file, names)]
    text = "\n".join([*told, *(f"{name}={value}" for name, value in sorted(given.items()))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _not_secret(settings: Settings) -> Iterator[tuple[str, object]]:
    """All settings but secrets that are set."""
    secrets = {setting.key for setting in declared().values() if setting.secret}
    for key, value in [*settings, *settings.event_store]:
        if key in secrets:
            value = value.value() if isinstance(value, Reference) else value
            if value is None:
                yield _DIGEST_NAMES.get(key, key), None
        elif not isinstance(value, EventStoreSettings) and not (key in _ADDED and not value):
            yield _DIGEST_NAMES.get(key, key), value
